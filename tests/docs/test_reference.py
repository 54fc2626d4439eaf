"""The reference of the command line is what the commands say today."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli import reference
from cli.examples import EXAMPLES
from cli.main import millrace
from docs.diagrams import draw
from tests.docs.typed import problems

REPOSITORY = Path(__file__).resolve().parents[2]


def _commands(group: click.Group, path: str) -> list[str]:
    context = click.Context(group, info_name=path)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += _commands(command, f"{path} {name}") if isinstance(command, click.Group) else [f"{path} {name}"]
    return found


@pytest.mark.parametrize("columns", ["40", "200"])
def test_the_page_is_up_to_date_whatever_the_terminal(columns: str) -> None:
    code = "import sys; from cli.reference import page; sys.stdout.write(page())"
    made = subprocess.run(
        [sys.executable, "-c", code], cwd=REPOSITORY, env={**os.environ, "COLUMNS": columns, "TERM": "xterm-256color"},
        capture_output=True, text=True, check=True,
    ).stdout  # fmt: skip
    assert (REPOSITORY / "docs" / "cli.md").read_text() == made, "run `make docs`, then look at what has changed"
    assert str(REPOSITORY) not in made
    assert "\x1b" not in made


def test_every_command_has_a_section_an_example_and_a_line_of_help() -> None:
    text = reference.render_page()
    commands = _commands(millrace, "millrace")
    assert len(commands) > 10
    for command in commands:
        assert f"# {command}\n" in text
    assert set(commands) - set(EXAMPLES) == set()
    assert set(EXAMPLES) - set(commands) == set()


#: Variables that the commands set for others, or that only a workflow's host has.
_FOR_OTHERS = {"ENVIRONMENT", "ACCOUNT", "PROMOTION", "LAKE", "CLOCK", "COMPLETE", "TOKEN"}


def test_every_variable_that_a_command_reads_is_named() -> None:
    sources = "".join(path.read_text() for path in (REPOSITORY / "cli").rglob("*.py"))
    names = set(re.findall(r'"MILLRACE_([A-Z_]+)"', sources)) - _FOR_OTHERS
    assert {"STATE", "PRICES"} <= names
    text = reference.render_page()
    assert [name for name in sorted(names) if f"| `MILLRACE_{name}` |" not in text] == []


def test_every_option_says_what_it_is_for() -> None:
    """`--pipeline` alone would be a riddle."""

    def walk(command: click.Command, path: str) -> list[str]:
        context = click.Context(command, info_name=path)
        silent = [
            f"{path} {option.opts[0]}"
            for option in command.params
            if isinstance(option, click.Option) and not option.hidden and not option.help
        ]
        if isinstance(command, click.Group):
            for name in command.list_commands(context):
                below = command.get_command(context, name)
                assert below is not None
                silent += walk(below, f"{path} {name}")
        return silent

    assert walk(millrace, "millrace") == []


@pytest.mark.parametrize("command", sorted(EXAMPLES))
def test_examples_can_be_typed(command: str) -> None:
    for line, purpose in EXAMPLES[command]:
        assert command.split()[-1] in line
        assert purpose
        assert problems(line) == []


def test_the_diagrams_are_those_that_are_drawn() -> None:
    folder = REPOSITORY / "docs" / "diagrams"
    assert {path.name: path.read_text() for path in folder.glob("*.svg")} == draw.files(), (
        "run `python docs/diagrams/draw.py`, then look at them"
    )


def test_every_diagram_is_shown_and_can_be_read_aloud() -> None:
    pages = "".join(path.read_text() for path in (REPOSITORY / "docs").glob("*.md"))
    for name, svg in draw.files().items():
        assert f"diagrams/{name}" in pages or name == "icon.svg"
        assert "<title>" in svg
        assert 'role="img"' in svg
