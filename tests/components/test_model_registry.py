"""ModelRegistry: a protected group."""

from __future__ import annotations

import pytest

from components.model_registry import ModelRegistry, ModelRegistryArgs
from tests.components import mocked
from tests.components.flights_stack import flights


@pytest.mark.parametrize("protect", [True, False])
def test_the_group_is_protected_by_default(protect: bool) -> None:
    found = mocked.run(lambda: ModelRegistry("r", ModelRegistryArgs("models", "Models of x", "eu-west-1", protect)))
    assert mocked.tree(found) == {("r", "ModelRegistry", None), ("r-group", "ModelPackageGroup", "ModelRegistry:r")}
    assert found["r-group"].inputs == {
        "modelPackageGroupName": "models",
        "modelPackageGroupDescription": "Models of x",
    }
    assert found["r-group"].options == {"protect": protect}
    assert found["ModelRegistry:r"].outputs == {
        "groupName": "models",
        "groupArn": "arn:of:ModelPackageGroup:r-group",
    }
    assert ModelRegistryArgs("models", "Models of x", "eu-west-1").protect


def test_name_and_description_of_the_group_do_not_change() -> None:
    # A change of either replaces the group and loses all its versions.
    for approved in (True, False):
        inputs = flights("dev", approved)["flights-dev-group"].inputs
        assert inputs == {
            "modelPackageGroupName": "flights-dev",
            "modelPackageGroupDescription": "Models of flights",
        }
