"""`millrace deploy --only-model`: what is approved serves without a person, and nothing else changes."""

from __future__ import annotations

import json
import os
import socket
import threading
from typing import Any

import pytest
from botocore.exceptions import BotoCoreError, ClientError

from tests.e2e.stand import raise_alarm_during_bake
from tests.local.hosted import eventually
from tests.local.watched import Queue

from .stand_in import DEV, LAKE, STACK, Account, account

__all__ = ["account"]

pytestmark = pytest.mark.timeout(600)

CONFIG = f"stacks/Pulumi.{STACK}.yaml"
ONLY = ("deploy", "flights", *DEV, "--only-model")


def promote(account: Account, *more: str) -> dict[str, Any]:
    return dict(json.loads(account.millrace(*ONLY, *more, "--json").stdout))


def set_approval(account: Account, version: int, status: str) -> None:
    """Decide as anyone can, without a command of ours."""
    sagemaker = account.client("sagemaker")
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{STACK}/{version}"
    sagemaker.update_model_package(ModelPackageArn=arn, ModelApprovalStatus=status)


def get_served(account: Account) -> int:
    found = account.client("sagemaker")
    config = found.describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    model = found.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
    return int(found.describe_model(ModelName=model)["PrimaryContainer"]["ModelPackageName"].rpartition("/")[2])


@pytest.fixture(scope="module")
def inbox(account: Account) -> Queue:
    """Return a queue that gets what the notification topic is told."""
    sqs, sns = account.client("sqs"), account.client("sns")
    policy = {"Statement": [{"Effect": "Allow", "Principal": {"Service": "sns.amazonaws.com"},
                             "Action": "sqs:SendMessage", "Resource": "*"}]}  # fmt: skip
    sqs.create_queue(QueueName="told", Attributes={"Policy": json.dumps({"Version": "2012-10-17", **policy})})
    queue = Queue(account, "told")  # type: ignore[arg-type]
    sns.subscribe(TopicArn=f"arn:aws:sns:eu-west-1:123456789012:{STACK}", Protocol="sqs", Endpoint=queue.arn)
    return queue


def test_the_first_approved_model_serves(account: Account) -> None:
    said = account.millrace(*ONLY, code=1).stderr
    assert "is pending" in said or "is approved" in said
    account.register()
    set_approval(account, 1, "Approved")
    found = promote(account)
    assert (found["version"], found["deployed"], found["endpoint"]["status"]) == (1, [1], "InService")
    assert get_served(account) == 1
    again = promote(account)
    assert (again["version"], again["deployed"]) == (1, [])


def test_of_two_approvals_the_newer_serves(account: Account) -> None:
    account.register()
    account.register()
    set_approval(account, 3, "Approved")
    set_approval(account, 2, "Approved")
    found = promote(account)
    assert (found["version"], found["deployed"]) == (3, [3])
    assert get_served(account) == 3


def test_after_a_rejection_the_version_before_serves(account: Account) -> None:
    set_approval(account, 3, "Rejected")
    assert promote(account)["deployed"] == [2]
    assert get_served(account) == 2


def test_more_than_the_model_is_refused_and_told(account: Account, inbox: Queue) -> None:
    set_approval(account, 3, "Approved")
    account.edit(CONFIG, "endpoint_count: 2", "endpoint_count: 3")
    try:
        said = account.millrace(*ONLY, code=1).stderr
        assert f"would change by more than the model: {STACK}-config; nothing was changed" in said.replace("\n", " ")
        message = json.loads(inbox.next()["body"])
        assert message["Subject"] == f"{STACK}: the approved model does not serve"
        assert f"{STACK}-config" in message["Message"]
        assert get_served(account) == 2
    finally:
        account.git("checkout", "--quiet", "stacks")
    assert promote(account)["deployed"] == [3]


def test_an_archive_that_is_gone_is_refused(account: Account) -> None:
    account.register()
    set_approval(account, 4, "Approved")
    account.client("s3").delete_object(Bucket=LAKE, Key="models/echo.tar.gz")
    said = account.millrace(*ONLY, code=1).stderr.replace("\n", " ")
    assert "cannot serve: its archive s3://" in said
    assert "millrace reject flights --env dev 4" in said
    assert get_served(account) == 3
    set_approval(account, 4, "Rejected")


def lock(account: Account, hostname: str, pid: int) -> Any:
    """Write a lock of Pulumi's into the stack's backend; return its file."""
    (stacks,) = (account.state).glob("**/.pulumi/stacks/*")
    folder = stacks.parents[1] / "locks" / "organization" / stacks.name / STACK
    folder.mkdir(parents=True, exist_ok=True)
    file = folder / "0ad4b4d2-6f38-4a47-9e4c-3a1a5c3c6a70.json"
    file.write_text(
        json.dumps({"pid": pid, "username": "u", "hostname": hostname, "timestamp": "2026-11-30T00:00:00Z"})
    )
    return file


def test_a_lock_of_somebody_else_is_waited_for_and_never_cleared(account: Account) -> None:
    account.register()
    set_approval(account, 5, "Approved")
    file = lock(account, "another-host", 1)
    said = account.millrace(*ONLY, "--patience", "0m", code=1).stderr.replace("\n", " ")
    assert "is being updated by process 1 on another-host" in said
    assert file.exists()
    assert get_served(account) == 3
    file.unlink()


def test_the_lock_of_a_killed_update_is_cleared(account: Account) -> None:
    dead = os.spawnlp(os.P_WAIT, "true", "true")
    assert dead == 0
    gone = os.posix_spawnp("true", ["true"], os.environ)
    os.waitpid(gone, 0)
    file = lock(account, socket.gethostname(), gone)
    assert promote(account)["deployed"] == [5]
    assert not file.exists()


def test_the_last_approved_model_is_never_taken_away(account: Account) -> None:
    for version in (1, 2, 3, 5):
        set_approval(account, version, "Rejected")
    said = account.millrace(*ONLY, code=1).stderr.replace("\n", " ")
    assert "would be deleted, because no model of flights-dev is approved; nothing was changed" in said
    assert get_served(account) == 5


def test_options_that_say_otherwise_are_refused(account: Account) -> None:
    assert "cannot be combined with --only-model" in account.millrace(*ONLY, "--refresh", code=2).stderr
    assert "name it, too" in account.millrace("deploy", "flights", *DEV, "--patience", "5m", code=2).stderr
    assert "has no model" in account.millrace("deploy", "platform", *DEV, "--only-model", code=2).stderr


def test_a_model_whose_rollout_is_rolled_back_is_rejected(account: Account) -> None:
    """The alarm of the endpoint's errors fires during the rollout."""
    account.register()
    set_approval(account, 6, "Approved")
    with account.started(*ONLY) as process:
        raise_alarm_during_bake(account, STACK)
        assert process.wait(300) == 1
    found = account.client("sagemaker").describe_model_package(
        ModelPackageName=f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/{STACK}/6"
    )
    assert found["ModelApprovalStatus"] == "Rejected"
    assert f"its rollout was rolled back by {STACK}-errors" in found["ApprovalDescription"]
    assert get_served(account) == 5


# -- by builds ---------------------------------------------------------------------------------------------------------


@pytest.fixture(scope="module")
def built(account: Account) -> Account:
    """Return the account once builds deploy what is approved."""
    account.edit(CONFIG, "promotion: manual", "promotion: {by: build}")
    account.git("commit", "--quiet", "--all", "--message", "builds")
    if "Approved" not in account.approvals():
        account.register()
        set_approval(account, len(account.approvals()), "Approved")
    account.millrace("deploy", "flights", *DEV, "--yes")
    return account


def list_builds(account: Account) -> list[dict[str, Any]]:
    codebuild = account.client("codebuild")
    ids = codebuild.list_builds_for_project(projectName=f"{STACK}-promotion")["ids"]
    return list(codebuild.batch_get_builds(ids=ids)["builds"]) if ids else []


def wait_for_builds(account: Account, count: int) -> list[dict[str, Any]]:
    """Return all builds once there are as many and all are complete, the newest first."""

    def complete() -> list[dict[str, Any]] | None:
        found = list_builds(account)
        return found if len(found) >= count and all(each["buildComplete"] for each in found) else None

    return list(eventually(complete, 240))


def read_build_log(account: Account, build: dict[str, Any]) -> str:
    logs = build["logs"]
    events = account.client("logs").get_log_events(
        logGroupName=logs["groupName"], logStreamName=logs["streamName"], startFromHead=True
    )["events"]
    return "\n".join(event["message"] for event in events)


class Load:
    """Requests, one after the other, while a model is replaced."""

    def __init__(self, account: Account) -> None:
        self._runtime, self._stop = account.client("sagemaker-runtime"), threading.Event()
        self.answered, self.failures = 0, list[str]()
        self._thread = threading.Thread(target=self._run)

    def _run(self) -> None:
        while not self._stop.is_set():
            try:
                answer = self._runtime.invoke_endpoint(EndpointName=STACK, Body=b"{}", ContentType="application/json")
                answer["Body"].read()
                self.answered += 1
            except (ClientError, BotoCoreError) as error:
                self.failures.append(str(error))

    def __enter__(self) -> Load:
        self._thread.start()
        return self

    def __exit__(self, *_: object) -> None:
        self._stop.set()
        self._thread.join()


def test_what_is_approved_serves_by_itself_and_so_does_its_predecessor(built: Account) -> None:
    before = get_served(built)
    built.register()
    newest = len(built.approvals())
    with Load(built) as load:
        set_approval(built, newest, "Approved")
        (build,) = wait_for_builds(built, 1)
        assert build["buildStatus"] == "SUCCEEDED", read_build_log(built, build)
        assert f"serves version {newest}; deployed: version {newest}" in read_build_log(built, build)
        assert get_served(built) == newest
        set_approval(built, newest, "Rejected")
        builds = wait_for_builds(built, 2)
        assert {each["buildStatus"] for each in builds} == {"SUCCEEDED"}, read_build_log(built, builds[0])
        assert get_served(built) == before
    assert load.failures == []
    assert load.answered > 100


def test_two_approvals_at_once_leave_the_newer_one_serving(built: Account) -> None:
    built.register()
    built.register()
    newest, count = len(built.approvals()), len(list_builds(built))
    for version in (newest, newest - 1):
        set_approval(built, version, "Approved")
    builds = wait_for_builds(built, count + 2)
    assert {each["buildStatus"] for each in builds} == {"SUCCEEDED"}, read_build_log(built, builds[0])
    assert get_served(built) == newest


def test_a_build_that_is_stopped_is_told_and_the_next_one_deploys(built: Account, inbox: Queue) -> None:
    inbox.messages()
    built.register()
    newest, count, served = len(built.approvals()), len(list_builds(built)), get_served(built)
    set_approval(built, newest, "Approved")
    eventually(lambda: len(list_builds(built)) > count, 60)
    build = list_builds(built)[0]
    built.client("codebuild").stop_build(id=build["id"])
    stopped = wait_for_builds(built, count + 1)[0]
    assert stopped["buildStatus"] == "STOPPED"
    (told,) = [each for each in inbox.collect(1) if "build-status" in each["Message"]]
    assert json.loads(told["Message"])["detail"]["build-status"] == "STOPPED"
    assert get_served(built) == served
    again = built.client("codebuild").start_build(projectName=f"{STACK}-promotion")["build"]["id"]
    done = {each["id"]: each["buildStatus"] for each in wait_for_builds(built, count + 2)}
    assert done[again] == "SUCCEEDED"
    assert get_served(built) == newest
