"""Running jobs: one process per host in a folder that replaces ``/opt/ml``, from download to upload.

This is the common part of training and processing jobs; the differences are in `training.py` and `processing.py`. The
folder of a completed job is removed; the newest folders of other jobs are kept for inspection.
"""

from __future__ import annotations

import logging
import shutil
import signal
import threading
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, ClassVar

from local.core.store import Document
from local.errors import LocalError
from local.services.containers.container import Container, ContainerError
from local.services.containers.folders import prune_folders
from local.services.sagemaker.jobs.documents import Outcome, update_job, write_outcome
from local.services.sagemaker.jobs.transfer import TransferError

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: The number of folders of jobs that did not complete, which are kept.
KEPT = 20

#: Seconds of the local cloud's time between the first signal and SIGKILL.
GRACE = 120.0

#: Seconds between two continuous uploads of a running job.
CONTINUOUS = 1.0


class JobError(LocalError):
    """A fault in the request or its data that keeps the job from running: a ``ClientError`` of the job."""


class JobInterruptedError(LocalError):
    """An interruption by the local cloud's shutdown; the job is settled when the cloud starts again."""


class JobRun(ABC):
    """One run of one job, in its own thread."""

    kind: ClassVar[str]
    #: The prefix of its description's members: ``Training`` or ``Processing``.
    label: ClassVar[str]
    log_group: ClassVar[str]
    stop_signal: ClassVar[signal.Signals]

    def __init__(self, cloud: Cloud, region: str, name: str) -> None:
        self.cloud = cloud
        self.region = region
        self.name = name
        document = cloud.store.get(self.kind, region, name)
        assert document is not None
        self.document = document
        self.s3 = cloud.client("s3", region)
        self.folder = cloud.state / "jobs" / region / self.kind / name
        self.finished = threading.Event()
        self._changed = threading.Event()
        self._stop_requested = False

    # -- implemented by subclasses -----------------------------------------------------------------------------------

    @property
    @abstractmethod
    def instances(self) -> int:
        """The number of hosts."""
        ...

    @property
    @abstractmethod
    def max_runtime(self) -> float:
        """The maximum run time of the containers, in seconds."""
        ...

    @abstractmethod
    def work(self) -> Outcome:
        """Download the data, run the containers, upload the results, and return the outcome."""

    # -- called by other threads -------------------------------------------------------------------------------------

    def request_stop(self) -> None:
        """Request the job to end early."""
        self._stop_requested = True
        self._changed.set()

    def wake(self) -> None:
        """Wake the job's thread, which then checks whether the local cloud is shutting down."""
        self._changed.set()

    def run(self) -> None:
        """Run the job until it has a final status or the local cloud shuts down."""
        try:
            self.finish(self._attempt())
        except JobInterruptedError:
            log.info("%s %s is interrupted", self.kind, self.name)
        finally:
            self.finished.set()

    def _attempt(self) -> Outcome:
        # Remove the files of a deleted job with the same name.
        shutil.rmtree(self.folder, ignore_errors=True)
        try:
            return self.work()
        except JobInterruptedError:
            raise
        except (JobError, TransferError, ContainerError) as error:
            reason = f"ClientError: {error}"
        except Exception:
            log.exception("%s %s", self.kind, self.name)
            reason = f"InternalServerError: a bug in the local cloud: see daemon.log for {self.kind} {self.name}"
        if self.cloud.stopping.is_set():
            raise JobInterruptedError
        return Outcome("Failed", "Failed", reason)

    # -- parts of the work -------------------------------------------------------------------------------------------

    @property
    def hosts(self) -> list[str]:
        """The names of the hosts: ``algo-1``, ``algo-2`` and so on."""
        return [f"algo-{number}" for number in range(1, self.instances + 1)]

    def get_host_folder(self, host: str) -> Path:
        """Return the folder that replaces ``/opt/ml`` on a host."""
        return self.folder / host

    def execute(
        self,
        command: Sequence[str],
        environment: dict[str, str],
        *,
        image: str,
        isolated: bool,
        on_line: Callable[[str], None] | None = None,
        meanwhile: Callable[[], None] | None = None,
    ) -> Ended:
        """Run the command on every host until all have ended, one has failed, or the job must stop.

        It must stop when that is requested or when its maximum run time is over.

        Args:
            command: Executable and arguments.
            environment: The variables of the containers.
            image: The URI of the image.
            isolated: Whether the containers get no access to the local cloud's API.
            on_line: Called with every line of output.
            meanwhile: Called every second while the containers run.

        Returns:
            The exit codes of the hosts, and why they were stopped.

        Raises:
            JobInterruptedError: The local cloud is shutting down.
        """
        folder = self.cloud.images.resolve(image)
        epoch = int(time.time())
        containers: dict[str, Container] = {}
        try:
            for host in self.hosts:
                self._check_going()
                containers[host] = Container.start(
                    self.cloud,
                    image=folder,
                    command=command,
                    root=self.get_host_folder(host),
                    environment=environment,
                    region=self.region,
                    log_group=self.log_group,
                    log_stream=f"{self.name}/{host}-{epoch}",
                    on_line=on_line,
                    isolated=isolated,
                )
            return self._watch(containers, meanwhile)
        finally:
            for container in containers.values():
                if container.poll() is None:
                    container.kill()

    def _watch(self, containers: dict[str, Container], meanwhile: Callable[[], None] | None) -> Ended:
        for host, container in containers.items():
            self.cloud.spawn(f"{self.name}-{host}", self._wake_at_end, container)
        deadline = time.monotonic() + self.max_runtime
        stopped: str | None = None
        while any(container.poll() is None for container in containers.values()):
            left = max(0.0, deadline - time.monotonic()) if stopped is None else None
            if meanwhile is not None:
                left = CONTINUOUS if left is None else min(left, CONTINUOUS)
            self._changed.wait(left)
            self._changed.clear()
            self._check_going()
            if meanwhile is not None:
                meanwhile()
            if stopped is None and (stopped := self._why_stop(containers, deadline)):
                for container in containers.values():
                    self.cloud.spawn(f"stop-{self.name}", self._stop, container)
        return Ended(stopped, {host: container.poll() or 0 for host, container in containers.items()})

    def _why_stop(self, containers: dict[str, Container], deadline: float) -> str | None:
        if self._stop_requested:
            return "Stopped"
        if time.monotonic() >= deadline:
            return "MaxRuntimeExceeded"
        if any(container.poll() for container in containers.values()):
            return "HostFailed"
        return None

    def _stop(self, container: Container) -> None:
        container.stop(self.stop_signal, self.cloud.clock.to_real_seconds(GRACE))

    def _wake_at_end(self, container: Container) -> None:
        container.wait()
        self._changed.set()

    def _check_going(self) -> None:
        if self.cloud.stopping.is_set():
            raise JobInterruptedError

    @property
    def stop_requested(self) -> bool:
        """True once :meth:`request_stop` was called."""
        return self._stop_requested

    # -- the document ------------------------------------------------------------------------------------------------

    def change_document(self, change: Callable[[Document], None]) -> None:
        """Change the job's document and emit its state change event."""
        update_job(self.cloud, self.kind, self.label, self.region, self.name, change)

    def finish(self, outcome: Outcome) -> None:
        """Remove the folder of a completed job, then write the outcome to the document."""

        def end(document: Document) -> None:
            write_outcome(document, self.label, outcome)

        if outcome.status == "Completed":
            shutil.rmtree(self.folder, ignore_errors=True)
        self.change_document(end)


@dataclass(frozen=True)
class Ended:
    """The exit codes of a job's hosts.

    Attributes:
        stopped: The reason if they were stopped (``Stopped``, ``MaxRuntimeExceeded`` or ``HostFailed``), or None.
        codes: Exit codes by host; negative for a signal.
    """

    stopped: str | None
    codes: dict[str, int]

    @property
    def failed_host(self) -> str | None:
        """The first host whose own failure ended the job, or None."""
        if self.stopped in ("Stopped", "MaxRuntimeExceeded"):
            return None
        failed = [host for host, code in self.codes.items() if code != 0]
        # Hosts that were killed because another one had failed come last.
        return min(failed, key=lambda host: (self.codes[host] < 0, host), default=None)

    def to_shell_exit_code(self, host: str) -> int:
        """Return a host's exit code as a shell shows it: 128 + n for signal n."""
        code = self.codes[host]
        return code if code >= 0 else 128 - code


class Jobs:
    """The running jobs of one local cloud."""

    def __init__(self, cloud: Cloud) -> None:
        self.cloud = cloud
        self._lock = threading.Lock()
        self._runs: dict[tuple[str, str, str], JobRun] = {}
        cloud.spawn("jobs-stopping", self._wake_all)

    def start(self, run: JobRun) -> None:
        """Start a run in the background.

        Args:
            run: The run of a job whose document is stored.
        """
        with self._lock:
            self._runs[run.kind, run.region, run.name] = run
        # A stop that was requested before the run was in the table did not reach it.
        now = self.cloud.store.get(run.kind, run.region, run.name)
        if now is not None and now[f"{run.label}JobStatus"] == "Stopping":
            run.request_stop()
        self.cloud.spawn(f"job-{run.name}", self._run, run)

    def _run(self, run: JobRun) -> None:
        try:
            run.run()
        finally:
            with self._lock:
                key = run.kind, run.region, run.name
                # A job that was deleted and recreated under the same name may have replaced this run.
                if self._runs.get(key) is run:
                    del self._runs[key]
            self._prune()

    def stop(self, kind: str, region: str, name: str) -> None:
        """Request a running job to end; do nothing if the job does not run.

        Args:
            kind: The store's kind of the job.
            region: The job's region.
            name: The job's name.
        """
        if run := self._get(kind, region, name):
            run.request_stop()

    def wait(self, kind: str, region: str, name: str) -> None:
        """Wait until the job no longer runs: it has ended, or the local cloud is shutting down.

        Args:
            kind: The store's kind of the job.
            region: The job's region.
            name: The job's name; one that does not run is not awaited.
        """
        if run := self._get(kind, region, name):
            run.finished.wait()

    def _get(self, kind: str, region: str, name: str) -> JobRun | None:
        with self._lock:
            return self._runs.get((kind, region, name))

    def _wake_all(self) -> None:
        self.cloud.stopping.wait()
        with self._lock:
            for run in self._runs.values():
                run.wake()

    def _prune(self) -> None:
        """Remove the folders of jobs that no longer run, except the newest ones."""
        with self._lock:
            running = {run.folder for run in self._runs.values()}
        prune_folders((self.cloud.state / "jobs").glob("*/*/*"), running, KEPT)
