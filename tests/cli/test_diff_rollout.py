"""Roll-outs that are watched less, or by fewer alarms, than before."""

from __future__ import annotations

from typing import Any

import pytest

from tests.cli.previewed import comment, risks, step, told


def endpoint(*alarms: str) -> dict[str, Any]:
    named = [{"alarmName": alarm} for alarm in alarms]
    return {"name": "flights", "deploymentConfig": {"autoRollbackConfiguration": {"alarms": named}}}


def test_alarms_that_undo_a_roll_out_no_more() -> None:
    some = told(step("update", "Endpoint", "e", endpoint("errors", "latency"), endpoint("errors")))["risks"]
    none = told(step("update", "Endpoint", "e", endpoint("errors"), {"name": "flights"}))["risks"]

    assert [each["kind"] for each in [*some, *none]] == ["rollback-alarm-removed"] * 2
    assert "latency" in some[0]["title"]
    assert "No alarm rolls back" in none[0]["consequence"]
    assert risks(step("update", "Endpoint", "e", endpoint("errors"), endpoint("errors", "latency"))) == []


def rolled(wait: int, last: int, *alarms: str) -> dict[str, Any]:
    routing = {"type": "ALL_AT_ONCE", "waitIntervalInSeconds": wait}
    made = endpoint(*alarms)
    made["deploymentConfig"]["blueGreenUpdatePolicy"] = {
        "trafficRoutingConfiguration": routing, "terminationWaitInSeconds": last,
    }  # fmt: skip
    return made


@pytest.mark.parametrize(
    ("old", "new", "is_risk"),
    [
        (rolled(60, 60, "errors"), rolled(0, 0, "errors"), True),
        (rolled(60, 60, "errors"), rolled(60, 0, "errors"), True),
        (None, rolled(0, 0, "errors"), True),
        (rolled(60, 60), rolled(0, 0, "errors"), True),
        # It was so before, and is told with the traffic.
        (rolled(0, 0, "errors"), rolled(0, 0, "errors", "latency"), False),
        (rolled(0, 0, "errors"), rolled(60, 60, "errors"), False),
        (rolled(0, 60, "errors"), rolled(0, 30, "errors"), False),
        (rolled(60, 60), rolled(0, 0), False),
    ],
)
def test_a_roll_out_whose_alarms_nobody_waits_for(
    old: dict[str, Any] | None, new: dict[str, Any], is_risk: bool
) -> None:
    found = told(step("update" if old else "create", "Endpoint", "e", old, new))["risks"]

    assert [each["kind"] for each in found] == (["bake-none"] if is_risk else [])
    assert not is_risk or "a bad model is not detected before that" in found[0]["consequence"]


def fires(name: str, period: int, periods: int) -> dict[str, Any]:
    inputs = {"name": name, "metricName": "x", "period": period, "evaluationPeriods": periods}
    return step("same", "Alarm", name, inputs, inputs)


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
        # It was so before, and is told with the traffic.
        (30, 30, False),
        (1, 30, False),
    ],
)
def test_a_roll_out_that_is_over_before_any_alarm_can_fire(before: int, after: int, is_risk: bool) -> None:
    alarms = [fires("errors", 60, 1), fires("latency", 60, 2), fires("drift", 1, 1)]
    old, new = rolled(0, before, "errors", "latency"), rolled(0, after, "errors", "latency")

    found = told(step("update", "Endpoint", "e", old, new), *alarms)["risks"]

    assert [each["kind"] for each in found] == (["bake-none"] if is_risk else [])
    if is_risk and after:
        said = f"The old fleet is terminated {after} s after all traffic has moved, and no alarm fires in less than"
        assert found[0]["consequence"].startswith(said)


def test_a_second_of_watching_promises_no_roll_back() -> None:
    text = comment(
        step("update", "Endpoint", "e", rolled(0, 300, "errors"), rolled(0, 1, "errors")), fires("errors", 60, 1)
    )

    assert "which still runs" not in text
    assert "alarms watched for 1 second, then the old fleet is terminated" in text
    assert "All at once, 1 second of monitoring" in text
    assert "Monitored by `errors`, but not for long enough" in text


def test_no_roll_back_to_a_fleet_that_is_gone_is_promised() -> None:
    none = comment(step("update", "Endpoint", "e", rolled(60, 60, "errors"), rolled(0, 0, "errors")))
    some = comment(step("update", "Endpoint", "e", rolled(0, 0, "errors"), rolled(60, 60, "errors")))

    assert "which still runs" not in none
    assert "not for long enough: the old fleet is terminated before any of them can fire on all of the traffic" in none
    assert "Rolled back by: `errors`. When one fires, all traffic returns to the old fleet, which still runs" in some
