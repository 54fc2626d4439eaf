"""`make rates`: how often the comparison of challenger and champion decides wrongly, on data with a known truth.

The rates are those of the rule with its default settings; the tests hold the same rates on fewer draws.
"""

from __future__ import annotations

import itertools
from collections.abc import Callable

import numpy as np
from rich.console import Console
from rich.progress import track
from rich.table import Table
from sklearn.linear_model import LogisticRegression

from benchmarks import simulated
from benchmarks.simulated import Array
from millrace import UseCase
from millrace.documents import Verdict
from training.modeling.champion import compare_predictions

CASE = UseCase(name="rates", target="y", key="k", event_time="t")
#: The share of the champion's loss that a challenger must gain.
MARGIN = CASE.champion.better_by
LOOKS, CHAMPIONS, REFITTED, DECISIONS = 30, 500, 200, 2000
#: The standard deviation of a day's own effect, in log-odds, and the share of the models' errors that a day shares.
DAYS = {"independent rows": (0.0, 0.0), "days differ": (0.4, 0.3)}
#: Inputs of the model in the comparison of real fits.
_INPUTS = 10

#: Draws the rows that judge, and the predictions of a challenger and of the champion.
Draw = Callable[[np.random.Generator], tuple[simulated.Rows, Array, Array]]
#: Draws a champion, and returns how its challengers are drawn.
Begin = Callable[[np.random.Generator], Draw]


def main() -> None:
    """Simulate and print the table."""
    table = Table("challenger", "judged on", "days", "promoted", "of them worse", "beaten", "undecided", "bound")
    twice = 2 * MARGIN * simulated.LOSS
    kinds = {
        "equal, 30 in a row": (0.001, 0.001, LOOKS, "≤ 5 % ever promoted"),
        "worse by the margin": (0.001 + MARGIN * simulated.LOSS, 0.001, 1, "≤ 1 % promoted"),
        "better by twice the margin": (0.0, twice, 1, "≥ 80 % of 5,000 independent rows"),
    }
    cases = [
        (kind, rows, days, _draw_errors(rows, mine, theirs, days), looks, bound, CHAMPIONS if looks > 1 else DECISIONS)
        for (kind, (mine, theirs, looks, bound)), rows, days in itertools.product(kinds.items(), (500, 5000), DAYS)
    ]
    cases += [
        (f"refit on {fitted:,} rows, 30 in a row", 5000, days, _draw_fits(fitted, days), LOOKS, "≤ 5 %", REFITTED)
        for fitted, days in itertools.product((5_000, 20_000), DAYS)
    ]
    for kind, rows, days, begin, looks, bound, champions in track(cases, console=Console(stderr=True), transient=True):
        shares = _simulate(begin, looks, champions)
        table.add_row(kind, f"{rows:,}", days, *(f"{share:.1%}" for share in shares), bound)
    Console(width=150).print(table)


def _simulate(begin: Begin, looks: int, champions: int) -> tuple[float, float, float, float]:
    """Return the shares of champions that ever lost their place, and to a worse model; then of beaten and undecided."""
    rng = np.random.default_rng(2026)
    fallen, worse, verdicts = 0, 0, list[Verdict | None]()
    for _ in range(champions):
        draw = begin(rng)
        lost = []
        for look in range(1, looks + 1):
            rows, challenger, champion = draw(rng)
            verdicts.append(_judge(rows, challenger, champion, look))
            if verdicts[-1] is Verdict.BETTER:
                errors = [np.mean((p - rows.probability) ** 2) for p in (challenger, champion)]
                lost.append(errors[0] >= errors[1])
        fallen, worse = fallen + bool(lost), worse + any(lost)
    shares = [verdicts.count(verdict) / len(verdicts) for verdict in (Verdict.BEATEN, Verdict.UNDECIDED)]
    return fallen / champions, worse / champions, shares[0], shares[1]


def _judge(rows: simulated.Rows, challenger: Array, champion: Array, look: int) -> Verdict | None:
    found = compare_predictions(
        CASE, rows.y, challenger, champion, rows.times, look=look, version="the champion", rows="made rows"
    )
    return found.verdict


def _draw_errors(count: int, mine: float, theirs: float, days: str) -> Begin:
    """Return draws of models whose expected Brier scores are above the truth's by given amounts."""
    effect, shared = DAYS[days]

    def draw(rng: np.random.Generator) -> tuple[simulated.Rows, Array, Array]:
        rows = simulated.draw_rows(rng, count, 28, day_effect=effect)
        challenger, champion = (simulated.predict(rng, rows, excess, shared=shared) for excess in (mine, theirs))
        return rows, challenger, champion

    return lambda _: draw


def _draw_fits(fitted: int, days: str) -> Begin:
    """Return draws of fits of one recipe on samples of one size, as two trainings on equally much data are."""
    slopes = np.linspace(-0.6, 0.6, _INPUTS)

    def draw_day_rows(rng: np.random.Generator, count: int) -> tuple[simulated.Rows, Array]:
        inputs = rng.standard_normal((count, _INPUTS))
        day = np.arange(count) * 28 // count
        known = inputs @ slopes - 1.2
        # What a day adds to its outcomes, no model knows.
        shift = DAYS[days][0] * rng.standard_normal(28)[day]
        y = (rng.random(count) < 1 / (1 + np.exp(-known - shift))).astype(np.float64)
        times = np.datetime64("2026-01-01", "us") + day * np.timedelta64(1, "D")
        return simulated.Rows(times, day, 1 / (1 + np.exp(-known)), y), inputs

    def fit(rng: np.random.Generator) -> LogisticRegression:
        rows, inputs = draw_day_rows(rng, fitted)
        return LogisticRegression(C=1e6).fit(inputs, rows.y)

    def begin(rng: np.random.Generator) -> Draw:
        champion = fit(rng)

        def draw(rng: np.random.Generator) -> tuple[simulated.Rows, Array, Array]:
            rows, inputs = draw_day_rows(rng, 5000)
            challenger = fit(rng)
            return rows, challenger.predict_proba(inputs)[:, 1], champion.predict_proba(inputs)[:, 1]

        return draw

    return begin


if __name__ == "__main__":
    main()
