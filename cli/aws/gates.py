"""The gates of a use case: whether a model's metrics meet them, and the results as text."""

from __future__ import annotations

import math
from collections.abc import Mapping
from typing import Any, TypedDict

from cli.aws.model_packages import Package
from millrace import Gate, UseCase


class GateResult(TypedDict):
    """A gate with the model's value and its interval; ``passed`` is None where the value is unknown."""

    metric: str
    value: float | None
    lower: float | None
    upper: float | None
    at_least: float | None
    at_most: float | None
    confidence: float | None
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
    return [_check(gate, figures) for gate in use_case.gates]


def _check(gate: Gate, figures: Mapping[str, Any]) -> GateResult:
    value, lower, upper = (_number(figures.get(f"{gate.metric}{end}")) for end in ("", "_lower", "_upper"))
    # With a confidence, the worse end of the interval must meet the bound.
    judged = value if gate.confidence is None else lower if gate.at_least is not None else upper
    low, high = gate.at_least, gate.at_most
    passed = None if judged is None else (low is None or judged >= low) and (high is None or judged <= high)
    return {
        "metric": gate.metric,
        "value": value,
        "lower": lower,
        "upper": upper,
        "at_least": low,
        "at_most": high,
        "confidence": gate.confidence,
        "passed": passed,
    }


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
        found: The gates, one row each: metric, value with its interval, bound, and `passed`, `FAILED` or nothing.
    """
    rows: list[tuple[str, ...]] = []
    for gate in found:
        value = "unknown" if gate["value"] is None else f"{gate['value']:.4f}"
        if gate["lower"] is not None and gate["upper"] is not None:
            value += f" ({gate['lower']:.4f} to {gate['upper']:.4f})"
        mark = {True: "passed", False: "FAILED", None: ""}[gate["passed"]]
        rows.append((gate["metric"], value, format_bound(gate), mark))
    return rows


def format_bound(gate: GateResult) -> str:
    """Return a gate's bound in words.

    Args:
        gate: The gate, which has exactly one bound.
    """
    bound = f"at least {gate['at_least']:g}" if gate["at_least"] is not None else f"at most {gate['at_most']:g}"
    return bound if gate["confidence"] is None else f"{bound} with {gate['confidence']:.0%} confidence"


def _number(given: Any) -> float | None:
    try:
        number = float(given)
    except (TypeError, ValueError):
        return None
    # NaN and infinity meet no bound; they count as unknown.
    return number if math.isfinite(number) else None
