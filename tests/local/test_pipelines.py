"""Running pipelines, as a boto3 program sees them."""

from __future__ import annotations

import json
import re
import time
from pathlib import Path
from typing import Any

import pytest

from tests.local.conftest import CloudDaemon
from tests.local.hosted import IMAGE, eventually
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import (
    catch_refusal,
    compare,
    create,
    describe_job,
    fail,
    fork,
    get,
    join,
    json_get,
    list_steps,
    process,
    reporting_program,
    run_pipeline,
    start,
    statuses,
    train,
    wait_for_execution,
    waiting_program,
)

TOKEN = "token-" + "0123456789" * 3


# -- the graph -------------------------------------------------------------------------------------------------------


def test_steps_run_in_order_and_branches_in_parallel(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    client = cloud_daemon.client("sagemaker")
    meet = "open('{0}/{1}', 'w').close()\nwhile not os.path.exists('{0}/{2}'): time.sleep(0.01)"
    create(
        client,
        "Diamond",
        process("Last", after=("Left", "Right"), DisplayName="the last one"),
        process("Left", meet.format(tmp_path, "left", "right"), after=("First",)),
        process("Right", meet.format(tmp_path, "right", "left"), after=("First",)),
        process("First"),
    )
    begun = time.monotonic()
    status, steps = run_pipeline(client, "Diamond")
    assert status == "Succeeded"
    assert time.monotonic() - begun < 8
    assert next(iter(steps)) == "First"
    assert list(steps)[-1] == "Last"
    assert steps["Last"]["StepDisplayName"] == "the last one"
    for name in ("Left", "Right"):
        assert steps["First"]["EndTime"] <= steps[name]["StartTime"]
        assert steps[name]["EndTime"] <= steps["Last"]["StartTime"]
    pause = steps["Last"]["StartTime"] - max(steps["Left"]["EndTime"], steps["Right"]["EndTime"])
    assert pause.total_seconds() < 1
    job = describe_job(client, steps["First"])
    assert re.fullmatch(r"pipelines-[a-z0-9]{12}-First-[A-Za-z0-9]{10}", job["ProcessingJobName"])
    assert steps["First"]["AttemptCount"] == 1


def test_parallel_steps_are_limited_by_the_configuration(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    client = cloud_daemon.client("sagemaker")
    meet = f"""
    os.mkdir('{tmp_path}/' + (os.environ['ME'] if os.environ['MODE'] == 'meet' else 'busy'))
    while os.environ['MODE'] == 'meet' and len(os.listdir('{tmp_path}')) < 2:
        time.sleep(0.01)
    if os.environ['MODE'] == 'alone':
        time.sleep(0.05)
        os.rmdir('{tmp_path}/busy')
    """
    create(
        client,
        "Narrow",
        *(process(name, meet, Environment={"ME": name, "MODE": get("Parameters.Mode")}) for name in "AB"),
        parameters=[{"Name": "Mode", "Type": "String", "DefaultValue": "alone"}],
        ParallelismConfiguration={"MaxParallelExecutionSteps": 1},
    )
    status, steps = run_pipeline(client, "Narrow")
    assert status == "Succeeded", [step.get("FailureReason") for step in steps.values()]
    one, two = steps.values()
    assert one["EndTime"] <= two["StartTime"]
    wide = {"MaxParallelExecutionSteps": 2}
    arn = client.start_pipeline_execution(
        PipelineName="Narrow",
        ParallelismConfiguration=wide,
        PipelineParameters=[{"Name": "Mode", "Value": "meet"}],
    )["PipelineExecutionArn"]
    described = wait_for_execution(client, arn)
    assert (described["PipelineExecutionStatus"], described["ParallelismConfiguration"]) == ("Succeeded", wide)


# -- values ----------------------------------------------------------------------------------------------------------


def test_values_flow_from_parameters_steps_and_files(cloud_daemon: CloudDaemon) -> None:
    client, s3 = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "flow", **{"in/x.csv": "1"})
    numbers = {"auc": {"value": 0.91}, "rows": [{"it's n": 3}], "when": "2013-04-01", "good": True}
    create(
        client,
        "Flow",
        process(
            "Eval_1",
            reporting_program(numbers, "deep/r.json"),
            inputs={"in": "s3://flow/in"},
            outputs={"out": join("s3://flow", get("Execution.PipelineExecutionId"))},
            PropertyFiles=[{"PropertyFileName": "Report", "OutputName": "out", "FilePath": "deep/r.json"}],
        ),
        train("Fit", "(ml / 'model/m').write_text('m')", join("s3://flow", "m"), channels={"train": "s3://flow/in"},
              HyperParameters={"rounds": join(get("Parameters.Rounds")), "on": join(get("Parameters.On"))}),
        process(
            "Show",
            Environment={
                "MODEL": get("Steps.Fit.ModelArtifacts.S3ModelArtifacts"),
                "CHANNEL": get("Steps.Fit.InputDataConfig['train'].DataSource.S3DataSource.S3Uri"),
                "FIRST": get("Steps.Fit.InputDataConfig[0].ChannelName"),
                "OUT": get("Steps.Eval_1.ProcessingOutputConfig.Outputs['out'].S3Output.S3Uri"),
                "AUC": json_get("Eval_1.Report", "auc.value"),
                "N": json_get("Eval_1.Report", "rows[0][\"it's n\"]"),
                "GOOD": json_get("Eval_1.Report", "$.good"),
                "JOB": get("Execution.ProcessingJobName"),
                "ME": join(get("Execution.PipelineName"), get("Parameters.Who"), get("Parameters.Share"), on=" "),
                "ARN": get("Execution.PipelineExecutionArn"),
                "START": get("Execution.StartDateTime"),
            },
        ),
        parameters=[
            {"Name": "Who", "Type": "String", "DefaultValue": "nobody"},
            {"Name": "Rounds", "Type": "Integer", "DefaultValue": 5},
            {"Name": "Share", "Type": "Float", "DefaultValue": 0.5},
            {"Name": "On", "Type": "Boolean", "DefaultValue": True},
        ],
    )  # fmt: skip
    arn = start(client, "Flow", Who="me", Rounds="7", On="False", Share="2.5e-1")
    assert wait_for_execution(client, arn)["PipelineExecutionStatus"] == "Succeeded", list_steps(client, arn)
    steps = list_steps(client, arn)
    shown, fit = describe_job(client, steps["Show"]), describe_job(client, steps["Fit"])
    assert fit["HyperParameters"] == {"rounds": "7", "on": "false"}
    execution = arn.rpartition("/")[2]
    assert shown["Environment"] == {
        "MODEL": f"s3://flow/m/{fit['TrainingJobName']}/output/model.tar.gz",
        "CHANNEL": "s3://flow/in",
        "FIRST": "train",
        "OUT": f"s3://flow/{execution}",
        "AUC": "0.91",
        "N": "3",
        "GOOD": "true",
        "JOB": shown["ProcessingJobName"],
        "ME": "Flow me 0.25",
        "ARN": arn,
        "START": shown["Environment"]["START"],
    }
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{3}Z", shown["Environment"]["START"])
    assert describe_job(client, steps["Eval_1"])["ProcessingJobName"].startswith(f"pipelines-{execution}-Eval-1-")
    listed = client.list_pipeline_parameters_for_execution(PipelineExecutionArn=arn)["PipelineParameters"]
    assert {entry["Name"]: entry["Value"] for entry in listed} == {
        "Who": "me", "Rounds": "7", "Share": "0.25", "On": "false",
    }  # fmt: skip
    assert json.loads(s3.get_object(Bucket="flow", Key=f"{execution}/deep/r.json")["Body"].read()) == numbers


@pytest.mark.parametrize(
    ("condition", "outcome"),
    [
        (compare("Equals", get("Parameters.Text"), "a"), True),
        (compare("Equals", get("Parameters.Flag"), False), False),
        (compare("GreaterThan", get("Parameters.Number"), 5), False),
        (compare("GreaterThanOrEqualTo", get("Parameters.Number"), 5), True),
        (compare("LessThan", get("Parameters.Number"), 5.5), True),
        (compare("LessThanOrEqualTo", get("Parameters.Number"), 4), False),
        ({"Type": "In", "QueryValue": get("Parameters.Text"), "Values": ["b", get("Parameters.Text")]}, True),
        ({"Type": "Not", "Condition": compare("Equals", get("Parameters.Text"), "a")}, False),
        (
            {
                "Type": "Or",
                "Conditions": [
                    compare("Equals", get("Parameters.Text"), "b"),
                    compare("Equals", get("Parameters.Number"), 5),
                ],
            },
            True,
        ),
    ],
)
def test_a_condition_selects_one_branch(
    cloud_daemon: CloudDaemon, request: pytest.FixtureRequest, condition: dict[str, Any], outcome: bool
) -> None:
    client = cloud_daemon.client("sagemaker")
    name = re.sub(r"\W+", "-", f"Fork-{request.node.callspec.id}")
    create(
        client,
        name,
        fork("If", compare("Equals", 1, 1), condition, other=[fail("No", "else")]),
        parameters=[
            {"Name": "Text", "Type": "String", "DefaultValue": "a"},
            {"Name": "Number", "Type": "Integer", "DefaultValue": 5},
            {"Name": "Flag", "Type": "Boolean", "DefaultValue": True},
        ],
    )
    status, steps = run_pipeline(client, name)
    assert steps["If"]["Metadata"] == {"Condition": {"Outcome": str(outcome)}}
    assert (status, "No" in steps) == (("Succeeded", False) if outcome else ("Failed", True))


def test_steps_of_a_branch_run_only_if_it_is_selected(cloud_daemon: CloudDaemon) -> None:
    client, _ = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "fork")
    create(
        client,
        "Fork",
        process(
            "Eval",
            reporting_program({"auc": 0.8}),
            outputs={"out": "s3://fork/eval"},
            PropertyFiles=[{"PropertyFileName": "R", "OutputName": "out", "FilePath": "r.json"}],
        ),
        fork(
            "Gate",
            compare("GreaterThanOrEqualTo", json_get("Eval.R", "auc"), get("Parameters.Bar")),
            then=[process("Yes"), process("Then", after=("Yes",))],
            other=[fail("No", join("auc", json_get("Eval.R", "auc"), "below", get("Parameters.Bar"), on=" "))],
        ),
        process("After", after=("Yes",)),
        process("Always", after=("Gate",)),
        parameters=[{"Name": "Bar", "Type": "Float", "DefaultValue": 0.8}],
    )
    status, steps = run_pipeline(client, "Fork")
    assert status == "Succeeded"
    assert set(steps) == {"Eval", "Gate", "Yes", "Then", "After", "Always"}
    arn = start(client, "Fork", Bar="0.9")
    described = wait_for_execution(client, arn)
    assert described["PipelineExecutionStatus"] == "Failed"
    assert described["FailureReason"] == "Step failure: One or multiple steps failed."
    steps = list_steps(client, arn)
    assert {name for name in steps if name != "Always"} == {"Eval", "Gate", "No"}
    assert steps["Gate"]["Metadata"] == {"Condition": {"Outcome": "False"}}
    assert steps["No"]["StepStatus"] == "Failed"
    assert steps["No"]["Metadata"] == {"Fail": {"ErrorMessage": "auc 0.8 below 0.9"}}
    code, message = catch_refusal(client.retry_pipeline_execution, PipelineExecutionArn=arn)
    assert code == "ValidationException"
    assert "Fail step No" in message


def test_a_missing_or_mistyped_value_fails_its_step(cloud_daemon: CloudDaemon) -> None:
    client, _ = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "missing")
    files = [
        {"PropertyFileName": "R", "OutputName": "out", "FilePath": "r.json"},
        {"PropertyFileName": "None", "OutputName": "out", "FilePath": "none.json"},
    ]
    create(
        client,
        "Missing",
        process("Eval", reporting_program({"auc": "high"}), outputs={"out": "s3://missing/eval"}, PropertyFiles=files),
        fork("Path", compare("Equals", json_get("Eval.R", "f1"), 1)),
        fork("File", compare("Equals", json_get("Eval.None", "auc"), 1)),
        fork("Type", compare("GreaterThan", json_get("Eval.R", "auc"), 0.5)),
    )
    status, steps = run_pipeline(client, "Missing")
    assert status == "Failed"
    reasons = {name: step["FailureReason"] for name, step in steps.items() if step["StepStatus"] == "Failed"}
    # The first failure prevents steps that have not started from starting.
    assert reasons
    texts = {
        "Path": "nothing at 'f1'; there is auc",
        "File": "s3://missing/eval/none.json cannot",
        "Type": "of one type",
    }
    for name, reason in reasons.items():
        assert texts[name] in reason


# -- models ----------------------------------------------------------------------------------------------------------


def test_model_steps_create_models_and_packages(cloud_daemon: CloudDaemon) -> None:
    client, _ = cloud_daemon.client("sagemaker"), make_bucket(cloud_daemon, "made")
    client.create_model_package_group(ModelPackageGroupName="made")
    url = get("Steps.Fit.ModelArtifacts.S3ModelArtifacts")
    files = [{"PropertyFileName": "R", "OutputName": "out", "FilePath": "r.json"}]
    create(
        client,
        "Made",
        train("Fit", "(ml / 'model/m').write_text('m')", "s3://made/m"),
        process(
            "Eval",
            reporting_program({"auc": 0.75, "approval": "Approved"}),
            outputs={"out": "s3://made/e"},
            PropertyFiles=files,
        ),
        {
            "Name": "Keep",
            "Type": "Model",
            "Arguments": {"ExecutionRoleArn": ROLE, "PrimaryContainer": {"Image": IMAGE, "ModelDataUrl": url}},
        },
        {
            "Name": "Register",
            "Type": "RegisterModel",
            "Arguments": {
                "ModelPackageGroupName": "made",
                "ModelApprovalStatus": json_get("Eval.R", "approval"),
                "CustomerMetadataProperties": {"auc": json_get("Eval.R", "auc"), "n": get("Parameters.N")},
                "InferenceSpecification": {
                    "Containers": [{"Image": IMAGE, "ModelDataUrl": url}],
                    "SupportedContentTypes": ["application/json"],
                    "SupportedResponseMIMETypes": ["application/json"],
                },
            },
        },
        process("Say", Environment={"P": get("Steps.Register.ModelPackageArn"), "M": get("Steps.Keep.ModelName")}),
        parameters=[{"Name": "N", "Type": "String"}],
    )
    status, steps = run_pipeline(client, "Made", N="5")
    assert status == "Succeeded", [step.get("FailureReason") for step in steps.values()]
    arn = steps["Register"]["Metadata"]["RegisterModel"]["Arn"]
    package = client.describe_model_package(ModelPackageName=arn)
    assert arn.endswith(":model-package/made/1")
    assert package["ModelApprovalStatus"] == "Approved"
    assert package["CustomerMetadataProperties"] == {"auc": "0.75", "n": "5"}
    said = describe_job(client, steps["Say"])["Environment"]
    model = client.describe_model(ModelName=said["M"])
    assert said["P"] == arn
    assert steps["Keep"]["Metadata"] == {"Model": {"Arn": model["ModelArn"]}}
    assert (
        model["PrimaryContainer"]["ModelDataUrl"]
        == describe_job(client, steps["Fit"])["ModelArtifacts"]["S3ModelArtifacts"]
    )


# -- failure, stop, retry --------------------------------------------------------------------------------------------


def test_a_failure_lets_siblings_finish_and_can_be_retried(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    client = cloud_daemon.client("sagemaker")
    go, mended = tmp_path / "go", tmp_path / "mended"
    create(
        client,
        "Failing",
        process(
            "Bad",
            f"""
            if not os.path.exists('{mended}'):
                (ml / 'output/message').write_text('no rows for June')
                sys.exit(2)
            """,
        ),
        process("Sibling", waiting_program(go)),
        process("After", after=("Bad",)),
        process("Both", after=("Sibling",)),
    )
    arn = start(client, "Failing")
    eventually(lambda: list_steps(client, arn).get("Bad", {}).get("StepStatus") == "Failed")
    assert client.describe_pipeline_execution(PipelineExecutionArn=arn)["PipelineExecutionStatus"] == "Executing"
    code, message = catch_refusal(client.retry_pipeline_execution, PipelineExecutionArn=arn)
    assert (code, "in status Executing" in message) == ("ValidationException", True)
    code, message = catch_refusal(client.delete_pipeline, PipelineName="Failing")
    assert (code, arn in message) == ("ConflictException", True)
    go.touch()
    described = wait_for_execution(client, arn)
    assert described["PipelineExecutionStatus"] == "Failed"
    assert described["FailureReason"] == "Step failure: One or multiple steps failed."
    steps = list_steps(client, arn)
    assert statuses(steps) == {"Bad": "Failed", "Sibling": "Succeeded"}
    assert "AlgorithmError: See job logs" in steps["Bad"]["FailureReason"]
    assert "no rows for June" in steps["Bad"]["FailureReason"]
    mended.touch()
    token = {"ClientRequestToken": TOKEN}
    assert client.retry_pipeline_execution(PipelineExecutionArn=arn, **token)["PipelineExecutionArn"] == arn
    described = wait_for_execution(client, arn)
    assert described["PipelineExecutionStatus"] == "Succeeded"
    assert "FailureReason" not in described
    again = list_steps(client, arn)
    assert statuses(again) == dict.fromkeys(("Bad", "Sibling", "After", "Both"), "Succeeded")
    assert again["Sibling"] == steps["Sibling"]
    assert again["Bad"]["Metadata"] != steps["Bad"]["Metadata"]
    client.retry_pipeline_execution(PipelineExecutionArn=arn, **token)
    code, message = catch_refusal(client.retry_pipeline_execution, PipelineExecutionArn=arn)
    assert (code, "in status Succeeded" in message) == ("ValidationException", True)


def test_a_refused_request_fails_its_step(cloud_daemon: CloudDaemon) -> None:
    client = cloud_daemon.client("sagemaker")
    step = process("Odd")
    step["Arguments"]["AppSpecification"]["ImageUri"] = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/nothing:1"
    create(client, "Odd", step)
    status, steps = run_pipeline(client, "Odd")
    assert status == "Failed"
    reason = steps["Odd"]["FailureReason"]
    assert reason.startswith("ClientError: Failed to invoke sagemaker:CreateProcessingJob. Error Details: ")
    assert "nothing" in reason


def test_stopping_an_execution_stops_its_jobs(cloud_daemon: CloudDaemon, tmp_path: Path) -> None:
    client = cloud_daemon.client("sagemaker")
    never = tmp_path / "never"
    create(client, "Stopped", process("Job", waiting_program(never)), process("Next", after=("Job",)))
    arn = start(client, "Stopped")
    eventually((tmp_path / "never.running").exists)
    token = {"ClientRequestToken": TOKEN}
    client.stop_pipeline_execution(PipelineExecutionArn=arn, **token)
    client.stop_pipeline_execution(PipelineExecutionArn=arn, **token)
    assert wait_for_execution(client, arn, 10)["PipelineExecutionStatus"] == "Stopped"
    steps = list_steps(client, arn)
    assert statuses(steps) == {"Job": "Stopped"}
    assert describe_job(client, steps["Job"])["ProcessingJobStatus"] == "Stopped"
    code, message = catch_refusal(client.stop_pipeline_execution, PipelineExecutionArn=arn)
    assert (code, "in status Stopped; expected Executing" in message) == ("ValidationException", True)
    never.touch()
    client.retry_pipeline_execution(PipelineExecutionArn=arn)
    assert wait_for_execution(client, arn)["PipelineExecutionStatus"] == "Succeeded"
