"""Refusals of CreatePipeline, UpdatePipeline and StartPipelineExecution, and their messages."""

from __future__ import annotations

import copy
import json
from collections.abc import Callable
from typing import Any

import pytest

from tests.local.conftest import CloudDaemon
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import (
    Step,
    catch_refusal,
    compare,
    create,
    definition,
    fail,
    fork,
    get,
    join,
    json_get,
    process,
    start,
    train,
)

PREFIX = "Unable to parse pipeline definition. Model Validation failed: "
REPORT = [{"PropertyFileName": "R", "OutputName": "out", "FilePath": "r.json"}]
EVAL = process("Eval", outputs={"out": "s3://b-b/e"}, PropertyFiles=REPORT)
PARAMETERS: list[dict[str, Any]] = [
    {"Name": "Text", "Type": "String", "DefaultValue": "a", "EnumValues": ["a", "b"]},
    {"Name": "Number", "Type": "Integer"},
    {"Name": "Share", "Type": "Float", "DefaultValue": 1},
    {"Name": "Flag", "Type": "Boolean", "DefaultValue": True},
]


def with_env(value: Any) -> Step:
    return process("Step", Environment={"E": value})


def change_step(change: Callable[[Step], Any]) -> Step:
    step = copy.deepcopy(process("Step", inputs={"in": "s3://b-b/in"}, outputs={"out": "s3://b-b/o"}))
    change(step)
    return step


def use_fast_file(step: Step) -> None:
    step["Arguments"]["ProcessingInputs"][0]["S3Input"]["S3InputMode"] = "FastFile"


def other_condition(kind: str, **members: Any) -> Step:
    return fork("If", {"Type": kind, **members})


def register(**members: Any) -> Step:
    return {"Name": "Reg", "Type": "RegisterModel", "Arguments": {"ModelPackageGroupName": "g", **members}}


def nested(levels: int, around: dict[str, Any] | None = None) -> Any:
    value: Any = {}
    for _ in range(levels):
        value = {**around, "Condition": value} if around else {"Inner": value}
    return value


STEPS = [
    # names, types and members
    ([process("A b")], "step name 'A b'"),
    ([process("A" * 65)], "must match"),
    ([process("A"), fork("If", compare("Equals", 1, 1), then=[process("A")])], "Step name 'A' is not unique"),
    ([{"Name": "T", "Type": "Transform", "Arguments": {}}], "Transform steps are not available in the local cloud"),
    ([{"Name": "T", "Type": "CreateModel", "Arguments": {}}], "type 'CreateModel' is not available in the local cloud"),
    (
        [{"Name": "T", "Type": "Lambda", "Arguments": {}}],
        "available: Processing, Training, Model, RegisterModel, Condition",
    ),
    ([change_step(lambda step: step.update(Depends=["A"]))], "Unknown member 'Depends' of step 'Step'"),
    ([{"Name": "T", "Type": "Fail"}], "Arguments is None"),
    ([fail("F", 5)], "ErrorMessage is 5; expected text"),
    ([], "Steps is empty"),
    (["A"], "expected a step"),
    # order
    ([process("A", after=("B",))], "DependsOn names 'B', which is no step"),
    ([fail("F", "x"), process("A", after=("F",))], "a Fail step cannot be depended on"),
    ([process("A", after=("B",)), process("B", after=("A",))], "cycle: "),
    ([process("A", after=("A",))], "cycle: A → A"),
    (
        [process("A", Environment={"E": get("Steps.B.ProcessingJobName")}), process("B", after=("A",))],
        "the steps depend on each other in a cycle",
    ),
    ([fork("If", compare("Equals", 1, 1), then=[fork("In", compare("Equals", 1, 1))])], "must not stand in a branch"),
    # references
    ([with_env(get("Parameters.None"))], "Get 'Parameters.None': there is no such parameter; known: Text, Number"),
    ([with_env(get("Execution.Nothing"))], "expected Execution. with one of StartDateTime"),
    ([with_env(get("Steps.None.ProcessingJobName"))], "'None' is no step"),
    ([EVAL, with_env(get("Steps.Eval.ModelArtifacts"))], "DescribeProcessingJob answers no such property"),
    ([with_env(get("Text"))], "expected Parameters.…, Execution.… or Steps."),
    ([with_env(get("Steps.A["))], "is not a path"),
    ([fork("If", compare("Equals", 1, 1)), with_env(get("Steps.If.Outcome"))], "a Condition step has no properties"),
    ([process("Eval"), with_env(json_get("Eval.R", "a"))], "does not declare it at step level; declared: none"),
    ([EVAL, with_env(json_get("Eval.Other", "a"))], "declared: R"),
    ([EVAL, with_env({"Std:JsonGet": {"Path": "a"}})], "expected Path with either PropertyFile or S3Uri"),
    ([with_env({"Std:Join": {"Values": ["a"]}})], "Std:Join"),
    ([with_env({"Std:Upper": "a"})], "is of another type than string"),
    # conditions
    ([other_condition("Same", LeftValue=1, RightValue=1)], "condition type 'Same'; expected one of Equals"),
    ([other_condition("Equals", LeftValue=1)], "condition Equals needs RightValue"),
    ([other_condition("In", QueryValue=1, Values=1)], "Values of In is 1; expected a list"),
    ([other_condition("Not", Condition={"Type": "Maybe"})], "condition type 'Maybe'"),
    ([fork("If")], "Conditions is empty"),
    ([fork("If", compare("Equals", get("Parameters.None"), 1))], "there is no such parameter"),
    # arguments
    (
        [change_step(use_fast_file)],
        PREFIX + "Value 'FastFile' for 'ProcessingS3InputMode' failed to satisfy enum value set: [Pipe, File]",
    ),
    ([change_step(lambda step: step["Arguments"].pop("RoleArn"))], "Member 'RoleArn'"),
    (
        [change_step(lambda step: step["Arguments"].update(Role="x"))],
        "Unknown member 'Role' of 'CreateProcessingJobRequest'",
    ),
    ([change_step(lambda step: step["Arguments"].update(ProcessingJobName="n"))], "Unknown member 'ProcessingJobName'"),
    ([with_env(get("Parameters.Number"))], "is of type integer, expected string; Std:Join turns it into a string"),
    ([with_env(5)], "Value '5' at 'Arguments.Environment['E']'"),
    ([train("T", "", "s3://b-b/m", HyperParameters=[])], "is of another type than map"),
    ([train("T", "", "s3://b-b/m", cluster={"VolumeSizeInGB": -1})], "below the minimum of"),
    (
        [register(ModelApprovalStatus="Maybe")],
        "Value 'Maybe' for 'ModelApprovalStatus' failed to satisfy enum value set",
    ),
    ([register(ClientToken="t")], "Unknown member 'ClientToken'"),
    ([{"Name": "M", "Type": "Model", "Arguments": {"ModelName": "m"}}], "Unknown member 'ModelName'"),
    # members of the step itself
    ([process("A", CacheConfig={"Enabled": "yes"})], "Enabled of CacheConfig is 'yes'"),
    (
        [process("A", CacheConfig={"Enabled": True, "ExpireAfter": "30"})],
        "'30' is not a duration such as P30D, PT12H or 30d",
    ),
    (
        [{**register(), "CacheConfig": {"Enabled": True}}],
        "Unknown member 'CacheConfig' of step 'Reg' of type RegisterModel",
    ),
    ([process("A", RetryPolicies=[{"ExceptionType": ["Any"]}])], "ExceptionType of a retry policy is ['Any']"),
    ([process("A", RetryPolicies=[{"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 21}])], "expected 1 to 20"),
    ([process("A", PropertyFiles=REPORT)], "is of output 'out'; outputs: none"),
    ([{**train("T", "", "s3://b-b/m"), "PropertyFiles": REPORT}], "Unknown member 'PropertyFiles'"),
]


@pytest.mark.parametrize(("steps", "expected"), STEPS, ids=[expected[:40] for _, expected in STEPS])
def test_invalid_steps_are_refused(cloud_daemon: CloudDaemon, steps: list[Any], expected: str) -> None:
    client = cloud_daemon.client("sagemaker")
    text = definition(*steps, parameters=PARAMETERS)
    code, message = catch_refusal(client.create_pipeline, PipelineName="bad", PipelineDefinition=text, RoleArn=ROLE)
    assert code == "ValidationException"
    assert message.startswith(PREFIX)
    assert expected in message
    code, _ = catch_refusal(client.describe_pipeline, PipelineName="bad")
    assert code == "ResourceNotFound"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("{", "it is not JSON"),
        ("[]", "expected a JSON object"),
        ("[" * 5000, "nested deeper than 100 levels"),
        (definition(EVAL, Metadata=nested(300)), "nested deeper than 100 levels"),
        (
            definition(EVAL, fork("If", nested(150, {"Type": "Not", "Condition": None}))),
            "nested deeper than 100 levels",
        ),
        (
            definition(EVAL, parameters=[{"Name": "P", "Type": "Float", "DefaultValue": float("nan")}]),
            "NaN is not a number of JSON",
        ),
        (
            definition(EVAL, fork("If", compare("GreaterThan", 1, 0.125))).replace("0.125", "1e999"),
            "1e999 is too large",
        ),
        (
            definition(EVAL, parameters=[{"Name": "P", "Type": "Float", "DefaultValue": 10**400}]),
            "is not of type Float",
        ),
        (json.dumps({"Version": "2019-01-01", "Steps": [EVAL]}), "Version is '2019-01-01'; expected '2020-12-01'"),
        (json.dumps({"Version": "2020-12-01"}), "Steps is None"),
        (definition(EVAL, MlflowConfig={"MlflowResourceArn": "a"}), "MlflowConfig of the definition is not available"),
        (definition(EVAL, parameters=[{"Name": "P", "Type": "Text"}]), "Type is 'Text'; expected one of String"),
        (
            definition(EVAL, parameters=[{"Name": "P", "Type": "Integer", "DefaultValue": "1"}]),
            "'1' is not of type Integer",
        ),
        (definition(EVAL, parameters=[{"Name": "P", "Type": "Float", "DefaultValue": True}]), "is not of type Float"),
        (definition(EVAL, parameters=[{"Name": "P", "Type": "String"}] * 2), "parameter 'P' is there twice"),
        (
            definition(EVAL, parameters=[{"Name": "P", "Type": "String", "DefaultValue": "c", "EnumValues": ["a"]}]),
            "DefaultValue 'c' is not among EnumValues",
        ),
        (
            definition(EVAL, parameters=[{"Name": f"P{number}", "Type": "String"} for number in range(201)]),
            "there are 201 Parameters; expected at most 200",
        ),
        (definition(EVAL, PipelineExperimentConfig={"Name": "x"}), "Unknown member 'Name' of PipelineExperimentConfig"),
        (
            definition(EVAL, PipelineExperimentConfig={"TrialName": get("Steps.Eval.ProcessingJobName")}),
            "steps are not known when an execution starts",
        ),
    ],
)
def test_invalid_definitions_are_refused(cloud_daemon: CloudDaemon, text: str, expected: str) -> None:
    client = cloud_daemon.client("sagemaker")
    code, message = catch_refusal(client.create_pipeline, PipelineName="bad", PipelineDefinition=text, RoleArn=ROLE)
    assert code == "ValidationException"
    assert message.startswith(PREFIX)
    assert expected in message


def test_functions_are_accepted_wherever_their_type_fits(cloud_daemon: CloudDaemon) -> None:
    client = cloud_daemon.client("sagemaker")
    text = join("a", get("Parameters.Number"), get("Execution.CurrentDateTime"))
    steps = [
        EVAL,
        process(
            "All",
            inputs={"in": get("Steps.Eval.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri")},
            Environment={"A": text, "B": json_get("Eval.R", "a.b[0]['c']"), "C": get("Parameters.Text")},
            cluster={"InstanceCount": get("Parameters.Number")},
        ),
        fork("If", {"Type": "Not", "Condition": compare("LessThan", json_get("Eval.R", "n"), get("Parameters.Share"))}),
        fork("S3", compare("Equals", {"Std:JsonGet": {"S3Uri": join("s3://b", text), "Path": "a"}}, True)),
    ]
    config = {"ExperimentName": get("Execution.PipelineName"), "TrialName": get("Execution.PipelineExecutionId")}
    whole = definition(*steps, parameters=PARAMETERS, PipelineExperimentConfig=config, Metadata={})
    client.create_pipeline(PipelineName="every-function", PipelineDefinition=whole, RoleArn=ROLE)
    assert client.describe_pipeline(PipelineName="every-function")["PipelineDefinition"] == whole


def test_a_pipeline_is_created_once_from_one_definition_source(cloud_daemon: CloudDaemon) -> None:
    client, _ = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "places")
    text = definition(process("A"))
    place = {"Bucket": "places", "ObjectKey": "p.json"}
    request: dict[str, Any] = {"PipelineName": "places", "RoleArn": ROLE}
    for given, expected in (
        ({}, "Either PipelineDefinition or PipelineDefinitionS3Location is required"),
        ({"PipelineDefinition": text, "PipelineDefinitionS3Location": place}, "and not both"),
        ({"PipelineDefinitionS3Location": place}, "s3://places/p.json cannot be read"),
        ({"PipelineDefinition": text, "PipelineVersionAliases": ["a"]}, "PipelineVersionAliases of CreatePipeline"),
    ):
        code, message = catch_refusal(client.create_pipeline, **request, **given)
        assert (code, expected in message) == ("ValidationException", True), message
    token = {"ClientRequestToken": "t" * 32}
    arn = client.create_pipeline(**request, PipelineDefinition=text, **token)["PipelineArn"]
    assert client.create_pipeline(**request, PipelineDefinition=text, **token)["PipelineArn"] == arn
    code, message = catch_refusal(client.create_pipeline, **request, PipelineDefinition=text)
    assert code == "ValidationException"
    assert message == (
        "Pipeline names must be unique within an AWS account and region. Pipeline with name (places) already exists."
    )
    code, message = catch_refusal(client.update_pipeline, PipelineName="places", PipelineDefinition="{}")
    assert (code, message.startswith(PREFIX)) == ("ValidationException", True)
    assert client.describe_pipeline(PipelineName="places")["PipelineDefinition"] == text
    code, message = catch_refusal(client.update_pipeline, PipelineName="no-such", PipelineDefinition=text)
    assert code == "ResourceNotFound"
    assert message == "Pipeline arn:aws:sagemaker:eu-west-1:123456789012:pipeline/no-such does not exist."


@pytest.mark.parametrize(
    ("given", "expected"),
    [
        ({}, "Parameters Number have no default value"),
        (
            {"Number": "1", "Other": "x"},
            "Unknown pipeline parameters: Other; the definition has: Text, Number, Share, Flag",
        ),
        ({"Number": "1.5"}, "Value of pipeline parameter Number: '1.5' is not of type Integer"),
        ({"Number": "1", "Share": "much"}, "'much' is not of type Float"),
        ({"Number": "1", "Share": "nan"}, "'nan' is not of type Float"),
        ({"Number": "1", "Share": "1e999"}, "'1e999' is not of type Float"),
        ({"Number": "1", "Share": "-1e999"}, "'-1e999' is not of type Float"),
        ({"Number": "9" * 1000}, "is not of type Integer"),
        ({"Number": "1", "Flag": "yes"}, "'yes' is not of type Boolean"),
        ({"Number": "1", "Text": "c"}, "Value 'c' of pipeline parameter Text is not among its EnumValues: [a, b]"),
    ],
)
def test_invalid_execution_parameters_are_refused(
    cloud_daemon: CloudDaemon, given: dict[str, str], expected: str
) -> None:
    client = cloud_daemon.client("sagemaker")
    names = [entry["PipelineName"] for entry in client.list_pipelines(PipelineNamePrefix="asked")["PipelineSummaries"]]
    if not names:
        create(client, "asked", fork("If", compare("Equals", 1, 1)), parameters=PARAMETERS)
    listed = [{"Name": key, "Value": value} for key, value in given.items()]
    code, message = catch_refusal(client.start_pipeline_execution, PipelineName="asked", PipelineParameters=listed)
    assert code == "ValidationException"
    assert expected in message
    assert client.list_pipeline_executions(PipelineName="asked")["PipelineExecutionSummaries"] == []


def test_unavailable_options_and_unknown_versions_are_refused(cloud_daemon: CloudDaemon) -> None:
    client = cloud_daemon.client("sagemaker")
    create(client, "elsewhere", fork("If", compare("Equals", 1, 1)))
    selected = {"SelectedSteps": [{"StepName": "If"}]}
    code, message = catch_refusal(
        client.start_pipeline_execution, PipelineName="elsewhere", SelectiveExecutionConfig=selected
    )  # fmt: skip
    assert code == "ValidationException"
    assert message == "SelectiveExecutionConfig of StartPipelineExecution is not available in the local cloud."
    code, message = catch_refusal(client.start_pipeline_execution, PipelineName="elsewhere", PipelineVersionId=7)
    assert (code, "Version 7 of pipeline" in message) == ("ResourceNotFound", True)
    twice = [{"Name": "P", "Value": "1"}] * 2
    code, message = catch_refusal(client.start_pipeline_execution, PipelineName="elsewhere", PipelineParameters=twice)
    assert (code, "P are given twice" in message) == ("ValidationException", True)
    arn = start(client, "elsewhere")
    renamed = client.update_pipeline_execution(PipelineExecutionArn=arn, PipelineExecutionDisplayName="mine")
    assert renamed["PipelineExecutionArn"] == arn
    assert client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionDisplayName"] == "mine"
    code, _ = catch_refusal(client.list_pipeline_execution_steps, PipelineExecutionArn=arn[:-1] + "_")
    assert code == "ResourceNotFound"
