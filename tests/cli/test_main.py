"""Tests of help, exit codes and the form of errors."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import click
import pytest

from cli import main

from .conftest import REPOSITORY, Millrace


def test_help_names_every_command(millrace: Millrace) -> None:
    text = millrace("--help").stdout
    for name in main.COMMANDS:
        assert f"\n  {name} " in text


def test_help_imports_neither_boto3_nor_pulumi_nor_pydantic() -> None:
    program = "import sys; from cli import main; main.run(['--help']); print(sorted(sys.modules))"
    done = subprocess.run([sys.executable, "-c", program], cwd=REPOSITORY, capture_output=True, text=True, check=True)
    modules = done.stdout.rpartition("[")[2]
    for heavy in ("boto3", "botocore", "pulumi", "pydantic", "numpy", "rich"):
        assert f"'{heavy}'" not in modules


def test_an_interrupt_inside_exec_has_the_exit_code_of_any_other(tmp_path: Path) -> None:
    """Libraries make classes by `exec` while they are imported."""
    (tmp_path / "program.py").write_text(
        "import sys\n"
        "from cli import main\n"
        "main._run = lambda _: exec('raise KeyboardInterrupt')\n"
        "sys.exit(main.run([]))\n"
    )
    command = [sys.executable, "-m", "program"]
    done = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (130, "interrupted\n")


@pytest.mark.parametrize("name", main.COMMANDS)
def test_help_of_every_command_begins_with_its_summary(name: str) -> None:
    command = main.millrace.get_command(click.Context(main.millrace), name)
    assert command is not None
    assert (command.help or "").splitlines()[0] == main.COMMANDS[name][1]


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["fly"], "No such command 'fly'"),
        (["invoke"], "Missing argument 'USE_CASE'"),
        (["run", "flights", "--pipeline", "nope"], "'nope' is not one of"),
        (["run", "flights", "--frobnicate"], "No such option '--frobnicate'"),
        (["run", "flights"], "Missing option '--pipeline'"),
        (["up", "churn", "--stack", "flights-local"], "belongs to use case 'flights', not 'churn'"),
        (["local", "start", "--scale", "0"], "0.0 is not in the range 1<=x<=1000000"),
        (["local", "start", "--scale", "nan"], "nan is not in the range 1<=x<=1000000"),
        (["local", "start", "--scale", "inf"], "inf is not in the range 1<=x<=1000000"),
        (["local", "start", "--scale", "1e-300"], "is not in the range 1<=x<=1000000"),
        (["local", "start", "--state", f"/tmp/{'x' * 300}"], "File name too long"),
        (["logs", ""], "NAME is empty"),
    ],
)
def test_wrong_usage_is_exit_code_2(millrace: Millrace, arguments: list[str], said: str) -> None:
    assert said in millrace.error(*arguments, code=2)
    assert not millrace.state.exists()


@pytest.mark.parametrize(
    ("arguments", "said"),
    [
        (["status", "churn"], ["use case 'churn'", "stacks/churn", "choose one of: flights"]),
        (
            ["destroy", "churn"],
            ["package stacks/churn does not exist", "restore the folder", "`git log --oneline -- stacks/churn`"],
        ),
        (["status", "flights", "--env", "moon"], ["'flights-moon'", "Pulumi.flights-moon.yaml", "flights-local"]),
        (["up", "--stack", "flights-moon"], ["'flights-moon'", "flights-local"]),
        (
            ["status", "flights", "--env", "local"],
            ["not running", "millrace up", "millrace local start", "millrace local env"],
        ),
        (["local", "logs"], ["daemon.log", "millrace local start"]),
        (["local", "start", "--state", "/proc/foo"], ["/proc/foo", "cannot be", "--state"]),
    ],
)
def test_a_failure_is_one_clear_error_and_exit_code_1(
    millrace: Millrace, arguments: list[str], said: list[str]
) -> None:
    text = millrace.error(*arguments)
    assert text.startswith("error: ")
    for words in said:
        assert words in text


def test_verbose_shows_the_traceback(millrace: Millrace) -> None:
    done = subprocess.run(
        millrace.command("--verbose", "status", "churn"),
        cwd=REPOSITORY, env=millrace.environment, capture_output=True, text=True, check=False,
    )  # fmt: skip
    assert done.returncode == 1
    assert "Traceback" in done.stderr
    assert "error: use case 'churn'" in done.stderr


GONE = {"AWS_ENDPOINT_URL": "http://127.0.0.1:1", "AWS_ACCESS_KEY_ID": "x", "AWS_SECRET_ACCESS_KEY": "x"}


def test_an_unreachable_cloud_is_an_error_without_traceback(millrace: Millrace) -> None:
    text = millrace.error("status", "flights", "--env", "local", MILLRACE_STATE="", **GONE)
    assert "http://127.0.0.1:1" in text
    assert "millrace local env" in text


def test_a_given_state_folder_overrides_the_endpoint_of_the_shell(millrace: Millrace) -> None:
    named = millrace.state.parent / "named"
    given = millrace.error("status", "flights", "--env", "local", "--state", str(named), MILLRACE_STATE="", **GONE)
    assert f"the local cloud of {named} is not running" in given
    assert f"the local cloud of {millrace.state} is not running" in millrace.error(
        "status", "flights", "--env", "local", **GONE
    )


@pytest.mark.parametrize("address", ["http://127.0.0.1:1", "http://localhost:4566", "http://[::1]:4566"])
@pytest.mark.parametrize(
    "arguments",
    [
        ["status", "flights", "--env", "dev"],
        ["logs", "flights-dev", "--env", "dev"],
        ["up", "--stack", "flights-dev", "--yes"],
    ],
    ids=lambda arguments: arguments[0],
)
def test_the_local_cloud_is_not_taken_for_an_account(millrace: Millrace, arguments: list[str], address: str) -> None:
    text = millrace.error(*arguments, **{**GONE, "AWS_ENDPOINT_URL": address})
    assert f"AWS_ENDPOINT_URL points to the local cloud, {address}, but environment 'dev' is not local" in text
