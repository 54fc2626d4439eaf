"""``docker run``'s stand-in: one process group with a clean environment and a folder for ``/opt/ml``."""

from __future__ import annotations

import logging
import os
import re
import select
import shutil
import signal
import subprocess
import sys
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import IO, TYPE_CHECKING

from local.errors import LocalError
from local.services.sagemaker.containers.guard import GUARD
from local.services.sagemaker.containers.logs import LogStream

if TYPE_CHECKING:
    from local.core.context import Cloud
    from local.credentials import Credentials

log = logging.getLogger(__name__)

#: Where SageMaker mounts everything in a real container.
MOUNT = "/opt/ml"
_MOUNTED = re.compile(r"(?:(?<=file://)|(?<![\w./~})-]))/opt/ml(?![\w.-])")


class ContainerError(LocalError):
    """A container that could not be started; the message says why."""


class Container:
    """A running process group; made by :meth:`start`.

    Its output goes line by line to CloudWatch Logs. When the first process ends, the rest of its group is
    killed, as a container ends with its first process. When the daemon dies, the group is killed too.
    """

    def __init__(
        self,
        process: subprocess.Popen[bytes],
        stream: LogStream,
        on_line: Callable[[str], None] | None,
        on_end: Callable[[], None],
    ) -> None:
        self._on_end = on_end
        self.pid = process.pid
        self._process = process
        self._stream = stream
        self._on_line = on_line
        #: Set when the process has ended; its last lines may still be on their way to the logs.
        self.ended = threading.Event()
        self._finished = threading.Event()

    @classmethod
    def start(
        cls,
        cloud: Cloud,
        *,
        image: Path,
        command: Sequence[str],
        root: Path,
        environment: Mapping[str, str],
        region: str,
        log_group: str,
        log_stream: str,
        on_line: Callable[[str], None] | None = None,
        isolated: bool = False,
    ) -> Container:
        """Start ``command`` of ``image``.

        Args:
            image: The unpacked image; its ``bin/`` comes first on the PATH.
            command: Executable and arguments; each ``/opt/ml`` in them is moved to ``root``.
            root: The folder that stands for ``/opt/ml``; must exist.
            environment: The container's own variables; values are moved like the command.
            region: The region of the container and of its logs.
            isolated: Whether it gets no way to the cloud's API, as with EnableNetworkIsolation.
            on_line: Called with every line of output, in order, all before :meth:`wait` returns a code.

        Raises:
            ContainerError: When the executable is not there or cannot be run.
        """
        path = os.pathsep.join([str(image / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        executable = shutil.which(command[0] if "/" not in command[0] else moved(command[0], root), path=path)
        if executable is None:
            have = ", ".join(sorted(file.name for file in (image / "bin").iterdir())) or "nothing"
            raise ContainerError(f"executable {command[0]!r} is not in image {image.name}, which has: {have}")
        credentials = None if isolated else cloud.keys.issue(log_stream.replace("/", "-"))
        try:
            process = subprocess.Popen(
                [executable, *(moved(item, root) for item in command[1:])],
                cwd=root,
                env={
                    **_base_environment(path, root),
                    **({} if credentials is None else _access(cloud, region, credentials)),
                    **{name: moved(value, root) for name, value in environment.items()},
                    "SAGEMAKER_BASE_DIR": str(root),
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        except OSError as error:
            _revoke(cloud, credentials)
            raise ContainerError(f"executable {executable} cannot be run: {error.strerror}") from error
        GUARD.add(process.pid)
        stream = LogStream(cloud, region, log_group, log_stream)
        container = cls(process, stream, on_line, lambda: _revoke(cloud, credentials))
        cloud.spawn(f"container-{process.pid}", container._reap)
        cloud.spawn(f"output-{process.pid}", container._read)
        return container

    def poll(self) -> int | None:
        """The exit code (negative: the signal that ended it), or None while it runs."""
        return self._process.returncode if self._finished.is_set() else None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end, at most ``timeout`` seconds; the exit code, or None when it still runs."""
        self._finished.wait(timeout)
        return self.poll()

    def stop(self, first: signal.Signals = signal.SIGTERM, grace: float = 30.0) -> int | None:
        """Send ``first`` to the whole group, SIGKILL after ``grace`` seconds; the exit code."""
        self._signal(first)
        if self.wait(grace) is None:
            self.kill()
            self.wait(10.0)
        return self.poll()

    def kill(self) -> None:
        """Send SIGKILL to the whole group and do not wait."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            log.debug("process group %d is gone already", self.pid)

    def _reap(self) -> None:
        self._process.wait()
        # The rest of the group goes with it; it would also hold the output open.
        self.kill()
        GUARD.remove(self.pid)
        self._on_end()
        self.ended.set()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        try:
            for line in _lines(output, self._stream):
                self._stream.write(line)
                if self._on_line is not None:
                    self._on_line(line)
        finally:
            output.close()
            self.ended.wait()
            self._stream.flush()
            self._finished.set()


def _base_environment(path: str, root: Path) -> dict[str, str]:
    return {
        "PATH": path,
        "HOME": str(root),
        "LANG": "C.UTF-8",
        # Lines reach the logs when they are printed, not when a buffer is full.
        "PYTHONUNBUFFERED": "1",
        # What a job installs is its own: the Python that it shares with the cloud stays as it is.
        "PIP_TARGET": str(root / "packages"),
        "PYTHONPATH": str(root / "packages"),
    }


def _access(cloud: Cloud, region: str, credentials: Credentials) -> dict[str, str]:
    """The variables by which any AWS SDK in the container finds this cloud."""
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        **credentials.environment(),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _revoke(cloud: Cloud, credentials: Credentials | None) -> None:
    if credentials is not None:
        cloud.keys.revoke(credentials)


def moved(value: str, root: Path) -> str:
    """Return ``value`` with every ``/opt/ml`` in it replaced by the folder that stands for it.

    It is a path of its own: not the end of another one, such as ``s3://bucket/opt/ml``, nor the start of ``/opt/mlx``.
    """
    return _MOUNTED.sub(lambda _: str(root), value)


def _lines(output: IO[bytes], stream: LogStream) -> Iterator[str]:
    """Lines of a pipe as they come; flushes the stream whenever the pipe is quiet for long enough."""
    rest = b""
    while True:
        due = stream.due()
        if due == 0.0 or (due is not None and not select.select([output], [], [], due)[0]):
            stream.flush()
            continue
        chunk = os.read(output.fileno(), 65536)
        if not chunk:
            break
        *lines, rest = (rest + chunk).split(b"\n")
        for line in lines:
            yield line.decode("utf-8", "replace").rstrip("\r")
    if rest:
        yield rest.decode("utf-8", "replace")
