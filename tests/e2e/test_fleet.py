"""Many use cases in one account: they share one platform and cannot access each other's resources."""

from __future__ import annotations

import json
import math
import os
import random
import time
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pyarrow as pa
import pyarrow.csv
import pyarrow.parquet
import pytest

from local import client

from .stand import Stand

pytestmark = pytest.mark.timeout(900)

#: Two cores: more at the same time would only wait for each other.
AT_ONCE = 2
#: Use cases with their own lake.
OWN = ("demand-3", "made-3")
#: Use cases that are trained and serving, one for each problem.
SERVING = ("churn-0", "demand-0")
ALARMS = ("drift", "quality", "unmeasured", "heartbeat", "undelivered")
ACCOUNT = "123456789012"


def _make_customers(seed: int, problem: str, count: int = 1200) -> pa.Table:
    """Return customers, one every two hours, whose label depends on two columns and on chance."""
    source = random.Random(seed)
    start = datetime(2024, 1, 1)
    visits = [source.randint(0, 9) for _ in range(count)]
    plan = [source.choice(["basic", "family", "team"]) for _ in range(count)]
    push = [
        0.25 * visit + (0.8 if each == "team" else 0.0) + source.gauss(0, 1.2)
        for visit, each in zip(visits, plan, strict=True)
    ]
    outcome: list[Any] = [int(each > 1.4) for each in push]
    if problem == "regression":
        outcome = [round(20 + 4 * each, 3) for each in push]
    return pa.table(
        {
            "customer": [f"c{seed}-{number}" for number in range(count)],
            "asked_at": [(start + timedelta(hours=2 * number)).isoformat() + "Z" for number in range(count)],
            "visits": visits,
            "plan": plan,
            "noise": [source.random() for _ in range(count)],
            "outcome": outcome,
        }
    )


def _make_scaffold_options(folder: Path, name: str, kind: str, number: int) -> list[str]:
    """Return the options of `millrace new` for a use case; each use case is a little different."""
    if kind == "made":
        return ["--problem", "regression" if number % 2 else "binary"]
    problem = "binary" if kind == "churn" else "regression"
    rows = _make_customers(number + (0 if kind == "churn" else 100), problem)
    path = folder / f"{name}.{'parquet' if number % 3 == 1 else 'csv'}"
    (pa.parquet.write_table if path.suffix == ".parquet" else pa.csv.write_csv)(rows, path)
    return ["--from", str(path), "--target", "outcome", "--problem", problem, "--trust", "visits"]


#: A dozen; `make fleet` has two dozen.
PER_KIND = int(os.environ.get("MILLRACE_TEST_FLEET", "12")) // 3
NAMES = [f"{kind}-{number}" for kind in ("churn", "demand", "made") for number in range(PER_KIND)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Yield a stand with a platform and the scaffolded use cases, two of them trained and serving."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "millrace").mkdir()
    stand = Stand(folder / "millrace", 60.0)
    stand.start()

    def begin(name: str) -> None:
        kind, _, number = name.rpartition("-")
        stand.millrace("new", name, "--yes", *_make_scaffold_options(folder, name, kind, int(number)))
        if name not in OWN:
            path = stand.folder / "stacks" / f"Pulumi.{name}-local.yaml"
            path.write_text(path.read_text().replace("    name: local\n", "    name: local\n    lake: shared\n"))

    try:
        platform = stand.folder / "stacks" / "Pulumi.platform-local.yaml"
        platform.write_text(
            "config:\n  aws:region: eu-west-1\n  millrace:environment:\n    name: local\n    force_destroy: true\n"
        )
        with ThreadPoolExecutor(AT_ONCE) as pool:
            list(pool.map(begin, NAMES))
            stand.millrace("deploy", "platform", "--create")
            list(pool.map(lambda name: stand.millrace("deploy", name, "--create"), NAMES))
            list(pool.map(lambda name: stand.millrace("up", name, "--no-observe", timeout=500), SERVING))
        yield stand
    finally:
        client.stop(stand.state)


def _list_all_pages(stand: Stand, service: str, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
    pages = stand.client(service).get_paginator(operation).paginate(**arguments)
    return [each for page in pages for each in page[key]]


def test_use_cases_share_one_lake_and_one_dashboard(fleet: Stand) -> None:
    buckets = sorted(each["Name"] for each in fleet.client("s3").list_buckets()["Buckets"])
    shared = f"platform-local-lake-{ACCOUNT}"
    assert buckets == sorted([shared, *(f"{name}-local-lake-{ACCOUNT}" for name in OWN)])
    keys = _list_all_pages(fleet, "s3", "list_objects_v2", "Contents", Bucket=shared)
    assert {each["Key"].split("/")[0] for each in keys} == set(NAMES) - set(OWN)
    body = json.loads(fleet.client("cloudwatch").get_dashboard(DashboardName="platform-local")["DashboardBody"])
    shown = {arn.rpartition(":")[2] for widget in body["widgets"] for arn in widget["properties"].get("alarms", [])}
    # flights also has a local stack, which is not deployed here.
    assert {f"{name}-local-{kind}" for name in [*NAMES, "flights"] for kind in (*ALARMS, "errors", "latency")} <= shown


def test_each_use_case_has_its_own_roles_alarms_and_registry(fleet: Stand) -> None:
    groups = _list_all_pages(fleet, "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList")
    assert sorted(each["ModelPackageGroupName"] for each in groups) == sorted(f"{name}-local" for name in NAMES)
    alarms = {each["AlarmName"] for each in _list_all_pages(fleet, "cloudwatch", "describe_alarms", "MetricAlarms")}
    assert {f"{name}-local-{kind}" for name in NAMES for kind in ALARMS} <= alarms
    iam = fleet.client("iam")
    roles = [each["RoleName"] for each in _list_all_pages(fleet, "iam", "list_roles", "Roles")]
    assert len(roles) == 4 * len(NAMES)
    for name in NAMES:
        [role] = [each for each in roles if each.startswith(f"{name}-local-job-role")]
        [policy] = iam.list_role_policies(RoleName=role)["PolicyNames"]
        document = iam.get_role_policy(RoleName=role, PolicyName=policy)["PolicyDocument"]
        told = {resource for each in document["Statement"] for resource in each["Resource"]}
        others = {other for other in NAMES if other != name and any(f"{other}-local" in each for each in told)}
        assert not others, f"the jobs of {name} may touch {others}"
        objects = [each["Resource"] for each in document["Statement"] if "s3:GetObject" in each["Action"]]
        lake = f"{name}-local-lake-{ACCOUNT}/*" if name in OWN else f"platform-local-lake-{ACCOUNT}/{name}/*"
        assert objects == [[f"arn:aws:s3:::{lake}"]]


def test_status_of_the_whole_fleet_is_fast(fleet: Stand) -> None:
    began = time.monotonic()
    document = json.loads(fleet.millrace("status", "--env", "local", "--json").stdout)
    took = time.monotonic() - began
    rows = {row["stack"]: row for row in document["stacks"]}
    assert {f"{name}-local" for name in NAMES} <= set(rows)
    assert {name for name in NAMES if rows[f"{name}-local"]["endpoint"]["version"]} == set(SERVING)
    # benchmarks/ measures the speed; this guards against sequential requests that take minutes.
    assert took < 20


def test_a_preview_does_not_import_other_use_cases(fleet: Stand) -> None:
    broken = fleet.folder / "stacks" / "churn_1" / "__init__.py"
    kept = broken.read_text()
    broken.write_text("raise RuntimeError('opened by somebody else')\n")
    try:
        done = fleet.millrace("diff", "churn-2", "--format", "json")
        assert json.loads(done.stdout)["verdict"] == "no changes"
        said = fleet.millrace("diff", "churn-1", code=1).stderr
        assert "opened by somebody else" in said
        # The others are still listed, and this one with its error.
        document = json.loads(fleet.millrace("status", "--env", "local", "--json").stdout)
        assert "churn-2-local" in {row["stack"] for row in document["stacks"]}
        assert "opened by somebody else" in json.dumps(document)
    finally:
        broken.write_text(kept)


def test_serving_endpoints_answer(fleet: Stand) -> None:
    for name in SERVING:
        done = json.loads(fleet.millrace("invoke", name, "--sample", "--json-output").stdout)
        assert math.isfinite(done["answer"]["score"])


def test_destroying_one_use_case_leaves_the_others(fleet: Stand) -> None:
    fleet.millrace("destroy", "churn-0", "--yes")
    endpoints = [each["EndpointName"] for each in fleet.client("sagemaker").list_endpoints()["Endpoints"]]
    assert endpoints == ["demand-0-local"]
    groups = _list_all_pages(fleet, "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList")
    assert sorted(each["ModelPackageGroupName"] for each in groups) == sorted(
        f"{name}-local" for name in NAMES if name != "churn-0"
    )
    shared = f"platform-local-lake-{ACCOUNT}"
    keys = _list_all_pages(fleet, "s3", "list_objects_v2", "Contents", Bucket=shared)
    assert {each["Key"].split("/")[0] for each in keys} - {"churn-0"} == set(NAMES) - {*OWN, "churn-0"}
    done = json.loads(fleet.millrace("invoke", "demand-0", "--sample", "--json-output").stdout)
    assert math.isfinite(done["answer"]["score"])
