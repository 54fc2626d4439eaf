"""Effects of alarm states: actions, events and composite alarms, and what survives a restart of the daemon."""

from __future__ import annotations

import datetime as dt
import json
import time

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.watched import (
    ACCOUNT,
    REGION,
    Watch,
    alarm_on,
    is_logged,
    make_queue,
    make_rule,
    make_topic,
    notifications,
    unique,
)


@pytest.fixture
def watch(cloud_daemon: CloudDaemon) -> Watch:
    return Watch(cloud_daemon)


# -- lookup ----------------------------------------------------------------------------------------------------------


def test_describe_alarms_combines_all_filters(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    quiet, loud = f"{unique('asked')}-quiet", f"{unique('asked')}-loud"
    topic, _ = make_topic(cloud_daemon)
    for name in (quiet, loud):
        watch.client.put_metric_alarm(**alarm_on(name, Period=3600, AlarmActions=[topic]))
    watch.client.set_alarm_state(AlarmName=loud, StateValue="ALARM", StateReason="it was set")

    def found(**conditions: object) -> list[str]:
        return [each["AlarmName"] for each in watch.client.describe_alarms(**conditions)["MetricAlarms"]]

    assert found(AlarmNames=[quiet, loud], StateValue="ALARM") == [loud]
    assert found(AlarmNames=[quiet], StateValue="ALARM") == []
    assert found(AlarmNamePrefix=quiet, ActionPrefix=topic) == [quiet]
    assert found(AlarmNamePrefix=quiet, ActionPrefix="arn:aws:sns:eu-west-1:123456789012:another") == []


# -- states ----------------------------------------------------------------------------------------------------------


def test_a_manually_set_state_lasts_until_the_next_evaluation(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    name, (topic, inbox) = unique("set"), make_topic(cloud_daemon)
    watch.client.put_metric_alarm(**alarm_on(name, Period=3600, AlarmActions=[topic], OKActions=[topic]))
    watch.put(name, 1.0)
    watch.becomes(name, "OK")
    watch.client.set_alarm_state(AlarmName=name, StateValue="ALARM", StateReason="a rehearsal")
    told = notifications(inbox, 3)
    assert [(one["OldStateValue"], one["NewStateValue"]) for one in told] == [
        ("INSUFFICIENT_DATA", "OK"), ("OK", "ALARM"), ("ALARM", "OK"),
    ]  # fmt: skip
    assert told[1]["NewStateReason"] == "a rehearsal"


def test_rapid_state_changes_are_all_notified(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    name, (topic, inbox) = unique("fast"), make_topic(cloud_daemon)
    watch.client.put_metric_alarm(
        **alarm_on(name, Period=3600, AlarmActions=[topic], OKActions=[topic], TreatMissingData="ignore")
    )
    for state in ("ALARM", "OK", "OK", "ALARM", "OK"):
        watch.client.set_alarm_state(AlarmName=name, StateValue=state, StateReason="test")
    assert [one["NewStateValue"] for one in notifications(inbox, 4)] == ["ALARM", "OK", "ALARM", "OK"]


def test_actions_run_only_on_a_state_change(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    name, (topic, inbox) = unique("actions"), make_topic(cloud_daemon)
    definition = alarm_on(
        name, Period=3600, TreatMissingData="notBreaching", AlarmActions=[topic], AlarmDescription="Too much."
    )
    watch.client.put_metric_alarm(**definition)
    watch.put(name)
    watch.becomes(name, "ALARM")
    told = json.loads(inbox.next_event()["Message"])
    assert told["AlarmName"] == name
    assert told["AlarmDescription"] == "Too much."
    assert told["NewStateValue"] == "ALARM"
    assert told["NewStateReason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [20.0 (")
    assert told["Trigger"]["MetricName"] == name
    # Put again unchanged and evaluated again, it stays in ALARM and sends no notification.
    watch.client.put_metric_alarm(**definition)
    assert watch.state(name) == "ALARM"
    watch.evaluated()
    assert watch.state(name) == "ALARM"
    assert notifications(inbox) == []
    # A changed alarm keeps its state until it is evaluated by its new definition.
    watch.client.put_metric_alarm(**{**definition, "Threshold": 30.0, "OKActions": [topic]})
    ended = json.loads(inbox.next_event()["Message"])
    assert (ended["OldStateValue"], ended["NewStateValue"]) == ("ALARM", "OK")
    watch.put(name, 40.0)
    watch.becomes(name, "ALARM")
    assert json.loads(inbox.next_event()["Message"])["OldStateValue"] == "OK"


def test_a_recreated_alarm_does_not_inherit_its_old_state(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    name, (topic, inbox) = unique("deleted"), make_topic(cloud_daemon)
    definition = alarm_on(name, Period=3600, AlarmActions=[topic], InsufficientDataActions=[topic])
    watch.client.put_metric_alarm(**definition)
    watch.put(name)
    assert json.loads(inbox.next_event()["Message"])["NewStateValue"] == "ALARM"
    watch.client.delete_alarms(AlarmNames=[name])
    # A new alarm of the same name starts over: this is no change from ALARM to INSUFFICIENT_DATA.
    watch.client.put_metric_alarm(**definition)
    told = json.loads(inbox.next_event()["Message"])
    assert (told["OldStateValue"], told["NewStateValue"]) == ("INSUFFICIENT_DATA", "ALARM")


def test_a_topic_whose_policy_excludes_alarms_gets_no_notification(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    name, (topic, inbox) = unique("denied"), make_topic(cloud_daemon)
    statement = {"Effect": "Allow", "Principal": {"Service": "s3.amazonaws.com"}, "Action": "sns:Publish",
                 "Resource": topic}  # fmt: skip
    cloud_daemon.client("sns").set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({"Statement": [statement]})
    )
    watch.client.put_metric_alarm(**alarm_on(name, AlarmActions=[topic], TreatMissingData="breaching"))
    watch.becomes(name, "ALARM")
    eventually(lambda: is_logged(cloud_daemon, "lost:", name, topic, "NO_PERMISSIONS"))
    assert inbox.messages() == []


def test_a_composite_alarm_follows_its_rule(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    drift, quiet, both = unique("drift"), unique("quiet"), unique("both")
    topic, inbox = make_topic(cloud_daemon)
    for name in (drift, quiet):
        watch.client.put_metric_alarm(**alarm_on(name, Period=3600, TreatMissingData="ignore"))
    watch.client.put_composite_alarm(
        AlarmName=both,
        AlarmRule=f'ALARM("{drift}") AND NOT (ALARM({quiet}) OR INSUFFICIENT_DATA({quiet})) AND TRUE',
        AlarmActions=[topic],
    )
    watch.becomes(both, "OK")
    watch.put(drift)
    watch.becomes(drift, "ALARM")
    watch.evaluated()
    assert watch.state(both) == "OK"
    watch.put(quiet, 1.0)
    watch.becomes(both, "ALARM")
    told = json.loads(inbox.next_event()["Message"])
    assert (told["AlarmName"], told["OldStateValue"], told["NewStateValue"]) == (both, "OK", "ALARM")
    watch.put(quiet, 20.0)
    watch.becomes(both, "OK")


@pytest.mark.parametrize(
    ("rule_text", "message"),
    [
        ("ALARM(no-such-alarm)", r"alarms \[no-such-alarm\] in the alarm rule do not exist"),
        ("ALARM(a", "alarm rule"), ("TRUE TRUE", "alarm rule"), ("(TRUE", "parenthesis"), ("TRUE AND", "its end"),
        ("AT_LEAST(1, ALARM, (a))", "AT_LEAST"),
    ],
)  # fmt: skip
def test_an_invalid_composite_alarm_rule_is_refused(watch: Watch, rule_text: str, message: str) -> None:
    with pytest.raises(ClientError, match=message):
        watch.client.put_composite_alarm(AlarmName=unique("senseless"), AlarmRule=rule_text)


def test_a_restart_keeps_alarm_states_and_repeats_no_notification(fresh_daemon: CloudDaemon) -> None:
    watch, (topic, inbox) = Watch(fresh_daemon), make_topic(fresh_daemon)
    everything = make_queue(fresh_daemon)
    make_rule(fresh_daemon, {"source": ["aws.cloudwatch"]}, {"Arn": everything.arn})
    for name, treatment in (("loud", "breaching"), ("kept", "ignore")):
        watch.client.put_metric_alarm(
            **alarm_on(name, AlarmActions=[topic], OKActions=[topic], TreatMissingData=treatment)
        )
    watch.client.set_alarm_state(AlarmName="kept", StateValue="OK", StateReason="test")
    watch.becomes("loud", "ALARM")
    assert len(notifications(inbox, 2)) == 2
    assert len(everything.collect(2)) == 2
    fresh_daemon.stop()
    fresh_daemon.start()
    assert (watch.state("loud"), watch.state("kept")) == ("ALARM", "OK")
    watch.evaluated()
    assert (watch.state("loud"), watch.state("kept")) == ("ALARM", "OK")
    assert notifications(inbox) == []
    assert [event for event in everything.events() if "control" not in event["detail"]["alarmName"]] == []


# -- events ----------------------------------------------------------------------------------------------------------


def test_a_state_change_sends_an_event(cloud_daemon: CloudDaemon, watch: Watch) -> None:
    name, other, inbox = unique("drift"), unique("other"), make_queue(cloud_daemon)
    pattern = {
        "source": ["aws.cloudwatch"],
        "detail-type": ["CloudWatch Alarm State Change"],
        "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}},
    }
    make_rule(cloud_daemon, pattern, {"Arn": inbox.arn})
    for each in (other, name):
        # Events are sent even though the actions are disabled.
        watch.client.put_metric_alarm(
            **alarm_on(
                each, MetricName="psi", Dimensions=[{"Name": "Model", "Value": each}], Period=3600,
                AlarmDescription="Drift.", ActionsEnabled=False,
            )
        )  # fmt: skip
        watch.client.set_alarm_state(AlarmName=each, StateValue="OK", StateReason="all is well")
        watch.put("psi", Dimensions=[{"Name": "Model", "Value": each}])
    started = time.time()
    event = inbox.next_event()
    assert abs(dt.datetime.fromisoformat(event.pop("time")).timestamp() - started) < 10
    detail, identity = event.pop("detail"), event.pop("id")
    assert len(identity) == 36
    arn = f"arn:aws:cloudwatch:{REGION}:{ACCOUNT}:alarm:{name}"
    assert event == {
        "version": "0",
        "detail-type": "CloudWatch Alarm State Change",
        "source": "aws.cloudwatch",
        "account": ACCOUNT,
        "region": REGION,
        "resources": [arn],
    }
    state, before = detail.pop("state"), detail.pop("previousState")
    assert detail == {
        "alarmName": name,
        "configuration": {
            "description": "Drift.",
            "metrics": [
                {
                    "id": "m1",
                    "returnData": True,
                    "metricStat": {
                        "period": 3600,
                        "stat": "Maximum",
                        "metric": {"namespace": "Watched", "name": "psi", "dimensions": {"Model": name}},
                    },
                }
            ],
        },
    }
    assert (before["value"], before["reason"]) == ("OK", "all is well")
    assert set(state) == {"value", "reason", "reasonData", "timestamp"}
    assert state["value"] == "ALARM"
    assert state["reason"].startswith("Threshold Crossed: 1 out of the last 1 datapoints [20.0 (")
    data = json.loads(state["reasonData"])
    assert (data["version"], data["recentDatapoints"], data["threshold"]) == ("1.0", [20.0], 10.0)
    assert dt.datetime.strptime(state["timestamp"], "%Y-%m-%dT%H:%M:%S.%f%z").tzinfo is not None
    # The other alarm's change and the changes to OK did not match the rule.
    watch.becomes(other, "ALARM")
    watch.evaluated()
    assert inbox.messages() == []
