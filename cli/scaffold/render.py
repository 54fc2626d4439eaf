"""Rendering of a plan into files: the package with its data and tests, and a stack file for each environment."""

from __future__ import annotations

import re
import textwrap
from datetime import datetime, timedelta
from typing import Any

from cli.console import templates
from cli.scaffold import literals
from cli.scaffold.literals import render_number, render_text
from cli.scaffold.names import ENVIRONMENTS
from cli.scaffold.plan import SPREAD, Feature, Plan
from cli.scaffold.times import Form
from millrace.config_files import make_file_name
from millrace.names import Names

#: A placeholder for the account's number in URIs, until the team enters its own.
_ACCOUNT = "123456789012"
#: Maximum number of expectations of each kind that are derived from the data: more would be noise.
_RULES = 5
#: Maximum number of different texts that an expectation lists.
_LISTED = 8
#: Maximum number of left-out columns that a comment names.
_NAMED = 8


def render_files(plan: Plan, sample: bytes | None) -> dict[str, bytes]:
    """Render every file of a use case, by its path below the repository.

    Args:
        plan: The plan of the use case.
        sample: The sample as CSV; None if the events are made up.
    """
    folder = f"stacks/{plan.package}"
    found: dict[str, Any] = {f"{folder}/__init__.py": _declaration(plan)}
    if sample is None:
        found[f"{folder}/data.py"] = _made_up(plan)
    else:
        found |= {f"{folder}/data.py": _data(plan), f"{folder}/sample.csv": sample}
    if plan.times:
        found[f"{folder}/features.py"] = _features(plan)
    found |= {f"{folder}/tests/__init__.py": "", f"{folder}/tests/test_{plan.package}.py": _tests(plan)}
    found |= {f"stacks/{make_file_name(f'{plan.name}-{each}')}": _stack(plan, each) for each in ENVIRONMENTS}
    return {name: body if isinstance(body, bytes) else body.encode() for name, body in found.items()}


# -- the declaration ---------------------------------------------------------------------------------------------------


def _declaration(plan: Plan) -> str:
    expectations = _expectations(plan) if plan.source else []
    monitoring = [f"window=timedelta(days={plan.window_days})"] if plan.window_days else []
    names = ["Expect"] if expectations else []
    names += ["Gate", *(["Monitoring"] if monitoring else []), "Retraining", "UseCase"]
    trusted = [render_text(name) for name in plan.trusted]
    return templates.render(
        "use_case/__init__.py.j2",
        docstring=_docstring(plan),
        has_spans=bool(plan.window_days or plan.history_days),
        imports=names,
        use_case=render_text(plan.name),
        problem=render_text(plan.problem),
        target=render_text(plan.target),
        key=render_text(plan.key),
        event_time=render_text(plan.event_time),
        expectations=expectations,
        missing=_render_missing_marks(plan) if plan.source else [],
        trusted=literals.render_sequence(trusted, 4, before="trusted=") if trusted else "",
        trusted_why="Each nearly predicts the outcome alone; a person confirmed that it is known at prediction time.",
        history=plan.history_days,
        gates=[f"Gate({render_text(metric)}, {side}={render_number(bound)})" for metric, side, bound, _ in plan.gates],
        gate_reasons=[literals.render_comment(reason, 4) for *_, reason in plan.gates],
        monitoring=monitoring,
        monitoring_why=(
            f"The sample has about {plan.per_day:.{0 if plan.per_day >= 10 else 1}f} rows a day; "
            "with the complete data the defaults are sufficient."
        ),
    )


def _docstring(plan: Plan) -> str:
    what = f"will `{plan.target}` be true?" if plan.is_binary else f"how much will `{plan.target}` be?"
    if plan.positive and plan.positive.isalnum():
        what = f"will `{plan.target}` be {plan.positive}?"
    line = f'"""{plan.name}: {what} Predicted at `{plan.event_time}`, for each `{plan.key}`."""'
    return line if len(line) <= literals.WIDTH else f'"""What `{plan.target}` will be."""'


def _expectations(plan: Plan) -> list[str]:
    """Return the source text of expectations that every row of the file meets."""
    listed = [each for each in plan.features if each.kind == "text" and 2 <= len(each.values) <= _LISTED][:_RULES]
    bounded = [each for each in plan.features if each.kind == "number" and each.low is not None and each.low >= 0]
    lines = []
    for feature in listed:
        values = literals.render_sequence([render_text(value) for value in feature.values], 12, "()", "one_of=")
        arguments = [render_text(feature.name), f"one_of={values}", "max_bad=0.01"]
        lines.append(literals.render_call("Expect", arguments, 8))
    for feature in bounded[:_RULES]:
        missing = [f"max_missing={render_number(_allow_missing(feature))}"] if feature.share_missing < 0.4 else []
        lines.append(
            literals.render_call("Expect", [render_text(feature.name), "at_least=0", "max_bad=0.01", *missing], 8)
        )
    return lines


def _allow_missing(feature: Feature) -> float:
    """Return the allowed share of missing values: twice the current share plus 0.05."""
    return round(0.05 + 2 * feature.share_missing, 2)


# -- data and features -------------------------------------------------------------------------------------------------


def _data(plan: Plan) -> str:
    last = _iso(plan.last) if plan.last else ""
    parse = [f"delimiter={render_text(plan.delimiter)}"] if plan.delimiter != "," else []
    parse += ["newlines_in_values=True"] if plan.has_newlines else []
    rows = list(_row_lines(plan))
    calls = {name for _, line in rows for name in re.findall(r"\b(_\w+)\(", line)}
    return templates.render(
        "use_case/data.py.j2",
        use_case=plan.name,
        package=plan.package,
        variable=plan.variable,
        target=plan.target,
        sample_rows=f"{plan.sample_rows:,}",
        file=literals.render_entries(
            ((render_text(column), render_text(name)) for column, name in _file(plan).items()), 4
        ),
        strips=any(raw.strip() != raw for raw in plan.raw_names.values()),
        skips=bool(plan.skipped),
        decimal=render_text(plan.decimal) if plan.decimal != "." else "",
        left_out=_render_left_out(plan),
        last=last,
        spread=SPREAD,
        stale_days=plan.stale_days,
        event_time_literal=render_text(plan.event_time),
        rows=literals.render_return(((render_text(name), value) for name, value in rows), 4),
        time_column=render_text(plan.columns["event_time"]) if plan.form else "",
        calls=calls,
        parse=", ".join(parse),
    )


def _file(plan: Plan) -> dict[str, str]:
    """Return the columns that are read: their names in the use case, by their names in the file."""
    pairs = {column: getattr(plan, role) for role, column in plan.columns.items() if role != "target"}
    pairs |= {feature.column: feature.name for feature in plan.features}
    pairs[plan.columns["target"]] = plan.target
    return {plan.raw_names.get(column, column): name for column, name in pairs.items()}


def _render_missing_marks(plan: Plan) -> list[str]:
    """Return the texts that mean a missing value in each column, where that is more than an empty cell."""
    entries = []
    for column, name in {raw.strip(): name for raw, name in _file(plan).items()}.items():
        how = plan.readings.get(column)
        if how and how.missing != ("",):
            entries.append(
                f"{render_text(name)}: {literals.render_sequence([render_text(each) for each in how.missing], 8, '()')}"
            )
    return entries


def _row_lines(plan: Plan) -> list[tuple[str, str]]:
    """Return each column of the events with the expression that computes it."""
    lines = []
    if "key" in plan.columns:
        lines.append((plan.key, f"_texts({_cells(plan, plan.columns['key'])})"))
    else:
        lines.append((plan.key, "np.arange(table.num_rows).astype(str).astype(object)"))
    if plan.form:
        lines.append((plan.event_time, _time(plan.columns["event_time"], plan.form)))
    else:
        lines.append((plan.event_time, "_arrivals(table.num_rows)"))
    for feature in plan.features:
        if feature.form:
            read = _time(feature.column, feature.form)
            lines.append((feature.name, f"_without_open_ends({read})" if feature.has_open_ends else read))
        else:
            lines.append((feature.name, _value(plan, feature.column, feature.kind)))
    column = plan.columns["target"]
    if plan.positive is None or plan.negative is None:
        return [*lines, (plan.target, _value(plan, column, plan.target_kind))]
    if plan.target_kind == "text":
        target, yes, no = _cells(plan, column), render_text(plan.positive), render_text(plan.negative)
    else:
        target = f"pa.array({_value(plan, column, 'number')}, from_pandas=True)"
        yes, no = render_number(float(plan.positive)), render_number(float(plan.negative))
    if plan.is_folded:
        target = f"table[{render_text(column)}]"
        target = f"pc.utf8_lower(pc.utf8_trim_whitespace({target}))"
    return [*lines, (plan.target, f"_outcome({render_text(column)}, {target}, yes={yes}, no={no})")]


def _value(plan: Plan, column: str, kind: str) -> str:
    """Return the expression that reads a column of numbers, truths or texts."""
    if kind == "text":
        return f"_texts({_cells(plan, column)})"
    how, arguments = plan.readings.get(column), [render_text(column), f"table[{render_text(column)}]"]
    if how and how.sign:
        arguments += [f"sign={render_text(how.sign)}", f"group={render_text(how.group)}"]
    return f"_{'truths' if kind == 'truth' else 'numbers'}({', '.join(arguments)})"


def _cells(plan: Plan, column: str) -> str:
    """Return the expression for the cells of a column of texts."""
    how = plan.readings.get(column)
    cells = f"table[{render_text(column)}]"
    return f"pc.utf8_trim_whitespace({cells})" if how and how.trim else cells


def _time(column: str, form: Form) -> str:
    argument = f"table[{render_text(column)}]"
    if form.kind == "format":
        return f"_times_as({argument}, {render_text(form.format)})"
    if form.kind in ("seconds", "milliseconds"):
        return f"_since_1970({argument}, {render_text('s' if form.kind == 'seconds' else 'ms')})"
    return f"_times_with_zone({argument})" if form.kind == "zoned" else f"_times({argument})"


def _render_left_out(plan: Plan) -> list[str]:
    """Return comment lines about the columns that are not read."""
    if not plan.left_out:
        return []
    lines = ["#: Left out:"]
    for column, reason in plan.left_out[:_NAMED]:
        shown = column if column.isprintable() else ascii(column)
        said = reason if reason.isprintable() else ascii(reason)[1:-1]
        lines += textwrap.wrap(
            f"`{shown[:40]}`: {said}.", literals.WIDTH, initial_indent="#: ", subsequent_indent="#:   "
        )
    if (more := len(plan.left_out) - _NAMED) > 0:
        lines.append(f"#: and {more} more.")
    return lines


def _features(plan: Plan) -> str:
    plain = [render_text(feature.name) for feature in plan.features if feature.kind != "time"]
    days = [
        (render_text(name_days_feature(plan, each)), f"_days(columns[{render_text(each.name)}], now)")
        for each in plan.times
    ]
    return templates.render(
        "use_case/features.py.j2",
        plain=literals.render_sequence(plain, 0, "()", "PLAIN = ") if plain else "",
        event_time=render_text(plan.event_time),
        made=literals.render_return(days, 4, "        **{name: columns[name] for name in PLAIN},\n" if plain else ""),
    )


def name_days_feature(plan: Plan, feature: Feature) -> str:
    """Return the name of the feature that is computed from a time."""
    name = f"{feature.name[:50]}_days"
    return name if name not in {each.name for each in plan.features} else f"{name}_before"


def _made_up(plan: Plan) -> str:
    return templates.render(
        "use_case/data_made_up.py.j2",
        use_case=plan.name,
        what="whether they left" if plan.is_binary else "what they spent",
        target=plan.target,
        target_literal=render_text(plan.target),
        key=render_text(plan.key),
        event_time=render_text(plan.event_time),
        is_binary=plan.is_binary,
        variable="left" if plan.is_binary else "spent",
    )


# -- tests and stacks --------------------------------------------------------------------------------------------------


def _tests(plan: Plan) -> str:
    assert plan.since
    assert plan.until
    kinds = {plan.key: "text", plan.event_time: "time"}
    kinds |= {each.name: "number" if each.kind == "truth" else each.kind for each in plan.features}
    kinds[plan.target] = "number"
    return templates.render(
        "use_case/test.py.j2",
        use_case=plan.name,
        package=plan.package,
        has_file=plan.source is not None,
        span_why="The sample's span." if plan.source else "An example span.",
        since=_iso(plan.since),
        until=_iso(plan.until),
        sample_rows=plan.sample_rows,
        columns=literals.render_entries(((render_text(name), render_text(kind)) for name, kind in kinds.items()), 4),
        is_binary=plan.is_binary,
    )


def _stack(plan: Plan, environment: str) -> str:
    assert plan.replay_from
    names = Names(plan.name, environment, _ACCOUNT, plan.region)
    suffix = "cn-" if plan.region.startswith("cn-") else ""
    domain = "amazonaws.com.cn" if suffix else "amazonaws.com"
    return templates.render(
        f"use_case/Pulumi.{environment}.yaml.j2",
        region=plan.region,
        replay_from=_iso(plan.replay_from),
        variable=plan.variable if plan.source else "",
        stale_days=plan.stale_days if plan.last else None,
        image=f"{_ACCOUNT}.dkr.ecr.{plan.region}.{domain}/millrace@sha256:{'0' * 64}",
        data_uri=names.uri("input", f"{plan.name}.parquet"),
    )


def _iso(time: datetime) -> str:
    return time.isoformat(timespec="seconds" if not time.microsecond else "microseconds")


def plan_made_up_events(name: str, region: str, problem: str, roles: tuple[str, str, str], now: datetime) -> Plan:
    """Return the plan of a use case with made-up events, for which target, key and event time are only names."""
    target, key, event_time = roles
    start = datetime(now.year, now.month, now.day) - timedelta(days=28)
    features = tuple(
        Feature(each, each, kind) for each, kind in (("calls", "number"), ("months", "number"), ("plan", "text"))
    )
    return Plan(
        name, region, problem, target, key, event_time,
        features=features, replay_from=start, since=start, until=start + timedelta(days=7), per_day=36.0,
    )  # fmt: skip
