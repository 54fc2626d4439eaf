"""The rows that were served in the monitor's window, with what is known about them now."""

from __future__ import annotations

from dataclasses import dataclass, field
from functools import cached_property

import numpy as np

from millrace import UseCase
from millrace.monitor_report import Check
from training import columns as c
from training.columns import Array, Columns
from training.data.maturity import Maturity
from training.modeling.champion import number_blocks
from training.modeling.train import SCORE


@dataclass
class Window:
    """The served rows of the window.

    Attributes:
        case: The declaration.
        since: The start of the window, inclusive.
        now: Its end, exclusive: the data time.
        rows: Key, event time, inputs and score of each row.
        complete: Mask of the rows whose inputs are all known.
        versions: The version that answered each row; 0 where the answer does not say.
        fingerprints: The fingerprint of the features that each row was scored with; NaN where the answer has none.
        y: The outcome of each row; NaN where none has arrived.
        serving: The version that serves; 0 where it is of no package.
        maturity: How labels arrive, as the serving model was trained on them.
        notes: Sentences for people, which measurements add to.
        checks: What was judged, which measurements add to.
    """

    case: UseCase
    since: np.datetime64
    now: np.datetime64
    rows: Columns
    complete: Array
    versions: Array
    fingerprints: Array
    y: Array
    serving: int
    maturity: Maturity
    notes: list[str] = field(default_factory=list)
    checks: list[Check] = field(default_factory=list)

    @property
    def times(self) -> Array:
        """The event time of each row."""
        return self.rows[self.case.event_time]

    @property
    def scores(self) -> Array:
        """The score that each row was answered with."""
        return self.rows[SCORE]

    @cached_property
    def current(self) -> Array:
        """Mask of the rows that the serving version answered; answers of earlier servers do not say which it was."""
        return np.isin(self.versions, [0, self.serving])

    @cached_property
    def mature(self) -> Array:
        """Mask of the rows whose outcome is certain by now, if it has arrived."""
        return np.asarray(self.times <= self.now - self.maturity.after)

    @cached_property
    def days(self) -> Array:
        """The number of each row's block of time, which is independent of others: 0, 1, … in the order of time."""
        return number_blocks(self.times, np.timedelta64(self.case.champion.block, "us"))

    def select(self, chosen: Array) -> dict[str, Array]:
        """Return the chosen rows.

        Args:
            chosen: A mask of the rows.
        """
        return c.select_rows(self.rows, chosen)

    def add_check(
        self, alarm: str, value: float, threshold: float, text: str, subject: str = "", cause: str = ""
    ) -> None:
        """Add what was judged; above its threshold, the alarm fires.

        Args:
            alarm: The alarm.
            value: What was measured.
            threshold: What it may be, in the same unit; positive.
            text: What was found, as a sentence without its full stop.
            subject: The column, group, table or day.
            cause: The likely cause, as a clause.
        """
        ratio = max(0.0, value / threshold)
        self.checks.append(
            Check(alarm=alarm, subject=subject, value=value, threshold=threshold, ratio=ratio, text=text, cause=cause)
        )
