"""Which members of a request this cloud honours, when it comes and in a step of a pipeline alike.

A member that only observes, or that asks for nothing, is accepted and echoed by ``Describe…``. One that would change
the result and is not here is refused by name. What is false, or an empty list, asks for nothing.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.core.errors import AwsError, validation_error
from local.services.sagemaker import values


@dataclass(frozen=True)
class Struct:
    """The members of a structure that are honoured.

    Attributes:
        members: What is known of each: None when any value will do.
        called: How a refusal calls it; ``{where}`` is what it is in, and its own members can be named.
        needs: Members that must be there, though AWS's model leaves them out for kinds that are not here.
    """

    members: Mapping[str, Known]
    called: str = ""
    needs: tuple[str, ...] = ()


@dataclass(frozen=True)
class Each:
    """A list of structures."""

    of: Struct


@dataclass(frozen=True)
class Only:
    """A value that must be one of these."""

    of: tuple[str, ...]


Known = Struct | Each | Only | None


def _any(*names: str) -> dict[str, Known]:
    return dict.fromkeys(names)


_CLUSTER = _any("InstanceCount", "InstanceType", "VolumeSizeInGB", "VolumeKmsKeyId")
_SIZE = ("InstanceCount", "InstanceType")
_S3_SOURCE = Struct(_any("S3DataType", "S3Uri", "S3DataDistributionType"), "S3DataSource of {where}")

_TRAINING = Struct(
    {
        **_any(
            "TrainingJobName", "HyperParameters", "RoleArn", "OutputDataConfig", "VpcConfig", "Tags", "Environment",
            "EnableNetworkIsolation", "EnableManagedSpotTraining", "EnableInterContainerTrafficEncryption",
            "CheckpointConfig", "TensorBoardOutputConfig",
            # These observe, or concern faults and prices that this cloud does not have.
            "DebugHookConfig", "ProfilerConfig", "ExperimentConfig", "RetryStrategy", "RemoteDebugConfig",
            "InfraCheckConfig", "SessionChainingConfig",
        ),
        "AlgorithmSpecification": Struct(
            {
                **_any(
                    "TrainingImage", "TrainingInputMode", "MetricDefinitions", "ContainerEntrypoint",
                    "ContainerArguments", "EnableSageMakerMetricsTimeSeries",
                ),
                "TrainingImageConfig": Struct(
                    {"TrainingRepositoryAccessMode": Only(("Platform",))}, "TrainingImageConfig"
                ),
            },
            "AlgorithmSpecification",
            ("TrainingImage",),
        ),
        "ResourceConfig": Struct({**_CLUSTER, **_any("KeepAlivePeriodInSeconds")}, "ResourceConfig", _SIZE),
        "StoppingCondition": Struct(
            _any("MaxRuntimeInSeconds", "MaxWaitTimeInSeconds", "MaxPendingTimeInSeconds"), "StoppingCondition"
        ),
        "InputDataConfig": Each(
            Struct(
                {
                    **_any("ChannelName", "ContentType", "InputMode"),
                    "CompressionType": Only(("None",)),
                    "RecordWrapperType": Only(("None",)),
                    "DataSource": Struct({"S3DataSource": _S3_SOURCE}, "DataSource of {where}", ("S3DataSource",)),
                },
                "channel {ChannelName}",
            )
        ),
    },
    needs=("AlgorithmSpecification", "ResourceConfig"),
)  # fmt: skip

_PROCESSING = Struct(
    {
        **_any(
            "ProcessingJobName", "StoppingCondition", "AppSpecification", "Environment", "NetworkConfig", "RoleArn",
            "Tags", "ExperimentConfig",
        ),
        "ProcessingResources": Struct(
            {"ClusterConfig": Struct(_CLUSTER, "ClusterConfig", _SIZE)}, "ProcessingResources"
        ),
        "ProcessingInputs": Each(
            Struct(
                {
                    **_any("InputName"),
                    "S3Input": Struct(
                        {
                            **_any("S3Uri", "LocalPath", "S3DataType", "S3InputMode", "S3DataDistributionType"),
                            "S3CompressionType": Only(("None",)),
                        },
                        "S3Input of {where}",
                    ),
                },
                "input {InputName}",
                ("S3Input",),
            )
        ),
        "ProcessingOutputConfig": Struct(
            {
                **_any("KmsKeyId"),
                "Outputs": Each(Struct(_any("OutputName", "S3Output"), "output {OutputName}", ("S3Output",))),
            },
            "ProcessingOutputConfig",
        ),
    }
)  # fmt: skip

_CONTAINER = Struct(
    {
        **_any("Image", "ModelDataUrl", "Environment", "ModelPackageName", "ContainerHostname", "Mode"),
        "ImageConfig": Struct({"RepositoryAccessMode": Only(("Platform",))}, "ImageConfig"),
    },
    "a container",
)

_MODEL = Struct(
    {
        **_any(
            "ModelName", "ExecutionRoleArn", "Tags", "VpcConfig", "EnableNetworkIsolation", "InferenceExecutionConfig",
        ),
        "PrimaryContainer": _CONTAINER,
        "Containers": Each(_CONTAINER),
    }
)  # fmt: skip

_ENDPOINT_CONFIG = Struct(
    {
        **_any(
            "EndpointConfigName", "Tags", "KmsKeyId", "DataCaptureConfig", "VpcConfig", "ExecutionRoleArn",
            "MetricsConfig",
        ),
        "ProductionVariants": Each(
            Struct(
                {
                    **_any(
                        "VariantName", "ModelName", "InitialInstanceCount", "InstanceType", "InitialVariantWeight",
                        "VolumeSizeInGB", "ModelDataDownloadTimeoutInSeconds",
                        "ContainerStartupHealthCheckTimeoutInSeconds", "InferenceAmiVersion", "CoreDumpConfig",
                    ),
                    "RoutingConfig": Struct(_any("RoutingStrategy"), "RoutingConfig of {where}"),
                },
                "production variant {VariantName}",
            )
        ),
    }
)  # fmt: skip

_OPERATIONS: Mapping[str, Struct] = {
    "CreateTrainingJob": _TRAINING,
    "CreateProcessingJob": _PROCESSING,
    "CreateModel": _MODEL,
    "CreateEndpointConfig": _ENDPOINT_CONFIG,
}


def check_members(operation: str, params: Mapping[str, Any]) -> None:
    """Refuse members that would change what the operation does, and that this cloud does not honour.

    Raises:
        AwsError: ``ValidationException`` that names them.
    """
    for finding in find_refused(operation, params):
        raise refusal(finding)


def refuse_others(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse members that this cloud does not honour, by name.

    Raises:
        AwsError: ``ValidationException``.
    """
    for finding in _struct(Struct(_any(*known)), given, where):
        raise refusal(finding)


def refusal(finding: str) -> AwsError:
    """Return the refusal for what :func:`find_refused` found."""
    return validation_error(f"{finding} in the local cloud.")


def find_refused(operation: str, params: Mapping[str, Any]) -> Iterator[str]:
    """Yield what is refused of a request, or of the arguments of a step, whose functions are not looked into."""
    if spec := _OPERATIONS.get(operation):
        yield from _struct(spec, params, operation)


def _struct(spec: Struct, given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, Mapping) or values.function(given):
        return
    if spec.called:
        where = spec.called.format_map(_Names({**given, "where": where}))
    others = sorted(name for name, value in given.items() if name not in spec.members and not is_empty(value))
    if others:
        yield f"{', '.join(others)} of {where} is not available"
    for name in spec.needs:
        if given.get(name) is None:
            yield f"{name} is required for {where}"
    for name, known in spec.members.items():
        value = given.get(name)
        if isinstance(known, Struct):
            yield from _struct(known, value, where)
        elif isinstance(known, Each) and isinstance(value, list):
            for each in value:
                yield from _struct(known.of, each, where)
        elif isinstance(known, Only) and isinstance(value, str) and value not in known.of:
            yield f"{name} of {where}: {value} is not available; available: {', '.join(known.of)}"


def is_empty(value: Any) -> bool:
    """Tell whether a member asks for nothing: it is null, false, or an empty text or list.

    An empty structure may ask for something by being there, as ``AsyncInferenceConfig`` does.
    """
    return value is None or value is False or (isinstance(value, str | list) and not value)


class _Names(dict[str, Any]):
    """Members of a structure, by which it is called; those that are not given are called so."""

    def __missing__(self, key: str) -> str:
        return f"without {key}"
