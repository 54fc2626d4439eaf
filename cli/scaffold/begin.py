"""The steps from a file to a use case: inspect, ask, take a sample, render, try out, write, and summarize."""

from __future__ import annotations

import difflib
from collections.abc import Mapping
from dataclasses import replace
from datetime import UTC, datetime
from pathlib import Path

import click

import stacks
from cli.console.errors import CliError
from cli.console.progress import Progress, Stage
from cli.scaffold import (
    inference,
    names,
    place,
    plan,
    profile,
    reading,
    render,
    sample,
    summary,
    times,
)
from cli.scaffold.begun import Begun, Wishes
from cli.scaffold.inference import BINARY, NONE, REGRESSION, Guess
from cli.scaffold.plan import Plan, Roles
from cli.scaffold.profile import Column
from cli.scaffold.questions import Questions
from cli.scaffold.source import Source
from cli.scaffold.times import Form
from cli.scaffold.trials import try_out
from cli.stack import connection
from local.regions import describe_invalid_region, known_regions
from millrace.config_files import find_config_files

#: Names of the columns of made-up events, by problem: target, key, event time.
_MADE_UP = {BINARY: ("left", "customer", "asked_at"), REGRESSION: ("spent", "customer", "asked_at")}


def create_use_case(wishes: Wishes) -> None:
    """Create a use case.

    Args:
        wishes: The arguments and options of the command.

    Raises:
        CliError: When it cannot be created; then nothing was written.
    """
    folder = connection.REPOSITORY / "stacks"
    names.check_name(wishes.name, stacks.list_use_cases(), find_config_files(folder))
    package = folder / wishes.name.replace("-", "_")
    if package.exists():
        raise CliError(
            f"stacks/{package.name}",
            "exists, but contains no use case; nothing was overwritten",
            fix="choose another name, or delete the folder",
        )
    _check_region(wishes.region)
    begun = Begun(wishes, Progress(err=True), Questions(wishes.yes), datetime.now(UTC))
    if wishes.path is None:
        found, body = _plan_made_up_events(begun), None
    else:
        found, body = plan_from_file(begun, wishes.path)
    found, files, result = try_out(begun, found, body)
    if not wishes.dry_run:
        place.write_files(files, connection.REPOSITORY, f"stacks/{found.package}")
    done = summary.make_summary(found, files, result, begun.questions.settled, wishes.dry_run, begun.said)
    summary.print_summary(done, as_json=wishes.as_json)


def _check_region(region: str) -> None:
    regions = known_regions(partition="")
    if region not in regions:
        near = difflib.get_close_matches(region, regions, n=1)
        hint = f"; did you mean {near[0]}?" if near else ""
        raise click.BadParameter(f"{describe_invalid_region(region)}{hint}", param_hint="--region")


# -- without a file ----------------------------------------------------------------------------------------------------


def _plan_made_up_events(begun: Begun) -> Plan:
    wishes = begun.wishes
    for option, value in (("--positive", wishes.positive), ("--time-format", wishes.time_format),
                          ("--missing", wishes.missing),
                          ("--leave-out", wishes.leave_out), ("--trust", wishes.trust)):  # fmt: skip
        if value:
            raise click.UsageError(f"{option} applies to the columns of a file; use it with --from")
    problem = wishes.problem or BINARY
    target, key, time = _MADE_UP[problem]
    roles = (wishes.target or target, wishes.key or key, wishes.event_time or time)
    for option, name in zip(("--target", "--key", "--event-time"), roles, strict=True):
        if plan.make_identifiers([name])[name] != name or name in ("calls", "months", "plan") or name == NONE:
            raise click.UsageError(f"{option} {name!r} cannot be a column's name here; expected a new identifier")
    if len(set(roles)) < 3:
        raise click.UsageError("--target, --key and --event-time must be three different names")
    return render.plan_made_up_events(wishes.name, wishes.region, problem, roles, begun.now)


# -- from a file -------------------------------------------------------------------------------------------------------


def _describe_open_end(name: str, column: Column) -> str:
    return (
        f"{name}: {column.outside:,} of {column.known:,} times are of years outside {times.YEARS[0]} to "
        f"{times.YEARS[1]}: an open end, treated as missing"
    )


def _refuse_unreadable_roles(path: Path, roles: Roles, reasons: Mapping[str, str]) -> None:
    """Raise when a column that the use case needs is one that cannot be read."""
    for name in roles.columns:
        if name in reasons:
            raise CliError(
                f"--from {path}: column {name!r}",
                f"cannot be the target: {reasons[name]}",
                fix="correct the file, or name another column",
            )


def plan_from_file(begun: Begun, path: Path) -> tuple[Plan, bytes]:
    """Return the plan of a use case with the events of a file, and the sample of them as CSV.

    Args:
        begun: The state of the command.
        path: The file.

    Raises:
        CliError: When the file cannot be used.
    """
    wishes = begun.wishes
    with begun.progress.stage("read") as stage:
        source = Source.open(path, stage.note)
        reasons = _decide_readings(begun, source, stage)
        columns = profile.scan(source, stage.note)
        index = inference.find_index_column(source, columns)
        for name in index:
            if name not in (wishes.key, wishes.target):
                del columns[name]
        rows = next(iter(columns.values())).rows
        if not rows:
            raise CliError(f"--from {path}", "has a header but no rows", expected="at least one row")
        if rows < sample.FEWEST:
            sample.refuse_few(f"--from {path} has {rows} row{'s' if rows > 1 else ''}")
        for name in (*wishes.leave_out, *wishes.trust):
            inference.find_column("--leave-out" if name in wishes.leave_out else "--trust", name, columns)
        begun.said += [source.said_decimal] if source.said_decimal else []
        for name, column in columns.items():
            count, first = column.thousands
            if count and count == column.fractions and column.kind == "number":
                begun.said.append(f"{name}: {first!r} is read as {float(first.replace(',', '.')):g}, not as thousands")
            if column.forms and column.outside:
                begun.said.append(_describe_open_end(name, column))
        able = [name for name, column in columns.items() if inference.may_be_key(column)]
        distinct = sample.measure_distinct_shares(source, able, stage.note)
        stage.result = f"{rows:,} rows, {len(columns)} columns of {path}"
    roles = _ask_roles(begun, source, columns, distinct)
    # The digits of a key are kept as text, so its note does not apply.
    begun.said += [text for name, text in begun.as_numbers.items() if name != roles.key]
    begun.questions.require_all()
    with begun.progress.stage("sample") as stage:
        if roles.key != NONE and distinct.get(roles.key) != 1:
            sample.refuse_duplicates(source, roles.key, stage.note)
        stamps = None
        if roles.form is not None:
            stamps = sample.read_times(source, roles.event_time, roles.form, stage.note)
        _refuse_unreadable_roles(path, roles, reasons)
        left_out = {**index, **reasons, **dict.fromkeys(wishes.leave_out, "left out on request")}
        left_out = {name: why for name, why in left_out.items() if name not in roles.columns}
        made = plan.make_plan(wishes.name, wishes.region, roles, columns, left_out)
        made = replace(made, source=path, trusted=tuple(
            feature.name for feature in made.features if feature.column in wishes.trust
        ))  # fmt: skip
        made = _drop_late_times(source, made, stamps, stage)
        made, text = sample.take_sample(source, made, stamps, begun.now, stage.note)
        stage.result = f"{made.sample_rows:,} rows of {made.since:%Y-%m-%d} to {made.until:%Y-%m-%d}"
    return made, text


def _decide_readings(begun: Begun, source: Source, stage: Stage) -> dict[str, str]:
    """Decide how the cells of the file are read; return the reason for each column that cannot be read."""
    given: dict[str, list[str]] = {}
    for wish in begun.wishes.missing:
        name, equals, text = wish.partition("=")
        if not equals:
            raise click.BadParameter(f"{wish!r}; expected COLUMN=TEXT, or COLUMN= for none", param_hint="--missing")
        inference.find_column("--missing", name, dict.fromkeys(source.columns))  # type: ignore[arg-type]
        given.setdefault(name, [""]).append(text)
    if not source.is_csv:
        if given:
            raise click.UsageError("--missing applies to CSV cells only; Parquet has its own nulls")
        return {}
    texts = {name: tuple(dict.fromkeys(each)) for name, each in given.items()}
    found = reading.decide_readings(source, texts, begun.wishes.target, stage.note)
    source.readings = found.of
    begun.said += found.said
    begun.as_numbers = found.as_numbers
    for name, raw in source.raw_names.items():
        if raw:
            begun.said.append(f"{raw!r} is read as {name!r}: spaces around column names are removed")
    if source.skipped:
        begun.said.append(f"the first line {source.skipped!r} defines the separator of columns, and is skipped")
    return found.reasons


def _drop_late_times(source: Source, made: Plan, stamps: sample.Array | None, stage: Stage) -> Plan:
    """Return the plan without times that may be after the event; without an event time, without all times."""
    late = {}
    for feature in made.times:
        assert feature.form
        if stamps is None:
            late[feature.column] = "a time is of little use without the event time"
        elif said := sample.explain_late_times(source, feature.column, feature.form, stamps, stage.note):
            late[feature.column] = said
    return plan.leave_out_features(made, late)


def _ask_roles(begun: Begun, source: Source, columns: Mapping[str, Column], distinct: Mapping[str, float]) -> Roles:
    target, problem = _ask_target(begun, columns)
    positive = _ask_positive(begun, target) if problem == BINARY else None
    negative = None
    if positive is not None:
        [negative] = [value for each in target.outcomes or {} if (value := str(each)) != positive]
    rest = {name: column for name, column in columns.items() if name != target.name}
    time, form = _ask_event_time(begun, source, columns, rest)
    able = {name: share for name, share in distinct.items() if name not in (target.name, time)}
    key = begun.questions.settle(
        "--key",
        "Which column identifies an event?",
        begun.wishes.key,
        inference.guess_key(columns, able),
        _make_column_check("--key", columns),
    )
    if key != NONE or NONE in columns:
        inference.check_key(inference.find_column("--key", key, columns))
    roles = {"--target": target.name, "--key": key, "--event-time": time}
    for option, name in roles.items():
        if name != NONE and (double := [each for each in roles if each != option and roles[each] == name]):
            raise click.UsageError(f"{option} and {double[0]} are both {name!r}; they must be two columns")
    for name in (target.name, key, time):
        for option, given in (("--leave-out", begun.wishes.leave_out), ("--trust", begun.wishes.trust)):
            if name in given:
                raise click.UsageError(
                    f"{option} {name!r} is the target, the key or the event time; expected a feature"
                )
    return Roles(problem, target.name, positive, negative, key, time, form)


def _ask_target(begun: Begun, columns: Mapping[str, Column]) -> tuple[Column, str]:
    wishes, questions = begun.wishes, begun.questions
    guess = inference.guess_target(columns, wishes.problem)
    if wishes.target is None:
        considered = {name: column for name, column in columns.items() if name not in wishes.leave_out}
        guess = _note_unusable_targets(begun, guess, *inference.explain_unusable_targets(considered, wishes.problem))
    if guess is None and wishes.target is None:
        raise CliError(
            f"--from {wishes.path}: no column",
            "can be a target: it needs two values, or numbers",
            fix="name one with --target",
        )
    name = questions.settle(
        "--target",
        "Which column is predicted?",
        wishes.target,
        guess or Guess("", ""),
        _make_column_check("--target", columns),
    )
    column = inference.find_column("--target", name, columns)
    inference.check_target(column, wishes.problem, columns)
    guessed = inference.guess_problem(column)
    if guessed.value == REGRESSION and not guessed.sure and wishes.problem is None and not questions.can_ask:
        values = ", ".join(str(value) for value in list(column.values or {})[:6])
        raise CliError(
            f"--target {name!r}",
            (
                f"holds {column.different} different whole numbers ({values}), which may be classes or "
                "amounts, and several classes are not supported yet"
            ),
            fix="give --problem regression if they are amounts, or turn it into a yes-or-no column",
        )
    problem = questions.settle(
        "--problem", "Is the outcome yes or no, or an amount?", wishes.problem, guessed, None,
        (BINARY, REGRESSION),
    )  # fmt: skip
    inference.check_target(column, problem, columns)
    return column, problem


def _note_unusable_targets(begun: Begun, guess: Guess | None, over: str | None, is_all: bool) -> Guess | None:
    """Return the guess with a note on columns that are named like a target but cannot be one.

    Raises:
        CliError: When this is true of all columns named like a target, and there is no guess or nobody can be asked.
    """
    if over and is_all and not (guess and begun.questions.can_ask):
        example = f", e.g. --target {guess.value}" if guess else ""
        raise CliError(
            f"--from {begun.wishes.path}: {over}",
            expected="a target with two values, or numbers",
            fix=f"correct the file, or name another column with --target{example}",
        )
    if not over or guess is None:
        return guess
    return replace(guess, reason=f"{guess.reason}; but {over}", sure=guess.sure and not is_all)


def _ask_positive(begun: Begun, target: Column) -> str | None:
    guess = inference.guess_positive(target)
    given = begun.wishes.positive
    values = [str(value) for value in target.outcomes or {}]
    if given is not None and target.is_folded:
        given = profile.fold(given)
    if guess is None:
        if given is not None and given not in ("1", "1.0", "true", "True", "TRUE"):
            raise CliError(
                f"--positive {given!r}",
                f"is not needed: {target.name!r} contains 0 and 1, or Boolean values",
                fix="omit it",
            )
        return None
    chosen = begun.questions.settle(
        "--positive", f"Which value of {target.name} means yes?", given, guess, None, tuple(values)
    )
    if chosen not in values:
        raise CliError(
            f"--positive {chosen!r}", f"is not a value of {target.name!r}", expected=f"one of: {', '.join(values)}"
        )
    return chosen


def _ask_event_time(
    begun: Begun, source: Source, columns: Mapping[str, Column], rest: Mapping[str, Column]
) -> tuple[str, Form | None]:
    wishes, questions = begun.wishes, begun.questions
    written = None
    if wishes.time_format:
        written = times.EPOCHS.get(wishes.time_format) or Form("format", wishes.time_format)
    name = questions.settle(
        "--event-time", "Which column has the time at which a prediction is requested?", wishes.event_time,
        inference.guess_event_time(source, rest, written), _make_column_check("--event-time", columns),
    )  # fmt: skip
    if name == NONE and NONE not in columns:
        if written:
            raise click.UsageError("--time-format applies to the column of --event-time, which is none")
        return NONE, None
    column = inference.find_column("--event-time", name, columns)
    if written:
        if not written.format and column.kind != "integer":
            row, value = column.odd or (1, column.kind)
            raise CliError(
                f"--time-format {wishes.time_format}: {name!r}",
                f"holds {column.kind}, row {row} is {value!r}",
                expected="whole numbers in every row",
            )
        if written.format and column.type != "text":
            raise CliError("--time-format", f"is for text, and {name!r} holds {column.type}", fix="omit it")
        return name, written
    forms = column.forms or ([column.likely_form] if column.likely_form else [])
    if not forms and column.kind == "integer":
        forms = times.find_number_forms("time", column.low, column.high)
    if not forms:
        first = next(iter(column.values or {}), column.odd[1] if column.odd else column.kind)
        raise CliError(
            f"--event-time {name!r}",
            f"holds no times, such as {str(first)!r}",
            expected="ISO 8601, e.g. 2024-05-01T12:00:00",
            fix="or give their format with --time-format, e.g. %d/%m/%Y, epoch-s or epoch-ms",
        )
    if len(forms) == 1:
        return name, forms[0]
    chosen = questions.settle(
        "--time-format", f"How are the times of {name} written? They can be read in {len(forms)} ways.", None,
        inference.guess_time_format(source, name, forms, begun.now), None,
        tuple(form.format for form in forms),
    )  # fmt: skip
    return name, Form("format", chosen)


def _make_column_check(option: str, columns: Mapping[str, Column]) -> inference.Check:
    """Return a check that refuses a column that does not exist, so that a person can answer again."""

    def check(name: str) -> None:
        if name != NONE or option == "--target":
            inference.find_column(option, name, columns)

    return check
