"""Refusals of invalid events, rules, schedules and alarms, entry by entry where AWS does so."""

from __future__ import annotations

import json
from typing import Any

import pytest
from botocore.exceptions import ClientError

from tests.local.conftest import CloudDaemon
from tests.local.watched import (
    ACCOUNT,
    REGION,
    alarm_on,
    make_pipeline,
    make_queue,
    make_role,
    make_rule,
    make_topic,
    unique,
)

NO_WINDOW = {"Mode": "OFF"}
LAMBDA = f"arn:aws:lambda:{REGION}:{ACCOUNT}:function:f"


def read_error(error: pytest.ExceptionInfo[ClientError]) -> tuple[str, str, int]:
    response = error.value.response
    status = int(response["ResponseMetadata"]["HTTPStatusCode"])
    return str(response["Error"]["Code"]), str(response["Error"]["Message"]), status


# -- PutEvents -------------------------------------------------------------------------------------------------------


def entry(source: str, detail: str) -> dict[str, Any]:
    return {"Source": source, "DetailType": "Order", "Detail": detail}


@pytest.mark.parametrize("detail", ["[1]", '"s"', "null", "7", '{"x":NaN}', '{"x":-Infinity}', '{"x":1e999}', "{"])
def test_an_invalid_detail_fails_only_its_own_entry(cloud_daemon: CloudDaemon, detail: str) -> None:
    source, queue = unique("shop"), make_queue(cloud_daemon)
    make_rule(cloud_daemon, {"source": [source]}, {"Arn": queue.arn})
    answer = cloud_daemon.client("events").put_events(
        Entries=[entry(source, '{"n": 1}'), entry(source, detail), entry(source, '{"n": 2}')]
    )
    assert answer["FailedEntryCount"] == 1
    first, failed, last = answer["Entries"]
    assert failed == {"ErrorCode": "MalformedDetail", "ErrorMessage": "Detail is malformed."}
    came = {event["id"]: event["detail"] for event in queue.collect(2)}
    assert came == {first["EventId"]: {"n": 1}, last["EventId"]: {"n": 2}}


def test_events_with_an_aws_source_are_refused(cloud_daemon: CloudDaemon) -> None:
    source, queue = unique("shop"), make_queue(cloud_daemon)
    make_rule(cloud_daemon, {"source": [source, "aws.sagemaker"], "detail": {"of": [source]}}, {"Arn": queue.arn})
    detail = json.dumps({"of": source})
    answer = cloud_daemon.client("events").put_events(Entries=[entry("aws.sagemaker", detail), entry(source, detail)])
    assert answer["FailedEntryCount"] == 1
    assert answer["Entries"][0]["ErrorCode"] == "NotAuthorizedForSourceException"
    assert [event["source"] for event in queue.collect(1)] == [source]


def test_entries_above_256_kilobytes_are_refused(cloud_daemon: CloudDaemon) -> None:
    events = cloud_daemon.client("events")
    size = 256 * 1024 - len("shopOrder") - len('{"x": ""}')
    # A character of two bytes counts twice.
    for text in ("x" * size, "ä" * (size // 2 + 1)):
        with pytest.raises(ClientError) as error:
            events.put_events(Entries=[entry("shop", json.dumps({"x": text + "x"}, ensure_ascii=False))])
        assert read_error(error)[0] == "ValidationException"
        assert "size" in read_error(error)[1]
    answer = events.put_events(Entries=[entry("shop", json.dumps({"x": "x" * (size - 100)}))])
    assert answer["FailedEntryCount"] == 0


# -- input transformers ----------------------------------------------------------------------------------------------


def transform_event(
    daemon: CloudDaemon, template: str, paths: dict[str, str], detail: dict[str, Any]
) -> tuple[str, str]:
    """Send an event and return what its target gets, and the rule's ARN."""
    source, queue = unique("shop"), make_queue(daemon)
    transformer = {"InputPathsMap": paths, "InputTemplate": template}
    arn = make_rule(daemon, {"source": [source]}, {"Arn": queue.arn, "InputTransformer": transformer})
    daemon.client("events").put_events(Entries=[entry(source, json.dumps(detail))])
    return str(queue.next()["body"]), arn


@pytest.mark.parametrize(
    ("template", "expected"),
    [
        ('{"x": <a>, "s":"v <a>"}', '{"x": "quote", "s":"v quote"}'),
        ('{"n": <n>, "s": "<n> of <n>", "l": [<l>, <a>]}',
         '{"n": 2, "s": "2 of 2", "l": [["b", {"c": null}], "quote"]}'),
        ('{"s": "<q>", "q": <q>}', '{"s": "say \\"hi\\"", "q": "say \\"hi\\""}'),
        ('{"s": "a \\"<a>\\" b", "x": <a>}', '{"s": "a \\"quote\\" b", "x": "quote"}'),
        ('"<a> is <n>"', '"quote is 2"'),
        ("<a> took <n>: <l>", 'quote took 2: ["b", {"c": null}]'),
        ('He said "<a>", or <q>', 'He said "quote", or say "hi"'),
        ("<a>", "quote"),
        ('{"x": <gone>, "s": "v <gone>"}', '{"x": "", "s": "v "}'),
        ("v <gone>.", "v ."),
        ('{"x": <none>}', '{"x": null}'),
    ],
)  # fmt: skip
def test_an_input_template_is_filled_in(cloud_daemon: CloudDaemon, template: str, expected: str) -> None:
    paths = {"a": "$.detail.a", "n": "$.detail.n", "l": "$.detail.l", "q": "$.detail.q", "gone": "$.detail.z.y[0]",
             "none": "$.detail.none"}  # fmt: skip
    detail = {"a": "quote", "n": 2, "l": ["b", {"c": None}], "q": 'say "hi"', "none": None}
    assert transform_event(cloud_daemon, template, paths, detail)[0] == expected


def test_predefined_template_variables(cloud_daemon: CloudDaemon) -> None:
    names = ("rule-arn", "rule-name", "event.ingestion-time", "event", "event.json")
    template = "{" + ", ".join(f'"{name}": <aws.events.{name}>' for name in names) + "}"
    body, arn = transform_event(cloud_daemon, template, {}, {"n": 1})
    made = json.loads(body)
    assert made["rule-arn"] == arn
    assert made["rule-name"] == arn.rpartition("/")[2]
    assert made["event.json"]["detail"] == {"n": 1}
    assert made["event"] == {key: value for key, value in made["event.json"].items() if key != "detail"}
    assert made["event.ingestion-time"][:16] == made["event.json"]["time"][:16]


# -- patterns --------------------------------------------------------------------------------------------------------

EVENT = {
    "id": "1", "account": ACCOUNT, "source": "shop", "time": "2026-01-01T00:00:00Z", "region": REGION, "resources": [],
    "detail-type": "Order", "detail": {"size": 4},
}  # fmt: skip


def test_an_event_is_tested_against_a_pattern(cloud_daemon: CloudDaemon) -> None:
    events, event = cloud_daemon.client("events"), json.dumps(EVENT)
    for bound, expected in ((3, True), (4, False)):
        pattern = json.dumps({"source": ["shop"], "detail": {"size": [{"numeric": [">", bound]}]}})
        assert events.test_event_pattern(EventPattern=pattern, Event=event)["Result"] is expected


@pytest.mark.parametrize(
    "pattern", ["{", "{}", "[]", '{"detail": {}}', '{"source": [{"prefiks": "x"}]}', '{"a": "b"}', '{"a": [NaN]}']
)
def test_an_invalid_pattern_is_refused(cloud_daemon: CloudDaemon, pattern: str) -> None:
    events = cloud_daemon.client("events")
    with pytest.raises(ClientError) as error:
        events.test_event_pattern(EventPattern=pattern, Event=json.dumps(EVENT))
    assert read_error(error)[0] == "InvalidEventPatternException"
    with pytest.raises(ClientError) as error:
        events.put_rule(Name=unique("rule"), EventPattern=pattern)
    assert read_error(error)[0] == "InvalidEventPatternException"


@pytest.mark.parametrize("event", ["{", "[]", json.dumps({key: EVENT[key] for key in EVENT if key != "region"})])
def test_an_invalid_test_event_is_refused(cloud_daemon: CloudDaemon, event: str) -> None:
    with pytest.raises(ClientError, match="Event") as error:
        cloud_daemon.client("events").test_event_pattern(EventPattern='{"source": ["a"]}', Event=event)
    assert read_error(error)[0] == "ValidationException"


# -- targets ---------------------------------------------------------------------------------------------------------

#: Targets that can never be delivered to, and words of the reason.
NEVER: dict[str, tuple[dict[str, Any], str]] = {
    "no ARN": ({"Arn": "not-an-arn"}, "not-an-arn"),
    "Lambda": ({"Arn": LAMBDA}, "available: pipelines of SageMaker"),
    "universal": ({"Arn": "arn:aws:scheduler:::aws-sdk:sqs:sendMessage"}, "available: pipelines of SageMaker"),
    "elsewhere": ({"Arn": f"arn:aws:sqs:{REGION}:999999999999:q"}, "999999999999"),
    "ECS": (
        {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "EcsParameters": {"TaskDefinitionArn": "arn:aws:ecs:::task"}},
        "EcsParameters",
    ),
    "dead letters": (
        {"Arn": f"arn:aws:sqs:{REGION}:{ACCOUNT}:q", "DeadLetterConfig": {"Arn": f"arn:aws:sns:{REGION}:{ACCOUNT}:t"}},
        "eadLetterConfig",
    ),
}


def test_undeliverable_rule_targets_are_refused(cloud_daemon: CloudDaemon) -> None:
    events, name, queue = cloud_daemon.client("events"), unique("rule"), make_queue(cloud_daemon)
    events.put_rule(Name=name, EventPattern='{"source": ["shop"]}')
    transformer = {"InputPathsMap": {"a": "$.detail.a"}, "InputTemplate": "<a> and <b>"}
    never = {
        **NEVER,
        "template": ({"Arn": queue.arn, "InputTransformer": transformer}, "<b>"),
        "path": ({"Arn": queue.arn, "InputPath": "detail.a"}, "'detail.a'"),
    }
    listed = [{"Id": key.replace(" ", "-"), **target} for key, (target, _) in never.items()]
    answer = events.put_targets(Rule=name, Targets=[listed[0], {"Id": "good", "Arn": queue.arn}, *listed[1:]])
    assert answer["FailedEntryCount"] == len(never)
    for failed, (key, (_, word)) in zip(answer["FailedEntries"], never.items(), strict=True):
        assert failed["TargetId"] == key.replace(" ", "-")
        assert failed["ErrorCode"] == "ValidationException"
        assert word in failed["ErrorMessage"]
    assert [target["Id"] for target in events.list_targets_by_rule(Rule=name)["Targets"]] == ["good"]


def test_targets_of_a_missing_rule_are_refused(cloud_daemon: CloudDaemon) -> None:
    with pytest.raises(ClientError) as error:
        cloud_daemon.client("events").put_targets(Rule=unique("none"), Targets=[{"Id": "1", "Arn": LAMBDA}])
    assert read_error(error)[0] == "ResourceNotFoundException"


def test_an_archive_can_be_created(cloud_daemon: CloudDaemon) -> None:
    bus = f"arn:aws:events:{REGION}:{ACCOUNT}:event-bus/default"
    made = cloud_daemon.client("events").create_archive(ArchiveName=unique("archive"), EventSourceArn=bus)
    assert made["State"] == "ENABLED"


# -- schedules -------------------------------------------------------------------------------------------------------


def definition(daemon: CloudDaemon, **more: Any) -> dict[str, Any]:
    role = make_role(daemon, "scheduler.amazonaws.com", {})
    return {
        "Name": unique("schedule"),
        "ScheduleExpression": "rate(1 day)",
        "State": "DISABLED",
        "FlexibleTimeWindow": NO_WINDOW,
        "Target": {"Arn": make_pipeline(daemon), "RoleArn": role, **more},
    }


def test_a_missing_schedule_group_is_refused(cloud_daemon: CloudDaemon) -> None:
    with pytest.raises(ClientError) as error:
        cloud_daemon.client("scheduler").create_schedule(**definition(cloud_daemon), GroupName="nowhere")
    assert read_error(error) == ("ResourceNotFoundException", "Schedule group nowhere does not exist.", 404)


@pytest.mark.parametrize("name", NEVER)
def test_an_undeliverable_schedule_target_is_refused(cloud_daemon: CloudDaemon, name: str) -> None:
    scheduler, good, (target, word) = cloud_daemon.client("scheduler"), definition(cloud_daemon), NEVER[name]
    bad = {**good, "Target": {**good["Target"], **target}}
    with pytest.raises(ClientError) as error:
        scheduler.create_schedule(**bad)
    code, message, status = read_error(error)
    assert (code, status) == ("ValidationException", 400)
    assert word in message
    scheduler.create_schedule(**good)
    with pytest.raises(ClientError) as error:
        scheduler.update_schedule(**bad)
    assert read_error(error)[0] == "ValidationException"
    assert scheduler.get_schedule(Name=good["Name"])["Target"]["Arn"] == good["Target"]["Arn"]


@pytest.mark.parametrize("role", [f"arn:aws:iam::{ACCOUNT}:role/no-such-role", f"arn:aws:iam::{ACCOUNT}:role/a/b"])
def test_a_missing_schedule_role_is_refused(cloud_daemon: CloudDaemon, role: str) -> None:
    with pytest.raises(ClientError, match="must allow AWS EventBridge Scheduler to assume the role") as error:
        cloud_daemon.client("scheduler").create_schedule(**definition(cloud_daemon, RoleArn=role))
    assert read_error(error)[0] == "ValidationException"


def test_a_client_token_creates_only_one_schedule(cloud_daemon: CloudDaemon) -> None:
    scheduler, wanted, token = cloud_daemon.client("scheduler"), definition(cloud_daemon), unique("token")
    first = scheduler.create_schedule(**wanted, ClientToken=token)["ScheduleArn"]
    assert scheduler.create_schedule(**wanted, ClientToken=token)["ScheduleArn"] == first
    for other in ({**wanted, "ClientToken": unique("token")}, {**wanted, "State": "ENABLED", "ClientToken": token}):
        with pytest.raises(ClientError) as error:
            scheduler.create_schedule(**other)
        assert read_error(error)[0] == "ConflictException"


# -- alarms ----------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("more", "word"),
    [
        ({"TreatMissingData": "nonsense"}, "TreatMissingData 'nonsense'"),
        ({"Threshold": float("nan")}, "Threshold"),
        ({"Threshold": float("inf")}, "Threshold"),
        ({"AlarmActions": ["tell-me"]}, "AlarmActions 'tell-me'"),
        ({"OKActions": [LAMBDA]}, f"OKActions '{LAMBDA}'"),
        ({"InsufficientDataActions": ["arn:aws:automate:eu-west-1:ec2:stop"]}, "InsufficientDataActions 'arn:aws:auto"),
        ({"AlarmActions": [f"arn:aws:sns:{REGION}:{ACCOUNT}:topic", LAMBDA]}, f"AlarmActions '{LAMBDA}'"),
    ],
)
def test_an_alarm_with_invalid_settings_is_refused(cloud_daemon: CloudDaemon, more: dict[str, Any], word: str) -> None:
    cloudwatch, name = cloud_daemon.client("cloudwatch"), unique("alarm")
    with pytest.raises(ClientError) as error:
        cloudwatch.put_metric_alarm(**alarm_on(name, **more))
    assert read_error(error)[0] == "ValidationError"
    assert word in read_error(error)[1]
    assert cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"] == []


def test_invalid_actions_of_a_composite_alarm_are_refused(cloud_daemon: CloudDaemon) -> None:
    cloudwatch, name, (topic, _) = cloud_daemon.client("cloudwatch"), unique("alarm"), make_topic(cloud_daemon)
    cloudwatch.put_metric_alarm(**alarm_on(name, AlarmActions=[topic], TreatMissingData="ignore"))
    with pytest.raises(ClientError, match="AlarmActions 'tell-me'"):
        cloudwatch.put_composite_alarm(AlarmName=f"{name}-all", AlarmRule=f"ALARM({name})", AlarmActions=["tell-me"])
    cloudwatch.put_composite_alarm(AlarmName=f"{name}-all", AlarmRule=f"ALARM({name})", AlarmActions=[topic])
