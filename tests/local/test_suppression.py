"""A composite alarm whose notifications another alarm suppresses."""

from __future__ import annotations

import json
import time

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.watched import Queue, Watch, alarm_on, make_topic, notifications, unique

#: Seconds of the cloud's time; a minute of it takes a second.
SHORT, LONG = 60, 36_000


@pytest.fixture
def watch(cloud_daemon: CloudDaemon) -> Watch:
    return Watch(cloud_daemon)


def make_page(daemon: CloudDaemon, *, wait: int, extension: int) -> tuple[str, str, str, Queue]:
    """Create a composite alarm in OK; return the names of its cause, its suppressor and itself, and its queue."""
    watch, (topic, inbox) = Watch(daemon), make_topic(daemon)
    cause, suppressor, page = unique("cause"), unique("suppressor"), unique("page")
    for name in (cause, suppressor):
        # Nothing is evaluated: states are those that the test sets.
        watch.client.put_metric_alarm(**alarm_on(name, Period=3600, TreatMissingData="ignore"))
        watch.client.set_alarm_state(AlarmName=name, StateValue="OK", StateReason="test")
    watch.client.put_composite_alarm(
        AlarmName=page,
        AlarmRule=f"ALARM({cause})",
        AlarmActions=[topic],
        ActionsSuppressor=suppressor,
        ActionsSuppressorWaitPeriod=wait,
        ActionsSuppressorExtensionPeriod=extension,
    )
    watch.becomes(page, "OK")
    return cause, suppressor, page, inbox


def set_state(watch: Watch, name: str, state: str) -> None:
    watch.client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")


def describe(watch: Watch, name: str) -> dict[str, object]:
    found: dict[str, object] = watch.client.describe_alarms(AlarmNames=[name], AlarmTypes=["CompositeAlarm"])[
        "CompositeAlarms"
    ][0]
    return found


def test_a_suppressed_page_is_in_alarm_and_notifies_only_when_its_suppressor_ends(
    cloud_daemon: CloudDaemon, watch: Watch
) -> None:
    cause, suppressor, page, inbox = make_page(cloud_daemon, wait=LONG, extension=SHORT)
    set_state(watch, suppressor, "ALARM")
    set_state(watch, cause, "ALARM")
    watch.becomes(page, "ALARM")
    eventually(lambda: describe(watch, page).get("ActionsSuppressedBy") == "Alarm")
    assert describe(watch, page)["ActionsSuppressor"] == suppressor
    assert notifications(inbox) == []
    set_state(watch, suppressor, "OK")
    told = json.loads(inbox.next_event()["Message"])
    assert (told["AlarmName"], told["NewStateValue"]) == (page, "ALARM")
    assert "ActionsSuppressedBy" not in describe(watch, page)


def test_a_page_waits_for_its_suppressor_and_then_notifies(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    cause, _, page, inbox = make_page(cloud_daemon, wait=120, extension=SHORT)
    began = time.time()
    set_state(watch, cause, "ALARM")
    watch.becomes(page, "ALARM")
    assert json.loads(inbox.next_event()["Message"])["NewStateValue"] == "ALARM"
    assert time.time() - began >= 2.0


def test_a_change_that_is_taken_back_while_suppressed_notifies_nobody(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    cause, suppressor, page, inbox = make_page(cloud_daemon, wait=LONG, extension=0)
    set_state(watch, suppressor, "ALARM")
    set_state(watch, cause, "ALARM")
    watch.becomes(page, "ALARM")
    set_state(watch, cause, "OK")
    watch.becomes(page, "OK")
    eventually(lambda: "ActionsSuppressedBy" not in describe(watch, page))
    # The next change, of which nothing is held back, is told: nothing was told before it.
    set_state(watch, suppressor, "OK")
    set_state(watch, cause, "ALARM")
    eventually(lambda: describe(watch, page).get("ActionsSuppressedBy") == "WaitPeriod")
    set_state(watch, suppressor, "ALARM")
    eventually(lambda: describe(watch, page).get("ActionsSuppressedBy") == "Alarm")
    set_state(watch, suppressor, "OK")
    assert [one["NewStateValue"] for one in notifications(inbox, 1)] == ["ALARM"]


def test_what_is_suppressed_survives_a_restart(fresh_daemon: CloudDaemon) -> None:
    watch = Watch(fresh_daemon)
    cause, suppressor, page, inbox = make_page(fresh_daemon, wait=LONG, extension=SHORT)
    set_state(watch, suppressor, "ALARM")
    set_state(watch, cause, "ALARM")
    eventually(lambda: describe(watch, page).get("ActionsSuppressedBy") == "Alarm")
    fresh_daemon.stop()
    fresh_daemon.start()
    watch.evaluated()
    assert notifications(inbox) == []
    set_state(watch, suppressor, "OK")
    assert [one["NewStateValue"] for one in notifications(inbox, 1)] == ["ALARM"]


@pytest.mark.parametrize(
    ("given", "message"),
    [
        ({"ActionsSuppressor": "none-such", "ActionsSuppressorWaitPeriod": 1, "ActionsSuppressorExtensionPeriod": 1},
         "suppressor none-such does not exist"),
        ({"ActionsSuppressorWaitPeriod": 1}, "need an ActionsSuppressor"),
    ],
)  # fmt: skip
def test_a_suppressor_that_cannot_be_is_refused(watch: Watch, given: dict[str, object], message: str) -> None:
    with pytest.raises(ClientError, match=message):
        watch.client.put_composite_alarm(AlarmName=unique("odd"), AlarmRule="TRUE", **given)


def test_a_suppressor_in_use_cannot_be_deleted_and_needs_its_periods(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    _, suppressor, page, _ = make_page(cloud_daemon, wait=1, extension=1)
    with pytest.raises(ClientError, match="composite alarm"):
        watch.client.delete_alarms(AlarmNames=[suppressor])
    with pytest.raises(ClientError, match="needs ActionsSuppressorWaitPeriod"):
        watch.client.put_composite_alarm(AlarmName=page, AlarmRule="TRUE", ActionsSuppressor=suppressor)
