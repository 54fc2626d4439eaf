"""`millrace status`: what serves, how good it is, and what needs attention."""

from __future__ import annotations

from datetime import datetime
from typing import Any

import click

from cli import pipelines, registry, serving
from cli.errors import CliError
from cli.output import json_option, moment, say, table, write_json
from cli.registry import Package
from cli.serving import Endpoint
from cli.target import Target, of_use_case

#: Executions of each pipeline that are shown.
_EXECUTIONS = 3


@click.command()
@of_use_case
@json_option
def status(target: Target, as_json: bool) -> None:
    """What serves, how good it is, and what needs attention."""
    endpoint = serving.find(target)
    package = registry.find(target, endpoint.package) if endpoint else None
    waiting = registry.pending(target)
    ran = {kind: _executions(target, kind) for kind in pipelines.KINDS}
    found = alarms(target)
    data_time = _data_time(target)
    if as_json:
        write_json(
            {
                "stack": target.stack,
                "data_time": data_time,
                "endpoint": endpoint_document(target, endpoint),
                "model": package.document(target.use_case) if package else None,
                "pending": [each.document(target.use_case) for each in waiting],
                "alarms": found,
                "executions": ran,
            }
        )
        return
    _say_model(target, endpoint, package)
    _say_pending(target, waiting)
    if data_time:
        say(f"data time {moment(data_time)}")
    say("alarms" if found else "alarms: none; provision the stack with `millrace up` or `pulumi up`")
    table(rows_of_alarms(found))
    say("executions")
    table((kind, run["status"], moment(run["started"]), run["reason"]) for kind, runs in ran.items() for run in runs)


def alarms(target: Target) -> list[dict[str, Any]]:
    """Every alarm of the stack and what it says."""
    pages = (
        target.client("cloudwatch").get_paginator("describe_alarms").paginate(AlarmNamePrefix=target.names.alarm(""))
    )
    return [
        {
            "name": alarm["AlarmName"],
            "state": alarm["StateValue"],
            "since": alarm.get("StateTransitionedTimestamp") or alarm.get("StateUpdatedTimestamp"),
            "reason": alarm.get("StateReason", ""),
            "description": alarm.get("AlarmDescription", ""),
        }
        for page in pages
        for alarm in page["MetricAlarms"]
    ]


def rows_of_alarms(found: list[dict[str, Any]]) -> list[tuple[str, str, str]]:
    """The alarms as a table's rows; what those that fire mean."""
    meaning = {"ALARM": "description", "INSUFFICIENT_DATA": "reason"}
    return [(each["name"], each["state"], each.get(meaning.get(each["state"], ""), "")) for each in found]


def endpoint_document(target: Target, endpoint: Endpoint | None) -> dict[str, Any]:
    """The endpoint, for programs."""
    return {
        "name": target.names.endpoint,
        "status": endpoint.status if endpoint else "pending its first approved model",
        "version": endpoint.version if endpoint else None,
        "since": endpoint.since if endpoint else None,
        "reason": endpoint.reason if endpoint else "",
    }


def _data_time(target: Target) -> datetime | None:
    """Where the environment replays, the time of its data clock; None before there is one."""
    if target.clock is None:
        return None
    try:
        return target.data_time()
    except CliError:
        return None


def _executions(target: Target, kind: str) -> list[dict[str, Any]]:
    return [
        {
            "execution": each["PipelineExecutionArn"],
            "status": each["PipelineExecutionStatus"],
            "started": each["StartTime"],
            "reason": each.get("PipelineExecutionFailureReason", ""),
        }
        for each in pipelines.executions(target, kind, _EXECUTIONS)
    ]


def _say_model(target: Target, endpoint: Endpoint | None, package: Package | None) -> None:
    if endpoint is None:
        say(f"endpoint {target.names.endpoint}: pending its first approved model")
        return
    serves = f"serves version {endpoint.version} since {moment(endpoint.since)}" if endpoint.version else "no package"
    say(f"endpoint {endpoint.name}: {endpoint.status}, {serves}")
    if endpoint.reason:
        say(f"  {endpoint.reason}")
    if package:
        table(registry.rows_of_gates(target.use_case, package))
        newest = registry.newest(target, registry.APPROVED)
        if newest and newest.arn != package.arn:
            say(f"  version {newest.version} is approved and does not serve yet: pulumi up --stack {target.stack}")


def _say_pending(target: Target, waiting: list[Package]) -> None:
    for package in waiting:
        say(f"version {package.version} waits for approval: millrace approve {target.use_case.name} {package.version}")
        table(registry.rows_of_gates(target.use_case, package))
