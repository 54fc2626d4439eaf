"""A team forks and deploys its use case, upstream changes, and the team merges without losing anything."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from local import client
from millrace.deprecations import VERSION

from .stand import Stand

pytestmark = pytest.mark.timeout(600)

USE_CASE, STACK = "churn", "churn-local"

#: Files that the team adds. Two of the fields will be renamed upstream.
MINE = {
    "stacks/churn/__init__.py": '''"""Customers who leave."""

from millrace import Champion, Gate, UseCase

USE_CASE = UseCase(
    name="churn",
    target="left",
    key="customer",
    event_time="asked_at",
    champion=Champion(better_by=1e-3),  # two models in a thousand
    gates=[Gate("roc_auc", at_least=0.7)],
)
''',
    "stacks/churn/data.py": """import numpy as np


def events(since, until):
    hours = np.arange(since, until, np.timedelta64(4, "h")).astype("datetime64[h]")
    random = np.random.default_rng(7)
    calls, plan = random.poisson(2, len(hours)), random.choice(["basic", "family"], len(hours))
    left = random.random(len(hours)) < 1 / (1 + np.exp(2 - calls))
    return {"customer": hours.astype(str), "asked_at": hours, "calls": calls, "plan": plan, "left": left}
""",
    "stacks/Pulumi.churn-local.yaml": """# Ours.
config:
  aws:region: eu-west-1
  millrace:environment:
    name: local
    promotion: automatic
    retention_days: 30  # a month is enough
    force_destroy: true
""",
}

MAJOR, MINOR = (int(number) for number in VERSION.split(".")[:2])
SINCE, UNTIL = f"{MAJOR}.{MINOR + 1}", f"{MAJOR}.{MINOR + 2}"


class Upstream(Stand):
    """Repository that is forked; nothing of it runs."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder, 60.0)
        self.git("branch", "--move", "--force", "main")

    def edit(self, name: str, old: str, new: str) -> None:
        path = self.folder / name
        text = path.read_text()
        assert text.count(old) == 1, f"{name} holds {old!r} {text.count(old)} times"
        path.write_text(text.replace(old, new))

    def add(self, name: str, text: str) -> None:
        path = self.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + text)

    def rename(self, old: str, new: str) -> None:
        """Replace a word everywhere in the program."""
        for folder in ("benchmarks", "cli", "components", "millrace", "queries", "stacks", "training"):
            for path in [*(self.folder / folder).rglob("*.py"), *(self.folder / folder).glob("Pulumi.*.yaml")]:
                text = path.read_text()
                changed = re.sub(rf"\b{re.escape(old)}\b", new, text)
                if changed != text:
                    path.write_text(changed)

    def release(self, version: str) -> None:
        for name in ("pyproject.toml", "millrace/deprecations.py"):
            path = self.folder / name
            path.write_text(
                re.sub(r'^((?:VERSION|version) = ")[^"]+', rf"\g<1>{version}.0", path.read_text(), flags=re.M)
            )

    def commit(self, message: str) -> None:
        self.git("add", "--all")
        self.git("commit", "--quiet", "--message", message)


class Fork(Stand):
    """Clone with its own cloud and the use case of the team."""

    def __init__(self, upstream: Upstream, folder: Path) -> None:
        self.folder, self.scale, self.engine = folder, 60.0, upstream.engine
        clone = ["git", "clone", "--quiet", "--origin", "upstream", str(upstream.folder), str(folder)]
        subprocess.run(clone, check=True)
        # The virtual environment is not tracked.
        if not (folder / ".venv").exists():
            (folder / ".venv").symlink_to(Path(sys.prefix))
        self.add_python()
        for name, text in MINE.items():
            (folder / name).parent.mkdir(exist_ok=True)
            (folder / name).write_text(text)

    def pulumi(self, *arguments: str, code: int | None = 0, timeout: float = 280) -> str:
        done = self._run(["pulumi", *arguments, "--stack", STACK, "--non-interactive"], code, timeout)
        return done.stdout + done.stderr

    def preview(self) -> dict[str, Any]:
        done = self._run(["pulumi", "preview", "--json", "--stack", STACK, "--non-interactive"], 0, 120)
        document: dict[str, Any] = json.loads(done.stdout)
        return document

    def commit(self, message: str) -> None:
        self.git("add", "stacks")
        self.git("commit", "--quiet", "--message", message)

    def merge(self) -> None:
        """Merge upstream; the exit code of git reports a conflict."""
        self.git("fetch", "--quiet", "upstream")
        self.git("merge", "--quiet", "--no-edit", "upstream/main")

    def differs_in(self) -> set[str]:
        return set(self.git("diff", "--name-only", "upstream/main", "HEAD").split())

    def endpoint(self) -> dict[str, Any]:
        described: dict[str, Any] = self.client("sagemaker").describe_endpoint(EndpointName=STACK)
        return described

    def score(self, calls: int) -> float:
        record = {"customer": "new", "asked_at": "2030-01-01T00:00:00Z", "calls": calls, "plan": "basic"}
        done = self.millrace("invoke", USE_CASE, "--json", json.dumps(record), "--json-output")
        return float(json.loads(done.stdout)["answer"]["score"])


@pytest.fixture(scope="module")
def upstream(tmp_path_factory: pytest.TempPathFactory) -> Upstream:
    folder = tmp_path_factory.mktemp("upstream") / "millrace"
    folder.mkdir()
    return Upstream(folder)


@pytest.fixture(scope="module")
def fork(upstream: Upstream, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Fork]:
    """Yield a fork that is provisioned and serving, before upstream changes anything."""
    fork = Fork(upstream, tmp_path_factory.mktemp("fork") / "millrace")
    fork.start()
    try:
        fork.millrace("up", USE_CASE, "--no-observe", timeout=400)
        fork.commit("Our first use case")
        yield fork
    finally:
        client.stop(fork.state)


# -- changes of upstream -----------------------------------------------------------------------------------------------


def a_new_optional_field(upstream: Upstream) -> None:
    upstream.edit(
        "millrace/declaration.py",
        "    seed: int = Field(",
        '    purpose: str = ""\n    """What it is for, in a sentence."""\n    seed: int = Field(',
    )


def renamed_fields_in_a_new_version(upstream: Upstream) -> None:
    upstream.rename("better_by", "margin")
    upstream.rename("retention_days", "keep_days")
    upstream.release(SINCE)
    path = upstream.folder / "millrace" / "deprecations.py"
    entries = (
        f'    Renamed("Champion", "better_by", "margin", since="{SINCE}", until="{UNTIL}"),\n'
        f'    Renamed("Environment", "retention_days", "keep_days", since="{SINCE}", until="{UNTIL}"),\n'
    )
    begun = re.sub(r"^(ENTRIES: .* = \()", rf"\1\n{entries}", path.read_text(), flags=re.M)
    assert entries in begun
    path.write_text(begun)


def a_new_child(upstream: Upstream) -> None:
    child = (
        "        self.owner = aws.ssm.Parameter(\n"
        '            f"{names.stack}-owner",\n'
        '            name=f"/millrace/{names.stack}/owner",\n'
        '            type="String",\n'
        '            value="the team",\n'
        "            opts=pulumi.ResourceOptions(parent=self),\n"
        "        ).name\n"
    )
    upstream.edit(
        "components/mlops_stack.py", "        self.register_outputs(", f"{child}        self.register_outputs("
    )


def a_new_output(upstream: Upstream) -> None:
    upstream.edit(
        "components/mlops_stack.py",
        '            "lake": self.lake,',
        '            "lake": self.lake,\n            "owner": self.owner,',
    )


def another_alarm_description(upstream: Upstream) -> None:
    upstream.edit("components/drift_alarms.py", "for two runs of the monitor", "twice in a row")


def another_default_bake(upstream: Upstream) -> None:
    upstream.edit(
        "millrace/rollout.py", "bake_seconds: int = Field(default=300", "bake_seconds: int = Field(default=240"
    )


def a_new_training_module(upstream: Upstream) -> None:
    upstream.add("training/rounding.py", '"""How figures are rounded."""\n\nDIGITS = 3\n')


def a_moved_module(upstream: Upstream) -> None:
    upstream.git("mv", "millrace/metrics.py", "millrace/measures.py")
    upstream.rename("millrace.metrics", "millrace.measures")


def other_words(upstream: Upstream) -> None:
    upstream.add("README.md", "\nMore words.\n")
    upstream.add("docs/more.md", "# More\n")
    upstream.edit("CHANGELOG.md", "## [Unreleased]\n", "## [Unreleased]\n\n### Changed\n- Words.\n")


def a_use_case_of_theirs(upstream: Upstream) -> None:
    for name, text in MINE.items():
        theirs = text.replace("better_by", "margin").replace("retention_days", "keep_days").replace("churn", "returns")
        upstream.add(name.replace("churn", "returns"), theirs)


def a_change_of_flights(upstream: Upstream) -> None:
    upstream.add("stacks/flights/__init__.py", "# Of 2013.\n")
    upstream.edit("stacks/Pulumi.flights-local.yaml", "bake_seconds: 60", "bake_seconds: 30")


def a_comment_in_the_lock(upstream: Upstream) -> None:
    path = upstream.folder / "requirements.lock"
    path.write_text(f"# Locked anew.\n{path.read_text()}")


CHANGES: list[Callable[[Upstream], None]] = [
    a_new_optional_field,
    renamed_fields_in_a_new_version,
    a_new_child,
    a_new_output,
    another_alarm_description,
    another_default_bake,
    a_new_training_module,
    a_moved_module,
    other_words,
    a_use_case_of_theirs,
    a_change_of_flights,
    a_comment_in_the_lock,
]


def group_names_by_operation(preview: dict[str, Any]) -> dict[str, set[str]]:
    """Return the names of the resources by their operation in a preview."""
    found: dict[str, set[str]] = {}
    for step in preview["steps"]:
        found.setdefault(step["op"], set()).add(step["urn"].rpartition("::")[2])
    return found


def find_declaration_warnings(preview: dict[str, Any]) -> list[str]:
    messages = (each["message"].strip() for each in preview.get("diagnostics", []))
    return [message for message in messages if "DeclarationWarning" in message]


#: Code is named by its content: new code is a new object, and the old one is kept in the lake.
CODE = {f"{STACK}-code"}


def test_a_fork_follows_upstream_and_loses_nothing(upstream: Upstream, fork: Fork) -> None:
    before, bucket = fork.endpoint(), "churn-local-lake-123456789012"
    code = {each["Key"] for each in fork.client("s3").list_objects_v2(Bucket=bucket, Prefix="code/")["Contents"]}
    score = fork.score(8)

    for change in CHANGES:
        change(upstream)
        upstream.commit(change.__name__.replace("_", " "))
        fork.merge()
    assert fork.differs_in() == set(MINE)

    # Only the object of the code is replaced, and each deprecation is reported once.
    preview = fork.preview()
    does = group_names_by_operation(preview)
    assert set(does) <= {"same", "create", "update", "replace", "create-replacement", "delete-replaced"}
    assert {name for op, names in does.items() if "replace" in op for name in names} == CODE
    assert f"{STACK}-owner" in does["create"]
    assert {f"{STACK}-endpoint", f"{STACK}-monitor-heartbeat"} <= does["update"]
    environment, champion = sorted(find_declaration_warnings(preview), key=lambda each: "Champion" in each)
    assert "Pulumi.churn-local.yaml" in environment
    assert f"retention_days has been called keep_days since {SINCE}; it will be refused from {UNTIL} on" in environment
    assert f"{fork.folder}/stacks/churn/__init__.py:10: DeclarationWarning: Champion(…): better_by" in champion
    assert "run `millrace upgrade`" in champion
    told = fork.millrace("status", USE_CASE).stderr.splitlines()
    assert [
        line for line in told if line.startswith("warning: stacks/churn/__init__.py:10: Champion(…): better_by has")
    ]
    assert len([line for line in told if line.startswith("warning: ")]) == 2

    # The next version refuses the old name and reports the fix.
    upstream.release(UNTIL)
    upstream.commit(f"Release {UNTIL}.0")
    fork.merge()
    refused = fork.pulumi("preview", code=None)
    assert f"retention_days = 30: has been called keep_days since {SINCE} and is refused from {UNTIL} on" in refused
    assert "run `millrace upgrade`" in refused

    fork.millrace("upgrade", "--check", code=1)
    fork.millrace("upgrade", USE_CASE)
    assert set(fork.git("diff", "--name-only").split()) == set(MINE) - {"stacks/churn/data.py"}
    assert (
        "champion=Champion(margin=1e-3),  # two models in a thousand"
        in (fork.folder / "stacks/churn/__init__.py").read_text()
    )
    fork.commit("Upgrade")
    assert fork.differs_in() == set(MINE)

    # The same model keeps serving, with the code that it was trained with.
    said = fork.up()
    assert "DeclarationWarning" not in said
    after = fork.endpoint()
    assert after["EndpointStatus"] == "InService"
    assert (after["EndpointArn"], after["CreationTime"]) == (before["EndpointArn"], before["CreationTime"])
    kept = {each["Key"] for each in fork.client("s3").list_objects_v2(Bucket=bucket, Prefix="code/")["Contents"]}
    assert code < kept
    assert fork.score(8) == score
    assert set(group_names_by_operation(fork.preview())) == {"same"}
    assert fork.git("status", "--porcelain") == ""
