"""The names of stacks' configuration files are made and read in one place."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from millrace.config_files import find_config_files, make_file_name, parse_file_name

REPOSITORY = Path(__file__).parents[2]


def test_the_files_of_a_folder_are_found_by_stack(tmp_path: Path) -> None:
    for name in ("Pulumi.b-prod.yaml", "Pulumi.a-b-dev.yaml", "Pulumi.yaml", "Pulumi.a.yml", "a.yaml"):
        (tmp_path / name).touch()
    assert find_config_files(tmp_path) == {
        "a-b-dev": tmp_path / "Pulumi.a-b-dev.yaml",
        "b-prod": tmp_path / "Pulumi.b-prod.yaml",
    }
    assert list(find_config_files(tmp_path, "*-prod")) == ["b-prod"]
    assert find_config_files(tmp_path / "none") == {}


@pytest.mark.parametrize("name", ["Pulumi.yaml", "Pulumi..yaml", "flights-dev.yaml", "Pulumi.flights-dev.yml"])
def test_other_files_are_of_no_stack(name: str) -> None:
    assert parse_file_name(name) is None


def test_a_name_is_made_and_parsed() -> None:
    assert make_file_name("flights-dev") == "Pulumi.flights-dev.yaml"
    assert parse_file_name("Pulumi.flights-dev.yaml") == "flights-dev"


def test_no_other_module_makes_or_takes_apart_such_a_name() -> None:
    spelled = re.compile(r"Pulumi\.(?:\{[^}]*\}|[^\s/]*\*[^\s/]*)\.yaml(?!\.j2)|\"Pulumi\.\"")
    found = [
        path.relative_to(REPOSITORY).as_posix()
        for package in ("cli", "components", "engine", "local", "millrace", "queries", "stacks", "training")
        for path in (REPOSITORY / package).rglob("*.py")
        if spelled.search(path.read_text())
    ]
    assert found == ["millrace/config_files.py"]
