"""Replay of spring and summer with a winter model: alarm, retraining, comparison of the challenger, deployment.

A calculation on the same data outside this program gives a winter model a calibration error above .04 in April and in
June, and below it in May. April's challenger is judged on the second half of April, where its own calibration error
misses the gate; June's is better on the second half of June. Once judged it is fitted on all of June, too, so that July
no longer surprises it: a model fitted only on what did not judge it would raise the alarm again.
"""

from __future__ import annotations

import json
from typing import Any

import psutil
import pytest

from .stand import STACK, Stand, eventually

pytestmark = pytest.mark.timeout(1500)

#: Start and end of each month, whether the alarm fires, and the approval of the challenger with its reason.
MONTHS = [
    ("2013-04-01", "2013-05-01", True, ("Rejected", "ece is 0.")),
    ("2013-05-01", "2013-06-01", False, None),
    ("2013-06-01", "2013-07-01", True, ("Approved", "better than champion version 1: brier ")),
    ("2013-07-01", "2013-08-01", False, None),
]


def test_up_resumes_after_it_was_killed(hurried: Stand) -> None:
    with hurried.started("up", "--no-observe") as up:
        s3 = hurried.client("s3")
        eventually(
            lambda: True if f"{STACK}-lake-123456789012" in _list_buckets(s3) else None, "the first resources", 120
        )
        # Pulumi itself first, so that no parent can shut it down cleanly.
        for process in [*psutil.Process(up.pid).children(recursive=True), psutil.Process(up.pid)]:
            process.kill()
    hurried.millrace("up", "--json", "--no-observe", timeout=600)
    assert set(hurried.changes()) == {"same"}
    assert hurried.client("sagemaker").describe_endpoint(EndpointName=STACK)["EndpointStatus"] == "InService"


def _list_buckets(s3: Any) -> set[str]:
    return {bucket["Name"] for bucket in s3.list_buckets()["Buckets"]}


def test_alarms_and_retraining_through_spring_and_summer(hurried: Stand) -> None:
    for since, until, fires, decision in MONTHS:
        _replay_month(hurried, since, until, fires, decision)
    versions = [(each["ModelPackageVersion"], each["ModelApprovalStatus"]) for each in hurried.packages()]
    assert versions == [(1, "Approved"), (2, "Rejected"), (3, "Approved")]


def _replay_month(stand: Stand, since: str, until: str, fires: bool, decision: tuple[str, str] | None) -> None:
    trained = len(stand.executions("training"))
    packages = len(stand.packages())
    eventually(lambda: True if stand.alarm("calibration") != "ALARM" else None, "the alarm to be over")
    stand.millrace("replay", "flights", "--since", f"{since}T00:00:00Z", "--until", f"{until}T00:00:00Z")
    stand.millrace("run", "flights", "--pipeline", "monitor")
    report = _read_newest_report(stand)
    found = [check["text"] for check in report["checks"] if check["ratio"] > 1]
    assert any("calibration" in text for text in found) is fires, found
    assert report["skew"]["share"] == 0
    if decision is None:
        assert len(stand.executions("training")) == trained, found
        return
    # The state change of the alarm starts the training, through the rule.
    stand.settled("training", trained + 1)
    newest = stand.packages()[-1]
    assert len(stand.packages()) == packages + 1
    assert newest["ModelApprovalStatus"] == decision[0]
    described = stand.client("sagemaker").describe_model_package(ModelPackageName=newest["ModelPackageArn"])
    assert described["ModelPackageDescription"].startswith(decision[1])
    assert newest["CustomerMetadataProperties"]["trigger"] == f"{STACK}-calibration"
    assert newest["CustomerMetadataProperties"]["as_of"] == f"{until}T00:00:00Z"
    before = stand.client("sagemaker").describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    # The only manual action: deploy the approved model.
    stand.up()
    after = stand.client("sagemaker").describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    assert (after != before) is (decision[0] == "Approved")


def _read_newest_report(stand: Stand) -> dict[str, Any]:
    """Return the report of the newest run of the monitor."""
    newest = stand.executions("monitor")[-1]["PipelineExecutionArn"].rpartition("/")[2]
    bucket = json.loads(stand.pulumi("stack", "output", "lake", "--json"))
    key = f"monitor/{newest}/monitor.json"
    document: dict[str, Any] = json.loads(stand.client("s3").get_object(Bucket=bucket, Key=key)["Body"].read())
    return document
