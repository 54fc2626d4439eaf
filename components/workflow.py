"""The three pipelines of a use case, with steps that all run the same bundle: features, training, monitor.

Every step is `python3 <bundle> <step> …` in one image. Steps pass their outputs on in the lake, under a prefix of the
execution's own, so that nothing is ever overwritten and every model's data can be found again.
"""

import json
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from components.steps import (
    Condition,
    Definition,
    Parameter,
    Step,
    Value,
    equals,
    execution,
    join,
    json_get,
    output_uri,
    parameter,
    refer_to_job,
)
from millrace import UseCase
from millrace.inventory import JobVariable
from millrace.names import CODE, DATASETS, EVALUATIONS, MODELS, MONITOR_REPORTS, SNAPSHOTS, START, START_FILE

_PROCESSING = "/opt/ml/processing"
_TRAINING = "/opt/ml/input/data"
_HOUR = 3600
_VOLUME_GB = 30

#: A program that compares the SHA-256 of the file in its first argument with its second argument, then runs the file.
#: SageMaker accepts at most 256 characters in an argument.
_RUN_CHECKED = (
    "import hashlib as h,os,sys;p,d,*r=sys.argv[1:];"
    'h.sha256(open(p,"rb").read()).hexdigest()==d or sys.exit(f"error: {p} is not the code that was deployed: '
    'its SHA-256 is not {d}");os.execvp("python3",["python3",p,*r])'
)
assert len(_RUN_CHECKED) <= 256, len(_RUN_CHECKED)

#: The metadata of every model in the evaluation, in addition to the metrics of its gates: its origin, and how it
#: compares with the champion.
_IDENTITY = ("snapshot", "dataset", "code", "parameters", "runtime", "model", "as_of")
_COMPARISON = ("champion", "verdict", "gain", "gain_lower", "gain_upper", "margin", "look", "comparison")


@dataclass(frozen=True)
class WorkflowArgs:
    """The settings that the jobs of a use case have in common.

    Attributes:
        use_case: The declaration.
        lake: The bucket that holds everything, and the use case's folder in it where the bucket is shared.
        bundle: The bundle's file name under `code/` in the lake.
        bundle_sha256: Its hash: a job and an endpoint run no other code.
        image: The runtime image.
        job_role_arn: The role of the jobs.
        key_arn: The key that encrypts volumes and outputs.
        instance_type: The instance type of every job.
        model_package_group: Where models are registered.
        serving_instance_types: Instance types that the registry lists as fit for serving.
        environment: The jobs' environment variables.
    """

    use_case: UseCase
    lake: str
    bundle: str
    bundle_sha256: str
    image: str
    job_role_arn: str
    key_arn: str
    instance_type: str
    model_package_group: str
    serving_instance_types: Sequence[str]
    environment: Mapping[str, str] = field(default_factory=dict)


def define_features_pipeline(args: WorkflowArgs) -> Definition:
    """Return the pipeline that publishes the tables' new rows to the feature store."""
    publish = _processing(args, "Publish", ["publish", "--as-of", parameter("AsOf")])
    return Definition([Parameter("AsOf", "now")], [publish])


def define_monitor_pipeline(args: WorkflowArgs) -> Definition:
    """Return the pipeline that compares served rows with training data and outcomes, and publishes metrics."""
    step = _processing(
        args, "Monitor", ["monitor", "--as-of", parameter("AsOf")], outputs={"report": _place(args, MONITOR_REPORTS)}
    )
    return Definition([Parameter("AsOf", "now")], [step])


def define_training_pipeline(args: WorkflowArgs) -> Definition:
    """Return the pipeline that trains a model: Ingest → Needed → Validate → Dataset → Train → Evaluate → Register.

    Ingest decides whether the start is needed; if it is not, the execution succeeds without training. Every model that
    was evaluated is registered, with the status and the reason that Evaluate gives it. Where the use case has tables,
    Publish updates the feature store meanwhile: Register waits for it, so that no model is registered before its
    features can be looked up.
    """
    ingest = _processing(
        args,
        "Ingest",
        [
            "ingest",
            *("--as-of", parameter("AsOf")),
            *("--trigger", parameter("Trigger")),
            *("--execution", execution("PipelineExecutionArn")),
            *("--champion", parameter("Champion")),
        ],
        outputs={START: _place(args, SNAPSHOTS, START), "snapshot": _place(args, SNAPSHOTS, "raw")},
        property_files={"Start": (START, START_FILE)},
    )
    validate = _processing(
        args,
        "Validate",
        ["validate"],
        inputs={"snapshot": output_uri("Ingest", "snapshot")},
        outputs={"accepted": _place(args, SNAPSHOTS, "accepted"), "report": _place(args, SNAPSHOTS, "report")},
    )
    dataset = _processing(
        args,
        "Dataset",
        ["dataset", "--champion", parameter("Champion")],
        inputs={"snapshot": output_uri("Validate", "accepted")},
        outputs={"dataset": _place(args, DATASETS)},
    )
    evaluate = _processing(
        args,
        "Evaluate",
        ["evaluate", "--champion", parameter("Champion")],
        inputs={
            "dataset": output_uri("Dataset", "dataset"),
            "model": refer_to_job("Train", "ModelArtifacts.S3ModelArtifacts"),
        },
        outputs={"evaluation": _place(args, EVALUATIONS)},
        property_files={"Evaluation": ("evaluation", "evaluation.json")},
    )
    publish = _processing(
        args, "Publish", ["publish", "--snapshot"], inputs={"snapshot": output_uri("Validate", "accepted")}
    )
    publishing = [publish] if args.use_case.tables else []
    register = _register(args, tuple(step.name for step in publishing))
    needed = Condition(
        "Needed",
        [equals(json_get("Ingest", "Start", "needed"), 1)],
        then=[validate, dataset, *publishing, _train(args), evaluate, register],
    )
    parameters = [Parameter("AsOf", "now"), Parameter("Champion", "approved"), Parameter("Trigger", "manual")]
    return Definition(parameters, [ingest, needed])


def _place(args: WorkflowArgs, prefix: str, *below: str) -> Value:
    """Return a folder in the lake that belongs only to this execution."""
    return join("s3:/", args.lake, prefix, execution("PipelineExecutionId"), *below)


def _code(args: WorkflowArgs) -> str:
    return f"s3://{args.lake}/{CODE}/{args.bundle}"


def _entrypoint(args: WorkflowArgs, folder: str) -> list[str]:
    """Return the command that runs the bundle in a folder, and fails if it is not the one that was deployed."""
    return ["python3", "-P", "-c", _RUN_CHECKED, f"{folder}/{args.bundle}", args.bundle_sha256]


def _evaluation(path: str) -> Value:
    return json_get("Evaluate", "Evaluation", path)


def _processing(
    args: WorkflowArgs,
    name: str,
    arguments: Sequence[Value],
    *,
    inputs: Mapping[str, Value] | None = None,
    outputs: Mapping[str, Value] | None = None,
    property_files: Mapping[str, tuple[str, str]] | None = None,
) -> Step:
    """Return a processing job that runs one step of the bundle.

    Args:
        args: What all steps of the workflow share.
        name: The step's name in the pipeline.
        arguments: The bundle's arguments: the step's module and its options.
        inputs: Folder name → S3 URI.
        outputs: Folder name → S3 URI.
        property_files: Property file → output folder and path in it, for steps that read values of this one.
    """
    request: dict[str, Any] = {
        "AppSpecification": {
            "ImageUri": args.image,
            "ContainerEntrypoint": _entrypoint(args, f"{_PROCESSING}/input/code"),
            "ContainerArguments": list(arguments),
        },
        "ProcessingResources": {
            "ClusterConfig": {
                "InstanceCount": 1,
                "InstanceType": args.instance_type,
                "VolumeSizeInGB": _VOLUME_GB,
                "VolumeKmsKeyId": args.key_arn,
            }
        },
        "ProcessingInputs": [
            _processing_input(folder, uri) for folder, uri in {"code": _code(args), **(inputs or {})}.items()
        ],
        "ProcessingOutputConfig": {
            "KmsKeyId": args.key_arn,
            "Outputs": [_processing_output(folder, uri) for folder, uri in (outputs or {}).items()],
        },
        "Environment": dict(args.environment),
        "StoppingCondition": {"MaxRuntimeInSeconds": _HOUR},
        "RoleArn": args.job_role_arn,
    }
    if not outputs:
        del request["ProcessingOutputConfig"]
    return Step(name, "Processing", request, property_files=property_files or {})


def _processing_input(name: str, uri: Value) -> dict[str, Any]:
    return {
        "InputName": name,
        "S3Input": {
            "S3Uri": uri,
            "LocalPath": f"{_PROCESSING}/input/{name}",
            "S3DataType": "S3Prefix",
            "S3InputMode": "File",
        },
    }


def _processing_output(name: str, uri: Value) -> dict[str, Any]:
    return {
        "OutputName": name,
        "S3Output": {"S3Uri": uri, "LocalPath": f"{_PROCESSING}/output/{name}", "S3UploadMode": "EndOfJob"},
    }


def _train(args: WorkflowArgs) -> Step:
    request = {
        "AlgorithmSpecification": {
            "TrainingImage": args.image,
            "TrainingInputMode": "File",
            "ContainerEntrypoint": _entrypoint(args, f"{_TRAINING}/code"),
            "ContainerArguments": ["train"],
            "MetricDefinitions": [
                {"Name": f"holdout_{name}", "Regex": f"holdout_{name}=([-0-9.e+]+);"} for name in _judged(args.use_case)
            ],
        },
        # Hyperparameters are texts; JSON keeps their types.
        "HyperParameters": {name: json.dumps(value) for name, value in args.use_case.parameters.items()},
        "InputDataConfig": [
            _channel("code", _code(args)),
            _channel("dataset", output_uri("Dataset", "dataset")),
        ],
        "OutputDataConfig": {"S3OutputPath": _place(args, MODELS), "KmsKeyId": args.key_arn},
        "ResourceConfig": {
            "InstanceCount": 1,
            "InstanceType": args.instance_type,
            "VolumeSizeInGB": _VOLUME_GB,
            "VolumeKmsKeyId": args.key_arn,
        },
        "Environment": dict(args.environment),
        "StoppingCondition": {"MaxRuntimeInSeconds": _HOUR},
        "RoleArn": args.job_role_arn,
    }
    if not request["HyperParameters"]:
        del request["HyperParameters"]
    return Step("Train", "Training", request)


def _channel(name: str, uri: Value) -> dict[str, Any]:
    source = {"S3DataType": "S3Prefix", "S3Uri": uri, "S3DataDistributionType": "FullyReplicated"}
    return {"ChannelName": name, "DataSource": {"S3DataSource": source}}


def _judged(use_case: UseCase) -> list[str]:
    """Return the metrics that decide about a model, each once."""
    return list(dict.fromkeys([*(gate.metric for gate in use_case.gates), use_case.champion_metric]))


def _register(args: WorkflowArgs, depends_on: tuple[str, ...]) -> Step:
    evaluation = join(output_uri("Evaluate", "evaluation"), "evaluation.json")
    intervals = [f"{gate.metric}_{end}" for gate in args.use_case.gates for end in ("lower", "upper")]
    names = dict.fromkeys([*_IDENTITY, *_COMPARISON, *_judged(args.use_case), *intervals])
    lineage = {name: _evaluation(f"metadata.{name}") for name in names}
    request = {
        "ModelPackageGroupName": args.model_package_group,
        "InferenceSpecification": {
            "Containers": [
                {
                    "Image": args.image,
                    "ModelDataUrl": refer_to_job("Train", "ModelArtifacts.S3ModelArtifacts"),
                    "Environment": {JobVariable.BUNDLE_SHA256.value: args.bundle_sha256},
                }
            ],
            "SupportedContentTypes": ["application/json", "application/jsonlines", "text/csv"],
            "SupportedResponseMIMETypes": ["application/json", "application/jsonlines", "text/csv"],
            "SupportedRealtimeInferenceInstanceTypes": list(args.serving_instance_types),
        },
        "ModelApprovalStatus": _evaluation("approval.status"),
        "ModelPackageDescription": _evaluation("approval.description"),
        "ModelMetrics": {"ModelQuality": {"Statistics": {"ContentType": "application/json", "S3Uri": evaluation}}},
        "CustomerMetadataProperties": {
            **lineage,
            "data_uri": output_uri("Validate", "accepted"),
            "code_uri": _code(args),
            "execution": execution("PipelineExecutionArn"),
            "trigger": parameter("Trigger"),
        },
    }
    return Step("Register", "RegisterModel", request, depends_on)
