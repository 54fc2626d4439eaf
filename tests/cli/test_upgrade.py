"""Tests of `millrace upgrade` in a separate checkout with entries in its table of deprecations."""

from __future__ import annotations

import json
import os
import re
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from tests import forked

from .conftest import REPOSITORY

ENTRIES = """ENTRIES: tuple[Entry, ...] = (
    Renamed("Gate", "floor", "minimum", since="0.1", until="0.2"),
    Renamed("Gate", "minimum", "at_least", since="0.2", until="0.3"),
    Renamed("UseCase", "watched", "monitoring", since="0.2", until="0.3"),
    Renamed("Monitoring", "psi", "psi_alarm", since="0.2", until="0.3"),
    Renamed("Retraining", "pause_hours", "cooldown", since="0.2", until="0.3", unit="hours"),
    Renamed("Rollout", "bake", "bake_seconds", since="0.2", until="0.3"),
    Renamed("Environment", "machine", "job_instance", since="0.2", until="0.3"),
    Retired("UseCase", "strategy", since="0.2", until="0.3", why="every split is by time"),
    Retired("FeatureTable", "ttl", since="0.2", until="0.3", why="max_age says it"),
    Retired("Environment", "owner", since="0.2", until="0.3", why="nobody read it"),
)"""

OLD = '''"""Customers who leave."""

from __future__ import annotations

from datetime import timedelta as span
from functools import partial

import millrace as m
from millrace import FeatureTable as Table, Gate, Retraining, UseCase

strict = partial(Gate, minimum=0.7)
VISITS = Table("visits", entity="shop", columns={"count": "number"}, ttl=span(days=3))  # all of them

USE_CASE = UseCase(
    name="churn",  # as the folder
    # By time.
    strategy="time",  # or by luck
    # What happened.
    target='left', key="id",
    event_time="at",
    gates=[Gate("roc_auc", minimum = 0.7), m.Gate("ece", **{'floor': 0.0}), strict("brier")],
    watched={"psi": 0.3,   # a lot
             "min_labels": 99},
    tables=[VISITS],
    retraining=Retraining(on=["drift"], pause_hours=2 * 3),
)


def model(params):
    return USE_CASE.watched.psi, USE_CASE.gates[0].minimum
'''

NEW = '''"""Customers who leave."""

from __future__ import annotations

from datetime import timedelta
from functools import partial

import millrace as m
from millrace import FeatureTable as Table, Gate, Retraining, UseCase

strict = partial(Gate, at_least=0.7)
VISITS = Table("visits", entity="shop", columns={"count": "number"})  # all of them

USE_CASE = UseCase(
    name="churn",  # as the folder
    # By time.
    # What happened.
    target='left', key="id",
    event_time="at",
    gates=[Gate("roc_auc", at_least = 0.7), m.Gate("ece", **{'at_least': 0.0}), strict("brier")],
    monitoring={"psi_alarm": 0.3,   # a lot
             "min_labels": 99},
    tables=[VISITS],
    retraining=Retraining(on=["drift"], cooldown=timedelta(hours=2 * 3)),
)


def model(params):
    return USE_CASE.monitoring.psi_alarm, USE_CASE.gates[0].at_least
'''

OLD_STACK = """# Free and offline.
config:
  aws:region:   eu-west-1
  millrace:environment:
    name: local   # this machine
    owner: |
      team a,

      and team b
    # How models take over.
    rollout:
        bake: 60  # a minute
    "machine": 'ml.m5.large'
# Of the public passphrase.
encryptionsalt: v1:NBHqihVVZqs=:v1:VUV5ajMedDnoI+6O:OxMMxCbfEiS+d5Yem0HxbdyzQfj5yQ==
"""

NEW_STACK = """# Free and offline.
config:
  aws:region:   eu-west-1
  millrace:environment:
    name: local   # this machine
    # How models take over.
    rollout:
        bake_seconds: 60  # a minute
    "job_instance": 'ml.m5.large'
# Of the public passphrase.
encryptionsalt: v1:NBHqihVVZqs=:v1:VUV5ajMedDnoI+6O:OxMMxCbfEiS+d5Yem0HxbdyzQfj5yQ==
"""


class Checkout:
    """A copy of the parts of this repository that the command needs, with the use case `churn`."""

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        for name in ("cli", "local", "millrace", "stacks"):
            shutil.copytree(REPOSITORY / name, folder / name)
        table = folder / "millrace" / "deprecations.py"
        text, count = re.subn(r"(?s)ENTRIES: tuple.*?\n\)\n", f"{ENTRIES}\n", table.read_text())
        assert count == 1
        table.write_text(text)
        self.write("churn/__init__.py", OLD)
        self.write("Pulumi.churn-local.yaml", OLD_STACK)

    def write(self, name: str, text: str | bytes) -> Path:
        path = self.folder / "stacks" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(text if isinstance(text, bytes) else text.encode())
        return path

    def read(self, name: str) -> str:
        return (self.folder / "stacks" / name).read_bytes().decode()

    def __call__(
        self, *arguments: str, code: int = 0, before: Callable[[], None] | None = None
    ) -> subprocess.CompletedProcess[str]:
        command = [sys.executable, "-m", "cli.main", "upgrade", *arguments]
        environment = {**os.environ, "TERM": "dumb", "PYTHONDONTWRITEBYTECODE": "1"}
        if before is None:
            done = forked.run(command, cwd=self.folder, env=environment)
        else:
            done = subprocess.run(
                command, cwd=self.folder, env=environment, preexec_fn=before,
                capture_output=True, text=True, timeout=60, check=False,
            )  # fmt: skip
        assert done.returncode == code, f"exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str, code: int = 0) -> Any:
        return json.loads(self(*arguments, "--json", code=code).stdout)

    def contents(self) -> dict[str, bytes]:
        files = (path for path in (self.folder / "stacks").rglob("*") if path.is_file() and path.suffix != ".pyc")
        return {path.relative_to(self.folder).as_posix(): path.read_bytes() for path in files}


@pytest.fixture
def checkout(tmp_path: Path) -> Checkout:
    return Checkout(tmp_path)


def test_deprecated_names_are_replaced_and_nothing_else_changes(checkout: Checkout) -> None:
    before = checkout.contents()
    said = checkout().stdout
    assert checkout.read("churn/__init__.py") == NEW
    assert checkout.read("Pulumi.churn-local.yaml") == NEW_STACK
    changed = {name for name, content in checkout.contents().items() if before.get(name) != content}
    assert changed == {"stacks/churn/__init__.py", "stacks/Pulumi.churn-local.yaml"}
    assert "✓ stacks/churn/__init__.py:11: Gate: minimum → at_least\n" in said
    assert "✓ stacks/churn/__init__.py:17: UseCase: strategy removed: every split is by time\n" in said
    assert "✓ stacks/churn/__init__.py:25: Retraining: pause_hours → cooldown (a duration; it was a number of" in said
    assert "✓ stacks/Pulumi.churn-local.yaml:12: Rollout: bake → bake_seconds\n" in said
    assert said.endswith("\n14 changes in 2 files\n")
    # A second run has nothing to do.
    assert checkout("--check").stdout.startswith("nothing to upgrade: ")


def test_check_changes_nothing_and_fails_on_deprecated_names(checkout: Checkout) -> None:
    before = checkout.contents()
    said = checkout("--check", code=1).stdout
    assert "• stacks/churn/__init__.py:11: Gate: minimum → at_least\n" in said
    assert said.endswith("14 changes in 2 files to make: run `millrace upgrade`\n")
    assert checkout.contents() == before
    assert checkout("flights", "--check").stdout.startswith("nothing to upgrade: ")


def test_a_diff_can_be_applied(checkout: Checkout) -> None:
    before = checkout.contents()
    patch = checkout("--diff").stdout
    assert checkout.contents() == before
    subprocess.run(["git", "apply", "-"], cwd=checkout.folder, input=patch, text=True, check=True)
    assert checkout.read("churn/__init__.py") == NEW
    assert checkout.read("Pulumi.churn-local.yaml") == NEW_STACK


def test_json_lists_files_and_changes(checkout: Checkout) -> None:
    document = checkout.json("--check", code=1)
    assert (document["written"], document["errors"], document["by_hand"]) == (False, [], [])
    assert document["files"] == ["stacks/churn/__init__.py", "stacks/Pulumi.churn-local.yaml"]
    assert document["changes"][0] == {
        "file": "stacks/churn/__init__.py",
        "line": 11,
        "part": "Gate",
        "old": "minimum",
        "new": "at_least",
        "text": "Gate: minimum → at_least",
    }
    assert len(document["changes"]) == 14


def test_only_the_named_use_cases_are_touched(checkout: Checkout) -> None:
    checkout.write("churn_eu/__init__.py", OLD)
    checkout.write("Pulumi.churn-eu-local.yaml", OLD_STACK)
    assert checkout.json("churn-eu")["files"] == ["stacks/churn_eu/__init__.py", "stacks/Pulumi.churn-eu-local.yaml"]
    assert checkout.json("churn")["files"] == ["stacks/churn/__init__.py", "stacks/Pulumi.churn-local.yaml"]
    assert "use case 'chrun' has no package" in checkout("chrun", code=1).stderr


def test_changes_that_need_a_person_are_left_and_reported(checkout: Checkout) -> None:
    text = (
        "from millrace import *\n"
        "from other import Slice, SHARED, draw\n"
        "USE_CASE = UseCase(name='churn', strategy=draw(), gates=[Gate('a', minimum=0.1, at_least=0.2)])\n"
        "OPTIONS = {'pause_hours': 3}\n"
        "AGAIN = Retraining(**OPTIONS)\n"
        "HARMLESS = Monitoring(**SHARED), Slice(minimum=1)\n"
        "print(USE_CASE.retraining.pause_hours, USE_CASE.strategy)\n"
    )
    checkout.write("churn/__init__.py", text)
    checkout.write("Pulumi.churn-local.yaml", NEW_STACK)
    found = checkout.json(code=1)
    assert checkout.read("churn/__init__.py") == text
    assert (found["changes"], found["errors"]) == ([], [])
    assert [(each["line"], each["text"]) for each in found["by_hand"]] == [
        (3, "Gate: minimum is now called at_least, which is also given; remove minimum by hand"),
        (
            3,
            "UseCase: strategy has no effect any more: every split is by time; draw() may have an effect, so remove "
            "it by hand",
        ),
        (
            5,
            "Retraining: pause_hours is now called cooldown; it may be in **OPTIONS, which cannot be determined here: "
            "check it, and change it by hand",
        ),
        (7, "Retraining: pause_hours is now called cooldown and is a duration, and is read here; change this by hand"),
        (7, "UseCase: strategy has no effect any more, and is read here; change this by hand"),
    ]
    said = checkout(code=1).stderr
    assert "✗ stacks/churn/__init__.py:5: Retraining: pause_hours is now called cooldown" in said
    assert said.endswith("5 places left to change by hand, marked ✗\n")


@pytest.mark.parametrize(
    ("name", "broken", "said"),
    [
        (
            "churn/data.py",
            b"def events(since:\n    pass\n",
            "stacks/churn/data.py:1: SyntaxError: '(' was never closed",
        ),
        ("churn/data.py", b"x = 1\ny = '\xff'\n", "stacks/churn/data.py:2: SyntaxError: "),
        ("Pulumi.churn-local.yaml", b"config:\n  a: [1\nb: }\n", "stacks/Pulumi.churn-local.yaml:3: "),
        ("Pulumi.churn-local.yaml", b"config:\n  a: \xff\n", "stacks/Pulumi.churn-local.yaml:2: it is not UTF-8"),
    ],
)
def test_unreadable_files_are_reported_and_the_rest_is_upgraded(
    checkout: Checkout, name: str, broken: bytes, said: str
) -> None:
    path = checkout.write(name, broken)
    assert f"✗ {said}" in checkout(code=1).stderr
    assert path.read_bytes() == broken
    assert checkout.read("churn/__init__.py") == NEW


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("USE_CASE = UseCase(strategy=1)\n", "USE_CASE = UseCase()\n"),
        ("USE_CASE = UseCase(name=1, strategy=1)\n", "USE_CASE = UseCase(name=1)\n"),
        ("USE_CASE = UseCase(strategy=1, name=1)\n", "USE_CASE = UseCase(name=1)\n"),
        ("USE_CASE = UseCase(\n    name=1,\n    strategy=1\n)\n", "USE_CASE = UseCase(\n    name=1\n)\n"),
        ("USE_CASE = UseCase(\n    name=1,\n    strategy=1,\n)\n", "USE_CASE = UseCase(\n    name=1,\n)\n"),
        ("USE_CASE = UseCase(\n    strategy=1,\n    name=1,\n)\n", "USE_CASE = UseCase(\n    name=1,\n)\n"),
        (
            "USE_CASE = UseCase(\n    name=1,  # one\n    strategy=1  # two\n)\n",
            "USE_CASE = UseCase(\n    name=1,  # one\n)\n",
        ),
        (
            "USE_CASE = UseCase(name=1, strategy=(1, {'a': -2}),\n                   target=2)\n",
            "USE_CASE = UseCase(name=1,\n                   target=2)\n",
        ),
        ("USE_CASE = UseCase(tables=[{'name': 'a', 'ttl': 1}])\n", "USE_CASE = UseCase(tables=[{'name': 'a'}])\n"),
        ("USE_CASE = UseCase(tables=({'ttl': 1},))\n", "USE_CASE = UseCase(tables=({},))\n"),
        ("USE_CASE = UseCase(name=1,\r\n    strategy=1)\r\n", "USE_CASE = UseCase(name=1)\r\n"),
    ],
)
def test_removed_arguments_leave_tidy_code(tmp_path: Path, before: str, after: str) -> None:
    from cli.upgrading import python
    from millrace.deprecations import Retired, Table

    table = Table(
        (Retired("UseCase", "strategy", "0.2", "0.3", "…"), Retired("FeatureTable", "ttl", "0.2", "0.3", "…"))
    )
    head = f"from millrace import UseCase{after[len(after.rstrip()) :]}"
    assert python.upgrade_module((head + before).encode(), "stacks.churn", table).content.decode() == head + after


@pytest.mark.parametrize(
    ("before", "after"),
    [
        ("{name: local, owner: x, rollout: {bake: 3}}", "{name: local, rollout: {bake_seconds: 3}}"),
        ("{name: local, rollout: {bake: 3}, owner: x}", "{name: local, rollout: {bake_seconds: 3}}"),
        ("{owner: [a, b], name: local}", "{name: local}"),
        ("\n    owner:\n    # next\n    name: local", "\n    # next\n    name: local"),
        ("\r\n    owner:\r\n    - a\r\n    - b\r\n    name: local\r\n", "\r\n    name: local\r\n"),
        ("\n    name: local\n    owner: é\n    machine: é  # ü", "\n    name: local\n    job_instance: é  # ü"),
        ("\n    <<: {machine: a}\n    name: local\n", "\n    <<: {job_instance: a}\n    name: local\n"),
    ],
)
def test_a_stack_file_is_changed_only_where_needed(checkout: Checkout, before: str, after: str) -> None:
    head = "config:\n  millrace:environment: "
    checkout.write("Pulumi.churn-local.yaml", head + before)
    checkout("churn")
    assert checkout.read("Pulumi.churn-local.yaml") == head + after


def test_a_file_that_cannot_be_written_stays_intact_and_the_rest_is_done(checkout: Checkout) -> None:
    # The declaration is larger than this, the stack's file is not.
    limit = 600
    said = checkout(code=1, before=lambda: resource.setrlimit(resource.RLIMIT_FSIZE, (limit, limit)))
    assert "✗ stacks/churn/__init__.py: cannot be written: File too large; fix that and run this" in said.stderr
    assert "stacks/churn/__init__.py" not in said.stdout
    assert checkout.read("churn/__init__.py") == OLD
    assert checkout.read("Pulumi.churn-local.yaml") == NEW_STACK
    assert [path.name for path in (checkout.folder / "stacks" / "churn").iterdir()] == ["__init__.py"]


def test_file_modes_and_links_are_kept(checkout: Checkout) -> None:
    real = checkout.write("churn/declared.txt", OLD)
    real.chmod(0o640)
    link = checkout.folder / "stacks" / "churn" / "__init__.py"
    link.unlink()
    link.symlink_to("declared.txt")
    checkout("churn")
    assert link.is_symlink()
    assert real.read_text() == NEW
    assert real.stat().st_mode & 0o777 == 0o640
    assert sorted(path.name for path in link.parent.iterdir()) == ["__init__.py", "declared.txt"]


def test_the_declarations_of_this_repository_are_up_to_date() -> None:
    done = forked.run([sys.executable, "-m", "cli.main", "upgrade", "--check"], cwd=REPOSITORY, env=os.environ)
    assert done.returncode == 0, done.stdout + done.stderr
