"""The fleet: every stack that has a stack file, with its status, queried in bulk.

Each account is queried once for its lists (endpoints, pipelines, model package groups, alarms by name, schedules,
rules, pauses), then once per stack for the details. A query that fails is reported with its reason and does not stop
the others.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from datetime import UTC, datetime
from functools import partial
from pathlib import Path
from typing import Any

import stacks
from cli.aws import alarms
from cli.console.errors import CliError
from cli.fleet import accounts, attention, costs, missing, served
from cli.fleet.accounts import Account, Accounts, try_query
from cli.fleet.document import (
    VERSION,
    FleetDocument,
    ForeignStack,
    NextRun,
    RunPart,
    ServedPart,
    SilentStack,
    StackActionItem,
    StackDocument,
    name_runs,
)
from cli.fleet.findings import Code, Finding, make_finding
from cli.stack.target import STACKS, Target, get_profile, read_configuration
from millrace import Environment, MillraceError
from millrace.config_files import find_config_files, make_file_name
from millrace.inventory import ALARM_KINDS, PIPELINE_KINDS, list_pipelines, list_schedules
from millrace.names import ERRORS, PLATFORM, Names
from queries.pipelines import FAILED, list_executions, list_steps

#: Maximum number of names in one DescribeAlarms request, and in one GetParameters request.
_ALARMS_AT_ONCE, _PARAMETERS_AT_ONCE = 100, 10


@dataclass(frozen=True)
class Stack:
    """A stack that has a stack file; ``target`` is None if the file or the declaration cannot be read."""

    name: str
    use_case: str
    environment: str
    target: Target | None = None
    profile: str | None = None
    problem: str = ""

    @classmethod
    def load(cls, name: str, state: Path) -> Stack:
        """Load a stack by its name.

        Args:
            name: The stack's name, `<use case>-<environment>`.
            state: The local cloud's folder.

        Returns:
            The stack; if its file or declaration is invalid, without ``target`` and with ``problem`` set.
        """
        use_case, _, environment = name.rpartition("-")
        try:
            values = read_configuration(name)
            found = Environment.from_stack(name, values.get("millrace:environment"), values.get("aws:region"))
            use_case, environment = name.removesuffix(f"-{found.name}"), found.name
            target = Target(stacks.load(use_case), found, state)
        except MillraceError as error:
            return cls(name, use_case, environment, problem=str(error))
        except SystemExit:
            return cls(name, use_case, environment, problem=f"importing use case {use_case!r} ends the process")
        return cls(name, use_case, environment, target, get_profile(values))

    def make_silent_document(self, reason: str) -> SilentStack:
        """Return the document of this stack for the case that it could not be queried."""
        return {
            "stack": self.name,
            "use_case": self.use_case,
            "environment": self.environment,
            "region": self.target.environment.region if self.target else None,
            "reason": reason,
        }


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
    unknown: dict[str, str] = field(default_factory=dict)
    """The reasons why queries failed, by the name of the fact."""

    def may_have_deployment(self, names: Names) -> bool:
        """Return True if any running part of a stack exists, or may exist because a list is unknown.

        One part is enough, because a failed deployment may have created any of them. Data that was kept when the stack
        was destroyed does not count.
        """
        pipelines = set(map(names.pipeline, PIPELINE_KINDS))
        parts = (self.endpoints, {names.endpoint}), (self.pipelines, pipelines)
        if any(listed is None or wanted & set(listed) for listed, wanted in parts):
            return True
        return any(names.alarm(kind) in (self.alarms or {}) for kind in ALARM_KINDS)

    def has_model_package_group(self, names: Names) -> bool:
        """Return True if the model package group exists, which is kept when the running parts are destroyed."""
        return self.groups is not None and names.model_package_group in self.groups

    def find_foreign_stacks(self, known: Iterable[str]) -> list[str]:
        """Return the stacks in this account that are not in ``known``, detected by the pipelines every stack has."""
        stems = [name.removesuffix("-training") for name in self.pipelines or () if name.endswith("-training")]
        return sorted({name for name in stems if f"{name}-monitor" in (self.pipelines or ())} - set(known))

    @property
    def is_closed(self) -> bool:
        """True if endpoints, pipelines and model package groups are all unknown."""
        return self.endpoints is None and self.pipelines is None and self.groups is None


def list_stacks(state: Path, use_case: str | None = None, environment: str | None = None) -> list[Stack]:
    """Return the stacks that have a stack file, sorted by name.

    Args:
        state: The local cloud's folder.
        use_case: The name of the only use case to list; None for all.
        environment: The name of the only environment to list; None for all.

    Raises:
        CliError: When no stack matches.
        DeclarationError: When the use case does not exist or its declaration is invalid.
    """
    names = _list_stack_names()
    if use_case is not None:
        stacks.load(use_case)
        # Names of other use cases may start the same way; the filter below uses the use case read from each file.
        names = [name for name in names if name.startswith(f"{use_case}-")]
    found = [Stack.load(name, state) for name in names if not name.startswith(f"{PLATFORM}-")]
    chosen = [
        stack for stack in found if use_case in (None, stack.use_case) and environment in (None, stack.environment)
    ]
    if not chosen:
        wanted = "-".join([use_case or "<use case>", environment or "<environment>"])
        known = ", ".join(stack.name for stack in found) or "none"
        raise CliError(
            f"stack {wanted!r}",
            "does not exist",
            expected=f"{STACKS / make_file_name(wanted)}",
            fix=f"choose one of: {known}",
        )
    return chosen


def _list_stack_names() -> list[str]:
    """Return the names of all stacks that have a file in this checkout, sorted."""
    return sorted(find_config_files(STACKS))


def query_stacks(chosen: Sequence[Stack], known: Accounts) -> FleetDocument:
    """Query stacks, one thread per account.

    Args:
        chosen: The stacks.
        known: The accounts, which may be kept for the next query.

    Returns:
        The document that the fleet's table is made from; ``not_asked`` has those that do not run or answer.
    """
    groups = dict[int, tuple[Account, list[Stack]]]()
    silent, strays = list[SilentStack](), list[ForeignStack]()
    for stack in chosen:
        if stack.target is None:
            silent.append(stack.make_silent_document(stack.problem))
            continue
        try:
            account = known.get(stack.environment, stack.target.environment.region, stack.profile)
        except MillraceError as error:
            silent.append(stack.make_silent_document(str(error)))
            continue
        groups.setdefault(id(account), (account, []))[1].append(stack)
    rows: list[StackDocument] = []
    if groups:
        with ThreadPoolExecutor(len(groups)) as pool:
            for answered, others, more in pool.map(lambda group: _query_account(*group), groups.values()):
                rows += answered
                silent += others
                strays += more
    rows.sort(key=lambda row: (row["use_case"], row["environment"]))
    silent.sort(key=lambda row: (row["use_case"], row["environment"]))
    # Two entries may be the same account with different credentials.
    unique = {(each["stack"], each["account"], each["region"]): each for each in strays}
    needs: list[StackActionItem] = [{"stack": row["stack"], **each} for row in rows for each in row["attention"]]
    return {
        "version": VERSION,
        "as_of": datetime.now(UTC),
        "stacks": rows,
        "not_asked": silent,
        "elsewhere": [unique[key] for key in sorted(unique)],
        "attention": needs,
    }


def query_stack(stack: Stack, known: Accounts) -> tuple[Target, StackDocument]:
    """Query one stack.

    Args:
        stack: The stack.
        known: The accounts, which may be kept for the next query.

    Returns:
        Its target, which uses the clients of the queried account, and its document.

    Raises:
        CliError: When the stack cannot be queried.
    """
    if stack.target is None:
        raise CliError(stack.problem)
    from botocore.exceptions import BotoCoreError, ClientError

    account = known.get(stack.environment, stack.target.environment.region, stack.profile)
    try:
        with ThreadPoolExecutor(accounts.AT_ONCE) as pool:
            listed = _query_lists(account, [stack], pool)
    except (BotoCoreError, ClientError) as error:
        raise CliError(f"stack {stack.name}:", f"{accounts.explain_error(error, account.profile)}") from error
    if listed.is_closed:
        raise CliError(f"stack {stack.name}:", f"{next(iter(listed.unknown.values()))}")
    target = replace(stack.target, clients=account.client)
    return target, _describe_stack(target, account, listed)


# -- one account -------------------------------------------------------------------------------------------------------


def _query_account(
    account: Account, chosen: Sequence[Stack]
) -> tuple[list[StackDocument], list[SilentStack], list[ForeignStack]]:
    """Return the documents of stacks that answered, of stacks that did not, and of stacks without a file here."""
    from botocore.exceptions import BotoCoreError, ClientError

    pool = ThreadPoolExecutor(accounts.AT_ONCE)
    try:
        listed = _query_lists(account, chosen, pool)
        if listed.is_closed:
            return [], [stack.make_silent_document(next(iter(listed.unknown.values()))) for stack in chosen], []
        there, silent = [], list[SilentStack]()
        for stack in chosen:
            assert stack.target is not None
            target = replace(stack.target, clients=account.client)
            names = target.environment.make_names(target.use_case.name, listed.account)
            if listed.may_have_deployment(names):
                there.append(target)
            else:
                silent.append(stack.make_silent_document(_explain_absence(target, names, listed).text))
        rows = list(pool.map(lambda target: _describe_stack(target, account, listed), there))
        region = next(stack.target.environment.region for stack in chosen if stack.target)
        return (
            rows,
            silent,
            [
                {"stack": name, "account": listed.account, "region": region}
                for name in listed.find_foreign_stacks(_list_stack_names())
            ],
        )
    except (BotoCoreError, ClientError) as error:
        return [], [stack.make_silent_document(accounts.explain_error(error, account.profile)) for stack in chosen], []
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


def _explain_absence(target: Target, names: Names, listed: Listed) -> Finding:
    """Return the finding that explains why nothing of a stack runs, with the command that deploys it."""
    where = "on this machine" if target.is_local else f"in account {listed.account}, {target.environment.region}"
    how = f"millrace up {target.use_case.name}" if target.is_local else f"millrace up --stack {target.stack}"
    if listed.has_model_package_group(names):
        return make_finding(Code.TAKEN_DOWN, where=where, command=how, group=names.model_package_group)
    return make_finding(Code.NOT_RUNNING if listed.groups is None else Code.NEVER_DEPLOYED, where=where, command=how)


def _query_lists(account: Account, chosen: Sequence[Stack], pool: ThreadPoolExecutor) -> Listed:
    """Query the lists of an account.

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
        "paused": lambda: _find_pauses(account, [each.pause_parameter for each in names]),
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


def _find_pauses(account: Account, names: Sequence[str]) -> dict[str, str]:
    """Return the values of the pause parameters that exist, by parameter name."""
    ssm, found = account.client("ssm"), dict[str, str]()
    for some in _batches(names, _PARAMETERS_AT_ONCE):
        found |= {each["Name"]: each["Value"] for each in ssm.get_parameters(Names=some)["Parameters"]}
    return found


def _batches(names: Sequence[str], size: int) -> Iterable[list[str]]:
    return (list(names[first : first + size]) for first in range(0, len(names), size))


# -- one stack ---------------------------------------------------------------------------------------------------------


def _describe_stack(target: Target, account: Account, listed: Listed) -> StackDocument:
    """Query one stack and return its document."""
    names = target.environment.make_names(target.use_case.name, listed.account)
    unknown = dict(listed.unknown)
    stood = names.alarm(ERRORS) in (listed.alarms or {})
    part, findings = served.describe_served(target, names, listed.endpoints, listed.groups, unknown, stood=stood)
    absent = missing.find_missing_pipelines(target.use_case, names, listed.pipelines)
    paused = served.read_pause(listed.paused or {}, names)
    findings += _find_deviations(
        target, names, part, listed, absent, is_paused=listed.paused is None or paused is not None
    )
    deployed = listed.may_have_deployment(names)
    document: StackDocument = {
        "version": VERSION,
        "stack": target.stack,
        "use_case": target.use_case.name,
        "environment": target.environment.name,
        "region": target.environment.region,
        "account": listed.account,
        "deployed": deployed,
        **part,
        "alarms": alarms.describe_alarms(names, listed.alarms or {}),
        "missing": absent,
        "last": _find_last_runs(target, names, listed, unknown),
        "next": _find_next_runs(target, names, account, listed.schedules or {}),
        "paused": paused,
        "warnings": [each.dump() for each in (findings if deployed else [_explain_absence(target, names, listed)])],
        "unknown": unknown,
        "cost": costs.NONE,
        "attention": [],
    }
    document["cost"] = costs.estimate_cost(
        target, document, alarms=listed.alarms is not None, kept=listed.has_model_package_group(names)
    )
    if deployed:
        document["attention"] = attention.list_items(document, findings)
    return document


def _find_deviations(
    target: Target, names: Names, part: ServedPart, listed: Listed, absent: list[str], *, is_paused: bool
) -> list[Finding]:
    """Return findings about declared resources that are missing or disabled."""
    case = target.use_case
    lost = {
        "pipeline": absent,
        "alarm": missing.find_missing_alarms(case, names, listed.alarms, serves=part["endpoint"]["config"] is not None),
        "rule": missing.find_missing_rules(case, names, listed.rules),
        "schedule": missing.find_missing_schedules(case, names, listed.schedules),
    }
    disabled = [] if is_paused else missing.find_disabled_rule(case, names, listed.rules)
    return missing.list_findings(lost) + disabled


def _find_last_runs(target: Target, names: Names, listed: Listed, unknown: dict[str, str]) -> dict[str, RunPart | None]:
    """Return the newest execution of each pipeline of the stack, by kind of pipeline; None if it is not known."""
    found: dict[str, RunPart | None] = {}
    for kind, name in list_pipelines(target.use_case, names).items():
        there = listed.pipelines is None or name in listed.pipelines
        runs = try_query(partial(list_runs, target.sagemaker, name, 1), unknown, name_runs(kind)) if there else []
        found[kind] = runs[0] if runs else None
    return found


def list_runs(sagemaker: Any, pipeline: str, count: int) -> list[RunPart]:
    """Return the newest executions of a pipeline, newest first; none if the pipeline does not exist.

    Args:
        sagemaker: The SageMaker client.
        pipeline: The pipeline's name.
        count: Maximum number of executions.
    """
    return [_describe_run(sagemaker, each) for each in list_executions(sagemaker, pipeline, count) or ()]


def _describe_run(sagemaker: Any, summary: Mapping[str, Any]) -> RunPart:
    """Return the document of one execution, including the step that failed."""
    document: RunPart = {
        "execution": summary["PipelineExecutionArn"],
        "status": summary["PipelineExecutionStatus"],
        "started": summary["StartTime"],
        "step": None,
        "reason": summary.get("PipelineExecutionFailureReason", ""),
    }
    if document["status"] == FAILED:
        # The execution reports only that a step failed; the reason is in the step.
        steps = [step for step in list_steps(sagemaker, document["execution"]) if step["StepStatus"] == FAILED]
        if steps:
            document["step"] = steps[0]["StepName"]
            document["reason"] = steps[0].get("FailureReason") or document["reason"]
    return document


def _find_next_runs(target: Target, names: Names, account: Account, schedules: Mapping[str, Any]) -> dict[str, NextRun]:
    """Return when a schedule starts each pipeline next, with its state (None if no schedule exists) and interval."""
    intervals = {each.kind: each.every for each in list_schedules(target.use_case, names)}
    found: dict[str, NextRun] = {}
    for kind in PIPELINE_KINDS:
        every, schedule = intervals.get(kind), schedules.get(names.schedule(kind))
        state = schedule["State"] if schedule else None
        at = None
        if schedule and state == "ENABLED" and every is not None and account.scale:
            at = compute_next_run(schedule["LastModificationDate"], every.total_seconds() / account.scale)
        found[kind] = {"at": at, "state": state, "every_seconds": every.total_seconds() if every else None}
    return found


def compute_next_run(changed: datetime, interval: float) -> datetime:
    """Return the next run of a rate schedule: every ``interval`` seconds from ``changed``, as EventBridge counts."""
    now = datetime.now(UTC)
    passed = max((now - changed).total_seconds(), 0.0)
    return datetime.fromtimestamp(changed.timestamp() + (passed // interval + 1) * interval, UTC)
