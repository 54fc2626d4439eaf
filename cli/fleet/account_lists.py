"""The lists of one account: endpoints, pipelines, model package groups, schedules, rules, alarms, pauses and snoozes.

Each is queried once for all stacks in the account.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from typing import Any

from cli.fleet.accounts import Account, try_query
from cli.fleet.members import Stack
from millrace.inventory import ALARM_KINDS, PIPELINE_KINDS
from millrace.names import Names

#: Maximum number of names in one DescribeAlarms request, and in one GetParameters request.
_ALARMS_AT_ONCE, _PARAMETERS_AT_ONCE = 100, 10


@dataclass
class Listed:
    """The lists of one account that the fleet needs; a list is None if its query failed."""

    account: str
    endpoints: dict[str, Any] | None = None
    pipelines: set[str] | None = None
    groups: set[str] | None = None
    alarms: dict[str, Any] | None = None
    schedules: dict[str, Any] | None = None
    rules: dict[str, Any] | None = None
    paused: dict[str, str] | None = None
    decided: dict[str, str] | None = None
    unknown: dict[str, str] = field(default_factory=dict)
    """The reasons why queries failed, by the name of the fact."""

    def may_have_deployment(self, names: Names) -> bool:
        """Return True if any running part of a stack exists, or may exist because a list is unknown.

        One part is enough, because a failed deployment may have created any of them. Data that was kept when the stack
        was destroyed does not count.

        Args:
            names: The names of the stack's resources.
        """
        pipelines = set(map(names.pipeline, PIPELINE_KINDS))
        parts = (self.endpoints, {names.endpoint}), (self.pipelines, pipelines)
        if any(listed is None or wanted & set(listed) for listed, wanted in parts):
            return True
        return any(names.alarm(kind) in (self.alarms or {}) for kind in ALARM_KINDS)

    def has_model_package_group(self, names: Names) -> bool:
        """Return True if the model package group exists, which is kept when the running parts are destroyed.

        Args:
            names: The names of the stack's resources.
        """
        return self.groups is not None and names.model_package_group in self.groups

    def find_foreign_stacks(self, known: Iterable[str]) -> list[str]:
        """Return the stacks in this account that are not in ``known``, detected by the pipelines every stack has.

        Args:
            known: The names of the stacks that have a stack file.
        """
        stems = [name.removesuffix("-training") for name in self.pipelines or () if name.endswith("-training")]
        return sorted({name for name in stems if f"{name}-monitor" in (self.pipelines or ())} - set(known))

    @property
    def is_closed(self) -> bool:
        """True if endpoints, pipelines and model package groups are all unknown."""
        return self.endpoints is None and self.pipelines is None and self.groups is None


def query_lists(account: Account, chosen: Sequence[Stack], pool: ThreadPoolExecutor) -> Listed:
    """Query the lists of an account.

    Args:
        account: The account.
        chosen: The stacks in it, whose alarms and pauses are queried by name.
        pool: Runs the queries, one task for each list.

    Returns:
        The lists; one that could not be queried is None, and ``unknown`` has the reason.

    Raises:
        botocore.exceptions.BotoCoreError: When the account does not answer at all.
        botocore.exceptions.ClientError: When it refuses GetCallerIdentity, for example because of the credentials.
    """
    listed = Listed(account.client("sts").get_caller_identity()["Account"])
    names = [
        each.target.environment.make_names(each.target.use_case.name, listed.account) for each in chosen if each.target
    ]
    questions: dict[str, Callable[[], Any]] = {
        "endpoints": lambda: _by_name(account, "sagemaker", "list_endpoints", "Endpoints", "EndpointName"),
        "pipelines": lambda: set(_by_name(account, "sagemaker", "list_pipelines", "PipelineSummaries", "PipelineName")),
        "groups": lambda: set(
            _by_name(
                account,
                "sagemaker",
                "list_model_package_groups",
                "ModelPackageGroupSummaryList",
                "ModelPackageGroupName",
            )
        ),
        "schedules": lambda: _by_name(account, "scheduler", "list_schedules", "Schedules", "Name"),
        "rules": lambda: _by_name(account, "events", "list_rules", "Rules", "Name"),
        "alarms": lambda: _find_alarms(account, [each.alarm(kind) for each in names for kind in ALARM_KINDS]),
        "paused": lambda: _find_parameters(account, [each.pause_parameter for each in names]),
        "decided": lambda: _find_parameters(
            account, [name for each in names for name in (each.snooze_parameter, each.answer_parameter)]
        ),
    }
    asked = {fact: pool.submit(try_query, question, listed.unknown, fact) for fact, question in questions.items()}
    for fact, answer in asked.items():
        setattr(listed, fact, answer.result())
    return listed


def _by_name(account: Account, service: str, operation: str, key: str, name: str) -> dict[str, Any]:
    pages = account.client(service).get_paginator(operation).paginate(PaginationConfig={"PageSize": 100})
    return {each[name]: each for page in pages for each in page[key]}


def _find_alarms(account: Account, names: Sequence[str]) -> dict[str, Any]:
    """Return the existing alarms among the given exact names; a prefix could match alarms of other stacks."""
    cloudwatch, found = account.client("cloudwatch"), dict[str, Any]()
    for some in _batches(names, _ALARMS_AT_ONCE):
        answer = cloudwatch.describe_alarms(AlarmNames=some, MaxRecords=_ALARMS_AT_ONCE)
        found |= {alarm["AlarmName"]: alarm for alarm in answer["MetricAlarms"]}
    return found


def _find_parameters(account: Account, names: Sequence[str]) -> dict[str, str]:
    """Return the values of those of the parameters that exist, by name."""
    ssm, found = account.client("ssm"), dict[str, str]()
    for some in _batches(names, _PARAMETERS_AT_ONCE):
        found |= {each["Name"]: each["Value"] for each in ssm.get_parameters(Names=some)["Parameters"]}
    return found


def _batches(names: Sequence[str], size: int) -> Iterable[list[str]]:
    return (list(names[first : first + size]) for first in range(0, len(names), size))
