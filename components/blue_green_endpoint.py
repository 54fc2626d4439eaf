"""An endpoint that takes a new model by blue/green deployment and proves that it did."""

from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

import pulumi
import pulumi_aws as aws

from components.verified_rollout import verified

#: A roll-out that takes longer is refused: the provider waits an hour for an endpoint, and fleets take time to start.
LONGEST = 3300


class Traffic(StrEnum):
    """How traffic moves from the old fleet to the new one."""

    ALL_AT_ONCE = "ALL_AT_ONCE"
    CANARY = "CANARY"
    LINEAR = "LINEAR"


@dataclass
class RolloutArgs:
    """How a new configuration takes over.

    Attributes:
        traffic: All at once, or in shares.
        step_percent: The share of a canary (at most 50) or of each linear step (10 to 50), percent of capacity.
        bake_seconds: How long alarms are watched after each shift, 0 to 3600.
        max_seconds: When an unfinished roll-out is undone, 600 to 3300.
    """

    traffic: Traffic = Traffic.ALL_AT_ONCE
    step_percent: int = 10
    bake_seconds: int = 300
    max_seconds: int = 3000

    def __post_init__(self) -> None:
        low = 10 if self.traffic is Traffic.LINEAR else 1
        if not low <= self.step_percent <= 50:
            raise ValueError(
                f"rollout: step_percent={self.step_percent}, expected {low} to 50 for {self.traffic.value}"
            )
        if not 0 <= self.bake_seconds <= 3600:
            raise ValueError(f"rollout: bake_seconds={self.bake_seconds}, expected 0 to 3600")
        if not 600 <= self.max_seconds <= LONGEST:
            raise ValueError(
                f"rollout: max_seconds={self.max_seconds}, expected 600 to {LONGEST}: "
                "the provider stops waiting after an hour"
            )
        if self.seconds >= self.max_seconds:
            raise ValueError(
                f"rollout: bake_seconds={self.bake_seconds} after each shift and before the old fleet ends take "
                f"{self.seconds} s, expected less than max_seconds={self.max_seconds}: "
                "shorten bake_seconds or take larger steps"
            )

    @property
    def seconds(self) -> int:
        """All waits together, the one before the old fleet is ended included, seconds."""
        shifts = {Traffic.ALL_AT_ONCE: 1, Traffic.CANARY: 2, Traffic.LINEAR: -(-100 // self.step_percent)}
        return (shifts[self.traffic] + 1) * self.bake_seconds


@dataclass
class BlueGreenEndpointArgs:
    """Inputs of :class:`BlueGreenEndpoint`.

    Attributes:
        endpoint_name: Known before the endpoint exists, because its alarms name it.
        variant_name: Stays the same across configurations.
        model_package_arn: The package that serves.
        role_arn: The role of the model's containers.
        region: Where the endpoint is; the check after a deployment asks there.
        instance_type: Of the servers.
        instance_count: How many; at least what scaling would set, because every deployment starts from it.
        capture_uri: Where requests and answers go, `s3://…`; None captures nothing.
        capture_percent: Share of requests captured.
        kms_key_arn: Encrypts captured data.
        alarm_names: More alarms that undo a deployment, at most 8, beside the endpoint's own two.
        error_rate: Share of requests answered 5xx within a minute from which the errors alarm fires.
        latency_ms: 99th percentile of the model's latency, over two minutes, from which the latency alarm fires.
        alarm_actions: ARNs of topics that are told of the endpoint's own alarms.
        environment: Of the model's container.
        rollout: How a new model takes over.
        protect: Whether `pulumi destroy` refuses to delete the endpoint.
    """

    endpoint_name: str
    variant_name: str
    model_package_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    region: str
    alarm_names: list[pulumi.Input[str]] = field(default_factory=list)
    error_rate: float = 0.05
    latency_ms: float = 1000.0
    alarm_actions: list[pulumi.Input[str]] = field(default_factory=list)
    instance_type: str = "ml.m5.large"
    instance_count: int = 1
    capture_uri: str | None = None
    capture_percent: int = 100
    kms_key_arn: pulumi.Input[str] | None = None
    environment: dict[str, str] = field(default_factory=dict)
    rollout: RolloutArgs = field(default_factory=RolloutArgs)
    protect: bool = True

    def __post_init__(self) -> None:
        if len(self.alarm_names) > 8:
            raise ValueError(
                f"BlueGreenEndpoint {self.endpoint_name!r}: {len(self.alarm_names)} alarm_names, expected at most 8: "
                "SageMaker watches ten, and two are the endpoint's own; join some in a composite alarm"
            )
        if not 0 < self.error_rate < 1:
            raise ValueError(
                f"BlueGreenEndpoint {self.endpoint_name!r}: error_rate={self.error_rate}, "
                "expected a share of requests between 0 and 1"
            )


class BlueGreenEndpoint(pulumi.ComponentResource):
    """Makes two MetricAlarms, a Model, an EndpointConfiguration and an Endpoint.

    The alarms, on errors and latency, undo a deployment when they fire while it bakes.
    Model and configuration are named anew for each change and kept when replaced, so that a roll-back has something
    to stand on. A deployment that was rolled back fails the `up` with the reason, though the provider calls it done.
    """

    endpoint_name: pulumi.Output[str]
    endpoint_arn: pulumi.Output[str]
    config_name: pulumi.Output[str]
    alarm_names: list[str]

    def __init__(self, name: str, args: BlueGreenEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:BlueGreenEndpoint", name, None, opts)
        alarms = [self._errors_alarm(name, args).name, self._latency_alarm(name, args).name, *args.alarm_names]
        # Said outright: children inherit both from the component.
        kept = pulumi.ResourceOptions(parent=self, protect=False, retain_on_delete=True)
        model = aws.sagemaker.Model(
            f"{name}-model",
            execution_role_arn=args.role_arn,
            primary_container={"model_package_name": args.model_package_arn, "environment": args.environment},
            opts=kept,
        )
        config = aws.sagemaker.EndpointConfiguration(
            f"{name}-config",
            production_variants=[
                {
                    "variant_name": args.variant_name,
                    "model_name": model.name,
                    "instance_type": args.instance_type,
                    "initial_instance_count": args.instance_count,
                    "initial_variant_weight": 1,
                }
            ],
            data_capture_config=_capture(args),
            opts=kept,
        )
        endpoint = aws.sagemaker.Endpoint(
            f"{name}-endpoint",
            name=args.endpoint_name,
            endpoint_config_name=config.name,
            deployment_config={
                "blue_green_update_policy": _policy(args.rollout),
                "auto_rollback_configuration": {"alarms": [{"alarm_name": alarm} for alarm in alarms]},
            },
            opts=pulumi.ResourceOptions(
                parent=self, protect=args.protect, retain_on_delete=False, hooks=verified(name, args.region)
            ),
        )
        self.alarm_names = [errors_alarm(args.endpoint_name), latency_alarm(args.endpoint_name)]
        self.endpoint_name = endpoint.name
        self.endpoint_arn = endpoint.arn
        self.config_name = config.name
        self.register_outputs({"endpointName": endpoint.name, "endpointArn": endpoint.arn, "configName": config.name})

    def _errors_alarm(self, name: str, args: BlueGreenEndpointArgs) -> aws.cloudwatch.MetricAlarm:
        return aws.cloudwatch.MetricAlarm(
            f"{name}-errors",
            name=errors_alarm(args.endpoint_name),
            alarm_description=f"More than {args.error_rate:.0%} of the requests to {args.endpoint_name} fail.",
            metric_name="Invocation5XXErrors",
            # 1 or 0 a request, so that the average is the rate.
            statistic="Average",
            evaluation_periods=1,
            threshold=args.error_rate,
            **_on_variant(args),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _latency_alarm(self, name: str, args: BlueGreenEndpointArgs) -> aws.cloudwatch.MetricAlarm:
        return aws.cloudwatch.MetricAlarm(
            f"{name}-latency",
            name=latency_alarm(args.endpoint_name),
            alarm_description=f"One request in a hundred to {args.endpoint_name} takes over {args.latency_ms:g} ms.",
            metric_name="ModelLatency",
            extended_statistic="p99",
            evaluation_periods=2,
            # The metric is in microseconds.
            threshold=args.latency_ms * 1000,
            **_on_variant(args),
            opts=pulumi.ResourceOptions(parent=self),
        )


def errors_alarm(endpoint_name: str) -> str:
    """The name of an endpoint's alarm on errors."""
    return f"{endpoint_name}-errors"


def latency_alarm(endpoint_name: str) -> str:
    """The name of an endpoint's alarm on latency."""
    return f"{endpoint_name}-latency"


def _on_variant(args: BlueGreenEndpointArgs) -> dict[str, Any]:
    """What both alarms share; no requests are no failure."""
    return {
        "namespace": "AWS/SageMaker",
        "dimensions": {"EndpointName": args.endpoint_name, "VariantName": args.variant_name},
        "period": 60,
        "comparison_operator": "GreaterThanThreshold",
        "treat_missing_data": "notBreaching",
        "alarm_actions": args.alarm_actions,
    }


def _capture(args: BlueGreenEndpointArgs) -> aws.sagemaker.EndpointConfigurationDataCaptureConfigArgsDict | None:
    if args.capture_uri is None:
        return None
    return {
        "enable_capture": True,
        "destination_s3_uri": args.capture_uri,
        "initial_sampling_percentage": args.capture_percent,
        "kms_key_id": args.kms_key_arn,
        "capture_options": [{"capture_mode": "Input"}, {"capture_mode": "Output"}],
        "capture_content_type_header": {
            "csv_content_types": ["text/csv"],
            "json_content_types": ["application/json", "application/jsonlines"],
        },
    }


def _policy(rollout: RolloutArgs) -> aws.sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyArgsDict:
    routing: aws.sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyTrafficRoutingConfigurationArgsDict = {
        "type": rollout.traffic.value,
        "wait_interval_in_seconds": rollout.bake_seconds,
    }
    if rollout.traffic is Traffic.CANARY:
        routing["canary_size"] = {"type": "CAPACITY_PERCENT", "value": rollout.step_percent}
    elif rollout.traffic is Traffic.LINEAR:
        routing["linear_step_size"] = {"type": "CAPACITY_PERCENT", "value": rollout.step_percent}
    return {
        "traffic_routing_configuration": routing,
        "termination_wait_in_seconds": rollout.bake_seconds,
        "maximum_execution_timeout_in_seconds": rollout.max_seconds,
    }
