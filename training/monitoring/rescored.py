"""The served rows scored once more: the serving version's own code gets what was asked, and has to answer the same.

Where it does not, the server made other features of a request than this code does, or another score of them: it reads
another unit when it serves, runs in another environment, or is not the model that the registry names.
"""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import numpy as np

from millrace.watching import MonitorAlarm
from training import columns as c
from training.columns import Array, Columns
from training.modeling.fingerprint import TOLERANCE
from training.modeling.score import Scored, score_with
from training.modeling.train import SCORE
from training.monitoring.skew import Pairs
from training.monitoring.window import Window
from training.registry import Package

#: The largest difference at which a served score counts as the current model's, and its share of a large score: an
#: estimator that computes in float32 rounds otherwise for one row than for many.
SAME_SCORE, SAME_SHARE = 1e-6, 1e-5


@dataclass(frozen=True)
class Rescored:
    """What the serving version's own code makes of the served rows whose inputs are all known.

    Attributes:
        features: Their features.
        joined: The features of the pairs' rows as training would have them; empty without pairs.
        by_current: How many have the score that they were answered with; None where there are no such rows.
    """

    features: Columns
    joined: Columns
    by_current: int | None


def score_rows(window: Window, pairs: Pairs | None, package: Package, scratch: Path) -> Rescored:
    """Score the served rows, and those that training would have in their place, in one run of the model's code.

    Args:
        window: The window, to which checks are added where the serving version answered otherwise.
        pairs: The rows that are compared with training; None where there are none.
        package: The serving model, whose own code makes the features.
        scratch: A folder for temporary files.

    Returns:
        The features of both.
    """
    if not window.complete.any():
        return Rescored({}, {}, None)
    complete = window.select(window.complete)
    inputs = {name: column for name, column in complete.items() if name != SCORE}
    count = c.count_rows(inputs)
    # A column that only requests have is the same on both sides.
    joined = {} if pairs is None else {name: pairs.joined.get(name, pairs.served[name]) for name in inputs}
    both = {
        name: np.concatenate([column, joined[name].astype(column.dtype)]) if joined else column
        for name, column in inputs.items()
    }
    scored = score_with(package.folder, both, scratch)
    mine = Scored(
        scored.scores[:count],
        {name: values[:count] for name, values in scored.features.items()},
        scored.fingerprints[:count],
    )
    same = np.isclose(mine.scores, complete[SCORE], rtol=SAME_SHARE, atol=SAME_SCORE)
    if window.serving:
        _check_answers(window, mine, same)
    theirs = {name: values[count:] for name, values in scored.features.items()} if joined else {}
    return Rescored(mine.features, theirs, int(same.sum()))


def _check_answers(window: Window, scored: Scored, same: Array) -> None:
    """Judge the rows of which it is known that the serving version answered them."""
    mine = window.versions[window.complete] == window.serving
    with np.errstate(invalid="ignore"):
        moved = np.abs(scored.fingerprints - window.fingerprints[window.complete])
        # A fingerprint that is not known differs from none.
        other = mine & (moved > TOLERANCE)
    wrong, count = mine & ~same & ~other, int(mine.sum())
    for subject, rows, text in (
        ("features", other, "were scored from other features than the model's own code makes of the same request"),
        ("score", wrong & ~np.isnan(moved), "have another score than the model gives to the same features"),
        ("answer", wrong & np.isnan(moved), "have another score than the model gives to the same request"),
    ):
        if found := int(rows.sum()):
            bound = window.case.monitoring.skew_alarm
            window.add_check(MonitorAlarm.SKEW, found / count, bound, f"{found} of {count} rows {text}", subject)
