"""The pages as they are written, before anything is run: blocks that somebody tries, commands that there are."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.pages import CONSOLE, Block
from tests.docs.typed import problems

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"

#: The pages that readers work through, each with a test of its own beside this one, and those that are only read.
FOLLOWED = ("tutorial", "operating", "reviewing", "forking")
READ = ("architecture", "index", "concepts", "cli", "local", "security")


def _blocks() -> list[Block]:
    return [block for path in sorted(DOCS.glob("*.md")) for block in pages.blocks(path.name, path.read_text())]


def _written() -> list[Path]:
    """What people have written; the reference's usages are for the eye."""
    found = [*sorted(DOCS.rglob("*.md")), *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md"))]
    return [path for path in found if path.name != "cli.md"]


def test_every_page_is_one_to_follow_or_one_to_read() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == {*FOLLOWED, *READ}


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_page_to_follow_has_commands_and_a_test_that_runs_them(name: str) -> None:
    found = pages.blocks(f"{name}.md", (DOCS / f"{name}.md").read_text())
    assert any(block.language == CONSOLE and not block.reason for block in found)
    assert f'"{name}"' in (Path(__file__).parent / f"test_{name}.py").read_text()


@pytest.mark.parametrize("name", READ)
def test_a_page_to_read_has_no_commands_that_nobody_runs(name: str) -> None:
    found = pages.blocks(f"{name}.md", (DOCS / f"{name}.md").read_text())
    assert [block.place for block in found if block.language == CONSOLE] == []


def test_every_command_of_a_page_is_one_that_there_is() -> None:
    """Those that are not run here too."""
    found = [
        f"{command.place}: {problem}"
        for block in _blocks()
        if block.language == CONSOLE
        for command in pages.commands(block)
        for problem in problems(command.text)
        if command.code != 2
    ]
    assert found == []


def test_every_command_of_the_aws_cli_stays_on_this_machine() -> None:
    """For SQS its first version goes to AWS itself unless the address is in the command: there it heeds no variable."""
    places = [*DOCS.rglob("*.md"), REPOSITORY / "README.md", *(REPOSITORY / "cli").rglob("*.py")]
    lines = [line for path in places for line in path.read_text().splitlines()]
    found = [line for line in lines if re.search(r"\baws sqs [a-z-]{2,}", line)]
    assert found
    assert [line for line in found if "--endpoint-url" not in line] == []


#: What stands for something else in a mention: `millrace approve <use case>`, `millrace diff …`.
_STANDS = re.compile(r"<[^>]*>|…")


@pytest.mark.parametrize("path", _written(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_command_that_is_mentioned_is_one_that_there_is(path: Path) -> None:
    """In running text, and in samples that are only looked at."""
    text = path.read_text()
    running = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
    mentions = [" ".join(each.split()) for each in re.findall(r"`(millrace [^`]+)`", running)]
    mentions += [
        re.sub(r"\s{2,}\S.*$", "", line)
        for block in pages.fences(path.name, text)
        if block.language in ("", "text")
        for line in block.text.splitlines()
        if line.startswith("millrace ")
    ]
    found = [(each, problem) for each in mentions for problem in problems(_STANDS.sub("x", each), whole=False)]
    assert found == []


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", DOCS / "index.md"], ids=lambda path: path.name)
def test_what_is_typed_at_a_first_look_is_there(path: Path) -> None:
    lines = [
        line
        for block in pages.fences(path.name, path.read_text())
        if block.language in ("", "text")
        for line in block.text.splitlines()
    ]
    typed = [line for line in lines if "millrace" in line]
    assert len(typed) >= 3
    assert [problem for line in typed for problem in problems(line)] == []
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {name for line in lines for name in re.findall(r"^make ([a-z]+)", line)} <= targets


def test_every_block_that_is_not_run_says_why() -> None:
    """The pages' own tests list them as warnings."""
    left_out = [block for block in _blocks() if block.reason]
    for block in left_out:
        where, _, why = block.reason.partition(": ")
        assert len(where) > 1, block.place
        assert len(why) > 8, block.place
    assert len(left_out) < 25
