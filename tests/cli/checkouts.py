"""A checkout with stacks of several environments in which the command line runs."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests import forked
from tests.e2e.stand import Stand

CHURN = 'from millrace import UseCase\n\nUSE_CASE = UseCase(name="churn-eu", target="y", key="k", event_time="t")\n'


class Checkout:
    """A checkout with two use cases and two environments; calling it runs `millrace workflows`."""

    def __init__(self, folder: Path) -> None:
        folder.mkdir()
        self.stand, self.folder = Stand(folder, 60.0), folder
        stacks = folder / "stacks"
        dev = (stacks / "Pulumi.flights-dev.yaml").read_text()
        (stacks / "Pulumi.flights-prod.yaml").write_text(dev.replace("name: dev", "name: prod"))
        (stacks / "Pulumi.churn-eu-dev.yaml").write_text(dev)
        (stacks / "Pulumi.platform-dev.yaml").write_text(dev)
        (stacks / "churn_eu").mkdir()
        (stacks / "churn_eu" / "__init__.py").write_text(CHURN)
        self.base = self.commit("begin")

    def commit(self, message: str) -> str:
        self.stand.git("add", "--all")
        self.stand.git("commit", "--quiet", "--message", message)
        return self.stand.git("rev-parse", "HEAD").strip()

    def begin_again(self) -> None:
        """Restore the first commit and remove generated files."""
        self.stand.git("checkout", "--quiet", "--force", self.base)
        self.stand.git("clean", "--force", "-d", "--quiet", "stacks", ".github", ".gitlab-ci.yml")

    def __call__(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "cli.main", "workflows", *arguments, code=code, **variables)

    def python(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = forked.run([sys.executable, *arguments], cwd=self.folder, env={**_make_clean_environment(), **variables})
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done


def _make_clean_environment() -> dict[str, str]:
    """Return the environment without variables that a CI host or the test run sets."""
    theirs = ("AWS_", "PULUMI_", "GITHUB_", "GITLAB_", "CI_", "MILLRACE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("workflows") / "millrace")


@pytest.fixture
def clean(checkout: Checkout) -> Iterator[Checkout]:
    """Yield the checkout in its original state and restore it afterwards."""
    checkout.begin_again()
    yield checkout
    checkout.begin_again()
