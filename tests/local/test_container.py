"""Containers: environment, paths, logs, exit codes, and the end of all their processes."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import textwrap
from pathlib import Path

import psutil
import pytest

from local.core.errors import AwsError
from local.core.images import Images, parse_repository_name
from local.services.containers.container import Container, ContainerError
from tests.local.hosted import ECHO, REGION, HostedCloud, eventually, hosted, moto_url

__all__ = ["hosted", "moto_url"]


def start_container(cloud: HostedCloud, root: Path, program: str, **more: object) -> Container:
    options = {"environment": {}, "log_stream": "stream", **more}
    return Container.start(
        cloud.cloud,
        image=ECHO,
        command=["python3", "-c", textwrap.dedent(program)],
        root=root,
        region=REGION,
        log_group="/test/containers",
        **options,  # type: ignore[arg-type]
    )


def read_log(cloud: HostedCloud, stream: str) -> list[str]:
    answer = cloud.aws("logs").get_log_events(logGroupName="/test/containers", logStreamName=stream, startFromHead=True)
    return [event["message"] for event in answer["events"]]


def has_ended(pid: int) -> bool:
    return not psutil.pid_exists(pid) or psutil.Process(pid).status() == psutil.STATUS_ZOMBIE


def test_lines_reach_the_logs_and_the_callback_in_order(hosted: HostedCloud, tmp_path: Path) -> None:
    lines: list[str] = []
    container = start_container(
        hosted, tmp_path, "import sys; print('one'); print(); sys.stderr.write('täil')", on_line=lines.append
    )
    assert container.wait(10) == 0
    assert lines == ["one", "", "täil"]
    assert read_log(hosted, "stream") == ["one", " ", "täil"]


def test_output_of_a_quiet_container_is_logged_while_it_runs(hosted: HostedCloud, tmp_path: Path) -> None:
    container = start_container(hosted, tmp_path, "import time; print('started'); time.sleep(60)", log_stream="quiet")
    groups = hosted.aws("logs")

    def there() -> bool:
        streams = groups.describe_log_streams(logGroupName="/test/containers", logStreamNamePrefix="quiet")
        return bool(streams["logStreams"]) and read_log(hosted, "quiet") == ["started"]

    start_container(hosted, tmp_path, "print('the group exists')").wait(10)
    eventually(there)
    assert container.poll() is None
    assert container.stop(grace=5) == -signal.SIGTERM


def test_environment_is_clean_and_mount_paths_are_replaced(
    hosted: HostedCloud, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("OF_THE_DAEMON", "secret")
    program = "import json, os; json.dump(dict(os.environ), open('environment.json', 'w'))"
    start_container(hosted, tmp_path, program, environment={"DATA": "/opt/ml/input", "OTHER": "/opt/mlx"}).wait(10)
    seen = json.loads((tmp_path / "environment.json").read_text())
    assert "OF_THE_DAEMON" not in seen
    assert seen["DATA"] == f"{tmp_path}/input"
    assert seen["OTHER"] == "/opt/mlx"
    assert seen["SAGEMAKER_BASE_DIR"] == str(tmp_path)
    assert seen["AWS_ENDPOINT_URL"] == hosted.cloud.endpoint_url
    assert seen["AWS_REGION"] == REGION
    assert seen["PATH"].startswith(str(ECHO / "bin"))


def test_an_isolated_container_gets_no_aws_variables(hosted: HostedCloud, tmp_path: Path) -> None:
    lines: list[str] = []
    program = "import os; print(sorted(name for name in os.environ if name.startswith('AWS_')))"
    start_container(hosted, tmp_path, program, isolated=True, on_line=lines.append).wait(10)
    assert lines == ["[]"]


def test_stop_kills_the_process_group_after_the_grace_period(hosted: HostedCloud, tmp_path: Path) -> None:
    lines: list[str] = []
    program = """
        import signal, subprocess, sys, time
        signal.signal(signal.SIGTERM, lambda *args: print("asked to end"))
        child = subprocess.Popen([sys.executable, "-c", "import signal, time\\n"
            "signal.signal(signal.SIGTERM, signal.SIG_IGN)\\nprint('deaf', flush=True)\\ntime.sleep(60)"])
        print(child.pid)
        while True:
            time.sleep(60)
    """
    container = start_container(hosted, tmp_path, program, on_line=lines.append)
    eventually(lambda: "deaf" in lines)
    child = int(next(line for line in lines if line.isdigit()))
    assert container.stop(grace=0.3) == -signal.SIGKILL
    assert "asked to end" in lines
    eventually(lambda: has_ended(child))


def test_the_process_group_ends_with_its_first_process(hosted: HostedCloud, tmp_path: Path) -> None:
    lines: list[str] = []
    program = """
        import subprocess, sys
        print(subprocess.Popen([sys.executable, "-c", "import time; time.sleep(60)"]).pid)
        sys.exit(7)
    """
    assert start_container(hosted, tmp_path, program, on_line=lines.append).wait(10) == 7
    eventually(lambda: has_ended(int(lines[0])))


def test_a_missing_executable_is_reported_by_name(hosted: HostedCloud, tmp_path: Path) -> None:
    with pytest.raises(ContainerError, match="'train' is not in image echo, which has: serve"):
        Container.start(
            hosted.cloud, image=ECHO, command=["train"], root=tmp_path, environment={}, region=REGION,
            log_group="/test/containers", log_stream="none",
        )  # fmt: skip


def test_containers_end_when_the_daemon_is_killed(tmp_path: Path, moto_url: str) -> None:
    daemon = f"""
        from pathlib import Path
        from local.core.clock import Clock
        from local.core.context import Cloud
        from local.core.store import Store
        from local.services.containers.container import Container
        from local.core.images import Images
        root = Path({str(tmp_path)!r})
        cloud = Cloud(root, {moto_url!r}, Store(root / "s.db"), Clock(), Images({{}}))
        program = "import subprocess; print(subprocess.Popen(['sleep', '60']).pid); import time; time.sleep(60)"
        container = Container.start(cloud, image=Path({str(ECHO)!r}), command=["python3", "-c", program], root=root,
            environment={{}}, region="eu-west-1", log_group="g", log_stream="s",
            on_line=lambda line: print(container.pid, line, flush=True))
        container.wait()
    """
    repository_root = Path(__file__).parents[2]
    with subprocess.Popen(
        [sys.executable, "-c", textwrap.dedent(daemon)],
        stdout=subprocess.PIPE,
        text=True,
        cwd=repository_root,
        start_new_session=True,
    ) as process:
        assert process.stdout is not None
        pids = [int(pid) for pid in process.stdout.readline().split()]
        assert len(pids) == 2
        os.kill(process.pid, signal.SIGKILL)
        eventually(lambda: all(has_ended(pid) for pid in pids))


@pytest.mark.parametrize(
    ("uri", "name"),
    [
        ("echo", "echo"),
        ("echo:1", "echo"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/echo:1", "echo"),
        ("123456789012.dkr.ecr.eu-west-1.amazonaws.com/team/echo@sha256:ab", "team/echo"),
        ("localhost:5000/team/echo:1", "team/echo"),
        ("team/echo", "team/echo"),
    ],
)
def test_the_repository_name_is_parsed_from_an_image_uri(uri: str, name: str) -> None:
    assert parse_repository_name(uri) == name


def test_images_resolve_by_repository_and_unknown_ones_are_refused() -> None:
    images = Images({"echo": ECHO})
    assert images.resolve("1.dkr.ecr.eu-west-1.amazonaws.com/echo:7") == ECHO
    with pytest.raises(AwsError, match=r"no repository 'other'; known: echo\. .*--image other=FOLDER"):
        images.resolve("1.dkr.ecr.eu-west-1.amazonaws.com/other:7")


def test_an_image_without_executables_is_refused(tmp_path: Path) -> None:
    with pytest.raises(ValueError, match=r"no folder .*bin"):
        Images({"empty": tmp_path})
