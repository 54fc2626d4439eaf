"""The work of a person on call: pause, roll back, clean up and destroy, on a stack with protected data."""

from __future__ import annotations

import json
import re
import signal
import subprocess
import sys
import threading
from typing import Any

import pytest

from .stand import Stand, eventually, raise_alarm_during_bake

pytestmark = pytest.mark.timeout(600)

STACK = "churn-local"
_FILE = re.compile(r"```(?:python|yaml)\n# (stacks/\S+)\n(.*?)```", re.DOTALL)


@pytest.fixture(scope="module", autouse=True)
def _up(stand: Stand) -> None:
    """Provision two versions, the second serving, with both kinds of triggers, a long bake and protected data."""
    for name, text in _FILE.findall((stand.folder / "README.md").read_text()):
        (stand.folder / name).parent.mkdir(exist_ok=True)
        (stand.folder / name).write_text(text)
    configure(stand, ("promotion: automatic", "promotion: manual"), ("force_destroy: true", "force_destroy: false"))
    config = stand.folder / "stacks" / f"Pulumi.{STACK}.yaml"
    config.write_text(config.read_text().rstrip() + "\n    rollout:\n      bake_seconds: 300\n")
    stand.millrace("up", "churn", "--json", timeout=500)
    # A new schedule runs at once: by now a model exists, and the guard refuses to train another so soon.
    declaration = stand.folder / "stacks" / "churn" / "__init__.py"
    triggers = 'retraining=Retraining(on=("drift", "data"), every=timedelta(days=365)),\n)'
    text = declaration.read_text().rstrip().removesuffix(")").rstrip() + f",\n    {triggers}\n"
    declaration.write_text(
        "from datetime import timedelta\n\n" + text.replace("import Gate,", "import Gate, Retraining,")
    )
    stand.millrace("approve", "churn", "--yes", "--deploy")


def configure(stand: Stand, *changes: tuple[str, str]) -> None:
    """Change the configuration of the stack."""
    path = stand.folder / "stacks" / f"Pulumi.{STACK}.yaml"
    text = path.read_text()
    for old, new in changes:
        assert old in text
        text = text.replace(old, new)
    path.write_text(text)


def pulumi(stand: Stand, *arguments: str) -> dict[str, Any]:
    """Return the document that the stock Pulumi CLI prints."""
    done = subprocess.run(
        ["pulumi", *arguments, "--stack", STACK, "--non-interactive"],
        cwd=stand.folder, env=stand.environment, capture_output=True, text=True, check=True,
    )  # fmt: skip
    document: dict[str, Any] = json.loads(done.stdout)
    return document


def is_unchanged(stand: Stand) -> bool:
    """Return True if a preview has nothing to do."""
    return set(pulumi(stand, "preview", "--json")["changeSummary"]) == {"same"}


def read_served_version(stand: Stand) -> int:
    sagemaker = stand.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    model = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
    return int(sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelPackageName"].rpartition("/")[2])


def read_approvals(stand: Stand) -> dict[int, str]:
    found = stand.client("sagemaker").list_model_packages(ModelPackageGroupName=STACK)["ModelPackageSummaryList"]
    return {each["ModelPackageVersion"]: each["ModelApprovalStatus"] for each in found}


def run_with_json(stand: Stand, *arguments: str) -> Any:
    """Return the document that a command prints with ``--json``."""
    return json.loads(stand.millrace(*arguments, "--json").stdout)


def test_a_pause_survives_previews_and_deployments(stand: Stand) -> None:
    assert read_served_version(stand) == 1
    paused = run_with_json(stand, "pause", "churn", "--reason", "the source is down")
    assert paused["refreshed"] is True
    assert {each["name"]: each["state"] for each in paused["triggers"]} == {
        f"{STACK}-monitor": "DISABLED",
        f"{STACK}-training-backstop": "DISABLED",
        f"{STACK}-training-recheck": "DISABLED",
        f"{STACK}-training-on-alarm": "DISABLED",
        f"{STACK}-training-on-data": "DISABLED",
    }
    assert is_unchanged(stand)
    # Manual training still works; without a champion to beat, the same data give a model that is pending approval.
    trained = run_with_json(stand, "retrain", "churn", "--champion", "none")
    assert (trained["outcome"], trained["version"], trained["approval"]) == ("registered", 2, "PendingManualApproval")
    deployed = run_with_json(stand, "approve", "churn", "2", "--yes", "--deploy")
    assert (deployed["deployed"], read_served_version(stand)) == (2, 2)
    scheduler, events = stand.client("scheduler"), stand.client("events")
    assert scheduler.get_schedule(Name=f"{STACK}-monitor")["State"] == "DISABLED"
    assert events.describe_rule(Name=f"{STACK}-training-on-alarm")["State"] == "DISABLED"

    resumed = run_with_json(stand, "resume", "churn")
    assert {each["state"] for each in resumed["triggers"]} == {"ENABLED"}
    assert is_unchanged(stand)


def test_an_event_about_new_data_starts_a_training_which_is_skipped_so_soon(stand: Stand) -> None:
    def find_runs() -> list[dict[str, Any]]:
        found: list[dict[str, Any]] = run_with_json(stand, "status", "churn", "--env", "local")["executions"][
            "training"
        ]
        return found

    before = {run["execution"] for run in find_runs()}
    event = {"Source": "millrace", "DetailType": "Data Ready", "Detail": json.dumps({"stack": STACK})}
    other = {**event, "Detail": json.dumps({"stack": "returns-local"})}
    assert stand.client("events").put_events(Entries=[other, event])["FailedEntryCount"] == 0
    [run] = eventually(
        lambda: [run for run in find_runs() if run["execution"] not in before and run["skipped"]] or None,
        "the skipped start",
        60,
    )
    assert (run["status"], run["skipped"]) == ("Succeeded", "cooldown")
    assert "retraining.cooldown" in run["reason"]
    sagemaker = stand.client("sagemaker")
    given = sagemaker.list_pipeline_parameters_for_execution(PipelineExecutionArn=run["execution"])
    assert {"Name": "Trigger", "Value": "data"} in given["PipelineParameters"]


def test_a_rollback_reverted_by_an_alarm_leaves_the_registry_unchanged(stand: Stand) -> None:
    watcher = threading.Thread(target=raise_alarm_during_bake, args=(stand, STACK))
    watcher.start()
    done = stand.millrace("rollback", "churn", "--yes", "--reason", "calls are wrong", code=1)
    watcher.join()
    assert "rolled back" in done.stderr
    assert f"{STACK}-errors" in done.stderr
    assert "reverted: version 2 is Approved again" in done.stderr
    assert (read_served_version(stand), read_approvals(stand)) == (2, {1: "Approved", 2: "Approved"})


def test_a_broken_program_is_found_before_any_version_is_rejected(stand: Stand) -> None:
    data = stand.folder / "stacks" / "churn" / "data.py"
    text = data.read_text()
    try:
        data.write_text(text + "\ndef broken(:\n")
        done = stand.millrace("rollback", "churn", "--yes", code=1)
    finally:
        data.write_text(text)
    assert "data.py" in done.stderr
    assert (read_served_version(stand), read_approvals(stand)) == (2, {1: "Approved", 2: "Approved"})


def test_a_rollback_serves_and_reports_the_previous_version(stand: Stand) -> None:
    def is_over() -> bool | None:
        alarms = stand.client("cloudwatch").describe_alarms(AlarmNames=[f"{STACK}-errors"])["MetricAlarms"]
        return True if alarms[0]["StateValue"] == "OK" else None

    eventually(is_over, "the alarm to be over", 60)
    found = run_with_json(stand, "rollback", "churn", "--yes", "--reason", "calls are wrong")
    assert (found["from"], found["to"], found["rejected"], found["deployed"]) == (2, 1, [2], True)
    assert (read_served_version(stand), read_approvals(stand)) == (1, {1: "Approved", 2: "Rejected"})
    assert is_unchanged(stand)


def test_gc_keeps_the_serving_model_and_leaves_the_stack_unchanged(stand: Stand) -> None:
    sagemaker = stand.client("sagemaker")
    before = len(sagemaker.list_endpoint_configs()["EndpointConfigs"])
    assert before >= 3
    found = run_with_json(stand, "gc", "churn", "--older-than", "0d", "--keep", "0", "--yes")
    # A start that was skipped leaves only its decision in the lake.
    assert {item["kind"] for item in found["items"]} - {"objects"} == {"endpoint configuration", "model"}
    assert len(sagemaker.list_endpoint_configs()["EndpointConfigs"]) == len(sagemaker.list_models()["Models"]) == 1
    assert is_unchanged(stand)
    asked = {"customer": "a", "asked_at": "2030-01-01T00:00:00Z", "calls": 8, "plan": "basic"}
    answered = json.loads(stand.millrace("invoke", "churn", "--json", json.dumps(asked), "--json-output").stdout)
    assert answered["answer"]["score"] > 0.7


def test_an_interrupted_destroy_is_resumed_and_keeps_the_data(stand: Stand) -> None:
    refused = stand.millrace("destroy", "churn", "--yes", "--delete-data", code=1)
    assert "does not set force_destroy; --delete-data is refused, nothing was changed" in refused.stderr
    sagemaker = stand.client("sagemaker")
    with subprocess.Popen(
        [sys.executable, "-m", "cli.main", "destroy", "churn", "--yes"],
        cwd=stand.folder, env=stand.environment, stdout=subprocess.PIPE, stderr=subprocess.STDOUT, text=True,
    ) as process:  # fmt: skip
        eventually(lambda: True if not sagemaker.list_endpoints()["Endpoints"] else None, "the endpoint to go", 60)
        process.send_signal(signal.SIGINT)
        output, _ = process.communicate(timeout=60)
        assert "Traceback" not in output
        assert process.returncode in (0, 130), output
    found = run_with_json(stand, "destroy", "churn", "--yes")
    assert {each["type"] for each in found["kept"]} == {"Bucket", "Key", "ModelPackageGroup"}
    assert any("pulumi state unprotect" in line for line in found["next"])
    assert [sagemaker.list_models()["Models"], sagemaker.list_endpoint_configs()["EndpointConfigs"]] == [[], []]
    assert sagemaker.list_pipelines()["PipelineSummaries"] == []
    assert read_approvals(stand) == {1: "Approved", 2: "Rejected"}
    kinds = {each["type"] for each in pulumi(stand, "stack", "export")["deployment"]["resources"]}
    # Without these settings the kept bucket would be readable over plain HTTP.
    assert "aws:s3/bucketPolicy:BucketPolicy" in kinds
    assert "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration" in kinds
    assert "already destroyed, except for what is kept" in stand.millrace("destroy", "churn", "--yes").stdout


def test_protected_data_are_deleted_only_with_delete_data(stand: Stand) -> None:
    configure(stand, ("force_destroy: false", "force_destroy: true"))
    refused = stand.millrace("destroy", "churn", "--yes", code=1)
    assert "its data are protected" in refused.stderr
    assert f"{STACK}-lake-bucket" in refused.stderr
    done = stand.millrace("destroy", "churn", "--yes", "--delete-data")
    assert f"nothing of {STACK} is left" in done.stdout
    # The output does not list unchanged resources.
    assert "unchanged" not in done.stdout
    assert stand.client("s3").list_buckets()["Buckets"] == []
    assert stand.client("sagemaker").list_model_package_groups()["ModelPackageGroupSummaryList"] == []
    assert stand.client("ssm").describe_parameters()["Parameters"] == []
    again = stand.millrace("destroy", "churn", "--yes")
    assert "it was never deployed or is already destroyed; nothing to do" in again.stdout
    assert (stand.folder / "stacks" / f"Pulumi.{STACK}.yaml").exists()
