"""Cases without a fault, in which no alarm fires and no gate fails."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from functools import partial

import numpy as np

from millrace import Slice, UseCase
from tests.faults import served, trained
from tests.faults.planted import Found
from tests.faults.served import draw, firing, relabel
from tests.faults.world import VERSION, Serving, declare, serve
from tests.training import synthetic
from training.columns import Array
from training.modeling.model import Model


@dataclass(frozen=True)
class Clean:
    """A case without a fault.

    Attributes:
        name: What it is, as a clause.
        find: Returns all that is found, which should be nothing.
    """

    name: str
    find: Callable[[], Found]


CASES: list[Clean] = []


def clean(name: str) -> Callable[[Callable[[], Found]], Callable[[], Found]]:
    """Register a function that returns what is found in a case without a fault."""

    def register(find: Callable[[], Found]) -> Callable[[], Found]:
        CASES.append(Clean(name, find))
        return find

    return register


def redraw(serving: Serving, seed: int) -> Serving:
    """Draw the outcomes again, with the probabilities of the model that serves: it is perfect."""
    from tests.faults.world import train

    model = Model.load(train("binary").folder, synthetic.functions(serving.case))
    scores = model.predict(serving.asked)
    place = {key: row for row, key in enumerate(serving.asked["order_id"].tolist())}

    def drawn(_: Array, rows: dict[str, Array]) -> Array:
        at = np.array([place[key] for key in rows["order_id"].tolist()])
        return (draw(seed, len(scores)) < scores)[at].astype(float)

    return relabel(serving, drawn)


def _watch_perfect(seed: int) -> Found:
    return firing(redraw(serve(), seed))


CASES += [Clean(f"a perfect model, outcomes of seed {seed}", partial(_watch_perfect, seed)) for seed in range(5)]


@clean("the world of training")
def _() -> Found:
    return firing(serve())


@clean("the world of training, a regression")
def _() -> Found:
    return firing(serve("regression"))


@clean("a quarter of the callers")
def _() -> Found:
    serving = serve()
    serving.answered &= np.arange(len(serving.times)) % 4 == 0
    return firing(serving)


@clean("a quarter of the callers, a regression")
def _() -> Found:
    serving = serve("regression")
    serving.answered &= np.arange(len(serving.times)) % 4 == 1
    return firing(serving)


@clean("weekends with a third of the requests")
def _() -> Found:
    serving = serve()
    weekday = serving.times.astype("datetime64[D]").astype(int) % 7
    serving.answered &= ~np.isin(weekday, [2, 3]) | (np.arange(len(serving.times)) % 3 == 0)
    return firing(serving)


@clean("days that differ by chance")
def _() -> Found:
    serving = serve()
    day = serving.times.astype("datetime64[D]").astype(int)
    kept = 0.5 + 0.5 * np.random.default_rng(1).random(int(day.max()) + 1)
    serving.answered &= draw(2, len(day)) < kept[day]
    return firing(serving)


@clean("half of the requests are captured, as declared")
def _() -> Found:
    serving = serve()
    serving.sampled = serving.captured = 0.5
    return firing(serving)


@clean("one request in fifty is refused")
def _() -> Found:
    serving = serve()
    serving.refused = len(serving.times) // 50
    return firing(serving)


@clean("one outcome in ten never arrives")
def _() -> Found:
    return firing(served.without_labels(serve(), lambda labels: draw(3, len(labels["late"])) < 0.1))


@clean("a new version serves since a week")
def _() -> Found:
    serving = serve()
    serving.versions[~serving.is_in(7)] = VERSION - 1
    return firing(serving)


@clean("a training whose columns are honest")
def _() -> Found:
    return trained.train(declare())


@clean("a training whose columns are honest, a regression")
def _() -> Found:
    return trained.train(declare("regression"))


def _audit_equal_groups(seed: int) -> Found:
    case = UseCase(**{**declare().model_dump(), "slices": [Slice("band", max_tpr_gap=0.2, min_rows=200)]})
    y, p = trained.draw(20 + seed)
    return trained.judge(case, y, p, np.where(draw(seed, len(y)) < 0.5, "odd", "even").astype(object))


CASES += [Clean(f"two equal groups, outcomes of seed {seed}", partial(_audit_equal_groups, seed)) for seed in range(3)]
