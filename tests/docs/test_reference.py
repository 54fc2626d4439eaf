"""The reference of the command line is built from the commands."""

from __future__ import annotations

import html
import os
import re
import subprocess
import sys
from pathlib import Path

import click
import pytest
from click.testing import CliRunner

from cli.examples import EXAMPLES
from cli.main import millrace
from docs.diagrams import draw
from tests.docs.typed import find_problems

REPOSITORY = Path(__file__).resolve().parents[2]


def _list_commands(group: click.Group, path: str) -> list[str]:
    context = click.Context(group, info_name=path)
    found = []
    for name in group.list_commands(context):
        command = group.get_command(context, name)
        assert command is not None
        found += _list_commands(command, f"{path} {name}") if isinstance(command, click.Group) else [f"{path} {name}"]
    return found


@pytest.fixture(scope="module")
def page(tmp_path_factory: pytest.TempPathFactory) -> str:
    """Return the HTML of the page, built as `make docs` builds the site, without a terminal's width or colours."""
    site = tmp_path_factory.mktemp("site")
    subprocess.run(
        [sys.executable, "-m", "mkdocs", "build", "--strict", "--quiet", "--site-dir", site],
        cwd=REPOSITORY, env={**os.environ, "NO_MKDOCS_2_WARNING": "1", "COLUMNS": "100"}, check=True,
    )  # fmt: skip
    return (site / "cli.html").read_text()


def test_every_command_has_a_section_and_an_example(page: str) -> None:
    commands = _list_commands(millrace, "millrace")
    assert len(commands) > 10
    for command in commands:
        assert f'id="{command.replace(" ", "-")}"' in page
    assert set(commands) - set(EXAMPLES) == set()
    assert set(EXAMPLES) - set(commands) == set()


def test_the_page_shows_the_options_and_examples_of_a_command(page: str) -> None:
    text = html.unescape(re.sub(r"<[^>]+>", "", page))
    for part in ("--save-plan", "the full traceback of an error", EXAMPLES["millrace rollback"][0][0]):
        assert part in text
    assert str(REPOSITORY) not in text
    assert "\b" not in text
    assert "\x1b" not in text


def test_angle_brackets_of_help_texts_are_shown(page: str) -> None:
    """A browser hides `<use case>` if it is taken for a tag."""
    tags = set(re.findall(r"<(use) [a-z]+>|<(step|job|name|pipeline|group|version|file|number|environment)>", page))
    assert tags == set()


def test_examples_are_part_of_the_help(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("COLUMNS", "100")
    result = CliRunner().invoke(millrace, ["review", "create", "--help"])
    assert result.exit_code == 0
    assert f"    {EXAMPLES['millrace review create'][0][0]}\n" in result.output
    assert result.output.count("Examples:") == 1


#: Variables that the commands set for other programs, or that only the host of a workflow sets.
_FOR_OTHERS = {"ENVIRONMENT", "ACCOUNT", "PROMOTION", "LAKE", "CLOCK", "COMPLETE", "TOKEN"}


def test_every_environment_variable_is_documented() -> None:
    sources = "".join(path.read_text() for path in (REPOSITORY / "cli").rglob("*.py"))
    names = set(re.findall(r'"MILLRACE_([A-Z_]+)"', sources)) - _FOR_OTHERS
    assert {"STATE", "PRICES"} <= names
    text = (REPOSITORY / "docs" / "cli.md").read_text()
    assert [name for name in sorted(names) if f"| `MILLRACE_{name}` |" not in text] == []


def test_every_option_has_a_help_text() -> None:
    """Check for help texts: the name `--pipeline` alone would explain nothing."""

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
def test_examples_are_valid_commands(command: str) -> None:
    for line, purpose in EXAMPLES[command]:
        assert command.split()[-1] in line
        assert purpose
        assert find_problems(line) == []


def test_the_diagrams_are_up_to_date() -> None:
    folder = REPOSITORY / "docs" / "diagrams"
    assert {path.name: path.read_text() for path in folder.glob("*.svg")} == draw.files(), (
        "run `python docs/diagrams/draw.py`, then look at them"
    )


def test_every_diagram_is_shown_and_accessible() -> None:
    pages = "".join(path.read_text() for path in (REPOSITORY / "docs").glob("*.md"))
    for name, svg in draw.files().items():
        assert f"diagrams/{name}" in pages or name == "icon.svg"
        assert "<title>" in svg
        assert 'role="img"' in svg
