"""From a file to an endpoint: the files that `millrace new` writes are trained and served unchanged."""

from __future__ import annotations

import csv
import json
import math
import random
from datetime import datetime, timedelta
from pathlib import Path
from typing import Any

import pytest

from .stand import Stand

pytestmark = pytest.mark.timeout(600)


def make_customer(number: int, chance: random.Random) -> dict[str, Any]:
    """Return a customer; the odds of leaving are e^(calls - 2), divided by e^2 on the family plan."""
    calls, plan = chance.choice([0, 0, 1, 1, 2, 2, 3, 4]), chance.choice(["basic", "family"])
    odds = math.exp(calls - 2 - 2 * (plan == "family"))
    left = chance.random() < odds / (1 + odds)
    return {"customer": f"c{number}", "calls": calls, "Their plan": plan, "left": "yes" if left else "no"}


def make_ride(number: int, chance: random.Random) -> dict[str, Any]:
    """Return a ride; it takes three minutes per kilometre, and ten more in the rain."""
    km, rain = round(chance.uniform(1, 12), 1), chance.random() < 0.3
    minutes = 3 * km + 10 * rain + chance.gauss(0, 3)
    return {"ride": number + 5000, "km": km, "rain": rain, "minutes": round(minutes, 2)}


def write_csv(path: Path, row: Any) -> str:
    """Write three rows a day for a year and return the path."""
    chance, start = random.Random(3), datetime(2025, 1, 1, 6)
    with path.open("w", newline="") as file:
        rows = [{**row(number, chance), "at": start + timedelta(hours=8 * number)} for number in range(1100)]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def scaffold_and_deploy(stand: Stand, *arguments: str) -> dict[str, Any]:
    """Scaffold and deploy a use case, and return the summary of `up`."""
    before = stand.git("status", "--porcelain", "--untracked-files=all").splitlines()
    made = json.loads(stand.millrace("new", *arguments, "--json").stdout)
    name = made["use_case"]
    summary: dict[str, Any] = json.loads(stand.millrace("up", name, "--no-observe", "--json", timeout=500).stdout)
    # Only the new files were added, and the engine changed none of them.
    after = stand.git("status", "--porcelain", "--untracked-files=all").splitlines()
    assert sorted(set(after) - set(before)) == sorted(f"?? {file}" for file in made["files"])
    local = (stand.folder / f"stacks/Pulumi.{name}-local.yaml").read_bytes()
    assert len(local) == made["files"][f"stacks/Pulumi.{name}-local.yaml"]
    assert summary["endpoint"]["status"] == "InService"
    assert summary["version"] == 1
    [gate], [promised] = summary["gates"], made["gates"]
    assert gate["passed"]
    # The pipeline reaches the metric that the scaffold measured before it wrote any file.
    assert gate["value"] == pytest.approx(promised["reached"], abs=1e-5)
    return summary


def predict(stand: Stand, name: str, record: dict[str, Any]) -> float:
    done = stand.millrace("invoke", name, "--json", json.dumps(record), "--json-output")
    return float(json.loads(done.stdout)["answer"]["score"])


def test_a_file_of_customers_becomes_a_classifier(stand: Stand, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "churn.csv", make_customer)
    summary = scaffold_and_deploy(stand, "churn", "--from", path, "--trust", "calls")
    sample = summary["sample"]
    assert set(sample["request"]) == {"customer", "at", "calls", "their_plan"}
    assert 0 < sample["answer"]["score"] < 1
    record = {"customer": "new", "at": "2025-12-01T00:00:00Z", "their_plan": "basic"}
    assert predict(stand, "churn", {**record, "calls": 4}) > 0.7
    assert predict(stand, "churn", {**record, "calls": 0, "their_plan": "family"}) < 0.2
    done = stand.millrace("invoke", "churn", "--sample")
    assert "answer" in done.stdout


def test_a_file_of_rides_becomes_a_regressor(stand: Stand, tmp_path: Path) -> None:
    path = write_csv(tmp_path / "rides.csv", make_ride)
    scaffold_and_deploy(
        stand, "rides", "--from", path, "--target", "minutes", "--key", "ride", "--problem", "regression"
    )
    record = {"ride": 1, "at": "2025-12-01T00:00:00Z", "km": 6.0}
    dry, wet = (predict(stand, "rides", {**record, "rain": rain}) for rain in (False, True))
    # The noise has a standard deviation of three minutes.
    assert dry == pytest.approx(18, abs=4)
    assert wet == pytest.approx(28, abs=4)
