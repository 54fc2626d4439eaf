"""Previews of a stack: what an update would do, without doing it."""

from __future__ import annotations

import json
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from cli.pulumi.process import Deployed, Note, clean_lines, describe_exit, make_environment, make_error, run_pulumi
from cli.pulumi.updates import Update, add_diagnostic
from cli.stack import connection
from millrace.config_files import make_file_name


def preview_stack(target: Deployed, note: Note, *, refresh: bool = False, draft: Path | None = None) -> dict[str, Any]:
    """Return the document of `pulumi preview --json` of the target's stack.

    Args:
        target: The stack.
        note: Called with each progress message.
        refresh: Whether to refresh the state first.
        draft: Where to write Pulumi's own plan, from which a saved plan is made.

    Raises:
        NoStackError: When the stack was never created.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    options = [*(["--save-plan", str(draft.resolve())] if draft else []), *(["--refresh"] if refresh else [])]
    note("running the program")
    return run_preview(target.stack, options, connection.REPOSITORY, make_environment(target))


def run_preview(stack: str, options: Sequence[str], folder: Path, environment: Mapping[str, str]) -> dict[str, Any]:
    """Return the document of `pulumi preview --json` of the program in a folder, including unchanged resources.

    Args:
        stack: The stack's name.
        options: Further options of `pulumi preview`.
        folder: The program's folder.
        environment: All environment variables of the Pulumi CLI.

    Raises:
        NoStackError: When the stack was never created.
        CliError: With Pulumi's own diagnostics, when it fails.
    """
    lines: list[str] = []
    command = ["preview", "--json", "--show-sames", "--stack", stack, *options]
    code, errors = run_pulumi(command, lines.append, folder, environment)
    text = "\n".join(lines)
    try:
        document = json.loads(text)
    except ValueError:
        document = {}
    if code == 0 and document:
        return dict(document)
    found = Update()
    for each in document.get("diagnostics") or []:
        add_diagnostic(each, found)
    said = [*(found.errors or found.trace), *clean_lines(errors), *([] if document else clean_lines(text))]
    raise make_error(f"`pulumi preview` of stack {stack} failed", "\n".join(said) or describe_exit(code))


# -- a stack that does not exist yet -----------------------------------------------------------------------------------


def preview_new_stack(target: Deployed) -> dict[str, Any]:
    """Preview a stack that does not exist yet: in an empty backend of its own, which is deleted afterwards.

    Args:
        target: The stack, whose file must exist.

    Returns:
        The document of `pulumi preview --json`.
    """
    import yaml

    with tempfile.TemporaryDirectory(prefix="millrace-diff-") as name:
        folder = Path(name)
        config = folder / make_file_name(target.stack)
        values = yaml.safe_load((connection.REPOSITORY / "stacks" / config.name).read_text())
        # Without the file's key: secrets are encrypted with the temporary backend's own.
        kept = {key: each for key, each in values.items() if key == "config"}
        config.write_text(yaml.safe_dump(kept, allow_unicode=True))
        project = yaml.safe_load((connection.REPOSITORY / "Pulumi.yaml").read_text())["name"]
        environment = {
            **make_environment(target),
            "PULUMI_BACKEND_URL": _make_empty_backend(folder, project, target.stack),
            "PULUMI_CONFIG_PASSPHRASE": "unmade",
        }
        return run_preview(target.stack, ["--config-file", str(config)], connection.REPOSITORY, environment)


def _make_empty_backend(folder: Path, project: str, stack: str) -> str:
    """Create a backend with an empty stack and return its URL.

    `pulumi stack init` would write a key into the stack's own file.
    """
    stacks = folder / "backend" / ".pulumi" / "stacks" / project
    stacks.mkdir(parents=True)
    (folder / "backend" / ".pulumi" / "meta.yaml").write_text("version: 1\n")
    checkpoint = {"stack": f"organization/{project}/{stack}", "latest": {}}
    (stacks / f"{stack}.json").write_text(json.dumps({"version": 3, "checkpoint": checkpoint}))
    return (folder / "backend").as_uri()
