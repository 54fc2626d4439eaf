"""Help, exit codes, and what an error looks like."""

from __future__ import annotations

import subprocess
import sys
import time

import click
import pytest

from cli import main

from .conftest import REPOSITORY, Millrace


def test_help_names_every_command_and_is_quick(millrace: Millrace) -> None:
    taken = []
    for _ in range(5):
        began = time.perf_counter()
        text = millrace("--help").stdout
        taken.append(time.perf_counter() - began)
    for name in main.COMMANDS:
        assert f"\n  {name} " in text
    assert min(taken) < 0.3


def test_help_imports_neither_boto3_nor_pulumi_nor_pydantic() -> None:
    program = "import sys; from cli import main; main.run(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = done.stdout.rpartition("[")[2]
    for heavy in ("boto3", "botocore", "pulumi", "pydantic", "numpy", "rich"):
        assert f"'{heavy}'" not in modules


@pytest.mark.parametrize("name", main.COMMANDS)
def test_every_command_has_help_that_begins_as_the_list_says(name: str) -> None:
    command = main.millrace.get_command(click.Context(main.millrace), name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == main.COMMANDS[name][1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["status"], "Missing argument 'USE_CASE'"),
        (["run", "flights", "--pipeline", "nope"], "'nope' is not one of"),
        (["run", "flights", "--frobnicate"], "No such option '--frobnicate'"),
        (["up", "churn", "--stack", "flights-local"], "stack flights-local is of use case 'flights', not 'churn'"),
        (["local", "start", "--scale", "0"], "0.0 is not in the range x>0"),
    ],
)
def test_used_wrongly_is_exit_code_2(millrace: Millrace, arguments: list[str], said: str) -> None:
    assert said in millrace.error(*arguments, code=2)
    assert not millrace.state.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "churn"], ["use case 'churn'", "stacks/churn", "there are: flights"]),
        (["status", "flights", "--env", "moon"], ["'flights-moon'", "Pulumi.flights-moon.yaml", "flights-local"]),
        (["up", "--stack", "flights-moon"], ["'flights-moon'", "flights-local"]),
        (["status", "flights"], ["not running", "millrace up", "millrace local start", "millrace local env"]),
        (["local", "logs"], ["daemon.log", "millrace local start"]),
    ],
)
def test_what_cannot_be_done_is_one_clear_error_and_exit_code_1(
    millrace: Millrace, arguments: list[str], said: list[str]
) -> None:
    text = millrace.error(*arguments)
    assert text.startswith("error: ")
    for words in said:
        assert words in text


def test_verbose_shows_the_trace(millrace: Millrace) -> None:
    done = subprocess.run(
        millrace.command("--verbose", "status", "churn"),
        cwd=REPOSITORY, env=millrace.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "error: use case 'churn'" in done.stderr


def test_a_cloud_that_is_gone_is_an_error_not_a_trace(millrace: Millrace) -> None:
    text = millrace.error(
        "status", "flights",
        AWS_ENDPOINT_URL="http://127.0.0.1:1", AWS_ACCESS_KEY_ID="x", AWS_SECRET_ACCESS_KEY="x",
    )  # fmt: skip
    assert "http://127.0.0.1:1" in text
    assert "millrace local env" in text
