"""Two dozen use cases in one account: one platform, and nothing else of each that another one could touch."""

from __future__ import annotations

import json
import math
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

#: Two cores: more at once would only wait for each other.
AT_ONCE = 2
#: Those that keep their data in a lake of their own.
OWN = ("demand-3", "made-3")
#: Those that are trained and serve, one of each problem.
SERVING = ("churn-0", "demand-0")
ALARMS = ("drift", "heartbeat", "undelivered")
ACCOUNT = "123456789012"


def _rows(seed: int, problem: str, count: int = 1200) -> pa.Table:
    """Customers, one every two hours; the outcome depends on two columns and on chance."""
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


def _data(folder: Path, name: str, kind: str, number: int) -> list[str]:
    """What `millrace new` is told of a use case; each is a little different."""
    if kind == "made":
        return ["--problem", "regression" if number % 2 else "binary"]
    problem = "binary" if kind == "churn" else "regression"
    rows = _rows(number + (0 if kind == "churn" else 100), problem)
    path = folder / f"{name}.{'parquet' if number % 3 == 1 else 'csv'}"
    (pa.parquet.write_table if path.suffix == ".parquet" else pa.csv.write_csv)(rows, path)
    return ["--from", str(path), "--target", "outcome", "--problem", problem, "--trust", "visits"]


NAMES = [f"{kind}-{number}" for kind in ("churn", "demand", "made") for number in range(8)]


@pytest.fixture(scope="module")
def fleet(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """A platform and 24 use cases of the scaffold's, deployed; two of them trained and serving."""
    folder = tmp_path_factory.mktemp("fleet")
    (folder / "millrace").mkdir()
    stand = Stand(folder / "millrace", 60.0)
    stand.start()

    def begin(name: str) -> None:
        kind, _, number = name.rpartition("-")
        stand.millrace("new", name, "--yes", *_data(folder, name, kind, int(number)))
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


def _pages(stand: Stand, service: str, operation: str, key: str, **arguments: Any) -> list[dict[str, Any]]:
    pages = stand.client(service).get_paginator(operation).paginate(**arguments)
    return [each for page in pages for each in page[key]]


def test_one_lake_for_those_that_share_it_and_one_dashboard_of_all(fleet: Stand) -> None:
    buckets = sorted(each["Name"] for each in fleet.client("s3").list_buckets()["Buckets"])
    shared = f"platform-local-lake-{ACCOUNT}"
    assert buckets == sorted([shared, *(f"{name}-local-lake-{ACCOUNT}" for name in OWN)])
    keys = _pages(fleet, "s3", "list_objects_v2", "Contents", Bucket=shared)
    assert {each["Key"].split("/")[0] for each in keys} == set(NAMES) - set(OWN)
    body = json.loads(fleet.client("cloudwatch").get_dashboard(DashboardName="platform-local")["DashboardBody"])
    shown = {arn.rpartition(":")[2] for widget in body["widgets"] for arn in widget["properties"].get("alarms", [])}
    # flights has a local stack too, which nobody has deployed here.
    assert {f"{name}-local-{kind}" for name in [*NAMES, "flights"] for kind in (*ALARMS, "errors", "latency")} <= shown


def test_each_has_names_roles_alarms_and_a_registry_of_its_own(fleet: Stand) -> None:
    groups = _pages(fleet, "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList")
    assert sorted(each["ModelPackageGroupName"] for each in groups) == sorted(f"{name}-local" for name in NAMES)
    alarms = {each["AlarmName"] for each in _pages(fleet, "cloudwatch", "describe_alarms", "MetricAlarms")}
    assert {f"{name}-local-{kind}" for name in NAMES for kind in ALARMS} <= alarms
    iam = fleet.client("iam")
    roles = [each["RoleName"] for each in _pages(fleet, "iam", "list_roles", "Roles")]
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


def test_status_of_all_of_them_comes_at_once(fleet: Stand) -> None:
    began = time.monotonic()
    document = json.loads(fleet.millrace("status", "--env", "local", "--json").stdout)
    took = time.monotonic() - began
    rows = {row["stack"]: row for row in document["stacks"]}
    assert {f"{name}-local" for name in NAMES} <= set(rows)
    assert {name for name in NAMES if rows[f"{name}-local"]["endpoint"]["version"]} == set(SERVING)
    # How fast it is stands in benchmarks/; this guards against asking one after the other for minutes.
    assert took < 20


def test_one_use_case_s_preview_does_not_open_another_one(fleet: Stand) -> None:
    broken = fleet.folder / "stacks" / "churn_1" / "__init__.py"
    kept = broken.read_text()
    broken.write_text("raise RuntimeError('opened by somebody else')\n")
    try:
        done = fleet.millrace("diff", "churn-2", "--format", "json")
        assert json.loads(done.stdout)["verdict"] == "no changes"
        said = fleet.millrace("diff", "churn-1", code=1).stderr
        assert "opened by somebody else" in said
        # Others are listed as well as ever, and this one with its reason.
        document = json.loads(fleet.millrace("status", "--env", "local", "--json").stdout)
        assert "churn-2-local" in {row["stack"] for row in document["stacks"]}
        assert "opened by somebody else" in json.dumps(document)
    finally:
        broken.write_text(kept)


def test_what_serves_answers(fleet: Stand) -> None:
    for name in SERVING:
        done = json.loads(fleet.millrace("invoke", name, "--sample", "--json-output").stdout)
        assert math.isfinite(done["answer"]["score"])


def test_one_goes_and_the_others_stay(fleet: Stand) -> None:
    fleet.millrace("destroy", "churn-0", "--yes")
    endpoints = [each["EndpointName"] for each in fleet.client("sagemaker").list_endpoints()["Endpoints"]]
    assert endpoints == ["demand-0-local"]
    groups = _pages(fleet, "sagemaker", "list_model_package_groups", "ModelPackageGroupSummaryList")
    assert sorted(each["ModelPackageGroupName"] for each in groups) == sorted(
        f"{name}-local" for name in NAMES if name != "churn-0"
    )
    shared = f"platform-local-lake-{ACCOUNT}"
    keys = _pages(fleet, "s3", "list_objects_v2", "Contents", Bucket=shared)
    assert {each["Key"].split("/")[0] for each in keys} - {"churn-0"} == set(NAMES) - {*OWN, "churn-0"}
    done = json.loads(fleet.millrace("invoke", "demand-0", "--sample", "--json-output").stdout)
    assert math.isfinite(done["answer"]["score"])
