"""The check of what a reader types."""

from __future__ import annotations

import pytest

from tests.docs.typed import calls, problems


@pytest.mark.parametrize(
    ("line", "found"),
    [
        ("millrace status flights", [["status", "flights"]]),
        (".venv/bin/millrace status flights --json | grep x", [["status", "flights", "--json"]]),
        ('eval "$(.venv/bin/millrace local env)"', [["local", "env"]]),
        ("MILLRACE_STATE=x millrace local stop && millrace local start", [["local", "stop"], ["local", "start"]]),
        ("grep millrace README.md", []),
        ("millrace invoke churn --json '{\"a\": 1}' > answer.json", [["invoke", "churn", "--json", '{"a": 1}']]),
    ],
)
def test_calls_are_found_in_a_shell_s_line(line: str, found: list[list[str]]) -> None:
    assert list(calls(line)) == found


@pytest.mark.parametrize(
    "line", ["millrace status flights --json", "millrace local env --shell fish", "millrace --help", "ls -l"]
)
def test_what_can_be_typed_is_taken(line: str) -> None:
    assert problems(line) == []


@pytest.mark.parametrize(
    ("line", "said"),
    [
        ("millrace statis flights", "No such command 'statis'"),
        ("millrace status flights --jason", "No such option"),
        ("millrace approve", "Missing argument"),
        ("millrace local env --shell tcsh", "is not one of"),
        ("millrace approve flights four", "not a valid integer"),
    ],
)
def test_what_cannot_be_typed_is_told(line: str, said: str) -> None:
    [problem] = problems(line)
    assert said in problem


def test_a_mention_may_leave_out_what_is_needed_but_not_name_what_is_not_there() -> None:
    assert problems("millrace approve", whole=False) == []
    assert problems("millrace workflows", whole=False) == []
    assert len(problems("millrace approve --jason", whole=False)) == 1
