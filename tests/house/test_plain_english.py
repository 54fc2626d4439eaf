"""Sources, templates and pages are free of phrases that no reader of this field would use."""

from __future__ import annotations

import re
from pathlib import Path

import pytest

REPOSITORY = Path(__file__).parents[2]

#: Phrase → what to write instead. Only what is never right in plain English is here; `there is`, `need` or `tell` are.
REFUSED = {
    r"\banew\b": "again, recreated",
    r"\b(?:made|built|trained|begun) anew\b": "recreated, rebuilt, retrained, restarted",
    r"\bways? out\b": "fix",
    r"\bcould be had\b": "was found, is available",
    r"\bbegun again\b": "restarted",
    r"\broll-outs?\b": "rollout",
    r"\broll-backs?\b": "rollback",
    r"\bends serving\b": "stops serving",
    r"\bstands? (?:there )?twice\b": "is listed twice, is not unique",
    r"\bwhat is there\b": "existing",
    r"\bwhat there is\b": "existing",
    r"\blets? \w+ pass\b": "accepts",
    r"\bis to be had\b": "is available",
    r"\bgoes by\b": "uses",
    r"(?<!\bthere )\bis no (?:JSON|YAML|file|folder|number|list|time|text|object)\b": "is not",
    r"\bmend(?:s|ed|ing)?\b": "fix",
}
_SUFFIXES = {".py", ".md", ".j2", ".toml", ".yml", ".yaml", ".mk"}
_FOLDERS = (
    "cli", "components", "docs", "engine", "local", "millrace", "queries", "stacks", "templates", "training",
)  # fmt: skip
#: Decisions are history: they are kept as they were made.
_HISTORY = REPOSITORY / "docs" / "adr"


def list_files() -> list[Path]:
    found = [REPOSITORY / name for name in ("README.md", "CHANGELOG.md", "Makefile", "pyproject.toml", "__main__.py")]
    for folder in _FOLDERS:
        found += [path for path in sorted((REPOSITORY / folder).rglob("*")) if path.suffix in _SUFFIXES]
    return [path for path in found if _HISTORY not in path.parents and "__pycache__" not in path.parts]


def find_phrases(text: str) -> list[tuple[int, str, str]]:
    """Return the line, the phrase and its replacement for each phrase that is refused."""
    return [
        (text.count("\n", 0, found.start()) + 1, found.group(), instead)
        for phrase, instead in REFUSED.items()
        for found in re.finditer(phrase, text, re.IGNORECASE)
    ]


@pytest.mark.parametrize("path", list_files(), ids=lambda path: path.relative_to(REPOSITORY).as_posix())
def test_a_file_is_in_plain_english(path: Path) -> None:
    assert find_phrases(path.read_text()) == []


def test_the_phrases_are_found() -> None:
    assert find_phrases("fine\nthe roll-out is made anew") == [
        (2, "anew", "again, recreated"),
        (2, "made anew", "recreated, rebuilt, retrained, restarted"),
        (2, "roll-out", "rollout"),
    ]
    assert find_phrases("there is a need to tell you; the amendment goes there") == []


def test_no_module_level_function_is_called_by_a_bare_word() -> None:
    """`of` or `told` alone say nothing, and cannot be searched for."""
    bare = re.compile(r"^def (of|told|said|found|changes|mended|along|others|without|since|twice|unable|unfit)\(", re.M)
    found = [
        f"{path.relative_to(REPOSITORY)}: {name}"
        for path in list_files()
        if path.suffix == ".py"
        for name in bare.findall(path.read_text())
    ]
    assert found == []
