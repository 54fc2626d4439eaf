"""A small synthetic use case with every feature: two tables, texts, numbers, missing values, both problems.

Orders are placed at shops and delivered by stations. `late` (or `minutes`) depends on the order's size and kind, the
hour, the station's last report (`wind` and `sky`, at most two hours old) and the shop's last count (`queue`).
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import sys
import types
from collections.abc import Iterable, Mapping
from datetime import timedelta
from pathlib import Path
from typing import Any

import numpy as np
from botocore.exceptions import ClientError

from millrace import Champion, FeatureTable, Gate, Monitoring, Slice, UseCase
from millrace.names import Names
from tests import forked
from tests.local.conftest import CloudDaemon
from tests.local.hosted import eventually
from training import bundle
from training.functions import Functions

REPOSITORY = Path(__file__).parents[2]
ACCOUNT, REGION, ENVIRONMENT = "123456789012", "eu-west-1", "local"
#: First and last time of the data.
FIRST, LAST = np.datetime64("2024-01-01T00:00:00", "us"), np.datetime64("2024-05-01T00:00:00", "us")
#: The time from which `history` reaches back in most tests.
AS_OF = "2024-04-01T00:00:00Z"

DATA = '''
"""Made-up orders; {target} is a {problem} target."""

from functools import cache

import numpy as np

FIRST, LAST = np.datetime64("2024-01-01T00:00:00", "us"), np.datetime64("2024-05-01T00:00:00", "us")
MINUTE = np.timedelta64(60_000_000, "us")
STATIONS, SHOPS, KINDS, SKIES = ["north", "south", "east"], ["1", "2", "3", "4"], ["a", "b", "c"], ["clear", "rain"]


def events(since, until):
    world = _world()["events"]
    names = ("order_id", "placed_at", "station", "shop", "size", "kind", "band")
    return _cut({{name: world[name] for name in names}}, "placed_at", since, until)


def labels(since, until):
    world = _cut(_world()["events"], "placed_at", since, until)
    return {{
        "order_id": world["order_id"], "{target}": world["{target}"], "known_at": world["placed_at"] + 120 * MINUTE
    }}


def station_reports(since, until):
    return _cut(_world()["station_reports"], "known_at", since, until)


def queues(since, until):
    return _cut(_world()["queues"], "counted_at", since, until)


def features(columns):
    taken = {{name: columns[name] for name in FEATURES}}
    minutes = (columns["placed_at"] - columns["placed_at"].astype("datetime64[D]")) / MINUTE
    return {{**taken, "hour": (minutes // 60).astype(np.float32)}}


FEATURES = ("size", "kind", "station_reports_wind", "station_reports_sky", "queues_queue")


def _cut(rows, time, since, until):
    span = (rows[time] >= since) & (rows[time] < until)
    return {{name: values[span] for name, values in rows.items()}}


@cache
def _world():
    rng = np.random.default_rng(7)
    reports = _table(rng, STATIONS, 47, "station", "known_at")
    n = len(reports["station"])
    reports["wind"] = np.where(rng.random(n) < 0.05, np.nan, rng.gamma(2.0, 4.1, n)).astype(np.float32)
    reports["sky"] = _with_missing(rng, np.array(SKIES, dtype=object)[(rng.random(n) < 0.3).astype(int)])
    queues = _table(rng, SHOPS, 200, "shop", "counted_at")
    queues["queue"] = rng.poisson(6, len(queues["shop"])).astype(np.float32) / np.float32(3)
    return {{"events": _events(rng, reports, queues), "station_reports": reports, "queues": queues}}


def _table(rng, entities, minutes, entity, time):
    """Rows every so often, at times with odd microseconds."""
    grid = np.arange(FIRST, LAST, minutes * MINUTE)
    times = np.concatenate([grid + (rng.random(len(grid)) * 20 * MINUTE.astype(int)).astype(int) for _ in entities])
    return {{entity: np.repeat(np.array(entities, dtype=object), len(grid)), time: times}}


def _with_missing(rng, texts):
    return np.where(rng.random(len(texts)) < 0.04, None, texts)


def _events(rng, reports, queues):
    times = np.arange(FIRST, LAST, 30 * MINUTE)
    n = len(times)
    station, shop = rng.choice(STATIONS, n).astype(object), rng.choice(SHOPS, n).astype(object)
    size = np.where(rng.random(n) < 0.05, np.nan, np.round(rng.lognormal(1.0, 0.6, n), 2)).astype(np.float32)
    kind = _with_missing(rng, rng.choice(KINDS, n).astype(object))
    seen = times - 30 * MINUTE
    wind = _last(reports, "station", "known_at", "wind", station, seen)
    queue = _last(queues, "shop", "counted_at", "queue", shop, seen)
    z = -1.6 + 0.25 * np.nan_to_num(size, nan=3) + 0.12 * np.nan_to_num(wind, nan=8) + 0.3 * np.nan_to_num(queue)
    z += np.where(kind == "a", 0.7, -0.2) - 1.2
    late = rng.random(n) < 1 / (1 + np.exp(-z))
    return {{
        "order_id": np.array([f"o{{i}}" for i in range(n)], dtype=object), "placed_at": times, "station": station,
        "shop": shop, "size": size, "kind": kind, "band": np.where(np.arange(n) % 2, "odd", "even"), "late": late,
        "minutes": 30 + 10 * z + rng.normal(0, 5, n),
    }}


def _last(rows, entity, time, value, entities, at):
    """The newest value of each entity at a time; NaN before the first."""
    found = np.full(len(at), np.nan)
    for one in np.unique(rows[entity]):
        mine, asked = rows[entity] == one, entities == one
        order = np.argsort(rows[time][mine])
        place = np.searchsorted(rows[time][mine][order], at[asked], side="right") - 1
        found[asked] = np.where(place >= 0, rows[value][mine][order][np.maximum(place, 0)], np.nan)
    return found
'''


def use_case(problem: str = "binary", **changes: Any) -> UseCase:
    """Return the declaration; ``changes`` replace its fields."""
    binary = problem == "binary"
    fields: dict[str, Any] = {
        "name": "toy-orders" if binary else "toy-minutes",
        "problem": problem,
        "target": "late" if binary else "minutes",
        "key": "order_id",
        "event_time": "placed_at",
        "lead_time": timedelta(minutes=30),
        "tables": [
            FeatureTable(
                "station_reports",
                entity="station",
                event_time="known_at",
                max_age=timedelta(hours=2),
                columns={"wind": "number", "sky": "text"},
            ),
            FeatureTable("queues", entity="shop", event_time="counted_at", columns={"queue": "number"}),
        ],
        "gates": [Gate("roc_auc", at_least=0.6)] if binary else [Gate("mae", at_most=12.0)],
        "slices": [Slice("band", min_rows=30)],
        "threshold": 0.4,
        "history": timedelta(days=60),
        "champion": Champion(judged_on=timedelta(days=7)),
        "monitoring": Monitoring(window=timedelta(days=14)),
        "parameters": {"max_iter": 30, "max_leaf_nodes": 7},
    }
    return UseCase(**{**fields, **changes})


def data(case: UseCase) -> str:
    """Return the source of the functions of the use case."""
    return DATA.format(target=case.target, problem=case.problem.value)


def functions(case: UseCase, source: str | None = None) -> Functions:
    """Return the functions of the use case in this process, without a bundle."""
    module = types.ModuleType(f"functions_of_{case.package}")
    exec(compile(source or data(case), f"<{case.package}>", "exec"), vars(module))
    return Functions(case, [module])


def build(folder: Path, case: UseCase, source: str | None = None) -> Path:
    """Write `stacks/<package>` into a repository in ``folder`` and build its bundle there.

    Args:
        source: The `data.py` of the package if it is not the default one.
    """
    repository = folder / "repository"
    package = repository / "stacks" / case.package
    package.mkdir(parents=True, exist_ok=True)
    for name in ("training", "millrace", "queries"):
        if not (repository / name).exists():
            (repository / name).symlink_to(REPOSITORY / name)
    (repository / "stacks" / "__init__.py").write_text("")
    declaration = (
        f"import json\n\nfrom millrace import UseCase\n\nUSE_CASE = UseCase(**json.loads({case.model_dump_json()!r}))\n"
    )
    (package / "__init__.py").write_text(declaration)
    (package / "data.py").write_text(source or data(case))
    return bundle.build_bundle(case, repository, folder / "bundles")


def matrix(rows: Iterable[Mapping[str, Any]]) -> Any:
    """Return the estimator's input for joined rows, coded by hand: features by name, texts by alphabetical rank.

    Args:
        rows: None or NaN is a missing value; `placed_at` is a datetime.
    """
    kinds, skies = {None: np.nan, "a": 0, "b": 1, "c": 2}, {None: np.nan, "clear": 0, "rain": 1}
    coded = [
        [
            row["placed_at"].hour,
            kinds.get(row["kind"], -1),
            row["queues_queue"],
            row["size"],
            skies.get(row["station_reports_sky"], -1),
            row["station_reports_wind"],
        ]
        for row in rows
    ]
    return np.array(coded, dtype=np.float32)


def environment(base: Path, **more: str) -> dict[str, str]:
    """Return the variables of a job whose `/opt/ml` is ``base``; without an endpoint URL it cannot reach AWS."""
    return {
        "PATH": os.pathsep.join([str(Path(sys.executable).parent), "/usr/bin", "/bin"]),
        "HOME": str(base),
        "LANG": "C.UTF-8",
        "PYTHONUNBUFFERED": "1",
        "SAGEMAKER_BASE_DIR": str(base),
        "MILLRACE_ENVIRONMENT": ENVIRONMENT,
        "MILLRACE_ACCOUNT": ACCOUNT,
        "AWS_REGION": REGION,
        "AWS_ACCESS_KEY_ID": "local",
        "AWS_SECRET_ACCESS_KEY": "local",
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_ENDPOINT_URL": "http://127.0.0.1:9",
        **more,
    }


def run_step(
    pyz: Path, base: Path, *arguments: str, env: Mapping[str, str] | None = None, check: bool = True
) -> subprocess.CompletedProcess[str]:
    """Run a step of a bundle as a job does, with its `/opt/ml` in ``base``.

    Args:
        env: Additional variables, such as AWS_ENDPOINT_URL.
        check: Whether a failing step fails the test, with its output.
    """
    base.mkdir(parents=True, exist_ok=True)
    command = [sys.executable, str(pyz), *arguments]
    done = forked.run_job(command, cwd=Path.cwd(), env=environment(base, **(env or {})))
    if check:
        assert done.returncode == 0, f"{' '.join(arguments)} ended with {done.returncode}:\n{done.stdout}{done.stderr}"
    return done


def hand_over(source: Path, target: Path) -> None:
    """Copy the output of one step to the input of the next one."""
    if source.is_dir():
        shutil.copytree(source, target, dirs_exist_ok=True)
    else:
        target.mkdir(parents=True, exist_ok=True)
        shutil.copy(source, target)


def train_model(pyz: Path, folder: Path, as_of: str = AS_OF) -> Path:
    """Run the steps from ingest to train without a cloud and return the folder that contains `model/`.

    Snapshot and training set are kept in `snapshot/` and `dataset/` in the same folder.
    """
    output = folder / "job" / "processing" / "output"
    inputs = folder / "job" / "processing" / "input"
    run_step(pyz, folder / "job", "ingest", "--as-of", as_of)
    hand_over(output / "snapshot", inputs / "snapshot")
    run_step(pyz, folder / "job", "validate")
    shutil.rmtree(inputs / "snapshot")
    hand_over(output / "accepted", inputs / "snapshot")
    run_step(pyz, folder / "job", "dataset", "--champion", "none")
    base = folder / "training"
    hand_over(output / "dataset", base / "input" / "data" / "dataset")
    run_step(pyz, base, "train")
    hand_over(output / "accepted", base / "snapshot")
    hand_over(output / "dataset", base / "dataset")
    return base


def names(case: UseCase) -> Names:
    """Return the names of the use case's resources, for the variables of :func:`environment`."""
    return Names(case.name, ENVIRONMENT, ACCOUNT, REGION)


def make_lake(daemon: CloudDaemon, case: UseCase) -> str:
    """Create the bucket of the use case in a started cloud unless it exists, and return its name."""
    lake = names(case).lake
    s3 = daemon.client("s3")
    if lake not in [each["Name"] for each in s3.list_buckets()["Buckets"]]:
        s3.create_bucket(Bucket=lake, CreateBucketConfiguration={"LocationConstraint": REGION})
    return lake


def make_feature_groups(daemon: CloudDaemon, case: UseCase, *, without: str = "") -> dict[str, str]:
    """Create the feature groups of the use case in a started cloud and return their names by table.

    Args:
        without: A column that the groups lack.
    """
    lake = make_lake(daemon, case)
    with contextlib.suppress(ClientError):
        daemon.client("iam").create_role(RoleName="features", AssumeRolePolicyDocument="{}")
    groups = {table.name: names(case).feature_group(table.name) for table in case.tables}
    sagemaker = daemon.client("sagemaker")
    for table in case.tables:
        types = {"number": "Fractional", "text": "String"}
        columns = {name: types[kind] for name, kind in table.columns.items() if name != without}
        features = {table.entity: "String", table.event_time: "String", **columns}
        sagemaker.create_feature_group(
            FeatureGroupName=groups[table.name],
            RecordIdentifierFeatureName=table.entity,
            EventTimeFeatureName=table.event_time,
            FeatureDefinitions=[{"FeatureName": name, "FeatureType": kind} for name, kind in features.items()],
            OnlineStoreConfig={"EnableOnlineStore": True},
            OfflineStoreConfig={"S3StorageConfig": {"S3Uri": f"s3://{lake}/offline"}},
            RoleArn=f"arn:aws:iam::{ACCOUNT}:role/features",
        )

    def are_created() -> bool:
        described = [sagemaker.describe_feature_group(FeatureGroupName=group) for group in groups.values()]
        return all(group["FeatureGroupStatus"] == "Created" for group in described)

    eventually(are_created)
    return groups
