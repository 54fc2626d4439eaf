"""What is snoozed: the monitor reads it, suppresses the pages that it quietens, and tells only the rest."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

import pytest

from millrace.monitor_report import Check, MonitorReport
from millrace.names import Names
from millrace.watching import MonitorAlarm
from queries.fake import FakeAccount
from queries.snoozes import Snooze, Snoozes, Until
from stacks.flights import USE_CASE
from training.monitoring.message import make_message
from training.monitoring.snoozed import find_snoozed, list_quiet_pages

NOW = datetime.now(UTC)
ALARMS = [alarm.value for alarm in MonitorAlarm]


def make_report(*beyond: str, snoozed: tuple[str, ...] = (), measured: bool = True) -> MonitorReport:
    """Return a report in which these alarms are beyond their threshold, and drift is not unless it is named."""
    checks = [Check(alarm=alarm, value=2.0, threshold=1.0, ratio=2.0, text=f"{alarm} is high") for alarm in beyond]
    checks.append(Check(alarm="drift", value=0.5, threshold=1.0, ratio=0.5, text="drift is low"))
    return MonitorReport(
        as_of="2026-01-01T00:00:00Z", since="2025-12-04T00:00:00Z", checks=checks, measured=measured,
        snoozed=dict.fromkeys(snoozed, "snoozed until 2026-02-01T00:00:00Z by anna: known"),
    )  # fmt: skip


@pytest.mark.parametrize(
    ("report", "quiet"),
    [
        (make_report("drift"), []),
        (make_report("drift", snoozed=("drift",)), ["data-snoozed"]),
        (make_report("drift", "skew", snoozed=("drift",)), []),
        (make_report("drift", "quality", snoozed=("drift",)), ["data-snoozed"]),
        (make_report(snoozed=("drift",)), []),
        (make_report(measured=False, snoozed=("unmeasured",)), ["silence-snoozed"]),
        (make_report("capture", measured=False, snoozed=("unmeasured",)), []),
    ],
)
def test_a_page_is_quiet_only_if_all_that_raises_it_is_snoozed(report: MonitorReport, quiet: list[str]) -> None:
    assert list_quiet_pages(report, ALARMS) == quiet


def test_people_are_told_of_what_is_not_snoozed_and_see_what_is() -> None:
    assert make_message(USE_CASE, "flights-local", make_report("drift", snoozed=("drift",))) is None
    message = make_message(USE_CASE, "flights-local", make_report("drift", "skew", snoozed=("drift",)))
    assert message is not None
    subject, text = message
    assert subject == "flights-local: skew"
    assert "- skew is high." in text
    assert "snoozed until 2026-02-01T00:00:00Z by anna: known" in text


def make_job(account: FakeAccount) -> Any:
    names = Names("flights", "local", "123456789012", "eu-west-1")
    return SimpleNamespace(names=names, make_client=account.client)


def make_snooze(until: Until, *, hours: float) -> Snooze:
    return Snooze(since=NOW, expires=NOW + timedelta(hours=hours), by="anna", reason="known", until=until)


def test_the_monitor_takes_only_what_has_not_ended() -> None:
    account = FakeAccount()
    firing = {"flights-local-skew": NOW - timedelta(hours=1), "flights-local-labels": NOW + timedelta(minutes=1)}
    account.answer(
        "cloudwatch",
        "DescribeAlarms",
        lambda params: {
            "MetricAlarms": [
                {"AlarmName": name, "StateValue": "ALARM", "StateTransitionedTimestamp": firing[name]}
                for name in params["AlarmNames"]
                if name in firing
            ]
        },
    )
    snoozes = {
        "drift": make_snooze(Until.EXPIRY, hours=1),
        "volume": make_snooze(Until.EXPIRY, hours=-1),
        # It fires since before it was acknowledged; it has fired again since; it is OK again.
        "skew": make_snooze(Until.OK, hours=1),
        "labels": make_snooze(Until.OK, hours=1),
        "quality": make_snooze(Until.OK, hours=1),
    }
    account.add_parameter("/millrace/flights-local/snoozed", Snoozes(alarms=snoozes).model_dump_json())
    found, unread = find_snoozed(make_job(account))
    assert (sorted(found), unread) == (["drift", "skew"], "")


def test_an_unreadable_parameter_quietens_nothing_and_is_said() -> None:
    account = FakeAccount()
    account.add_parameter("/millrace/flights-local/snoozed", '{"version": 2}')
    found, unread = find_snoozed(make_job(account))
    assert found == {}
    assert "people are told of everything: SSM parameter /millrace/flights-local/snoozed" in unread
