"""The comparison of a challenger with the champion: how much less it loses on the same rows, and how sure that is.

Rows of one day are not independent, so days are the unit: the interval of the difference of the losses is a t-interval
over the days of a delete-one-day jackknife (for a mean loss, the ratio of the day sums). Every challenger is another
look at the same champion, so look k gets the level ALPHA · 6 / (π² k²): all looks together promote a challenger that is
no better in at most ALPHA of the cases, however often training runs.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass

import numpy as np

from millrace import UseCase
from millrace.documents import Comparison, Verdict
from millrace.metrics import Problem, get_direction
from training.columns import Array
from training.metrics import compute_log_losses, compute_metric, convert_to_loss

#: How often a challenger that is no better may take the champion's place, over all looks at one champion.
ALPHA = 0.05

#: Metric → loss of each row, for the metrics that are the mean of one.
_ROW_LOSSES: dict[str, Callable[[Array, Array], Array]] = {
    "brier": lambda y, p: (p - y) ** 2,
    "log_loss": compute_log_losses,
    "mae": lambda y, p: np.abs(p - y),
}


@dataclass(frozen=True)
class Gain:
    """How much less a challenger loses than the champion, with its interval.

    Attributes:
        challenger: The challenger's metric.
        champion: The champion's metric.
        loss: The champion's loss, of which the margin is a share.
        estimate: The champion's loss less the challenger's.
        lower: The lower end of the interval of the estimate; minus infinity where the blocks are too few.
        upper: Its upper end; infinity where the blocks are too few.
        blocks: How many blocks of time the rows come from.
    """

    challenger: float
    champion: float
    loss: float
    estimate: float
    lower: float
    upper: float
    blocks: int


def find_level(look: int) -> float:
    """Return the level of a look at a champion.

    Args:
        look: 1 for the first challenger that is compared with it, and so on.
    """
    return ALPHA * 6.0 / (math.pi**2 * look**2)


def number_blocks(times: Array, block: np.timedelta64) -> Array:
    """Return the number of the block of time of each row: 0, 1, … without gaps, in the order of time.

    Args:
        times: n times, `datetime64`.
        block: The length of a block; blocks of a day are days of UTC.
    """
    since_epoch = (times - np.datetime64(0, "us")).astype("timedelta64[us]")
    return np.unique(since_epoch // block.astype("timedelta64[us]"), return_inverse=True)[1]


def estimate_gain(
    problem: Problem, metric: str, y: Array, challenger: Array, champion: Array, blocks: Array, level: float
) -> Gain | None:
    """Return how much less the challenger loses than the champion on the same rows.

    A metric of which higher values are better counts as the loss 1 - metric.

    Args:
        problem: The problem type.
        metric: The metric that decides.
        y: The outcomes of n rows.
        challenger: The challenger's n predictions.
        champion: The champion's n predictions.
        blocks: The block of each row, as :func:`number_blocks` gives it.
        level: The share of intervals that miss the true difference.

    Returns:
        The gain; None where the metric is undefined on the rows, or without the rows of one block.
    """
    from scipy.special import stdtrit

    values = [compute_metric(problem, metric, y, p) for p in (challenger, champion)]
    count = int(blocks.max()) + 1
    apart = [_leave_out_blocks(problem, metric, y, p, blocks, count) for p in (challenger, champion)]
    if not np.isfinite([*values, *np.concatenate(apart)]).all():
        return None
    losses = [convert_to_loss(problem, metric, value) for value in values]
    differences = apart[0] - apart[1] if get_direction(problem, metric) == "higher" else apart[1] - apart[0]
    estimate, reach = losses[1] - losses[0], math.inf
    if count > 1:
        error = math.sqrt((count - 1) / count * float(np.sum((differences - differences.mean()) ** 2)))
        reach = float(stdtrit(count - 1, 1.0 - level / 2.0)) * error
    return Gain(values[0], values[1], losses[1], estimate, estimate - reach, estimate + reach, count)


def _leave_out_blocks(problem: Problem, metric: str, y: Array, p: Array, blocks: Array, count: int) -> Array:
    """Return the metric of all rows but those of a block, for each block; none where there is only one block."""
    if count < 2:
        return np.empty(0)
    if metric in _ROW_LOSSES:
        sums = np.bincount(blocks, weights=_ROW_LOSSES[metric](y, p), minlength=count)
        rows = np.bincount(blocks, minlength=count)
        return np.asarray((sums.sum() - sums) / (rows.sum() - rows))
    kept = (blocks != block for block in range(count))
    return np.array([compute_metric(problem, metric, y[rows], p[rows]) for rows in kept])


def find_verdict(gain: Gain, margin: float) -> Verdict:
    """Return whether a challenger is better, beaten, or cannot be told from the champion yet.

    Args:
        gain: Its gain over the champion.
        margin: The gain that it needs.
    """
    if gain.lower > 0.0 and gain.estimate >= margin:
        return Verdict.BETTER
    return Verdict.BEATEN if gain.upper < margin else Verdict.UNDECIDED


def compare_predictions(
    case: UseCase,
    y: Array,
    challenger: Array,
    champion: Array,
    times: Array,
    *,
    look: int,
    version: str,
    rows: str,
) -> Comparison:
    """Return the comparison of two models on rows that neither was fitted on.

    Args:
        case: The declaration: metric, margin and block.
        y: The outcomes of n rows.
        challenger: The challenger's n predictions.
        champion: The champion's n predictions.
        times: The n event times.
        look: Which challenger of this champion it is, from 1.
        version: The champion, for people.
        rows: Which rows they are, for people.
    """
    metric, level = case.champion_metric, find_level(look)
    blocks = number_blocks(times, np.timedelta64(case.champion.block, "us"))
    gain = estimate_gain(case.problem, metric, y, challenger, champion, blocks, level)
    if gain is None:
        text = f"{metric} is undefined on {rows}, or without one block of them: they contain too few of an outcome"
        return Comparison(text=text, rows=len(y), metric=metric, verdict=Verdict.UNDECIDED, look=look, level=level)
    margin = case.champion.better_by * gain.loss
    verdict = find_verdict(gain, margin)
    # JSON has no infinity.
    interval = (gain.lower, gain.upper) if gain.blocks > 1 else (None, None)
    found = Comparison(
        rows=len(y),
        metric=metric,
        champion=gain.champion,
        challenger=gain.challenger,
        verdict=verdict,
        gain=gain.estimate,
        lower=interval[0],
        upper=interval[1],
        margin=margin,
        look=look,
        level=level,
        blocks=gain.blocks,
    )
    return found.model_copy(update={"text": _describe(found, version, rows)})


def _describe(found: Comparison, version: str, rows: str) -> str:
    """Return a comparison as a sentence; the registry keeps the first 256 characters of it."""
    gain, margin = found.gain or 0.0, found.margin or 0.0
    reach = "one block of time gives no interval"
    if found.lower is not None and found.upper is not None:
        reach = f"interval {found.lower:.5f} to {found.upper:.5f}, look {found.look}"
    return (
        f"{_VERDICTS[found.verdict]} {version}: {found.metric} {found.challenger:.5f} against {found.champion:.5f} on "
        f"{rows}, {'better' if gain >= 0 else 'worse'} by {abs(gain):.5f}; {reach}, needed {margin:.5f}"
    )


_VERDICTS = {
    Verdict.BETTER: "better than",
    Verdict.BEATEN: "no better than",
    Verdict.UNDECIDED: "not yet told apart from",
    None: "not compared with",
}
