"""Executions of pipelines across stops, kills and failures that policies retry."""

from __future__ import annotations

import json
import os
import signal
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.core.context import Call
from local.services.sagemaker.pipelines import operations
from local.services.sagemaker.pipelines.policies import (
    classify_job_failure,
    classify_service_error,
    compute_retry_delay,
    parse_duration,
)
from tests.local.conftest import CloudDaemon
from tests.local.hosted import REGION, HostedCloud, eventually, hosted, moto_url
from tests.local.jobs import ROLE, make_bucket
from tests.local.pipelines import (
    compare,
    create,
    definition,
    describe_job,
    fork,
    list_steps,
    process,
    reporting_program,
    start,
    statuses,
    train,
    wait_for_execution,
    waiting_program,
)

__all__ = ["hosted", "moto_url"]


def kill(daemon: CloudDaemon) -> None:
    """Kill the daemon and wait until its process has ended."""
    pid = daemon.running.pid
    os.kill(pid, signal.SIGKILL)
    eventually(lambda: not Path(f"/proc/{pid}").exists() or "\nState:\tZ" in Path(f"/proc/{pid}/status").read_text())


def _is_saved(daemon: CloudDaemon, service: str, name: bytes) -> bool:
    """Return True if the last snapshot of a service contains this name."""
    path = daemon.state / "moto" / f"{service}.pickle"
    return path.exists() and name in path.read_bytes()


@pytest.mark.parametrize("end", ["kill", "stop"])
def test_an_execution_continues_after_a_restart(fresh_daemon: CloudDaemon, tmp_path: Path, end: str) -> None:
    client = fresh_daemon.client("sagemaker")
    make_bucket(fresh_daemon, "restarted")
    go = tmp_path / "go"
    create(
        client,
        "Restarted",
        process("Before"),
        process("Job", waiting_program(go), after=("Before",)),
        train("Fit", waiting_program(go), "s3://restarted/m", after=("Before",)),
        fork("If", compare("Equals", 1, 1), then=[process("After", after=("Job", "Fit"))]),
    )
    arn = start(client, "Restarted")
    eventually(lambda: sum(step["StepStatus"] == "Executing" for step in list_steps(client, arn).values()) == 2)
    eventually((tmp_path / "go.running").exists)
    before = list_steps(client, arn)
    if end == "kill":
        # A kill loses what is newer than the last snapshot: wait until the role and the bucket are in one.
        eventually(lambda: _is_saved(fresh_daemon, "iam", b"jobs") and _is_saved(fresh_daemon, "s3", b"restarted"))
        kill(fresh_daemon)
    else:
        fresh_daemon.stop()
    go.touch()
    fresh_daemon.start()
    client = fresh_daemon.client("sagemaker")
    assert wait_for_execution(client, arn)["PipelineExecutionStatus"] == "Succeeded", list_steps(client, arn)
    after = list_steps(client, arn)
    assert statuses(after) == dict.fromkeys(("Before", "Job", "Fit", "If", "After"), "Succeeded")
    assert after["Before"] == before["Before"]
    for name in ("Job", "Fit"):
        assert after[name]["Metadata"] != before[name]["Metadata"]
        assert after[name]["AttemptCount"] == 2
    again = describe_job(client, after["Job"])["ProcessingJobName"]
    lost = client.describe_processing_job(ProcessingJobName=again.removesuffix("-1"))
    assert again.endswith("-1")
    assert lost["FailureReason"] == "InternalServerError: the local cloud was restarted while the job ran"


def test_lost_outputs_are_recreated_after_a_restart(fresh_daemon: CloudDaemon, tmp_path: Path) -> None:
    client, s3 = fresh_daemon.client("sagemaker"), make_bucket(fresh_daemon, "lost")
    go = tmp_path / "go"
    create(
        client,
        "Lost",
        process("Other", reporting_program({"n": 1}), outputs={"out": "s3://lost/other"}),
        process("Make", reporting_program({"n": 1}), outputs={"out": "s3://lost/made"}),
        process("Between", after=("Make",)),
        process("Use", waiting_program(go), inputs={"in": "s3://lost/made"}, after=("Other", "Between")),
    )
    arn = start(client, "Lost")
    eventually((tmp_path / "go.running").exists)
    before = list_steps(client, arn)
    s3.delete_object(Bucket="lost", Key="made/r.json")
    # Unlike a kill, a stop is certain to save the deletion.
    fresh_daemon.stop()
    go.touch()
    fresh_daemon.start()
    client = fresh_daemon.client("sagemaker")
    assert wait_for_execution(client, arn)["PipelineExecutionStatus"] == "Succeeded", list_steps(client, arn)
    after = list_steps(client, arn)
    again = {name for name in after if after[name]["Metadata"] != before[name]["Metadata"]}
    assert again == {"Make", "Between", "Use"}
    body = fresh_daemon.client("s3").get_object(Bucket="lost", Key="made/r.json")["Body"].read()
    assert json.loads(body) == {"n": 1}


def test_a_stop_interrupted_by_a_kill_is_completed(fresh_daemon: CloudDaemon, tmp_path: Path) -> None:
    client = fresh_daemon.client("sagemaker")
    ignoring = f"""
    signal.signal(signal.SIGINT, signal.SIG_IGN)
    {waiting_program(tmp_path / "never").strip()}
    """
    create(client, "Stopping", process("Job", ignoring), process("Next", after=("Job",)))
    arn = start(client, "Stopping")
    eventually((tmp_path / "never.running").exists)
    client.stop_pipeline_execution(PipelineExecutionArn=arn)
    eventually(lambda: statuses(list_steps(client, arn)) == {"Job": "Stopping"})
    kill(fresh_daemon)
    fresh_daemon.start()
    client = fresh_daemon.client("sagemaker")
    assert wait_for_execution(client, arn)["PipelineExecutionStatus"] == "Stopped"
    assert statuses(list_steps(client, arn)) == {"Job": "Stopped"}


def test_a_finished_execution_is_unchanged_by_a_restart(fresh_daemon: CloudDaemon) -> None:
    client = fresh_daemon.client("sagemaker")
    create(client, "Done", process("Job"))
    arn = start(client, "Done")
    described, steps = wait_for_execution(client, arn), list_steps(client, arn)
    kill(fresh_daemon)
    fresh_daemon.start()
    client = fresh_daemon.client("sagemaker")
    assert wait_for_execution(client, arn)["LastModifiedTime"] == described["LastModifiedTime"]
    assert list_steps(client, arn) == steps
    assert len(client.list_processing_jobs()["ProcessingJobSummaries"]) == 1


# -- policies --------------------------------------------------------------------------------------------------------


class Flaky:
    """A fake SageMaker whose requests and jobs have the given outcomes, in this order."""

    def __init__(self, *outcomes: str) -> None:
        self.outcomes = list(outcomes)
        self.names: list[str] = []

    def get_role(self, **request: Any) -> dict[str, Any]:
        return {"Role": {"Arn": ROLE}}

    def create_processing_job(self, **request: Any) -> dict[str, Any]:
        self.names.append(request["ProcessingJobName"])
        if self.outcomes[0].endswith("Exception"):
            error = {"Error": {"Code": self.outcomes.pop(0), "Message": "Rate exceeded"}}
            raise ClientError({**error, "ResponseMetadata": {"HTTPStatusCode": 400}}, "CreateProcessingJob")
        return {"ProcessingJobArn": "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/p"}

    def describe_processing_job(self, **request: Any) -> dict[str, Any]:
        outcome = self.outcomes.pop(0)
        failed = {"ProcessingJobStatus": "Failed", "FailureReason": outcome}
        return {"ProcessingJobStatus": "Completed"} if outcome == "Completed" else failed


@pytest.mark.parametrize(
    ("outcomes", "attempts", "status"),
    [
        (["ThrottlingException", "InternalServerError: x", "ThrottlingException", "Completed"], 4, "Succeeded"),
        (["ThrottlingException", "ThrottlingException", "ThrottlingException"], 3, "Failed"),
        (["InternalServerError: x", "AlgorithmError: y"], 2, "Failed"),
        (["AlgorithmError: y"], 1, "Failed"),
    ],
)
def test_a_step_is_retried_according_to_its_policies(
    hosted: HostedCloud, outcomes: list[str], attempts: int, status: str
) -> None:
    flaky = Flaky(*outcomes)
    hosted.cloud.client = lambda *_: flaky  # type: ignore[assignment]

    def call(name: str, **params: Any) -> dict[str, Any]:
        return operations.OPERATIONS[name](Call(hosted.cloud, "sagemaker", name, REGION, "request"), params)

    policies = [
        {"ExceptionType": ["Step.THROTTLING"], "MaxAttempts": 2, "IntervalSeconds": 0.5},
        {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "ExpireAfterMin": 100},
    ]
    text = definition(process("Job", RetryPolicies=policies))
    call("CreatePipeline", PipelineName="flaky", PipelineDefinition=text, RoleArn=ROLE)
    arn = call("StartPipelineExecution", PipelineName="flaky")["PipelineExecutionArn"]

    def described() -> str:
        return str(call("DescribePipelineExecution", PipelineExecutionArn=arn)["PipelineExecutionStatus"])

    eventually(lambda: described() != "Executing")
    assert described() == status
    base = flaky.names[0]
    assert flaky.names == [base, *(f"{base}-{number}" for number in range(1, attempts))]
    (step,) = call("ListPipelineExecutionSteps", PipelineExecutionArn=arn)["PipelineExecutionSteps"]
    if status == "Failed":
        assert ("Rate exceeded" if attempts == 3 else "AlgorithmError: y") in step["FailureReason"]


def test_retry_delays_grow_until_the_attempts_are_used_up() -> None:
    policies = [
        {"ExceptionType": ["Step.THROTTLING"], "IntervalSeconds": 2, "BackoffRate": 3.0, "MaxAttempts": 3},
        {"ExceptionType": ["SageMaker.JOB_INTERNAL_ERROR"], "ExpireAfterMin": 10},
    ]
    assert [compute_retry_delay(policies, "Step.THROTTLING", n, 0) for n in range(4)] == [2.0, 6.0, 18.0, None]
    internal = "SageMaker.JOB_INTERNAL_ERROR"
    assert [compute_retry_delay(policies, internal, 1, elapsed) for elapsed in (0, 599, 600)] == [2.0, 2.0, None]
    assert compute_retry_delay(policies, "SageMaker.CAPACITY_ERROR", 0, 0) is None
    assert compute_retry_delay([], None, 0, 0) is None


@pytest.mark.parametrize(
    ("code", "status", "exception"),
    [
        ("ThrottlingException", 400, "Step.THROTTLING"),
        ("ResourceLimitExceeded", 400, "SageMaker.RESOURCE_LIMIT"),
        ("InternalFailure", 500, "Step.SERVICE_FAULT"),
        ("ValidationException", 400, None),
    ],
)
def test_service_errors_are_classified(code: str, status: int, exception: str | None) -> None:
    assert classify_service_error(code, status) == exception


def test_job_failures_are_classified() -> None:
    assert classify_job_failure("InternalServerError: x") == "SageMaker.JOB_INTERNAL_ERROR"
    assert classify_job_failure("CapacityError: x") == "SageMaker.CAPACITY_ERROR"
    assert classify_job_failure("AlgorithmError: x") is None


def test_durations_are_parsed() -> None:
    texts = {"P30D": 2592000, "PT12H": 43200, "P1DT1M1.5S": 86461.5, "P1Y2M": 425 * 86400, "P2W": 1209600}
    # These forms are in the developer guide.
    texts |= {"30d": 2592000, "5y": 5 * 31536000, "T16m": 960, "30dT5h": 2592000 + 18000}
    assert {text: parse_duration(text) for text in texts} == texts
    for text in ("P", "30", "PT", "P1H", "", "T", 5):
        with pytest.raises(ValueError, match="is not a duration"):
            parse_duration(text)
