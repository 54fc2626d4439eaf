"""The gates of a use case: whether a model's metrics meet them, and the results as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from cli.aws.model_packages import Package
from millrace import UseCase


class GateResult(TypedDict):
    """A gate with the model's value; ``passed`` is None where the value is unknown."""

    metric: str
    value: float | None
    at_least: float | None
    at_most: float | None
    passed: bool | None


def list_missed_gates(use_case: UseCase, package: Package) -> list[str]:
    """Return a short text for each gate that a package does not meet.

    Args:
        use_case: The declaration with the gates.
        package: The package; a gate whose value it does not record counts as not met.
    """
    found = []
    for gate in check_gates(use_case, package):
        if gate["passed"]:
            continue
        value = "unknown" if gate["value"] is None else f"{gate['value']:.4f}"
        found.append(f"{gate['metric']} is {value}, expected {format_bound(gate)}")
    return found


def check_gates(use_case: UseCase, package: Package) -> list[GateResult]:
    """Return each gate with the model's value; ``passed`` is None where the value is unknown.

    Args:
        use_case: The declaration with the gates.
        package: The package, whose metadata has the values.
    """
    return check_gates_of_metrics(use_case, package.metadata)


def check_gates_of_metrics(use_case: UseCase, figures: Mapping[str, Any]) -> list[GateResult]:
    """Return each gate with its value in a mapping of metric → value.

    Args:
        use_case: The declaration with the gates.
        figures: Metric → number, or a number as text; one that is missing or not finite is unknown.
    """
    found: list[GateResult] = []
    for gate in use_case.gates:
        value = _number(figures.get(gate.metric))
        low, high = gate.at_least, gate.at_most
        passed = None if value is None else (low is None or value >= low) and (high is None or value <= high)
        found.append(
            {"metric": gate.metric, "value": value, "at_least": low, "at_most": high, "passed": passed},
        )
    return found


def format_package_gates(use_case: UseCase, package: Package) -> list[tuple[str, ...]]:
    """Return a package's gates as table rows.

    Args:
        use_case: The declaration with the gates.
        package: The package, whose metadata has the values.
    """
    return format_gates(check_gates(use_case, package))


def format_gates(found: list[GateResult]) -> list[tuple[str, ...]]:
    """Return gates with their values as table rows.

    Args:
        found: The gates, one row each: metric, value, bound, and `passed`, `FAILED` or nothing.
    """
    rows: list[tuple[str, ...]] = []
    for gate in found:
        value = "unknown" if gate["value"] is None else f"{gate['value']:.4f}"
        mark = {True: "passed", False: "FAILED", None: ""}[gate["passed"]]
        rows.append((gate["metric"], value, format_bound(gate), mark))
    return rows


def format_bound(gate: GateResult) -> str:
    """Return a gate's bound in words.

    Args:
        gate: The gate, which has exactly one bound.
    """
    return f"at least {gate['at_least']:g}" if gate["at_least"] is not None else f"at most {gate['at_most']:g}"


def _number(given: Any) -> float | None:
    try:
        number = float(given)
    except (TypeError, ValueError):
        return None
    # NaN and infinity meet no bound; they count as unknown.
    return number if math.isfinite(number) else None
