"""The model servers of one endpoint configuration: real processes that are started, watched and restarted.

A *plan* is a configuration with everything resolved that its servers need, so that they can be started again
after the configuration, the model or the model package was deleted::

    {"EndpointConfigName": "shop-2", "DataCaptureConfig": {…},
     "Variants": [{"VariantName": "blue", "Weight": 1.0, "Count": 2, "Image": "…", "ModelDataUrl": "s3://…",
                   "Environment": {}, "Isolated": false, "StartupTimeout": 240, "Routing": "…",
                   "InstanceType": "…", "DeployedImages": […]}],
     "Folder": "3f9a01bc"}

``Folder`` is added by the first fleet of a plan: the folder of its unpacked models, also for the fleet after a restart.
"""

from __future__ import annotations

import contextlib
import logging
import secrets
import socket
import threading
import time
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import urllib3

from local.core.errors import AwsError
from local.services.containers.container import Container, ContainerError
from local.services.sagemaker.hosting.model_data import (
    MODEL_SUFFIX,
    ModelDataError,
    ModelFolder,
    build_fleet_folder_path,
    remove_tree,
)

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

Plan = dict[str, Any]

#: The default of the seconds within which a server must answer its first ping.
STARTUP_TIMEOUT = 240.0
#: Seconds that a ping may take, and seconds between two pings of a starting server.
PING_TIMEOUT = 2.0
PING_INTERVAL = 0.05
#: Seconds between two pings of a server that has started.
HEALTH_INTERVAL = 2.0
#: A server that fails this many pings in a row is replaced.
FAILED_PINGS = 3
#: Seconds that a server has to end when it is replaced, before it is killed.
REPLACE_GRACE = 5.0
#: A server that ends this often before its first answer has failed, even before its startup timeout.
CRASHES = 5
#: The maximum seconds before a server that ended is restarted.
BACKOFF = 30.0

#: Seconds between two attempts to fetch the archive of a model that served before.
MODEL_INTERVAL = 3.0

#: Seconds that requests have to finish before their server ends: more than a model may take.
DRAIN = 65.0


_ports: set[int] = set()
_ports_lock = threading.Lock()


@contextlib.contextmanager
def _reserve_port() -> Iterator[int]:
    """Yield a port that no process listens on, reserved for one server of this local cloud."""
    with _ports_lock:
        while True:
            with socket.socket() as probe:
                probe.bind(("127.0.0.1", 0))
                port = int(probe.getsockname()[1])
            if port not in _ports:
                break
        _ports.add(port)
    try:
        yield port
    finally:
        with _ports_lock:
            _ports.discard(port)


class _Pool(urllib3.HTTPConnectionPool):
    """Kept-alive connections to one process.

    Attributes:
        answered: The monotonic time of its last answer to any request.
    """

    answered = 0.0

    def urlopen(self, *args: Any, **kwargs: Any) -> urllib3.BaseHTTPResponse:
        answer = super().urlopen(*args, **kwargs)
        self.answered = time.monotonic()
        return answer


@dataclass(frozen=True)
class _FailedPing:
    """A failed ping; ``answered`` is True if the server reported itself unhealthy, False without an answer."""

    reason: str
    answered: bool


def _ping(pool: _Pool, since: float) -> _FailedPing | None:
    """Ping a process; return the failure, or None if the process is healthy.

    A process that is too busy to answer the ping is healthy if it answered any request after ``since``.
    """
    try:
        answer = pool.request("GET", "/ping", timeout=PING_TIMEOUT, retries=False)
    except urllib3.exceptions.HTTPError as error:
        if pool.answered > since:
            return None
        return _FailedPing(f"no answer to /ping: {type(error).__name__}, {PING_TIMEOUT:g} seconds allowed", False)
    return None if answer.status == 200 else _FailedPing(f"/ping answers HTTP status {answer.status}", True)


class Server:
    """One instance of a variant: a process that serves on its own port.

    Attributes:
        pool: Kept-alive connections to the process, None while it cannot take requests.
        outstanding: The number of requests in progress; guarded by the router's lock.
        failure: The reason why it will not be ready, or None.
        restarts: The number of restarts after the process ended by itself or was unhealthy.
        sick: The reason for its last replacement, None while it has always been healthy.
    """

    def __init__(self, fleet: Fleet, variant: Variant) -> None:
        self.fleet = fleet
        self.variant = variant
        self.id = f"i-{secrets.token_hex(9)[:17]}"
        self.pool: _Pool | None = None
        self.outstanding = 0
        self.failure: str | None = None
        self.restarts = 0
        self.sick: str | None = None
        self._container: Container | None = None
        self._stop = threading.Event()
        self._thread = fleet.cloud.spawn(f"server-{self.id}", self._run)

    def is_alive_after(self, after: float) -> bool:
        """Wait at most ``after`` seconds and return True if the process still runs."""
        container = self._container
        return container is not None and not container.ended.wait(after)

    def stop(self, grace: float = 30.0) -> None:
        """End the process (SIGTERM, then SIGKILL after ``grace`` seconds) and wait for it.

        Args:
            grace: Seconds from SIGTERM to SIGKILL.
        """
        self._stop.set()
        self._publish(None)
        while self._thread.is_alive():
            if self._container is not None:
                self._container.stop(grace=grace)
            self._thread.join(0.05)

    def kill_unreachable(self) -> None:
        """Kill the process, which accepts no connection, so that a new one is started."""
        self._publish(None)
        if self._container is not None:
            self._container.kill()

    def check_health(self) -> str | None:
        """Ping the server and return the reason why it is unhealthy, or None.

        A server that answers, or takes no requests at the moment, is unhealthy only if it was replaced before.
        """
        for number in range(FAILED_PINGS):
            pool = self.pool
            failed = _ping(pool, time.monotonic()) if pool is not None else None
            if failed is None or self.pool is not pool:
                return self.sick
            if number < FAILED_PINGS - 1 and self._stop.wait(HEALTH_INTERVAL):
                return None
        assert failed is not None
        self.sick = failed.reason
        if not failed.answered:
            self.kill_unreachable()
        return failed.reason

    def _publish(self, pool: _Pool | None) -> None:
        with self.fleet.changed:
            self.pool = pool
            self.fleet.changed.notify_all()

    def _fail(self, reason: str) -> None:
        log.warning("server %s of endpoint %s: %s", self.id, self.fleet.endpoint, reason)
        with self.fleet.changed:
            self.failure = reason
            self.fleet.changed.notify_all()

    def _run(self) -> None:
        root = self.fleet.folder / self.id
        try:
            image = self.fleet.cloud.images.resolve(self.variant.plan["Image"])
            root.mkdir(parents=True)
            (root / "model").symlink_to(self._model())
            self._serve(image, root)
        except (AwsError, ContainerError, ModelDataError, OSError) as error:
            self._fail(error.message if isinstance(error, AwsError) else str(error))
        finally:
            self._publish(None)
            remove_tree(root)

    def _model(self) -> Path:
        """Return the folder of the unpacked model; if the fleet has served before, retry until it can be fetched."""
        while True:
            try:
                found = self.variant.ensure_model()
            except ModelDataError as error:
                if not self.fleet.persistent:
                    raise
                if self.failure is None:
                    self._fail(f"{error} Trying again every {MODEL_INTERVAL:g} seconds.")
                if self._stop.wait(MODEL_INTERVAL) or self.fleet.cloud.stopping.is_set():
                    raise
                continue
            with self.fleet.changed:
                self.failure = None
            return found

    def _serve(self, image: Path, root: Path) -> None:
        crashes, served = 0, self.fleet.persistent
        deadline = time.monotonic() + self.variant.plan["StartupTimeout"]
        while not self._stop.is_set() and not self.fleet.cloud.stopping.is_set():
            with _reserve_port() as port:
                self._container = container = self._start(image, root, port)
                if self._stop.is_set():
                    container.stop()
                    return
                pool = _Pool("127.0.0.1", port, maxsize=64, retries=False)
                if self._answers(container, pool, deadline):
                    served, since = True, time.monotonic()
                    self._publish(pool)
                    self._watch(container, pool)
                    self._publish(None)
                    crashes = 0 if time.monotonic() - since > 2 * BACKOFF else crashes + 1
                else:
                    container.stop()
                    crashes += 1
                pool.close()
            if self._stop.is_set():
                return
            log.warning("server %s of endpoint %s ended with %s", self.id, self.fleet.endpoint, container.wait(1.0))
            if not served and (crashes >= CRASHES or time.monotonic() >= deadline):
                self._fail(
                    f"The primary container for production variant {self.variant.name} did not pass the ping health "
                    "check. Please check CloudWatch logs for this endpoint."
                )
                return
            self.restarts += 1
            if served:
                deadline = time.monotonic() + self.variant.plan["StartupTimeout"]
            # The first restart is immediate, because most likely somebody killed the process.
            self._stop.wait(min(BACKOFF, 0.1 * 2**crashes) if crashes > 1 else 0)

    def _start(self, image: Path, root: Path, port: int) -> Container:
        fleet, plan = self.fleet, self.variant.plan
        return Container.start(
            fleet.cloud,
            image=image,
            command=["serve"],
            root=root,
            environment={**plan["Environment"], **_build_bind_variables(port), "SAGEMAKER_REGION": fleet.region},
            region=fleet.region,
            log_group=build_log_group_name(fleet.endpoint),
            log_stream=f"{self.variant.name}/{self.id}",
            isolated=plan["Isolated"],
        )

    def _watch(self, container: Container, pool: _Pool) -> None:
        """Ping the process until it ends, and end it when it is no longer healthy."""
        failures, since = 0, time.monotonic()
        while not container.ended.wait(HEALTH_INTERVAL):
            failed = _ping(pool, since)
            since = time.monotonic()
            failures = failures + 1 if failed else 0
            if failed is None or failures < FAILED_PINGS or container.ended.is_set() or self._stop.is_set():
                continue
            log.warning(
                "server %s of endpoint %s failed %d pings in a row and is replaced: %s",
                self.id, self.fleet.endpoint, failures, failed.reason,
            )  # fmt: skip
            self.sick = failed.reason
            self._publish(None)
            if failed.answered:
                self._drain(container)
                container.stop(grace=REPLACE_GRACE)
            else:
                # It would not react to SIGTERM either.
                container.kill()
            container.ended.wait()

    def _drain(self, container: Container) -> None:
        """Wait at most ``DRAIN`` seconds for the requests that the process still works on."""
        deadline = time.monotonic() + DRAIN
        with self.fleet.changed:
            while self.outstanding and time.monotonic() < deadline and not container.ended.is_set():
                if self._stop.is_set() or self.fleet.cloud.stopping.is_set():
                    return
                self.fleet.changed.wait(0.2)

    def _answers(self, container: Container, pool: _Pool, deadline: float) -> bool:
        while container.poll() is None and not self._stop.is_set():
            try:
                answer = pool.request("GET", "/ping", timeout=PING_TIMEOUT, retries=False)
            except urllib3.exceptions.HTTPError:
                answer = None
            if answer is not None and answer.status == 200 and container.poll() is None:
                return True
            if time.monotonic() >= deadline:
                return False
            self._stop.wait(PING_INTERVAL)
        return False


def _build_bind_variables(port: int) -> dict[str, str]:
    """Return the variables for the server's port (SageMaker's) and for its address (Millrace's)."""
    return {"SAGEMAKER_BIND_TO_PORT": str(port), "MILLRACE_BIND_ADDRESS": "127.0.0.1"}


class Variant:
    """A production variant of a fleet: its servers, its weight, its unpacked model.

    ``servers`` and ``weight`` are guarded by the fleet's lock.
    """

    def __init__(self, fleet: Fleet, plan: dict[str, Any]) -> None:
        self.fleet = fleet
        self.plan = plan
        self.name: str = plan["VariantName"]
        self.weight: float = plan["Weight"]
        self.servers: list[Server] = []
        folder = fleet.folder / f"{self.name}{MODEL_SUFFIX}"
        self._model = ModelFolder(fleet.cloud, fleet.region, folder, plan["ModelDataUrl"])

    def list_ready_servers(self) -> list[Server]:
        """Return the servers that can take a request."""
        return [server for server in self.servers if server.pool is not None]

    def ensure_model(self) -> Path:
        """Return the folder of the unpacked model, which all servers of the variant share read-only."""
        return self._model.ensure()


class Fleet:
    """All servers of one plan.

    Args:
        changed: The lock of the endpoint's router, which also guards what the fleet's servers publish.

    Attributes:
        persistent: Whether its servers have served before, so that one that fails to start is tried again.
    """

    def __init__(self, cloud: Cloud, region: str, endpoint: str, plan: Plan, changed: threading.Condition) -> None:
        self.cloud = cloud
        self.region = region
        self.endpoint = endpoint
        self.config: str = plan["EndpointConfigName"]
        self.changed = changed
        self.persistent = False
        self.folder = build_fleet_folder_path(cloud, region, endpoint, plan.setdefault("Folder", secrets.token_hex(4)))
        self.variants = {variant["VariantName"]: Variant(self, variant) for variant in plan["Variants"]}

    def resize(self, counts: dict[str, int] | None = None, *, grace: float = 30.0) -> None:
        """Start or end servers until each variant has the number in ``counts`` (default: the planned one).

        New servers are not awaited, see :meth:`wait_until_ready`; surplus ones finish their requests first.
        """
        surplus: list[Server] = []
        for variant in self.variants.values():
            wanted = variant.plan["Count"] if counts is None else counts.get(variant.name, len(variant.servers))
            with self.changed:
                surplus += variant.servers[wanted:]
                del variant.servers[wanted:]
                variant.servers += [Server(self, variant) for _ in range(wanted - len(variant.servers))]
        self._end(surplus, grace)

    def count_servers(self) -> int:
        """Return the number of servers, ready or not."""
        return sum(len(variant.servers) for variant in self.variants.values())

    def find_failure(self) -> str | None:
        """Return the reason why a server will not be ready, or None."""
        return next((s.failure for v in self.variants.values() for s in v.servers if s.failure is not None), None)

    def is_ready(self) -> bool:
        """Return True if every server can take requests."""
        return all(server.pool is not None for variant in self.variants.values() for server in variant.servers)

    def wait_until_ready(self, seconds: float = 1.0) -> bool:
        """Wait at most ``seconds`` until all servers are ready or one has failed; return True if all are ready."""
        with self.changed:
            self.changed.wait_for(lambda: self.is_ready() or self.find_failure() is not None, seconds)
            return self.is_ready()

    def stop(self, grace: float = 30.0, *, keep: bool = False) -> None:
        """Drain and end all servers; remove the fleet's folder with its models.

        Args:
            grace: Seconds from a server's SIGTERM, which follows the drain, to its SIGKILL.
            keep: Whether the models remain for the next run.
        """
        self.resize(dict.fromkeys(self.variants, 0), grace=grace)
        if not keep and self.folder.is_dir():
            # Rename it first: after a kill, no incomplete model may exist under the old name.
            remove_tree(self.folder.rename(self.folder.with_name(f"{self.folder.name}.gone")))

    def _end(self, servers: list[Server], grace: float) -> None:
        deadline = time.monotonic() + DRAIN
        with self.changed:
            # No new request reaches them, because they are no longer in their variant's list.
            while any(server.outstanding for server in servers) and time.monotonic() < deadline:
                if self.cloud.stopping.is_set():
                    break
                self.changed.wait(0.2)
        threads = [threading.Thread(target=server.stop, args=(grace,), daemon=True) for server in servers]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join()


def build_log_group_name(endpoint: str) -> str:
    """Return the name of the log group of an endpoint's containers."""
    return f"/aws/sagemaker/Endpoints/{endpoint}"
