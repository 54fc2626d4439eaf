"""The check of commands that a reader types."""

from __future__ import annotations

import pytest

from tests.docs.typed import find_calls, find_problems


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
def test_calls_are_found_in_a_shell_line(line: str, found: list[list[str]]) -> None:
    assert list(find_calls(line)) == found


@pytest.mark.parametrize(
    "line", ["millrace status flights --json", "millrace local env --shell fish", "millrace --help", "ls -l"]
)
def test_a_valid_line_has_no_problems(line: str) -> None:
    assert find_problems(line) == []


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
def test_an_invalid_call_is_reported(line: str, said: str) -> None:
    [problem] = find_problems(line)
    assert said in problem


def test_a_mention_may_omit_arguments_but_not_name_unknown_options() -> None:
    assert find_problems("millrace approve", whole=False) == []
    assert find_problems("millrace workflows", whole=False) == []
    assert len(find_problems("millrace approve --jason", whole=False)) == 1
