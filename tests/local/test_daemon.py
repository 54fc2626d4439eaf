"""Start, stop, restart and reset of the daemon."""

from __future__ import annotations

import errno
import json
import os
import re
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import psutil
import pytest

from local import client

from .conftest import CloudDaemon


def eventually(condition: Callable[[], object], seconds: float = 10.0) -> None:
    """Wait until the condition is true; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def has_ended(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_start_finds_a_running_daemon(fresh_daemon: CloudDaemon) -> None:
    again = client.start(fresh_daemon.state, scale=fresh_daemon.scale, images=fresh_daemon.images)
    assert again == fresh_daemon.running
    assert json.loads((fresh_daemon.state / "daemon.json").read_text())["pid"] == again.pid


def test_the_daemon_listens_only_on_loopback(fresh_daemon: CloudDaemon) -> None:
    connections = psutil.Process(fresh_daemon.running.pid).net_connections("inet")
    listening = {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    assert ("127.0.0.1", fresh_daemon.running.port) in listening
    assert {ip.removeprefix("::ffff:") for ip, _ in listening} == {"127.0.0.1"}


def test_stop_is_quick_and_leaves_no_processes_or_daemon_file(fresh_daemon: CloudDaemon) -> None:
    pid = fresh_daemon.running.pid
    children = psutil.Process(pid).children(recursive=True)
    started = time.monotonic()
    assert client.stop(fresh_daemon.state) is True
    assert time.monotonic() - started < 5
    assert has_ended(pid)
    assert all(has_ended(child.pid) for child in children)
    assert client.find_daemon(fresh_daemon.state) is None
    assert not (fresh_daemon.state / "daemon.json").exists()
    assert client.stop(fresh_daemon.state) is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_stop_the_daemon(fresh_daemon: CloudDaemon, number: signal.Signals) -> None:
    os.kill(fresh_daemon.running.pid, number)
    eventually(lambda: has_ended(fresh_daemon.running.pid))
    assert client.find_daemon(fresh_daemon.state) is None


def test_the_stale_file_of_a_killed_daemon_is_ignored(fresh_daemon: CloudDaemon) -> None:
    killed = fresh_daemon.running
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: has_ended(killed.pid))
    assert (fresh_daemon.state / "daemon.json").exists()
    assert client.find_daemon(fresh_daemon.state) is None
    assert fresh_daemon.start().pid != killed.pid


def test_a_stale_file_with_the_port_of_another_daemon_is_ignored(fresh_daemon: CloudDaemon, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    facts = json.loads((fresh_daemon.state / "daemon.json").read_text())
    (other / "daemon.json").write_text(json.dumps({**facts, "pid": facts["pid"] + 1}))
    assert client.find_daemon(other) is None


def test_a_daemon_without_its_daemon_file_is_stopped_too(fresh_daemon: CloudDaemon) -> None:
    (fresh_daemon.state / "daemon.json").unlink()
    assert client.find_daemon(fresh_daemon.state) is None
    assert client.stop(fresh_daemon.state) is True
    assert has_ended(fresh_daemon.running.pid)


@pytest.mark.parametrize("damage", [Path.unlink, lambda file: file.write_text("{}"), lambda file: file.write_text("")])
def test_a_daemon_that_cannot_be_found_is_named_with_the_fix(
    fresh_daemon: CloudDaemon, damage: Callable[[Path], object], monkeypatch: pytest.MonkeyPatch
) -> None:
    pid = fresh_daemon.running.pid
    damage(fresh_daemon.state / "daemon.json")
    # It has been up for longer than this.
    monkeypatch.setattr(client, "_START", 0.2)
    with pytest.raises(client.LocalCloudError, match=rf"daemon\.json is missing or damaged.* pid {pid} runs; stop"):
        client.start(fresh_daemon.state, scale=fresh_daemon.scale, images=fresh_daemon.images)
    monkeypatch.undo()
    assert client.stop(fresh_daemon.state) is True
    assert fresh_daemon.start().pid != pid


def test_a_damaged_file_of_state_is_named_and_kept(fresh_daemon: CloudDaemon) -> None:
    client.stop(fresh_daemon.state)
    file = fresh_daemon.state / "sagemaker.sqlite"
    file.write_bytes(b"not a database " * 300)
    with pytest.raises(client.LocalCloudError) as refused:
        client.start(fresh_daemon.state, scale=fresh_daemon.scale, images=fresh_daemon.images)
    assert f"{file} cannot be read: file is not a database" in str(refused.value)
    assert "millrace local reset" in str(refused.value)
    assert "Traceback" not in str(refused.value)
    assert file.read_bytes() == b"not a database " * 300


def test_the_users_proxy_and_aws_profile_are_ignored(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HTTP_PROXY", "http://127.0.0.1:1")
    monkeypatch.setenv("http_proxy", "http://127.0.0.1:1")
    monkeypatch.setenv("AWS_PROFILE", "nobody")
    monkeypatch.setenv("AWS_ENDPOINT_URL_S3", "http://127.0.0.1:1")
    state = tmp_path / "state"
    try:
        running = client.start(state)
        code = "import boto3; print(boto3.client('s3').list_buckets()['Buckets'])"
        kept = {name: value for name, value in os.environ.items() if name not in client.OVERRULED}
        environment = {**kept, **client.build_environment(running, state)}
        answer = subprocess.run(
            [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
        )
        assert answer.stdout.strip() == "[]", answer.stderr
    finally:
        client.stop(state)


def test_a_second_daemon_on_the_same_folder_exits_with_an_error(fresh_daemon: CloudDaemon) -> None:
    second = subprocess.run(
        [sys.executable, "-m", "local", "--state", str(fresh_daemon.state)],
        capture_output=True,
        text=True,
        timeout=30,
        check=False,
    )
    assert second.returncode == 3
    assert f"the daemon with pid {fresh_daemon.running.pid} already serves this state folder" in second.stderr
    assert client.find_daemon(fresh_daemon.state) == fresh_daemon.running


def test_concurrent_starts_share_one_daemon(tmp_path: Path) -> None:
    state = tmp_path / "state"
    try:
        with ThreadPoolExecutor(3) as pool:
            found = set(pool.map(lambda _: client.start(state).pid, range(3)))
        assert len(found) == 1
    finally:
        client.stop(state)


def test_starting_with_another_scale_or_images_is_refused_with_the_fix(fresh_daemon: CloudDaemon) -> None:
    with pytest.raises(client.LocalCloudError, match=r"runs with scale 60\.0, not with 2\.0; stop it first"):
        client.start(fresh_daemon.state, scale=2.0, images=fresh_daemon.images)
    with pytest.raises(client.LocalCloudError, match=r"runs with images .* not with .*; stop it first"):
        client.start(fresh_daemon.state, scale=60.0, images={**fresh_daemon.images, "new": Path("/tmp")})


def test_a_port_in_use_is_reported(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(client.LocalCloudError, match=re.compile("did not start.*Address already in use", re.S)):
            client.start(tmp_path / "state", port=port)


def test_an_invalid_image_folder_is_reported(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(client.LocalCloudError, match="empty/bin"):
        client.start(tmp_path / "state", images={"server": tmp_path / "empty"})


def test_a_requested_port_is_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        assert client.start(tmp_path / "state", port=port).endpoint_url == f"http://127.0.0.1:{port}"
    finally:
        client.stop(tmp_path / "state")


def test_the_environment_overrides_the_users_aws_settings(fresh_daemon: CloudDaemon, tmp_path: Path) -> None:
    (tmp_path / ".aws").mkdir()
    (tmp_path / ".aws/config").write_text("[profile work]\nregion = us-east-1\n")
    environment = {
        "PATH": os.environ["PATH"],
        "HOME": str(tmp_path),
        "AWS_PROFILE": "work",
        **client.build_environment(fresh_daemon.running, fresh_daemon.state),
    }
    for name in client.OVERRULED:
        environment.pop(name, None)
    code = "import boto3; c = boto3.client('sts'); print(c.get_caller_identity()['Account'], c.meta.region_name)"
    answer = subprocess.run(
        [sys.executable, "-c", code], env=environment, capture_output=True, text=True, timeout=60, check=False
    )
    assert answer.stdout.split() == ["123456789012", "eu-west-1"], answer.stderr


def test_reset_stops_the_daemon_and_deletes_its_state(fresh_daemon: CloudDaemon) -> None:
    pid = fresh_daemon.running.pid
    client.reset(fresh_daemon.state)
    assert has_ended(pid)
    assert not fresh_daemon.state.exists()


def test_a_restart_keeps_the_port_unless_it_is_taken(fresh_daemon: CloudDaemon) -> None:
    port = fresh_daemon.running.port
    fresh_daemon.stop()
    assert fresh_daemon.start().port == port
    fresh_daemon.stop()
    with _occupy_port(port):
        assert fresh_daemon.start().port != port


def _occupy_port(port: int) -> socket.socket:
    """Return a listener on the port, as soon as earlier connections have released it."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)


@pytest.mark.parametrize("call", [client.stop, client.reset, client.find_hung_process])
def test_a_state_folder_that_cannot_be_read_is_reported(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, call: Callable[[Path], object]
) -> None:
    file = tmp_path / "file"
    file.write_text("kept")
    with pytest.raises(
        client.LocalCloudError, match=r"file/daemon.lock cannot be read: Not a directory; name a folder"
    ):
        call(file)
    assert file.read_text() == "kept"

    def refuse(path: Path, *_more: object, **_options: object) -> str:
        raise PermissionError(errno.EACCES, "Permission denied", str(path))

    assert call(tmp_path / "empty") is not True
    monkeypatch.setattr(Path, "read_text", refuse)
    with pytest.raises(
        client.LocalCloudError, match=r"cannot be read: Permission denied; check whether the state folder is another"
    ):
        call(tmp_path)
    assert file.exists()
