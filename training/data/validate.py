"""Step 2: refuse a batch of data that must not be trained on; set single bad rows aside where the use case allows it.

The report lists every finding. An accepted batch, without the rows set aside, is the snapshot that later steps use.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np

from millrace import Expect, UseCase
from millrace.errors import DataError
from millrace.findings import INFERRED, Code, Finding, Level
from millrace.metrics import Problem
from millrace.names import PROFILE_FILE
from training import columns as c
from training.columns import Array, Columns, find_kind, is_missing, make_feature_name
from training.data.inferred import Comparison
from training.data.profile import SnapshotProfile, profile_snapshot
from training.data.quarantine import quarantine, write_broken_rows
from training.data.reference import find_reference
from training.data.snapshot import EVENTS, LABELS, Snapshot
from training.functions import KNOWN_AT
from training.io import format_time, print_progress, write_json
from training.job import Job
from training.metrics import find_auc_error, single_feature_auc
from training.notify import tell_people

#: Bounds of the AUC of one request-time column alone: legitimate ones seldom reach the first, and one that reaches the
#: second contains the outcome. In a regression one legitimate column may explain most of the target.
LEAK_WARN = 0.70
#: The share of events that are the same but for their key from which it is reported, and the fewest columns beside the
#: key that make equal rows improbable.
RETRIED_SHARE, RETRIED_COLUMNS = 0.01, 3
#: How many standard errors below the estimate an AUC must still be a leak: one in a hundred.
LEAK_DOUBT = 2.33
LEAK_REFUSE = {Problem.BINARY: 0.80, Problem.REGRESSION: 0.99}
#: Rows that a finding shows as examples.
SHOWN = 3


class Findings:
    """The findings of a snapshot, rule by rule."""

    def __init__(self, use_case: UseCase, snapshot: Snapshot) -> None:
        self._times = {EVENTS: use_case.event_time, LABELS: KNOWN_AT}
        self._ids = {EVENTS: [use_case.key], LABELS: [use_case.key]}
        for table in use_case.tables:
            self._ids[table.name] = [table.entity, table.event_time]
        self._snapshot = snapshot
        self.all: list[Finding] = []
        self.masks: list[Array | None] = []

    def add(
        self, level: Level, code: Code, table: str, column: str | None = None, bad: Array | None = None, **fields: Any
    ) -> None:
        """Add a finding.

        Args:
            level: Its effect on the batch.
            code: The rule that is broken.
            table: The table's name, or `events` or `labels`.
            column: The column that it is about; None where it is about the table.
            bad: A mask of the table's rows that break the rule; None where it is not about rows.
            fields: What was found and expected, by the names in the code's sentence.
        """
        rows = self._snapshot.data.get(table, {})
        index: list[int] = np.flatnonzero(bad)[:SHOWN].tolist() if bad is not None else []
        names = dict.fromkeys([*self._ids.get(table, []), *([column] if column else [])])
        examples = tuple({name: _shown(rows[name][row]) for name in names if name in rows} for row in index)
        count = int(np.sum(bad)) if bad is not None else None
        self.all.append(Finding(code, level, table, column, fields, count, examples))
        self.masks.append(bad)

    @property
    def refused(self) -> list[str]:
        """The texts of the findings that refuse the batch, one sentence each."""
        return [finding.text for finding in self.all if finding.level is Level.REFUSE]


def run_validate(job: Job) -> None:
    """Write the report and the accepted snapshot, or fail with the findings that refuse the batch.

    Args:
        job: This job.

    Raises:
        DataError: When the batch is refused, or the snapshot cannot be read.
    """
    snapshot, _ = Snapshot.read(job.get_input_folder("snapshot"))
    reference, unread = find_reference(job, snapshot.as_of)
    accepted, findings, aside = check_snapshot(job.use_case, snapshot, reference)
    if unread:
        findings.add(Level.WARN, Code.NO_REFERENCE, EVENTS, error=unread)
    folder = job.make_output_folder("report")
    files = write_broken_rows(snapshot, list(zip(findings.all, findings.masks, strict=True)), folder)
    report = {
        "version": 1,
        "as_of": format_time(snapshot.as_of),
        "reference": reference.as_of if reference else None,
        "passed": 0 if findings.refused else 1,
        "findings": [{**finding.dump(), "file": files.get(place)} for place, finding in enumerate(findings.all)],
        "set_aside": {name: c.count_rows(rows) for name, rows in aside.items()},
    }
    write_json(folder / "validation.json", report)
    for name, rows in aside.items():
        c.write(rows, folder / f"set_aside_{name}.parquet")
        print_progress(f"set aside {c.count_rows(rows)} row(s) of {name}")
    for finding in findings.all:
        print_progress(f"{finding.level}: {finding.text}")
    if findings.refused:
        raise DataError("; ".join(findings.refused) + quarantine(job, folder))
    manifest = accepted.write(job.make_output_folder("accepted"))
    profile = profile_snapshot(job.use_case, accepted, format_time(snapshot.as_of))
    write_json(folder / PROFILE_FILE, profile.model_dump(mode="json"))
    if odd := [finding.text for finding in findings.all if finding.code in INFERRED]:
        tell_people(
            job, f"{job.names.stack}: new data are not like those before", "\n".join(f"- {text}" for text in odd)
        )
    print_progress(f"accepted: sha256 {manifest['sha256'][:16]}")


def check_snapshot(
    use_case: UseCase, snapshot: Snapshot, reference: SnapshotProfile | None = None
) -> tuple[Snapshot, Findings, dict[str, Columns]]:
    """Return the snapshot without the rows set aside, the findings, and the rows set aside by table.

    Args:
        use_case: The declaration.
        snapshot: The snapshot as ingested; it is not changed.
        reference: The profile of the snapshot accepted before it, with which it is compared; None without one.

    Returns:
        Where tables or columns are not as declared, the snapshot is unchanged and nothing is set aside.
    """
    findings = Findings(use_case, snapshot)
    comparison = None if reference is None else Comparison(use_case, snapshot, reference, findings.add)
    _schema(use_case, snapshot, findings)
    if comparison:
        comparison.check_types()
    if findings.refused:
        return snapshot, findings, {}
    _identity(use_case, snapshot, findings)
    masks = {name: np.zeros(c.count_rows(rows), dtype=bool) for name, rows in snapshot.data.items()}
    for rule in use_case.expectations:
        masks[rule.table] |= find_broken_rows(rule, snapshot.data[rule.table], findings)
    _outcomes(use_case, snapshot, findings)
    _freshness(use_case, snapshot, findings)
    _retries(use_case, snapshot, findings)
    if comparison:
        comparison.check_values({name: ~mask for name, mask in masks.items()})
    if not findings.refused:
        _leakage(use_case, snapshot, findings)
    aside: dict[str, Columns] = {
        name: c.select_rows(snapshot.data[name], mask) for name, mask in masks.items() if mask.any()
    }
    if EVENTS in aside:
        # The labels of events that are set aside go with them.
        masks[LABELS] |= np.isin(
            snapshot.data[LABELS][use_case.key].astype(str), aside[EVENTS][use_case.key].astype(str)
        )
    data = {name: c.select_rows(rows, ~masks[name]) for name, rows in snapshot.data.items()}
    return Snapshot(snapshot.as_of, snapshot.since, data), findings, aside


def _schema(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Check that tables and columns exist and are of the right kinds, and that there are rows."""
    wanted: dict[str, dict[str, str]] = {
        EVENTS: {use_case.key: "text", use_case.event_time: "time"},
        LABELS: {use_case.key: "text", use_case.target: "number", KNOWN_AT: "time"},
    }
    for table in use_case.tables:
        wanted[EVENTS][table.entity] = "text"
        wanted[table.name] = {table.entity: "text", table.event_time: "time", **table.columns}
    for rule in use_case.expectations:
        wanted[rule.table].setdefault(rule.column, "")
    joined = {make_feature_name(table.name, column) for table in use_case.tables for column in table.columns}
    for column in (*(part.column for part in use_case.slices if part.column not in joined), *use_case.trusted):
        wanted[EVENTS].setdefault(column, "")
    for name, columns in wanted.items():
        rows = snapshot.data.get(name)
        if rows is None:
            findings.add(Level.REFUSE, Code.TABLE_MISSING, name)
            continue
        if not c.count_rows(rows):
            findings.add(Level.REFUSE, Code.NO_ROWS, name)
        for column, kind in columns.items():
            if column not in rows:
                findings.add(Level.REFUSE, Code.COLUMN_MISSING, name, column, found=sorted(rows))
            elif kind and find_kind(rows[column]) != kind:
                findings.add(Level.REFUSE, Code.WRONG_KIND, name, column, found=find_kind(rows[column]), expected=kind)
    for part in use_case.slices:
        values = snapshot.data.get(EVENTS, {}).get(part.column)
        if values is not None and find_kind(values) == "time":
            findings.add(Level.REFUSE, Code.SLICE_OF_TIME, EVENTS, part.column)


def _identity(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Check that keys, entities, times and targets are not missing, and that each key belongs to one event."""
    never_missing = {
        EVENTS: [use_case.key, use_case.event_time],
        LABELS: [use_case.key, use_case.target, KNOWN_AT],
        **{table.name: [table.entity, table.event_time] for table in use_case.tables},
    }
    for name, columns in never_missing.items():
        for column in columns:
            if (missing := is_missing(snapshot.data[name][column])).any():
                findings.add(Level.REFUSE, Code.VALUE_MISSING, name, column, missing)
    for name in (EVENTS, LABELS):
        double = _repeated([snapshot.data[name][use_case.key].astype(str)])
        if double.any():
            findings.add(Level.REFUSE, Code.KEY_REPEATED, name, use_case.key, double)
    for table in use_case.tables:
        rows = snapshot.data[table.name]
        double = _repeated([rows[table.entity].astype(str), rows[table.event_time]])
        if double.any():
            findings.add(Level.WARN, Code.SAME_TIME, table.name, table.entity, double)


def _repeated(columns: list[Array]) -> Array:
    """Return a mask of the rows that repeat an earlier one."""
    order = np.lexsort(columns)
    same = np.all([values[order][1:] == values[order][:-1] for values in columns], axis=0)
    repeated = np.zeros(len(order), dtype=bool)
    repeated[order[1:][same]] = True
    return repeated


def find_broken_rows(rule: Expect, rows: Columns, findings: Findings) -> Array:
    """Return a mask of the rows that one rule sets aside, and add its findings.

    If more rows break the rule than it allows, the batch is refused, or used with a warning, and no row is set aside.
    """
    values = rows[rule.column]
    missing = is_missing(values)
    level = Level.REFUSE if rule.severity == "refuse" else Level.WARN
    if np.mean(missing) > rule.max_missing:
        share = float(np.mean(missing))
        findings.add(
            level, Code.TOO_MANY_MISSING, rule.table, rule.column, missing, share=share, bound=rule.max_missing
        )
    bad = np.zeros(len(values), dtype=bool)
    expected = []
    tests: list[tuple[str, Any, Callable[[Array], Array]]] = [
        ("at least", rule.at_least, lambda known: known < rule.at_least),
        ("at most", rule.at_most, lambda known: known > rule.at_most),
    ]
    for word, bound, breaks in tests:
        if bound is None:
            continue
        if find_kind(values) != "number":
            findings.add(Level.REFUSE, Code.BOUND_NEEDS_NUMBERS, rule.table, rule.column, found=find_kind(values))
            return bad
        expected.append(f"{word} {bound:g}")
        bad |= ~missing & breaks(values)
    if rule.one_of:
        expected.append(f"one of {', '.join(rule.one_of)}")
        bad |= ~missing & ~np.isin(values.astype(str), rule.one_of)
    if not bad.any():
        return bad
    where, broken = (rule.table, rule.column, bad), " and ".join(expected)
    if np.mean(bad) > rule.max_bad:
        findings.add(level, Code.EXPECTATION_BROKEN_TOO_OFTEN, *where, expected=broken, bound=rule.max_bad)
        return np.zeros_like(bad)
    findings.add(Level.SET_ASIDE, Code.EXPECTATION_BROKEN, *where, expected=broken)
    return bad


def _outcomes(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Check that a model can learn from the target."""
    labels, events = snapshot.data[LABELS], snapshot.data[EVENTS]
    target = labels[use_case.target]
    known = target[~np.isnan(target)]
    if use_case.problem is Problem.BINARY:
        odd = ~np.isnan(target) & ~np.isin(target, (0.0, 1.0))
        if odd.any():
            findings.add(Level.REFUSE, Code.NOT_BINARY, LABELS, use_case.target, odd)
    infinite = np.isinf(target)
    if infinite.any():
        findings.add(Level.REFUSE, Code.INFINITE, LABELS, use_case.target, infinite)
    strangers = ~np.isin(labels[use_case.key].astype(str), events[use_case.key].astype(str))
    # Labels of unknown events are not trained on.
    outcomes = np.unique(known[~strangers[~np.isnan(target)]])
    if len(outcomes) < 2:
        value = f"{outcomes[0]:g}" if len(outcomes) else "nothing"
        findings.add(Level.REFUSE, Code.ONE_OUTCOME, LABELS, use_case.target, found=value)
    if strangers.all():
        findings.add(Level.REFUSE, Code.NO_LABEL_OF_AN_EVENT, LABELS, use_case.key, strangers)
    elif strangers.any():
        findings.add(Level.WARN, Code.LABEL_OF_NO_EVENT, LABELS, use_case.key, strangers)


def _freshness(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Check that data still arrive: events within the monitor's window, a table's rows within their age."""
    window = np.timedelta64(use_case.monitoring.window, "us")
    bounds = [(EVENTS, use_case.event_time, window, Level.REFUSE)]
    for table in use_case.tables:
        age = window if table.max_age is None else np.timedelta64(table.max_age, "us")
        bounds.append((table.name, table.event_time, age, Level.WARN))
    for name, column, bound, level in bounds:
        times = snapshot.data[name][column]
        newest: np.datetime64 = np.max(np.append(times[~np.isnat(times)], snapshot.since))
        if newest < snapshot.as_of - bound:
            hours = float(bound / np.timedelta64(1, "h"))
            findings.add(level, Code.STALE, name, column, found=format_time(newest), hours=hours)


def _retries(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Look for events that are the same but for their key: a caller that tries again under a new one."""
    events = snapshot.data[EVENTS]
    columns = [_to_comparable(values) for name, values in events.items() if name != use_case.key]
    if len(columns) < RETRIED_COLUMNS:
        return
    double = _repeated(columns)
    share = float(np.mean(double))
    if share > RETRIED_SHARE:
        findings.add(Level.WARN, Code.RETRIED, EVENTS, use_case.key, double, share=share)


def _to_comparable(values: Array) -> Array:
    """Return values of which two missing ones are equal."""
    if values.dtype.kind == "O":
        return values.astype(str)
    return values.view(f"i{values.dtype.itemsize}") if values.dtype.kind in "fM" else values


def _leakage(use_case: UseCase, snapshot: Snapshot, findings: Findings) -> None:
    """Check that no request-time column predicts the outcome alone, unless it is trusted.

    In a regression the outcome is whether the target is above its median.
    """
    refuse = LEAK_REFUSE[use_case.problem]
    events, labels = snapshot.data[EVENTS], snapshot.data[LABELS]
    outcome = dict(zip(labels[use_case.key].tolist(), labels[use_case.target].tolist(), strict=True))
    y = np.array([outcome.get(key, np.nan) for key in events[use_case.key].tolist()])
    known = ~np.isnan(y)
    y = y[known] if use_case.problem is Problem.BINARY else (y[known] > np.median(y[known])).astype(float)
    for name, values in events.items():
        if name in (use_case.key, use_case.event_time) or find_kind(values) == "time":
            continue
        auc = single_feature_auc(y, values[known])
        if not math.isnan(auc) and auc >= LEAK_WARN:
            level, code = Level.WARN, Code.LEAK
            # A few outcomes order honest columns well by chance.
            lower = auc - LEAK_DOUBT * find_auc_error(auc, y)
            if name in use_case.trusted:
                code = Code.LEAK_TRUSTED
            elif lower >= refuse:
                level, code = Level.REFUSE, Code.LEAK_REFUSED
            bound = refuse if level is Level.REFUSE or (code is Code.LEAK_TRUSTED and auc >= refuse) else LEAK_WARN
            findings.add(level, code, EVENTS, name, target=use_case.target, auc=float(auc), bound=bound)


#: The most characters of a text that a finding shows.
_LONGEST_TEXT = 100


def _shown(value: Any) -> Any:
    if isinstance(value, np.datetime64):
        return None if np.isnat(value) else format_time(value)
    if isinstance(value, float | np.floating):
        # JSON has no infinities.
        return float(value) if np.isfinite(value) else None if np.isnan(value) else str(float(value))
    if isinstance(value, str) and len(value) > _LONGEST_TEXT:
        return f"{value[:_LONGEST_TEXT]} …"
    return value
