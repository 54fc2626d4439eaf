"""Decisions about models, tested on an account in memory: no process, no local cloud."""

from __future__ import annotations

import io
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from click.testing import CliRunner

from cli.aws import bundle_steps, endpoints, model_packages, pipelines
from cli.console.errors import CliError
from cli.deployment import destruction, endpoint_guard, expected_changes, rollout
from cli.main import millrace
from cli.pulumi import previews, process, updates
from cli.pulumi.stack_state import Resource
from cli.stack import connection
from cli.stack.target import Target
from engine import bootstrap
from queries.fake import FakeAccount, RefusedRequestError
from queries.rollbacks import Rollback

STACK = "flights-local"


@pytest.fixture
def account() -> FakeAccount:
    return FakeAccount()


@pytest.fixture
def target(account: FakeAccount, tmp_path: Path) -> Target:
    return replace(Target.load("flights", "local", tmp_path), clients=account.client)


def test_a_version_that_does_not_exist_is_refused_with_the_range_of_versions(
    account: FakeAccount, target: Target
) -> None:
    for _ in range(3):
        account.add_package(STACK, "Approved")
    assert model_packages.get_version(target, 2).version == 2
    with pytest.raises(CliError, match="has no model version 4; the newest is version 3"):
        model_packages.get_version(target, 4)


def test_a_decision_is_written_with_its_reason(account: FakeAccount, target: Target) -> None:
    arn = account.add_package(STACK, "PendingManualApproval")
    package = model_packages.get_package(target, arn)
    written = model_packages.set_approval(target, package, "Approved", "passed the audit")
    assert (written.approval, written.reason) == ("Approved", "passed the audit")
    assert [operation for _, operation, _ in account.requests if operation.startswith("Update")] == [
        "UpdateModelPackage"
    ]


def test_a_decision_of_somebody_else_in_the_meantime_is_kept(account: FakeAccount, target: Target) -> None:
    arn = account.add_package(STACK, "PendingManualApproval")
    shown = model_packages.get_package(target, arn)
    account.client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="unfair"
    )
    with pytest.raises(CliError, match=r"was set to Rejected .*, after it was shown as PendingManualApproval"):
        model_packages.set_approval(target, shown, "Approved", "fine")
    assert model_packages.get_package(target, arn).approval == "Rejected"


def test_a_package_that_was_deleted_in_the_meantime_is_not_decided_on(account: FakeAccount, target: Target) -> None:
    arn = account.add_package(STACK, "PendingManualApproval")
    shown = model_packages.get_package(target, arn)
    account.delete_package(arn)
    with pytest.raises(CliError, match="was deleted in the meantime; nothing was changed"):
        model_packages.set_approval(target, shown, "Approved", "fine")


def test_a_deployment_that_would_delete_the_endpoint_is_refused_until_a_version_is_approved(
    account: FakeAccount, target: Target
) -> None:
    arn = account.add_package(STACK, "Approved")
    account.serve(STACK, arn)
    assert not endpoint_guard.would_lose_endpoint(target)
    account.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    assert endpoint_guard.would_lose_endpoint(target)
    error = endpoint_guard.make_removal_error(target)
    assert error.subject == f"endpoint {STACK}, which serves version 1,"
    assert f"no model of {STACK} is approved" in error.found
    assert "`millrace approve flights 1`" in error.fix


@pytest.mark.parametrize("status", ["Updating", "Failed"])
def test_an_endpoint_that_does_not_serve_the_package_is_reported(
    account: FakeAccount, target: Target, status: str
) -> None:
    first, second = account.add_package(STACK, "Approved"), account.add_package(STACK, "Approved")
    account.serve(STACK, first)
    package = model_packages.get_package(target, second)
    with pytest.raises(rollout.NotServingError, match=f"endpoint {STACK} does not serve version 2"):
        rollout.require_serving(target, package, endpoints.read_endpoint(target))
    account.serve(STACK, second, status=status)
    assert not rollout.is_serving(endpoints.read_endpoint(target), package)
    account.set_endpoint_status(STACK, "InService")
    endpoint = rollout.require_serving(target, package, endpoints.read_endpoint(target))
    assert endpoint.version == 2


@pytest.fixture
def dev(account: FakeAccount, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Target:
    """Return a stack that is not local; commands find it, too."""
    found = replace(Target.load("flights", "dev", tmp_path), clients=account.client)
    monkeypatch.setattr(Target, "load", lambda *_names: found)
    monkeypatch.setattr(connection, "use_environment", lambda *_names: None)
    return found


def test_waiting_that_is_interrupted_names_the_environment(
    account: FakeAccount, dev: Target, capsys: pytest.CaptureFixture[str]
) -> None:
    account.answer("sagemaker", "DescribePipelineExecution", lambda _: {"PipelineExecutionStatus": "Executing"})
    account.answer("sagemaker", "ListPipelineExecutionSteps", lambda _: {"PipelineExecutionSteps": []})

    def interrupt(_steps: object) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        pipelines.wait_until_over(dev, "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/e", interrupt)
    assert "`millrace status flights --env dev` shows it" in capsys.readouterr().err


def test_a_stack_without_pipelines_is_provisioned_by_its_name(account: FakeAccount, dev: Target) -> None:
    def refuse(_params: object) -> dict[str, Any]:
        raise RefusedRequestError("ResourceNotFound", "Pipeline 'flights-dev-training' does not exist.")

    account.answer("sagemaker", "StartPipelineExecution", refuse)
    account.answer("sagemaker", "ListPipelines", lambda _: {"PipelineSummaries": []})
    with pytest.raises(CliError) as refused:
        pipelines.start_execution(dev, "training")
    assert refused.value.fix == "provision the stack first: `millrace up --stack flights-dev`"


def test_the_log_of_a_failed_step_is_named_with_the_environment(account: FakeAccount, dev: Target) -> None:
    job = "arn:aws:sagemaker:eu-west-1:123456789012:processing-job/j"
    step = {"StepName": "Train", "StepStatus": "Failed", "Metadata": {"ProcessingJob": {"Arn": job}}}
    account.answer("sagemaker", "ListPipelineExecutionSteps", lambda _: {"PipelineExecutionSteps": [step]})
    account.answer("sagemaker", "ListProcessingJobs", lambda _: {"ProcessingJobSummaries": []})
    account.answer("logs", "DescribeLogStreams", lambda _: {"logStreams": []})
    with pytest.raises(CliError, match="full log: millrace logs j --env dev"):
        pipelines.require_success(dev, "arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/e", "Failed")


@pytest.mark.parametrize("body", [b"no JSON", None])
def test_the_log_of_an_endpoint_is_named_with_the_environment(
    account: FakeAccount, dev: Target, body: bytes | None
) -> None:
    def respond(_params: object) -> dict[str, Any]:
        if body is None:
            raise RefusedRequestError("ModelError", "the model did not answer")
        return {"Body": body}

    account.answer("sagemaker-runtime", "InvokeEndpoint", respond)
    account.client("sagemaker-runtime").meta.events.register(
        "after-call", lambda parsed, **_: parsed.update(Body=io.BytesIO(body)) if body else None
    )
    with pytest.raises(CliError) as refused:
        endpoints.invoke(dev, b"{}")
    assert refused.value.fix == "see `millrace logs flights-dev --env dev`"


def test_the_log_of_an_endpoint_that_does_not_serve_is_named_with_the_environment(
    account: FakeAccount, dev: Target
) -> None:
    package = model_packages.get_package(dev, account.add_package("flights-dev", "Approved"))
    with pytest.raises(rollout.NotServingError) as refused:
        rollout.require_serving(dev, package, None)
    assert refused.value.fix == "see `millrace status flights --env dev` and `millrace logs flights-dev --env dev`"


def test_a_rollout_that_was_rolled_back_names_the_environment(dev: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    back = Rollback("flights-dev", "InService", "old", "new", "alarm", ("errors",))

    def fail(*_target: object, **_options: object) -> None:
        raise updates.UpdateError("stack flights-dev", "failed", updates.Update(rollback=back))

    monkeypatch.setattr(bootstrap, "ensure_cli", lambda _print: bootstrap.Engine(Path("pulumi"), "found"))
    monkeypatch.setattr(process, "export_state", lambda _target: {"deployment": {"pending_operations": [1]}})
    monkeypatch.setattr(previews, "preview_stack", lambda *_target, **_options: {"changeSummary": {"update": 1}})
    monkeypatch.setattr(expected_changes, "describe_preview", lambda *_given: {"risks": []})
    monkeypatch.setattr(endpoint_guard, "would_lose_endpoint", lambda _target: False)
    monkeypatch.setattr(updates, "update_stack", fail)
    done = CliRunner().invoke(millrace, ["deploy", "flights", "--env", "dev", "--yes"])
    assert "`millrace logs flights-dev --env dev` and `millrace status flights --env dev`" in str(done.exception)


def test_what_follows_a_replay_names_the_environment(dev: Target, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bundle_steps, "replay_events", lambda *_given: None)
    done = CliRunner().invoke(
        millrace, ["replay", "flights", "--env", "dev", "--since", "2013-04-01", "--until", "2013-04-02"]
    )
    assert "next: millrace run flights --env dev --pipeline features " in done.output
    assert "next: millrace run flights --env dev --pipeline monitor " in done.output
    assert "then: millrace status flights --env dev\n" in done.output


@pytest.mark.parametrize(
    ("approval", "alarms", "status", "said"),
    [
        ("Approved", ["errors"], endpoints.GONE, "was deleted by hand, although version 1 is approved"),
        ("Approved", [], endpoints.AWAITED, "is pending its first approved model"),
        ("Rejected", ["errors"], endpoints.AWAITED, "is pending its first approved model"),
        ("Approved", None, endpoints.ABSENT, "does not exist"),
    ],
)
def test_a_missing_endpoint_has_the_same_status_in_documents_and_messages(
    account: FakeAccount, dev: Target, approval: str, alarms: list[str] | None, status: str, said: str
) -> None:
    def describe(_params: object) -> dict[str, Any]:
        if alarms is None:
            raise RefusedRequestError("AccessDenied", "not authorized to perform: cloudwatch:DescribeAlarms")
        return {"MetricAlarms": [{"AlarmName": name} for name in alarms]}

    account.add_package("flights-dev", approval)
    account.answer("cloudwatch", "DescribeAlarms", describe)
    document = endpoints.build_endpoint_document(dev, endpoints.read_endpoint(dev))
    assert (document["name"], document["status"], document["version"]) == ("flights-dev", status, None)
    assert said in endpoints.explain_missing_endpoint(dev)


@pytest.mark.parametrize(("stack", "usd"), [("target", "free locally"), ("dev", "by size")])
def test_the_cost_of_a_kept_lake_is_that_of_its_cloud(
    account: FakeAccount, request: pytest.FixtureRequest, stack: str, usd: str
) -> None:
    stays = [
        Resource.from_document({"urn": "u", "type": token, "id": "x"})
        for token in ("aws:s3/bucket:Bucket", "aws:kms/key:Key")
    ]
    account.answer("s3", "ListObjectVersions", lambda _: {"Versions": [{"Size": 2000}]})
    found = destruction.list_costs(request.getfixturevalue(stack), destruction.Plan(stays=stays))
    lake = {"what": "lake", "usd": usd, "how": "2.0 KB in 1 object versions"}
    assert found[1] == lake
    assert (found[0]["what"], found[0]["usd"] == "free locally") == ("key", usd == "free locally")
