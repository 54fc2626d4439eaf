"""Tests of `millrace completion` with its scripts in real shells."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import textwrap
from pathlib import Path

import pytest

from .many import Checkout

SHELLS = ("bash", "zsh", "fish")


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    """Return a checkout without a cloud, with `millrace` on PATH and use cases whose names begin alike."""
    folder = tmp_path_factory.mktemp("completion")
    checkout = Checkout(folder / "checkout", folder / "state")
    for name in ("churn", "churn-eu", "fraud"):
        checkout.declare(name)
        checkout.stack(name)
    checkout.stack("churn", "prod")
    checkout.stack("churn-eu", "dev")
    (checkout.folder / "home").mkdir()
    (checkout.folder / "bin").mkdir()
    command = checkout.folder / "bin" / "millrace"
    command.write_text(f'#!/bin/sh\ncd "{checkout.folder}" && exec "{sys.executable}" -m cli.main "$@"\n')
    command.chmod(0o755)
    return checkout


def make_environment(checkout: Checkout) -> dict[str, str]:
    path = f"{checkout.folder / 'bin'}{os.pathsep}{os.environ['PATH']}"
    clean = {name: value for name, value in checkout.environment.items() if not name.startswith(("XDG_", "ZDOTDIR"))}
    return {**clean, "HOME": str(checkout.folder / "home"), "PATH": path}


def run_shell(checkout: Checkout, name: str, script: str, *options: str) -> str:
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not on this machine")
    done = subprocess.run(
        [name, *options, "-c", textwrap.dedent(script)],
        env=make_environment(checkout), capture_output=True, text=True, timeout=60, check=False,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr
    return done.stdout


def complete_in_bash(
    checkout: Checkout, *lines: str, first: str = 'eval "$(millrace completion bash)"'
) -> list[list[str]]:
    """Return the completions that bash offers for the last word of each line."""
    script = [first]
    for line in lines:
        words = " ".join(f"'{word}'" for word in line.split(" "))
        script += [
            f"COMP_WORDS=({words}); COMP_CWORD={line.count(' ')}; COMPREPLY=()",
            "_millrace_completion millrace",
            'echo "${COMPREPLY[@]}"',
        ]
    return [line.split() for line in run_shell(checkout, "bash", "\n".join(script), "--norc").splitlines()]


@pytest.mark.parametrize("name", SHELLS)
def test_the_script_is_valid_in_its_shell(checkout: Checkout, name: str) -> None:
    printed = checkout("completion", name).stdout
    assert "_MILLRACE_COMPLETE" in printed
    if shutil.which(name) is None:
        pytest.skip(f"{name} is not on this machine")
    option = "--no-execute" if name == "fish" else "-n"
    done = subprocess.run([name, option], input=printed, capture_output=True, text=True, check=False)
    assert (done.returncode, done.stderr) == (0, "")


def test_bash_completes_commands_use_cases_and_environments(checkout: Checkout) -> None:
    expected = {
        "millrace stat": ["status"],
        "millrace status chu": ["churn", "churn-eu"],
        "millrace invoke f": ["fraud"],
        # `churn-eu-dev` is a stack of `churn-eu`, not one of `churn` in `eu-dev`.
        "millrace status churn --env ": ["local", "prod"],
        "millrace approve churn-eu --env d": ["dev"],
        "millrace status --env ": ["dev", "local", "prod"],
        "millrace status --js": ["--json"],
        "millrace completion ": ["bash", "zsh", "fish"],
    }
    assert dict(zip(expected, complete_in_bash(checkout, *expected), strict=True)) == expected


def test_zsh_completes(checkout: Checkout) -> None:
    script = """
        autoload -Uz compinit; compinit -u
        eval "$(millrace completion zsh)"
        env COMP_WORDS="millrace status chu" COMP_CWORD=2 _MILLRACE_COMPLETE=zsh_complete millrace
    """
    assert "churn-eu" in run_shell(checkout, "zsh", script, "-f")


def test_fish_completes(checkout: Checkout) -> None:
    script = "millrace completion fish | source; complete --do-complete 'millrace status chu'"
    assert run_shell(checkout, "fish", script, "--no-config").splitlines() == ["churn", "churn-eu"]


def test_completion_does_not_import_boto3(checkout: Checkout) -> None:
    program = (
        "import sys, os; os.environ.update(_MILLRACE_COMPLETE='bash_complete', COMP_WORDS='millrace status chu', "
        "COMP_CWORD='2')\n"
        "from cli.main import run\n"
        "try: run([])\n"
        "except SystemExit: pass\n"
        "sys.stderr.write(str(sorted({'boto3', 'numpy', 'stacks.churn'} & set(sys.modules))))"
    )
    done = subprocess.run(
        [sys.executable, "-c", program],
        cwd=checkout.folder, env=make_environment(checkout), capture_output=True, text=True, check=True,
    )  # fmt: skip
    assert done.stdout.split() == ["plain,churn", "plain,churn-eu"]
    assert done.stderr == "[]"


def test_install_works_in_a_new_shell_and_is_idempotent(checkout: Checkout) -> None:
    home = checkout.folder / "home"
    settings = home / ".bashrc"
    settings.write_text("alias mine=ls")
    for _ in range(2):
        said = checkout("completion", "bash", "--install", HOME=str(home)).stdout
        assert f"wrote {home}/.local/share/millrace/completion.bash" in said
    lines = settings.read_text().splitlines()
    assert lines[0] == "alias mine=ls"
    assert len(lines) == 2
    assert lines[1].endswith("# completion of millrace")
    assert complete_in_bash(checkout, "millrace status fra", first=f'. "{settings}"') == [["fraud"]]
    said = checkout("completion", "fish", "--install", HOME=str(home)).stdout
    assert "/.config/fish/completions/millrace.fish" in said
    said = checkout("completion", "zsh", "--install", HOME=str(home)).stdout
    assert f"wrote {home}/.zshrc" in said
    assert "compinit" in (home / ".local/share/millrace/completion.zsh").read_text()


def test_unreadable_shell_settings_are_left_unchanged(checkout: Checkout, tmp_path: Path) -> None:
    (tmp_path / ".bashrc").write_bytes(b"caf\xe9=1\n")
    said = checkout("completion", "bash", "--install", code=1, HOME=str(tmp_path)).stderr
    assert "cannot be read" in said
    assert (tmp_path / ".bashrc").read_bytes() == b"caf\xe9=1\n"
    assert "'tcsh' is not one of" in checkout("completion", "tcsh", code=2).stderr
