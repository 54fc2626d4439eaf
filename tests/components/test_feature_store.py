"""FeatureStore: a group that no change replaces, and features that are only added."""

from __future__ import annotations

import json
from typing import Any

import pytest

import stacks
from components.feature_store import (
    FeatureRemovedError,
    FeatureStore,
    FeatureStoreArgs,
    FeatureType,
    find_added_features,
)
from tests.components import mocked
from tests.components.flights_stack import flights

FEATURES: dict[str, FeatureType] = {"origin": "String", "known_at": "String", "temp": "Fractional"}


def store_args(**changes: Any) -> FeatureStoreArgs:
    """Return the arguments of a group `g`."""
    args = {
        "group_name": "g",
        "record_identifier": "origin",
        "event_time": "known_at",
        "features": FEATURES,
        "offline_uri": "s3://lake/offline",
        "kms_key_arn": "arn:key",
        "role_arn": "arn:role",
        "region": "eu-west-1",
        "parameter_name": "/g/schema",
        **changes,
    }
    return FeatureStoreArgs(**args)


def store(**changes: Any) -> dict[str, mocked.Registered]:
    """Return the resources of a component called `f`."""
    args = store_args(**changes)
    return mocked.run(lambda: FeatureStore("f", args))


def test_children_and_outputs() -> None:
    found = store()
    assert mocked.tree(found) == {
        ("f", "FeatureStore", None),
        ("f-group", "FeatureGroup", "FeatureStore:f"),
        ("f-schema", "Parameter", "FeatureStore:f"),
    }
    assert found["FeatureStore:f"].outputs == {"groupName": "g", "groupArn": "arn:of:FeatureGroup:f-group"}


def test_the_group_sets_every_immutable_property_explicitly() -> None:
    assert store()["f-group"].inputs == {
        "featureGroupName": "g",
        "recordIdentifierFeatureName": "origin",
        "eventTimeFeatureName": "known_at",
        "featureDefinitions": [{"featureName": name, "featureType": kind} for name, kind in FEATURES.items()],
        "roleArn": "arn:role",
        "onlineStoreConfig": {"enableOnlineStore": True, "securityConfig": {"kmsKeyId": "arn:key"}},
        "offlineStoreConfig": {
            "s3StorageConfig": {"s3Uri": "s3://lake/offline", "kmsKeyId": "arn:key"},
            "tableFormat": "Glue",
        },
    }


def test_an_added_feature_never_replaces_the_group() -> None:
    before, after = store(), store(features={**FEATURES, "wind": "Fractional"})
    assert before["f-group"].ignore_changes == after["f-group"].ignore_changes == ("featureDefinitions",)
    # No other input of the group follows the schema; only the parameter does, as an update in place.
    changed = {
        name for name in after["f-group"].inputs if after["f-group"].inputs[name] != before["f-group"].inputs[name]
    }
    assert changed == {"featureDefinitions"}
    assert json.loads(after["f-schema"].inputs["insecureValue"]) == {**FEATURES, "wind": "Fractional"}
    assert after["f-schema"].inputs["name"] == before["f-schema"].inputs["name"] == "/g/schema"


def test_a_schema_update_is_checked_and_applied_before_it_is_recorded() -> None:
    schema = store()["f-schema"]
    assert schema.hooks == {"before_update": ["f-features-only-grow", "f-add-features"]}
    assert "f-group" in schema.dependencies
    assert schema.inputs["type"] == "String"


@pytest.mark.parametrize("protect", [True, False])
def test_the_group_is_protected_by_default_and_never_deleted_first(protect: bool) -> None:
    assert store(protect=protect)["f-group"].options == {"protect": protect}
    assert store()["f-group"].options == {"protect": True}


def test_the_schema_text_does_not_depend_on_the_declared_order() -> None:
    turned = dict(reversed(FEATURES.items()))
    assert store()["f-schema"].inputs["insecureValue"] == store(features=turned)["f-schema"].inputs["insecureValue"]


@pytest.mark.parametrize("lacking", ["origin", "known_at"])
def test_identifier_and_event_time_must_be_features(lacking: str) -> None:
    features = {name: kind for name, kind in FEATURES.items() if name != lacking}
    with pytest.raises(ValueError, match=f"FeatureStore 'g': features lack '{lacking}'; add it with its type"):
        store_args(features=features)


def test_an_event_time_is_text_or_fractional() -> None:
    with pytest.raises(
        ValueError, match="FeatureStore 'g': event_time='known_at' is Integral; expected String or Frac"
    ):
        store_args(features={**FEATURES, "known_at": "Integral"})


@pytest.mark.parametrize("name", ["is_deleted", "write_time", "api_invocation_time"])
def test_reserved_feature_names_are_refused(name: str) -> None:
    with pytest.raises(
        ValueError, match=rf"FeatureStore 'g': features name \['{name}'\], which SageMaker reserves; rename"
    ):
        store_args(features={**FEATURES, name: "String"})


def test_a_feature_name_has_at_most_64_characters() -> None:
    store_args(features={**FEATURES, "f" * 64: "String"})
    with pytest.raises(ValueError, match=r"FeatureStore 'g': feature 'f+' has 65 characters; expected at most 64"):
        store_args(features={**FEATURES, "f" * 65: "String"})


def test_a_group_name_that_is_too_long_is_refused() -> None:
    store_args(group_name="g" * 64)
    with pytest.raises(ValueError, match=r"group_name='g+' has 65 characters; expected at most 64: shorten"):
        store_args(group_name="g" * 65)


def test_added_features_are_found() -> None:
    assert find_added_features("g", FEATURES, {**FEATURES, "wind": "Fractional", "sky": "String"}) == {
        "wind": "Fractional",
        "sky": "String",
    }
    assert find_added_features("g", FEATURES, FEATURES) == {}
    assert find_added_features("g", {}, FEATURES) == FEATURES


@pytest.mark.parametrize(
    ("new", "problem"),
    [
        ({"origin": "String", "known_at": "String"}, "'temp' was removed"),
        ({**FEATURES, "temp": "String"}, "'temp' was Fractional and is now String"),
        ({"known_at": "String", "temp": "Integral", "wind": "String"}, "'origin' was removed; 'temp' was Fractional"),
    ],
)
def test_a_removed_or_retyped_feature_is_refused_with_the_fix(new: dict[str, FeatureType], problem: str) -> None:
    with pytest.raises(FeatureRemovedError) as refused:
        find_added_features("flights-dev-weather", FEATURES, new)
    message = str(refused.value)
    assert message.startswith("feature group 'flights-dev-weather': ")
    assert problem in message
    assert "A group cannot lose a feature" in message
    assert "Declare it as before" in message
    assert "new table under a new name" in message


def test_the_groups_of_a_stack_follow_its_tables() -> None:
    found = flights("dev")
    for table in stacks.load("flights").tables:
        inputs = found[f"flights-dev-{table.name}-group"].inputs
        assert inputs["featureGroupName"] == f"flights-dev-{table.name.replace('_', '-')}"
        assert inputs["recordIdentifierFeatureName"] == table.entity
        assert inputs["eventTimeFeatureName"] == "known_at"
        kinds = {each["featureName"]: each["featureType"] for each in inputs["featureDefinitions"]}
        assert kinds == {table.entity: "String", "known_at": "String", **dict.fromkeys(table.columns, "Fractional")}
        assert inputs["onlineStoreConfig"]["enableOnlineStore"] is True
        assert inputs["onlineStoreConfig"]["securityConfig"] == {"kmsKeyId": "arn:of:Key:flights-dev-lake-key"}
        assert inputs["offlineStoreConfig"] == {
            "s3StorageConfig": {
                "s3Uri": f"s3://flights-dev-lake-{mocked.ACCOUNT}/offline",
                "kmsKeyId": "arn:of:Key:flights-dev-lake-key",
            },
            "tableFormat": "Glue",
        }
        schema = found[f"flights-dev-{table.name}-schema"].inputs
        assert schema["name"] == f"/millrace/flights-dev/{table.name}/schema"
