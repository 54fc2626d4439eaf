"""The servers of a run: what each has imported, how it is started, and where it listens."""

from __future__ import annotations

import atexit
import functools
import os
import shutil
import socket
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from tests.house.sources import REPOSITORY

from . import server

#: What a client of AWS imports.
_CLIENT = (
    "boto3", "botocore.args", "botocore.client", "botocore.endpoint", "botocore.httpsession", "botocore.parsers",
    "botocore.session", "botocore.signers", "botocore.waiter", "s3transfer.manager", "urllib3",
)  # fmt: skip
#: What most commands import. Nothing in these lists reads the environment or starts a thread when it is imported.
LIBRARIES = (
    *_CLIENT, "asyncio", "click", "concurrent.futures", "dateutil.parser", "difflib", "email.parser", "http.client",
    "jinja2", "logging.config", "multiprocessing", "numpy", "pandas", "psutil", "pyarrow.csv", "pyarrow.parquet",
    "pydantic", "rich.console", "rich.live", "rich.markup", "rich.progress", "rich.table", "sqlite3", "tarfile",
    "unittest.mock", "yaml", "zipfile",
)  # fmt: skip
#: What a program of Pulumi imports.
SDK = (
    *_CLIENT, "asyncio", "concurrent.futures", "grpc", "jinja2", "pulumi", "pulumi.automation._server",
    "pulumi.runtime.proto.language_pb2_grpc", "pulumi_aws.cloudwatch", "pulumi_aws.iam", "pulumi_aws.kms",
    "pulumi_aws.s3", "pulumi_aws.sagemaker", "pulumi_aws.scheduler", "pulumi_aws.sns", "pulumi_aws.sqs",
    "pulumi_aws.ssm", "pydantic", "tarfile", "yaml",
)  # fmt: skip
#: What the steps of pipelines and the server of an endpoint import.
JOB = (
    *_CLIENT, "argparse", "concurrent.futures", "joblib", "numpy", "pyarrow.compute", "pyarrow.csv",
    "pyarrow.parquet", "pydantic", "runpy", "sklearn.ensemble", "sklearn.linear_model", "sklearn.metrics",
    "sklearn.pipeline", "sklearn.preprocessing", "waitress", "zipfile",
)  # fmt: skip
#: What the daemon of a local cloud imports when it starts.
CLOUD = ("local.daemon",)
#: An environment that differs in one of these needs an interpreter of its own.
_READ_AT_START = (
    "LANG", "LC_ALL", "PYTHONDEVMODE", "PYTHONHASHSEED", "PYTHONHOME", "PYTHONIOENCODING", "PYTHONPATH",
    "PYTHONUNBUFFERED", "PYTHONUTF8", "PYTHONWARNINGS", "TZ",
)  # fmt: skip
#: Where the one server of jobs listens: workers have it from the process that started them.
_JOBS = "MILLRACE_TEST_JOBS"
#: The environment of a job, as far as an interpreter reads it when it starts.
_OF_A_JOB = {"LANG": "C.UTF-8", "PYTHONUNBUFFERED": "1"}
#: A fork has no threads but its own.
_ONE_THREAD = {"OMP_NUM_THREADS": "1", "OPENBLAS_NUM_THREADS": "1"}


@dataclass(frozen=True)
class Server:
    """A server that listens.

    Attributes:
        socket: The path of its socket.
        environment: The variables that it was started with.
    """

    socket: Path
    environment: Mapping[str, str]

    def has_started_as(self, environment: Mapping[str, str]) -> bool:
        """Return whether an interpreter started with these variables would be like the server."""
        return all(environment.get(name) == self.environment.get(name) for name in _READ_AT_START)


def make_folder(what: str) -> Path:
    """Return a new folder that is removed when this process ends."""
    folder = Path(tempfile.mkdtemp(prefix=f"millrace-{what}-"))
    atexit.register(shutil.rmtree, folder, ignore_errors=True)
    return folder


@functools.cache
def find_own_server(modules: tuple[str, ...], *, commands: bool = False) -> Server:
    """Return this process's server with some modules imported, starting it if there is none.

    Args:
        modules: What it has imported.
        commands: Whether it has imported all commands, too.
    """
    return _start(make_folder("forks") / "socket", dict(os.environ), modules, commands=commands)


@functools.cache
def find_job_server() -> Server:
    """Return the server of jobs, one for all workers: an image's `python3` is the same in all of them."""
    environment = {name: value for name, value in os.environ.items() if name not in _READ_AT_START} | _OF_A_JOB
    if path := os.environ.get(_JOBS):
        return Server(Path(path), environment)
    os.environ[_JOBS] = str(make_folder("jobs") / "socket")
    return _start(Path(os.environ[_JOBS]), environment, JOB, commands=False)


def _start(path: Path, environment: dict[str, str], modules: tuple[str, ...], *, commands: bool) -> Server:
    """Start a server; it ends when this process does."""
    alive, ours = os.pipe()
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(str(path))
        listener.listen(64)
        descriptors = [listener.fileno(), alive]
        process = subprocess.Popen(
            [sys.executable, server.__file__, *map(str, descriptors), str(int(commands)), *modules],
            cwd=REPOSITORY, pass_fds=descriptors, stdin=subprocess.DEVNULL, env=environment | _ONE_THREAD,
        )  # fmt: skip
    os.close(alive)

    def stop() -> None:
        os.close(ours)
        process.wait()

    atexit.register(stop)
    return Server(path, environment)
