"""The served rows scored once more: the serving version's own code gets what was asked, and has to answer the same.

Where it does not, the server made other features of a request than this code does, or another score of them: it reads
another unit when it serves, runs in another environment, or is not the model that the registry names.
"""

from __future__ import annotations

from pathlib import Path

import numpy as np

from millrace.watching import MonitorAlarm
from training.columns import Array, Columns
from training.modeling.fingerprint import TOLERANCE
from training.modeling.score import Scored, score_with
from training.modeling.train import SCORE
from training.monitoring.window import Window
from training.registry import Package

#: The largest difference at which a served score counts as the current model's.
SAME_SCORE = 1e-6


def score_rows(window: Window, package: Package, scratch: Path) -> tuple[Columns, int | None]:
    """Return the features of the rows whose inputs are all known, and how many have the score that they were given.

    Args:
        window: The window, to which checks are added where the serving version answered otherwise.
        package: The serving model, whose own code makes the features.
        scratch: A folder for temporary files.
    """
    if not window.complete.any():
        return {}, None
    complete = window.select(window.complete)
    inputs = {name: column for name, column in complete.items() if name != SCORE}
    scored = score_with(package.folder, inputs, scratch)
    same = np.abs(scored.scores - complete[SCORE]) <= SAME_SCORE
    if window.serving:
        _check_answers(window, scored, same)
    return scored.features, int(same.sum())


def _check_answers(window: Window, scored: Scored, same: Array) -> None:
    """Judge the rows of which it is known that the serving version answered them."""
    mine = window.versions[window.complete] == window.serving
    with np.errstate(invalid="ignore"):
        # A fingerprint that is not known differs from none.
        other = mine & (np.abs(scored.fingerprints - window.fingerprints[window.complete]) > TOLERANCE)
    count = int(mine.sum())
    for subject, rows, text in (
        ("features", other, "were scored from other features than the model's own code makes of the same request"),
        ("score", mine & ~same & ~other, "have another score than the model gives to the same features"),
    ):
        if found := int(rows.sum()):
            bound = window.case.monitoring.skew_alarm
            window.add_check(MonitorAlarm.SKEW, found / count, bound, f"{found} of {count} rows {text}", subject)
