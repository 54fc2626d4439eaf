"""The declaration at another revision, for comparisons without credentials, which have no bundle to read it from."""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from cli.console.errors import CliError
from cli.diff.declared import UseCase
from cli.diff.values import clean_value
from cli.stack import connection
from cli.stack.target import Target

#: The time limit for importing a declaration, seconds.
_TIMEOUT = 60.0
#: Prefixes of the environment variables that are hidden from a revision's code.
_USERS = ("AWS_", "PULUMI_", "PYTHONPATH", "MILLRACE_")
_DECLARE = "import json, sys, stacks; print(json.dumps(stacks.load(sys.argv[1]).model_dump(mode='json')))"


def read_use_cases(target: Target, compared: Mapping[str, Any]) -> tuple[UseCase | None, UseCase | None]:
    """Return the declarations of the base and of the working tree; None for one that cannot be read.

    Args:
        target: The stack.
        compared: The comparison's description of itself: `base` with `commit` and `found`.
    """
    base = compared.get("base") or {}
    if not base.get("found") or not base.get("commit"):
        return None, None
    before = _read_use_case(target.use_case.name, str(base["commit"]))
    after: UseCase = clean_value(target.use_case.model_dump(mode="json"), {})
    return before, after


def _read_use_case(name: str, commit: str) -> UseCase | None:
    from cli.stack.checkout import Checkout

    with tempfile.TemporaryDirectory(prefix="millrace-diff-") as folder:
        try:
            program = Checkout.find(connection.REPOSITORY).write(commit, Path(folder) / "tree", lambda _: None)
            done = subprocess.run(
                [sys.executable, "-c", _DECLARE, name],
                cwd=program,
                env={key: value for key, value in os.environ.items() if not key.startswith(_USERS)},
                capture_output=True,
                text=True,
                timeout=_TIMEOUT,
                check=True,
            )
            declared: UseCase = clean_value(json.loads(done.stdout), {})
        except (CliError, OSError, ValueError, subprocess.SubprocessError):
            # The review comment reports that it could not be read.
            return None
    return declared
