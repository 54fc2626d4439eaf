"""Saved plans in the host's storage, found by stack and git tree: the same files, whichever commit they are in.

A plan limits what a deployment may do and is never an instruction: Pulumi runs the program and refuses operations that
are not in the plan. A forged plan can therefore stop a deployment, and nothing more. Only the plan itself is stored,
because anybody who may push a branch may store something here, and approvers would read any text stored with it.
"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.console.errors import CliError
from cli.delivery import comment
from cli.stack import stack_files
from cli.stack.deployable import Deployable

#: The name of the stored file, and its maximum size, bytes.
FILE = "plan.json"
_LARGEST = 50_000_000


def fetch_plan(stack: str) -> bytes | None:
    """Return the plan stored for a stack and the checked-out files; None when none was stored.

    Args:
        stack: The stack's name.

    Raises:
        CliError: Outside a workflow, or when its host does not answer.
    """
    try:
        return _of_gitlab(stack) if _host() == "gitlab" else _of_github(stack)
    except comment.CommentError as error:
        raise CliError(str(error)) from error


def store_plan(stack: str, plan: bytes) -> None:
    """Store a plan for a stack and the checked-out files in GitLab's package registry.

    Args:
        stack: The stack's name.
        plan: The content of the plan's file.

    Raises:
        CliError: Outside a workflow of GitLab, or when GitLab does not answer.
    """
    if _host() != "gitlab":
        raise CliError(
            "this command", "is for GitLab: on GitHub the workflow saves plans itself, with actions/upload-artifact"
        )
    try:
        _gitlab().read("PUT", _package(stack), plan)
    except comment.CommentError as error:
        raise CliError(str(error)) from error


def explain_stale(target: Deployable, content: bytes) -> str:
    """Return why a plan can no longer be deployed; empty when it can.

    Args:
        target: The stack that the plan would be deployed to.
        content: The content of the plan's file.
    """
    from cli.deployment import saved_plan

    with tempfile.TemporaryDirectory(prefix="millrace-saved-") as folder:
        file = Path(folder) / FILE
        file.write_bytes(content)
        try:
            saved_plan.read_plan(target, file, lambda _: None)
        except saved_plan.StalePlanError as error:
            return "; ".join(error.reasons)
        except CliError as error:
            return str(error)
    return ""


def _host() -> str:
    for variable, host in (("GITHUB_ACTIONS", "github"), ("GITLAB_CI", "gitlab")):
        if os.environ.get(variable) == "true":
            return host
    raise CliError(
        "neither GITHUB_ACTIONS nor GITLAB_CI",
        "is `true`, so this is not a workflow",
        fix="write workflows with `millrace workflows github` or `gitlab`",
    )


def _of_github(stack: str) -> bytes | None:
    api = comment.make_github_api()
    name = f"plan-{stack}-{stack_files.hash_tree()}"
    listed = api.call("GET", f"actions/artifacts?name={name}&per_page=100")["artifacts"]
    found = [each for each in listed if each["name"] == name and not each["expired"] and _is_of_a_branch(each)]
    if not found:
        return None
    newest = max(found, key=lambda each: str(each["created_at"]))
    packed = api.read("GET", f"actions/artifacts/{int(newest['id'])}/zip", most=_LARGEST)
    return comment.unpack(packed, [FILE], _LARGEST)[FILE]


def _is_of_a_branch(artifact: Mapping[str, Any]) -> bool:
    """Return True if a run of this repository's own branches left it; runs for forks leave artifacts, too."""
    run = artifact.get("workflow_run") or {}
    return bool(run) and run.get("head_repository_id") == run.get("repository_id")


def _of_gitlab(stack: str) -> bytes | None:
    try:
        return _gitlab().read("GET", _package(stack), most=_LARGEST)
    except comment.CommentError as error:
        if error.status == 404:
            return None
        raise


def _gitlab() -> comment.Api:
    return comment.make_gitlab_api("CI_JOB_TOKEN", "JOB-TOKEN")


def _package(stack: str) -> str:
    return f"{comment.find_gitlab_project()}/packages/generic/plan-{stack}/{stack_files.hash_tree()}/{FILE}"
