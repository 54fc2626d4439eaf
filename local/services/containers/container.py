"""A container, emulated by one process group with a clean environment and a folder for ``/opt/ml``."""

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
from local.services.containers.guard import GUARD
from local.services.containers.logs import LogStream

if TYPE_CHECKING:
    from local.core.context import Cloud
    from local.credentials import Credentials

log = logging.getLogger(__name__)

#: The folder in which SageMaker mounts everything in a real container.
MOUNT = "/opt/ml"
_MOUNTED = re.compile(r"(?:(?<=file://)|(?<![\w./~})-]))/opt/ml(?![\w.-])")


class ContainerError(LocalError):
    """A container that could not be started; the message gives the reason."""


class Container:
    """A running process group, created by :meth:`start`.

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
        #: Set when the process has ended; its last lines may not have reached the logs yet.
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
        """Return a new container that runs ``command`` of ``image``.

        Args:
            cloud: The local cloud, to which the logs go and for which the container gets credentials.
            image: The unpacked image; its ``bin/`` comes first on the PATH.
            command: Executable and arguments; each ``/opt/ml`` in them is replaced by ``root``.
            root: The folder that replaces ``/opt/ml``; must exist.
            environment: The container's own variables; ``/opt/ml`` in their values is replaced too.
            region: The region of the container and of its logs.
            log_group: The log group of its output.
            log_stream: The log stream of its output.
            on_line: Called with every line of output, in order, all before :meth:`wait` returns a code.
            isolated: Whether the container gets no access to the local cloud's API, as with EnableNetworkIsolation.

        Raises:
            ContainerError: The executable was not found or cannot be run.
        """
        path = os.pathsep.join([str(image / "bin"), str(Path(sys.executable).parent), "/usr/bin", "/bin"])
        executable = _find_executable(command[0], image, root, path)
        return cls.launch(
            cloud,
            command=[executable, *(replace_mount_path(item, root) for item in command[1:])],
            folder=root,
            base=_build_base_environment(path, root),
            environment={
                **{name: replace_mount_path(value, root) for name, value in environment.items()},
                "SAGEMAKER_BASE_DIR": str(root),
            },
            region=region,
            log_group=log_group,
            log_stream=log_stream,
            on_line=on_line,
            isolated=isolated,
        )

    @classmethod
    def launch(
        cls,
        cloud: Cloud,
        *,
        command: Sequence[str],
        folder: Path,
        base: Mapping[str, str],
        environment: Mapping[str, str],
        region: str,
        log_group: str,
        log_stream: str,
        on_line: Callable[[str], None] | None = None,
        isolated: bool = False,
    ) -> Container:
        """Return a new container that runs a command of this machine.

        Args:
            cloud: The local cloud, to which the logs go and for which the container gets credentials.
            command: The path of the executable, and its arguments.
            folder: The folder in which it starts.
            base: Variables that those of the cloud's credentials and ``environment`` go before.
            environment: The container's own variables.
            region: The region of the container and of its logs.
            log_group: The log group of its output.
            log_stream: The log stream of its output.
            on_line: Called with every line of output, in order, all before :meth:`wait` returns a code.
            isolated: Whether the container gets no access to the local cloud's API.

        Raises:
            ContainerError: The executable cannot be run.
        """
        credentials = None if isolated else cloud.keys.issue(log_stream.replace("/", "-"))
        try:
            process = subprocess.Popen(
                command,
                cwd=folder,
                env={
                    **base,
                    **({} if credentials is None else _build_access_variables(cloud, region, credentials)),
                    **environment,
                },
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                process_group=0,
            )
        except OSError as error:
            _revoke(cloud, credentials)
            raise ContainerError(f"executable {command[0]} cannot be run: {error.strerror}") from error
        GUARD.add(process.pid)
        stream = LogStream(cloud, region, log_group, log_stream)
        container = cls(process, stream, on_line, lambda: _revoke(cloud, credentials))
        cloud.spawn(f"container-{process.pid}", container._reap)
        cloud.spawn(f"output-{process.pid}", container._read)
        return container

    def poll(self) -> int | None:
        """Return the exit code (negative: the signal that ended the process), or None while it runs.

        The code is returned only after all output was read.
        """
        return self._process.returncode if self._finished.is_set() else None

    def wait(self, timeout: float | None = None) -> int | None:
        """Wait for the end of the container and of its output.

        Args:
            timeout: The longest wait in seconds; None without a limit.

        Returns:
            The exit code (negative: the signal that ended the process), or None if it still runs.
        """
        self._finished.wait(timeout)
        return self.poll()

    def stop(self, first: signal.Signals = signal.SIGTERM, grace: float = 30.0) -> int | None:
        """Send ``first`` to the whole group, SIGKILL after ``grace`` seconds, and wait for the end.

        Args:
            first: The signal that requests the end.
            grace: Seconds from the first signal to SIGKILL.

        Returns:
            The exit code (negative: the signal that ended the process), or None if it still runs 10 s after SIGKILL.
        """
        self._signal(first)
        if self.wait(grace) is None:
            self.kill()
            self.wait(10.0)
        return self.poll()

    def kill(self) -> None:
        """Send SIGKILL to the whole group without waiting."""
        self._signal(signal.SIGKILL)

    def _signal(self, number: signal.Signals) -> None:
        try:
            os.killpg(self.pid, number)
        except ProcessLookupError:
            log.debug("process group %d is gone already", self.pid)

    def _reap(self) -> None:
        self._process.wait()
        # A container ends with its first process; other processes would also keep the output open.
        self.kill()
        GUARD.remove(self.pid)
        self._on_end()
        self.ended.set()

    def _read(self) -> None:
        output = self._process.stdout
        assert output is not None
        try:
            for line in _read_lines(output, self._stream):
                self._stream.write(line)
                if self._on_line is not None:
                    self._on_line(line)
        finally:
            output.close()
            self.ended.wait()
            self._stream.flush()
            self._finished.set()


def _find_executable(name: str, image: Path, root: Path, path: str) -> str:
    """Return the path of a command's executable: one of the image, or one that a mount holds."""
    executable = shutil.which(name if "/" not in name else replace_mount_path(name, root), path=path)
    if executable is None:
        have = ", ".join(sorted(file.name for file in (image / "bin").iterdir())) or "nothing"
        raise ContainerError(f"executable {name!r} is not in image {image.name}, which has: {have}")
    return executable


def _build_base_environment(path: str, root: Path) -> dict[str, str]:
    return {
        "PATH": path,
        "HOME": str(root),
        "LANG": "C.UTF-8",
        # Lines reach the logs when they are printed, not when a buffer is full.
        "PYTHONUNBUFFERED": "1",
        # A job installs packages for itself only, because it shares the Python installation with the local cloud.
        "PIP_TARGET": str(root / "packages"),
        "PYTHONPATH": str(root / "packages"),
    }


def _build_access_variables(cloud: Cloud, region: str, credentials: Credentials) -> dict[str, str]:
    """Return the variables by which any AWS SDK in the container finds the local cloud."""
    return {
        "AWS_ENDPOINT_URL": cloud.endpoint_url,
        "AWS_REGION": region,
        "AWS_DEFAULT_REGION": region,
        **credentials.to_environment(),
        "AWS_EC2_METADATA_DISABLED": "true",
    }


def _revoke(cloud: Cloud, credentials: Credentials | None) -> None:
    if credentials is not None:
        cloud.keys.revoke(credentials)


def replace_mount_path(value: str, root: Path) -> str:
    """Return ``value`` with every path ``/opt/ml`` in it replaced by ``root``.

    Neither the end of another path, such as ``s3://bucket/opt/ml``, nor the start of ``/opt/mlx`` is replaced.

    Args:
        value: A text that may contain such paths, such as an argument or the content of a script.
        root: The folder that replaces ``/opt/ml``.
    """
    return _MOUNTED.sub(lambda _: str(root), value)


def _read_lines(output: IO[bytes], stream: LogStream) -> Iterator[str]:
    """Yield the lines of a pipe as they arrive; meanwhile, flush the stream whenever it is due."""
    rest = b""
    while True:
        due = stream.seconds_until_due()
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
