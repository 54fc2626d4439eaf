"""The status of the fleet: the document of each stack, queried in bulk.

Each account is queried once for its lists (endpoints, pipelines, model package groups, alarms by name, schedules,
rules, pauses), then once per stack for the details. A query that fails is reported with its reason and does not stop
the others.
"""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from datetime import UTC, datetime

from cli.aws import alarms
from cli.console.errors import CliError
from cli.fleet import accounts, attention, costs, missing, runs, served
from cli.fleet.account_lists import Listed, query_lists
from cli.fleet.accounts import Account, Accounts
from cli.fleet.document import (
    VERSION,
    FleetDocument,
    ForeignStack,
    ServedPart,
    SilentStack,
    StackActionItem,
    StackDocument,
)
from cli.fleet.findings import Code, Finding, make_finding
from cli.fleet.members import Stack, list_stack_names
from cli.stack.target import Target
from millrace import MillraceError
from millrace.names import ERRORS, Names


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
            listed = query_lists(account, [stack], pool)
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
        listed = query_lists(account, chosen, pool)
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
                for name in listed.find_foreign_stacks(list_stack_names())
            ],
        )
    except (BotoCoreError, ClientError) as error:
        return [], [stack.make_silent_document(accounts.explain_error(error, account.profile)) for stack in chosen], []
    finally:
        pool.shutdown(wait=False, cancel_futures=True)


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
    snoozes = served.read_snoozes(listed.decided or {}, names, unknown)
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
        "alarms": alarms.describe_alarms(names, listed.alarms or {}, snoozes),
        "missing": absent,
        "last": runs.find_last_runs(target, names, listed, unknown),
        "next": runs.find_next_runs(target, names, account, listed.schedules or {}),
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
    disabled = [] if is_paused else missing.find_disabled_rules(case, names, listed.rules)
    return missing.list_findings(lost) + disabled


def _explain_absence(target: Target, names: Names, listed: Listed) -> Finding:
    """Return the finding that explains why nothing of a stack runs, with the command that deploys it."""
    where = "on this machine" if target.is_local else f"in account {listed.account}, {target.environment.region}"
    how = f"millrace up {target.use_case.name}" if target.is_local else f"millrace up --stack {target.stack}"
    if listed.has_model_package_group(names):
        return make_finding(Code.TAKEN_DOWN, where=where, command=how, group=names.model_package_group)
    return make_finding(Code.NOT_RUNNING if listed.groups is None else Code.NEVER_DEPLOYED, where=where, command=how)
