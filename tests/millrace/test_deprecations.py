"""Old names of fields: accepted with one warning for a minor version, then refused with the fix."""

from __future__ import annotations

import re
import subprocess
import sys
import tomllib
import warnings
from collections.abc import Iterator
from datetime import timedelta
from pathlib import Path
from typing import Any

import pytest

from cli.upgrading import parts
from millrace import DeclarationError, Environment, Gate, Monitoring, Slice, UseCase, deprecations
from millrace.deprecations import DeclarationWarning, Renamed, Retired, Table, use_entries
from millrace.rollout import Rollout
from training import bundle

REPOSITORY = Path(__file__).resolve().parents[2]

BOUND = Renamed("Gate", "minimum", "at_least", since="0.2", until="0.3")
COOLDOWN = Renamed("Retraining", "pause_hours", "cooldown", since="0.2", until="0.3", unit="hours")
BAKE = Renamed("Rollout", "bake", "bake_seconds", since="0.2", until="0.3")
STRATEGY = Retired("UseCase", "strategy", since="0.2", until="0.3", why="every split is by time")


def case(**fields: Any) -> UseCase:
    return UseCase(**{"name": "churn", "target": "left", "key": "id", "event_time": "at", **fields})


@pytest.fixture
def warned() -> Iterator[list[warnings.WarningMessage]]:
    """Yield the warnings that are shown with Python's default filters."""
    with warnings.catch_warnings(record=True) as caught:
        warnings.resetwarnings()
        yield caught


def get_only_warning(warned: list[warnings.WarningMessage]) -> str:
    [one] = warned
    assert one.category is DeclarationWarning
    return str(one.message)


def test_an_old_name_is_accepted_with_one_complete_warning(warned: list[warnings.WarningMessage]) -> None:
    with use_entries(BOUND, version="0.2.0"):
        gates = [Gate("roc_auc", minimum=floor) for floor in (0.7, 0.7)]
    assert gates == [Gate("roc_auc", at_least=0.7)] * 2
    assert get_only_warning(warned) == (
        "Gate('roc_auc'): minimum has been called at_least since 0.2; it will be refused from 0.3 on: "
        "run `millrace upgrade`, or rename it"
    )
    line = Path(__file__).read_text().splitlines()[warned[0].lineno - 1]
    assert warned[0].filename == __file__
    assert 'Gate("roc_auc", minimum=floor)' in line


def test_a_renamed_field_applies_only_to_its_own_part() -> None:
    with use_entries(BOUND, version="0.2.0"), pytest.raises(DeclarationError, match="is not a field"):
        Slice("origin", minimum=3)
    with pytest.raises(DeclarationError, match="is not a field"):
        Gate("roc_auc", minimum=0.7)


@pytest.mark.parametrize("version", ["0.3.0", "0.4.1", "1.0.0"])
def test_an_old_name_is_refused_with_the_fix_after_its_deadline(version: str) -> None:
    with use_entries(BOUND, version=version), pytest.raises(DeclarationError) as refused:
        Gate("roc_auc", minimum=0.7)
    assert str(refused.value) == (
        "Gate('roc_auc'):\n  - minimum = 0.7: has been called at_least since 0.2 and is refused from 0.3 on; "
        "run `millrace upgrade`, or rename it"
    )


@pytest.mark.parametrize("version", ["0.2.9", "0.2.0.dev1", "0.1"])
def test_an_old_name_is_accepted_before_its_deadline(version: str, warned: list[warnings.WarningMessage]) -> None:
    with use_entries(BOUND, version=version):
        assert Gate("roc_auc", minimum=0.7).at_least == 0.7
    assert len(warned) == 1


def test_old_and_new_name_together_are_refused(warned: list[warnings.WarningMessage]) -> None:
    with use_entries(BOUND, version="0.2.0"), pytest.raises(DeclarationError) as refused:
        Gate("roc_auc", minimum=0.7, at_least=0.7)
    assert "minimum = 0.7: has been called at_least since 0.2, and at_least is also given; remove minimum" in str(
        refused.value
    )
    assert warned == []


def test_a_retired_field_is_ignored_with_a_warning_then_refused(warned: list[warnings.WarningMessage]) -> None:
    with use_entries(STRATEGY, version="0.2.0"):
        assert case(strategy="by luck") == case()
    assert get_only_warning(warned) == (
        "use case 'churn': strategy has had no effect since 0.2: every split is by time; "
        "it will be refused from 0.3 on: run `millrace upgrade`, or remove it"
    )
    with use_entries(STRATEGY, version="0.3.0"), pytest.raises(DeclarationError) as refused:
        case(strategy="by luck")
    assert str(refused.value).startswith("use case 'churn':\n  - strategy = 'by luck': has had no effect since 0.2:")


@pytest.mark.parametrize(
    ("given", "meant"),
    [(6, timedelta(hours=6)), (0.5, timedelta(minutes=30)), (timedelta(hours=6), timedelta(hours=6))],
)
def test_a_number_becomes_a_duration(given: Any, meant: timedelta, warned: list[warnings.WarningMessage]) -> None:
    with use_entries(COOLDOWN, version="0.2.0"):
        assert case(retraining={"pause_hours": given}).retraining.cooldown == meant
    assert (
        "pause_hours has been called cooldown and is a duration, not a number of hours, since 0.2"
        in get_only_warning(warned)
    )


def test_a_non_numeric_duration_is_refused_under_the_new_name(warned: list[warnings.WarningMessage]) -> None:
    with use_entries(COOLDOWN, version="0.2.0"), pytest.raises(DeclarationError, match=r"retraining.cooldown = 'soon'"):
        case(retraining={"pause_hours": "soon"})


def test_a_field_renamed_twice_is_reported_with_its_newest_name(warned: list[warnings.WarningMessage]) -> None:
    table = [Renamed("Gate", "floor", "minimum", "0.1", "0.2"), BOUND]
    with use_entries(*table, version="0.1.0"):
        assert Gate("roc_auc", floor=0.7).at_least == 0.7
    assert "floor has been called at_least since 0.1; it will be refused from 0.2 on" in get_only_warning(warned)
    with (
        use_entries(*table, version="0.2.0"),
        pytest.raises(DeclarationError, match=r"floor = 0\.7: has been called at_least"),
    ):
        Gate("roc_auc", floor=0.7)


def test_a_warning_about_a_stack_names_its_configuration_file(warned: list[warnings.WarningMessage]) -> None:
    with use_entries(BAKE, version="0.2.0"):
        environment = Environment.from_stack("churn-local", {"name": "local", "rollout": {"bake": 60}}, "eu-west-1")
    assert environment.rollout == Rollout(bake_seconds=60)
    assert get_only_warning(warned).startswith(
        "stack 'churn-local', millrace:environment: Rollout(…): bake has been called bake_seconds since 0.2; "
    )
    assert warned[0].filename == "Pulumi.churn-local.yaml"
    with use_entries(BAKE, version="0.3.0"), pytest.raises(DeclarationError) as refused:
        Environment.from_stack("churn-local", {"name": "local", "rollout": {"bake": 60}}, "eu-west-1")
    assert str(refused.value).startswith(
        "stack 'churn-local', millrace:environment:\n  - rollout.bake = 60: has been called bake_seconds since 0.2"
    )


def test_an_old_name_can_be_read_until_its_deadline(warned: list[warnings.WarningMessage]) -> None:
    renamed = Renamed("Monitoring", "psi", "psi_alarm", "0.2", "0.3")
    watched: Any = Monitoring(psi_alarm=0.3)
    with use_entries(renamed, version="0.2.0"):
        assert watched.psi == 0.3
        assert not hasattr(watched, "psy")
    assert (
        "Monitoring(…): psi has been called psi_alarm since 0.2; reading it will fail from 0.3 on"
        in get_only_warning(warned)
    )
    with use_entries(renamed, version="0.3.0"), pytest.raises(AttributeError, match="psi"):
        _ = watched.psi


def test_a_contract_contains_only_current_names(warned: list[warnings.WarningMessage]) -> None:
    with use_entries(BOUND, STRATEGY, version="0.2.0"):
        old = case(gates=[Gate("roc_auc", minimum=0.7)], strategy="by luck")
    assert bundle.render_contract(old) == bundle.render_contract(case(gates=[Gate("roc_auc", at_least=0.7)]))


def test_python_shows_the_warning_by_default(tmp_path: Path) -> None:
    program = tmp_path / "declaration.py"
    program.write_text(
        "from millrace import Gate, deprecations\n"
        "with deprecations.use_entries(deprecations.Renamed('Gate', 'minimum', 'at_least', '0.1', '9.0')):\n"
        "    Gate('roc_auc', minimum=0.7)\n"
    )
    done = subprocess.run(
        [sys.executable, program], cwd=REPOSITORY, env={"PYTHONPATH": str(REPOSITORY)}, capture_output=True, text=True,
        check=True,
    )  # fmt: skip
    assert done.stderr.startswith(f"{program}:3: DeclarationWarning: Gate('roc_auc'): minimum has been called")


# -- the product's own table -------------------------------------------------------------------------------------------


def test_the_version_matches_pyproject() -> None:
    project = tomllib.loads((REPOSITORY / "pyproject.toml").read_text())["project"]
    assert project["version"] == deprecations.VERSION


def test_every_entry_leads_to_a_field_and_has_a_grace_period() -> None:
    assert find_faults(Table()) == []


def test_a_bad_entry_is_found() -> None:
    assert find_faults(Table((Renamed("Gate", "metric", "at_most", "0.2", "0.3"),))) == ["Gate.metric is still a field"]
    assert find_faults(Table((Renamed("Gate", "a", "b", "0.2", "0.3"),))) == ["Gate.a leads to 'b', which is no field"]
    assert find_faults(Table((Renamed("Gates", "a", "b", "0.2", "0.3"),))) == ["there is no part Gates"]
    assert find_faults(Table((Renamed("Gate", "a", "at_most", "0.2", "0.2"),))) == ["Gate.a: 0.2 to 0.2 is no time"]


def find_faults(table: Table) -> list[str]:
    """Return a description of each fault in a table."""
    known, found = parts.list_parts(), []
    for entry in table.entries:
        where = f"{entry.part}.{entry.old}"
        if entry.part not in known:
            found.append(f"there is no part {entry.part}")
            continue
        fields, route = known[entry.part].model_fields, table.trace(entry.part, entry.old)
        new = deprecations.get_current_name(route)
        if entry.old in fields:
            found.append(f"{where} is still a field")
        elif new is not None and new not in fields:
            found.append(f"{where} leads to {new!r}, which is no field")
        since, until = (tuple(map(int, re.findall(r"\d+", version))) for version in (entry.since, entry.until))
        if since >= until:
            found.append(f"{where}: {entry.since} to {entry.until} is no time")
    return found
