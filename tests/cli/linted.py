"""actionlint, built once for this machine from its published Go module, pinned by `tools/actionlint`."""

from __future__ import annotations

import fcntl
import os
import re
import subprocess
from pathlib import Path

MODULE = Path(__file__).resolve().parents[2] / "tools" / "actionlint"


def actionlint() -> Path:
    """The program; the first call on a machine builds it, outside any checkout."""
    match = re.search(r"github\.com/rhysd/actionlint v(\S+)", (MODULE / "go.mod").read_text())
    assert match is not None
    cache = Path(os.environ.get("XDG_CACHE_HOME") or Path.home() / ".cache")
    folder = cache / "millrace" / "tools" / f"actionlint-{match[1]}"
    folder.mkdir(parents=True, exist_ok=True)
    program = folder / "actionlint"
    with (folder / "lock").open("w") as lock:
        # Two workers of a test run at once would build it twice, and write the same file.
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


def findings(*files: Path) -> str:
    """What actionlint says of workflows, and shellcheck of their commands where it is installed."""
    done = subprocess.run(
        [actionlint(), "-no-color", "-pyflakes=", *files], capture_output=True, text=True, check=False
    )
    assert done.returncode in (0, 1), done.stderr
    return done.stdout
