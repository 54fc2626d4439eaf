"""Tests of the commands for a use case, with resources created under the names that `pulumi up` would give."""

from __future__ import annotations

import json
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.local.hosted import eventually
from tests.local.jobs import make_bucket

from .conftest import STACK, Loop, Millrace


@pytest.fixture
def registry(loop: Loop) -> Iterator[Loop]:
    """Yield the loop; delete the test's models afterwards."""
    yield loop
    loop.forget_models()


@pytest.fixture(scope="module")
def pipelines(loop: Loop) -> Loop:
    """Return the loop with a training that prints its data time, a monitor that fails and a slow features pipeline."""
    loop.pipeline("training", "print('as of', os.environ['AS_OF'])")
    loop.pipeline("monitor", "print('looking'); sys.stdout.flush(); sys.exit('no figures in the capture')")
    loop.pipeline("features", "print('first', flush=True); time.sleep(3); print('last', flush=True)")
    return loop


@pytest.fixture(scope="module")
def served(loop: Loop) -> Loop:
    """Return the loop with an endpoint that serves version 1."""
    _, arn = loop.register("Approved")
    loop.serve(arn)
    return loop


# -- approve and reject ------------------------------------------------------------------------------------------------


def test_approve_shows_the_newest_pending_model_and_asks(registry: Loop) -> None:
    _, older = registry.register("PendingManualApproval")
    version, newer = registry.register("PendingManualApproval", ece="0.09")
    asked = registry("approve", "flights", "--reason", "looks sound", stdin="y\n")
    assert f"{STACK} version {version}" in asked.stdout
    assert "better by 0.01 than its champion" in asked.stdout
    rows = [line.split() for line in asked.stdout.splitlines()]
    assert ["roc_auc", "0.7300", "at", "least", "0.65", "passed"] in rows
    assert ["ece", "0.0900", "at", "most", "0.05", "FAILED"] in rows
    assert "millrace deploy flights" in asked.stdout
    assert registry.decided(newer) == ("Approved", "looks sound")
    assert registry.decided(older) == ("PendingManualApproval", "")


def test_no_answer_or_no_changes_nothing(registry: Loop) -> None:
    _, arn = registry.register("PendingManualApproval")
    assert "nothing was changed" in registry("approve", "flights", stdin="n\n", code=1).stderr
    assert "pass --yes" in registry("reject", "flights", code=1).stderr
    assert registry.decided(arn) == ("PendingManualApproval", "")


def test_reject_by_version_and_refused_decisions(registry: Loop) -> None:
    first, arn = registry.register("Approved")
    second, _ = registry.register("Approved")
    registry("reject", "flights", str(first), "--yes", "--reason", "unfair to small carriers")
    assert registry.decided(arn) == ("Rejected", "unfair to small carriers")
    assert "already rejected" in registry("reject", "flights", str(first), "--yes", code=1).stderr
    assert "already approved" in registry("approve", "flights", str(second), "--yes", code=1).stderr
    # An older version would not serve even if it were approved.
    older = registry("approve", "flights", str(first), "--yes", code=1).stderr
    assert f"millrace rollback flights --to {first}" in older
    assert f"the newest is version {second}" in registry("approve", "flights", "999", code=1).stderr
    assert f"the newest, version {second}, is Approved" in registry("approve", "flights", "--yes", code=1).stderr
    assert "at most 1024" in registry("reject", "flights", str(second), "--reason", "x" * 1025, code=1).stderr


# -- run and logs ------------------------------------------------------------------------------------------------------


def test_run_follows_a_pipeline_to_its_end(pipelines: Loop) -> None:
    found = pipelines.millrace.json("run", "flights", "--pipeline", "training", "--as-of", "2013-04-01T00:00:00Z")
    assert set(found) == {"execution", "pipeline", "status", "steps"}
    assert (found["pipeline"], found["status"]) == (f"{STACK}-training", "Succeeded")
    assert [(step["name"], step["status"]) for step in found["steps"]] == [("Work", "Succeeded")]
    parameters = pipelines.sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=found["execution"])
    assert parameters["PipelineParameters"] == [{"Name": "AsOf", "Value": "2013-04-01T00:00:00Z"}]
    for name in (f"{STACK}-training/Work", found["execution"], f"{found['execution']}/Work"):
        assert "as of 2013-04-01T00:00:00Z" in pipelines("logs", name).stdout
    [job] = pipelines.sagemaker.list_processing_jobs()["ProcessingJobSummaries"][:1]
    assert "as of" in pipelines("logs", job["ProcessingJobName"][:-3]).stdout


def test_a_failed_run_reports_step_reason_and_last_output(pipelines: Loop) -> None:
    done = pipelines("run", "flights", "--pipeline", "monitor", code=1)
    assert "step Work failed: " in done.stderr
    assert "| looking" in done.stderr
    assert "| no figures in the capture" in done.stderr
    assert "millrace logs " in done.stderr
    assert "Work       failed" in done.stdout


def test_no_wait_returns_and_ctrl_c_stops_only_the_waiting(pipelines: Loop) -> None:
    started = pipelines.millrace.json("run", "flights", "--pipeline", "features", "--no-wait")
    assert (started["status"], started["steps"]) == ("Executing", [])
    assert eventually(lambda: "first" in pipelines.printed(f"{STACK}-features/Work"))
    waiting = subprocess.Popen(
        pipelines.millrace.command("logs", f"{STACK}-features/Work", "--follow"),
        env=pipelines.millrace.environment, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    assert waiting.stdout is not None
    lines = [waiting.stdout.readline().strip() for _ in range(2)]
    waiting.send_signal(signal.SIGINT)
    _, said = waiting.communicate(timeout=10)
    assert lines == ["first", "last"]
    assert waiting.returncode == 130, said
    described = pipelines.sagemaker.describe_pipeline_execution(PipelineExecutionArn=started["execution"])
    assert described["PipelineExecutionStatus"] in ("Executing", "Succeeded")


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["logs", "arn:foo"], "'arn:foo' is not the ARN of a pipeline's execution; expected arn:"),
        (["logs", "/Work"], "pipeline '' does not exist"),
        (["logs", "nobody"], "'nobody' has no logs"),
        (["logs", "no-such-pipeline/Work"], "pipeline 'no-such-pipeline' does not exist"),
        (["logs", f"{STACK}-training/Play"], "has run no step 'Play'; it has: Work"),
    ],
)
def test_logs_of_unknown_names_are_errors(pipelines: Loop, arguments: list[str], said: str) -> None:
    pipelines.millrace.json("run", "flights", "--pipeline", "training")
    assert said in pipelines(*arguments, code=1).stderr


def test_a_missing_pipeline_is_reported(pipelines: Loop) -> None:
    pipelines.sagemaker.delete_pipeline(PipelineName=f"{STACK}-training")
    try:
        for command in (["run", "flights", "--pipeline", "training"], ["retrain", "flights"]):
            said = pipelines(*command, code=1).stderr
            assert f"pipeline {STACK}-training was deleted by hand, though stack {STACK} exists" in said
            assert "`millrace deploy flights --refresh`" in said
    finally:
        pipelines.pipeline("training", "print('as of', os.environ['AS_OF'])")
    for command in (["run", "flights", "--pipeline", "training"], ["retrain", "flights"]):
        assert "an ISO time" in pipelines(*command, "--as-of", "yesterday", code=2).stderr


def test_a_data_time_that_has_not_come_is_refused(pipelines: Loop) -> None:
    lake = f"{STACK}-lake-123456789012"
    s3 = make_bucket(pipelines.daemon, lake)
    s3.put_object(Bucket=lake, Key="clock.json", Body=b'{"now": "2013-05-01T00:00:00Z"}')
    try:
        for command in (["run", "flights", "--pipeline", "training"], ["retrain", "flights"]):
            said = pipelines(*command, "--as-of", "2013-05-01T00:00:01Z", code=1).stderr
            assert "--as-of is 2013-05-01T00:00:01Z, but data time is 2013-05-01 00:00:00Z" in said
            assert "expected a time that has come" in said
    finally:
        s3.delete_object(Bucket=lake, Key="clock.json")
        s3.delete_bucket(Bucket=lake)


# -- invoke and replay -------------------------------------------------------------------------------------------------


def test_rejecting_the_serving_version_explains_the_consequence(served: Loop) -> None:
    serves = served.sagemaker.list_model_packages(ModelPackageGroupName=STACK, ModelApprovalStatus="Approved")
    version = serves["ModelPackageSummaryList"][0]["ModelPackageVersion"]
    rejected = served("reject", "flights", str(version), "--yes").stdout
    assert "no version is approved: this one keeps serving until a deployment" in rejected


def test_commands_in_an_empty_cloud_report_what_is_missing(millrace: Millrace) -> None:
    millrace("local", "start")
    assert "pending its first approved model" in millrace.error("invoke", "flights", "--json", "{}")
    assert "provision the stack first" in millrace.error("run", "flights", "--pipeline", "monitor")
    # As after `pulumi destroy`.
    absent = f"stack {STACK} is not provisioned; run `millrace up flights`"
    for command in ("approve", "reject", "rollback", "pause", "resume", "gc"):
        assert absent in millrace.error(command, "flights")
    assert "never deployed" in millrace("destroy", "flights").stdout
    assert absent in millrace.error("invoke", "flights", "--sample")
    assert absent in millrace.error("replay", "flights", "--since", "2013-04-01", "--until", "2013-04-02")


def test_invoke_prints_the_answer(served: Loop) -> None:
    said = served("invoke", "flights", "--json", "[1]").stdout
    assert '{"score": 0.5}' in said
    assert "variant main" in said
    found = json.loads(served("invoke", "flights", "--json", "[1]", "--json-output").stdout)
    assert set(found) == {"endpoint", "variant", "latency_ms", "request", "answer"}
    assert (found["request"], found["answer"], found["variant"]) == ([1], {"score": 0.5}, "main")
    assert found["latency_ms"] > 0
    assert '{"score": 0.5}' in served("invoke", "flights", "--file", "-", stdin="[2]").stdout
    assert "model loaded" in served("logs", STACK).stdout


def invoke_with_error(served: Loop, *arguments: str) -> str:
    return served("invoke", "flights", *arguments, code=1).stderr


def test_invoke_reports_why_a_request_is_refused(served: Loop, tmp_path: Path) -> None:
    refused = tmp_path / "rows.csv"
    refused.write_text("status 400")
    text = served("invoke", "flights", "--file", str(refused), code=1).stderr
    assert "refused the request (status 400): no good" in text
    assert "--json is not JSON" in served("invoke", "flights", "--json", "{", code=1).stderr
    assert ".json, .jsonl, .csv" in served("invoke", "flights", "--file", "rows.xls", code=1).stderr
    assert "cannot be read: No such file" in served("invoke", "flights", "--file", "gone.csv", code=1).stderr
    deep = tmp_path / "deep.json"
    deep.write_text("[" * 100_000)
    assert f"{deep} is JSON nested too deeply" in invoke_with_error(served, "--file", str(deep))
    assert "--json is not UTF-8" in invoke_with_error(served, "--json", '{"a": "\udce9"}')
    large = tmp_path / "large.csv"
    large.write_bytes(b"x" * 6_291_457)
    assert "6291457 bytes; expected at most 6291456" in invoke_with_error(served, "--file", str(large))
    assert "exactly one of" in served("invoke", "flights", code=2).stderr
    assert "exactly one of" in served("invoke", "flights", "--json", "1", "--sample", code=2).stderr


def test_the_sample_is_the_newest_event_unless_the_data_ended_long_ago(served: Loop) -> None:
    lake = f"{STACK}-lake-123456789012"
    clock = make_bucket(served.daemon, lake)
    clock.put_object(Bucket=lake, Key="clock.json", Body=b'{"now": "2014-03-01T00:00:00Z"}')
    done = json.loads(served("invoke", "flights", "--sample", "--json-output").stdout)
    # The last day of the data, in New York.
    assert done["request"]["scheduled_at"][:10] in ("2013-12-31", "2014-01-01")
    clock.put_object(Bucket=lake, Key="clock.json", Body=b'{"now": "2016-03-01T00:00:00Z"}')
    said = invoke_with_error(served, "--sample")
    assert "no event can be sent as a sample: events() returns none from 2015-" in said
    assert "send a request of your own" in said


def test_replay_passes_on_the_error_of_the_bundle(served: Loop) -> None:
    text = served("replay", "flights", "--since", "2013-04-02", "--until", "2013-04-01", code=1).stderr
    assert "expected an earlier --since" in text
