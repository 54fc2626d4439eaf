"""`millrace alarms`: what is snoozed is shown everywhere, and ends by itself."""

from __future__ import annotations

import json
from collections.abc import Iterator

import pytest

from tests.cli.conftest import STACK, Loop

PARAMETER = f"/millrace/{STACK}/snoozed"


@pytest.fixture(autouse=True)
def alarms(loop: Loop) -> Iterator[None]:
    """Create alarms of which drift fires, and leave nothing snoozed."""
    cloudwatch = loop.daemon.client("cloudwatch")
    for kind, state in (("drift", "ALARM"), ("skew", "OK"), ("heartbeat", "OK"), ("errors", "OK")):
        cloudwatch.put_metric_alarm(
            AlarmName=f"{STACK}-{kind}", Namespace="test", MetricName=kind, Statistic="Maximum", Period=86_400,
            EvaluationPeriods=1, Threshold=1, ComparisonOperator="GreaterThanThreshold", TreatMissingData="ignore",
            AlarmDescription=f"{kind} it is.",
        )  # fmt: skip
        cloudwatch.set_alarm_state(AlarmName=f"{STACK}-{kind}", StateValue=state, StateReason="test")
    yield
    ssm = loop.daemon.client("ssm")
    if ssm.get_parameters(Names=[PARAMETER])["Parameters"]:
        ssm.delete_parameter(Name=PARAMETER)


def list_snoozed(loop: Loop) -> dict[str, str]:
    found = loop.millrace.json("alarms", "list", "flights")
    return {each["kind"]: each["snoozed"] for each in found if each["snoozed"]}


def test_a_snoozed_alarm_is_shown_and_asks_nobody_to_act(loop: Loop) -> None:
    before = loop.millrace.json("status", "flights", "--env", "local")
    assert [each["fields"]["alarm"] for each in before["attention"] if each["code"].startswith("alarm")] == [
        f"{STACK}-drift"
    ]
    said = loop("alarms", "snooze", "flights", "drift", "skew", "--for", "2w", "--reason", "new timetable").stdout
    assert f"{STACK}-drift notifies nobody: snoozed until " in said
    assert "millrace alarms unsnooze flights drift skew" in said
    found = list_snoozed(loop)
    assert set(found) == {"drift", "skew"}
    assert found["drift"].endswith(": new timetable")
    after = loop.millrace.json("status", "flights", "--env", "local")
    assert {each["kind"]: each["state"] for each in after["alarms"]}["drift"] == "ALARM"
    assert not [each for each in after["attention"] if each["code"].startswith("alarm")]
    assert "drift (snoozed)" in loop("status").stdout
    assert "snoozed until " in loop("status", "flights", "--env", "local").stdout
    assert loop.millrace.json("alarms", "unsnooze", "flights", "drift")["unsnoozed"] == ["drift"]
    assert set(list_snoozed(loop)) == {"skew"}
    assert loop("alarms", "unsnooze", "flights").stdout == "no longer snoozed: skew\n"
    assert loop("alarms", "unsnooze", "flights").stdout == "nothing was snoozed\n"
    assert loop.daemon.client("ssm").get_parameters(Names=[PARAMETER])["Parameters"] == []


def test_an_acknowledgement_ends_with_the_state_that_was_acknowledged(loop: Loop) -> None:
    loop("alarms", "acknowledge", "flights", "drift", "--reason", "we know")
    assert list_snoozed(loop)["drift"].startswith("acknowledged, at the latest until ")
    cloudwatch = loop.daemon.client("cloudwatch")
    for state in ("OK", "ALARM"):
        cloudwatch.set_alarm_state(AlarmName=f"{STACK}-drift", StateValue=state, StateReason="test")
    assert list_snoozed(loop) == {}


def test_a_snooze_expires(loop: Loop) -> None:
    loop("alarms", "snooze", "flights", "drift", "--for", "1h", "--reason", "soon")
    ssm = loop.daemon.client("ssm")
    known = json.loads(ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"])
    known["alarms"]["drift"]["expires"] = "2026-01-01T00:00:00Z"
    ssm.put_parameter(Name=PARAMETER, Value=json.dumps(known), Type="String", Overwrite=True)
    assert list_snoozed(loop) == {}


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (("snooze", "flights", "heartbeat", "--for", "1d"), "millrace pause flights --only monitor"),
        (("snooze", "flights", "errors", "--for", "1d"), "it says that requests or triggers fail now"),
        (("snooze", "flights", "drifts", "--for", "1d"), "expected one of: drift, skew"),
        (("acknowledge", "flights", "skew"), "is OK, so there is nothing to acknowledge"),
    ],
)
def test_what_cannot_be_snoozed_is_refused(loop: Loop, arguments: tuple[str, ...], message: str) -> None:
    assert message in loop.millrace.error("alarms", *arguments, "--reason", "why not").replace("\n", " ")
    assert list_snoozed(loop) == {}


def test_wrong_durations_and_reasons_are_refused(loop: Loop) -> None:
    command = ("alarms", "snooze", "flights", "drift")
    assert "at most 90d" in loop.millrace.error(*command, "--for", "1000d", "--reason", "x", code=2)
    assert "Missing option '--reason'" in loop.millrace.error(*command, "--for", "1d", code=2)
    assert "is empty" in loop.millrace.error(*command, "--for", "1d", "--reason", " ")
    assert "the limit of an SSM parameter" not in loop.millrace.error(*command, "--for", "1d", "--reason", "x" * 2000)


def test_what_replaces_a_snooze_says_so(loop: Loop) -> None:
    loop("alarms", "snooze", "flights", "drift", "--for", "60d", "--reason", "the long one")
    said = loop("alarms", "acknowledge", "flights", "drift", "--reason", "the short one").stdout
    assert "  instead of: snoozed until " in said
    assert "the long one" in said
    found = loop.millrace.json("alarms", "snooze", "flights", "drift", "--for", "1d", "--reason", "again")
    assert found["replaced"]["drift"].startswith("acknowledged, at the latest until ")


def test_only_what_is_still_snoozed_can_be_ended(loop: Loop) -> None:
    loop("alarms", "snooze", "flights", "drift", "skew", "--for", "1h", "--reason", "soon")
    ssm = loop.daemon.client("ssm")
    known = json.loads(ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"])
    known["alarms"]["drift"]["expires"] = "2026-01-01T00:00:00Z"
    ssm.put_parameter(Name=PARAMETER, Value=json.dumps(known), Type="String", Overwrite=True)
    assert "snoozed are: skew" in loop.millrace.error("alarms", "unsnooze", "flights", "drift")
    assert loop("alarms", "unsnooze", "flights").stdout == "no longer snoozed: skew\n"


def test_a_time_that_no_clock_reaches_is_unreadable(loop: Loop) -> None:
    loop("alarms", "snooze", "flights", "drift", "--for", "1h", "--reason", "soon")
    ssm = loop.daemon.client("ssm")
    known = json.loads(ssm.get_parameter(Name=PARAMETER)["Parameter"]["Value"])
    known["alarms"]["drift"]["expires"] = "9999-12-31T23:59:59-05:00"
    ssm.put_parameter(Name=PARAMETER, Value=json.dumps(known), Type="String", Overwrite=True)
    assert "millrace alarms unsnooze" in loop.millrace.error("alarms", "list", "flights")


@pytest.mark.parametrize("reason", ["a bell \x07", "half a character \udcff"])
def test_a_reason_that_is_no_text_is_refused(loop: Loop, reason: str) -> None:
    said = loop.millrace.error("alarms", "snooze", "flights", "drift", "--for", "1d", "--reason", reason)
    assert "which is not text" in said
    assert list_snoozed(loop) == {}


def test_an_unreadable_parameter_is_named_and_unsnooze_deletes_it(loop: Loop) -> None:
    loop.daemon.client("ssm").put_parameter(Name=PARAMETER, Value="drift", Type="String")
    assert "millrace alarms unsnooze" in loop.millrace.error("alarms", "list", "flights")
    assert PARAMETER in loop.millrace.json("status", "flights", "--env", "local")["unknown"]["snoozed"]
    loop("alarms", "unsnooze", "flights")
    assert list_snoozed(loop) == {}
