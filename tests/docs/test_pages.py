"""Static checks of the pages: every block is exercised, and every command exists."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

from tests.docs import pages
from tests.docs.pages import CONSOLE, Block
from tests.docs.typed import find_problems

REPOSITORY = Path(__file__).resolve().parents[2]
DOCS = REPOSITORY / "docs"

#: The pages that readers follow, each with its own test module in this folder, and those that are only read.
FOLLOWED = ("tutorial", "operating", "reviewing", "forking")
READ = ("architecture", "index", "concepts", "cli", "faults", "local", "security")


def _parse_all_blocks() -> list[Block]:
    return [block for path in sorted(DOCS.glob("*.md")) for block in pages.parse_blocks(path.name, path.read_text())]


def _list_written_pages() -> list[Path]:
    """Return the handwritten pages; the usages in the reference are generated."""
    found = [*sorted(DOCS.rglob("*.md")), *(REPOSITORY / name for name in ("README.md", "CHANGELOG.md"))]
    return [path for path in found if path.name != "cli.md"]


def test_every_page_is_listed_as_followed_or_read() -> None:
    assert {path.stem for path in DOCS.glob("*.md")} == {*FOLLOWED, *READ}


@pytest.mark.parametrize("name", FOLLOWED)
def test_a_followed_page_has_commands_and_a_test_that_runs_them(name: str) -> None:
    found = pages.parse_blocks(f"{name}.md", (DOCS / f"{name}.md").read_text())
    assert any(block.language == CONSOLE and not block.reason for block in found)
    assert f'"{name}"' in (Path(__file__).parent / f"test_{name}.py").read_text()


@pytest.mark.parametrize("name", READ)
def test_a_read_page_has_no_console_blocks(name: str) -> None:
    found = pages.parse_blocks(f"{name}.md", (DOCS / f"{name}.md").read_text())
    assert [block.place for block in found if block.language == CONSOLE] == []


def test_every_command_in_a_console_block_exists() -> None:
    """Check console blocks, including those that are not run here."""
    found = [
        f"{command.place}: {problem}"
        for block in _parse_all_blocks()
        if block.language == CONSOLE
        for command in pages.parse_commands(block)
        for problem in find_problems(command.text)
        if command.code != 2
    ]
    assert found == []


def test_every_aws_sqs_command_names_the_endpoint() -> None:
    """Check for --endpoint-url: version 1 of the AWS CLI ignores the variable for SQS and would call AWS itself."""
    places = [*DOCS.rglob("*.md"), REPOSITORY / "README.md", *(REPOSITORY / "cli").rglob("*.py")]
    lines = [line for path in places for line in path.read_text().splitlines()]
    found = [line for line in lines if re.search(r"\baws sqs [a-z-]{2,}", line)]
    assert found
    assert [line for line in found if "--endpoint-url" not in line] == []


#: Placeholders in a mention: `millrace approve <use case>`, `millrace diff …`.
_STANDS = re.compile(r"<[^>]*>|…")


@pytest.mark.parametrize("path", _list_written_pages(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_every_mentioned_command_exists(path: Path) -> None:
    """Check commands in running text, and in samples that are only read."""
    text = path.read_text()
    running = re.sub(r"^( *)```.*?^\1```", "", text, flags=re.DOTALL | re.MULTILINE)
    mentions = [" ".join(each.split()) for each in re.findall(r"`(millrace [^`]+)`", running)]
    mentions += [
        re.sub(r"\s{2,}\S.*$", "", line)
        for block in pages.parse_fences(path.name, text)
        if block.language in ("", "text")
        for line in block.text.splitlines()
        if line.startswith("millrace ")
    ]
    found = [(each, problem) for each in mentions for problem in find_problems(_STANDS.sub("x", each), whole=False)]
    assert found == []


@pytest.mark.parametrize("path", [REPOSITORY / "README.md", DOCS / "index.md"], ids=lambda path: path.name)
def test_commands_and_make_targets_of_the_front_pages_exist(path: Path) -> None:
    lines = [
        line
        for block in pages.parse_fences(path.name, path.read_text())
        if block.language in ("", "text")
        for line in block.text.splitlines()
    ]
    typed = [line for line in lines if "millrace" in line]
    assert len(typed) >= 3
    assert [problem for line in typed for problem in find_problems(line)] == []
    targets = set(re.findall(r"^([a-z]+):", (REPOSITORY / "Makefile").read_text(), re.MULTILINE))
    assert {name for line in lines for name in re.findall(r"^make ([a-z]+)", line)} <= targets


def test_every_skipped_block_gives_a_reason() -> None:
    """Check the reasons that the tests of the pages report as warnings."""
    left_out = [block for block in _parse_all_blocks() if block.reason]
    for block in left_out:
        where, _, why = block.reason.partition(": ")
        assert len(where) > 1, block.place
        assert len(why) > 8, block.place
    assert len(left_out) < 25
