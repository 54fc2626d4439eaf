"""Start, find and stop the daemon of a state folder."""

from __future__ import annotations

import contextlib
import hmac
import http.client
import json
import os
import secrets
import shutil
import subprocess
import sys
import time
import urllib.error
import urllib.request
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import psutil

from local.core.identity import ACCOUNT
from local.credentials import (
    CredentialsError,
    ensure_credentials,
    read_credentials,
)
from local.errors import LocalError
from local.files import UNREADABLE, make_private_folder, write_atomically

REGION = "eu-west-1"

#: Configuration of the SageMaker Python SDK; without a default bucket the SDK calls the real STS.
_SAGEMAKER = """\
SchemaVersion: '1.0'
SageMaker:
  PythonSDK:
    Modules:
      Session:
        DefaultS3Bucket: sagemaker-{region}-{account}
      TelemetryOptOut: true
"""

_HEALTH = "/_local/health"
_LONGEST_ANSWER = 10_000

#: How long a daemon may take to start, and to stop, in seconds.
_START = 30.0
_STOP = 15.0

#: The exit code of a daemon if another one holds the state folder.
TAKEN = 3

#: The exit code of a daemon that has printed why it cannot start.
REFUSED = 4


#: An opener without proxies: a user's proxy cannot reach this machine's loopback.
_DIRECT = urllib.request.build_opener(urllib.request.ProxyHandler({}))


class LocalCloudError(LocalError):
    """The daemon could not be started, stopped or used as requested."""


@dataclass(frozen=True)
class Running:
    """A running daemon that answered a health check."""

    pid: int
    port: int
    endpoint_url: str
    provider_socket: str | None
    scale: float
    images: Mapping[str, str]
    started: float

    @classmethod
    def from_facts(cls, facts: Mapping[str, Any]) -> Running:
        """Return the daemon that the contents of ``daemon.json`` describe.

        Args:
            facts: The contents, with a value for each field of this class; other members are ignored.
        """
        return cls(**{name: facts[name] for name in cls.__dataclass_fields__})


def start(state: Path, *, port: int = 0, scale: float = 1.0, images: Mapping[str, Path] | None = None) -> Running:
    """Return the daemon of this state folder, starting a detached one if none is running.

    Args:
        state: The state folder, which is created if it does not exist.
        port: The port to listen on; 0 accepts the port of a running daemon, or lets a new one select it.
        scale: Seconds of the cloud's time per real second.
        images: The folder of each unpacked container image by repository name; None for no images.

    Returns:
        The daemon, which has answered a health check.

    Raises:
        LocalCloudError: If it does not start, or the running one has a different scale, port or images.
        CredentialsError: If the state folder's access key cannot be read.
    """
    state = state.resolve()
    folders = {name: str(Path(folder).resolve()) for name, folder in (images or {}).items()}
    if running := find_daemon(state):
        return _same(running, state, port, scale, folders)
    make_private_folder(state)
    ensure_credentials(state)
    command = [sys.executable, *make_arguments(state, port=port, scale=scale, images=folders)]
    with open(state / "daemon.out", "wb", opener=_private) as out:
        process = subprocess.Popen(
            command,
            cwd=Path(__file__).resolve().parents[1],
            # Each of the many threads would keep a pool of its own for the memory that it has freed.
            env={**os.environ, "MALLOC_ARENA_MAX": "2"},
            stdin=subprocess.DEVNULL,
            stdout=out,
            stderr=subprocess.STDOUT,
            start_new_session=True,
        )
    deadline = time.monotonic() + _START
    while time.monotonic() < deadline:
        if running := find_daemon(state):
            # With two concurrent starts, the other process's daemon may hold the folder.
            return running if running.pid == process.pid else _same(running, state, port, scale, folders)
        code = process.poll()
        if code == TAKEN:
            _refuse_hidden_daemon(state)
        elif code == REFUSED:
            reason = (state / "daemon.out").read_text().strip()
            raise LocalCloudError(f"the local cloud of {state}", f"did not start: {reason}")
        elif code is not None:
            raise LocalCloudError(f"the local cloud of {state}", f"did not start (exit code {code}):\n{_tail(state)}")
        time.sleep(0.02)
    with contextlib.suppress(ProcessLookupError):
        process.kill()
    _refuse_hidden_daemon(state)
    raise LocalCloudError(f"the local cloud of {state}", f"did not answer within {_START:.0f} s:\n{_tail(state)}")


def _refuse_hidden_daemon(state: Path) -> None:
    """Refuse to wait for a daemon that has been up for long and cannot be found: its ``daemon.json`` was changed."""
    process = _daemon(state)
    if process is None or set(Running.__dataclass_fields__) <= _said(state).keys():
        return
    with contextlib.suppress(psutil.NoSuchProcess):
        if time.time() - process.create_time() > _START:
            raise LocalCloudError(
                f"{state / 'daemon.json'}",
                f"is missing or damaged, but the daemon with pid {process.pid} runs",
                fix="stop it with `millrace local stop`, which keeps its state, and start it again",
            )


def make_arguments(state: Path, *, port: int, scale: float, images: Mapping[str, str]) -> list[str]:
    """Return the arguments with which Python runs a daemon.

    Args:
        state: The state folder.
        port: The port to listen on; 0 lets it select one.
        scale: Seconds of the cloud's time per real second.
        images: The folder of each unpacked container image by repository name.
    """
    options = ["--state", str(state), "--port", str(port), "--scale", str(scale)]
    return ["-m", "local", *options, *(part for each in images.items() for part in ("--image", "=".join(each)))]


def find_daemon(state: Path) -> Running | None:
    """Return the daemon of this state folder if it answers, else None.

    Args:
        state: The state folder, which need not exist.

    Raises:
        LocalCloudError: If ``daemon.json`` or the access key cannot be read.
    """
    return _answer(state, _said(state), timeout=5)


def compute_health_proof(secret: str, nonce: str, pid: int) -> str:
    """Return the answer of the daemon with this process id to a nonce; only a holder of the secret can compute it."""
    return hmac.digest(secret.encode(), f"health {nonce} {pid}".encode(), "sha256").hex()


def _private(path: str, flags: int) -> int:
    return os.open(path, flags, mode=0o600)


def find_hung_process(state: Path) -> int | None:
    """Return the id of a daemon process that reported its address but no longer answers there, or None.

    Args:
        state: The state folder, which need not exist.

    Raises:
        LocalCloudError: If ``daemon.json``, ``daemon.lock`` or the access key cannot be read.
    """
    facts, process = _said(state), _daemon(state.resolve())
    if process is None or facts.get("pid") != process.pid or _answer(state, facts, timeout=2):
        return None
    return int(process.pid)


def _said(state: Path) -> dict[str, Any]:
    """Return the contents of ``daemon.json``, or an empty dict if it is missing or not a JSON object."""
    path = state / "daemon.json"
    try:
        facts = json.loads(path.read_text())
    except (FileNotFoundError, NotADirectoryError, ValueError):
        return {}
    except OSError as error:
        raise _make_unreadable_error(path, error) from error
    return facts if isinstance(facts, dict) else {}


def _make_unreadable_error(path: Path, error: OSError) -> LocalCloudError:
    is_file = isinstance(error, NotADirectoryError)
    fix = "name a folder" if is_file else "check whether the state folder is another user's"
    return LocalCloudError(f"{path}", f"cannot be read: {error.strerror}", fix=fix)


def _answer(state: Path, facts: Mapping[str, Any], timeout: float) -> Running | None:
    """Return the daemon of these facts if it answers and belongs to this state folder, else None."""
    if not set(Running.__dataclass_fields__) <= facts.keys():
        return None
    try:
        credentials = read_credentials(state)
    except CredentialsError as error:
        raise LocalCloudError(str(error)) from error
    if credentials is None:
        return None
    nonce = secrets.token_hex(16)
    try:
        with _DIRECT.open(f"{facts['endpoint_url']}{_HEALTH}?nonce={nonce}", timeout=timeout) as answer:
            live = json.loads(answer.read(_LONGEST_ANSWER))
    except (urllib.error.URLError, http.client.HTTPException, OSError, ValueError):
        return None
    # After a kill -9 the file remains and another process may have the port, but it cannot know the secret.
    proof = compute_health_proof(credentials.secret_access_key, nonce, facts["pid"])
    if not isinstance(live, dict) or not hmac.compare_digest(str(live.get("proof")), proof):
        return None
    return Running.from_facts(facts)


def stop(state: Path) -> bool:
    """Stop the daemon of this state folder, even if it no longer answers.

    Args:
        state: The state folder, which need not exist.

    Returns:
        True if a daemon was running.

    Raises:
        LocalCloudError: If it does not stop in time, or the state folder cannot be read.
    """
    state = state.resolve()
    process = _daemon(state)
    if process is None:
        (state / "daemon.json").unlink(missing_ok=True)
        return False
    with contextlib.suppress(psutil.NoSuchProcess):
        process.terminate()
    deadline = time.monotonic() + _STOP
    while time.monotonic() < deadline:
        if not _alive(process):
            return True
        time.sleep(0.02)
    raise LocalCloudError(
        f"the local cloud of {state} (pid {process.pid})",
        f"did not stop within {_STOP:.0f} s",
        fix=f"see {state / 'daemon.log'}, or kill it with: kill -9 {process.pid}",
    )


def list_unreadable_state(state: Path) -> dict[str, list[Path]]:
    """Return the files, by service, of states that could not be read when a daemon started; the service started empty.

    Args:
        state: The state folder.
    """
    found: dict[str, list[Path]] = {}
    for path in sorted((state / "moto").glob(f"*{UNREADABLE}*")):
        found.setdefault(path.name.partition(".")[0], []).append(path)
    return found


def reset(state: Path) -> None:
    """Stop the daemon and delete everything the cloud holds.

    Args:
        state: The state folder, which is removed if it exists.

    Raises:
        LocalCloudError: If the daemon does not stop in time, or the state folder cannot be read; then nothing is
            deleted.
    """
    stop(state)
    if state.exists():
        shutil.rmtree(state)


#: Variables that would give the user's own identity precedence, or make an SDK report conflicting identities.
OVERRULED = (
    "AWS_PROFILE",
    "AWS_DEFAULT_PROFILE",
    "AWS_ROLE_ARN",
    "AWS_WEB_IDENTITY_TOKEN_FILE",
    "AWS_CONTAINER_CREDENTIALS_FULL_URI",
    "AWS_CONTAINER_CREDENTIALS_RELATIVE_URI",
    "AWS_CREDENTIAL_EXPIRATION",
)


def build_environment(running: Running, state: Path) -> dict[str, str]:
    """Return the environment variables that make AWS SDKs, the AWS CLI and Pulumi use only this cloud.

    The user's own files are not touched; the user's variables in :data:`OVERRULED` must be unset.

    Args:
        running: The daemon that the variables lead to.
        state: Its state folder, which holds the access key and the configuration files of the SDKs.

    Raises:
        CredentialsError: If the access key cannot be read.
    """
    folder = state.resolve() / "aws"
    return {
        "AWS_ENDPOINT_URL": running.endpoint_url,
        **ensure_credentials(state).to_environment(),
        "AWS_SESSION_TOKEN": "",
        "AWS_REGION": REGION,
        "AWS_DEFAULT_REGION": REGION,
        "AWS_CONFIG_FILE": str(folder / "config"),
        "AWS_SHARED_CREDENTIALS_FILE": str(folder / "credentials"),
        # The SageMaker Python SDK calls the real STS to name a bucket unless a default bucket is configured.
        "SAGEMAKER_USER_CONFIG_OVERRIDE": str(folder / "sagemaker.yaml"),
        "AWS_EC2_METADATA_DISABLED": "true",
        "AWS_IGNORE_CONFIGURED_ENDPOINT_URLS": "false",
        **exclude_loopback_from_proxy(os.environ),
        # An endpoint for one service takes precedence over the endpoint for all.
        **{name: running.endpoint_url for name in os.environ if name.startswith("AWS_ENDPOINT_URL_")},
    }


def build_container_environment(running: Running, state: Path) -> dict[str, str]:
    """Return the variables for a user's own container on the host's network, without paths of this machine.

    Args:
        running: The daemon that the variables lead to.
        state: Its state folder, which holds the access key.

    Raises:
        CredentialsError: If the access key cannot be read.
    """
    found = build_environment(running, state)
    names = ("AWS_ENDPOINT_URL", "AWS_ACCESS_KEY_ID", "AWS_SECRET_ACCESS_KEY", "AWS_REGION", "AWS_DEFAULT_REGION")
    return {name: found[name] for name in (*names, "AWS_EC2_METADATA_DISABLED")}


def exclude_loopback_from_proxy(environment: Mapping[str, str]) -> dict[str, str]:
    """Return ``NO_PROXY`` in both spellings, with this machine's loopback names added."""
    given = environment.get("NO_PROXY") or environment.get("no_proxy") or ""
    names = [name for name in given.split(",") if name]
    names += [name for name in ("127.0.0.1", "localhost") if name not in names]
    return dict.fromkeys(("NO_PROXY", "no_proxy"), ",".join(names))


def _same(running: Running, state: Path, port: int, scale: float, images: Mapping[str, str]) -> Running:
    asked = {"scale": scale, "images": dict(images), "port": port or running.port}
    found = {"scale": running.scale, "images": dict(running.images), "port": running.port}
    for name, value in asked.items():
        if found[name] != value:
            raise LocalCloudError(
                f"the local cloud of {state} (pid {running.pid})",
                f"runs with {name} {found[name]!r}, not with {value!r}",
                fix="stop it first, then start it again; its state is kept",
            )
    return running


def write_config(state: Path) -> None:
    """Write the configuration files of the AWS SDKs and the SageMaker SDK next to the credentials."""
    write_atomically(state / "aws" / "config", f"[default]\nregion = {REGION}\n".encode())
    write_atomically(state / "aws" / "sagemaker.yaml", _SAGEMAKER.format(region=REGION, account=ACCOUNT).encode())


def _daemon(state: Path) -> psutil.Process | None:
    """Return the process that last took the lock of this state folder, if it still has the file open."""
    lock = state / "daemon.lock"
    try:
        text = lock.read_text(errors="replace")
    except FileNotFoundError:
        return None
    except OSError as error:
        raise _make_unreadable_error(lock, error) from error
    try:
        process = psutil.Process(int(text))
        mine = any(file.path == str(lock) for file in process.open_files())
    except (ValueError, psutil.NoSuchProcess, psutil.AccessDenied):
        return None
    return process if mine and _alive(process) else None


def _alive(process: psutil.Process) -> bool:
    # A child stays a zombie until its parent waits for it; some containers' init never does.
    with contextlib.suppress(psutil.NoSuchProcess, psutil.TimeoutExpired):
        process.wait(timeout=0)
    try:
        return bool(process.status() != psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return False


def _tail(state: Path, lines: int = 20) -> str:
    text = ""
    for name in ("daemon.log", "daemon.out"):
        if (path := state / name).exists():
            text += "\n".join(path.read_text(errors="replace").splitlines()[-lines:]) + "\n"
    return text.strip() or "(no output)"
