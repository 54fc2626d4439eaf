"""Tests of risks from rollouts that are watched for less time or by fewer alarms than before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.previewed import comment_on, diff_steps, find_risks, make_step


def endpoint(*alarms: str) -> dict[str, Any]:
    named = [{"alarmName": alarm} for alarm in alarms]
    return {"name": "flights", "deploymentConfig": {"autoRollbackConfiguration": {"alarms": named}}}


def test_removing_rollback_alarms_is_a_risk() -> None:
    some = diff_steps(make_step("update", "Endpoint", "e", endpoint("errors", "latency"), endpoint("errors")))["risks"]
    none = diff_steps(make_step("update", "Endpoint", "e", endpoint("errors"), {"name": "flights"}))["risks"]

    assert [each["kind"] for each in [*some, *none]] == ["rollback-alarm-removed"] * 2
    assert "latency" in some[0]["title"]
    assert "No alarm rolls back" in none[0]["consequence"]
    assert find_risks(make_step("update", "Endpoint", "e", endpoint("errors"), endpoint("errors", "latency"))) == []


def make_rollout(wait: int, last: int, *alarms: str) -> dict[str, Any]:
    routing = {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": wait}
    made = endpoint(*alarms)
    made["deploymentConfig"]["blueGreenUpdatePolicy"] = {
        "trafficRoutingConfiguration": routing, "terminationWaitInSeconds": last,
    }  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("old", "new", "is_risk"),
    [
        (make_rollout(60, 60, "errors"), make_rollout(0, 0, "errors"), True),
        (make_rollout(60, 60, "errors"), make_rollout(60, 0, "errors"), True),
        (None, make_rollout(0, 0, "errors"), True),
        (make_rollout(60, 60), make_rollout(0, 0, "errors"), True),
        # This was so before, and is reported with the traffic.
        (make_rollout(0, 0, "errors"), make_rollout(0, 0, "errors", "latency"), False),
        (make_rollout(0, 0, "errors"), make_rollout(60, 60, "errors"), False),
        (make_rollout(0, 60, "errors"), make_rollout(0, 30, "errors"), False),
        (make_rollout(60, 60), make_rollout(0, 0), False),
    ],
)
def test_a_rollout_without_bake_time_is_a_risk(old: dict[str, Any] | None, new: dict[str, Any], is_risk: bool) -> None:
    found = diff_steps(make_step("update" if old else "create", "Endpoint", "e", old, new))["risks"]

    assert [each["kind"] for each in found] == (["bake-none"] if is_risk else [])
    assert not is_risk or "a bad model is not detected before that" in found[0]["consequence"]


def make_alarm_step(name: str, period: int, periods: int) -> dict[str, Any]:
    inputs = {"name": name, "metricName": "x", "period": period, "evaluationPeriods": periods}
    return make_step("same", "Alarm", name, inputs, inputs)


@pytest.mark.parametrize(
    ("before", "after", "is_risk"),
    [
        (300, 1, True),
        (60, 59, True),
        (30, 1, True),
        (30, 0, True),
        # The quicker alarm can still fire.
        (300, 60, False),
        (60, 60, False),
        # This was so before, and is reported with the traffic.
        (30, 30, False),
        (1, 30, False),
    ],
)
def test_a_bake_time_too_short_for_any_alarm_is_a_risk(before: int, after: int, is_risk: bool) -> None:
    alarms = [make_alarm_step("errors", 60, 1), make_alarm_step("latency", 60, 2), make_alarm_step("drift", 1, 1)]
    old, new = make_rollout(0, before, "errors", "latency"), make_rollout(0, after, "errors", "latency")

    found = diff_steps(make_step("update", "Endpoint", "e", old, new), *alarms)["risks"]

    assert [each["kind"] for each in found] == (["bake-none"] if is_risk else [])
    if is_risk and after:
        said = f"The old fleet is terminated {after} s after all traffic has moved, and no alarm fires in less than"
        assert found[0]["consequence"].startswith(said)


def test_a_bake_time_of_one_second_promises_no_rollback() -> None:
    text = comment_on(
        make_step("update", "Endpoint", "e", make_rollout(0, 300, "errors"), make_rollout(0, 1, "errors")),
        make_alarm_step("errors", 60, 1),
    )

    assert "which still runs" not in text
    assert "alarms watched for 1 second, then the old fleet is terminated" in text
    assert "All at once, 1 second of monitoring" in text
    assert "Monitored by `errors`, but not for long enough" in text


def test_no_rollback_to_a_terminated_fleet_is_promised() -> None:
    none = comment_on(
        make_step("update", "Endpoint", "e", make_rollout(60, 60, "errors"), make_rollout(0, 0, "errors"))
    )
    some = comment_on(
        make_step("update", "Endpoint", "e", make_rollout(0, 0, "errors"), make_rollout(60, 60, "errors"))
    )

    assert "which still runs" not in none
    assert "not for long enough: the old fleet is terminated before any of them can fire on all of the traffic" in none
    assert "Rolled back by: `errors`. When one fires, all traffic returns to the old fleet, which still runs" in some
