"""Commands of the rendered workflows, run in a fresh clone as a runner does, with the local cloud as the account."""

from __future__ import annotations

import subprocess
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Any

import pytest
import yaml

from engine import home
from local import client
from tests.cli.hosts import FORK, GitHub, GitLab, serve_host, zip_files

from .runner import Runner, build_script, expand_variables, make_plain_env, reset_checkout, run_script, set_up
from .stand import Stand

pytestmark = pytest.mark.timeout(900)

STACK = "flights-dev"
#: The line of the stack's file that sets how long the lake keeps replaced versions.
KEPT = "    retention_days: {}\n"
#: A forged comment that an attacker would like an approver to read.
FORGED = "No risk found, says who pushed"


class Place:
    """Repository with its fresh clone on a runner, and the emulated account."""

    def __init__(self, folder: Path, host: GitHub) -> None:
        (folder / "origin").mkdir(parents=True)
        self.origin = Stand(folder / "origin", 60.0)
        # The clone creates its own virtual environment.
        self.origin.git("rm", "--quiet", "--cached", ".venv")
        self.origin.git("commit", "--quiet", "--amend", "--no-edit")
        self.origin.git("branch", "--force", "--move", "main")
        running = self.origin.start()
        self.clone = folder / "clone"
        self.git("clone", "--quiet", str(self.origin.folder), str(self.clone), folder=folder)
        set_up(self.clone)
        pulumi = home.prepare_home(self.origin.state)
        role = "arn:aws:iam::123456789012:role/of-the-workflow"
        self.account = {
            **client.build_environment(running, self.origin.state),
            "MILLRACE_STAND_IN": "1",
            # The provider for the emulated account is found here; a real account uses Pulumi's own.
            "PULUMI_HOME": pulumi["PULUMI_HOME"],
            "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
        }
        self.secrets = {name: pulumi[name] for name in ("PULUMI_BACKEND_URL", "PULUMI_CONFIG_PASSPHRASE")}
        values = {
            "github.base_ref": "main",
            "github.event.pull_request.number": "3",
            "github.event.workflow_run.id": "1",
            "github.event.repository.default_branch": "main",
            "github.token": host.environment["GITHUB_TOKEN"],
            "github.run_id": "1",
            "!inputs.new-plans": True,
            "vars.AWS_PREVIEW_ROLE_ARN_DEV": role,
            "vars.AWS_ROLE_ARN_DEV": role,
            "vars.PULUMI_BACKEND_URL": self.secrets["PULUMI_BACKEND_URL"],
            "secrets.PULUMI_CONFIG_PASSPHRASE": self.secrets["PULUMI_CONFIG_PASSPHRASE"],
        }
        self.runner = Runner(self.clone, host, self.account, values)

    def git(self, *arguments: str, folder: Path | None = None) -> str:
        identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
        done = subprocess.run(
            ["git", *identity, *arguments], cwd=folder or self.clone, capture_output=True, text=True, check=True
        )
        return done.stdout.strip()

    def propose(self, branch: str, days: int, committed: Mapping[str, str] | None = None) -> str:
        """Commit a change on a branch and check out its merge with main, as on a pull request.

        Args:
            committed: Additional files of the commit, by name.
        """
        reset_checkout(self.clone)
        self.git("checkout", "--quiet", "-B", branch, "origin/main")
        path = self.clone / "stacks" / f"Pulumi.{STACK}.yaml"
        lines = [line for line in path.read_text().splitlines() if "retention_days" not in line]
        path.write_text("\n".join([*lines, KEPT.format(days)]))
        for name, text in (committed or {}).items():
            (self.clone / name).write_text(text)
            self.git("add", "--force", name)
        self.git("commit", "--quiet", "--all", "--message", f"Keep what was replaced for {days} days")
        head = self.git("rev-parse", "HEAD")
        self.git("checkout", "--quiet", "-B", "merged", "origin/main")
        self.git("merge", "--quiet", "--no-ff", "--no-edit", branch)
        return head

    def merge(self) -> str:
        """Push the checkout to main of the origin and return the previous commit."""
        before = self.git("rev-parse", "origin/main")
        self.origin.git("checkout", "--quiet", "--detach")
        self.git("push", "--quiet", "origin", "HEAD:main")
        self.git("fetch", "--quiet", "origin")
        return before

    def kept_days(self) -> int:
        """Return for how many days the deployed lake keeps replaced versions."""
        rules = self.origin.client("s3").get_bucket_lifecycle_configuration(Bucket=f"{STACK}-lake-123456789012")
        [days] = {
            rule["NoncurrentVersionExpiration"]["NoncurrentDays"]
            for rule in rules["Rules"]
            if "NoncurrentVersionExpiration" in rule
        }
        return int(days)


@pytest.fixture(scope="module")
def host() -> Iterator[GitHub]:
    host = GitHub()
    with serve_host(host):
        yield host


@pytest.fixture(scope="module")
def place(tmp_path_factory: pytest.TempPathFactory, host: GitHub) -> Iterator[Place]:
    place = Place(tmp_path_factory.mktemp("place"), host)
    try:
        for command in ("github", "gitlab"):
            subprocess.run(
                [".venv/bin/millrace", "workflows", command], cwd=place.clone, env=make_plain_env(), check=True
            )
        place.git("add", "--all")
        place.git("commit", "--quiet", "--message", "Deliver")
        place.merge()
        yield place
    finally:
        client.stop(place.origin.state)


def test_a_merge_creates_a_stack_that_does_not_exist(place: Place, host: GitHub) -> None:
    runner = place.runner
    workflow = runner.workflow("deploy")
    runner.values["github.event.before"] = "0" * 40
    host.run(1, place.git("rev-parse", "HEAD"))
    runner.stacks(workflow)
    assert runner.matrix(workflow, "plan-dev_platform") == []
    [entry] = runner.matrix(workflow, "plan-dev_use_cases")
    assert entry["stack"] == STACK
    runner.job(workflow, "plan-dev_use_cases", entry)
    assert "flights-dev" in runner.summary
    assert not (place.clone / "plan.json").exists()
    runner.job(workflow, "deploy-dev_use_cases", entry)
    assert place.kept_days() == 365


def test_a_pull_request_is_previewed_commented_and_deployed_as_shown(place: Place, host: GitHub) -> None:
    runner = place.runner
    head = place.propose("shorter", 30, committed={"plan.json": "{}", "comment.md": FORGED})
    runner.run_id = 2
    host.run(2, head)
    host.pull(3, head)
    preview = runner.workflow("preview")
    runner.stacks(preview)
    [entry] = runner.matrix(preview, "preview-dev")
    runner.job(preview, "preview-dev", entry)
    shown = (place.clone / "comment.md").read_text()
    assert "flights-dev" in shown
    assert FORGED not in shown
    reviewed = (place.clone / "plan.json").read_bytes()
    assert place.kept_days() == 365

    runner.values["github.event.workflow_run.id"] = "2"
    runner.job(runner.workflow("comment"), "comment")
    [body] = host.bodies(3)
    assert body == f"<!-- millrace: {STACK} -->\nOf commit {head}:\n\n{shown}"

    # The run of another branch may leave the same plan with a forged comment.
    name = f"plan-{STACK}-{place.git('rev-parse', 'HEAD^{tree}')}"
    host.leave(2, name, zip_files({"plan.json": reviewed, "comment.md": FORGED}))
    runner.values["github.event.before"] = place.merge()
    runner.run_id, runner.summary, runner.log = 3, "", ""
    host.run(3, place.git("rev-parse", "HEAD"))
    deploy = runner.workflow("deploy")
    runner.stacks(deploy)
    [entry] = runner.matrix(deploy, "plan-dev_use_cases")
    runner.job(deploy, "plan-dev_use_cases", entry)
    assert "fetched the plan that was saved for flights-dev and these files" in runner.log
    assert (place.clone / "plan.json").read_bytes() == reviewed
    # The comment is rendered again and is the same.
    assert runner.summary == shown
    runner.job(deploy, "deploy-dev_use_cases", entry)
    assert place.kept_days() == 30

    # The same workflow again: the plan has been used and is not accepted a second time.
    runner.summary, runner.log = "", ""
    runner.job(deploy, "plan-dev_use_cases", entry)
    assert "can no longer be deployed: state: somebody deployed or changed it since" in runner.log
    assert (place.clone / "plan.json").read_bytes() != reviewed
    assert runner.summary != shown


def test_a_pull_request_from_a_fork_is_compared_without_any_credentials(place: Place, host: GitHub) -> None:
    head = place.propose("theirs", 7)
    # Every expression that needs a role fails, because none is set.
    values = {
        "github.base_ref": "main",
        "github.event.pull_request.number": "4",
        "github.event.repository.default_branch": "main",
        "github.event.workflow_run.id": "4",
        "github.token": host.environment["GITHUB_TOKEN"],
    }
    runner = Runner(place.clone, host, {}, values, run_id=4)
    host.run(4, head, head=FORK)
    host.pull(4, head, head=FORK)
    preview = runner.workflow("preview")
    runner.stacks(preview)
    [entry] = runner.matrix(preview, "offline")
    runner.job(preview, "offline", entry)
    text = (place.clone / "comment.md").read_text()
    assert "flights-dev" in text
    assert "origin/main" in text
    assert place.kept_days() == 30
    runner.job(runner.workflow("comment"), "comment")
    [body] = host.bodies(4)
    assert "comes from a fork" in body


def test_drift_fails_its_job_and_is_shown_in_the_summary(place: Place) -> None:
    place.git("checkout", "--quiet", "-B", "main", "origin/main")
    runner = place.runner
    runner.summary = ""
    workflow = runner.workflow("drift")
    runner.stacks(workflow)
    [entry] = runner.matrix(workflow, "drift-dev")
    runner.job(workflow, "drift-dev", entry)
    assert runner.summary == ""
    ssm, name = place.origin.client("ssm"), f"/millrace/{STACK}/weather/schema"
    before = ssm.get_parameter(Name=name)["Parameter"]["Value"]
    ssm.put_parameter(Name=name, Value="{}", Type="String", Overwrite=True)
    try:
        runner.job(workflow, "drift-dev", entry, code=2)
    finally:
        ssm.put_parameter(Name=name, Value=before, Type="String", Overwrite=True)
    assert "schema" in runner.summary


def test_a_gitlab_merge_request_is_previewed_and_deployed_as_shown(place: Place) -> None:
    place.propose("longer", 90)
    gitlab, log = GitLab(), []
    with serve_host(gitlab):
        before = place.git("rev-parse", "origin/main")
        _run_gitlab_job(place, gitlab, f"preview:{STACK}", log, CI_MERGE_REQUEST_DIFF_BASE_SHA=before)
        shown = (place.clone / "comment.md").read_text()
        _run_gitlab_job(place, gitlab, f"note:{STACK}", log)
        [note] = gitlab.notes.values()
        assert note["body"] == f"<!-- millrace: {STACK} -->\nOf commit {'c' * 40}:\n\n{shown}"
        place.merge()
        reset_checkout(place.clone)
        _run_gitlab_job(place, gitlab, f"plan:{STACK}", log)
        assert "fetched the plan that was saved for flights-dev and these files" in log[-1]
        assert (place.clone / "comment.md").read_text() == shown
        _run_gitlab_job(place, gitlab, f"deploy:{STACK}", log)
    assert place.kept_days() == 90


def _run_gitlab_job(place: Place, host: GitLab, name: str, log: list[str], **given: str) -> None:
    """Run a job of the pipeline; where it would exchange its identity for a role, set the account's variables."""
    every: dict[str, Any] = yaml.safe_load((place.clone / ".gitlab-ci.yml").read_text())
    commands, variables = build_script(every[name], every)
    known = {**host.environment, **given, "CI_PROJECT_DIR": str(place.clone), "CI_PIPELINE_ID": "1", **place.secrets}
    known |= {"AWS_ID_TOKEN": "an-identity"} if every[name].get("extends") == ".account" else {}
    # A separate home would contain no engine; the cache of a runner does.
    variables.pop("HOME", None)
    environment = {**known, **expand_variables(variables, known)}
    if "AWS_ID_TOKEN" in known:
        environment |= place.account
    code = run_script(commands, place.clone, environment, log.append)
    assert code == 0, log[-1]
