"""From a file to an endpoint: what `millrace new` writes is trained and served as it is."""

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


def customers(number: int, chance: random.Random) -> dict[str, Any]:
    """Whether a customer left: odds of e^(calls - 2), less by two on the family plan."""
    calls, plan = chance.choice([0, 0, 1, 1, 2, 2, 3, 4]), chance.choice(["basic", "family"])
    odds = math.exp(calls - 2 - 2 * (plan == "family"))
    left = chance.random() < odds / (1 + odds)
    return {"customer": f"c{number}", "calls": calls, "Their plan": plan, "left": "yes" if left else "no"}


def rides(number: int, chance: random.Random) -> dict[str, Any]:
    """How long a ride took: three minutes a kilometre, and ten more in the rain."""
    km, rain = round(chance.uniform(1, 12), 1), chance.random() < 0.3
    minutes = 3 * km + 10 * rain + chance.gauss(0, 3)
    return {"ride": number + 5000, "km": km, "rain": rain, "minutes": round(minutes, 2)}


def written(path: Path, row: Any) -> str:
    """Three a day for a year."""
    chance, start = random.Random(3), datetime(2025, 1, 1, 6)
    with path.open("w", newline="") as file:
        rows = [{**row(number, chance), "at": start + timedelta(hours=8 * number)} for number in range(1100)]
        writer = csv.DictWriter(file, list(rows[0]))
        writer.writeheader()
        writer.writerows(rows)
    return str(path)


def up(stand: Stand, *arguments: str) -> dict[str, Any]:
    """Scaffold a use case and bring it up; what `up` says of it."""
    before = stand.git("status", "--porcelain", "--untracked-files=all").splitlines()
    made = json.loads(stand.millrace("new", *arguments, "--json").stdout)
    name = made["use_case"]
    summary: dict[str, Any] = json.loads(stand.millrace("up", name, "--no-observe", "--json", timeout=500).stdout)
    # Nothing but the new files, and none of them changed by the engine.
    after = stand.git("status", "--porcelain", "--untracked-files=all").splitlines()
    assert sorted(set(after) - set(before)) == sorted(f"?? {file}" for file in made["files"])
    local = (stand.folder / f"stacks/Pulumi.{name}-local.yaml").read_bytes()
    assert len(local) == made["files"][f"stacks/Pulumi.{name}-local.yaml"]
    assert summary["endpoint"]["status"] == "InService"
    assert summary["version"] == 1
    [gate], [promised] = summary["gates"], made["gates"]
    assert gate["passed"]
    # What was tried before anything was written is what the pipeline then makes of it.
    assert gate["value"] == pytest.approx(promised["reached"], abs=1e-5)
    return summary


def asked(stand: Stand, name: str, record: dict[str, Any]) -> float:
    done = stand.millrace("invoke", name, "--json", json.dumps(record), "--json-output")
    return float(json.loads(done.stdout)["answer"]["score"])


def test_a_file_of_customers_becomes_probabilities(stand: Stand, tmp_path: Path) -> None:
    path = written(tmp_path / "churn.csv", customers)
    summary = up(stand, "churn", "--from", path, "--trust", "calls")
    sample = summary["sample"]
    assert set(sample["request"]) == {"customer", "at", "calls", "their_plan"}
    assert 0 < sample["answer"]["score"] < 1
    record = {"customer": "new", "at": "2025-12-01T00:00:00Z", "their_plan": "basic"}
    assert asked(stand, "churn", {**record, "calls": 4}) > 0.7
    assert asked(stand, "churn", {**record, "calls": 0, "their_plan": "family"}) < 0.2
    done = stand.millrace("invoke", "churn", "--sample")
    assert "answer" in done.stdout


def test_a_file_of_rides_becomes_minutes(stand: Stand, tmp_path: Path) -> None:
    path = written(tmp_path / "rides.csv", rides)
    up(stand, "rides", "--from", path, "--target", "minutes", "--key", "ride", "--problem", "regression")
    record = {"ride": 1, "at": "2025-12-01T00:00:00Z", "km": 6.0}
    dry, wet = (asked(stand, "rides", {**record, "rain": rain}) for rain in (False, True))
    # The noise has a standard deviation of three minutes.
    assert dry == pytest.approx(18, abs=4)
    assert wet == pytest.approx(28, abs=4)
