"""Step 3: the training set, each row as it was known when its prediction would have been made, split by time.

The newest rows, which a champion has not seen, are the `judge` fold, on which champion and challenger are compared; of
the rest, the newest share is the `holdout`, on which gates are measured; what remains is `fit`.
"""

from __future__ import annotations

import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from millrace import UseCase
from millrace.errors import DataError
from training import columns as c
from training.columns import Array, Columns
from training.data.join import join
from training.data.snapshot import EVENTS, LABELS, MANIFEST, Snapshot
from training.io import format_time, print_progress, read_json, write_json
from training.job import Job
from training.registry import fetch_champion

ROWS = "rows.parquet"
FOLD = "fold"
FIT, HOLDOUT, JUDGE = "fit", "holdout", "judge"
#: The fewest rows of a fold; fewer are too few to measure anything.
FEWEST = 30


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
            folds: `fit`, `holdout` or `judge`; one or more.
        """
        return c.select_rows(self.rows, np.isin(self.rows[FOLD].astype(str), folds))


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
    rows = join_labelled_events(job.use_case, snapshot)
    rows[FOLD] = assign_folds(job.use_case, rows[job.use_case.event_time], snapshot.as_of, unseen_since)
    folder = job.make_output_folder("dataset")
    c.write(rows, folder / ROWS)
    counts = {fold: int(np.sum(rows[FOLD] == fold)) for fold in (FIT, HOLDOUT, JUDGE)}
    write_json(
        folder / MANIFEST,
        {
            "version": 1,
            "snapshot": manifest["sha256"],
            "as_of": manifest["as_of"],
            "champion": package.arn if package else None,
            "folds": counts,
            "unlabelled": c.count_rows(snapshot.data[EVENTS]) - c.count_rows(rows),
            "sha256": c.hash_columns(rows),
        },
    )
    print_progress(
        f"training set as of {format_time(snapshot.as_of)}: " + ", ".join(f"{n} {fold}" for fold, n in counts.items())
    )


def join_labelled_events(use_case: UseCase, snapshot: Snapshot) -> dict[str, Array]:
    """Return the joined rows of the events whose label is known, with the target.

    Args:
        use_case: The declaration.
        snapshot: A validated snapshot.

    Returns:
        Columns of the events and of the tables, and the target as float64; one row per labelled event, in the events'
        order.
    """
    events, labels = snapshot.data[EVENTS], snapshot.data[LABELS]
    outcome = dict(zip(labels[use_case.key].tolist(), labels[use_case.target].tolist(), strict=True))
    target = np.array([outcome.get(key, np.nan) for key in events[use_case.key].tolist()], dtype=np.float64)
    known = ~np.isnan(target)
    rows = join(
        use_case, c.select_rows(events, known), {table.name: snapshot.data[table.name] for table in use_case.tables}
    )
    return rows | {use_case.target: target[known]}


def assign_folds(use_case: UseCase, times: Array, as_of: np.datetime64, unseen_since: np.datetime64 | None) -> Array:
    """Return the fold of each row.

    Args:
        use_case: The declaration: the share that is held out, and how long the champion is judged.
        times: Event times in ascending order.
        as_of: The data time of the snapshot.
        unseen_since: The newest event time in the champion's training; None without a champion.

    Raises:
        DataError: When too few rows are left to fit or to hold out.
    """
    fold = np.full(len(times), FIT, dtype=object)
    if unseen_since is not None:
        judge = (times >= as_of - np.timedelta64(use_case.champion.judged_on, "us")) & (times > unseen_since)
        # Too few new rows cannot decide a comparison; the challenger learns from them instead.
        if judge.sum() >= FEWEST:
            fold[judge] = JUDGE
    rest = np.flatnonzero(fold == FIT)
    cut = len(rest) - round(use_case.holdout * len(rest))
    if min(cut, len(rest) - cut) < FEWEST:
        raise DataError(
            f"{len(rest)} rows with labels",
            f"leave {cut} to fit and {len(rest) - cut} to hold out",
            expected=f"at least {FEWEST} of each",
            fix=f"widen history (now {use_case.history}) or wait for labels",
        )
    # Rows with the same event time stay in one fold.
    instant = times[rest[cut]]
    fold[rest[times[rest] >= instant]] = HOLDOUT
    left = int((fold == FIT).sum())
    if left < FEWEST:
        raise DataError(
            use_case.event_time,
            (
                f"is {format_time(instant)} in {int((times[rest] == instant).sum())} of {len(rest)} "
                f"rows with labels; rows of one instant stay in one fold, which leaves {left} to fit"
            ),
            expected=f"at least {FEWEST}",
            fix="give each event the time at which its prediction is requested",
        )
    return fold
