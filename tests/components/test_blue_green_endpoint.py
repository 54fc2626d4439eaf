"""BlueGreenEndpoint: deployments that can be rolled back without an outage, and the rollouts that are refused."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.session import get_session

from components.blue_green_endpoint import BlueGreenEndpoint, BlueGreenEndpointArgs
from millrace.rollout import Rollout, Traffic
from tests.components import mocked
from tests.components.flights_stack import environment, flights

PACKAGE = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/x/3"


def endpoint_args(**changes: Any) -> BlueGreenEndpointArgs:
    """Return the arguments of an endpoint `x`."""
    args = {
        "endpoint_name": "x",
        "variant_name": "main",
        "model_package_arn": PACKAGE,
        "role_arn": "arn:role",
        "region": "eu-west-1",
        "errors_alarm": "x-errors",
        "latency_alarm": "x-latency",
        **changes,
    }
    return BlueGreenEndpointArgs(**args)


def endpoint(**changes: Any) -> dict[str, mocked.Registered]:
    """Return the resources of a component called `e`."""
    args = endpoint_args(**changes)
    return mocked.run(lambda: BlueGreenEndpoint("e", args))


def policy(found: dict[str, mocked.Registered]) -> dict[str, Any]:
    """Return the update policy of the endpoint."""
    update: dict[str, Any] = found["e-endpoint"].inputs["deploymentConfig"]["blueGreenUpdatePolicy"]
    return update


def test_children_and_outputs() -> None:
    found = endpoint()
    parent = "BlueGreenEndpoint:e"
    assert mocked.tree(found) == {
        ("e", "BlueGreenEndpoint", None),
        ("e-errors", "MetricAlarm", parent),
        ("e-latency", "MetricAlarm", parent),
        ("e-model", "Model", parent),
        ("e-config", "EndpointConfiguration", parent),
        ("e-endpoint", "Endpoint", parent),
    }
    assert found[parent].outputs == {
        "endpointName": "x",
        "endpointArn": "arn:of:Endpoint:e-endpoint",
        "configName": "e-config-1a2b3c4",
    }


def test_model_and_configuration_have_generated_names() -> None:
    # With a fixed name the provider deletes the resource in use first, or changes nothing at all.
    found = endpoint()
    assert "name" not in found["e-model"].inputs
    assert "name" not in found["e-config"].inputs
    assert "namePrefix" not in found["e-config"].inputs
    assert found["e-config"].inputs["productionVariants"][0]["modelName"] == "e-model-1a2b3c4"
    assert found["e-endpoint"].inputs["endpointConfigName"] == "e-config-1a2b3c4"


@pytest.mark.parametrize("protect", [True, False])
def test_model_and_configuration_are_retained_and_the_endpoint_protected(protect: bool) -> None:
    found = endpoint(protect=protect)
    assert found["e-model"].options == found["e-config"].options == {"protect": False, "retainOnDelete": True}
    assert found["e-endpoint"].options == {"protect": protect, "retainOnDelete": False}
    assert endpoint()["e-endpoint"].options["protect"] is True


def test_the_model_references_the_package_and_no_url() -> None:
    assert endpoint(environment={"A": "b"})["e-model"].inputs == {
        "executionRoleArn": "arn:role",
        "primaryContainer": {"modelPackageName": PACKAGE, "environment": {"A": "b"}},
    }


def test_the_configuration_has_one_variant_with_its_instances() -> None:
    inputs = endpoint(instance_type="ml.c5.large", instance_count=3)["e-config"].inputs
    assert inputs == {
        "productionVariants": [
            {
                "variantName": "main",
                "modelName": "e-model-1a2b3c4",
                "instanceType": "ml.c5.large",
                "initialInstanceCount": 3,
                "initialVariantWeight": 1,
            }
        ]
    }
    assert "serverlessConfig" not in inputs["productionVariants"][0]


def test_requests_and_answers_are_captured_and_encrypted() -> None:
    found = endpoint(capture_uri="s3://lake/capture", capture_percent=40, kms_key_arn="arn:key")
    assert found["e-config"].inputs["dataCaptureConfig"] == {
        "enableCapture": True,
        "destinationS3Uri": "s3://lake/capture",
        "initialSamplingPercentage": 40,
        "kmsKeyId": "arn:key",
        "captureOptions": [{"captureMode": "Input"}, {"captureMode": "Output"}],
        "captureContentTypeHeader": {
            "csvContentTypes": ["text/csv"],
            "jsonContentTypes": ["application/json", "application/jsonlines"],
        },
    }


def test_rollback_alarms_are_configured_from_the_start() -> None:
    # Adding the rollback later would replace the endpoint.
    alarms = endpoint(alarm_names=["more"])["e-endpoint"].inputs["deploymentConfig"]["autoRollbackConfiguration"]
    assert alarms == {"alarms": [{"alarmName": name} for name in ("x-errors", "x-latency", "more")]}


def test_alarms_are_created_before_the_endpoint() -> None:
    assert {"e-errors", "e-latency", "e-config"} <= set(endpoint()["e-endpoint"].dependencies)


def test_every_create_and_update_is_verified() -> None:
    assert endpoint()["e-endpoint"].hooks == {
        "after_create": ["e-verified-rollout"],
        "after_update": ["e-verified-rollout"],
    }


def test_the_errors_alarm() -> None:
    assert endpoint(error_rate=0.02, alarm_actions=["arn:topic"])["e-errors"].inputs == {
        "name": "x-errors",
        "alarmDescription": "More than 2% of the requests to x fail.",
        "namespace": "AWS/SageMaker",
        "metricName": "Invocation5XXErrors",
        "dimensions": {"EndpointName": "x", "VariantName": "main"},
        "statistic": "Average",
        "period": 60,
        "evaluationPeriods": 1,
        "threshold": 0.02,
        "comparisonOperator": "GreaterThanThreshold",
        "treatMissingData": "notBreaching",
        "alarmActions": ["arn:topic"],
    }


def test_the_latency_alarm_is_in_microseconds() -> None:
    inputs = endpoint(latency_ms=250)["e-latency"].inputs
    assert (inputs["metricName"], inputs["extendedStatistic"], inputs["threshold"]) == ("ModelLatency", "p99", 250_000)
    assert inputs["dimensions"] == {"EndpointName": "x", "VariantName": "main"}
    assert inputs["treatMissingData"] == "notBreaching"
    assert "statistic" not in inputs


@pytest.mark.parametrize(
    ("rollout", "routing"),
    [
        (Rollout(bake_seconds=600), {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": 600}),
        (
            Rollout(traffic=Traffic.CANARY, step_percent=25, bake_seconds=120),
            {
                "type": "CANARY",
                "waitIntervalInSeconds": 120,
                "canarySize": {"type": "CAPACITY_PERCENT", "value": 25},
            },
        ),
        (
            Rollout(traffic=Traffic.LINEAR, step_percent=30, bake_seconds=120),
            {
                "type": "LINEAR",
                "waitIntervalInSeconds": 120,
                "linearStepSize": {"type": "CAPACITY_PERCENT", "value": 30},
            },
        ),
    ],
)
def test_each_rollout_has_exactly_one_traffic_policy(rollout: Rollout, routing: dict[str, Any]) -> None:
    found = endpoint(rollout=rollout)
    assert set(found["e-endpoint"].inputs["deploymentConfig"]) == {
        "blueGreenUpdatePolicy",
        "autoRollbackConfiguration",
    }
    assert policy(found) == {
        "trafficRoutingConfiguration": routing,
        "terminationWaitInSeconds": rollout.bake_seconds,
        "maximumExecutionTimeoutInSeconds": 3000,
    }


def test_at_most_ten_alarms() -> None:
    endpoint_args(alarm_names=["a"] * 8)
    with pytest.raises(ValueError, match=r"'x' has 9 alarm_names; expected at most 8, .* composite alarm"):
        endpoint_args(alarm_names=["a"] * 9)


@pytest.mark.parametrize("rate", [0, 1, 5.0])
def test_an_error_rate_is_a_share(rate: float) -> None:
    with pytest.raises(ValueError, match=f"error_rate={rate}; expected a share of requests between 0 and 1"):
        endpoint_args(error_rate=rate)


def test_the_limits_in_the_sagemaker_service_model_are_unchanged() -> None:
    model = get_session().get_service_model("sagemaker")
    limits = {
        name: (model.shape_for(name).metadata["min"], model.shape_for(name).metadata["max"])
        for name in (
            "WaitIntervalInSeconds",
            "TerminationWaitInSeconds",
            "MaximumExecutionTimeoutInSeconds",
            "AlarmList",
        )
    }
    assert limits == {
        "WaitIntervalInSeconds": (0, 3600),
        "TerminationWaitInSeconds": (0, 3600),
        "MaximumExecutionTimeoutInSeconds": (600, 28800),
        "AlarmList": (1, 10),
    }


def test_the_endpoint_of_a_stack_follows_its_environment() -> None:
    found, where = flights("dev"), environment("dev")
    endpoint_ = found["flights-dev-endpoint"].inputs
    assert endpoint_["name"] == "flights-dev"
    routing = endpoint_["deploymentConfig"]["blueGreenUpdatePolicy"]["trafficRoutingConfiguration"]
    assert routing["type"] == "CANARY"
    assert routing["canarySize"] == {"type": "CAPACITY_PERCENT", "value": 50}
    assert routing["waitIntervalInSeconds"] == where.rollout.bake_seconds == 300
    config = found["flights-dev-config"].inputs
    (variant,) = config["productionVariants"]
    assert (variant["variantName"], variant["initialInstanceCount"]) == ("main", where.endpoint_count)
    capture = config["dataCaptureConfig"]
    assert capture["destinationS3Uri"] == f"s3://flights-dev-lake-{mocked.ACCOUNT}/capture"
    assert capture["kmsKeyId"] == "arn:of:Key:flights-dev-lake-key"
    container = found["flights-dev-model"].inputs["primaryContainer"]
    assert container["environment"] == {
        "MILLRACE_ENVIRONMENT": "dev",
        "MILLRACE_ACCOUNT": mocked.ACCOUNT,
        "MILLRACE_PROMOTION": "manual",
        "MILLRACE_CLOCK": f"s3://flights-dev-lake-{mocked.ACCOUNT}/clock.json",
        "MILLRACE_MODEL_PACKAGE": container["modelPackageName"],
    }
