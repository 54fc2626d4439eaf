"""`millrace deploy`, saved plans, and the offline comparison against a stack that really exists.

The model needs no training: it is an image of the tests, registered and approved.
"""

from __future__ import annotations

import io
import json
import shutil
import signal
import subprocess
import sys
import tarfile
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import pytest

from local import client
from tests import forked

from .stand import REPOSITORY, STACK, Stand, eventually, raise_alarm_during_bake

pytestmark = pytest.mark.timeout(600)

ECHO = REPOSITORY / "tests" / "local" / "images" / "echo"
IMAGE = f"123456789012.dkr.ecr.{client.REGION}.amazonaws.com/echo:1"
LAKE = f"{STACK}-lake-123456789012"
STACK_FILE = f"stacks/Pulumi.{STACK}.yaml"


@pytest.fixture(scope="module")
def planned(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Yield a stand whose cloud also has the test image; nothing is deployed."""
    folder = tmp_path_factory.mktemp("planned") / "millrace"
    folder.mkdir()
    stand = Stand(folder, 60.0)
    client.start(stand.state, scale=60.0, images={"millrace": folder / "training" / "image", "echo": ECHO})
    try:
        yield stand
    finally:
        client.stop(stand.state)


def edit(stand: Stand, path: str, old: str, new: str) -> None:
    file = stand.folder / path
    text = file.read_text()
    assert old in text, f"{path} has no {old!r}"
    file.write_text(text.replace(old, new, 1))


@contextmanager
def edit_temporarily(stand: Stand, path: str, old: str, new: str) -> Iterator[None]:
    """Apply one edit and revert it at the end of the block."""
    edit(stand, path, old, new)
    try:
        yield
    finally:
        edit(stand, path, new, old)


def register_model(stand: Stand) -> str:
    """Register one more approved model and return its ARN."""
    archive = io.BytesIO()
    with tarfile.open(fileobj=archive, mode="w:gz") as tar:
        member, answer = tarfile.TarInfo("answer.txt"), b'{"score": 0.5}'
        member.size = len(answer)
        tar.addfile(member, io.BytesIO(answer))
    stand.client("s3").put_object(Bucket=LAKE, Key="models/echo.tar.gz", Body=archive.getvalue())
    container = {"Image": IMAGE, "ModelDataUrl": f"s3://{LAKE}/models/echo.tar.gz"}
    made = stand.client("sagemaker").create_model_package(
        ModelPackageGroupName=STACK,
        ModelApprovalStatus="Approved",
        InferenceSpecification={
            "Containers": [container],
            "SupportedContentTypes": ["application/json"],
            "SupportedResponseMIMETypes": ["application/json"],
        },
        CustomerMetadataProperties={"roc_auc": "0.73", "brier_skill": "0.15", "ece": "0.01"},
    )
    return str(made["ModelPackageArn"])


def set_approval(stand: Stand, arn: str, approval: str) -> None:
    stand.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus=approval)


def deploy(stand: Stand, *arguments: str) -> Any:
    """Return the document that `millrace deploy --json` prints."""
    return json.loads(stand.millrace("deploy", "flights", "--json", *arguments).stdout)


def get_refusal(stand: Stand, *arguments: str) -> str:
    return stand.millrace("deploy", "flights", "--plan", "plan.json", *arguments, code=1).stderr


def save_plan(stand: Stand, code: int = 2) -> dict[str, Any]:
    """Save a plan of the pending changes in the checkout and return its document."""
    stand.millrace("diff", "flights", "--save-plan", "plan.json", code=code)
    found: dict[str, Any] = json.loads((stand.folder / "plan.json").read_text())
    return found


def summarise_steps(document: dict[str, Any]) -> dict[str, Any]:
    """Return operation, reasons and detailed diff of each changed resource, by name."""
    return {
        step["urn"].rpartition("::")[2]: (
            step["op"],
            sorted(step.get("replaceReasons") or []),
            {path: detail["kind"] for path, detail in (step.get("detailedDiff") or {}).items()},
        )
        for step in document["steps"]
        if step["op"] not in ("same", "create-replacement", "delete-replaced")
    }


def test_a_stack_is_created_only_with_create(planned: Stand) -> None:
    said = planned.millrace("deploy", "flights", code=1).stderr
    assert f"stack {STACK} does not exist" in said
    assert "`millrace deploy flights --env local --create`" in said
    made = deploy(planned, "--create")
    assert made["result"] == "succeeded"
    assert set(made["changes"]) == {"create"}
    assert made["endpoint"]["status"] == "pending its first approved model"
    register_model(planned)
    served = deploy(planned)
    assert served["endpoint"]["version"] == 1
    assert served["done"][f"{STACK}-endpoint"] == "create"


def test_a_remote_stack_is_changed_only_after_confirmation(planned: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("MILLRACE_STAND_IN", "1")
    command = [sys.executable, "-m", "cli.main", "deploy", "platform", "--env", "dev", "--create"]
    platform = planned.folder / "stacks" / "Pulumi.platform-dev.yaml"
    platform.write_text((planned.folder / "stacks" / "Pulumi.flights-dev.yaml").read_text())

    def answered(answer: str) -> subprocess.CompletedProcess[str]:
        return forked.run(command, cwd=planned.folder, env=planned.environment, input=answer, timeout=280)

    refused = answered("n\n")
    assert refused.returncode == 1
    assert "to create" in refused.stdout
    assert "This changes real resources in account 123456789012, eu-west-1." in refused.stderr
    assert "nothing was changed" in refused.stderr
    agreed = answered("y\n")
    assert agreed.returncode == 0
    assert "stack platform-dev: " in agreed.stdout
    assert " created" in agreed.stdout
    platform.unlink()


def test_a_saved_plan_is_deployed_from_another_checkout(planned: Stand) -> None:
    planned.pulumi("config", "set", "--secret", "millrace:token", "known-to-nobody")
    edit(planned, STACK_FILE, "force_destroy: true", "force_destroy: true\n    endpoint_instance: ml.m5.xlarge")
    document = save_plan(planned)
    assert document["millrace"]["stack"] == STACK
    assert document["millrace"]["approved_package"].endswith("/1")
    text = (planned.folder / "plan.json").read_text()
    assert "millrace:token" in text
    assert "known-to-nobody" not in text
    # In another checkout, like a workflow job that deploys the plan of another job.
    other = planned.folder.parent / "other"
    shutil.copytree(planned.folder, other, symlinks=True, ignore=shutil.ignore_patterns(".millrace"))
    command = [sys.executable, "-m", "cli.main", "deploy", "flights", "--plan", "plan.json", "--json"]
    ran = forked.run(command, cwd=other, env=planned.environment, timeout=280)
    assert ran.returncode == 0, ran.stderr
    done = json.loads(ran.stdout)
    assert done["changes"]["replace"] == 1
    assert done["done"][f"{STACK}-config"] == "replace"


def test_an_outdated_plan_is_refused_with_every_difference(planned: Stand, monkeypatch: pytest.MonkeyPatch) -> None:
    assert "millrace" in save_plan(planned, code=0)
    plan = planned.folder / "plan.json"
    kept = plan.read_text()
    with edit_temporarily(planned, "components/access.py", '"s3:GetObject"', '"s3:GetObject", "s3:GetObjectTagging"'):
        said = get_refusal(planned)
    assert "nothing was changed" in said
    assert "code: " in said
    assert "1 file: components/access.py changed" in said
    assert "`millrace diff flights --env local --save-plan plan.json`" in said
    # Files that are not part of any stack do not count.
    (planned.folder / "README.md").write_text("changed")
    second = register_model(planned)
    assert "approved model: version 1 then, version 2 now" in (said := get_refusal(planned))
    assert "code: " not in said
    set_approval(planned, second, "Rejected")
    pause = {"since": "2030-01-01T00:00:00+00:00", "by": "somebody", "only": ["monitor"]}
    ssm, name = planned.client("ssm"), f"/millrace/{STACK}/paused"
    ssm.put_parameter(Name=name, Type="String", Value=json.dumps(pause))
    said = get_refusal(planned, "--max-age", "0m")
    ssm.delete_parameter(Name=name)
    assert "age: made " in said
    assert "paused: nothing then, monitor now" in said
    with monkeypatch.context() as patched:
        patched.setenv("MILLRACE_STAND_IN", "1")
        said = get_refusal(planned, "--env", "dev", "--yes")
    assert f"stack: made for {STACK}, asked to deploy flights-dev" in said
    plan.write_text(kept.replace(STACK_FILE, "stacks/another"))
    assert "was edited" in get_refusal(planned)
    plan.write_text(kept[:1000])
    assert "is not JSON, perhaps cut off" in get_refusal(planned)
    plan.write_text(kept)
    state = planned.folder / "state.json"
    exported = planned.pulumi("stack", "export")
    changed = json.loads(exported)
    changed["deployment"]["resources"][-1]["outputs"]["arn"] = "changed by hand"
    for text in (json.dumps(changed), exported):
        state.write_text(text)
        planned.pulumi("stack", "import", "--file", "state.json")
        if text is not exported:
            assert "state: somebody deployed or changed it since; 1 resource: " in get_refusal(planned)
    # A deployment in between that changes nothing does not invalidate the plan.
    deploy(planned)
    assert set(deploy(planned, "--plan", "plan.json")["changes"]) == {"same"}


def test_a_program_that_violates_its_plan_stops_and_reports_the_rest(planned: Stand) -> None:
    odd = """
import time

fine = aws.sns.Topic("fine", name="fine")
aws.sns.Topic("odd", name="odd", display_name=str(time.time()), opts=pulumi.ResourceOptions(depends_on=[fine]))
"""
    program = planned.folder / "__main__.py"
    text = program.read_text()
    program.write_text(text + odd)
    save_plan(planned)
    said = get_refusal(planned)
    assert "violates plan" in said
    assert "done before that: fine (create)" in said
    assert "not completed: odd" in said
    assert "make a new plan of what remains" in said
    program.write_text(text)
    assert deploy(planned)["done"]["fine"] == "delete"


def test_the_offline_comparison_matches_the_real_preview(planned: Stand) -> None:
    planned.git("commit", "--quiet", "--all", "--message", "as deployed")
    edit(planned, STACK_FILE, "ml.m5.xlarge", "ml.m5.2xlarge")
    edit(planned, STACK_FILE, "bake_seconds: 60", "bake_seconds: 600")
    edit(planned, "stacks/flights/__init__.py", '"temp": "number"', '"temp": "number", "dewpoint": "number"')
    edit(planned, "stacks/flights/__init__.py", "calibration_alarm=0.04", 'off=("calibration",)')
    edit(planned, "stacks/flights/__init__.py", 'on=("calibration",)', "on=()")
    edit(planned, "components/access.py", '"s3:GetObject"', '"s3:GetObject", "s3:GetObjectTagging"')
    real = summarise_steps(json.loads(planned.pulumi("preview", "--json")))
    compare = (
        "import json; from pathlib import Path; from cli.base import comparison;"
        "from cli.stack import deployable; from cli.console.progress import Progress;"
        "target = deployable.load_deployable('flights', 'local', Path('.millrace'));"
        "print(json.dumps(comparison.compare_revisions(target, 'HEAD', Progress(err=True))))"
    )
    command = [sys.executable, "-c", compare]
    done = forked.run(command, cwd=planned.folder, env=planned.environment, timeout=280, check=True)
    assert summarise_steps(json.loads(done.stdout)) == real
    assert len(real) > 8


def test_a_rollout_rolled_back_by_an_alarm_fails_and_names_the_alarm(planned: Stand) -> None:
    planned.git("checkout", "--quiet", "stacks", "components")
    edit(planned, STACK_FILE, "bake_seconds: 60", "bake_seconds: 600")
    register_model(planned)
    watcher = threading.Thread(target=raise_alarm_during_bake, args=(planned,))
    watcher.start()
    done = planned.millrace("deploy", "flights", "--json", code=1)
    watcher.join()
    assert json.loads(done.stdout)["result"] == "failed"
    assert json.loads(done.stdout)["endpoint"]["version"] == 1
    assert "the rollout was rolled back by its alarms" in done.stderr
    assert f"{STACK}-errors" in done.stderr
    assert "millrace reject flights" in done.stderr


def test_an_interrupt_reaches_pulumi_and_the_next_deployment_works(planned: Stand) -> None:
    edit(planned, STACK_FILE, "bake_seconds: 600", "bake_seconds: 60")
    edit(planned, STACK_FILE, "promotion: automatic", "promotion: automatic\n    notify: [somebody@example.org]")
    set_approval(planned, f"arn:aws:sagemaker:{client.REGION}:123456789012:model-package/{STACK}/3", "Rejected")
    backend = planned.state / "stacks" / ".pulumi"
    lock, state = backend / "locks", backend / "stacks" / "millrace" / f"{STACK}.json"
    before = state.stat().st_mtime_ns
    with planned.started("deploy", "flights") as process:
        # Pulumi heeds an interrupt from its first step on; before, it dies and keeps the lock.
        eventually(lambda: state.stat().st_mtime_ns != before or None, "the first step of the update", 60)
        assert list(lock.rglob("*.json"))
        process.send_signal(signal.SIGINT)
        assert process.wait(60) == 130
    assert list(lock.rglob("*.json")) == []
    deploy(planned)
    assert set(planned.changes()) == {"same"}
