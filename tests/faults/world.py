"""A small use case that serves: what was asked, answered, labelled and counted in a window, to be spoiled."""

from __future__ import annotations

import tempfile
from collections.abc import Callable
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from functools import cache
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np

from millrace import Monitoring, Slice, UseCase
from millrace.monitor_report import MonitorReport
from tests.training import synthetic
from training import columns as c
from training.columns import Array, Columns
from training.data.ingest import fetch_tables
from training.data.join import join
from training.functions import Functions
from training.modeling.model import Model
from training.modeling.train import SCORE
from training.monitoring.captured import Served
from training.monitoring.monitor import examine_rows
from training.monitoring.silence import Traffic
from training.registry import Package

UNTIL = np.datetime64("2024-04-29T00:00:00", "us")
SINCE = UNTIL - np.timedelta64(28, "D")
#: Since when the requests are counted.
ASKED_SINCE = datetime(2024, 4, 28, tzinfo=UTC)
#: The version that serves.
VERSION = 7
MINUTE = np.timedelta64(60_000_000, "us")
_FOLDERS = tempfile.TemporaryDirectory()


def declare(problem: str = "binary", **changes: Any) -> UseCase:
    """Return the declaration of the use case; ``changes`` replace its fields."""
    fields = {
        "monitoring": Monitoring(window=timedelta(days=28), informational=()),
        "slices": [Slice("band", min_rows=200), Slice("station", min_rows=200)],
    }
    return synthetic.use_case(problem, **{**fields, **changes})


@cache
def train(problem: str) -> Package:
    """Train the model of a problem as the pipeline does, and return it as registered."""
    folder = Path(_FOLDERS.name) / problem
    case = declare(problem)
    base = synthetic.train_model(synthetic.build(folder, case), folder)
    arn = f"arn:aws:sagemaker:eu-west-1:123456789012:model-package/toy/{VERSION}"
    return Package(arn, VERSION, "s3://toy/model.tar.gz", base / "model")


class SpoiltFunctions(Functions):
    """The functions of the use case, whose results may be changed after they returned."""

    changes: dict[str, Callable[[dict[str, Array]], dict[str, Array]]]

    def events(self, since: np.datetime64, until: np.datetime64) -> dict[str, Array]:
        """Return the events, changed."""
        return self._change("events", super().events(since, until))

    def labels(self, since: np.datetime64, until: np.datetime64, events: Columns) -> dict[str, Array]:
        """Return the labels, changed."""
        return self._change("labels", super().labels(since, until, events))

    def table(self, table: Any, since: np.datetime64, until: np.datetime64) -> dict[str, Array]:
        """Return the rows of a table, changed."""
        return self._change(table.name, super().table(table, since, until))

    def _change(self, name: str, columns: dict[str, Array]) -> dict[str, Array]:
        return self.changes.get(name, lambda same: same)(columns)


@dataclass
class Serving:
    """A window that is served without any fault, until one is planted.

    Attributes:
        case: The declaration.
        asked: The inputs of each request, with key and event time, as the callers sent them.
        answered: Mask of the requests that were answered.
        versions: The version that answered each request.
        changes: What becomes of the results of the use case's functions.
        refused: Requests that were refused as invalid.
        captured: The share of answered requests that the capture holds.
        sampled: The share that it should hold.
        unreadable: Captured lines that cannot be read.
        rescore: What becomes of the scores.
        on_server: What the server's code makes of the requests that it was sent, and nobody else's does.
    """

    case: UseCase
    asked: dict[str, Array]
    answered: Array
    versions: Array
    changes: dict[str, Callable[[dict[str, Array]], dict[str, Array]]] = field(default_factory=dict)
    refused: int = 0
    captured: float = 1.0
    sampled: float = 1.0
    unreadable: int = 0
    rescore: Callable[[Array], Array] = lambda scores: scores
    on_server: Callable[[Columns], Columns] = lambda rows: rows

    @property
    def times(self) -> Array:
        """The event time of each request."""
        return self.asked[self.case.event_time]

    def is_in(self, days: float) -> Array:
        """Return the mask of the requests of the newest days."""
        return np.asarray(self.times >= UNTIL - np.timedelta64(round(days * 86_400), "s"))

    def watch(self) -> MonitorReport:
        """Run the monitor on the window and return its report."""
        package = train(self.case.problem.value)
        plain = synthetic.functions(self.case)
        functions = SpoiltFunctions(self.case, plain._modules)
        functions.changes = self.changes
        model = Model.load(package.folder, plain)
        asked, versions = c.select_rows(self.asked, self.answered), self.versions[self.answered]
        scores, fingerprints = self._score(model, asked) if c.count_rows(asked) else (np.empty(0), np.empty(0))
        count = round(self.captured * len(scores))
        kept = np.linspace(0, len(scores) - 1, count).astype(int) if count else np.empty(0, dtype=int)
        rows = {**c.select_rows(asked, kept), SCORE: scores[kept]}
        unreadable = {"the line is not JSON": {"count": self.unreadable, "example": "a.jsonl line 1"}}
        served = Served(
            rows, np.ones(count, dtype=bool), versions[kept], fingerprints[kept], count + self.unreadable, 0,
            unreadable if self.unreadable else {}, {"2024-04-28T12:00": count + self.unreadable},
        )  # fmt: skip
        traffic = Traffic(ASKED_SINCE, len(scores), self.refused, self.sampled)
        job = SimpleNamespace(use_case=self.case, functions=functions, environment={})
        with tempfile.TemporaryDirectory() as scratch:
            found = examine_rows(job, package, served, traffic, SINCE, UNTIL, Path(scratch))  # type: ignore[arg-type]
        base = {"endpoint": "toy", "as_of": str(UNTIL), "since": str(SINCE)}
        return MonitorReport.model_validate({**base, **found})

    def _score(self, model: Model, asked: Columns) -> tuple[Array, Array]:
        """Return the scores and fingerprints of what was asked, as the server would make them."""
        features = model.compute_features(self.on_server(asked))
        return self.rescore(model.score(features)), model.fingerprint(features)


def serve(problem: str = "binary", **changes: Any) -> Serving:
    """Return a window in which everything is as in training.

    Args:
        problem: The problem type.
        changes: Fields of the declaration that differ from :func:`declare`.
    """
    case = declare(problem, **changes)
    functions = synthetic.functions(case)
    events = {name: values for name, values in functions.events(SINCE, UNTIL).items() if name != case.target}
    asked = join(case, events, fetch_tables(functions, SINCE, UNTIL))
    count = c.count_rows(asked)
    return Serving(case, dict(asked), np.ones(count, dtype=bool), np.full(count, VERSION))
