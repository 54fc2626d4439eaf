"""Find, install or build the official Pulumi CLI.

Three methods are tried in this order: an existing CLI, Pulumi's own installer, and a build of Pulumi's published Go
modules, pinned by ``go.mod`` and ``go.sum`` next to this file. The installer and the build write to Pulumi's own
version folder outside the checkout, so that all checkouts share the result.
"""

from __future__ import annotations

import contextlib
import fcntl
import os
import re
import shutil
import subprocess
import tempfile
import urllib.error
import urllib.request
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from engine.errors import EngineError

HERE = Path(__file__).parent

#: The version of Pulumi that `go.mod` pins.
VERSION = "3.274.1"

#: The oldest accepted version of a CLI on PATH: it supports resource hooks and configuration objects.
OLDEST = (3, 200, 0)

INSTALLER = "https://get.pulumi.com/"

_TIMEOUT = 10.0

Say = Callable[[str], None]

_OURS = "# Written by millrace beside the CLI that it built"
#: All checkouts on this machine share this script, including older ones whose engine is part of `local`.
_LANGUAGE_HOST = f"""#!/bin/sh
{_OURS}: the Python language host that the Go modules lack.
exec python3 -P -c '
import importlib.util, runpy
name = "engine.language_host" if importlib.util.find_spec("engine") else "local.engine.language_host"
runpy.run_module(name, run_name="__main__", alter_sys=True)
' "$@"
"""


@dataclass(frozen=True)
class Engine:
    """A Pulumi CLI that works.

    Attributes:
        folder: The folder to put on PATH.
        origin: `found`, `installed` or `built`.
    """

    folder: Path
    origin: str

    @property
    def cli(self) -> Path:
        """The `pulumi` program itself."""
        return self.folder / "pulumi"


def version_folder() -> Path:
    """Return the folder of the pinned version: Pulumi's own, outside any checkout."""
    return Path.home() / ".pulumi" / "versions" / VERSION / "bin"


def ensure_cli(say: Say = lambda _: None) -> Engine:
    """Return a Pulumi CLI, making one available if necessary.

    Args:
        say: Called with each line of progress.

    Raises:
        EngineError: If all three methods fail.
    """
    if there := _there():
        return there
    with _alone(say):
        return _there() or _first_of(say, (_found, _installed, _built))


def _there() -> Engine | None:
    """Return the CLI that an earlier call installed or built, or None."""
    folder = version_folder()
    if not (folder / "pulumi").exists():
        return None
    host = folder / "pulumi-language-python"
    if not _is_ours(host):
        return Engine(folder, "installed")
    if host.read_text() != _LANGUAGE_HOST:
        # An earlier version wrote the script.
        _write_host(host)
    return Engine(folder, "built")


@contextlib.contextmanager
def _alone(say: Say) -> Iterator[None]:
    """Hold a lock on this machine: two builds at once would take twice as long and write the same file."""
    folder = version_folder()
    folder.mkdir(parents=True, exist_ok=True)
    with (folder.parent / "millrace.lock").open("w") as lock:
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            say("another process is installing Pulumi; waiting for it")
            fcntl.flock(lock, fcntl.LOCK_EX)
        yield


def _first_of(say: Say, ways: Sequence[Callable[[Say], Engine]]) -> Engine:
    tried = []
    for attempt in ways:
        try:
            return attempt(say)
        except EngineError as error:
            tried.append(f"  - {error}")
            say(str(error))
    raise EngineError(
        "the Pulumi CLI",
        "\n".join(["could not be found, installed or built:", *tried, ""]),
        fix="do one of these:\n"
        "  1. install the Pulumi CLI yourself and put it on PATH;\n"
        f"  2. allow this machine to reach {INSTALLER};\n"
        "  3. install Go 1.26 or newer and allow it to reach a Go module proxy.",
    )


def _is_ours(host: Path) -> bool:
    return host.exists() and _OURS.encode() in host.read_bytes()[:1000]


def _write_host(host: Path) -> None:
    """Write the script atomically, because an engine may be starting it."""
    draft = host.with_name(f".{host.name}.{os.getpid()}")
    draft.write_text(_LANGUAGE_HOST)
    draft.chmod(0o755)
    draft.replace(host)


def _found(say: Say) -> Engine:
    path = shutil.which("pulumi")
    if path is None:
        raise EngineError("`pulumi`", "is not on PATH")
    version = _version(Path(path))
    if version < OLDEST:
        raise EngineError(path, f"is version {'.'.join(map(str, version))}, older than {'.'.join(map(str, OLDEST))}")
    if shutil.which("pulumi-language-python") is None and not Path(path).with_name("pulumi-language-python").exists():
        raise EngineError(path, "has no `pulumi-language-python` next to it")
    say(f"using {path}")
    return Engine(Path(path).parent, "found")


def _version(cli: Path) -> tuple[int, ...]:
    try:
        answer = subprocess.run([cli, "version"], capture_output=True, text=True, timeout=30, check=True)
    except (OSError, subprocess.SubprocessError) as error:
        raise EngineError(f"{cli}", f"does not run: {error}") from error
    match = re.match(r"v?(\d+)\.(\d+)\.(\d+)", answer.stdout.strip())
    if match is None:
        raise EngineError(f"{cli} version", f"printed {answer.stdout.strip()!r}", expected=f"a version like v{VERSION}")
    return tuple(int(part) for part in match.groups())


def _installed(say: Say) -> Engine:
    folder = version_folder()
    say(f"downloading Pulumi {VERSION} from {INSTALLER}")
    try:
        with urllib.request.urlopen(INSTALLER, timeout=_TIMEOUT) as answer:
            script = answer.read()
    except (urllib.error.URLError, OSError) as error:
        raise EngineError(INSTALLER, f"cannot be reached: {getattr(error, 'reason', error)}") from error
    options = ["--version", VERSION, "--no-edit-path", "--install-root", str(folder.parent)]
    done = subprocess.run(["sh", "-s", "--", *options], input=script, capture_output=True, timeout=600, check=False)
    if done.returncode != 0 or not (folder / "pulumi").exists():
        raise EngineError(f"the installer of {INSTALLER}", f"failed: {_last_line(done.stderr or done.stdout)}")
    return Engine(folder, "installed")


def _built(say: Say) -> Engine:
    folder = version_folder()
    go = shutil.which("go")
    if go is None:
        raise EngineError("`go`, which is needed to build it,", "is not on PATH")
    folder.mkdir(parents=True, exist_ok=True)
    say(f"building Pulumi {VERSION} from its Go modules (some minutes, once for this machine)")
    flags = f"-w -s -X github.com/pulumi/pulumi/sdk/v3/go/common/version.Version=v{VERSION}"
    with tempfile.TemporaryDirectory(dir=folder) as scratch:
        target = Path(scratch) / "pulumi"
        command = [go, "build", "-trimpath", "-mod=readonly", "-tags", "osusergo,grpcnotrace", "-ldflags", flags]
        command += ["-o", str(target), "github.com/pulumi/pulumi/pkg/v3/cmd/pulumi"]
        environment = {**os.environ, "GOFLAGS": "", "GOWORK": "off", "CGO_ENABLED": "0"}
        done = subprocess.run(command, cwd=HERE, env=environment, capture_output=True, check=False)
        if done.returncode != 0:
            raise EngineError(f"`go build` in {HERE}", f"failed: {_last_line(done.stderr)}")
        _write_host(folder / "pulumi-language-python")
        # The CLI is moved last: its presence marks the folder as complete.
        target.replace(folder / target.name)
    return Engine(folder, "built")


def _last_line(output: bytes) -> str:
    lines = output.decode(errors="replace").strip().splitlines()
    return lines[-1] if lines else "it printed nothing"
