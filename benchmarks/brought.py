"""A use case that `millrace new` makes of a file, trained by the pipeline's own steps, and windows that it serves."""

from __future__ import annotations

import contextlib
import json
import os
import shutil
import sys
import tarfile
from collections import Counter
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np

import stacks
from benchmarks.population import draw_rows, write_file
from cli.console.progress import Progress
from cli.scaffold.begin import plan_from_file
from cli.scaffold.begun import Begun, Wishes
from cli.scaffold.questions import Questions
from cli.scaffold.trial import write_files
from cli.scaffold.trials import try_out
from millrace import UseCase
from millrace.inventory import JobVariable
from training.bundle import build_bundle
from training.columns import Columns
from training.data import validate
from training.data.dataset import run_dataset
from training.data.ingest import run_ingest
from training.job import Job
from training.modeling.evaluate import run_evaluate
from training.modeling.model import Model
from training.modeling.score import Scored
from training.modeling.train import SCORE, run_train
from training.monitoring import rescored
from training.monitoring.captured import Served
from training.monitoring.monitor import examine_rows
from training.monitoring.silence import Traffic
from training.registry import Package

REPOSITORY = Path(__file__).resolve().parents[1]
#: The days of the file, and the time at which it ends, the model is trained and the window begins.
DAYS, AS_OF = 365, np.datetime64("2026-01-01", "us")
#: The fewest rows of a window, and the version that serves.
FEWEST, VERSION = 200, 1
#: What a team adds where outcomes arrive later than their events: the use case as it is made has them at once.
_LATE = """

def events(since, until):
    from stacks.{package} import data

    return {{name: values for name, values in data.events(since, until).items() if name != USE_CASE.target}}


def labels(since, until):
    from benchmarks.population import find_delays
    from stacks.{package} import data

    found = data.events(since, until)
    known_at = found[USE_CASE.event_time] + find_delays(found[USE_CASE.key])
    return {{USE_CASE.key: found[USE_CASE.key], USE_CASE.target: found[USE_CASE.target], "known_at": known_at}}
"""


@dataclass(frozen=True)
class World:
    """What is simulated.

    Attributes:
        rows: The rows of the training file.
        problem: The problem type.
        labels: When outcomes are known: `late`, with a function that says when; `blank`, late, and empty in the file
            until then; or `at once`.
    """

    rows: int
    problem: str = "binary"
    labels: str = "late"


@dataclass(frozen=True)
class Serving:
    """A trained use case that serves.

    Attributes:
        world: What is simulated.
        job: A job of the use case.
        package: Its model, as registered.
        model: The same, loaded.
        file: The file that its functions read.
    """

    world: World
    job: Job
    package: Package
    model: Model
    file: Path

    @property
    def case(self) -> UseCase:
        """The declaration, as `millrace new` made it."""
        return self.job.use_case


def make_use_case(world: World, name: str, folder: Path, file: Path) -> Path:
    """Make the use case of a file as `millrace new` does; it can be imported, and its functions find the file.

    Args:
        world: What is simulated.
        name: The use case's name, once per process.
        folder: A folder for its repository.
        file: The file.

    Returns:
        Its bundle.
    """
    now = AS_OF.astype(datetime).replace(tzinfo=UTC)
    nothing: dict[str, Any] = dict.fromkeys(("positive", "key", "event_time", "time_format"))
    wishes = Wishes(
        name, file, world.problem, "outcome", missing=(), leave_out=(), trust=(), region="eu-west-1", yes=True,
        dry_run=False, as_json=False, **nothing,
    )  # fmt: skip
    begun = Begun(wishes, Progress(err=True), Questions(yes=True), now)
    plan, files, _ = try_out(begun, *plan_from_file(begun, file))
    repository = folder / "repository"
    write_files(files, repository)
    (repository / "stacks" / "__init__.py").touch()
    for package in ("training", "millrace", "queries"):
        (repository / package).symlink_to(REPOSITORY / package)
    if world.labels == "late":
        with (repository / "stacks" / plan.package / "__init__.py").open("a") as declaration:
            declaration.write(_LATE.format(package=plan.package))
    stacks.__path__.insert(0, str(repository / "stacks"))
    os.environ[plan.variable] = str(file)
    return build_bundle(stacks.load(name), repository, folder / "bundles")


def train(world: World, name: str, folder: Path, rng: np.random.Generator) -> Serving | None:
    """Train a model as the pipeline does; None where it fails its gates, so that it would not serve.

    Args:
        world: What is simulated.
        name: The use case's name, once per process.
        folder: An empty folder.
        rng: The source of chance, from which the file is drawn.
    """
    file = folder / "events.csv"
    write_file(file, draw_rows(rng, world.rows, AS_OF, -DAYS, world.problem), AS_OF, blank=world.labels == "blank")
    bundle = make_use_case(world, name, folder, file)
    base = folder / "ml"
    job = Job(base, bundle, {JobVariable.ENVIRONMENT: "local", JobVariable.ACCOUNT: "123456789012",
                             "AWS_REGION": "eu-west-1"})  # fmt: skip
    inputs, outputs = base / "processing" / "input", base / "processing" / "output"
    inputs.mkdir(parents=True)
    run_ingest(job, str(AS_OF), champion="none")
    shutil.move(outputs / "snapshot", inputs / "snapshot")
    # No account is asked what was accepted before: this is the first training.
    with mock.patch.object(validate, "find_reference", return_value=(None, "")):
        validate.run_validate(job)
    shutil.rmtree(inputs / "snapshot")
    shutil.move(outputs / "accepted", inputs / "snapshot")
    run_dataset(job, "none")
    shutil.copytree(outputs / "dataset", base / "input" / "data" / "dataset")
    shutil.move(outputs / "dataset", inputs / "dataset")
    run_train(job)
    (inputs / "model").mkdir()
    with tarfile.open(inputs / "model" / "model.tar.gz", "w:gz", compresslevel=1) as archive:
        archive.add(base / "model", ".")
    run_evaluate(job, "none")
    if not json.loads((outputs / "evaluation" / "evaluation.json").read_text())["gate"]["passed"]:
        return None
    package = Package(f"arn:aws:sagemaker:::model-package/healthy/{VERSION}", VERSION, "", base / "model")
    return Serving(world, job, package, Model.load(package.folder, job.functions), file)


def watch(serving: Serving, rng: np.random.Generator, scratch: Path) -> dict[str, Any]:
    """Serve a window in which everything is as in training, and return the monitor's report of it.

    Args:
        serving: The use case that serves.
        rng: The source of chance.
        scratch: A folder for temporary files.
    """
    case, functions, world = serving.case, serving.job.functions, serving.world
    days = case.monitoring.window.days
    now = AS_OF + np.timedelta64(case.monitoring.window, "us")
    count = max(FEWEST, int(rng.poisson(world.rows * days / DAYS)))
    write_file(serving.file, draw_rows(rng, count, AS_OF, days, world.problem), now, blank=world.labels == "blank")
    # The functions read their file once in a process.
    sys.modules[f"stacks.{case.package}.data"]._rows.cache_clear()
    asked = functions.events(AS_OF, now)
    sent = {name: asked[name] for name in (case.key, case.event_time, *serving.model.document["inputs"])}
    by_minute = Counter(str(time)[:16] for time in asked[case.event_time])
    features = serving.model.compute_features(sent)
    served = Served(
        {**sent, SCORE: serving.model.score(features)}, np.ones(count, dtype=bool), np.full(count, VERSION),
        serving.model.fingerprint(features), count, 0, {}, by_minute,
    )  # fmt: skip
    # One request in a hundred is refused.
    since = (now - np.timedelta64(1, "D")).astype(datetime).replace(tzinfo=UTC)
    answered = served.count_since(since)
    traffic = Traffic(since, answered, int(rng.binomial(answered, 0.01)), 1.0)
    return examine_rows(serving.job, serving.package, served, traffic, AS_OF, now, scratch)


@contextlib.contextmanager
def score_in_process(serving: Serving) -> Iterator[None]:
    """Score with the loaded model, whose code is the same, instead of starting its bundle twice for each window."""

    def score(_: Path, rows: Columns, __: Path) -> Scored:
        features = serving.model.compute_features(rows)
        return Scored(serving.model.score(features), features, serving.model.fingerprint(features))

    with mock.patch.object(rescored, "score_with", score):
        yield
