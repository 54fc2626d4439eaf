"""Step 1: decide whether to train, and take the snapshot of what is known at one instant."""

from __future__ import annotations

import numpy as np

from millrace import UseCase
from millrace.names import START, START_FILE
from training.columns import Array, Columns, count_rows, select_rows
from training.data import guard
from training.data.snapshot import EVENTS, LABELS, Snapshot
from training.functions import KNOWN_AT, Functions, get_lookback
from training.io import print_progress, write_json
from training.job import Job


def run_ingest(
    job: Job, as_of: str, trigger: str = guard.MANUAL, execution: str = "", champion: str = "approved"
) -> None:
    """Write `start.json`, the decision whether this execution trains, and if it does the snapshot as of a data time.

    Args:
        job: This job.
        as_of: A data time in ISO 8601, or ``now``.
        trigger: What started the pipeline; ``manual`` always trains.
        execution: The ARN of the pipeline's execution; empty when it is not known.
        champion: The ARN of the champion's package; ``approved`` to look it up; ``none`` for no champion.
    """
    attempt = guard.Attempt(job.find_data_time(as_of), trigger, execution, champion)
    start = guard.decide_before_ingestion(job, attempt)
    if start.needed:
        snapshot = collect_snapshot(job.functions, attempt.as_of)
        start = guard.decide_after_ingestion(job, attempt, snapshot)
        start = guard.ask_person(job, attempt) if start.needed else start
    if not start.needed:
        start = guard.carry_question(job, attempt, start)
    write_json(job.make_output_folder(START) / START_FILE, start.dump())
    if not start.needed:
        print_progress(f"skipped: trigger {trigger!r}: {start.reason}")
        return
    manifest = snapshot.write(job.make_output_folder("snapshot"))
    counts = ", ".join(f"{name} {count_rows(data)}" for name, data in snapshot.data.items())
    print_progress(
        f"snapshot of {manifest['as_of']} since {manifest['since']}: {counts}; sha256 {manifest['sha256'][:16]}"
    )


def collect_snapshot(functions: Functions, as_of: np.datetime64) -> Snapshot:
    """Return the snapshot of what is known at ``as_of``: events, labels that have arrived and rows already known.

    Args:
        functions: The use case's own functions.
        as_of: The data time: events and rows of tables are earlier, and labels at most as late.

    Returns:
        The snapshot; its events reach back by the declared history, and do not contain the target.
    """
    case = functions.use_case
    since = as_of - np.timedelta64(case.history, "us")
    events = functions.events(since, as_of)
    labels = fetch_known_labels(functions, since, as_of, events)
    events = {name: values for name, values in events.items() if name != case.target}
    return Snapshot(as_of, since, {EVENTS: events, LABELS: labels, **fetch_tables(functions, since, as_of)})


def fetch_known_labels(
    functions: Functions, since: np.datetime64, as_of: np.datetime64, events: Columns
) -> dict[str, Array]:
    """Return the labels of the events of [since, as_of) that have arrived by ``as_of``.

    Args:
        functions: The use case's own functions.
        since: The start of the events' span, inclusive.
        as_of: Its end, exclusive, and the time by which a label must have arrived, inclusive.
        events: The events of the span; they hold the target where there is no function `labels`.

    Returns:
        Key, target and `known_at` of the newest label of each key; see :func:`keep_newest_labels`.
    """
    labels = functions.labels(since, as_of, events)
    # A label without a time is kept, so that the validator reports it.
    return keep_newest_labels(functions.use_case, select_rows(labels, ~(labels[KNOWN_AT] > as_of)))


def keep_newest_labels(use_case: UseCase, labels: Columns) -> dict[str, Array]:
    """Return the newest label of each key: it corrects the earlier ones.

    Labels without a time, and labels of one key that differ but became known at the same time, are all kept, so that
    the validator reports them.
    """
    if len(set(labels[use_case.key].tolist())) == count_rows(labels):
        return dict(labels)
    keys, known = labels[use_case.key].astype(str), labels[KNOWN_AT]
    order = np.lexsort((labels[use_case.target], known, keys))
    later: dict[str, int] = {}
    kept = np.ones(len(keys), dtype=bool)
    for place in order.tolist():
        before = later.get(keys[place])
        later[keys[place]] = place
        if before is None or np.isnat(known[place]) or np.isnat(known[before]):
            continue
        same = labels[use_case.target][place] == labels[use_case.target][before]
        kept[before] = known[before] == known[place] and not same
    if corrected := int((~kept).sum()):
        print_progress(f"{corrected} label(s) were corrected later: the newest of each {use_case.key} counts")
    return select_rows(labels, kept)


def fetch_tables(functions: Functions, since: np.datetime64, until: np.datetime64) -> dict[str, dict[str, Array]]:
    """Return the rows of each table that events of [since, until) may see.

    Args:
        functions: The use case's own functions.
        since: The start of the events' span, inclusive.
        until: Its end, exclusive.

    Returns:
        Table → its rows; they begin earlier than the span, by the lead time and the age at which a row still counts.
    """
    first = since - np.timedelta64(functions.use_case.lead_time, "us")
    return {
        table.name: functions.table(table, first - get_lookback(table), until) for table in functions.use_case.tables
    }
