"""The request members that the local cloud supports, in direct calls and in pipeline steps alike.

A member that only observes, or that is empty, is accepted and returned by ``Describe…``. A member that would change
the result but is not supported is refused by name. Null, false, and an empty string or list count as empty.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass
from typing import Any

from local.core.errors import AwsError, validation_error
from local.services.sagemaker import values


@dataclass(frozen=True)
class Struct:
    """A structure and its supported members.

    Attributes:
        members: The specification of each supported member; None accepts any value.
        called: The structure's name in refusals; ``{where}`` is the place that contains it, and the structure's own
            members can be used as fields too.
        needs: Required members that are optional in AWS's model, because kinds that are not available here omit them.
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
            # These only observe, or concern faults and prices that the local cloud does not have.
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
    """Refuse a request with unsupported or missing members.

    Args:
        operation: The operation's name; one without a specification here is not checked.
        params: Its parameters.

    Raises:
        AwsError: ``ValidationException`` with the first finding.
    """
    for finding in find_refused(operation, params):
        raise make_refusal(finding)


def refuse_others(given: Mapping[str, Any], known: Iterable[str], where: str) -> None:
    """Refuse members that are neither in ``known`` nor empty.

    Args:
        given: The members of a request or of a structure in it.
        known: The names of the supported members.
        where: The operation's or the structure's name for the message.

    Raises:
        AwsError: ``ValidationException`` that names them.
    """
    for finding in _struct(Struct(_any(*known)), given, where):
        raise make_refusal(finding)


def make_refusal(finding: str) -> AwsError:
    """Return the ``ValidationException`` for a finding of :func:`find_refused`."""
    return validation_error(f"{finding} in the local cloud.")


def find_refused(operation: str, params: Mapping[str, Any]) -> Iterator[str]:
    """Yield a message for each fault in the members of a request or of a step's arguments.

    A fault is an unsupported member or value, or a missing member. Calls of pipeline functions are not checked.

    Args:
        operation: The name of the operation, or of that which a step calls; one without a specification has no faults.
        params: The request's parameters or the step's arguments.
    """
    if spec := _OPERATIONS.get(operation):
        yield from _struct(spec, params, operation)


def _struct(spec: Struct, given: Any, where: str) -> Iterator[str]:
    if not isinstance(given, Mapping) or values.find_function_name(given):
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


def select_members(document: Mapping[str, Any], members: Iterable[str]) -> dict[str, Any]:
    """Return the given members of a request or a document, as far as it has them.

    Args:
        document: The request's parameters or the document.
        members: The names of the members, in the order of the result.
    """
    return {member: document[member] for member in members if member in document}


def is_empty(value: Any) -> bool:
    """Return True if a member's value is null, false, or an empty string or list.

    An empty structure is different: its presence can be a request, as with ``AsyncInferenceConfig``.

    Args:
        value: The value, as parsed from JSON.
    """
    return value is None or value is False or (isinstance(value, str | list) and not value)


class _Names(dict[str, Any]):
    """A structure's members for ``format_map``; a missing member is formatted as ``without <name>``."""

    def __missing__(self, key: str) -> str:
        return f"without {key}"
