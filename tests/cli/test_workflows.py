"""`millrace workflows`: what is written, for whom the checks of the hosts are stood in, and its steps one by one."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml

from tests.e2e.stand import Stand

from .hosts import BOT, FORK, GitHub, GitLab, packed, served
from .linted import findings

ROLE = "arn:aws:iam::123456789012:role/deploys"
CHURN = 'from millrace import UseCase\n\nUSE_CASE = UseCase(name="churn-eu", target="y", key="k", event_time="t")\n'


class Checkout:
    """A checkout with two use cases and two environments, and the command line in it."""

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

    def __call__(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        return self.python("-m", "cli.main", "workflows", *arguments, code=code, **variables)

    def python(self, *arguments: str, code: int = 0, **variables: str) -> subprocess.CompletedProcess[str]:
        done = subprocess.run(
            [sys.executable, *arguments],
            cwd=self.folder, env={**_plain(), **variables}, capture_output=True, text=True, timeout=60, check=False,
        )  # fmt: skip
        assert done.returncode == code, f"{arguments}: exit code {done.returncode}\n{done.stdout}\n{done.stderr}"
        assert "Traceback" not in done.stderr
        return done


def _plain() -> dict[str, str]:
    """The environment without what a host of workflows, or this test's own, sets."""
    theirs = ("AWS_", "PULUMI_", "GITHUB_", "GITLAB_", "CI_", "MILLRACE_")
    return {name: value for name, value in os.environ.items() if not name.startswith(theirs)}


@pytest.fixture(scope="module")
def checkout(tmp_path_factory: pytest.TempPathFactory) -> Checkout:
    return Checkout(tmp_path_factory.mktemp("workflows") / "millrace")


@pytest.fixture
def clean(checkout: Checkout) -> Iterator[Checkout]:
    """As it was begun, before and after."""
    for when in ("before", "after"):
        checkout.stand.git("checkout", "--quiet", "--force", checkout.base)
        checkout.stand.git("clean", "--force", "-d", "--quiet", "stacks", ".github", ".gitlab-ci.yml")
        if when == "before":
            yield checkout


ALL_OPTIONS = (
    "--env", "dev", "--env", "prod", "--role-arn", f"dev={ROLE}", "--role-arn", f"review={ROLE}",
    "--preview-role-arn", f"prod={ROLE}", "--backend", "https://api.pulumi.com", "--branch", "release/2",
    "--label", "try it", "--review-from", "prod", "--expires", "3d",
)  # fmt: skip
OPTIONS = {"defaults": (), "all": ALL_OPTIONS, "one use case": ("--use-case", "flights")}


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=list(OPTIONS))
def on_github(request: pytest.FixtureRequest, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("github")
    checkout("github", "--output", str(folder), *request.param)
    return folder


@pytest.fixture(scope="module", params=OPTIONS.values(), ids=list(OPTIONS))
def on_gitlab(request: pytest.FixtureRequest, checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> Any:
    folder = tmp_path_factory.mktemp("gitlab")
    checkout("gitlab", "--output", str(folder), *request.param)
    return yaml.safe_load((folder / ".gitlab-ci.yml").read_text())


@pytest.fixture(scope="module")
def plain_github(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The workflows without any option, by name."""
    folder = tmp_path_factory.mktemp("plain")
    checkout("github", "--output", str(folder))
    return {path.stem.removeprefix("millrace-"): _read(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def plain_gitlab(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("plain-gitlab")
    checkout("gitlab", "--output", str(folder))
    return dict(yaml.safe_load((folder / ".gitlab-ci.yml").read_text()))


def _read(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    # YAML takes the word for a truth value.
    document["on"] = document.pop(True)
    return dict(document)


# -- GitHub ------------------------------------------------------------------------------------------------------------


def test_actionlint_has_nothing_to_say(on_github: Path, tmp_path: Path) -> None:
    files = sorted(on_github.glob("*.yml"))
    assert [file.stem for file in files] == [
        f"millrace-{name}" for name in ("comment", "deploy", "drift", "preview", "review")
    ]
    assert findings(*files) == ""
    # By their versions it knows the actions, and so the names of their inputs.
    for file in files:
        (tmp_path / file.name).write_text(_by_version(file.read_text()))
    assert findings(*sorted(tmp_path.iterdir())) == ""


def test_actionlint_would_have_something_to_say(on_github: Path, tmp_path: Path) -> None:
    text = _by_version((on_github / "millrace-preview.yml").read_text())
    (tmp_path / "a.yml").write_text(text.replace("role-to-assume", "role-to-asume"))
    (tmp_path / "b.yml").write_text(text.replace("needs: stacks", "needs: stax"))
    assert "role-to-asume" in findings(tmp_path / "a.yml")
    assert "stax" in findings(tmp_path / "b.yml")


def _by_version(text: str) -> str:
    return re.sub(r"@[0-9a-f]{40} # (v\d+)\.\S+", r"@\1", text)


def test_every_job_has_the_least_it_needs(on_github: Path) -> None:
    may = {
        "stacks": {"contents": "read"},
        "offline": {"contents": "read"},
        "comment": {"actions": "read", "contents": "read", "pull-requests": "write"},
        "plan": {"actions": "read", "contents": "read", "id-token": "write"},
    }
    role = {"contents": "read", "id-token": "write"}
    for path in on_github.iterdir():
        workflow = _read(path)
        assert workflow["permissions"] == {}
        assert "pull_request_target" not in workflow["on"]
        for name, job in workflow["jobs"].items():
            assert job["permissions"] == may.get(name.partition("-")[0], role), name
            assert job["timeout-minutes"] <= 300
            for step in job["steps"]:
                assert "${{" not in step.get("run", ""), "what a stranger may choose must not become a command"
                if "uses" in step:
                    assert re.fullmatch(r"[a-z-]+/[a-z-]+@[0-9a-f]{40}", step["uses"])
                if step.get("uses", "").startswith("actions/checkout@"):
                    assert step["with"]["persist-credentials"] is False
            if "id-token" not in job["permissions"]:
                text = json.dumps(job)
                assert "secrets." not in text
                assert "configure-aws-credentials" not in text


def test_a_fork_gets_no_credentials_and_a_branch_a_role_that_previews(plain_github: dict[str, Any]) -> None:
    jobs = plain_github["preview"]["jobs"]
    assert set(jobs) == {"stacks", "preview-dev", "preview-prod", "offline"}
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    assert same in jobs["preview-dev"]["if"]
    assert same.replace("==", "!=") in jobs["offline"]["if"]
    assert '--base "$BASE"' in _commands(jobs["offline"])
    assert "--base" not in _commands(jobs["preview-dev"])
    [assumed] = _uses(jobs["preview-prod"], "configure-aws-credentials")
    assert assumed["with"]["role-to-assume"] == "${{ vars.AWS_PREVIEW_ROLE_ARN_PROD }}"
    names = [step["with"]["name"] for step in _uses(jobs["preview-dev"], "upload-artifact")]
    assert names == ["plan-${{ matrix.stack }}-${{ steps.tree.outputs.tree }}", "comment-${{ matrix.stack }}"]


def test_who_comments_runs_nothing_of_the_pull_request(plain_github: dict[str, Any]) -> None:
    workflow = plain_github["comment"]
    assert workflow["on"] == {"workflow_run": {"workflows": ["Millrace preview"], "types": ["completed"]}}
    assert plain_github["preview"]["name"] == "Millrace preview"
    checkout, write = workflow["jobs"]["comment"]["steps"]
    assert checkout["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert checkout["with"]["sparse-checkout"] == "cli/delivery/comment.py"
    assert write["run"] == 'python3 -m cli.delivery.comment github --run "$RUN"'


def test_a_deployment_is_approved_alone_on_its_stack_and_in_the_order_of_promotion(
    plain_github: dict[str, Any],
) -> None:
    jobs = plain_github["deploy"]["jobs"]
    assert list(jobs) == ["stacks", "plan-dev", "deploy-dev", "plan-prod", "deploy-prod"]
    for name in ("dev", "prod"):
        deploy = jobs[f"deploy-{name}"]
        assert deploy["environment"] == name
        assert deploy["concurrency"] == {"group": "millrace-${{ matrix.stack }}", "cancel-in-progress": False}
        [assumed] = _uses(deploy, "configure-aws-credentials")
        assert assumed["with"]["role-to-assume"] == f"${{{{ vars.AWS_ROLE_ARN_{name.upper()} }}}}"
        assert "environment" not in jobs[f"plan-{name}"]
    assert jobs["plan-prod"]["needs"] == ["stacks", "deploy-dev"]
    assert jobs["deploy-prod"]["needs"] == ["stacks", "plan-prod"]
    assert 'cat comment.md >> "$GITHUB_STEP_SUMMARY"' in _commands(jobs["plan-dev"])


def test_options_end_in_the_workflows(checkout: Checkout, tmp_path: Path) -> None:
    digest = "0123456789abcdef0123456789abcdef01234567"
    checkout("github", "--output", str(tmp_path), *ALL_OPTIONS, "--pin", f"actions/cache={digest}", "--session", "7200")
    deploy, review = (_read(tmp_path / f"millrace-{name}.yml") for name in ("deploy", "review"))
    assert deploy["on"]["push"] == {"branches": ["release/2"]}
    [assumed] = _uses(deploy["jobs"]["deploy-dev"], "configure-aws-credentials")
    assert assumed["with"]["role-to-assume"] == ROLE
    assert assumed["with"]["role-duration-seconds"] == 7200
    step = deploy["jobs"]["deploy-dev"]["steps"][-1]
    assert step["env"] == {
        "PULUMI_BACKEND_URL": "https://api.pulumi.com",
        "PULUMI_ACCESS_TOKEN": "${{ secrets.PULUMI_ACCESS_TOKEN }}",
    }
    assert "'try it'" in review["jobs"]["stacks"]["if"]
    assert "--expires 3d --up" in _commands(review["jobs"]["create"])
    assert "--env prod --without-platform" in _commands(review["jobs"]["stacks"])
    for path in tmp_path.iterdir():
        assert set(re.findall(r"actions/cache@(\S+)", path.read_text())) <= {digest}


def _uses(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if f"/{action}@" in step.get("uses", "")]


def _commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


# -- GitLab ------------------------------------------------------------------------------------------------------------

#: What is not a job.
_GLOBAL = {"stages", "workflow"}


def test_what_a_job_names_is_there(on_gitlab: dict[str, Any]) -> None:
    jobs = {name: job for name, job in on_gitlab.items() if name not in _GLOBAL}
    stages = on_gitlab["stages"]
    assert len(stages) == len(set(stages))
    for name, job in jobs.items():
        if extended := job.get("extends"):
            assert extended.startswith(".")
            assert extended in jobs
        if name.startswith("."):
            continue
        assert job["stage"] in stages
        assert job["rules"]
        assert job["script"]
        for needed in job.get("needs", []):
            other = needed["job"] if isinstance(needed, dict) else needed
            assert stages.index(jobs[other]["stage"]) < stages.index(job["stage"])
            is_optional = isinstance(needed, dict) and needed.get("optional")
            # GitLab refuses a pipeline in which a job that is needed may be missing.
            assert is_optional or jobs[other]["rules"][0]["if"] in job["rules"][0]["if"]
            assert is_optional or jobs[other]["rules"][0].get("changes") == job["rules"][0].get("changes")
        if stops := job.get("environment", {}).get("on_stop"):
            assert jobs[stops]["environment"] == {"name": job["environment"]["name"], "action": "stop"}
            assert jobs[stops]["rules"][0]["when"] == "manual"


def test_gitlab_has_the_same_stages(plain_gitlab: dict[str, Any]) -> None:
    assert plain_gitlab["stages"] == [
        "preview", "note", "plan dev", "deploy dev", "plan prod", "deploy prod", "review", "scheduled",
    ]  # fmt: skip
    named = [name for name in plain_gitlab if name not in _GLOBAL and not name.startswith(".")]
    stacks = ["platform-dev", "churn-eu-dev", "flights-dev", "flights-prod"]
    kinds = ["preview", "offline", "note", "plan", "deploy", "drift"]
    assert named == [
        *(f"{kind}:{stack}" for stack in stacks for kind in kinds),
        *(f"{kind}:{use_case}" for use_case in ("churn-eu", "flights") for kind in ("review", "stop-review")),
        "expire-reviews",
    ]


def test_on_gitlab_a_fork_gets_no_identity_and_nobody_deploys_without_a_click(plain_gitlab: dict[str, Any]) -> None:
    assert plain_gitlab[".account"]["id_tokens"] == {"AWS_ID_TOKEN": {"aud": "sts.amazonaws.com"}}
    assert "id_tokens" not in plain_gitlab[".millrace"]
    offline = plain_gitlab["offline:flights-dev"]
    assert offline["extends"] == ".millrace"
    assert "AWS" not in json.dumps(offline)
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID != $CI_MERGE_REQUEST_PROJECT_ID" in offline["rules"][0]["if"]
    preview = plain_gitlab["preview:flights-dev"]
    assert "$CI_MERGE_REQUEST_SOURCE_PROJECT_ID == $CI_MERGE_REQUEST_PROJECT_ID" in preview["rules"][0]["if"]
    assert preview["variables"]["AWS_ROLE_ARN"] == "$AWS_PREVIEW_ROLE_ARN_DEV"
    assert {"stacks/flights/**/*", "components/**/*", "stacks/Pulumi.flights-dev.yaml", "__main__.py"} <= set(
        preview["rules"][0]["changes"]
    )
    for stack, name in [("flights-dev", "dev"), ("flights-prod", "prod")]:
        deploy = plain_gitlab[f"deploy:{stack}"]
        assert deploy["environment"] == {"name": name}
        assert deploy["resource_group"] == stack
        assert deploy["rules"][0]["when"] == "manual"
        assert deploy["allow_failure"] is False
        assert deploy["rules"][0]["if"] == '$CI_PIPELINE_SOURCE == "push" && $CI_COMMIT_BRANCH == "main"'
    assert plain_gitlab["plan:flights-prod"]["needs"] == [
        {"job": "deploy:flights-dev", "artifacts": False, "optional": True}
    ]


def test_an_environment_may_be_deployed_without_a_click(checkout: Checkout, tmp_path: Path) -> None:
    checkout("gitlab", "--output", str(tmp_path), "--automatic", "dev")
    jobs = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())
    assert "when" not in jobs["deploy:flights-dev"]["rules"][0]
    assert jobs["deploy:flights-prod"]["rules"][0]["when"] == "manual"


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_are_kept_up_to_date_and_what_was_changed_by_hand_is_kept(clean: Checkout) -> None:
    assert "5 of 5 files would be written" in clean("github", "--dry-run").stdout
    assert not (clean.folder / ".github").exists()
    assert "5 of 5 files are not what they would be" in clean("github", "--check", code=1).stderr
    clean("github")
    path = clean.folder / ".github" / "workflows" / "millrace-drift.yml"
    assert path.read_text().startswith("# Written by `millrace workflows github`; digest of what follows: ")
    assert "5 files are what they would be" in clean("github", "--check").stdout

    refused = clean("github", "--env", "prod", "--check", code=1).stderr
    assert "5 of 5 files are not what they would be" in refused
    assert "millrace workflows github --env prod" in refused
    # What is as it was written may be written anew.
    written = clean("github", "--env", "prod").stdout
    assert "wrote .github/workflows/millrace-drift.yml" in written
    assert "flights-dev" not in path.read_text()

    mine = path.read_text().replace("23 3 * * *", "0 0 1 1 *")
    path.write_text(mine)
    assert "millrace-drift.yml: changed by hand" in clean("github", code=1).stderr
    assert path.read_text() == mine
    assert '-    - cron: "0 0 1 1 *"' in clean("github", "--dry-run").stdout
    clean("github", "--force")
    assert "5 files are what they would be" in clean("github", "--check").stdout


def test_a_pipeline_of_somebody_else_s_is_not_written_over(clean: Checkout) -> None:
    path = clean.folder / ".gitlab-ci.yml"
    path.write_text("include: ours.yml\n")
    assert ".gitlab-ci.yml: changed by hand, or not written by this command" in clean("gitlab", code=1).stderr
    assert path.read_text() == "include: ours.yml\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["github", "--env", "moon"], 1, "there is no stack of environment 'moon'"),
        (["github", "--use-case", "tides"], 1, "there is no stack of use case 'tides'"),
        (["github", "--role-arn", "moon=" + ROLE], 2, "--role-arn 'moon': expected one of dev, prod"),
        (["github", "--role-arn", ROLE], 2, "expected ENV=ARN"),
        (["github", "--role-arn", "dev=me"], 2, "dev=me: expected arn:aws:iam::<account>:role/<name>"),
        (["github", "--pin", "actions/cache=v5"], 2, "40 hexadecimal digits: a tag can be moved"),
        (["github", "--pin", "actions/stale=" + "0" * 40], 2, "no workflow uses it; expected one of actions/cache"),
        (["github", "--label", "it's"], 2, '--label "it\'s"'),
        (["github", "--expires", "soon"], 2, "--expires 'soon': expected e.g. 72h or 3d"),
        (["github", "--check", "--force"], 2, "exclude each other"),
        (["gitlab", "--automatic", "moon"], 2, "--automatic 'moon': expected one of dev, prod"),
        (["stacks", "--outputs", "--json"], 2, "give one of them"),
        (["saved", "flights", "--env", "dev"], 1, "neither GITHUB_ACTIONS nor GITLAB_CI is `true`"),
    ],
)
def test_what_cannot_be_meant_is_refused(checkout: Checkout, arguments: list[str], code: int, said: str) -> None:
    assert said in checkout(*arguments, code=code).stderr
    assert not (checkout.folder / ".github").exists()


# -- which stacks ------------------------------------------------------------------------------------------------------

EVERY = ["platform-dev", "churn-eu-dev", "flights-dev", "flights-prod"]


@pytest.mark.parametrize(
    ("paths", "concerned"),
    [
        (["stacks/flights/data.py"], ["platform-dev", "flights-dev", "flights-prod"]),
        (["stacks/churn_eu/new/part.py", "docs/a.md"], ["platform-dev", "churn-eu-dev"]),
        (["stacks/Pulumi.flights-prod.yaml"], ["platform-dev", "flights-prod"]),
        (["docs/a.md", "tests/test_a.py", "README.md", "cli/main.py"], []),
        (["components/access.py"], EVERY),
        (["training/a/b.py"], EVERY),
        (["requirements.lock"], EVERY),
        (["stacks/__init__.py"], EVERY),
    ],
    ids=lambda value: value[0] if value else "none",
)
def test_a_change_concerns_the_stacks_that_are_made_of_it(
    clean: Checkout, paths: list[str], concerned: list[str]
) -> None:
    for name in paths:
        path = clean.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    clean.commit("change")
    found = json.loads(clean("stacks", "--changed-since", clean.base, "--json").stdout)
    assert [each["stack"] for each in found] == concerned


def test_what_happened_on_the_base_meanwhile_does_not_count(clean: Checkout) -> None:
    clean.stand.git("checkout", "--quiet", "-B", "theirs")
    (clean.folder / "__main__.py").write_text("# changed\n")
    theirs = clean.commit("theirs")
    clean.stand.git("checkout", "--quiet", clean.base)
    (clean.folder / "stacks" / "churn_eu" / "data.py").write_text("")
    clean.commit("mine")
    outputs = clean("stacks", "--changed-since", theirs, "--env", "prod", "--env", "dev", "--outputs").stdout
    lines = dict(line.split("=", 1) for line in outputs.splitlines())
    assert list(lines) == ["prod", "dev", "all_stacks"]
    assert lines["prod"] == "[]"
    churn = {"use_case": "churn-eu", "environment": "dev", "stack": "churn-eu-dev", "region": "eu-west-1"}
    assert json.loads(lines["dev"])[1:] == [churn]
    only = clean("stacks", "--changed-since", theirs, "--without-platform", "--json").stdout
    assert json.loads(only) == [churn]


@pytest.mark.parametrize("base", ["", "0" * 40, "f" * 40])
def test_without_anything_to_compare_with_everything_is_concerned(checkout: Checkout, base: str) -> None:
    done = checkout("stacks", "--changed-since", base, "--json")
    assert [each["stack"] for each in json.loads(done.stdout)] == EVERY
    assert done.stderr.startswith("all stacks: ")


# -- comments ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def github() -> Iterator[GitHub]:
    host = GitHub()
    with served(host):
        yield host
    assert host.refused == []


def comment(checkout: Checkout, host: GitHub, run: int, code: int = 0) -> str:
    """What the program says that a workflow runs with the right to comment."""
    done = checkout.python("-m", "cli.delivery.comment", "github", "--run", str(run), code=code, **host.environment)
    return done.stdout + done.stderr


def test_each_stack_has_one_comment_which_is_written_anew(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40)
    github.run(1, "a" * 40)
    # A page and more of others' comments, one of whom knows the marker.
    for number in range(120):
        github.comment(3, f"talk {number}", {"login": "someone"})
    forged = github.comment(3, "<!-- millrace: flights-dev -->\nmine", {"login": "someone"})
    for stack in ("flights-dev", "churn-eu-dev"):
        github.leave(1, f"comment-{stack}", packed({"comment.md": f"first {stack}", "number": "3\n"}))
    github.leave(1, "plan-flights-dev-abc", packed({"plan.json": "{}"}))
    assert "flights-dev: commented on pull request 3" in comment(checkout, github, 1)
    assert github.bodies(3)[121:] == [
        "<!-- millrace: churn-eu-dev -->\nfirst churn-eu-dev",
        "<!-- millrace: flights-dev -->\nfirst flights-dev",
    ]

    github.pull(3, "b" * 40)
    github.run(2, "b" * 40)
    github.leave(2, "comment-flights-dev", packed({"comment.md": "second", "number": "3"}))
    github.comment(3, "<!-- millrace: flights-dev -->\nof a run at the same time", BOT)
    said = comment(checkout, github, 2)
    assert "flights-dev: updated the comment" in said
    assert github.bodies(3)[121:] == [
        "<!-- millrace: churn-eu-dev -->\n`churn-eu-dev`: the pull request does not concern this stack any more.",
        "<!-- millrace: flights-dev -->\nsecond",
    ]
    assert github.comments[forged]["body"].endswith("mine")


def test_a_stranger_s_text_is_marked_and_calls_nobody(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40, head=FORK)
    github.run(1, "a" * 40, head=FORK)
    github.leave(1, "comment-flights-dev", packed({"comment.md": "all well, says @owner", "number": "3"}))
    comment(checkout, github, 1)
    [body] = github.bodies(3)
    assert "comes from a fork" in body
    assert "@owner" not in body


@pytest.mark.parametrize("number", ["4", "3; curl", "../../3", "", "0", "-3", "9" * 30])
def test_a_run_can_write_to_its_own_pull_request_alone(checkout: Checkout, github: GitHub, number: str) -> None:
    github.pull(3, "a" * 40, head=FORK)
    github.pull(4, "b" * 40)
    github.run(1, "a" * 40, head=FORK)
    github.leave(1, "comment-flights-dev", packed({"comment.md": "text", "number": number}))
    said = comment(checkout, github, 1, code=0 if number == "4" else 1)
    assert "nothing was written" in said
    assert github.comments == {}


@pytest.mark.parametrize(
    ("content", "facts", "said"),
    [
        (packed({"comment.md": "x" * 3_000_000, "number": "3"}), {}, "more than 1000000 bytes"),
        (packed({"comment.md": "x", "number": "3"}), {"size_in_bytes": 2_000_000}, "expected at most 1000000"),
        (packed({"comment.md": "x"}), {}, "cannot be read"),
        (b"no archive", {}, "cannot be read"),
    ],
    ids=["a bomb", "large", "no number", "no archive"],
)
def test_an_artifact_is_taken_for_data_of_a_stranger(
    checkout: Checkout, github: GitHub, content: bytes, facts: dict[str, Any], said: str
) -> None:
    github.pull(3, "a" * 40)
    github.run(1, "a" * 40)
    github.leave(1, "comment-flights-dev", content, **facts)
    assert said in comment(checkout, github, 1, code=1)
    assert github.comments == {}


def test_a_long_comment_is_cut_and_one_of_an_older_push_is_not_written(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40)
    github.run(1, "a" * 40)
    github.leave(1, "comment-flights-dev", packed({"comment.md": "é" * 70_000, "number": "3"}))
    comment(checkout, github, 1)
    [body] = github.bodies(3)
    # What GitHub takes.
    assert len(body) < 65_536
    assert "… and more" in body
    github.pull(3, "b" * 40)
    assert "nothing was written" in comment(checkout, github, 1)
    assert github.bodies(3) == [body]


def test_a_note_on_gitlab_is_one_and_ours(checkout: Checkout, tmp_path: Path) -> None:
    host, text = GitLab(), tmp_path / "comment.md"
    host.note("<!-- millrace: flights-dev -->\nsomebody's", author=2)
    with served(host):
        for said in ("commented on merge request 5", "updated the note"):
            text.write_text(said)
            arguments = ("-m", "cli.delivery.comment", "gitlab", "--stack", "flights-dev", "--file", str(text))
            assert said in checkout.python(*arguments, **host.environment).stdout
    assert [note["body"] for note in host.notes.values()] == [
        "<!-- millrace: flights-dev -->\nsomebody's",
        "<!-- millrace: flights-dev -->\nupdated the note",
    ]


# -- saved plans -------------------------------------------------------------------------------------------------------


def test_a_plan_of_other_files_of_a_fork_or_of_long_ago_is_not_taken(
    checkout: Checkout, github: GitHub, tmp_path: Path
) -> None:
    tree = checkout.stand.git("rev-parse", "HEAD^{tree}").strip()
    content = packed({"plan.json": "{}", "comment.md": ""})
    github.run(1, "a" * 40)
    github.run(2, "a" * 40, head=FORK)
    github.leave(1, f"plan-flights-dev-{'0' * 40}", content)
    github.leave(1, f"plan-flights-prod-{tree}", content)
    github.leave(1, f"plan-flights-dev-{tree}", content, expired=True)
    github.leave(2, f"plan-flights-dev-{tree}", content)
    arguments = ("saved", "flights", "--env", "dev", "--output", str(tmp_path))
    assert "no plan was saved for flights-dev" in checkout(*arguments, **github.environment).stdout
    assert list(tmp_path.iterdir()) == []


def test_on_gitlab_a_plan_is_kept_by_stack_and_tree(checkout: Checkout, tmp_path: Path) -> None:
    host, tree = GitLab(), checkout.stand.git("rev-parse", "HEAD^{tree}").strip()
    plan, text = tmp_path / "p.json", tmp_path / "c.md"
    plan.write_text('{"manifest": {}}')
    text.write_text("what it does")
    with served(host):
        assert "no plan was saved" in checkout("saved", "flights", "--env", "dev", **host.environment).stdout
        checkout("keep", "flights-dev", str(plan), str(text), **host.environment)
    folder = f"/projects/42/packages/generic/plan-flights-dev/{tree}"
    assert host.packages == {f"{folder}/plan.json": plan.read_bytes(), f"{folder}/comment.md": text.read_bytes()}
