"""Start, stop, and what survives of the daemon itself."""

from __future__ import annotations

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
    """Wait until the condition is true; fail when it is not in time."""
    deadline = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < deadline, "not in time"
        time.sleep(0.02)


def gone(pid: int) -> bool:
    try:
        return bool(psutil.Process(pid).status() == psutil.STATUS_ZOMBIE)
    except psutil.NoSuchProcess:
        return True


def test_start_finds_the_daemon_that_runs(fresh_daemon: CloudDaemon) -> None:
    again = client.start(fresh_daemon.state, scale=fresh_daemon.scale, images=fresh_daemon.images)
    assert again == fresh_daemon.running
    assert json.loads((fresh_daemon.state / "daemon.json").read_text())["pid"] == again.pid


def test_it_listens_on_loopback_alone(fresh_daemon: CloudDaemon) -> None:
    connections = psutil.Process(fresh_daemon.running.pid).net_connections("inet")
    listening = {(c.laddr.ip, c.laddr.port) for c in connections if c.status == psutil.CONN_LISTEN}
    assert ("127.0.0.1", fresh_daemon.running.port) in listening
    assert {ip.removeprefix("::ffff:") for ip, _ in listening} == {"127.0.0.1"}


def test_stop_is_quick_clean_and_final(fresh_daemon: CloudDaemon) -> None:
    pid = fresh_daemon.running.pid
    children = psutil.Process(pid).children(recursive=True)
    started = time.monotonic()
    assert client.stop(fresh_daemon.state) is True
    assert time.monotonic() - started < 5
    assert gone(pid)
    assert all(gone(child.pid) for child in children)
    assert client.find_daemon(fresh_daemon.state) is None
    assert not (fresh_daemon.state / "daemon.json").exists()
    assert client.stop(fresh_daemon.state) is False


@pytest.mark.parametrize("number", [signal.SIGINT, signal.SIGTERM])
def test_signals_end_it(fresh_daemon: CloudDaemon, number: signal.Signals) -> None:
    os.kill(fresh_daemon.running.pid, number)
    eventually(lambda: gone(fresh_daemon.running.pid))
    assert client.find_daemon(fresh_daemon.state) is None


def test_a_kill_leaves_a_stale_file_that_fools_nobody(fresh_daemon: CloudDaemon) -> None:
    killed = fresh_daemon.running
    os.kill(killed.pid, signal.SIGKILL)
    eventually(lambda: gone(killed.pid))
    assert (fresh_daemon.state / "daemon.json").exists()
    assert client.find_daemon(fresh_daemon.state) is None
    assert fresh_daemon.start().pid != killed.pid


def test_a_stale_file_whose_port_another_daemon_has_fools_nobody(fresh_daemon: CloudDaemon, tmp_path: Path) -> None:
    other = tmp_path / "other"
    other.mkdir()
    facts = json.loads((fresh_daemon.state / "daemon.json").read_text())
    (other / "daemon.json").write_text(json.dumps({**facts, "pid": facts["pid"] + 1}))
    assert client.find_daemon(other) is None


def test_a_daemon_that_answers_nobody_is_stopped_too(fresh_daemon: CloudDaemon) -> None:
    (fresh_daemon.state / "daemon.json").unlink()
    assert client.find_daemon(fresh_daemon.state) is None
    assert client.stop(fresh_daemon.state) is True
    assert gone(fresh_daemon.running.pid)


def test_a_user_s_proxy_and_profile_do_not_matter(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
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


def test_a_second_daemon_of_the_same_folder_says_so(fresh_daemon: CloudDaemon) -> None:
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


def test_starts_at_once_agree_on_one_daemon(tmp_path: Path) -> None:
    state = tmp_path / "state"
    try:
        with ThreadPoolExecutor(3) as pool:
            found = set(pool.map(lambda _: client.start(state).pid, range(3)))
        assert len(found) == 1
    finally:
        client.stop(state)


def test_another_scale_or_other_images_are_refused_with_the_mend(fresh_daemon: CloudDaemon) -> None:
    with pytest.raises(client.LocalCloudError, match=r"runs with scale 60\.0, not with 2\.0; stop it first"):
        client.start(fresh_daemon.state, scale=2.0, images=fresh_daemon.images)
    with pytest.raises(client.LocalCloudError, match=r"runs with images .* asked for .*: stop it first"):
        client.start(fresh_daemon.state, scale=60.0, images={**fresh_daemon.images, "new": Path("/tmp")})


def test_a_taken_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        with pytest.raises(client.LocalCloudError, match=re.compile("did not start.*Address already in use", re.S)):
            client.start(tmp_path / "state", port=port)


def test_bad_images_are_named(tmp_path: Path) -> None:
    (tmp_path / "empty").mkdir()
    with pytest.raises(client.LocalCloudError, match="empty/bin"):
        client.start(tmp_path / "state", images={"server": tmp_path / "empty"})


def test_a_chosen_port_is_used(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    try:
        assert client.start(tmp_path / "state", port=port).endpoint_url == f"http://127.0.0.1:{port}"
    finally:
        client.stop(tmp_path / "state")


def test_the_environment_is_enough_whatever_the_user_has_set(fresh_daemon: CloudDaemon, tmp_path: Path) -> None:
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


def test_reset_leaves_nothing(fresh_daemon: CloudDaemon) -> None:
    pid = fresh_daemon.running.pid
    client.reset(fresh_daemon.state)
    assert gone(pid)
    assert not fresh_daemon.state.exists()


def test_a_restart_keeps_the_port_unless_somebody_has_it(fresh_daemon: CloudDaemon) -> None:
    port = fresh_daemon.running.port
    fresh_daemon.stop()
    assert fresh_daemon.start().port == port
    fresh_daemon.stop()
    with _taken(port):
        assert fresh_daemon.start().port != port


def _taken(port: int) -> socket.socket:
    """A listener on the port, once the last one's connections have let it go."""
    deadline = time.monotonic() + 10
    while True:
        try:
            return socket.create_server(("127.0.0.1", port))
        except OSError:
            if time.monotonic() > deadline:
                raise
            time.sleep(0.1)
