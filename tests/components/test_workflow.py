"""The three pipelines of a use case, checked against the service model of SageMaker and the jobs that they start."""

from __future__ import annotations

import hashlib
import json
import re
import subprocess
import tarfile
from collections.abc import Iterator
from dataclasses import replace
from datetime import timedelta
from pathlib import Path
from typing import Any

import jmespath
import pytest
from botocore.model import Shape
from botocore.session import get_session
from botocore.validate import ParamValidator

import stacks
from components import workflow
from components.steps import Definition
from components.workflow import WorkflowArgs
from millrace import FeatureTable, Gate, Slice, UseCase
from millrace.metrics import METRICS
from tests.components import mocked
from tests.training import synthetic
from training.__main__ import _parser
from training.modeling.evaluate import _UNTAKEN

FLIGHTS = stacks.load("flights")
BUNDLE = "millrace-flights-0123456789abcdef.pyz"
SHA256 = "0123456789abcdef" * 4
ROLE = "arn:aws:iam::123456789012:role/flights-dev-job-role-1a2b3c4"
KEY = "arn:aws:kms:eu-west-1:123456789012:key/0b0e9d31-0000-0000-0000-000000000000"
ENVIRONMENT = {"MILLRACE_ENVIRONMENT": "dev", "MILLRACE_ACCOUNT": mocked.ACCOUNT, "MILLRACE_PROMOTION": "manual"}

ARGS = WorkflowArgs(
    use_case=FLIGHTS,
    lake="flights-dev-lake-123456789012",
    bundle=BUNDLE,
    bundle_sha256=SHA256,
    image="123456789012.dkr.ecr.eu-west-1.amazonaws.com/millrace@sha256:" + "0" * 64,
    job_role_arn=ROLE,
    key_arn=KEY,
    instance_type="ml.m5.large",
    model_package_group="flights-dev",
    serving_instance_types=["ml.m5.large"],
    environment=ENVIRONMENT,
)
BUILDERS = {
    "features": workflow.define_features_pipeline,
    "training": workflow.define_training_pipeline,
    "monitor": workflow.define_monitor_pipeline,
}


def parse_definition(definition: Definition) -> dict[str, Any]:
    """Return a definition as SageMaker parses it."""
    parsed: dict[str, Any] = json.loads(definition.definition())
    return parsed


def collect_steps(built: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return all steps by name, including those of both branches."""
    found: dict[str, dict[str, Any]] = {}
    for step in built["Steps"]:
        inner = [*step["Arguments"].get("IfSteps", []), *step["Arguments"].get("ElseSteps", [])]
        found |= {each["Name"]: each for each in (step, *inner)}
    return found


def build_training_steps(args: WorkflowArgs = ARGS) -> dict[str, dict[str, Any]]:
    """Return the steps of the training pipeline."""
    return collect_steps(parse_definition(workflow.define_training_pipeline(args)))


class Later(str):
    """Text that is known only when the pipeline runs, so that it cannot be checked against a pattern."""


def fill_placeholders(value: Any, evaluation: dict[str, Any] | None = None) -> Any:
    """Return the value with a text for each placeholder; paths of the evaluation get their value if it is given."""
    if isinstance(value, dict) and len(value) == 1 and next(iter(value)) in ("Get", "Std:Join", "Std:JsonGet"):
        if "Std:JsonGet" in value and evaluation is not None:
            return jmespath.search(value["Std:JsonGet"]["Path"], evaluation)
        return Later("s3://later")
    if isinstance(value, dict):
        return {key: fill_placeholders(item, evaluation) for key, item in value.items()}
    if isinstance(value, list):
        return [fill_placeholders(item, evaluation) for item in value]
    return value


def _translate_pattern(text: str) -> str:
    """Translate a pattern of botocore into the syntax of Python."""
    for theirs, ours in ((r"\p{L}", "a-zA-Z"), (r"\p{N}", "0-9"), (r"\p{Z}", " "), (r"\p{M}\p{Z}\p{S}", ""), ("$", "")):
        text = text.replace(theirs, ours)
    return re.sub(r"\)\{1,\d+\}$", ")", text)


def find_problems(value: Any, shape: Shape, where: str) -> Iterator[str]:
    """Yield violations that botocore's own validation does not report: enums, patterns and upper bounds."""
    if shape.type_name == "structure":
        for name in value.keys() & shape.members.keys():
            yield from find_problems(value[name], shape.members[name], f"{where}.{name}")
    elif shape.type_name in ("list", "map"):
        if not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", 10**9):
            yield f"{where} has {len(value)} entries"
        if shape.type_name == "list":
            for number, item in enumerate(value):
                yield from find_problems(item, shape.member, f"{where}[{number}]")
        else:
            for key, item in value.items():
                yield from find_problems(key, shape.key, f"{where} key")
                yield from find_problems(item, shape.value, f"{where}[{key}]")
    elif shape.type_name == "integer":
        if not shape.metadata.get("min", -(10**9)) <= value <= shape.metadata.get("max", 10**9):
            yield f"{where} is {value}"
    elif shape.type_name == "string" and not isinstance(value, Later):
        if shape.enum and value not in shape.enum:
            yield f"{where} is {value!r}, none of {shape.enum}"
        if not shape.metadata.get("min", 0) <= len(value) <= shape.metadata.get("max", 10**9):
            yield f"{where} has {len(value)} characters"
        pattern = shape.metadata.get("pattern")
        if pattern and r"\p{S}" not in pattern and not re.fullmatch(_translate_pattern(pattern), value):
            yield f"{where} is {value!r}, not {pattern}"


REQUESTS = {"Processing": "CreateProcessingJob", "Training": "CreateTrainingJob", "RegisterModel": "CreateModelPackage"}


def find_request_problems(step: dict[str, Any], evaluation: dict[str, Any] | None = None) -> list[str]:
    """Return the reasons for which SageMaker would refuse the request of a step."""
    operation = REQUESTS[step["Type"]]
    shape = get_session().get_service_model("sagemaker").operation_model(operation).input_shape
    arguments = fill_placeholders(step["Arguments"], evaluation)
    own = f"{step['Type']}JobName"
    if own in shape.members:
        assert own not in arguments, "SageMaker names the jobs of a pipeline"
        arguments[own] = Later("pipelines-0123456789ab-step-0123456789")
    report = ParamValidator().validate(arguments, shape)
    return [*report.generate_report().splitlines(), *find_problems(arguments, shape, step["Name"])]


SMALL = UseCase(name="small", target="y", key="k", event_time="t", problem="regression")
WIDE = UseCase(
    name="u" * 28,
    target="y",
    key="k",
    event_time="t",
    tables=[FeatureTable("t" * 20, entity="e", columns={"v": "number"})],
    gates=[Gate(name, at_least=0) for name in ("roc_auc", "average_precision", "brier_skill", "ece", "log_loss")],
    slices=[Slice("s")],
    parameters={"b": True, "i": 3, "f": 0.25, "t": "text"},
)


@pytest.mark.parametrize("use_case", [FLIGHTS, SMALL, WIDE], ids=lambda each: each.name[:8])
@pytest.mark.parametrize("pipeline", list(BUILDERS))
def test_every_step_is_a_valid_sagemaker_request(pipeline: str, use_case: UseCase) -> None:
    found = collect_steps(parse_definition(BUILDERS[pipeline](replace(ARGS, use_case=use_case))))
    checked = [name for name, step in found.items() if step["Type"] in REQUESTS and find_request_problems(step) == []]
    assert checked == [name for name, step in found.items() if step["Type"] not in ("Condition", "Fail")]


def test_the_request_check_finds_invalid_values() -> None:
    step = build_training_steps()["Ingest"]
    resources = step["Arguments"]["ProcessingResources"]["ClusterConfig"]
    resources |= {"InstanceType": "ml.none", "InstanceCount": 1000, "Volume": 1}
    step["Arguments"]["RoleArn"] = "no arn"
    found = "\n".join(find_request_problems({**step, "Arguments": {**step["Arguments"], "Environment": {"A B": "x"}}}))
    for what in ("Unknown parameter", "ml.none", "InstanceCount is 1000", "'no arn'", "'A B'"):
        assert what in found


def test_the_pipelines_have_the_expected_steps_and_parameters() -> None:
    built = {name: parse_definition(build(ARGS)) for name, build in BUILDERS.items()}
    assert {name: [step["Name"] for step in each["Steps"]] for name, each in built.items()} == {
        "features": ["Publish"],
        "training": ["Ingest", "Needed"],
        "monitor": ["Monitor"],
    }
    as_of = {"Name": "AsOf", "Type": "String", "DefaultValue": "now"}
    assert built["features"]["Parameters"] == built["monitor"]["Parameters"] == [as_of]
    assert built["training"]["Parameters"] == [
        as_of,
        {"Name": "Champion", "Type": "String", "DefaultValue": "approved"},
        {"Name": "Trigger", "Type": "String", "DefaultValue": "manual"},
    ]
    needed = collect_steps(built["training"])["Needed"]["Arguments"]
    assert [step["Name"] for step in needed["IfSteps"]] == [
        "Validate", "Dataset", "Publish", "Train", "Evaluate", "Register"
    ]  # fmt: skip
    assert needed["ElseSteps"] == []


@pytest.mark.parametrize("pipeline", list(BUILDERS))
def test_two_builds_are_identical_and_contain_no_time(pipeline: str) -> None:
    text = BUILDERS[pipeline](ARGS).definition()
    assert text == BUILDERS[pipeline](replace(ARGS)).definition()
    assert len(text) <= 1_048_576
    assert "CurrentDateTime" not in text
    assert "StartDateTime" not in text


#: The command line of each job; values that begin with a dollar are filled when the pipeline runs.
COMMANDS = {
    "features.Publish": ["publish", "--as-of", "$Parameters.AsOf"],
    "Publish": ["publish", "--snapshot"],
    "Monitor": ["monitor", "--as-of", "$Parameters.AsOf"],
    "Ingest": [
        "ingest",
        *("--as-of", "$Parameters.AsOf"),
        *("--trigger", "$Parameters.Trigger"),
        *("--execution", "$Execution.PipelineExecutionArn"),
        *("--champion", "$Parameters.Champion"),
    ],
    "Validate": ["validate"],
    "Dataset": ["dataset", "--champion", "$Parameters.Champion"],
    "Train": ["train"],
    "Evaluate": ["evaluate", "--champion", "$Parameters.Champion"],
}


def test_every_job_runs_a_bundle_step_in_one_image_under_one_role() -> None:
    ran = {}
    for kind, build in BUILDERS.items():
        for each, step in collect_steps(parse_definition(build(ARGS))).items():
            name = f"{kind}.{each}" if kind == "features" else each
            arguments = step["Arguments"]
            application = arguments.get("AppSpecification") or arguments.get("AlgorithmSpecification")
            if application is None:
                continue
            folder = "/opt/ml/input/data" if step["Type"] == "Training" else "/opt/ml/processing/input"
            *_, path, sha256 = application["ContainerEntrypoint"]
            assert (path, sha256) == (f"{folder}/code/{BUNDLE}", SHA256)
            # SageMaker's limit for each argument of a processing job.
            assert all(len(part) <= 256 for part in application["ContainerEntrypoint"])
            assert application.get("ImageUri", application.get("TrainingImage")) == ARGS.image
            assert arguments["RoleArn"] == ROLE
            assert arguments["Environment"] == ENVIRONMENT
            assert 0 < arguments["StoppingCondition"]["MaxRuntimeInSeconds"] <= 86_400
            line = application["ContainerArguments"]
            ran[name] = [f"${part['Get']}" if isinstance(part, dict) else part for part in line]
            assert _parser().parse_args(ran[name]).step == ran[name][0]
    assert ran == COMMANDS


def test_without_tables_nothing_is_published() -> None:
    found = collect_steps(
        parse_definition(
            workflow.define_training_pipeline(replace(ARGS, use_case=ARGS.use_case.model_copy(update={"tables": ()})))
        )
    )
    assert "Publish" not in found
    assert "DependsOn" not in found["Register"]


def test_a_job_runs_only_the_deployed_code(tmp_path: Path) -> None:
    code = tmp_path / "code.py"
    code.write_text("import sys; print('ran', sys.argv[1:], sys.path[0])")
    args = replace(ARGS, bundle=code.name, bundle_sha256=hashlib.sha256(code.read_bytes()).hexdigest())
    entrypoint = collect_steps(parse_definition(workflow.define_monitor_pipeline(args)))["Monitor"]["Arguments"][
        "AppSpecification"
    ]["ContainerEntrypoint"]
    command = [each.replace("/opt/ml/processing/input/code", str(tmp_path)) for each in entrypoint]

    def run() -> subprocess.CompletedProcess[str]:
        return subprocess.run([*command, "monitor", "--as-of", "now"], capture_output=True, text=True, check=False)

    done = run()
    assert (done.returncode, done.stdout) == (0, f"ran ['monitor', '--as-of', 'now'] {tmp_path}\n"), done.stderr
    code.write_text("print('replaced')")
    done = run()
    assert (done.returncode, done.stdout) == (1, "")
    assert f"error: {code} is not the code that was deployed: its SHA-256 is not {args.bundle_sha256}" in done.stderr


def _list_folders(step: dict[str, Any]) -> tuple[dict[str, str], dict[str, str]]:
    """Return the folders of the inputs and outputs of a processing step, by name."""
    arguments = step["Arguments"]
    ins = {each["InputName"]: each["S3Input"]["LocalPath"] for each in arguments["ProcessingInputs"]}
    outs = {
        each["OutputName"]: each["S3Output"]["LocalPath"]
        for each in arguments.get("ProcessingOutputConfig", {}).get("Outputs", [])
    }
    return ins, outs


@pytest.mark.parametrize(
    ("name", "inputs", "outputs"),
    [
        ("Ingest", ["code"], ["start", "snapshot"]),
        ("Validate", ["code", "snapshot"], ["accepted", "report"]),
        ("Dataset", ["code", "snapshot"], ["dataset"]),
        ("Evaluate", ["code", "dataset", "model"], ["evaluation"]),
        ("Monitor", ["code"], ["report"]),
        ("Publish", ["code", "snapshot"], []),
        ("features.Publish", ["code"], []),
    ],
)
def test_processing_jobs_have_the_expected_folders(name: str, inputs: list[str], outputs: list[str]) -> None:
    found = {
        f"{kind}.{each}" if kind == "features" else each: step
        for kind, build in BUILDERS.items()
        for each, step in collect_steps(parse_definition(build(ARGS))).items()
    }
    ins, outs = _list_folders(found[name])
    assert ins == {each: f"/opt/ml/processing/input/{each}" for each in inputs}
    assert outs == {each: f"/opt/ml/processing/output/{each}" for each in outputs}
    code = found[name]["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3Uri"]
    assert code == f"s3://{ARGS.lake}/code/{BUNDLE}"


def test_every_step_reads_the_output_of_an_earlier_step() -> None:
    found = build_training_steps()

    def taken(name: str, number: int) -> Any:
        return found[name]["Arguments"]["ProcessingInputs"][number]["S3Input"]["S3Uri"]

    def given(step: str, output: str) -> dict[str, str]:
        return {"Get": f"Steps.{step}.ProcessingOutputConfig.Outputs['{output}'].S3Output.S3Uri"}

    assert taken("Validate", 1) == given("Ingest", "snapshot")
    assert taken("Dataset", 1) == given("Validate", "accepted")
    assert taken("Publish", 1) == given("Validate", "accepted")
    assert found["Register"]["DependsOn"] == ["Publish"]
    assert taken("Evaluate", 1) == given("Dataset", "dataset")
    assert taken("Evaluate", 2) == {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"}
    channels = {each["ChannelName"]: each for each in found["Train"]["Arguments"]["InputDataConfig"]}
    assert channels["dataset"]["DataSource"]["S3DataSource"]["S3Uri"] == given("Dataset", "dataset")
    assert channels["code"]["DataSource"]["S3DataSource"]["S3Uri"] == f"s3://{ARGS.lake}/code/{BUNDLE}"


def test_outputs_are_never_overwritten_and_always_encrypted() -> None:
    """Check that outputs have the prefix of their execution, and that volumes and outputs use the lake's key."""
    places = []
    for build in BUILDERS.values():
        for step in collect_steps(parse_definition(build(ARGS))).values():
            arguments = step["Arguments"]
            if step["Type"] == "Processing":
                config = arguments.get("ProcessingOutputConfig", {"KmsKeyId": KEY, "Outputs": []})
                places += [each["S3Output"]["S3Uri"] for each in config["Outputs"]]
                assert config["KmsKeyId"] == KEY
                assert arguments["ProcessingResources"]["ClusterConfig"]["VolumeKmsKeyId"] == KEY
            elif step["Type"] == "Training":
                places.append(arguments["OutputDataConfig"]["S3OutputPath"])
                assert arguments["OutputDataConfig"]["KmsKeyId"] == KEY
                assert arguments["ResourceConfig"]["VolumeKmsKeyId"] == KEY
    values = [place["Std:Join"]["Values"] for place in places]
    assert [each[:2] for each in values] == [["s3:/", ARGS.lake]] * 8
    assert {each[3]["Get"] for each in values} == {"Execution.PipelineExecutionId"}
    whole = [tuple(map(str, each)) for each in values]
    assert len(set(whole)) == len(whole)
    assert {each[2] for each in values} == {"snapshots", "datasets", "models", "evaluations", "monitor"}


def test_hyperparameters_keep_their_types_as_json() -> None:
    given = build_training_steps(replace(ARGS, use_case=WIDE))["Train"]["Arguments"]["HyperParameters"]
    assert given == {"b": "true", "i": "3", "f": "0.25", "t": '"text"'}
    assert {name: json.loads(text) for name, text in given.items()} == dict(WIDE.parameters)
    assert "HyperParameters" not in build_training_steps(replace(ARGS, use_case=SMALL))["Train"]["Arguments"]


def test_training_metrics_are_parsed_from_the_log() -> None:
    definitions = build_training_steps()["Train"]["Arguments"]["AlgorithmSpecification"]["MetricDefinitions"]
    assert [each["Name"] for each in definitions] == [
        f"holdout_{name}" for name in ("roc_auc", "brier_skill", "ece", "brier")
    ]
    for each, said in zip(definitions, (0.5, -0.25, 3e-05, 12.0), strict=True):
        line = f"{each['Name']}={said:.6f};"
        match = re.search(each["Regex"], line)
        assert match is not None
        assert float(match[1]) == pytest.approx(said, abs=1e-6)


def test_only_a_start_that_is_needed_trains() -> None:
    found = build_training_steps()
    (condition,) = found["Needed"]["Arguments"]["Conditions"]
    read = {"PropertyFile": {"Get": "Steps.Ingest.PropertyFiles.Start"}}
    assert condition == {"Type": "Equals", "LeftValue": {"Std:JsonGet": {**read, "Path": "needed"}}, "RightValue": 1}
    assert found["Ingest"]["PropertyFiles"] == [
        {"PropertyFileName": "Start", "OutputName": "start", "FilePath": "start.json"}
    ]
    assert found["Evaluate"]["PropertyFiles"] == [
        {"PropertyFileName": "Evaluation", "OutputName": "evaluation", "FilePath": "evaluation.json"}
    ]


def test_a_model_is_registered_with_its_lineage() -> None:
    arguments = build_training_steps()["Register"]["Arguments"]
    assert arguments["ModelPackageGroupName"] == "flights-dev"
    assert arguments["ModelApprovalStatus"]["Std:JsonGet"]["Path"] == "approval.status"
    (container,) = arguments["InferenceSpecification"]["Containers"]
    assert container == {
        "Image": ARGS.image,
        "ModelDataUrl": {"Get": "Steps.Train.ModelArtifacts.S3ModelArtifacts"},
        "Environment": {"MILLRACE_BUNDLE_SHA256": SHA256},
    }
    lineage = set(arguments["CustomerMetadataProperties"])
    assert lineage == {
        *("snapshot", "dataset", "code", "parameters", "runtime", "model", "as_of"),
        *("champion", "verdict", "gain", "gain_lower", "gain_upper", "margin", "look", "comparison"),
        *("roc_auc", "brier_skill", "ece", "brier"),
        *(f"{metric}_{end}" for metric in ("roc_auc", "brier_skill", "ece") for end in ("lower", "upper")),
        *("data_uri", "code_uri", "execution", "trigger"),
    }


def test_every_metric_may_have_a_gate() -> None:
    """The registry keeps at most fifty properties of a model."""
    for problem, metrics in METRICS.items():
        bounds = [Gate(metric, at_most=1) for metric in metrics]
        use_case = UseCase(name="x", target="y", key="k", event_time="t", problem=problem, gates=bounds)
        register = build_training_steps(replace(ARGS, use_case=use_case))["Register"]
        assert find_request_problems(register) == []
        assert len(register["Arguments"]["CustomerMetadataProperties"]) <= 50


def _find_json_paths(value: Any) -> Iterator[str]:
    if isinstance(value, dict):
        if "Std:JsonGet" in value:
            yield value["Std:JsonGet"]["Path"]
        for item in value.values():
            yield from _find_json_paths(item)
    elif isinstance(value, list):
        for item in value:
            yield from _find_json_paths(item)


@pytest.fixture(scope="module")
def evaluated(tmp_path_factory: pytest.TempPathFactory) -> tuple[UseCase, dict[str, Any]]:
    """Return a small use case and the evaluation that the real step writes for its model."""
    use_case = synthetic.use_case(history=timedelta(days=30), parameters={"max_iter": 5})
    folder = tmp_path_factory.mktemp("evaluated")
    pyz = synthetic.build(folder, use_case)
    trained = synthetic.train_model(pyz, folder)
    inputs = folder / "evaluate" / "processing" / "input"
    (inputs / "model").mkdir(parents=True)
    with tarfile.open(inputs / "model" / "model.tar.gz", "w:gz") as archive:
        for path in sorted((trained / "model").iterdir()):
            archive.add(path, path.name)
    synthetic.hand_over(trained / "dataset", inputs / "dataset")
    synthetic.run_step(pyz, folder / "evaluate", "evaluate", "--champion", "none")
    written: Path = folder / "evaluate" / "processing" / "output" / "evaluation" / "evaluation.json"
    return use_case, json.loads(written.read_text())


def test_the_evaluation_writes_every_path_that_the_pipeline_reads(
    evaluated: tuple[UseCase, dict[str, Any]],
) -> None:
    use_case, evaluation = evaluated
    found = build_training_steps(replace(ARGS, use_case=use_case))
    paths = set(_find_json_paths(found["Register"]))
    assert {path.partition(".")[0] for path in paths} == {"approval", "metadata"}
    assert [path for path in paths if jmespath.search(path, evaluation) is None] == []
    assert evaluation["gate"]["passed"] in (0, 1)


def test_the_registration_of_an_evaluation_is_a_valid_request(
    evaluated: tuple[UseCase, dict[str, Any]],
) -> None:
    use_case, evaluation = evaluated
    register = build_training_steps(replace(ARGS, use_case=use_case))["Register"]
    assert find_request_problems(register, evaluation) == []
    # As reported for a challenger: a description may contain a comma, but metadata may not.
    reason = (
        "no better than champion version 3: brier 0.13 against 0.14 on the 99 newest rows, worse by 0.01; interval "
        "-0.02 to 0.001, look 1, needed 0.0005"
    )
    metadata = {**evaluation["metadata"], "comparison": _UNTAKEN.sub("", reason)}
    judged = {**evaluation, "approval": {"status": "Approved", "description": reason}, "metadata": metadata}
    assert find_request_problems(register, judged) == []
    assert find_request_problems(register, {**judged, "metadata": {**metadata, "comparison": reason}}) != []
