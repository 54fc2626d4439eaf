"""Step 3: the training set, each row as it was known when its prediction would have been made, split by time.

The newest rows are the `holdout`, on which the model is judged; what remains is `fit`. With a champion, the holdout is
the newer half of the rows that the champion has not seen, so that both can be compared on it, and so that the
challenger learns from the older half. Once the model is judged it is fitted again on all rows.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.errors import DataError
from millrace.metrics import Problem
from training import columns as c
from training.columns import Array, Columns
from training.data.join import join
from training.data.maturity import Maturity, learn_maturity
from training.data.snapshot import EVENTS, LABELS, MANIFEST, Snapshot
from training.functions import KNOWN_AT
from training.io import format_time, print_progress, read_json, write_json
from training.job import Job
from training.registry import fetch_champion

ROWS = "rows.parquet"
FOLD = "fold"
FIT, HOLDOUT = "fit", "holdout"
#: The fewest rows of a fold; fewer are too few to measure anything.
FEWEST = 30
#: The fewest rows of each outcome of a binary problem in rows that compare a challenger with the champion.
FEWEST_OUTCOMES = 20


@dataclass(frozen=True)
class Dataset:
    """Joined rows with target and fold, sorted by time and key."""

    rows: Columns
    manifest: dict[str, Any]

    @classmethod
    def read(cls, folder: Path) -> Dataset:
        """Read a dataset from the folder that :func:`run_dataset` wrote.

        Args:
            folder: The folder.

        Returns:
            The dataset.

        Raises:
            DataError: When a file is missing or unreadable.
        """
        return cls(c.read(folder / ROWS), read_json(folder / MANIFEST))

    def select_folds(self, *folds: str) -> dict[str, Array]:
        """Return the rows of the given folds.

        Args:
            folds: `fit` or `holdout`, or both.
        """
        return c.select_rows(self.rows, np.isin(self.rows[FOLD].astype(str), folds))

    @property
    def is_unseen(self) -> bool:
        """True if the champion has seen no row of the holdout."""
        return bool(self.manifest["unseen"])


def run_dataset(job: Job, wanted_champion: str) -> None:
    """Write the training set.

    Args:
        job: This job.
        wanted_champion: The ARN of the champion's package; ``approved`` or empty to look it up; ``none`` for no
            champion.

    Raises:
        DataError: When too few rows have labels, or the snapshot or the champion cannot be read.
    """
    snapshot, manifest = Snapshot.read(job.get_input_folder("snapshot"))
    with tempfile.TemporaryDirectory() as scratch:
        package = fetch_champion(job, wanted_champion, Path(scratch))
        unseen_since = package.trained_until if package else None
    outcomes, maturity = match_outcomes(job.use_case, snapshot)
    rows = _join_known(job.use_case, snapshot, outcomes)
    if taken := sorted({FOLD, "score"}.intersection(rows)):
        raise DataError("events()", f"returned a column {taken[0]!r}, a name of Millrace's own", fix="rename it")
    times, target = rows[job.use_case.event_time], rows[job.use_case.target]
    start = None
    if unseen_since is not None:
        start = find_judging_start(job.use_case, times, target, unseen_since)
    rows[FOLD] = assign_folds(job.use_case, times, start)
    folder = job.make_output_folder("dataset")
    c.write(rows, folder / ROWS)
    counts = {fold: int(np.sum(rows[FOLD] == fold)) for fold in (FIT, HOLDOUT)}
    write_json(
        folder / MANIFEST,
        {
            "version": 2,
            "snapshot": manifest["sha256"],
            "as_of": manifest["as_of"],
            "champion": package.arn if package else None,
            "folds": counts,
            "unseen": start is not None,
            "unlabelled": c.count_rows(snapshot.data[EVENTS]) - c.count_rows(rows),
            "labels": maturity.dump(),
            "sha256": c.hash_columns(rows),
        },
    )
    print_progress(
        f"training set as of {format_time(snapshot.as_of)}: " + ", ".join(f"{n} {fold}" for fold, n in counts.items())
    )


def join_labelled_events(use_case: UseCase, snapshot: Snapshot) -> dict[str, Array]:
    """Return the joined rows of the events whose outcome is known for certain, with the target.

    Args:
        use_case: The declaration.
        snapshot: A validated snapshot.

    Returns:
        Columns of the events and of the tables, and the target as float64; one row per labelled event, in the events'
        order.
    """
    return _join_known(use_case, snapshot, match_outcomes(use_case, snapshot)[0])


def _join_known(use_case: UseCase, snapshot: Snapshot, target: Array) -> dict[str, Array]:
    """Join the events whose outcome is not NaN."""
    events = snapshot.data[EVENTS]
    known = ~np.isnan(target)
    rows = join(
        use_case, c.select_rows(events, known), {table.name: snapshot.data[table.name] for table in use_case.tables}
    )
    return rows | {use_case.target: target[known]}


def match_outcomes(use_case: UseCase, snapshot: Snapshot) -> tuple[Array, Maturity]:
    """Return the outcome of each event, and how the labels of a snapshot have arrived.

    Args:
        use_case: The declaration.
        snapshot: The snapshot.

    Returns:
        Outcomes as float64, NaN where none has arrived, or none is certain yet; and the maturity that decides this.
    """
    times = snapshot.data[EVENTS][use_case.event_time]
    outcomes, known_at = _match_labels(use_case, snapshot)
    maturity = learn_maturity(use_case, times, known_at, snapshot.as_of)
    return np.where(times <= snapshot.as_of - maturity.after, outcomes, np.nan), maturity


def _match_labels(use_case: UseCase, snapshot: Snapshot) -> tuple[Array, Array]:
    """Return the outcome of each event and when it became known; NaN and NaT where no label has arrived."""
    events, labels = snapshot.data[EVENTS], snapshot.data[LABELS]
    known = zip(labels[use_case.target].tolist(), labels[KNOWN_AT], strict=True)
    found = dict(zip(labels[use_case.key].tolist(), known, strict=True))
    none = (np.nan, np.datetime64("NaT", "us"))
    matched = [found.get(key, none) for key in events[use_case.key].tolist()]
    return (
        np.array([outcome for outcome, _ in matched], dtype=np.float64),
        np.array([known_at for _, known_at in matched], dtype="datetime64[us]"),
    )


def find_judging_start(
    use_case: UseCase, times: Array, target: Array, unseen_since: np.datetime64
) -> np.datetime64 | None:
    """Return the time from which rows can judge champion and challenger: neither was fitted on them.

    It is the middle of the rows that the champion has not seen, at the start of a block, but not earlier than the
    declared span before the newest row: labels may arrive late.

    Args:
        use_case: The declaration: the longest span that judges, and the length of a block.
        times: Event times in ascending order.
        target: The outcome of each row.
        unseen_since: The newest event time in the champion's training.

    Returns:
        The time; None where the rows after it are too few to judge, or those before it too few to fit.
    """
    new = np.flatnonzero(times > unseen_since)
    if not len(new):
        return None
    block = np.timedelta64(use_case.champion.block, "us")
    middle = max(times[new[len(new) // 2]], times[-1] - np.timedelta64(use_case.champion.judged_on, "us"))
    since_epoch = middle - np.datetime64(0, "us")
    start = np.datetime64(0, "us") + -(-since_epoch // block) * block
    judging = times >= start
    counts = [int(judging.sum()), int((~judging).sum())]
    if use_case.problem is Problem.BINARY:
        counts += [int((target[judging] == outcome).sum()) + FEWEST - FEWEST_OUTCOMES for outcome in (0, 1)]
    return start if min(counts) >= FEWEST else None


def assign_folds(use_case: UseCase, times: Array, start: np.datetime64 | None) -> Array:
    """Return the fold of each row.

    Args:
        use_case: The declaration: the share that is held out where no time is given.
        times: Event times in ascending order.
        start: The time from which rows are held out; None for the newest share of them.

    Raises:
        DataError: When too few rows are left to fit or to hold out.
    """
    if start is not None:
        return np.where(times >= start, HOLDOUT, FIT).astype(object)
    cut = len(times) - round(use_case.holdout * len(times))
    if min(cut, len(times) - cut) < FEWEST:
        raise DataError(
            f"{len(times)} rows with labels",
            f"leave {cut} to fit and {len(times) - cut} to hold out",
            expected=f"at least {FEWEST} of each",
            fix=f"widen history (now {use_case.history}), change holdout (now {use_case.holdout:g}) or wait for labels",
        )
    # Rows with the same event time stay in one fold.
    instant = times[cut]
    fold = np.where(times >= instant, HOLDOUT, FIT).astype(object)
    left = int((fold == FIT).sum())
    if left < FEWEST:
        raise DataError(
            use_case.event_time,
            (
                f"is {format_time(instant)} in {int((times == instant).sum())} of {len(times)} "
                f"rows with labels; rows of one instant stay in one fold, which leaves {left} to fit"
            ),
            expected=f"at least {FEWEST}",
            fix="give each event the time at which its prediction is requested",
        )
    return fold
