"""An endpoint that is updated by blue/green deployment, with a check that the update succeeded."""

from dataclasses import dataclass, field
from typing import Any

import pulumi
import pulumi_aws as aws

from components.verified_rollout import make_verification_hooks
from millrace.errors import InvalidValueError
from millrace.rollout import Rollout, Traffic


@dataclass
class BlueGreenEndpointArgs:
    """Inputs of :class:`BlueGreenEndpoint`.

    Attributes:
        endpoint_name: Known before the endpoint exists, because its alarms name it.
        variant_name: Stays the same across configurations.
        model_package_arn: The package that serves.
        role_arn: The role of the model's containers.
        region: Where the endpoint is; the check after a deployment asks there.
        errors_alarm: The name of the endpoint's alarm on errors.
        latency_alarm: The name of the endpoint's alarm on latency.
        instance_type: The type of the instances.
        instance_count: Number of instances; at least what scaling would set, because every deployment starts from it.
        capture_uri: Where requests and answers go, `s3://…`; None captures nothing.
        capture_percent: Share of requests captured.
        kms_key_arn: The key that encrypts captured data.
        alarm_names: Alarms that roll back a deployment in addition to the endpoint's own two, at most 8.
        error_rate: Share of requests answered 5xx within a minute from which the errors alarm fires.
        latency_ms: 99th percentile of the model's latency, over two minutes, from which the latency alarm fires.
        alarm_actions: ARNs of topics that the endpoint's own alarms notify.
        environment: Environment variables of the model's container.
        rollout: The way in which a new model takes over.
        protect: Whether `pulumi destroy` refuses to delete the endpoint.
        rollback_report: The file to which a rolled-back deployment is written, as JSON; None writes none.
    """

    endpoint_name: str
    variant_name: str
    model_package_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    region: str
    errors_alarm: str
    latency_alarm: str
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
    rollout: Rollout = field(default_factory=Rollout)
    protect: bool = True
    rollback_report: str | None = None

    def __post_init__(self) -> None:
        if len(self.alarm_names) > 8:
            raise InvalidValueError(
                f"BlueGreenEndpoint {self.endpoint_name!r}",
                f"has {len(self.alarm_names)} alarm_names",
                expected="at most 8, since SageMaker watches ten and two are the endpoint's own",
                fix="combine some into a composite alarm",
            )
        if not 0 < self.error_rate < 1:
            raise InvalidValueError(
                f"BlueGreenEndpoint {self.endpoint_name!r}",
                f"has error_rate={self.error_rate}",
                expected="a share of requests between 0 and 1",
            )


class BlueGreenEndpoint(pulumi.ComponentResource):
    """An endpoint that is updated by blue/green deployment.

    Creates two MetricAlarms, a Model, an EndpointConfiguration and an Endpoint. The alarms, on errors and latency, roll
    back a deployment if they fire while it bakes. Model and configuration get new names with each change and are kept
    when replaced, because a rollback needs them. A deployment that was rolled back fails the `up` with the reason,
    although the provider reports success.
    """

    endpoint_name: pulumi.Output[str]
    endpoint_arn: pulumi.Output[str]
    config_name: pulumi.Output[str]
    alarm_names: list[str]

    def __init__(self, name: str, args: BlueGreenEndpointArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:BlueGreenEndpoint", name, None, opts)
        alarms = [self._errors_alarm(name, args).name, self._latency_alarm(name, args).name, *args.alarm_names]
        # Set explicitly, because children inherit both from the component.
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
                parent=self,
                protect=args.protect,
                retain_on_delete=False,
                hooks=make_verification_hooks(name, args.region, args.rollback_report),
            ),
        )
        self.alarm_names = [args.errors_alarm, args.latency_alarm]
        self.endpoint_name = endpoint.name
        self.endpoint_arn = endpoint.arn
        self.config_name = config.name
        self.register_outputs({"endpointName": endpoint.name, "endpointArn": endpoint.arn, "configName": config.name})

    def _errors_alarm(self, name: str, args: BlueGreenEndpointArgs) -> aws.cloudwatch.MetricAlarm:
        return aws.cloudwatch.MetricAlarm(
            f"{name}-errors",
            name=args.errors_alarm,
            alarm_description=f"More than {args.error_rate:.0%} of the requests to {args.endpoint_name} fail.",
            metric_name="Invocation5XXErrors",
            # The metric is 1 or 0 for each request, so that its average is the rate.
            statistic="Average",
            evaluation_periods=1,
            threshold=args.error_rate,
            **_on_variant(args),
            opts=pulumi.ResourceOptions(parent=self),
        )

    def _latency_alarm(self, name: str, args: BlueGreenEndpointArgs) -> aws.cloudwatch.MetricAlarm:
        return aws.cloudwatch.MetricAlarm(
            f"{name}-latency",
            name=args.latency_alarm,
            alarm_description=f"One request in a hundred to {args.endpoint_name} takes over {args.latency_ms:g} ms.",
            metric_name="ModelLatency",
            extended_statistic="p99",
            evaluation_periods=2,
            # The metric is in microseconds.
            threshold=args.latency_ms * 1000,
            **_on_variant(args),
            opts=pulumi.ResourceOptions(parent=self),
        )


def _on_variant(args: BlueGreenEndpointArgs) -> dict[str, Any]:
    """Return the arguments that both alarms share; without requests the alarms do not fire."""
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


def _policy(rollout: Rollout) -> aws.sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyArgsDict:
    routing: aws.sagemaker.EndpointDeploymentConfigBlueGreenUpdatePolicyTrafficRoutingConfigurationArgsDict = {
        "type": rollout.traffic.value.upper(),
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
