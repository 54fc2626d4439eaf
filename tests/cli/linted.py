"""A cached actionlint binary, built from the Go module version that `tools/actionlint` pins."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "tools" / "actionlint"


def build_actionlint() -> Path:
    """Return the path of actionlint; the first call on a machine builds it outside any checkout."""
    match = re.search(r"github\.com/rhysd/actionlint v(\S+)", (MODULE / "go.mod").read_text())
    assert match is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "millrace" / "tools" / f"actionlint-{match[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "actionlint"
    with (folder / "lock").open("w") as lock:
        # Two parallel test workers would otherwise build it twice and write the same file.
        fcntl.flock(lock, fcntl.LOCK_EX)
        if not program.exists():
            draft = folder / f"draft-{os.getpid()}"
            subprocess.run(
                ["go", "build", "-trimpath", "-mod=readonly", "-o", str(draft),
                 "github.com/rhysd/actionlint/cmd/actionlint"],
                cwd=MODULE,
                env={**os.environ, "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"},
                capture_output=True,
                check=True,
            )  # fmt: skip
            draft.replace(program)
    return program


def run_actionlint(*files: Path) -> str:
    """Return the findings of actionlint for workflows, with those of shellcheck where it is installed."""
    done = subprocess.run(
        [build_actionlint(), "-no-color", "-pyflakes=", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout
