"""Schedules: rules with an expression and EventBridge Scheduler's schedules, on the scaled clock."""

from __future__ import annotations

import datetime as dt
import itertools
import json
import time
from typing import Any

import pytest
from botocore.exceptions import ClientError

from local.core.clock import Clock
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from tests.local.watched import (
    ACCOUNT,
    REGION,
    Queue,
    list_executions,
    list_parameters,
    make_pipeline,
    make_queue,
    make_role,
    unique,
)

NO_WINDOW = {"Mode": "OFF"}


@pytest.mark.parametrize("scale", [0.0, -1.0, float("nan"), float("inf")])
def test_a_clock_needs_a_scale_by_which_it_can_divide(scale: float) -> None:
    with pytest.raises(ValueError, match=f"clock scale: {scale} is not a finite number above 0"):
        Clock(scale)


def role_for(daemon: CloudDaemon, *queues: Queue) -> str:
    return make_role(
        daemon, "scheduler.amazonaws.com", {"sqs:SendMessage": queues[0].arn} if queues else {},
        conditions={"ArnEquals": {"aws:SourceArn": f"arn:aws:scheduler:{REGION}:{ACCOUNT}:schedule-group/default"}},
    )  # fmt: skip


def target_for(queue: Queue, role: str, **more: Any) -> dict[str, Any]:
    """Return a target that gets the time for which each run was planned."""
    return {"Arn": queue.arn, "RoleArn": role, "Input": '{"at": "<aws.scheduler.scheduled-time>"}', **more}


def create_schedule(daemon: CloudDaemon, expression: str, **more: Any) -> tuple[str, Queue]:
    """Create a schedule that sends to its own queue; return its name and the queue."""
    queue, name = make_queue(daemon, service=None), unique("schedule")
    daemon.client("scheduler").create_schedule(
        **{
            "Name": name,
            "ScheduleExpression": expression,
            "FlexibleTimeWindow": NO_WINDOW,
            "Target": target_for(queue, role_for(daemon, queue)),
            **more,
        }
    )
    return name, queue


def parse_planned_times(events: list[dict[str, Any]]) -> list[float]:
    return [dt.datetime.fromisoformat(event["at"]).timestamp() for event in events]


def format_time(seconds: float) -> str:
    return dt.datetime.fromtimestamp(seconds, dt.UTC).strftime("%Y-%m-%dT%H:%M:%S")


def wait_for_due_runs(daemon: CloudDaemon) -> None:
    """Wait until everything that is due now has run."""
    _, control = create_schedule(daemon, f"at({format_time(time.time() + 60)})")
    control.next()


# -- rates, crons ----------------------------------------------------------------------------------------------------


def test_a_rate_schedule_runs_at_once_and_then_at_its_interval(cloud_daemon: CloudDaemon) -> None:
    started = time.time()
    name, queue = create_schedule(cloud_daemon, "rate(1 minute)")
    first, *more = parse_planned_times(queue.collect(4))
    took = time.time() - started
    cloud_daemon.client("scheduler").delete_schedule(Name=name)
    assert first - started < 5
    assert [time - first for time in more[:3]] == [60.0, 120.0, 180.0]
    # Three minutes of the cloud's time are three seconds.
    assert 2.5 < took < 10


def test_a_cron_schedule_runs_exactly_at_its_times(cloud_daemon: CloudDaemon) -> None:
    name, queue = create_schedule(cloud_daemon, "cron(0/2 * * * ? *)")
    times = parse_planned_times(queue.collect(2))
    cloud_daemon.client("scheduler").delete_schedule(Name=name)
    assert [time % 120 for time in times] == [0.0] * len(times)
    assert times[1] - times[0] == 120.0
    assert 0 < times[0] - time.time() + 30 < 180


def test_a_rule_with_a_rate_first_runs_after_one_interval(cloud_daemon: CloudDaemon) -> None:
    events, queue, name = cloud_daemon.client("events"), make_queue(cloud_daemon), unique("rule")
    arn = events.put_rule(Name=name, ScheduleExpression="rate(2 minutes)")["RuleArn"]
    events.put_targets(Rule=name, Targets=[{"Id": "1", "Arn": queue.arn}])
    started = time.monotonic()
    first, second = queue.collect(1)[0], queue.collect(1)[0]
    assert 3.0 < time.monotonic() - started < 12
    events.disable_rule(Name=name)
    times = [dt.datetime.fromisoformat(event.pop("time")).timestamp() for event in (first, second)]
    assert times[1] - times[0] == 120.0
    assert first.pop("id") != second.pop("id")
    assert first == second == {
        "version": "0", "detail-type": "Scheduled Event", "source": "aws.events", "account": ACCOUNT, "region": REGION,
        "resources": [arn], "detail": {},
    }  # fmt: skip
    wait_for_due_runs(cloud_daemon)
    queue.messages()
    wait_for_due_runs(cloud_daemon)
    wait_for_due_runs(cloud_daemon)
    # More than two minutes of the cloud's time without a run.
    assert queue.messages() == []


@pytest.mark.parametrize("expression", ["rate(1 minutes)", "rate(5 minute)", "cron(0 12 * * * *)", "cron(0 12 * *)"])
def test_an_invalid_expression_is_refused(cloud_daemon: CloudDaemon, expression: str) -> None:
    with pytest.raises(ClientError) as refused:
        cloud_daemon.client("events").put_rule(Name="refused", ScheduleExpression=expression)
    assert refused.value.response["Error"]["Code"] == "ValidationException"
    with pytest.raises(ClientError) as refused:
        create_schedule(cloud_daemon, expression)
    assert refused.value.response["Error"]["Code"] == "ValidationException"


def test_rules_refuse_at_and_schedules_refuse_invalid_options(cloud_daemon: CloudDaemon) -> None:
    with pytest.raises(ClientError, match="not valid"):
        cloud_daemon.client("events").put_rule(Name="refused", ScheduleExpression="at(2099-01-01T00:00:00)")
    for more, message in (
        ({"ScheduleExpressionTimezone": "Mars/Olympus"}, "IANA"),
        ({"FlexibleTimeWindow": {"Mode": "FLEXIBLE"}}, "MaximumWindowInMinutes"),
        ({"FlexibleTimeWindow": {"Mode": "OFF", "MaximumWindowInMinutes": 5}}, "MaximumWindowInMinutes"),
    ):
        with pytest.raises(ClientError, match=message):
            create_schedule(cloud_daemon, "rate(1 hour)", **more)


# -- once, between two times, within a window ------------------------------------------------------------------------


def test_a_one_time_schedule_runs_once(cloud_daemon: CloudDaemon) -> None:
    scheduler, when, started = cloud_daemon.client("scheduler"), format_time(time.time() + 120), time.monotonic()
    past, never = create_schedule(cloud_daemon, f"at({format_time(time.time() - 600)})")
    kept, queue = create_schedule(cloud_daemon, f"at({when})")
    gone, other = create_schedule(cloud_daemon, f"at({when})", ActionAfterCompletion="DELETE")
    assert (
        parse_planned_times(queue.collect(1))
        == parse_planned_times(other.collect(1))
        == [dt.datetime.fromisoformat(f"{when}Z").timestamp()]
    )
    assert 1.0 < time.monotonic() - started < 10

    def names() -> set[str]:
        return {each["Name"] for each in scheduler.list_schedules(NamePrefix="schedule-")["Schedules"]}

    eventually(lambda: gone not in names())
    wait_for_due_runs(cloud_daemon)
    assert {past, kept} <= names()
    assert queue.messages() == never.messages() == []


def test_a_schedule_runs_in_its_time_zone(cloud_daemon: CloudDaemon) -> None:
    # Tokyo is nine hours ahead, all year round.
    when = int(time.time()) + 60
    _, queue = create_schedule(
        cloud_daemon, f"at({format_time(when + 9 * 3600)})", ScheduleExpressionTimezone="Asia/Tokyo"
    )
    assert parse_planned_times(queue.collect(1)) == [when]


def test_a_schedule_runs_only_between_start_and_end(cloud_daemon: CloudDaemon) -> None:
    now = int(time.time())
    _, queue = create_schedule(cloud_daemon, "rate(1 minute)", StartDate=now + 120, EndDate=now + 270)
    assert parse_planned_times(queue.collect(3)) == [now + 120, now + 180, now + 240]
    wait_for_due_runs(cloud_daemon)
    wait_for_due_runs(cloud_daemon)
    assert queue.messages() == []


def test_runs_are_spread_over_a_flexible_window(cloud_daemon: CloudDaemon) -> None:
    when = int(time.time()) + 60
    window = {"Mode": "FLEXIBLE", "MaximumWindowInMinutes": 5}
    queues = [create_schedule(cloud_daemon, f"at({format_time(when)})", FlexibleTimeWindow=window)[1] for _ in range(6)]
    started = time.monotonic()
    came = []
    for queue in queues:
        assert parse_planned_times(queue.collect(1)) == [when]
        came.append(time.monotonic() - started)
    # All six within the same minute of five happen once in thousands of runs.
    assert 1.0 < max(came) < 9


# -- changes ---------------------------------------------------------------------------------------------------------


def test_schedules_are_enabled_changed_and_deleted(cloud_daemon: CloudDaemon) -> None:
    scheduler = cloud_daemon.client("scheduler")
    name, queue = create_schedule(cloud_daemon, "rate(1 minute)", State="DISABLED")
    definition = {
        "Name": name, "FlexibleTimeWindow": NO_WINDOW, "Target": target_for(queue, role_for(cloud_daemon, queue)),
        "ScheduleExpression": "rate(1 minute)",
    }  # fmt: skip
    wait_for_due_runs(cloud_daemon)
    assert queue.messages() == []
    scheduler.update_schedule(**definition, State="ENABLED")
    queue.collect(1)
    scheduler.update_schedule(**{**definition, "ScheduleExpression": "rate(1 day)"})
    # A changed expression starts over: one run at once, and then none for a day.
    assert eventually(lambda: "1 day" in scheduler.get_schedule(Name=name)["ScheduleExpression"])
    wait_for_due_runs(cloud_daemon)
    assert queue.messages()
    wait_for_due_runs(cloud_daemon)
    assert queue.messages() == []
    scheduler.update_schedule(**definition)
    queue.collect(1)
    scheduler.delete_schedule(Name=name)
    wait_for_due_runs(cloud_daemon)
    queue.messages()
    wait_for_due_runs(cloud_daemon)
    assert queue.messages() == []


def test_missed_runs_are_caught_up_once(fresh_daemon: CloudDaemon) -> None:
    _, queue = create_schedule(fresh_daemon, "rate(1 minute)")
    times = parse_planned_times(queue.collect(2))
    fresh_daemon.stop()
    stopped = time.monotonic()
    eventually(lambda: time.monotonic() > stopped + 3)
    fresh_daemon.start()
    times += parse_planned_times(queue.collect(3))
    steps = [after - before for before, after in itertools.pairwise(times)]
    # Three or more runs were missed: the first of them runs late, the others are skipped.
    missed = [step for step in steps if step != 60.0]
    assert len(missed) == 1
    assert missed[0] >= 180.0
    assert missed[0] % 60 == 0


# -- targets ---------------------------------------------------------------------------------------------------------


def test_a_schedule_starts_a_pipeline(cloud_daemon: CloudDaemon) -> None:
    pipeline, name, dead = make_pipeline(cloud_daemon, "Trigger", "AsOf"), unique("nightly"), make_queue(cloud_daemon)
    role = make_role(cloud_daemon, "scheduler.amazonaws.com", {"sagemaker:StartPipelineExecution": pipeline})
    when = int(time.time()) + 60
    listed = [{"Name": "Trigger", "Value": "schedule"}, {"Name": "AsOf", "Value": "<aws.scheduler.scheduled-time>"}]
    cloud_daemon.client("scheduler").create_schedule(
        Name=name,
        ScheduleExpression=f"at({format_time(when)})",
        FlexibleTimeWindow=NO_WINDOW,
        Target={
            "Arn": pipeline,
            "RoleArn": role,
            "SageMakerPipelineParameters": {"PipelineParameterList": listed},
            "DeadLetterConfig": {"Arn": dead.arn},
        },
    )
    (execution,) = eventually(lambda: list_executions(cloud_daemon, pipeline))
    assert list_parameters(cloud_daemon, execution) == {"Trigger": "schedule", "AsOf": f"{format_time(when)}Z"}
    assert dead.messages() == []


@pytest.mark.parametrize(("trusts", "code"), [(True, "NO_PERMISSIONS"), (False, "FAILED_TO_ASSUME_ROLE")])
def test_a_run_with_an_insufficient_role_is_dead_lettered_or_logged(
    cloud_daemon: CloudDaemon, trusts: bool, code: str
) -> None:
    scheduler, name = cloud_daemon.client("scheduler"), unique("denied")
    queue, dead = make_queue(cloud_daemon, service=None), make_queue(cloud_daemon, service=None)
    # The role may send to the dead-letter queue, not to the target.
    role = role_for(cloud_daemon, dead)
    if not trusts:
        iam = cloud_daemon.client("iam")
        trust = {"Effect": "Allow", "Principal": {"Service": "events.amazonaws.com"}, "Action": "sts:AssumeRole"}
        document = json.dumps({"Version": "2012-10-17", "Statement": [trust]})
        iam.update_assume_role_policy(RoleName=role.rpartition("/")[2], PolicyDocument=document)
    arn = scheduler.create_schedule(
        Name=name, ScheduleExpression="rate(1 day)", FlexibleTimeWindow=NO_WINDOW,
        Target=target_for(queue, role, DeadLetterConfig={"Arn": dead.arn}),
    )["ScheduleArn"]  # fmt: skip
    if not trusts:
        # Neither target nor dead-letter queue can be reached without a role.
        log = cloud_daemon.state / "daemon.log"
        eventually(lambda: any("lost: the dead-letter queue" in line and arn in line for line in log.open()))
        assert dead.messages() == []
        return
    letter = dead.next(seconds=5)
    assert letter["attributes"].pop("ERROR_MESSAGE")
    assert letter["attributes"] == {
        "SCHEDULE_ARN": arn, "TARGET_ARN": queue.arn, "ERROR_CODE": code, "RETRY_ATTEMPTS": "0",
    }  # fmt: skip
    assert queue.messages() == []
