"""Tests of the steps of the workflows: affected stacks, comments on both hosts, and saved plans."""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from cli.delivery import comment

from .checkouts import Checkout, checkout, clean
from .hosts import BOT, FORK, REPOSITORY, Answer, GitHub, GitLab, serve_host, zip_corruptly, zip_files

__all__ = ["checkout", "clean"]


# -- affected stacks ---------------------------------------------------------------------------------------------------

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
def test_a_change_affects_the_stacks_that_include_the_file(
    clean: Checkout, paths: list[str], concerned: list[str]
) -> None:
    for name in paths:
        path = clean.folder / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_text((path.read_text() if path.exists() else "") + "# changed\n")
    clean.commit("change")
    found = json.loads(clean("stacks", "--changed-since", clean.base, "--json").stdout)
    assert [each["stack"] for each in found] == concerned


def test_later_changes_on_the_base_do_not_count(clean: Checkout) -> None:
    clean.stand.git("checkout", "--quiet", "-B", "theirs")
    (clean.folder / "__main__.py").write_text("# changed\n")
    theirs = clean.commit("theirs")
    clean.stand.git("checkout", "--quiet", clean.base)
    (clean.folder / "stacks" / "churn_eu" / "data.py").write_text("")
    clean.commit("mine")
    outputs = clean("stacks", "--changed-since", theirs, "--env", "prod", "--env", "dev", "--outputs").stdout
    lines = dict(line.split("=", 1) for line in outputs.splitlines())
    assert list(lines) == [
        "prod", "prod_platform", "prod_use_cases", "dev", "dev_platform", "dev_use_cases", "all_stacks",
    ]  # fmt: skip
    assert lines["prod"] == lines["prod_platform"] == lines["prod_use_cases"] == "[]"
    churn = {"use_case": "churn-eu", "environment": "dev", "stack": "churn-eu-dev", "region": "eu-west-1"}
    platform = {"use_case": "platform", "environment": "dev", "stack": "platform-dev", "region": "eu-west-1"}
    assert json.loads(lines["dev"]) == json.loads(lines["all_stacks"]) == [platform, churn]
    assert json.loads(lines["dev_platform"]) == [platform]
    assert json.loads(lines["dev_use_cases"]) == [churn]
    only = clean("stacks", "--changed-since", theirs, "--without-platform", "--json").stdout
    assert json.loads(only) == [churn]


@pytest.mark.parametrize("base", ["", "0" * 40, "f" * 40])
def test_all_stacks_are_affected_without_a_base(checkout: Checkout, base: str) -> None:
    done = checkout("stacks", "--changed-since", base, "--json")
    assert [each["stack"] for each in json.loads(done.stdout)] == EVERY
    assert done.stderr.startswith("all stacks: ")


# -- comments ----------------------------------------------------------------------------------------------------------


@pytest.fixture
def github() -> Iterator[GitHub]:
    host = GitHub()
    with serve_host(host):
        yield host
    assert host.refused == []


def write_comments(checkout: Checkout, host: GitHub, run: int, code: int = 0) -> str:
    """Run the program that a workflow runs with the right to comment; return its output."""
    done = checkout.python("-m", "cli.delivery.comment", "github", "--run", str(run), code=code, **host.environment)
    return done.stdout + done.stderr


def test_each_stack_has_one_comment_which_is_updated(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40)
    github.run(1, "a" * 40)
    # More than a page of comments by others, one of them with the marker.
    for number in range(120):
        github.comment(3, f"talk {number}", {"login": "someone"})
    forged = github.comment(3, "<!-- millrace: flights-dev -->\nmine", {"login": "someone"})
    for stack in ("flights-dev", "churn-eu-dev"):
        github.leave(1, f"comment-{stack}", zip_files({"comment.md": f"first {stack}", "number": "3\n"}))
    github.leave(1, "plan-flights-dev-abc", zip_files({"plan.json": "{}"}))
    assert "flights-dev: commented on pull request 3" in write_comments(checkout, github, 1)
    assert github.bodies(3)[121:] == [
        f"<!-- millrace: churn-eu-dev -->\nOf commit {'a' * 40}:\n\nfirst churn-eu-dev",
        f"<!-- millrace: flights-dev -->\nOf commit {'a' * 40}:\n\nfirst flights-dev",
    ]

    github.pull(3, "b" * 40)
    github.run(2, "b" * 40)
    github.leave(2, "comment-flights-dev", zip_files({"comment.md": "second", "number": "3"}))
    github.comment(3, "<!-- millrace: flights-dev -->\nof a run at the same time", BOT)
    said = write_comments(checkout, github, 2)
    assert "flights-dev: updated the comment" in said
    assert github.bodies(3)[121:] == [
        f"<!-- millrace: churn-eu-dev -->\nOf commit {'b' * 40}:\n\n"
        "`churn-eu-dev`: the pull request no longer affects this stack.",
        f"<!-- millrace: flights-dev -->\nOf commit {'b' * 40}:\n\nsecond",
    ]
    assert github.comments[forged]["body"].endswith("mine")


@pytest.mark.parametrize("head", [REPOSITORY, FORK], ids=["of a branch", "of a fork"])
@pytest.mark.parametrize("left", [[], ["flights-dev"]], ids=["all", "one of two"])
def test_a_failed_preview_replaces_the_earlier_comment(
    checkout: Checkout, github: GitHub, head: int, left: list[str]
) -> None:
    github.pull(3, "a" * 40, head=head)
    github.run(1, "a" * 40, head=head)
    for stack in ("churn-eu-dev", "flights-dev"):
        github.leave(1, f"comment-{stack}", zip_files({"comment.md": "No risk found", "number": "3"}))
    write_comments(checkout, github, 1)

    github.pull(3, "b" * 40, head=head)
    github.run(2, "b" * 40, head=head, conclusion="failure")
    for stack in left:
        github.leave(2, f"comment-{stack}", zip_files({"comment.md": "two risks", "number": "3"}))
    write_comments(checkout, github, 2)
    bodies = github.bodies(3)
    assert len(bodies) == 2
    for body, stack in zip(bodies, ("churn-eu-dev", "flights-dev"), strict=True):
        assert "No risk found" not in body
        assert "b" * 40 in body
        if stack in left:
            assert body.endswith("two risks")
        else:
            assert body == (
                f"<!-- millrace: {stack} -->\nThe preview of {'b' * 40} failed, so its changes to `{stack}` "
                "are unknown. See https://github.test/acme/models/actions/runs/2"
            )


def test_a_run_without_a_result_leaves_the_comment_unchanged(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40)
    said = github.comment(3, "<!-- millrace: flights-dev -->\nof an older commit")
    github.run(1, "a" * 40, conclusion="action_required")
    assert "nothing was written" in write_comments(checkout, github, 1)
    assert github.comments[said]["body"].endswith("of an older commit")


def test_text_from_a_fork_is_marked_and_mentions_nobody(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40, head=FORK)
    github.run(1, "a" * 40, head=FORK)
    github.leave(1, "comment-flights-dev", zip_files({"comment.md": "all well, says @owner", "number": "3"}))
    write_comments(checkout, github, 1)
    [body] = github.bodies(3)
    assert "comes from a fork" in body
    assert "@owner" not in body


@pytest.mark.parametrize("number", ["4", "3; curl", "../../3", "", "0", "-3", "9" * 30])
def test_a_run_can_comment_only_on_its_own_pull_request(checkout: Checkout, github: GitHub, number: str) -> None:
    github.pull(3, "a" * 40, head=FORK)
    github.pull(4, "b" * 40)
    github.run(1, "a" * 40, head=FORK)
    github.leave(1, "comment-flights-dev", zip_files({"comment.md": "text", "number": number}))
    said = write_comments(checkout, github, 1, code=0 if number == "4" else 1)
    assert "nothing was written" in said
    assert github.comments == {}


@pytest.mark.parametrize(
    ("content", "facts", "said"),
    [
        (zip_files({"comment.md": "x" * 3_000_000, "number": "3"}), {}, "more than 1000000 bytes"),
        (zip_files({"comment.md": "x", "number": "3"}), {"size_in_bytes": 2_000_000}, "expected at most 1000000"),
        (zip_files({"comment.md": "x"}), {}, "cannot be read"),
        (b"no archive", {}, "cannot be read"),
    ],
    ids=["a bomb", "large", "no number", "no archive"],
)
def test_malformed_and_oversized_artifacts_are_refused(
    checkout: Checkout, github: GitHub, content: bytes, facts: dict[str, Any], said: str
) -> None:
    github.pull(3, "a" * 40)
    github.run(1, "a" * 40)
    github.leave(1, "comment-flights-dev", content, **facts)
    assert said in write_comments(checkout, github, 1, code=1)
    assert github.comments == {}


@pytest.mark.parametrize("kind", ["data", "encrypted", "method"])
def test_an_artifact_that_cannot_be_unpacked_is_refused(kind: str) -> None:
    packed = zip_corruptly({"comment.md": "x" * 1000, "number": "3"}, kind)
    with pytest.raises(comment.CommentError, match=r"^an artifact cannot be read: .*; expected a zip of comment\.md"):
        comment.unpack(packed, ["comment.md", "number"], 5000)


def test_an_answer_that_is_no_json_is_reported() -> None:
    class Portal(GitHub):
        def answer(self, method: str, target: str, headers: dict[str, str], data: bytes) -> Answer:
            return 200, {"Content-Type": "text/html"}, b"<html>Log in, please: \xff"

    portal = Portal()
    with (
        serve_host(portal),
        pytest.raises(comment.CommentError, match=r"GET .*/user returned something other than JSON: '<html>Log in"),
    ):
        comment.Api(portal.url, {}).call("GET", "user")


def test_long_comments_are_cut_and_outdated_ones_are_not_written(checkout: Checkout, github: GitHub) -> None:
    github.pull(3, "a" * 40)
    github.run(1, "a" * 40)
    github.leave(1, "comment-flights-dev", zip_files({"comment.md": "é" * 70_000, "number": "3"}))
    write_comments(checkout, github, 1)
    [body] = github.bodies(3)
    # GitHub's limit.
    assert len(body) < 65_536
    assert "… and more" in body
    github.pull(3, "b" * 40)
    assert "nothing was written" in write_comments(checkout, github, 1)
    assert github.bodies(3) == [body]


def test_gitlab_keeps_one_note_and_leaves_those_of_others(checkout: Checkout, tmp_path: Path) -> None:
    host, text = GitLab(), tmp_path / "comment.md"
    host.note("<!-- millrace: flights-dev -->\nsomebody's", author=2)
    arguments = ("-m", "cli.delivery.comment", "gitlab", "--stack", "flights-dev")
    with serve_host(host):
        for said in ("commented on merge request 5", "updated the note"):
            text.write_text(said)
            assert said in checkout.python(*arguments, "--file", str(text), **host.environment).stdout
        assert [note["body"] for note in host.notes.values()] == [
            "<!-- millrace: flights-dev -->\nsomebody's",
            f"<!-- millrace: flights-dev -->\nOf commit {'c' * 40}:\n\nupdated the note",
        ]
        # A pipeline for merged results has another commit than the branch.
        branch = {"CI_MERGE_REQUEST_SOURCE_BRANCH_SHA": "d" * 40}
        assert "updated the note" in checkout.python(*arguments, "--failed", **host.environment, **branch).stdout
        assert [note["body"] for note in host.notes.values()][1:] == [
            f"<!-- millrace: flights-dev -->\nThe preview of {'d' * 40} failed, so its changes to "
            "`flights-dev` are unknown. See https://gitlab.test/acme/models/-/pipelines/7"
        ]


# -- saved plans -------------------------------------------------------------------------------------------------------


def test_plans_of_other_content_of_forks_or_expired_are_not_used(
    checkout: Checkout, github: GitHub, tmp_path: Path
) -> None:
    tree = checkout.stand.git("rev-parse", "HEAD^{tree}").strip()
    content = zip_files({"plan.json": "{}"})
    github.run(1, "a" * 40)
    github.run(2, "a" * 40, head=FORK)
    github.leave(1, f"plan-flights-dev-{'0' * 40}", content)
    github.leave(1, f"plan-flights-prod-{tree}", content)
    github.leave(1, f"plan-flights-dev-{tree}", content, expired=True)
    github.leave(2, f"plan-flights-dev-{tree}", content)
    arguments = ("saved", "flights", "--env", "dev", "--output", str(tmp_path))
    assert "no plan was saved for flights-dev" in checkout(*arguments, **github.environment).stdout
    assert list(tmp_path.iterdir()) == []


def test_gitlab_stores_a_plan_by_stack_and_tree(checkout: Checkout, tmp_path: Path) -> None:
    host, tree = GitLab(), checkout.stand.git("rev-parse", "HEAD^{tree}").strip()
    plan = tmp_path / "p.json"
    plan.write_text('{"manifest": {}}')
    with serve_host(host):
        assert "no plan was saved" in checkout("saved", "flights", "--env", "dev", **host.environment).stdout
        checkout("keep", "flights-dev", str(plan), **host.environment)
    path = f"/projects/42/packages/generic/plan-flights-dev/{tree}/plan.json"
    assert host.packages == {path: plan.read_bytes()}
