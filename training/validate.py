"""Step 2: refuse a batch of data that must not be trained on; set single bad rows aside where the use case allows it.

The report says every finding. What passes, less the rows set aside, is written as the snapshot that later steps use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from millrace import Expect, MillraceError, UseCase
from millrace.errors import DataError
from millrace.metrics import Problem
from millrace.names import QUARANTINE
from training import columns as c
from training.columns import Array, Columns, is_missing, kind_of
from training.functions import KNOWN_AT
from training.job import Job, format_time, say, write_json
from training.join import feature_name
from training.metrics import single_feature_auc
from training.snapshot import EVENTS, LABELS, Snapshot

#: How well one request-time column alone may tell the outcome: honest ones seldom reach the first bound, and what
#: reaches the second has seen the outcome. In a regression one honest column may explain most of the target.
LEAK_WARN = 0.70
LEAK_REFUSE = {Problem.BINARY: 0.80, Problem.REGRESSION: 0.99}
#: Rows of an example.
SHOWN = 3


class Findings:
    """What was found in a snapshot, rule by rule."""

    def __init__(self, use_case: UseCase, snapshot: Snapshot) -> None:
        self._times = {EVENTS: use_case.event_time, LABELS: KNOWN_AT}
        self._ids = {EVENTS: [use_case.key], LABELS: [use_case.key]}
        for table in use_case.tables:
            self._ids[table.name] = [table.entity, table.event_time]
        self._snapshot = snapshot
        self.all: list[dict[str, Any]] = []

    def add(self, level: str, table: str, rule: str, bad: Array | None = None, column: str | None = None) -> None:
        """Add one; ``bad`` is a mask of the rows that break the rule."""
        rows = self._snapshot.data.get(table, {})
        index: list[int] = np.flatnonzero(bad)[:SHOWN].tolist() if bad is not None else []
        names = dict.fromkeys([*self._ids.get(table, []), *([column] if column else [])])
        examples = [{name: _shown(rows[name][row]) for name in names if name in rows} for row in index]
        count = int(np.sum(bad)) if bad is not None else None
        self.all.append({"level": level, "table": table, "rule": rule, "count": count, "rows": examples})

    @property
    def refused(self) -> list[str]:
        """One sentence a finding that refuses the batch."""
        return [_sentence(finding) for finding in self.all if finding["level"] == "refuse"]


def run(job: Job) -> None:
    """Write the report and the accepted snapshot, or fail with the first findings."""
    snapshot, _ = Snapshot.read(job.input("snapshot"))
    accepted, findings, aside = check(job.use_case, snapshot)
    report = {
        "as_of": format_time(snapshot.as_of),
        "passed": 0 if findings.refused else 1,
        "findings": findings.all,
        "set_aside": {name: c.rows_of(rows) for name, rows in aside.items()},
    }
    folder = job.output("report")
    write_json(folder / "validation.json", report)
    for name, rows in aside.items():
        c.write(rows, folder / f"set_aside_{name}.parquet")
        say(f"set aside {c.rows_of(rows)} row(s) of {name}")
    for finding in findings.all:
        say(f"{finding['level']}: {_sentence(finding)}")
    if findings.refused:
        raise DataError("; ".join(findings.refused) + _quarantine(job, folder))
    manifest = accepted.write(job.output("accepted"))
    say(f"accepted: sha256 {manifest['sha256'][:16]}")


def check(use_case: UseCase, snapshot: Snapshot) -> tuple[Snapshot, Findings, dict[str, Columns]]:
    """The snapshot less the rows set aside, the findings, and those rows by table."""
    findings = Findings(use_case, snapshot)
    _schema(use_case, snapshot, findings)
    if findings.refused:
        return snapshot, findings, {}
    _identity(use_case, snapshot, findings)
    masks = {name: np.zeros(c.rows_of(rows), dtype=bool) for name, rows in snapshot.data.items()}
    for rule in use_case.expectations:
        masks[rule.table] |= broken_by(rule, snapshot.data[rule.table], findings)
    _outcomes(use_case, snapshot, findings)
    _freshness(use_case, snapshot, findings)
    if not findings.refused:
        _leakage(use_case, snapshot, findings)
    aside: dict[str, Columns] = {name: c.take(snapshot.data[name], mask) for name, mask in masks.items() if mask.any()}
    if EVENTS in aside:
        # A label without its event would be nobody's.
        masks[LABELS] |= np.isin(
            snapshot.data[LABELS][use_case.key].astype(str), aside[EVENTS][use_case.key].astype(str)
        )
    data = {name: c.take(rows, ~masks[name]) for name, rows in snapshot.data.items()}
    return Snapshot(snapshot.as_of, snapshot.since, data), findings, aside


def _schema(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Tables, columns and kinds are there, and rows at all."""
    wanted: dict[str, dict[str, str]] = {
        EVENTS: {use_case.key: "text", use_case.event_time: "time"},
        LABELS: {use_case.key: "text", use_case.target: "number", KNOWN_AT: "time"},
    }
    for table in use_case.tables:
        wanted[EVENTS][table.entity] = "text"
        wanted[table.name] = {table.entity: "text", table.event_time: "time", **table.columns}
    for rule in use_case.expectations:
        wanted[rule.table].setdefault(rule.column, "")
    joined = {feature_name(table.name, column) for table in use_case.tables for column in table.columns}
    for column in (*(part.column for part in use_case.slices if part.column not in joined), *use_case.trusted):
        wanted[EVENTS].setdefault(column, "")
    for name, columns in wanted.items():
        rows = snapshot.data.get(name)
        if rows is None:
            findings.add("refuse", name, "the table is missing from the snapshot")
            continue
        if not c.rows_of(rows):
            findings.add("refuse", name, "there is no row; expected at least one")
        for column, kind in columns.items():
            if column not in rows:
                findings.add("refuse", name, f"there is no column {column!r}; there are {sorted(rows)}")
            elif kind and kind_of(rows[column]) != kind:
                findings.add("refuse", name, f"column {column!r} holds {kind_of(rows[column])}; expected {kind}")
    for part in use_case.slices:
        values = snapshot.data.get(EVENTS, {}).get(part.column)
        if values is not None and kind_of(values) == "time":
            findings.add("refuse", EVENTS, f"column {part.column!r} holds time; a slice needs text or numbers")


def _identity(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Keys, entities and times are there; a key stands for one event."""
    never_missing = {
        EVENTS: [use_case.key, use_case.event_time],
        LABELS: [use_case.key, use_case.target, KNOWN_AT],
        **{table.name: [table.entity, table.event_time] for table in use_case.tables},
    }
    for name, columns in never_missing.items():
        for column in columns:
            if (missing := is_missing(snapshot.data[name][column])).any():
                findings.add("refuse", name, f"{column} is missing; expected it in every row", missing, column)
    for name in (EVENTS, LABELS):
        double = _repeated([snapshot.data[name][use_case.key].astype(str)])
        if double.any():
            findings.add("refuse", name, f"{use_case.key} stands in several rows; expected it once", double)
    for table in use_case.tables:
        rows = snapshot.data[table.name]
        double = _repeated([rows[table.entity].astype(str), rows[table.event_time]])
        if double.any():
            rule = f"several rows of one {table.entity} became known at the same time; the last one counts"
            findings.add("warn", table.name, rule, double)


def _repeated(columns: list[Array]) -> Array:
    """Which rows repeat an earlier one."""
    order = np.lexsort(columns)
    same = np.all([values[order][1:] == values[order][:-1] for values in columns], axis=0)
    repeated = np.zeros(len(order), dtype=bool)
    repeated[order[1:][same]] = True
    return repeated


def broken_by(rule: Expect, rows: Columns, findings: Findings) -> Array:
    """The rows to set aside by one rule; a finding when there are more than it allows."""
    values = rows[rule.column]
    missing = is_missing(values)
    if np.mean(missing) > rule.max_missing:
        share = f"{np.mean(missing):.1%} of {rule.column} is missing; expected at most {rule.max_missing:.1%}"
        findings.add("refuse", rule.table, share, missing, rule.column)
    bad = np.zeros(len(values), dtype=bool)
    said = []
    tests: list[tuple[str, Any, Callable[[Array], Array]]] = [
        ("at least", rule.at_least, lambda known: known < rule.at_least),
        ("at most", rule.at_most, lambda known: known > rule.at_most),
    ]
    for word, bound, breaks in tests:
        if bound is None:
            continue
        if kind_of(values) != "number":
            findings.add("refuse", rule.table, f"{rule.column} holds {kind_of(values)}; a bound needs numbers")
            return bad
        said.append(f"{word} {bound:g}")
        bad |= ~missing & breaks(values)
    if rule.one_of:
        said.append(f"one of {', '.join(rule.one_of)}")
        bad |= ~missing & ~np.isin(values.astype(str), rule.one_of)
    if not bad.any():
        return bad
    text = f"{rule.column} breaks the rule: {' and '.join(said)}"
    if np.mean(bad) > rule.max_bad:
        findings.add("refuse", rule.table, f"{text} (at most {rule.max_bad:.2%} of rows may)", bad, rule.column)
        return np.zeros_like(bad)
    findings.add("set aside", rule.table, text, bad, rule.column)
    return bad


def _outcomes(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """The target can be learnt from."""
    labels, events = snapshot.data[LABELS], snapshot.data[EVENTS]
    target = labels[use_case.target]
    known = target[~np.isnan(target)]
    if use_case.problem is Problem.BINARY:
        odd = ~np.isnan(target) & ~np.isin(target, (0.0, 1.0))
        if odd.any():
            rule = f"{use_case.target} is neither 0 nor 1"
            findings.add("refuse", LABELS, rule, odd, use_case.target)
    infinite = np.isinf(target)
    if infinite.any():
        findings.add("refuse", LABELS, f"{use_case.target} is infinite", infinite, use_case.target)
    strangers = ~np.isin(labels[use_case.key].astype(str), events[use_case.key].astype(str))
    # Labels of other events teach nothing.
    outcomes = np.unique(known[~strangers[~np.isnan(target)]])
    if len(outcomes) < 2:
        value = f"{outcomes[0]:g}" if len(outcomes) else "nothing"
        findings.add("refuse", LABELS, f"every {use_case.target} is {value}; a model needs both outcomes to learn from")
    if strangers.all():
        findings.add("refuse", LABELS, f"no label's {use_case.key} is that of an event; compare the two", strangers)
    elif strangers.any():
        findings.add("warn", LABELS, f"the {use_case.key} is that of no event", strangers)


def _freshness(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Data still arrive: events within the monitor's window, a table's rows within their age."""
    window = np.timedelta64(use_case.monitoring.window, "us")
    bounds = [(EVENTS, use_case.event_time, window, "refuse")]
    for table in use_case.tables:
        age = window if table.max_age is None else np.timedelta64(table.max_age, "us")
        bounds.append((table.name, table.event_time, age, "warn"))
    for name, column, bound, level in bounds:
        times = snapshot.data[name][column]
        newest: np.datetime64 = np.max(np.append(times[~np.isnat(times)], snapshot.since))
        if newest < snapshot.as_of - bound:
            hours = bound / np.timedelta64(1, "h")
            rule = f"the newest {column} is {format_time(newest)}; expected one within {hours:g} h of as_of"
            findings.add(level, name, rule)


def _leakage(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """No request-time column tells the outcome by itself, unless trusted. Regression: whether above the median."""
    refuse = LEAK_REFUSE[use_case.problem]
    events, labels = snapshot.data[EVENTS], snapshot.data[LABELS]
    outcome = dict(zip(labels[use_case.key].tolist(), labels[use_case.target].tolist(), strict=True))
    y = np.array([outcome.get(key, np.nan) for key in events[use_case.key].tolist()])
    known = ~np.isnan(y)
    y = y[known] if use_case.problem is Problem.BINARY else (y[known] > np.median(y[known])).astype(float)
    for name, values in events.items():
        if name in (use_case.key, use_case.event_time) or kind_of(values) == "time":
            continue
        auc = single_feature_auc(y, values[known])
        if not math.isnan(auc) and auc >= LEAK_WARN:
            bound = refuse if auc >= refuse else LEAK_WARN
            level, mend = "warn", "is it known when the prediction is made? If not, leave it out of events()"
            if name in use_case.trusted:
                mend = "it is trusted"
            elif auc >= refuse:
                level = "refuse"
                mend = (
                    "is it known when the prediction is made? If it is, say so in the use case: "
                    f"trusted=({name!r},); if not, leave it out of events()"
                )
            rule = f"{name} alone tells {use_case.target} with an AUC of {auc:.3f} (bound {bound}): {mend}"
            findings.add(level, EVENTS, rule)


def _quarantine(job: Job, folder: Path) -> str:
    """Copy the report to the lake's quarantine; where it is, or why it is not there."""
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3 = job.client("s3")
        prefix = job.names.key(QUARANTINE, job.name)
        for path in sorted(folder.iterdir()):
            s3.upload_file(str(path), job.names.lake, f"{prefix}/{path.name}")
    except (BotoCoreError, ClientError, MillraceError) as error:
        return f" (the report could not be copied to the quarantine: {error})"
    return f" (report: s3://{job.names.lake}/{prefix}/validation.json)"


def _sentence(finding: dict[str, Any]) -> str:
    count = f" in {finding['count']} row(s)" if finding["count"] is not None else ""
    shown = "; ".join(", ".join(f"{name}={value}" for name, value in row.items()) for row in finding["rows"])
    return f"{finding['table']}: {finding['rule']}{count}" + (f": {shown}" if shown else "")


def _shown(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else format_time(value)
    if isinstance(value, np.floating):
        return None if np.isnan(value) else float(value)
    return value
