"""Tests of the files of `millrace workflows github` and `gitlab`, with checks that emulate those of the hosts."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import yaml

from .checkouts import Checkout, checkout, clean
from .linted import run_actionlint

__all__ = ["checkout", "clean"]

ROLE = "arn:aws:iam::123456789012:role/deploys"


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
    """Return the workflows generated without options, by name."""
    folder = tmp_path_factory.mktemp("plain")
    checkout("github", "--output", str(folder))
    return {path.stem.removeprefix("millrace-"): _read_workflow(path) for path in folder.iterdir()}


@pytest.fixture(scope="module")
def plain_gitlab(checkout: Checkout, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    folder = tmp_path_factory.mktemp("plain-gitlab")
    checkout("gitlab", "--output", str(folder))
    return dict(yaml.safe_load((folder / ".gitlab-ci.yml").read_text()))


def _read_workflow(path: Path) -> dict[str, Any]:
    document = yaml.safe_load(path.read_text())
    # YAML parses the key `on` as a boolean.
    document["on"] = document.pop(True)
    return dict(document)


# -- GitHub ------------------------------------------------------------------------------------------------------------


def test_actionlint_finds_no_problems(on_github: Path, tmp_path: Path) -> None:
    files = sorted(on_github.glob("*.yml"))
    assert [file.stem for file in files] == [
        f"millrace-{name}" for name in ("comment", "deploy", "drift", "preview", "review")
    ]
    assert run_actionlint(*files) == ""
    # With version tags, actionlint knows the actions and checks the names of their inputs.
    for file in files:
        (tmp_path / file.name).write_text(_replace_digests_by_versions(file.read_text()))
    assert run_actionlint(*sorted(tmp_path.iterdir())) == ""


def test_actionlint_finds_deliberate_mistakes(on_github: Path, tmp_path: Path) -> None:
    text = _replace_digests_by_versions((on_github / "millrace-preview.yml").read_text())
    (tmp_path / "a.yml").write_text(text.replace("role-to-assume", "role-to-asume"))
    (tmp_path / "b.yml").write_text(text.replace("needs: stacks", "needs: stax"))
    assert "role-to-asume" in run_actionlint(tmp_path / "a.yml")
    assert "stax" in run_actionlint(tmp_path / "b.yml")


def _replace_digests_by_versions(text: str) -> str:
    return re.sub(r"@[0-9a-f]{40} # (v\d+)\.\S+", r"@\1", text)


def test_every_job_has_minimal_permissions(on_github: Path) -> None:
    may = {
        "stacks": {"contents": "read"},
        "offline": {"contents": "read"},
        "comment": {"actions": "read", "contents": "read", "pull-requests": "write"},
        "plan": {"actions": "read", "contents": "read", "id-token": "write"},
    }
    role = {"contents": "read", "id-token": "write"}
    for path in on_github.iterdir():
        workflow = _read_workflow(path)
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


def test_forks_get_no_credentials_and_branches_get_the_preview_role(plain_github: dict[str, Any]) -> None:
    jobs = plain_github["preview"]["jobs"]
    assert set(jobs) == {"stacks", "preview-dev", "preview-prod", "offline"}
    same = "github.event.pull_request.head.repo.full_name == github.repository"
    assert same in jobs["preview-dev"]["if"]
    assert same.replace("==", "!=") in jobs["offline"]["if"]
    assert '--base "$BASE"' in _join_commands(jobs["offline"])
    assert "--base" not in _join_commands(jobs["preview-dev"])
    [assumed] = _find_steps_using(jobs["preview-prod"], "configure-aws-credentials")
    assert assumed["with"]["role-to-assume"] == "${{ vars.AWS_PREVIEW_ROLE_ARN_PROD }}"
    left = {
        step["with"]["name"]: step["with"]["path"] for step in _find_steps_using(jobs["preview-dev"], "upload-artifact")
    }
    assert left == {
        "plan-${{ matrix.stack }}-${{ steps.tree.outputs.tree }}": "plan.json",
        "comment-${{ matrix.stack }}": "comment.md\nnumber\n",
    }


def test_the_comment_job_runs_no_code_of_the_pull_request(plain_github: dict[str, Any]) -> None:
    workflow = plain_github["comment"]
    assert workflow["on"] == {"workflow_run": {"workflows": ["Millrace preview"], "types": ["completed"]}}
    assert plain_github["preview"]["name"] == "Millrace preview"
    checkout, write = workflow["jobs"]["comment"]["steps"]
    assert checkout["with"]["ref"] == "${{ github.event.repository.default_branch }}"
    assert checkout["with"]["sparse-checkout"] == "cli/delivery/comment.py"
    assert write["run"] == 'python3 -m cli.delivery.comment github --run "$RUN"'


def test_a_deployment_needs_approval_and_excludes_others_of_its_stack(plain_github: dict[str, Any]) -> None:
    jobs = plain_github["deploy"]["jobs"]
    for name in ("dev", "prod"):
        for stacks in (f"{name}_platform", f"{name}_use_cases"):
            deploy = jobs[f"deploy-{stacks}"]
            assert deploy["environment"] == name
            assert deploy["concurrency"] == {"group": "millrace-${{ matrix.stack }}", "cancel-in-progress": False}
            [assumed] = _find_steps_using(deploy, "configure-aws-credentials")
            assert assumed["with"]["role-to-assume"] == f"${{{{ vars.AWS_ROLE_ARN_{name.upper()} }}}}"
            assert "environment" not in jobs[f"plan-{stacks}"]


def test_platforms_deploy_before_use_cases_and_environments_in_order(
    plain_github: dict[str, Any],
) -> None:
    jobs = plain_github["deploy"]["jobs"]
    waves = ["dev_platform", "dev_use_cases", "prod_platform", "prod_use_cases"]
    assert list(jobs) == ["stacks", *(f"{what}-{wave}" for wave in waves for what in ("plan", "deploy"))]
    before: list[str] = []
    for wave in waves:
        assert jobs[f"plan-{wave}"]["needs"] == ["stacks", *before]
        assert jobs[f"deploy-{wave}"]["needs"] == ["stacks", f"plan-{wave}"]
        before = [f"deploy-{wave}"]
        for what in ("plan", "deploy"):
            job = jobs[f"{what}-{wave}"]
            assert job["strategy"]["matrix"]["include"] == f"${{{{ fromJSON(needs.stacks.outputs.{wave}) }}}}"
            # A skipped predecessor does not skip the job; a failed one does.
            due = f"!cancelled() && !failure() && needs.stacks.outputs.{wave} != '[]'"
            assert job["if"] == f"${{{{ {due} }}}}"


def test_no_platform_is_deployed_for_chosen_use_cases(checkout: Checkout, tmp_path: Path) -> None:
    checkout("github", "--output", str(tmp_path), "--use-case", "flights", "--env", "dev")
    jobs = _read_workflow(tmp_path / "millrace-deploy.yml")["jobs"]
    assert list(jobs) == ["stacks", "plan-dev_use_cases", "deploy-dev_use_cases"]


def test_options_are_applied_to_the_workflows(checkout: Checkout, tmp_path: Path) -> None:
    digest = "0123456789abcdef0123456789abcdef01234567"
    checkout("github", "--output", str(tmp_path), *ALL_OPTIONS, "--pin", f"actions/cache={digest}", "--session", "7200")
    deploy, review = (_read_workflow(tmp_path / f"millrace-{name}.yml") for name in ("deploy", "review"))
    assert deploy["on"]["push"] == {"branches": ["release/2"]}
    [assumed] = _find_steps_using(deploy["jobs"]["deploy-dev_use_cases"], "configure-aws-credentials")
    assert assumed["with"]["role-to-assume"] == ROLE
    assert assumed["with"]["role-duration-seconds"] == 7200
    step = deploy["jobs"]["deploy-dev_use_cases"]["steps"][-1]
    assert step["env"] == {
        "PULUMI_BACKEND_URL": "https://api.pulumi.com",
        "PULUMI_ACCESS_TOKEN": "${{ secrets.PULUMI_ACCESS_TOKEN }}",
    }
    assert "'try it'" in review["jobs"]["stacks"]["if"]
    assert "--expires 3d --up" in _join_commands(review["jobs"]["create"])
    assert "--env prod --without-platform" in _join_commands(review["jobs"]["stacks"])
    for path in tmp_path.iterdir():
        assert set(re.findall(r"actions/cache@(\S+)", path.read_text())) <= {digest}


def _find_steps_using(job: dict[str, Any], action: str) -> list[dict[str, Any]]:
    return [step for step in job["steps"] if f"/{action}@" in step.get("uses", "")]


def _join_commands(job: dict[str, Any]) -> str:
    return "\n".join(step["run"] for step in job["steps"] if "run" in step)


# -- GitLab ------------------------------------------------------------------------------------------------------------

#: Top-level keys that are not jobs.
_GLOBAL = {"stages", "workflow"}


def test_everything_that_a_job_refers_to_exists(on_gitlab: dict[str, Any]) -> None:
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


def test_gitlab_has_the_expected_stages_and_jobs(plain_gitlab: dict[str, Any]) -> None:
    assert plain_gitlab["stages"] == [
        "preview", "note",
        "plan platform dev", "deploy platform dev", "plan dev", "deploy dev", "plan prod", "deploy prod",
        "review", "scheduled",
    ]  # fmt: skip
    named = [name for name in plain_gitlab if name not in _GLOBAL and not name.startswith(".")]
    stacks = ["platform-dev", "churn-eu-dev", "flights-dev", "flights-prod"]
    kinds = ["preview", "offline", "note", "note-failure", "plan", "deploy", "drift"]
    assert named == [
        *(f"{kind}:{stack}" for stack in stacks for kind in kinds),
        *(f"{kind}:{use_case}" for use_case in ("churn-eu", "flights") for kind in ("review", "stop-review")),
        "expire-reviews",
    ]


def test_gitlab_gives_forks_no_identity_and_deploys_only_manually(plain_gitlab: dict[str, Any]) -> None:
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


def test_gitlab_deploys_platforms_first_and_environments_in_order(clean: Checkout, tmp_path: Path) -> None:
    stacks = clean.folder / "stacks"
    (stacks / "Pulumi.platform-prod.yaml").write_text((stacks / "Pulumi.flights-prod.yaml").read_text())
    clean("gitlab", "--output", str(tmp_path))
    jobs = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())
    for stack, before in {
        "platform-dev": [],
        "churn-eu-dev": ["platform-dev"],
        "flights-dev": ["platform-dev"],
        "platform-prod": ["platform-dev"],
        "flights-prod": ["flights-dev", "platform-prod"],
    }.items():
        # Optional, because the job of an unaffected stack is not in the pipeline.
        needs = [{"job": f"deploy:{each}", "artifacts": False, "optional": True} for each in before]
        assert jobs[f"plan:{stack}"]["needs"] == needs


def test_a_failed_preview_updates_the_gitlab_note(plain_gitlab: dict[str, Any]) -> None:
    note, failure = plain_gitlab["note:flights-dev"], plain_gitlab["note-failure:flights-dev"]
    assert failure["needs"] == note["needs"] == ["preview:flights-dev"]
    [rule] = failure["rules"]
    assert rule == {**note["rules"][0], "when": "on_failure"}
    assert failure["script"] == ['python3 -m cli.delivery.comment gitlab --stack "$STACK" --failed']


def test_an_environment_can_be_deployed_automatically(checkout: Checkout, tmp_path: Path) -> None:
    checkout("gitlab", "--output", str(tmp_path), "--automatic", "dev")
    jobs = yaml.safe_load((tmp_path / ".gitlab-ci.yml").read_text())
    assert "when" not in jobs["deploy:flights-dev"]["rules"][0]
    assert jobs["deploy:flights-prod"]["rules"][0]["when"] == "manual"


# -- files -------------------------------------------------------------------------------------------------------------


def test_files_are_updated_unless_they_were_changed_by_hand(clean: Checkout) -> None:
    assert "5 of 5 files would be written" in clean("github", "--dry-run").stdout
    assert not (clean.folder / ".github").exists()
    assert "5 of 5 files are out of date" in clean("github", "--check", code=1).stderr
    clean("github")
    path = clean.folder / ".github" / "workflows" / "millrace-drift.yml"
    assert path.read_text().startswith("# Written by `millrace workflows github`; digest of what follows: ")
    assert "5 files are up to date" in clean("github", "--check").stdout

    refused = clean("github", "--env", "prod", "--check", code=1).stderr
    assert "5 of 5 files are out of date" in refused
    assert "millrace workflows github --env prod" in refused
    # Generated files without manual changes may be overwritten.
    written = clean("github", "--env", "prod").stdout
    assert "wrote .github/workflows/millrace-drift.yml" in written
    assert "flights-dev" not in path.read_text()

    mine = path.read_text().replace("23 3 * * *", "0 0 1 1 *")
    path.write_text(mine)
    assert "millrace-drift.yml changed by hand" in clean("github", code=1).stderr
    assert path.read_text() == mine
    assert '-    - cron: "0 0 1 1 *"' in clean("github", "--dry-run").stdout
    clean("github", "--force")
    assert "5 files are up to date" in clean("github", "--check").stdout


def test_an_existing_foreign_pipeline_is_not_overwritten(clean: Checkout) -> None:
    path = clean.folder / ".gitlab-ci.yml"
    path.write_text("include: ours.yml\n")
    assert ".gitlab-ci.yml changed by hand, or not written by this command" in clean("gitlab", code=1).stderr
    assert path.read_text() == "include: ours.yml\n"


@pytest.mark.parametrize(
    ("arguments", "code", "said"),
    [
        (["github", "--env", "moon"], 1, "environment 'moon' has no stack"),
        (["github", "--use-case", "tides"], 1, "use case 'tides' has no stack"),
        (["github", "--role-arn", "moon=" + ROLE], 2, "--role-arn 'moon': expected one of dev, prod"),
        (["github", "--role-arn", ROLE], 2, "expected ENV=ARN"),
        (["github", "--role-arn", "dev=me"], 2, "dev=me: expected arn:aws:iam::<account>:role/<name>"),
        (["github", "--pin", "actions/cache=v5"], 2, "40 hexadecimal digits: a tag can be moved"),
        (["github", "--pin", "actions/stale=" + "0" * 40], 2, "no workflow uses it; expected one of actions/cache"),
        (["github", "--label", "it's"], 2, '--label "it\'s"'),
        (["github", "--expires", "soon"], 2, "--expires 'soon': expected e.g. 72h or 3d"),
        (["github", "--check", "--force"], 2, "are mutually exclusive"),
        (["gitlab", "--automatic", "moon"], 2, "--automatic 'moon': expected one of dev, prod"),
        (["stacks", "--outputs", "--json"], 2, "give one of them"),
        (["saved", "flights", "--env", "dev"], 1, "neither GITHUB_ACTIONS nor GITLAB_CI is `true`"),
    ],
)
def test_invalid_arguments_are_refused(checkout: Checkout, arguments: list[str], code: int, said: str) -> None:
    assert said in checkout(*arguments, code=code).stderr
    assert not (checkout.folder / ".github").exists()
