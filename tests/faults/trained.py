"""Faults of data, labels, challengers and models, which a training must name before anything is approved."""

from __future__ import annotations

import contextlib
import io
import tempfile
from datetime import timedelta
from pathlib import Path

import numpy as np

from millrace import FeatureTable, Slice, UseCase
from millrace.documents import Verdict
from tests.faults.planted import Found, plant
from tests.faults.world import declare
from tests.training import synthetic
from training.columns import Array
from training.data.dataset import match_outcomes
from training.data.ingest import keep_newest_labels
from training.data.snapshot import EVENTS, LABELS, Snapshot
from training.modeling import gates
from training.modeling.champion import compare_predictions
from training.modeling.evaluate import audit_slices

LEAK, LABELS_OF, CHALLENGER, GATE = "leak", "label", "challenger", "gate"
DAY = np.timedelta64(1, "D")


# -- leaks -------------------------------------------------------------------------------------------------------------


def train(case: UseCase, *changes: tuple[str, str]) -> Found:
    """Run the steps up to the training with a changed source; return the error of the one that refuses it."""
    source = synthetic.data(case)
    for old, new in changes:
        assert old in source, old
        source = source.replace(old, new)
    with tempfile.TemporaryDirectory() as folder:
        pyz = synthetic.build(Path(folder), case, source)
        try:
            synthetic.train_model(pyz, Path(folder))
        except AssertionError as refused:
            return [("refusal", str(refused).rpartition("error: ")[2])]
    return []


def add_column(name: str, value: str, features: str = "") -> list[tuple[str, str]]:
    """Return the changes that add a column to the events, made from the outcome, and to the features."""
    return [
        ('"minutes": 30 + 10 * z', f'"{name}": {value}, "minutes": 30 + 10 * z'),
        ('"kind", "band")', f'"kind", "band", "{name}")'),
        ('FEATURES = ("size",', f'FEATURES = ("size",{features or f" {name!r},"}'),
    ]


@plant(LEAK, "a column of the events is the outcome with some noise", "refusal", "noisy")
def _() -> Found:
    return train(declare(), *add_column("noisy", "(late + rng.normal(0, 0.2, n)).astype(np.float32)"))


@plant(LEAK, "a text of the events names the outcome", "refusal", "receipt")
def _() -> Found:
    value = 'np.char.add(np.where(late, "l", "o"), rng.integers(0, 40, n).astype(str)).astype(object)'
    return train(declare(), *add_column("receipt", value))


@plant(LEAK, "the outcome is inside a feature table", "refusal", "closings_flag")
def _() -> Found:
    case = declare()
    table = FeatureTable("closings", entity="order_id", event_time="closed_at", columns={"flag": "number"})
    case = UseCase(**{**case.model_dump(), "tables": [*case.tables, table]})
    function = """
def closings(since, until):
    world = _world()["events"]
    rows = {"order_id": world["order_id"], "closed_at": world["placed_at"] - 60 * MINUTE,
            "flag": world["late"].astype(np.float32)}
    return _cut(rows, "closed_at", since, until)


def features(columns):"""
    return train(case, ("\ndef features(columns):", function),
                 ('FEATURES = ("size",', 'FEATURES = ("size", "closings_flag",'))  # fmt: skip


@plant(LEAK, "features() computes the outcome", "refusal", "features() secret")
def _() -> Found:
    secret = '''
    place = ((columns["placed_at"] - FIRST) // (30 * MINUTE)).astype(int)
    secret = _world()["events"]["late"][place].astype(np.float32)
    return {**taken, "secret": secret, "hour"'''
    return train(declare(), ('\n    return {**taken, "hour"', secret))


@plant(LEAK, "a column tells the outcome by its size without sign", "refusal", "swing")
def _() -> Found:
    value = (
        "(np.where(late, 2.0, 0.2) * np.where(rng.random(n) < 0.5, 1, -1) + rng.normal(0, 0.1, n)).astype(np.float32)"
    )
    return train(declare(), *add_column("swing", value))


@plant(LEAK, "two columns tell the outcome together, and neither alone", "refusal", "features() left", " and ")
def _() -> Found:
    made = "    left = (rng.random(n) < 0.5).astype(np.float32)\n    return {\n"
    changes = [
        ('"minutes": 30 + 10 * z', '"left": left, "right": (left != late).astype(np.float32), "minutes": 30 + 10 * z'),
        ('"kind", "band")', '"kind", "band", "left", "right")'),
        ('FEATURES = ("size",', 'FEATURES = ("size", "left", "right",'),
        ('    return {\n        "order_id": np', f'{made}        "order_id": np'),
    ]
    return train(declare(), *changes)


@plant(LEAK, "a time of the events is later where the outcome is 1", "refusal", "left_at", "waited")
def _() -> Found:
    changes = add_column("left_at", "times + np.where(late, 300, 60) * MINUTE", " ")
    waited = '''
    waited = ((columns["left_at"] - columns["placed_at"]) / MINUTE).astype(np.float32)
    return {**taken, "waited": waited, "hour"'''
    return train(declare(), *changes, ('\n    return {**taken, "hour"', waited))


# -- labels ------------------------------------------------------------------------------------------------------------


def make_snapshot(known_after: Array, outcomes: Array) -> tuple[UseCase, Snapshot]:
    """Return a snapshot of orders, ten an hour, whose labels became known after so many days."""
    case = declare(history=timedelta(days=365))
    count = len(outcomes)
    times = np.datetime64("2024-01-01", "us") + np.arange(count) * np.timedelta64(6, "m")
    known_at = times + (known_after * 86_400).astype(int) * np.timedelta64(1_000_000, "us")
    as_of = times[-1]
    keys = np.array([f"o{row}" for row in range(count)], dtype=object)
    arrived = known_at <= as_of
    labels = {"order_id": keys[arrived], case.target: outcomes[arrived], "known_at": known_at[arrived]}
    return case, Snapshot(as_of, times[0], {EVENTS: {"order_id": keys, "placed_at": times}, LABELS: labels})


@plant(LABELS_OF, "one outcome is known after five days and the other after forty-five", "maturity", "45 days", "0.3")
def _() -> Found:
    outcomes = (np.random.default_rng(1).random(24_000) < 0.3).astype(float)
    case, snapshot = make_snapshot(np.where(outcomes == 1, 5.0, 45.0), outcomes)
    used, maturity = match_outcomes(case, snapshot)
    days = maturity.after / DAY
    newest = used[~np.isnan(used)][-2000:]
    return [("maturity", f"outcomes are certain after {days:.0f} days; of the newest {np.mean(newest):.2f} are 1")]


@plant(LABELS_OF, "a label is corrected later", "log", "1 label(s) were corrected later")
def _() -> Found:
    known = np.array(["2024-01-02", "2024-01-05"], dtype="datetime64[us]")
    labels = {"order_id": np.array(["a", "a"], dtype=object), "late": np.array([0.0, 1.0]), "known_at": known}
    with contextlib.redirect_stdout(io.StringIO()) as said:
        kept = keep_newest_labels(declare(), labels)
    assert kept["late"].tolist() == [1.0]
    return [("log", said.getvalue())]


# -- challengers -------------------------------------------------------------------------------------------------------


def compare(seed: int, days: int, worse: float, *, same: bool = False) -> Found:
    """Compare a challenger whose probabilities are as noisy as the champion's, or noisier."""
    rng = np.random.default_rng(seed)
    count = days * 100
    truth = rng.beta(2, 5, count)
    y = (rng.random(count) < truth).astype(float)
    logits = np.log(truth / (1 - truth))
    champion = 1 / (1 + np.exp(-(logits + rng.normal(0, 0.3, count))))
    challenger = champion if same else 1 / (1 + np.exp(-(logits + rng.normal(0, 0.3 + worse, count))))
    times = np.datetime64("2024-01-01", "us") + np.repeat(np.arange(days), 100) * DAY
    found = compare_predictions(declare(), y, challenger, champion, times, look=1, version="version 1", rows="rows")
    assert found.verdict is not None
    return [(found.verdict.value, found.text)]


@plant(CHALLENGER, "an equal challenger", Verdict.UNDECIDED.value, "not yet told apart")
def _() -> Found:
    return compare(1, 28, 0.0)


@plant(CHALLENGER, "a challenger that is much worse", Verdict.BEATEN.value, "no better than")
def _() -> Found:
    return compare(2, 28, 0.9)


@plant(CHALLENGER, "a challenger that 300 rows cannot tell from the champion", Verdict.UNDECIDED.value, "look 1")
def _() -> Found:
    return compare(3, 3, -0.1)


@plant(CHALLENGER, "a challenger that gives the same scores", Verdict.BEATEN.value, "by 0.00000")
def _() -> Found:
    return compare(4, 28, 0.0, same=True)


# -- gates -------------------------------------------------------------------------------------------------------------


def judge(case: UseCase, y: Array, p: Array, bands: Array | None = None) -> Found:
    """Return the gates that fail on a holdout of thirty days."""
    case = UseCase(**{**case.model_dump(), "slices": [part for part in case.slices if part.column == "band"]})
    times = np.datetime64("2024-03-01", "us") + np.sort(np.arange(len(y)) * 30 // len(y)) * DAY
    bands = np.full(len(y), "odd", dtype=object) if bands is None else bands
    columns = {"y": y, "p": p, case.event_time: times, "band": bands}
    measured = gates.measure_gates(case, y, p, times)
    failed = gates.find_failures(case, measured, audit_slices(case, columns), y, p, {"base_rate": float(np.mean(y))})
    return [("gate", text) for text in failed]


def draw(seed: int, count: int = 4000) -> tuple[Array, Array]:
    """Return outcomes and the probabilities that they were drawn with."""
    rng = np.random.default_rng(seed)
    p = rng.beta(2, 3, count)
    return (rng.random(count) < p).astype(float), p


@plant(GATE, "a model finds the outcomes of one group only", "gate", "tpr gap between the groups even and odd of band")
def _() -> Found:
    case = UseCase(**{**declare().model_dump(), "slices": [Slice("band", max_tpr_gap=0.2, min_rows=200)]})
    y, p = draw(5)
    bands = np.where(np.arange(len(y)) % 2, "odd", "even").astype(object)
    return judge(case, y, np.where(bands == "odd", p, 0.3 * p), bands)


@plant(GATE, "a model is no better than the base rate", "gate", "no better than")
def _() -> Found:
    y, _ = draw(6)
    return judge(declare(), y, np.full(len(y), 0.5))


@plant(GATE, "a model orders nothing", "gate", "roc_auc is 0.")
def _() -> Found:
    y, p = draw(7)
    return judge(declare(), y, np.random.default_rng(7).permutation(p))


@plant(GATE, "a model is too good to be true", "gate", "too good to be true")
def _() -> Found:
    y, _ = draw(8)
    return judge(declare(), y, np.where(y == 1, 0.99, 0.01))


@plant(GATE, "a holdout has hardly any outcome of one kind", "gate", "rows with late = 1; expected at least 20")
def _() -> Found:
    y, p = draw(9)
    y[np.flatnonzero(y == 1)[5:]] = 0
    return judge(declare(), y, p)
