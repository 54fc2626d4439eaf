"""Rules: matching, inputs of targets, permissions, dead letters and retries."""

from __future__ import annotations

import json
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.core.clock import Clock
from local.core.context import Cloud
from local.core.images import Images
from local.core.store import Store
from local.services.eventbridge import access, rules, targets
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.watched import (
    ACCOUNT,
    REGION,
    Queue,
    Watch,
    alarm_on,
    is_logged,
    list_executions,
    list_parameters,
    make_pipeline,
    make_queue,
    make_role,
    make_rule,
    make_topic,
    unique,
)

START = "sagemaker:StartPipelineExecution"


def put_event(daemon: CloudDaemon, source: str, detail: dict[str, Any] | None = None, **more: Any) -> None:
    entry = {"Source": source, "DetailType": "Order", "Detail": json.dumps(detail or {}), **more}
    assert daemon.client("events").put_events(Entries=[entry])["FailedEntryCount"] == 0


def pipeline_arn(name: str) -> str:
    return f"arn:aws:sagemaker:{REGION}:{ACCOUNT}:pipeline/{name}"


def pipeline_target(arn: str, dead: Queue | None, role: str | None, *values: str) -> dict[str, Any]:
    listed = [{"Name": f"P{number}", "Value": value} for number, value in enumerate(values)]
    target: dict[str, Any] = {"Arn": arn, "SageMakerPipelineParameters": {"PipelineParameterList": listed}}
    if role:
        target["RoleArn"] = role
    if dead:
        target["DeadLetterConfig"] = {"Arn": dead.arn}
    return target


# -- matching --------------------------------------------------------------------------------------------------------


def test_an_event_reaches_the_targets_of_matching_rules(cloud_daemon: CloudDaemon) -> None:
    source, wanted, other = unique("shop"), make_queue(cloud_daemon), make_queue(cloud_daemon)
    second = make_queue(cloud_daemon)
    make_rule(cloud_daemon, {"source": [source], "detail": {"size": [{"numeric": [">", 3]}]}}, {"Arn": wanted.arn},
         {"Arn": second.arn})  # fmt: skip
    make_rule(cloud_daemon, {"source": [source], "detail": {"size": [{"numeric": ["<=", 3]}]}}, {"Arn": other.arn})
    put_event(cloud_daemon, source, {"size": 5}, Resources=["arn:aws:s3:::shop"])
    event = wanted.next_event()
    assert event["source"] == source
    assert event["detail-type"] == "Order"
    assert (event["account"], event["region"], event["version"]) == (ACCOUNT, REGION, "0")
    assert event["resources"] == ["arn:aws:s3:::shop"]
    assert event["detail"] == {"size": 5}
    assert second.next_event() == event
    put_event(cloud_daemon, source, {"size": 3})
    assert other.next_event()["detail"] == {"size": 3}
    assert wanted.messages() == []


def test_disabled_and_deleted_rules_receive_no_events(cloud_daemon: CloudDaemon) -> None:
    source, off, gone, on = unique("shop"), *(make_queue(cloud_daemon) for _ in range(3))
    events = cloud_daemon.client("events")
    for queue in (off, gone, on):
        make_rule(cloud_daemon, {"source": [source]}, {"Arn": queue.arn}, name=queue.name)
    events.disable_rule(Name=off.name)
    events.remove_targets(Rule=gone.name, Ids=["0"])
    events.delete_rule(Name=gone.name)
    put_event(cloud_daemon, source)
    on.next_event()
    assert off.messages() == gone.messages() == []
    events.enable_rule(Name=off.name)
    put_event(cloud_daemon, source)
    off.next_event()


def test_event_buses_are_isolated(cloud_daemon: CloudDaemon) -> None:
    bus, source, inbox, default = unique("bus"), unique("shop"), make_queue(cloud_daemon), make_queue(cloud_daemon)
    events = cloud_daemon.client("events")
    events.create_event_bus(Name=bus)
    events.put_rule(Name="all", EventBusName=bus, EventPattern=json.dumps({"source": [source]}))
    events.put_targets(Rule="all", EventBusName=bus, Targets=[{"Id": "1", "Arn": inbox.arn}])
    make_rule(cloud_daemon, {"source": [source]}, {"Arn": default.arn})
    put_event(cloud_daemon, source, {"n": 1}, EventBusName=bus)
    assert inbox.next_event()["detail"] == {"n": 1}
    put_event(cloud_daemon, source, {"n": 2})
    assert default.next_event()["detail"] == {"n": 2}
    assert inbox.messages() == []


def test_an_invalid_pattern_is_refused(cloud_daemon: CloudDaemon) -> None:
    for pattern in ('{"source": [{"prefiks": "x"}]}', '{"source": "x"}', "{"):
        with pytest.raises(ClientError) as refused:
            cloud_daemon.client("events").put_rule(Name="refused", EventPattern=pattern)
        assert refused.value.response["Error"]["Code"] == "InvalidEventPatternException"


# -- inputs of targets -----------------------------------------------------------------------------------------------


def test_targets_get_the_input_that_they_configure(cloud_daemon: CloudDaemon) -> None:
    source, queues = unique("shop"), [make_queue(cloud_daemon) for _ in range(3)]
    template = '{"text": "<who> took <count>", "whole": <order>}'
    make_rule(
        cloud_daemon,
        {"source": [source]},
        {"Arn": queues[0].arn, "Input": '{"constant": true}'},
        {"Arn": queues[1].arn, "InputPath": "$.detail.items[1]"},
        {
            "Arn": queues[2].arn,
            "InputTransformer": {
                "InputPathsMap": {"who": "$.detail.who", "count": "$.detail.count", "order": "$.detail.items"},
                "InputTemplate": template,
            },
        },
    )
    put_event(cloud_daemon, source, {"who": "Ada", "count": 2, "items": ["a", {"b": 1}]})
    assert queues[0].next_event() == {"constant": True}
    assert queues[1].next_event() == {"b": 1}
    assert queues[2].next_event() == {"text": "Ada took 2", "whole": ["a", {"b": 1}]}


def test_topics_and_log_groups_receive_events(cloud_daemon: CloudDaemon) -> None:
    source, (topic, inbox), group = unique("shop"), make_topic(cloud_daemon), unique("/events/shop")
    logs, sns = cloud_daemon.client("logs"), cloud_daemon.client("sns")
    principal = {"Service": "events.amazonaws.com"}
    allow = {"Effect": "Allow", "Principal": principal, "Action": "sns:Publish", "Resource": topic}
    sns.set_topic_attributes(
        TopicArn=topic, AttributeName="Policy", AttributeValue=json.dumps({"Statement": [allow]})
    )  # fmt: skip
    logs.create_log_group(logGroupName=group)
    arn = f"arn:aws:logs:{REGION}:{ACCOUNT}:log-group:{group}"
    allow = {"Effect": "Allow", "Principal": principal, "Action": ["logs:CreateLogStream", "logs:PutLogEvents"],
             "Resource": f"{arn}:*"}  # fmt: skip
    logs.put_resource_policy(policyName=unique("events"), policyDocument=json.dumps({"Statement": [allow]}))
    make_rule(cloud_daemon, {"source": [source]}, {"Arn": topic}, {"Arn": arn})
    put_event(cloud_daemon, source, {"n": 1})
    assert json.loads(inbox.next_event()["Message"])["detail"] == {"n": 1}
    (entry,) = eventually(lambda: logs.filter_log_events(logGroupName=group)["events"])
    assert json.loads(entry["message"])["source"] == source


# -- permissions and dead letters ------------------------------------------------------------------------------------


NO_ROLE = f"arn:aws:iam::{ACCOUNT}:role/no-such-role"


def test_a_pipeline_target_without_a_role_is_refused(cloud_daemon: CloudDaemon) -> None:
    events, name = cloud_daemon.client("events"), unique("rule")
    events.put_rule(Name=name, EventPattern='{"source": ["shop"]}')
    target = {"Id": "train", "Arn": pipeline_arn("train")}
    answer = events.put_targets(Rule=name, Targets=[target])
    (failed,) = answer["FailedEntries"]
    assert failed["ErrorMessage"] == f"RoleArn is required for target {target['Arn']}."
    assert events.list_targets_by_rule(Rule=name)["Targets"] == []


def test_a_rule_has_at_most_five_targets(cloud_daemon: CloudDaemon) -> None:
    events, name, queue = cloud_daemon.client("events"), unique("rule"), make_queue(cloud_daemon)
    events.put_rule(Name=name, EventPattern='{"source": ["shop"]}')
    targets = [{"Id": str(number), "Arn": queue.arn} for number in range(6)]
    with pytest.raises(ClientError, match="LimitExceededException"):
        events.put_targets(Rule=name, Targets=targets)
    assert events.list_targets_by_rule(Rule=name)["Targets"] == []
    assert events.put_targets(Rule=name, Targets=targets[:5])["FailedEntryCount"] == 0
    # An existing target is replaced.
    assert events.put_targets(Rule=name, Targets=targets[:1])["FailedEntryCount"] == 0
    with pytest.raises(ClientError, match="LimitExceededException"):
        events.put_targets(Rule=name, Targets=targets[5:])


def get_role_case(name: str) -> tuple[Callable[[CloudDaemon, str], str | None], str, str]:
    """Return how the role of a case is created, the error's code, and words of its message."""
    return {
        "trusts another account": (
            lambda daemon, arn: make_role(daemon, "events.amazonaws.com", {START: arn}, account="999999999999"),
            "FAILED_TO_ASSUME_ROLE", "trust policy",
        ),
        "trusts another service": (
            lambda daemon, arn: make_role(daemon, "scheduler.amazonaws.com", {START: arn}),
            "FAILED_TO_ASSUME_ROLE", "does not let events.amazonaws.com assume it",
        ),
        "trusts another rule": (
            lambda daemon, arn: make_role(
                daemon, "events.amazonaws.com", {START: arn},
                conditions={"ArnEquals": {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/another"}},
            ),
            "FAILED_TO_ASSUME_ROLE", "trust policy",
        ),
        "may do nothing": (
            lambda daemon, arn: make_role(daemon, "events.amazonaws.com", {}),
            "NO_PERMISSIONS", "is not authorized to perform: sagemaker:StartPipelineExecution",
        ),
        "may start another pipeline": (
            lambda daemon, arn: make_role(daemon, "events.amazonaws.com", {START: pipeline_arn("other")}),
            "NO_PERMISSIONS", "is not authorized",
        ),
        "does not exist": (
            lambda daemon, arn: f"arn:aws:iam::{ACCOUNT}:role/no-such-role", "FAILED_TO_ASSUME_ROLE", "does not exist",
        ),
    }[name]  # fmt: skip


@pytest.mark.parametrize(
    "name",
    [
        "trusts another account", "trusts another service", "trusts another rule", "may do nothing",
        "may start another pipeline", "does not exist",
    ],
)  # fmt: skip
def test_a_delivery_with_an_insufficient_role_is_dead_lettered(cloud_daemon: CloudDaemon, name: str) -> None:
    role, code, message = get_role_case(name)
    source, dead, pipeline = unique("shop"), make_queue(cloud_daemon), pipeline_arn(unique("train"))
    target = pipeline_target(pipeline, dead, role(cloud_daemon, pipeline), "$.detail.alarmName")
    arn = make_rule(cloud_daemon, {"source": [source]}, target)
    put_event(cloud_daemon, source, {"alarmName": "drift"})
    # At once: a retry would not help.
    letter = dead.next(seconds=5)
    assert message in letter["attributes"].pop("ERROR_MESSAGE")
    assert letter["attributes"] == {
        "RULE_ARN": arn, "TARGET_ARN": pipeline, "ERROR_CODE": code, "RETRY_ATTEMPTS": "0",
    }  # fmt: skip
    body = json.loads(letter["body"])
    assert (body["source"], body["detail"]) == (source, {"alarmName": "drift"})


def good_role(daemon: CloudDaemon, arn: str) -> str:
    return make_role(
        daemon, "events.amazonaws.com", {START: arn},
        conditions={"ArnLike": {"aws:SourceArn": f"arn:aws:events:{REGION}:{ACCOUNT}:rule/*"}},
    )  # fmt: skip


def test_an_event_for_a_missing_pipeline_is_dead_lettered(cloud_daemon: CloudDaemon) -> None:
    source, dead, pipeline = unique("shop"), make_queue(cloud_daemon), pipeline_arn(unique("train"))
    make_rule(cloud_daemon, {"source": [source]}, pipeline_target(pipeline, dead, good_role(cloud_daemon, pipeline)))
    put_event(cloud_daemon, source)
    assert dead.next(seconds=5)["attributes"]["ERROR_CODE"] == "NO_RESOURCE"


def test_an_event_without_a_needed_parameter_is_dead_lettered(cloud_daemon: CloudDaemon) -> None:
    source, dead, pipeline = unique("shop"), make_queue(cloud_daemon), pipeline_arn(unique("train"))
    role = good_role(cloud_daemon, pipeline)
    make_rule(cloud_daemon, {"source": [source]}, pipeline_target(pipeline, dead, role, "$.detail.missing"))
    put_event(cloud_daemon, source)
    attributes = dead.next(seconds=5)["attributes"]
    assert attributes["ERROR_CODE"] == "INVALID_PARAMETER"
    assert "$.detail.missing" in attributes["ERROR_MESSAGE"]


@pytest.mark.parametrize(
    ("arn", "code"),
    [
        (f"arn:aws:sqs:{REGION}:{ACCOUNT}:no-such-queue", "NO_RESOURCE"),
        ("closed", "NO_PERMISSIONS"),
    ],
)
def test_an_event_for_a_missing_or_closed_queue_is_dead_lettered(
    cloud_daemon: CloudDaemon, arn: str, code: str
) -> None:
    source, dead = unique("shop"), make_queue(cloud_daemon)
    if arn == "closed":
        arn = make_queue(cloud_daemon, service=None).arn
    make_rule(cloud_daemon, {"source": [source]}, {"Arn": arn, "DeadLetterConfig": {"Arn": dead.arn}})
    put_event(cloud_daemon, source)
    assert dead.next(seconds=5)["attributes"]["ERROR_CODE"] == code


def test_without_a_dead_letter_queue_a_lost_event_is_logged(cloud_daemon: CloudDaemon) -> None:
    source, pipeline = unique("shop"), pipeline_arn(unique("train"))
    arn = make_rule(cloud_daemon, {"source": [source]}, pipeline_target(pipeline, None, NO_ROLE))
    put_event(cloud_daemon, source)
    eventually(lambda: is_logged(cloud_daemon, "lost:", arn, pipeline, "FAILED_TO_ASSUME_ROLE"))


def test_an_event_refused_by_the_dead_letter_queue_is_logged(cloud_daemon: CloudDaemon) -> None:
    source, dead = unique("shop"), make_queue(cloud_daemon, service="scheduler.amazonaws.com")
    arn = make_rule(cloud_daemon, {"source": [source]}, pipeline_target(pipeline_arn("train"), dead, NO_ROLE))
    put_event(cloud_daemon, source)
    eventually(lambda: is_logged(cloud_daemon, "lost: the dead-letter queue", dead.arn, arn))
    assert dead.messages() == []


def trust(**conditions: Any) -> dict[str, Any]:
    return {
        "Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole",
        **({"Condition": conditions} if conditions else {}),
    }  # fmt: skip


@pytest.mark.parametrize(
    ("statements", "expected"),
    [
        ([trust()], True),
        ([trust(StringEquals={"aws:SourceAccount": ACCOUNT})], True),
        ([trust(StringEquals={"AWS:SourceAccount": [ACCOUNT, "9"]})], True),
        ([trust(StringEquals={"aws:SourceAccount": "9"})], False),
        ([trust(StringNotEquals={"aws:SourceAccount": ACCOUNT})], False),
        ([trust(ArnLike={"aws:SourceArn": "arn:aws:events:*:*:rule/shop-?"})], True),
        ([trust(ArnLike={"aws:SourceArn": "arn:aws:events:*:*:rule/Shop-?"})], False),
        ([trust(StringEqualsIfExists={"aws:PrincipalTag/team": "x"})], True),
        ([trust(StringEquals={"aws:PrincipalTag/team": "x"})], False),
        ([trust(DateLessThan={"aws:CurrentTime": "2099-01-01"})], False),
        ([trust(), {**trust(), "Effect": "Deny"}], False),
        ([trust(), {**trust(Bool={"aws:SecureTransport": "false"}), "Effect": "Deny"}], True),
        ([{**trust(), "Action": ["sts:TagSession", "sts:*Role"]}], True),
        ([{**trust(), "Principal": {"AWS": "arn:aws:iam::123456789012:root"}}], False),
        ([{**trust(), "Principal": "*"}], True),
        ([], False),
    ],
)
def test_trust_policies_are_evaluated(statements: list[dict[str, Any]], expected: bool) -> None:
    principal, arn = "events.amazonaws.com", f"arn:aws:events:{REGION}:{ACCOUNT}:rule/shop-1"
    allowed = access.allows(
        [{"Statement": statements}], action="sts:AssumeRole", resource="arn:aws:iam::123456789012:role/r",
        principal=principal, keys=access.make_condition_keys(principal, arn),
    )  # fmt: skip
    assert allowed is expected


# -- retries ---------------------------------------------------------------------------------------------------------


class Target:
    """A target that fails a given number of times, in an in-process cloud."""

    def __init__(self, state: Path, monkeypatch: pytest.MonkeyPatch, failures: float, *, passing: bool = True) -> None:
        self.cloud = Cloud(state, "http://127.0.0.1:9", Store(state / "s.db"), Clock(60.0), Images({}))
        self.tries: list[float] = []
        self.buried: list[tuple[str, int]] = []

        def send(cloud: Cloud, delivery: Any) -> None:
            self.tries.append(cloud.clock.now() * cloud.clock.scale)
            if len(self.tries) <= failures:
                raise targets.DeliveryError("THROTTLING", "Rate exceeded", passing=passing)

        def bury(cloud: Cloud, delivery: Any, error: targets.DeliveryError) -> None:
            self.buried.append((error.code, delivery["attempts"] - 1))

        monkeypatch.setattr(targets, "send", send)
        monkeypatch.setattr(targets, "send_to_dead_letter_queue", bury)

    def deliver(self, **policy: Any) -> None:
        target = {"Arn": "arn:aws:sqs:r:a:q", "DeadLetterConfig": {"Arn": "arn:aws:sqs:r:a:dead"}}
        self.cloud.events.deliver(
            region=REGION, sender="rule", target={**target, "RetryPolicy": policy} if policy else target, payload={}
        )
        worker = self.cloud.spawn("rules", rules._work, self.cloud)
        try:
            eventually(lambda: not self.cloud.store.list("delivery"))
        finally:
            self.cloud.stopping.set()
            worker.join()


def test_transient_errors_are_retried_with_growing_delays(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path, monkeypatch, failures=6)
    target.deliver()
    pauses = [after - before for before, after in zip(target.tries, target.tries[1:], strict=False)]
    assert len(pauses) == 6
    # 1, 2, 4, … seconds of the cloud's time, at least half of each; an attempt itself takes time, too.
    assert all(pause >= 2.0**number / 2 for number, pause in enumerate(pauses))
    assert pauses[-1] < 2.0**5 + 60
    assert target.buried == []


def test_retries_end_after_the_maximum_attempts(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path, monkeypatch, failures=99)
    target.deliver(MaximumRetryAttempts=2)
    assert len(target.tries) == 3
    assert target.buried == [("THROTTLING", 2)]


def test_retries_end_at_the_maximum_event_age(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path, monkeypatch, failures=99)
    target.deliver(MaximumEventAgeInSeconds=60)
    assert 60 <= target.tries[-1] - target.tries[0] < 240
    assert [code for code, _ in target.buried] == ["THROTTLING"]


def test_permanent_errors_are_not_retried(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    target = Target(tmp_path, monkeypatch, failures=99, passing=False)
    target.deliver()
    assert target.buried == [("THROTTLING", 0)]


# -- pipelines -------------------------------------------------------------------------------------------------------


def test_an_alarm_starts_a_pipeline(cloud_daemon: CloudDaemon) -> None:
    watch, name = Watch(cloud_daemon), unique("drift")
    pipeline, dead = make_pipeline(cloud_daemon, "P0", "P1", "P2"), make_queue(cloud_daemon)
    pattern = {"source": ["aws.cloudwatch"], "detail": {"alarmName": [name], "state": {"value": ["ALARM"]}}}
    target = pipeline_target(pipeline, dead, good_role(cloud_daemon, pipeline), "$.detail.alarmName", "a constant")
    make_rule(cloud_daemon, pattern, target)
    watch.client.put_metric_alarm(**alarm_on(name, Period=3600))
    watch.put(name)
    (execution,) = eventually(lambda: list_executions(cloud_daemon, pipeline))
    expected = {"P0": name, "P1": "a constant"}
    assert list_parameters(cloud_daemon, execution).items() >= expected.items()
    watch.evaluated()
    assert list_executions(cloud_daemon, pipeline) == [execution]
    assert dead.messages() == []


def test_queued_events_survive_a_restart(fresh_daemon: CloudDaemon) -> None:
    source, inbox = unique("shop"), make_queue(fresh_daemon)
    make_rule(fresh_daemon, {"source": [source]}, {"Arn": inbox.arn})
    for number in range(20):
        put_event(fresh_daemon, source, {"n": number})
    started = time.monotonic()
    fresh_daemon.stop()
    fresh_daemon.start()
    found = {event["detail"]["n"] for event in inbox.collect(20)}
    assert found == set(range(20))
    assert time.monotonic() - started < 20
