"""Faults of what is served, captured, labelled and delivered, which the monitor must name."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from tests.faults.planted import Found, plant
from tests.faults.world import MINUTE, UNTIL, VERSION, Serving, serve
from training.columns import Array

DRIFT, SKEW, SILENCE, LABELS, QUALITY = "drift", "skew", "silence", "labels", "quality"


def firing(serving: Serving) -> Found:
    """Return the alarms that fire, with their sentences; `unmeasured` where the monitor could not judge."""
    report = serving.watch()
    found = [(check.alarm, check.text) for check in report.checks if check.ratio > 1]
    return found if report.measured else [*found, ("unmeasured", "; ".join(report.notes))]


def change_world(serving: Serving, column: str, change: Callable[[Array], Array]) -> Serving:
    """Change a column of the events for callers and training alike: the world has changed, and nothing is skewed."""
    serving.asked[column] = change(serving.asked[column])

    def changed(events: dict[str, Array]) -> dict[str, Array]:
        return {**events, column: change(events[column])}

    serving.changes["events"] = changed
    return serving


def draw(seed: int, count: int) -> Array:
    """Return random numbers from 0 to 1."""
    return np.random.default_rng(seed).random(count)


# -- drift -------------------------------------------------------------------------------------------------------------


@plant(DRIFT, "a number moves by its standard deviation", "drift", "size", "index")
def _() -> Found:
    return firing(change_world(serve(), "size", lambda size: (size + np.nanstd(size)).astype(np.float32)))


@plant(DRIFT, "a third of a column's texts are new", "drift", "kind", "are new")
def _() -> Found:
    return firing(change_world(serve(), "kind", lambda kind: np.where(draw(1, len(kind)) < 0.33, "z", kind)))


@plant(DRIFT, "forty percent of a number are missing", "drift", "size", "missing")
def _() -> Found:
    def lose(size: Array) -> Array:
        return np.where(draw(2, len(size)) < 0.4, np.nan, size).astype(np.float32)

    return firing(change_world(serve(), "size", lose))


@plant(DRIFT, "one caller in ten sends a number in another unit", "drift", "size", "are new")
def _() -> Found:
    serving = serve()
    wrong = draw(3, len(serving.times)) < 0.1
    serving.asked["size"] = np.where(wrong, serving.asked["size"] * 1000, serving.asked["size"]).astype(np.float32)
    return firing(serving)


@plant(DRIFT, "one text takes the place of the others", "drift", "kind", "index")
def _() -> Found:
    return firing(change_world(serve(), "kind", lambda kind: np.where(draw(4, len(kind)) < 0.8, "a", kind)))


@plant(DRIFT, "the scores move", "score-drift", "score", "index")
def _() -> Found:
    serving = serve()
    serving.rescore = lambda scores: scores**2
    return firing(serving)


@plant(DRIFT, "a table's column moves", "drift", "station_reports_wind", "index")
def _() -> Found:
    serving = serve()
    name = "station_reports_wind"
    serving.asked[name] = (serving.asked[name] + 8).astype(np.float32)
    serving.changes["station_reports"] = lambda rows: {**rows, "wind": (rows["wind"] + 8).astype(np.float32)}
    return firing(serving)


@plant(DRIFT, "the scores move with one feature, and the report says how much of it", "explained", "size", "score")
def _() -> Found:
    report = change_world(serve(), "size", lambda size: (size + 2 * np.nanstd(size)).astype(np.float32)).watch()
    return [("explained", f"{each.share:.0%} of the {each.of}: {each.feature}") for each in report.explained[:1]]


# -- skew --------------------------------------------------------------------------------------------------------------


@plant(SKEW, "callers send a number in a unit that is a fifth larger", "skew", "size", "factor of 1.2")
def _() -> Found:
    serving = serve()
    serving.asked["size"] = (serving.asked["size"] * 1.2).astype(np.float32)
    return firing(serving)


@plant(SKEW, "the store returns older records of the same entities", "skew", "queues_queue", "stale")
def _() -> Found:
    from tests.training import synthetic
    from training.data.ingest import fetch_tables
    from training.data.join import join

    serving = serve()
    functions = synthetic.functions(serving.case)
    since, day = serving.times.min(), np.timedelta64(1, "D")
    tables = fetch_tables(functions, since - day, UNTIL)
    tables["queues"] = {**tables["queues"], "counted_at": tables["queues"]["counted_at"] + day}
    events = {name: values for name, values in serving.asked.items() if not name.startswith(("station_", "queues_"))}
    old = join(serving.case, events, tables)
    serving.asked["queues_queue"] = old["queues_queue"]
    return firing(serving)


@plant(SKEW, "the model's code reads another unit when it serves", "skew", "other features than the model's own code")
def _() -> Found:
    serving = serve()
    serving.on_server = lambda rows: {**rows, "size": (rows["size"] * 1.2).astype(np.float32)}
    return firing(serving)


@plant(SKEW, "the endpoint answers with another model than the registry names", "skew", "another score than the model")
def _() -> Found:
    serving = serve()
    serving.rescore = lambda scores: np.where(draw(6, len(scores)) < 0.1, scores * 0.9, scores)
    return firing(serving)


@plant(SKEW, "callers' clocks are five hours ahead", "clock", "placed_at", "+5 hours")
def _() -> Found:
    serving = serve()
    serving.asked["placed_at"] = np.minimum(serving.times + 300 * MINUTE, UNTIL - MINUTE)
    return firing(serving)


@plant(SKEW, "callers send a default where a number is missing", "skew", "size", "default")
def _() -> Found:
    serving = serve()
    serving.asked["size"] = np.nan_to_num(serving.asked["size"], nan=3.0)
    return firing(serving)


@plant(SKEW, "the store does not return a table's values", "skew", "queues_queue", "missing where training has a value")
def _() -> Found:
    serving = serve()
    lost = draw(5, len(serving.times)) < 0.1
    serving.asked["queues_queue"] = np.where(lost, np.nan, serving.asked["queues_queue"]).astype(np.float32)
    return firing(serving)


@plant(SKEW, "callers write a text in capitals", "skew", "kind", "spelling")
def _() -> Found:
    serving = serve()
    kind = serving.asked["kind"]
    serving.asked["kind"] = np.array([None if text is None else str(text).upper() for text in kind], dtype=object)
    return firing(serving)


@plant(SKEW, "callers send one constant for a number", "skew", "size", "default, always 1")
def _() -> Found:
    serving = serve()
    serving.asked["size"] = np.ones(len(serving.times), dtype=np.float32)
    return firing(serving)


# -- silence -----------------------------------------------------------------------------------------------------------


@plant(SILENCE, "all of sixty requests are refused", "refusals", "60 of 60 requests")
def _() -> Found:
    serving = serve()
    serving.answered[:] = False
    serving.refused = 60
    return firing(serving)


@plant(SILENCE, "a tenth of the requests is refused", "refusals", "requests were refused")
def _() -> Found:
    serving = serve()
    serving.refused = len(serving.times) // 9
    return firing(serving)


@plant(SILENCE, "data capture is off", "capture", "capture is off")
def _() -> Found:
    serving = serve()
    serving.sampled = serving.captured = 0.0
    return firing(serving)


@plant(SILENCE, "the capture holds a fifth of the answers", "capture", "requests are captured of")
def _() -> Found:
    serving = serve()
    serving.captured = 0.2
    return firing(serving)


@plant(SILENCE, "capture files are cut in the middle", "capture", "cannot be read")
def _() -> Found:
    serving = serve()
    serving.unreadable = 300
    return firing(serving)


@plant(SILENCE, "nothing is asked any more", "unmeasured", "nothing was served")
def _() -> Found:
    serving = serve()
    serving.answered[:] = False
    return firing(serving)


@plant(SILENCE, "a dozen requests are too few to judge", "unmeasured", "no drift: 12 row(s)")
def _() -> Found:
    serving = serve()
    serving.answered[:-12] = False
    serving.changes["labels"] = lambda labels: {name: values[:0] for name, values in labels.items()}
    return firing(serving)


@plant(SILENCE, "no requests came on the newest day", "volume", "has 0 rows")
def _() -> Found:
    serving = serve()
    serving.answered &= ~serving.is_in(1)
    return firing(serving)


@plant(SILENCE, "a quarter of the callers is left since yesterday", "volume", "2024-04-28")
def _() -> Found:
    serving = serve()
    serving.answered &= ~serving.is_in(1) | (np.arange(len(serving.times)) % 4 == 0)
    return firing(serving)


@plant(SILENCE, "a feature table gets no new rows", "freshness", "station_reports", "hours old")
def _() -> Found:
    serving = serve()

    def stop(rows: dict[str, Array]) -> dict[str, Array]:
        kept = rows["known_at"] < UNTIL - np.timedelta64(1, "D")
        return {name: values[kept] for name, values in rows.items()}

    serving.changes["station_reports"] = stop
    return firing(serving)


@plant(SILENCE, "a tenth of the rows is of another year", "clock", "outside of the window")
def _() -> Found:
    serving = serve()
    serving.asked["placed_at"] = np.where(
        draw(6, len(serving.times)) < 0.1, serving.times + np.timedelta64(3650, "D"), serving.times
    )
    return firing(serving)


@plant(SILENCE, "only an older version answers", "unmeasured", "answered by other versions (6)")
def _() -> Found:
    serving = serve()
    serving.versions[:] = VERSION - 1
    serving.answered[:-40] = False
    return firing(serving)


# -- labels ------------------------------------------------------------------------------------------------------------


def without_labels(serving: Serving, gone: Callable[[dict[str, Array]], Array]) -> Serving:
    """Remove labels."""
    serving.changes["labels"] = lambda labels: {name: values[~gone(labels)] for name, values in labels.items()}
    return serving


@plant(LABELS, "outcomes stopped arriving a week ago", "labels", "the newest rows")
def _() -> Found:
    return firing(without_labels(serve(), lambda labels: labels["known_at"] > UNTIL - np.timedelta64(7, "D")))


@plant(LABELS, "no outcome arrives", "labels", "0 outcomes have arrived")
def _() -> Found:
    return firing(without_labels(serve(), lambda labels: np.ones(len(labels["late"]), dtype=bool)))


@plant(LABELS, "half of the outcomes are lost", "labels", "all rows")
def _() -> Found:
    return firing(without_labels(serve(), lambda labels: draw(7, len(labels["late"])) < 0.5))


@plant(LABELS, "outcomes are the wrong way round", "quality", "that its probabilities expect")
def _() -> Found:
    serving = serve()
    serving.changes["labels"] = lambda labels: {**labels, "late": 1.0 - labels["late"]}
    return firing(serving)


@plant(LABELS, "every outcome is reported as the same", "calibration", "mean gap", "0 observed")
def _() -> Found:
    serving = serve()
    serving.changes["labels"] = lambda labels: {**labels, "late": np.zeros(len(labels["late"]))}
    return firing(serving)


# -- quality -----------------------------------------------------------------------------------------------------------


def relabel(serving: Serving, draw_outcome: Callable[[Array, dict[str, Array]], Array]) -> Serving:
    """Draw outcomes again, from the true ones and the asked rows in the order of the labels."""

    def changed(labels: dict[str, Array]) -> dict[str, Array]:
        place = {key: row for row, key in enumerate(serving.asked["order_id"].tolist())}
        at = np.array([place.get(key, 0) for key in labels["order_id"].tolist()])
        rows = {name: values[at] for name, values in serving.asked.items()}
        target = serving.case.target
        return {**labels, target: draw_outcome(labels[target], rows)}

    serving.changes["labels"] = changed
    return serving


@plant(QUALITY, "outcomes have nothing to do with the scores any more", "quality", "predicting")
def _() -> Found:
    return firing(relabel(serve(), lambda late, _: np.random.default_rng(8).permutation(late)))


@plant(QUALITY, "one outcome in eight is more often 1 than it was", "calibration", "mean gap")
def _() -> Found:
    return firing(relabel(serve(), lambda late, _: np.maximum(late, draw(9, len(late)) < 0.2)))


@plant(QUALITY, "one group's probabilities break while the total looks right", "calibration", "band=odd")
def _() -> Found:
    def swing(late: Array, rows: dict[str, Array]) -> Array:
        odd = rows["band"] == "odd"
        return np.where(odd, np.maximum(late, draw(10, len(late)) < 0.25), np.minimum(late, draw(11, len(late)) < 0.65))

    return firing(relabel(serve(), swing))


@plant(QUALITY, "the scores are overconfident", "calibration", "expected calibration error")
def _() -> Found:
    serving = serve()
    serving.rescore = lambda scores: 1 / (1 + (1 / scores - 1) ** 3)
    return firing(serving)


@plant(QUALITY, "a regression is off by a constant", "quality", "in one direction")
def _() -> Found:
    return firing(relabel(serve("regression"), lambda minutes, _: minutes + 4))


@plant(QUALITY, "a regression's errors have doubled", "quality", "predicting")
def _() -> Found:
    noise = np.random.default_rng(12).normal(0, 10, 100_000)
    return firing(relabel(serve("regression"), lambda minutes, _: minutes + noise[: len(minutes)]))


@plant(QUALITY, "one group of a regression is off", "quality", "station=north")
def _() -> Found:
    return firing(relabel(serve("regression"), lambda minutes, rows: minutes + 5 * (rows["station"] == "north")))
