"""Snapshots of moto's state on disk: one pickle per service, and the bodies of S3 objects once each.

A pickle is written to a new file and renamed, so that a complete one always exists. Bodies are stored under
``objects/<sha256>``; a snapshot holds only their names and so never rewrites them. A pickle that cannot be read, such
as one of another release of moto, is renamed and logged, never deleted.
"""

from __future__ import annotations

import io
import json
import logging
import sys
import threading
import time
from pathlib import Path
from types import SimpleNamespace
from typing import Any

from local.files import UNREADABLE, write_atomically
from local.services.moto.mount import SERVICES, MotoMount
from local.services.moto.pickles import Bodies, Body, dump, load
from local.services.moto.undo import Undo

log = logging.getLogger(__name__)

#: The version of our file format, not of moto.
_FORMAT = 1

#: The minimum seconds between two snapshots, and the largest share of the time that they may take.
INTERVAL = 3.0
_SHARE = 0.05
#: The seconds after which metrics of the cloud's own parts are saved, too: nobody misses some of them.
_OWN_INTERVAL = 30.0


class Snapshots:
    """The snapshots of moto's backends on disk.

    Args:
        state: The cloud's state folder, in which this class owns ``moto/`` and ``objects/``.
        mount: The mounted services.
    """

    def __init__(self, state: Path, mount: MotoMount) -> None:
        self._folder = state / "moto"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._mount = mount
        self._bodies = Bodies(state / "objects")
        self._failed: set[str] = set()
        self._saving = threading.Lock()
        self._own_saved = 0.0
        mount.undo = Undo(self._bodies)

    def load(self) -> None:
        """Restore what the last daemon saved; call this once, before moto answers any request."""
        import moto.s3.models

        # Bodies replace moto's temporary files: they take no memory and outlive the process.
        moto.s3.models.tempfile = SimpleNamespace(  # type: ignore[assignment,attr-defined]
            SpooledTemporaryFile=lambda *_args, **_kwargs: Body(self._bodies)
        )
        # What a killed daemon did not finish writing.
        for draft in (*self._folder.glob(".*"), *self._folder.glob("*.new")):
            draft.unlink()
        for path in sorted(self._folder.glob("*.pickle")):
            self._load(path)
        if not list(self._folder.glob(f"s3{UNREADABLE}*")):
            removed = self._bodies.sweep()
            log.info("removed %d bodies that no S3 object has any more", removed)

    def _load(self, path: Path) -> None:
        service = path.name.removesuffix(".pickle")
        try:
            with path.open("rb") as file:
                _check(json.loads(file.readline()))
                backends = load(file, self._bodies)
            _install(service, backends)
        except Exception as error:
            aside = path.with_name(f"{service}{UNREADABLE}{int(time.time())}")
            path.rename(aside)
            log.exception(
                "the state of %s could not be read (%s); it starts empty, what was read is kept in %s",
                service,
                error,
                aside,
            )

    def save_regularly(self, stopping: threading.Event) -> None:
        """Save what changed, every few seconds, until ``stopping`` is set.

        Args:
            stopping: The event that ends the work, without a last save.
        """
        pause = INTERVAL
        while not stopping.wait(pause):
            pause = max(INTERVAL, self.save(at_once=False) / _SHARE)

    def save(self, *, at_once: bool = True) -> float:
        """Save the services that changed since the last call.

        Args:
            at_once: Whether metrics of the cloud's own parts are saved now, too.

        Returns:
            The seconds for which requests were blocked.
        """
        with self._saving:
            with self._mount.lock:
                started = time.monotonic()
                changed = sorted(self._take_changed(started, at_once))
                pickles = {service: self._pickled(service) for service in changed}
                held = time.monotonic() - started
            self._bodies.sync()
            for service, data in pickles.items():
                if data is not None:
                    write_atomically(self._folder / f"{service}.pickle", data)
        return held

    def _take_changed(self, now: float, at_once: bool) -> set[str]:
        """Return the backends that are to be saved now, and forget that they have changed."""
        changed = set(self._mount.changed)
        self._mount.changed.clear()
        if at_once or changed & self._mount.own_changed or now - self._own_saved >= _OWN_INTERVAL:
            changed |= self._mount.own_changed
            self._mount.own_changed.clear()
            self._own_saved = now
        return changed

    def _pickled(self, service: str) -> bytes | None:
        out = io.BytesIO()
        out.write(json.dumps(_header()).encode() + b"\n")
        try:
            dump(_backends(service), out)
        except Exception:
            if service not in self._failed:
                log.exception("the state of %s cannot be saved: it will be lost when this daemon ends", service)
            self._failed.add(service)
            return None
        self._failed.discard(service)
        return out.getvalue()


def _header() -> dict[str, Any]:
    import moto

    return {"format": _FORMAT, "moto": moto.__version__, "python": list(sys.version_info[:2])}


def _check(header: dict[str, Any]) -> None:
    if header != _header():
        raise ValueError(f"it was written by {json.dumps(header)}, this is {json.dumps(_header())}")


def _backends(service: str) -> dict[str, dict[str, Any]]:
    """Return a service's backends by account and region."""
    from moto.backends import get_backend

    backend: Any = get_backend(service)  # type: ignore[call-overload]
    return {account: dict(regions) for account, regions in backend.items()}


def _install(service: str, backends: dict[str, dict[str, Any]]) -> None:
    from moto.backends import get_backend

    if service not in {known.backend for known in SERVICES.values()}:
        raise ValueError(f"the local cloud has no service {service}")
    live: Any = get_backend(service)  # type: ignore[call-overload]
    for account, regions in backends.items():
        for region, backend in regions.items():
            live[account][region] = backend
            if service == "s3":
                _own_buckets(live, account, region, backend)
            if service == "logs":
                _count_on(backend)


def _own_buckets(live: Any, account: str, partition: str, backend: Any) -> None:
    """Register the owners of buckets with moto.

    moto keeps them outside of its backends, and would let a bucket without an owner be created again.
    """
    for name in (*backend.buckets, *backend.table_buckets):
        live.bucket_accounts[name] = (partition, account)


def _count_on(backend: Any) -> None:
    """Make moto number further log events after the restored ones, because its pagination uses these numbers."""
    from moto.logs.models import LogEvent

    numbers = (
        event.event_id
        for group in backend.groups.values()
        for stream in group.streams.values()
        for event in stream.events
    )
    LogEvent._event_id = max(LogEvent._event_id, max(numbers, default=-1) + 1)
