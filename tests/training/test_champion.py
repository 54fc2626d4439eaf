"""The comparison of challenger and champion: its interval against scipy's, and the error rates of its decisions."""

from __future__ import annotations

import math
from datetime import timedelta

import numpy as np
import pytest
from scipy import stats
from sklearn.metrics import average_precision_score, mean_absolute_error, roc_auc_score

from benchmarks import simulated
from benchmarks.simulated import Array
from millrace import Champion
from millrace.documents import Verdict
from millrace.metrics import METRICS, Problem
from tests.training import synthetic
from training.modeling.champion import (
    ALPHA,
    Gain,
    compare_predictions,
    estimate_gain,
    find_level,
    find_verdict,
    number_blocks,
)

#: The share of the champion's loss that a challenger must gain by default.
MARGIN = 0.005


def test_all_looks_together_spend_the_level() -> None:
    levels = [find_level(look) for look in range(1, 200_000)]
    assert levels == sorted(levels, reverse=True)
    assert sum(levels) == pytest.approx(ALPHA, abs=1e-6)


def test_blocks_are_days_of_utc_without_gaps() -> None:
    times = np.array(["2026-01-01T23:59", "2026-01-02T00:00", "2026-01-05T12:00", "1969-12-31T23:00"], "M8[us]")
    assert number_blocks(times, np.timedelta64(1, "D")).tolist() == [1, 2, 3, 0]
    assert number_blocks(times, np.timedelta64(36, "h")).tolist() == [1, 1, 2, 0]


def draw_pair(rows: int = 560, days: int = 28) -> tuple[simulated.Rows, Array, Array]:
    rng = np.random.default_rng(3)
    drawn = simulated.draw_rows(rng, rows, days, day_effect=0.3)
    challenger, champion = (simulated.predict(rng, drawn, excess).clip(0.01, 0.99) for excess in (0.001, 0.004))
    return drawn, challenger, champion


@pytest.mark.parametrize(("problem", "metric"), [
    (Problem.BINARY, "brier"), (Problem.BINARY, "log_loss"), (Problem.REGRESSION, "mae")
])  # fmt: skip
def test_days_of_one_size_give_the_t_interval_of_their_means(problem: Problem, metric: str) -> None:
    rows, challenger, champion = draw_pair()
    losses = {
        "brier": lambda p: (p - rows.y) ** 2,
        "log_loss": lambda p: -np.log(np.where(rows.y == 1, p, 1 - p)),
        "mae": lambda p: np.abs(p - rows.y),
    }[metric]
    days = (losses(champion) - losses(challenger)).reshape(28, 20).mean(axis=1)
    expected = stats.ttest_1samp(days, 0.0).confidence_interval(0.97)
    found = estimate_gain(problem, metric, rows.y, challenger, champion, rows.day, 0.03)
    assert found is not None
    assert (found.estimate, found.lower, found.upper) == pytest.approx((days.mean(), *expected), rel=1e-9)
    assert (found.champion, found.loss) == pytest.approx((losses(champion).mean(),) * 2, rel=1e-12)


@pytest.mark.parametrize(("metric", "score"), [
    ("roc_auc", roc_auc_score), ("average_precision", average_precision_score)
])  # fmt: skip
def test_a_metric_that_is_no_mean_is_judged_without_one_day_at_a_time(metric: str, score: object) -> None:
    rows, challenger, champion = draw_pair()
    assert callable(score)
    gains = np.array(
        [
            score(rows.y[kept], challenger[kept]) - score(rows.y[kept], champion[kept])
            for kept in (rows.day != day for day in range(28))
        ]
    )
    error = math.sqrt(27 / 28 * np.sum((gains - gains.mean()) ** 2))
    estimate = score(rows.y, challenger) - score(rows.y, champion)
    reach = stats.t.ppf(0.985, 27) * error
    found = estimate_gain(Problem.BINARY, metric, rows.y, challenger, champion, rows.day, 0.03)
    assert found is not None
    assert (found.estimate, found.lower, found.upper) == pytest.approx(
        (estimate, estimate - reach, estimate + reach), rel=1e-6
    )
    assert found.loss == pytest.approx(1 - score(rows.y, champion))


def test_every_metric_that_a_champion_rule_may_name_can_be_compared() -> None:
    rows, challenger, champion = draw_pair()
    for problem, names in METRICS.items():
        for metric in names:
            found = estimate_gain(problem, metric, rows.y, challenger, champion, rows.day, 0.05)
            assert found is not None, metric
            assert found.lower < found.estimate < found.upper, metric


def test_a_metric_that_a_day_alone_defines_decides_nothing() -> None:
    """Without the only day with positives, the area under the curve is undefined."""
    rows, challenger, champion = draw_pair()
    y = np.where(rows.day == 4, rows.y, 0.0)
    assert estimate_gain(Problem.BINARY, "roc_auc", y, challenger, champion, rows.day, 0.05) is None
    case = synthetic.use_case(champion=Champion(metric="roc_auc"))
    found = compare_predictions(case, y, challenger, champion, rows.times, look=1, version="v", rows="560 rows")
    assert found.verdict is Verdict.UNDECIDED
    assert found.text.startswith("roc_auc is undefined on 560 rows")


@pytest.mark.parametrize(("lower", "estimate", "upper", "verdict"), [
    (0.001, 0.010, 0.019, Verdict.BETTER),
    (0.001, 0.004, 0.007, Verdict.UNDECIDED),  # surely better, but the gain may be below the margin of .005
    (0.001, 0.002, 0.003, Verdict.BEATEN),  # surely better, and surely by less than the margin
    (-0.001, 0.010, 0.021, Verdict.UNDECIDED),
    (-0.004, 0.000, 0.004, Verdict.BEATEN),
    (-math.inf, 0.010, math.inf, Verdict.UNDECIDED),
])  # fmt: skip
def test_the_verdict(lower: float, estimate: float, upper: float, verdict: Verdict) -> None:
    assert find_verdict(Gain(0.0, 0.0, 1.0, estimate, lower, upper, 5), margin=0.005) is verdict


def test_rows_of_one_day_decide_nothing() -> None:
    rows, challenger, champion = draw_pair()
    case = synthetic.use_case(champion=Champion(block=timedelta(days=100_000)))
    found = compare_predictions(case, rows.y, challenger, champion, rows.times, look=1, version="v", rows="560 rows")
    assert (found.verdict, found.blocks, found.lower, found.upper) == (Verdict.UNDECIDED, 1, None, None)
    assert "one block of time gives no interval" in found.text


def test_a_comparison_tells_all_that_it_rests_on() -> None:
    rows, challenger, champion = draw_pair(5600)
    case = synthetic.use_case()
    found = compare_predictions(
        case,
        rows.y,
        challenger,
        champion,
        rows.times,
        look=2,
        version="champion version 3",
        rows="the 5600 newest rows",
    )
    assert (found.rows, found.blocks, found.look) == (5600, 28, 2)
    assert found.level == pytest.approx(0.05 * 6 / math.pi**2 / 4)
    assert (found.champion, found.challenger) == pytest.approx(
        (mean_absolute_error((champion - rows.y) ** 2, np.zeros(5600)), np.mean((challenger - rows.y) ** 2))
    )
    assert found.margin == pytest.approx(0.005 * (found.champion or 0))
    assert found.text == (
        f"better than champion version 3: brier {found.challenger:.5f} against {found.champion:.5f} on the 5600 newest "
        f"rows, better by {found.gain:.5f}; interval {found.lower:.5f} to {found.upper:.5f}, look 2, needed "
        f"{found.margin:.5f}"
    )


# -- error rates -------------------------------------------------------------------------------------------------------


def judge(rng: np.random.Generator, excesses: tuple[float, float], look: int, day_effect: float) -> Verdict | None:
    """Judge a challenger against a champion, whose Brier scores are above the truth's by the given excesses."""
    rows = simulated.draw_rows(rng, 5000, 28, day_effect=day_effect)
    shared = 0.3 if day_effect else 0.0
    challenger, champion = (simulated.predict(rng, rows, excess, shared=shared) for excess in excesses)
    found = compare_predictions(
        synthetic.use_case(), rows.y, challenger, champion, rows.times, look=look, version="champion", rows="the rows"
    )
    return found.verdict


@pytest.mark.parametrize("day_effect", [0.0, 0.4])
def test_an_equal_challenger_is_hardly_ever_promoted_over_thirty_looks(day_effect: float) -> None:
    rng = np.random.default_rng(11)
    champions = 60
    fallen = sum(
        any(judge(rng, (0.001, 0.001), look, day_effect) is Verdict.BETTER for look in range(1, 31))
        for _ in range(champions)
    )
    # 5 % are allowed; of 60 champions more than 7 would fall in 2 of 100 runs at that rate.
    assert fallen <= stats.binom.ppf(0.98, champions, 0.05)


@pytest.mark.parametrize("day_effect", [0.0, 0.4])
def test_a_challenger_worse_by_the_margin_is_not_promoted(day_effect: float) -> None:
    rng = np.random.default_rng(12)
    worse = 0.001 + MARGIN * simulated.LOSS
    promoted = sum(judge(rng, (worse, 0.001), 1, day_effect) is Verdict.BETTER for _ in range(400))
    assert promoted <= stats.binom.ppf(0.98, 400, 0.01)


def test_a_gain_of_twice_the_margin_is_promoted_at_the_first_look() -> None:
    rng = np.random.default_rng(13)
    gained = 2 * MARGIN * simulated.LOSS
    verdicts = [judge(rng, (0.0, gained), 1, 0.0) for _ in range(400)]
    assert verdicts.count(Verdict.BETTER) >= stats.binom.ppf(0.02, 400, 0.8)
    assert verdicts.count(Verdict.BEATEN) == 0
