"""Endpoints, their models, and pipelines that do not exist, on the local cloud."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from queries.endpoints import find_endpoint, find_served_model, get_deployment_time, wait_until_settled
from queries.pipelines import find_pipeline, find_running_execution, list_executions
from tests.local.conftest import CloudDaemon, cloud_daemon
from tests.local.test_endpoints_over_http import create_endpoint_configs

__all__ = ["cloud_daemon"]


@pytest.fixture
def sagemaker(cloud_daemon: CloudDaemon) -> Any:
    return create_endpoint_configs(cloud_daemon, "asked-1", "asked-2")


def test_an_endpoint_is_followed_to_its_model_as_far_as_it_exists(sagemaker: Any) -> None:
    assert find_endpoint(sagemaker, "asked") is None
    sagemaker.create_endpoint(EndpointName="asked", EndpointConfigName="asked-1")
    seen: list[str] = []
    settled = wait_until_settled(sagemaker, "asked", lambda: None, seen.append)
    assert settled is not None
    assert settled["EndpointStatus"] == "InService"
    assert set(seen) == {"Creating"}

    served = find_served_model(sagemaker, settled["EndpointConfigName"])
    assert (served.name, served.package) == ("asked-1", None)
    assert served.container["ModelDataUrl"].endswith("/asked-1")
    assert served.config is not None
    assert get_deployment_time(settled, served.config) == settled["CreationTime"]
    later = served.config["CreationTime"] + timedelta(days=1)
    assert get_deployment_time(settled, {**served.config, "CreationTime": later}) == later

    sagemaker.delete_model(ModelName="asked-2")
    headless = find_served_model(sagemaker, "asked-2")
    assert (headless.config is None, headless.name, headless.model, headless.package) == (False, "asked-2", None, None)
    sagemaker.delete_endpoint_config(EndpointConfigName="asked-2")
    assert find_served_model(sagemaker, "asked-2").config is None


class _Stuck:
    """Fake account whose endpoint never settles."""

    def __init__(self) -> None:
        self.asked = 0

    def describe_endpoint(self, EndpointName: str) -> dict[str, Any]:
        self.asked += 1
        return {"EndpointStatus": "Updating", "EndpointName": EndpointName, "CreationTime": datetime.now(UTC)}


def test_waiting_for_an_endpoint_ends_after_an_hour(monkeypatch: pytest.MonkeyPatch) -> None:
    now = [0.0]
    monkeypatch.setattr("queries.endpoints.time.monotonic", lambda: now[0])
    stuck = _Stuck()

    def pause() -> None:
        now[0] += 600.0

    found = wait_until_settled(stuck, "stuck", pause, lambda _: None)
    assert found is not None
    assert found["EndpointStatus"] == "Updating"
    assert stuck.asked == 8


def test_a_pipeline_that_does_not_exist_has_no_executions(cloud_daemon: CloudDaemon) -> None:
    sagemaker = cloud_daemon.client("sagemaker")
    assert list_executions(sagemaker, "nobody") is None
    assert find_running_execution(sagemaker, "nobody") is None
    assert find_pipeline(sagemaker, "nobody") is None
