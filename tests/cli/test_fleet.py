"""Tests of `millrace status` for many stacks: two dozen that serve, and others in various states."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import pty
import re
import struct
import subprocess
import sys
import termios
import time
from collections.abc import Iterator
from datetime import UTC, datetime
from itertools import pairwise
from pathlib import Path
from typing import Any

import pytest

from millrace.documents import SkipCode, Start
from millrace.names import Names
from tests.local.hosted import IMAGE, eventually
from tests.local.pipelines import create, process, start, wait_for_execution

from .conftest import Millrace
from .many import ALARMS, Checkout, Cloud

MANY = [f"uc{number:02d}" for number in range(24)]
#: Names of which one is a prefix of the other.
ODD = ["a", "a-local-b"]
#: Limit in seconds while other work runs on the machine; `make bench` measures the actual time.
BOUND = 6.0


@pytest.fixture(scope="module")
def cloud(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Cloud]:
    """Yield a local cloud in which all stacks serve version 1."""
    found = Cloud(tmp_path_factory.mktemp("fleet") / "state")
    try:
        found.whole(*(f"{name}-local" for name in [*MANY, *ODD]))
        yield found
    finally:
        found.daemon.stop()


@pytest.fixture(scope="module")
def fleet(cloud: Cloud, tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a checkout with all stacks."""
    checkout = Checkout(tmp_path_factory.mktemp("checkout"), cloud.daemon.state)
    for name in [*MANY, *ODD]:
        checkout.declare(name)
        checkout.stack(name)
    return checkout


def index_by_stack(found: dict[str, Any]) -> dict[str, Any]:
    return {row["stack"]: row for row in found["stacks"]}


def test_two_dozen_stacks_are_one_table(fleet: Checkout, cloud: Cloud) -> None:
    marks = [time.monotonic()]
    lines = fleet("status").stdout.splitlines()
    marks.append(time.monotonic())
    found = fleet.json("status")
    marks.append(time.monotonic())
    assert min(after - before for before, after in pairwise(marks)) < BOUND
    assert set(found) == {"version", "as_of", "stacks", "not_asked", "elsewhere", "attention"}
    assert list(index_by_stack(found)) == [f"{name}-local" for name in sorted([*MANY, *ODD])]
    assert found["not_asked"] == []
    for name in MANY:
        row = index_by_stack(found)[f"{name}-local"]
        assert (row["use_case"], row["environment"], row["account"]) == (name, "local", "123456789012")
        assert (row["endpoint"]["status"], row["endpoint"]["version"], row["approved"]) == ("InService", 1, 1)
        assert row["model"]["metric"] == {"name": "brier", "value": 0.15}
        assert [gate["passed"] for gate in row["model"]["gates"]] == [True, True]
        assert {alarm["kind"] for alarm in row["alarms"]} == set(ALARMS)
        assert row["last"] == {"training": None, "monitor": None}
        assert (row["pending"], row["paused"], row["rollout"], row["warnings"]) == ([], None, None, [])
        assert row["cost"]["billed"] is False
    assert lines[0].split()[:4] == ["use", "case", "env", "serves"]
    [line] = [line for line in lines if line.startswith("uc07 ")]
    assert "v1" in line
    assert "brier 0.1500, gates 2/2" in line


def test_status_imports_no_heavy_packages(fleet: Checkout) -> None:
    program = (
        "import sys; from cli.main import run; code = run(['status', '--json']); "
        "heavy = {'numpy', 'sklearn', 'pandas', 'pyarrow', 'pulumi'} & set(sys.modules); "
        "sys.stderr.write(f'{code} {sorted(heavy)}')"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=fleet.folder, env=fleet.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stderr == "0 []"


def test_action_items_are_shown_with_the_next_command(fleet: Checkout, cloud: Cloud) -> None:
    cloud.fire("uc01-local-calibration")
    cloud.register("uc02-local", "PendingManualApproval", ece="0.2")
    cloud.register("uc03-local", "Approved")
    cloud.daemon.client("ssm").put_parameter(
        Name="/millrace/uc04-local/paused", Type="String",
        Value=json.dumps({"since": "2030-01-01T00:00:00Z", "by": "ada", "reason": "an audit"}),
    )  # fmt: skip
    cloud.sagemaker.delete_pipeline(PipelineName="uc05-local-training")
    create(cloud.sagemaker, "uc05-local-training", process("Ingest", "sys.exit('no data')"))
    for stack in ("uc05-local", "uc06-local"):
        execution = start(cloud.sagemaker, f"{stack}-training")
        wait_for_execution(cloud.sagemaker, execution)
    skip_execution(cloud, "uc06", execution)
    found = fleet.json("status", "--fail-on", "attention", code=1)
    needs = {(each["stack"], each["command"]) for each in found["attention"]}
    assert needs == {
        ("uc01-local", "millrace retrain uc01"),
        ("uc02-local", "millrace approve uc02 2"),
        ("uc03-local", "millrace deploy uc03"),
        ("uc04-local", "millrace resume uc04"),
        ("uc05-local", "millrace logs uc05-local-training/"),
    }
    row = index_by_stack(found)
    assert row["uc04-local"]["paused"] == {"since": "2030-01-01T00:00:00Z", "by": "ada", "reason": "an audit"}
    assert row["uc05-local"]["last"]["training"]["step"] == "Ingest"
    # A start that is not needed is no failure.
    skipped = row["uc06-local"]["last"]["training"]
    assert (skipped["status"], skipped["skipped"], skipped["step"]) == ("Succeeded", "no_alarm", None)
    assert skipped["reason"] == "none of the alarms that retrain is in ALARM: uc06-local-drift"
    text = fleet("status").stdout
    assert (
        "! uc01-local: alarm uc01-local-calibration: calibration of uc01-local is too high → millrace retrain uc01"
        in text
    )
    assert "skipped, " in next(line for line in text.splitlines() if line.startswith("uc06 "))
    assert "\x1b[" not in text


def skip_execution(cloud: Cloud, name: str, execution: str) -> None:
    """Write the decision of an execution that trained nothing."""
    names, s3 = Names(name, "local", "123456789012", "eu-west-1"), cloud.daemon.client("s3")
    reason = f"none of the alarms that retrain is in ALARM: {name}-local-drift"
    decision = Start(needed=0, trigger="recheck", code=SkipCode.NO_ALARM, reason=reason)
    s3.create_bucket(Bucket=names.lake, CreateBucketConfiguration={"LocationConstraint": "eu-west-1"})
    key = names.key("snapshots", execution.rpartition("/")[2], "start", "start.json")
    s3.put_object(Bucket=names.lake, Key=key, Body=json.dumps(decision.dump()).encode())


def test_stacks_whose_names_begin_alike_are_kept_apart(fleet: Checkout, cloud: Cloud) -> None:
    cloud.fire("a-local-b-local-drift")
    try:
        found = index_by_stack(fleet.json("status"))
        assert [alarm["kind"] for alarm in found["a-local-b-local"]["alarms"] if alarm["state"] == "ALARM"] == ["drift"]
        assert all(alarm["state"] != "ALARM" for alarm in found["a-local"]["alarms"])
        assert len(found["a-local"]["alarms"]) == len(ALARMS)
        # A query for `a` alone does not show the other one either.
        assert list(index_by_stack(fleet.json("status", "a"))) == ["a-local"]
    finally:
        cloud.fire("a-local-b-local-drift", "OK")


def test_next_runs_are_shown(fleet: Checkout, cloud: Cloud) -> None:
    schedule = cloud.scheduler.get_schedule(Name="uc10-local-training-backstop")
    keys = ("Name", "ScheduleExpression", "FlexibleTimeWindow", "Target")
    cloud.scheduler.update_schedule(**{key: schedule[key] for key in keys}, State="ENABLED")
    try:
        row = index_by_stack(fleet.json("status", "uc10"))["uc10-local"]
        assert row["next"]["monitor"]["state"] == "DISABLED"
        assert row["next"]["monitor"]["at"] is None
        # Seven days in a cloud where an hour takes a minute.
        ahead = seconds_until(row["next"]["training"]["at"])
        assert 0 < ahead <= 7 * 86_400 / 60
        deep = fleet.json("status", "uc10", "--env", "local")
        states = {each["name"]: (each["state"], each["expression"], each["expected"]) for each in deep["schedules"]}
        assert states == {
            "uc10-local-training-backstop": ("ENABLED", "rate(7 days)", None),
            "uc10-local-training-recheck": ("DISABLED", "rate(1 day)", None),
            "uc10-local-monitor": ("DISABLED", "rate(1 day)", None),
        }
        # Of two schedules, the one that starts the pipeline next.
        following = {each["name"]: each["next"] for each in deep["schedules"] if each["pipeline"] == "training"}
        assert following["uc10-local-training-backstop"] is not None
        assert following["uc10-local-training-recheck"] is None
    finally:
        cloud.scheduler.update_schedule(**{key: schedule[key] for key in keys}, State="DISABLED")


def seconds_until(text: str) -> float:
    return (datetime.fromisoformat(text) - datetime.now(UTC)).total_seconds()


# -- a narrow terminal -------------------------------------------------------------------------------------------------


def run_in_terminal(fleet: Checkout, columns: int, *arguments: str) -> str:
    """Return what a command writes to a terminal of this width, without its colours."""
    master, slave = pty.openpty()
    fcntl.ioctl(slave, termios.TIOCSWINSZ, struct.pack("HHHH", 40, columns, 0, 0))
    settings = {name: value for name, value in fleet.environment.items() if name not in ("COLUMNS", "LINES")}
    process_ = subprocess.Popen(
        [sys.executable, "-m", "cli.main", *arguments],
        cwd=fleet.folder, env={**settings, "TERM": "xterm-256color"}, stdin=slave, stdout=slave, stderr=slave,
    )  # fmt: skip
    os.close(slave)
    seen = b""
    # Linux raises an error once no process has the terminal open.
    with contextlib.suppress(OSError):
        while some := os.read(master, 65_536):
            seen += some
    os.close(master)
    assert process_.wait(timeout=30) == 0
    return re.sub(r"\x1b\[[0-9;]*m", "", seen.decode()).replace("\r\n", "\n")


@pytest.mark.parametrize("columns", [80, 50, 140])
def test_words_are_never_broken(fleet: Checkout, cloud: Cloud, columns: int) -> None:
    cloud.fire("uc09-local-calibration")
    try:
        shown = {deep: run_in_terminal(fleet, columns, "status", "uc09", *deep) for deep in ((), ("--env", "local"))}
        plain = {deep: fleet("status", "uc09", *deep).stdout for deep in shown}
    finally:
        cloud.fire("uc09-local-calibration", "OK")
    for deep, text in shown.items():
        # Every word of the plain output is shown here too, except for times and the headers of empty columns.
        words = {word for word in plain[deep].split() if not re.fullmatch(r"–|\d+", word)}
        assert words - set(text.split()) <= {"use", "case", "env", "next", "waits"}
        # Only a name longer than the terminal's width may exceed it.
        assert [line for line in text.splitlines() if len(line) > columns and " " in line.strip()] == []
        assert "millrace retrain uc09" in text
    table = next(line for line in shown[()].splitlines() if "uc09" in line)
    assert (" calibration" in table) == (columns == 140)


# -- failed rollouts, running trainings and destroyed stacks ----------------------------------------------------------


def test_rejecting_a_version_that_failed_to_roll_out_is_suggested(fleet: Checkout, cloud: Cloud) -> None:
    cloud.daemon.client("s3").put_object(Bucket="cli", Key="broken.tar.gz", Body=b"no archive at all")
    container = {"Image": IMAGE, "ModelDataUrl": "s3://cli/broken.tar.gz"}
    specification = {
        "Containers": [container], "SupportedContentTypes": ["application/json"],
        "SupportedResponseMIMETypes": ["application/json"],
    }  # fmt: skip
    broken = cloud.sagemaker.create_model_package(
        ModelPackageGroupName="uc08-local", ModelApprovalStatus="Approved", InferenceSpecification=specification
    )["ModelPackageArn"]
    before = index_by_stack(fleet.json("status", "uc08"))["uc08-local"]["endpoint"]["since"]
    cloud.configure("uc08-local", broken, "uc08-local-config-0000002")
    cloud.sagemaker.update_endpoint(EndpointName="uc08-local", EndpointConfigName="uc08-local-config-0000002")

    def undone() -> bool:
        found = cloud.sagemaker.describe_endpoint(EndpointName="uc08-local")
        return found["EndpointStatus"] == "InService" and "FailureReason" in found

    eventually(undone, 60)
    row = index_by_stack(fleet.json("status", "uc08"))["uc08-local"]
    commands = [need["command"] for need in row["attention"]]
    assert "millrace reject uc08 2" in commands
    assert "millrace deploy uc08" not in commands
    assert all("\n" not in need["what"] and len(need["what"]) < 300 for need in row["attention"])
    # The failed rollout does not change since when it serves.
    assert (row["endpoint"]["version"], row["endpoint"]["since"]) == (1, before)
    # Once rejected, it is no action item any more, and a later version is not affected.
    cloud.sagemaker.update_model_package(ModelPackageArn=broken, ModelApprovalStatus="Rejected")
    assert index_by_stack(fleet.json("status", "uc08"))["uc08-local"]["attention"] == []
    cloud.register("uc08-local", "Approved")
    commands = [need["command"] for need in index_by_stack(fleet.json("status", "uc08"))["uc08-local"]["attention"]]
    assert "millrace deploy uc08" in commands
    assert "millrace reject uc08 3" not in commands


def test_a_version_older_than_the_approved_one_can_only_be_rejected(fleet: Checkout, cloud: Cloud) -> None:
    cloud.register("uc07-local", "PendingManualApproval")
    cloud.register("uc07-local", "Approved")
    row = index_by_stack(fleet.json("status", "uc07"))["uc07-local"]
    assert {need["command"] for need in row["attention"]} == {"millrace reject uc07 2", "millrace deploy uc07"}
    shown = fleet("status", "uc07").stdout
    assert "version 2 waits for approval, but version 3 is approved and newer: reject it" in shown
    assert "reject v2" in shown


def test_an_alarm_with_a_running_training_suggests_watching_it(fleet: Checkout, cloud: Cloud) -> None:
    cloud.sagemaker.delete_pipeline(PipelineName="uc10-local-training")
    create(cloud.sagemaker, "uc10-local-training", process("Ingest", "import time; time.sleep(120)"))
    run = start(cloud.sagemaker, "uc10-local-training")
    cloud.fire("uc10-local-calibration")
    try:
        [need] = index_by_stack(fleet.json("status", "uc10"))["uc10-local"]["attention"]
    finally:
        cloud.sagemaker.stop_pipeline_execution(PipelineExecutionArn=run, ClientRequestToken="x" * 32)
        cloud.fire("uc10-local-calibration", "OK")
    assert need["what"] == "alarm uc10-local-calibration: calibration of uc10-local is too high; a training is running"
    assert need["command"] == "millrace watch uc10"


def test_a_destroyed_stack_costs_only_its_kept_data(cloud: Cloud, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, cloud.daemon.state)
    checkout.declare("gone")
    checkout.stack("gone")
    cloud.sagemaker.create_model_package_group(ModelPackageGroupName="gone-local")
    found = checkout.json("status", "gone")
    assert (found["stacks"], found["attention"]) == ([], [])
    assert found["not_asked"][0]["reason"].startswith("destroyed with its data kept, or interrupted at its first ")
    deep = checkout.json("status", "gone", "--env", "local")
    assert (deep["deployed"], deep["attention"]) == (False, [])
    assert [item["item"] for item in deep["cost"]["items"]] == ["key", "storage"]
    assert (
        "destroyed with its data kept, or interrupted at its first "
        in checkout("status", "gone", "--env", "local").stdout
    )


# -- a registry that was changed by hand -------------------------------------------------------------------------------


def test_changes_made_by_hand_are_reported(fleet: Checkout, cloud: Cloud) -> None:
    sagemaker = cloud.sagemaker
    arn = "arn:aws:sagemaker:eu-west-1:123456789012:model-package"
    # The package that serves is deleted.
    sagemaker.delete_model_package(ModelPackageName=f"{arn}/uc11-local/1")
    # The endpoint serves a package of another group.
    cloud.configure("uc12-local", f"{arn}/uc13-local/1", "by-hand")
    sagemaker.update_endpoint(EndpointName="uc12-local", EndpointConfigName="by-hand")
    cloud.in_service("uc12-local")
    # The serving version is rejected, and an older one is approved.
    newer = cloud.register("uc14-local")
    cloud.configure("uc14-local", newer, "uc14-local-config-0000002")
    sagemaker.update_endpoint(EndpointName="uc14-local", EndpointConfigName="uc14-local-config-0000002")
    cloud.in_service("uc14-local")
    sagemaker.update_model_package(ModelPackageArn=newer, ModelApprovalStatus="Rejected")
    # Its metrics are removed.
    sagemaker.update_model_package(
        ModelPackageArn=f"{arn}/uc15-local/1", CustomerMetadataPropertiesToRemove=["roc_auc", "ece", "brier"]
    )
    # The group is deleted with all its packages.
    sagemaker.delete_model_package(ModelPackageName=f"{arn}/uc16-local/1")
    sagemaker.delete_model_package_group(ModelPackageGroupName="uc16-local")
    # The model or the configuration of an endpoint is deleted.
    sagemaker.delete_model(ModelName="uc17-local-config-0a1b2c3")
    sagemaker.delete_endpoint_config(EndpointConfigName="uc18-local-config-0a1b2c3")
    # The serving version is rejected, and no other is approved.
    sagemaker.update_model_package(ModelPackageArn=f"{arn}/uc19-local/1", ModelApprovalStatus="Rejected")
    found = index_by_stack(fleet.json("status"))
    expected = {
        "uc11": (f"package {arn}/uc11-local/1, which serves, was deleted", "retrain uc11"),
        "uc12": ("endpoint uc12-local serves a model of another group", "deploy uc12 --refresh"),
        "uc14": (
            "version 1, the newest approved one, is older than version 2, which serves and is Rejected", "deploy uc14"
        ),
        "uc15": ("version 1, which serves, has no value for roc_auc, ece, brier", "retrain uc15"),
        "uc16": ("model package group uc16-local was deleted", "deploy uc16 --refresh --remove-endpoint"),
        "uc17": ("model uc17-local-config-0a1b2c3, which serves, was deleted", "deploy uc17 --refresh"),
        "uc18": ("configuration uc18-local-config-0a1b2c3, which serves, was deleted", "deploy uc18 --refresh"),
        "uc19": ("version 1, which serves, is rejected, and no version is approved", "retrain uc19"),
    }  # fmt: skip
    for name, (words, command) in expected.items():
        row = found[f"{name}-local"]
        assert any(words in warning["text"] for warning in row["warnings"]), (name, row["warnings"])
        assert (f"millrace {command}", True) in [(need["command"], words in need["what"]) for need in row["attention"]]
        assert not any(need["command"].startswith("millrace status") for need in row["attention"])
        assert row["unknown"] == {}
    # Without its configuration, the time of its deployment is unknown.
    assert found["uc18-local"]["endpoint"]["since"] is None
    assert "and `millrace deploy` refuses to" in " ".join(each["text"] for each in found["uc16-local"]["warnings"])
    for name in ("uc11", "uc16", "uc18"):
        assert expected[name][0] in fleet("status", name, "--env", "local").stdout
    foreign = {"endpoint": "uc12-local", "config": "by-hand"}
    assert ("foreign_config", foreign) in [(each["code"], each["fields"]) for each in found["uc12-local"]["warnings"]]
    assert [gate["passed"] for gate in found["uc15-local"]["model"]["gates"]] == [None, None]
    assert found["uc14-local"]["endpoint"]["version"] == 2


# -- stacks that cannot be queried -------------------------------------------------------------------------------------


def test_a_stack_that_cannot_be_queried_is_shown_with_its_reason(cloud: Cloud, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, cloud.daemon.state)
    for name in ("uc20", "new", "broken"):
        checkout.declare(name)
    checkout.stack("uc20")
    checkout.stack("new")
    checkout.stack("uc20", "dev")
    checkout.stack("uc20", "prod", more="  aws:profile: nobody\n")
    (tmp_path / "stacks" / "broken" / "__init__.py").write_text("import no_such_module\n")
    checkout.stack("broken")
    (tmp_path / "stacks" / "Pulumi.torn-local.yaml").write_text("config: {\n")
    (tmp_path / "stacks" / "Pulumi.platform-local.yaml").write_text("config: {}\n")
    found = checkout.json("status", "--fail-on", "not-asked", code=1)
    assert list(index_by_stack(found)) == ["uc20-local"]
    reasons = {each["stack"]: each["reason"] for each in found["not_asked"]}
    assert set(reasons) == {"new-local", "uc20-dev", "uc20-prod", "broken-local", "torn-local"}
    assert "never deployed" in reasons["new-local"]
    assert "millrace up new" in reasons["new-local"]
    assert "no credentials" in reasons["uc20-dev"]
    assert "nobody" in reasons["uc20-prod"]
    assert "no_such_module" in reasons["broken-local"]
    assert "is not YAML" in reasons["torn-local"]
    assert "uc20-local  account" in checkout("status", "uc20").stdout
    assert [each["stack"] for each in checkout.json("status", "--env", "dev")["not_asked"]] == ["uc20-dev"]
    # For a single stack in detail, this is an error.
    assert "no credentials" in checkout("status", "uc20", "--env", "dev", code=1).stderr
    assert "stack 'uc20-moon' does not exist" in checkout("status", "uc20", "--env", "moon", code=1).stderr
    # A shell with the local cloud's AWS settings has no access to the account.
    said = checkout.json("status", "uc20", **cloud.daemon.access)
    assert {each["stack"] for each in said["not_asked"]} == {"uc20-dev", "uc20-prod"}
    assert "is not local" in said["not_asked"][0]["reason"]


def test_stacks_without_a_file_in_the_checkout_are_listed(cloud: Cloud, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path, cloud.daemon.state)
    for name in [*MANY[1:], *ODD]:
        checkout.stack(name)
    checkout.declare("uc01")
    # A pipeline that only has such a suffix belongs to no stack.
    create(cloud.sagemaker, "lonely-training", process("Work", "print('done')"))
    expected = [{"stack": "uc00-local", "account": "123456789012", "region": "eu-west-1"}]
    assert checkout.json("status")["elsewhere"] == expected
    told = "also in account 123456789012, eu-west-1, without a file in this checkout: uc00-local; "
    assert told in checkout("status").stdout
    # The use case of such a stack cannot be derived from its name.
    assert "without a file" not in checkout("status", "uc01").stdout


def test_stack_files_are_listed_without_a_running_cloud(millrace: Millrace, tmp_path: Path) -> None:
    checkout = Checkout(tmp_path / "checkout", millrace.state)
    checkout.declare("churn")
    checkout.stack("churn")
    said = checkout("status").stdout
    assert "churn-local: the local cloud of" in said
    assert "is not running" in said
    assert "no stack answered" in said
