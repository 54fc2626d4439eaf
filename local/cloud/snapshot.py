"""What moto holds in memory, kept on disk: one pickle per service, and the bodies of S3 objects once each.

A pickle is written whole to a new file and renamed, so that there is always a good one. Bodies live under
``objects/<sha256>``; a snapshot holds only their names and so never rewrites them. A pickle that cannot be read,
such as one of another release of moto, is put aside under another name and said so, never dropped.
"""

from __future__ import annotations

import copyreg
import hashlib
import importlib
import io
import json
import logging
import marshal
import os
import pickle
import sys
import threading
import time
from pathlib import Path
from types import FunctionType, SimpleNamespace
from typing import TYPE_CHECKING, Any

from local.cloud.iam import kept_policies
from local.cloud.moto_mount import SERVICES, MotoMount
from local.cloud.undo import Undo

if TYPE_CHECKING:
    from _typeshed import SupportsRead

log = logging.getLogger(__name__)

#: Of our file, not of moto.
_FORMAT = 1

#: A snapshot at most so often, in seconds, and never for more than this share of the time.
INTERVAL = 3.0
_SHARE = 0.05


class Bodies:
    """The bodies of S3 objects, each stored once under its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsynced: set[str] = set()
        self._referenced: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Store ``data``; its SHA-256."""
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / digest
        if not path.exists():
            new = path.with_suffix(f".{threading.get_ident()}.new")
            new.write_bytes(data)
            new.replace(path)
            self._unsynced.add(digest)
        return digest

    def read(self, digest: str, start: int, size: int) -> bytes:
        """``size`` bytes from ``start``; to the end when ``size`` is negative."""
        with (self._folder / digest).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def sync(self) -> None:
        """Bring what was stored since the last call through to the disk."""
        while self._unsynced:
            _fsync(self._folder / self._unsynced.pop())

    def restore(self, digest: str) -> Body:
        """The body of an object that a snapshot names.

        Raises:
            FileNotFoundError: When it is not stored.
        """
        if not (self._folder / digest).is_file():
            raise FileNotFoundError(f"the body {digest} of an S3 object is not in {self._folder}")
        self._referenced.add(digest)
        return Body(self, digest)

    def sweep(self) -> int:
        """Remove every body that :meth:`restore` was not asked for; how many."""
        unused = [path for path in self._folder.iterdir() if path.name not in self._referenced]
        for path in unused:
            path.unlink()
        self._referenced.clear()
        return len(unused)


class Body:
    """The part of a temporary file that moto uses for an object's body, on stored bytes."""

    def __init__(self, bodies: Bodies, digest: str | None = None) -> None:
        self._bodies = bodies
        self._position = 0
        self.digest = digest

    def seek(self, position: int) -> int:
        self._position = position
        return position

    def truncate(self) -> None:
        if self._position:
            raise io.UnsupportedOperation("a body is replaced whole: truncate(0) only")
        self.digest = None

    def write(self, data: bytes) -> int:
        if self.digest is not None:
            raise io.UnsupportedOperation("a body is written once")
        self.digest = self._bodies.put(bytes(data))
        self._position = len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        if self.digest is None:
            return b""
        data = self._bodies.read(self.digest, self._position, size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Nothing is held open."""


class Snapshots:
    """moto's backends on disk.

    Args:
        state: The cloud's state folder; this owns ``moto/`` and ``objects/`` in it.
    """

    def __init__(self, state: Path, mount: MotoMount) -> None:
        self._folder = state / "moto"
        self._folder.mkdir(parents=True, exist_ok=True)
        self._mount = mount
        self._bodies = Bodies(state / "objects")
        self._failed: set[str] = set()
        self._saving = threading.Lock()
        mount.undo = Undo(self._bodies)

    def load(self) -> None:
        """Put back what the last daemon left; call it once, before moto answers anything."""
        import moto.s3.models

        # Instead of moto's temporary files: bodies then cost no memory and outlive the process.
        moto.s3.models.tempfile = SimpleNamespace(  # type: ignore[assignment,attr-defined]
            SpooledTemporaryFile=lambda *_args, **_kwargs: Body(self._bodies)
        )
        for new in self._folder.glob("*.new"):
            new.unlink()
        for path in sorted(self._folder.glob("*.pickle")):
            self._load(path)
        if not list(self._folder.glob("s3.pickle.unreadable-*")):
            removed = self._bodies.sweep()
            log.info("removed %d bodies that no S3 object has any more", removed)

    def _load(self, path: Path) -> None:
        service = path.name.removesuffix(".pickle")
        try:
            with path.open("rb") as file:
                _check(json.loads(file.readline()))
                backends = _Unpickler(file, self._bodies).load()
            _install(service, backends)
        except Exception as error:
            aside = path.with_name(f"{path.name}.unreadable-{int(time.time())}")
            path.rename(aside)
            log.exception(
                "the state of %s could not be read (%s); it starts empty, what was read is kept in %s",
                service,
                error,
                aside,
            )

    def keep(self, stopping: threading.Event) -> None:
        """Save what changes, every few seconds, until ``stopping``."""
        pause = INTERVAL
        while not stopping.wait(pause):
            pause = max(INTERVAL, self.save() / _SHARE)

    def save(self) -> float:
        """Save the services that changed since the last time; the seconds that requests were held up."""
        with self._saving:
            with self._mount.lock:
                started = time.monotonic()
                changed = sorted(self._mount.changed)
                self._mount.changed.clear()
                pickles = {service: self._pickled(service) for service in changed}
                held = time.monotonic() - started
            self._bodies.sync()
            for service, data in pickles.items():
                if data is not None:
                    _write(self._folder / f"{service}.pickle", data)
        return held

    def _pickled(self, service: str) -> bytes | None:
        out = io.BytesIO()
        out.write(json.dumps(_header()).encode() + b"\n")
        try:
            _Pickler(out).dump(_backends(service))
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
    """A service's backends by account and region."""
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
    """Tell moto whose the buckets are: it knows beside its backends, and lets one without an owner be made anew."""
    for name in (*backend.buckets, *backend.table_buckets):
        live.bucket_accounts[name] = (partition, account)


def _count_on(backend: Any) -> None:
    """Let moto number further log events after those that there are: its pages go on by these numbers."""
    from moto.logs.models import LogEvent

    numbers = (
        event.event_id
        for group in backend.groups.values()
        for stream in group.streams.values()
        for event in stream.events
    )
    LogEvent._event_id = max(LogEvent._event_id, max(numbers, default=-1) + 1)


# -- pickling --------------------------------------------------------------------------------------------------------


class _Pickler(pickle.Pickler):
    """Pickles what moto's backends hold beyond plain data: bodies by name, locks as new ones, keys as DER."""

    def __init__(self, file: io.BytesIO) -> None:
        super().__init__(file, protocol=5)
        self.dispatch_table = copyreg.dispatch_table | {
            type(threading.Lock()): lambda _lock: (threading.Lock, ()),
            type(threading.RLock()): lambda _lock: (threading.RLock, ()),
        }

    def persistent_id(self, obj: Any) -> Any:
        if type(obj) is Body:
            return obj.digest or ""
        if type(obj).__name__ == "AWSManagedPolicy":
            return ("policy", obj.arn, obj.attachment_count)
        return None

    def reducer_override(self, obj: Any) -> Any:
        kind = type(obj)
        if kind.__module__ == "moto.s3.models" and kind.__name__ == "FakeKey":
            # Its own state would hold the body's bytes.
            return copyreg.__newobj__, (kind,), dict(vars(obj)), None, None, _set_state  # type: ignore[attr-defined]
        if kind.__module__.startswith("moto.") and issubclass(kind, dict):
            # moto's mappings override the very methods through which pickle reads and fills a mapping.
            state = (list(dict.items(obj)), vars(obj), getattr(obj, "default_factory", None))
            return kind.__new__, (kind,), state, None, None, _fill
        if kind.__module__ == "moto.iam.models" and kind.__name__ == "IAMBackend":
            # AWS's policies are AWS's; what is attached of them is kept by its name.
            kept = {**vars(obj), "aws_managed_policies": [], "managed_policies": kept_policies(obj)}
            return copyreg.__newobj__, (kind,), kept, None, None, _set_state  # type: ignore[attr-defined]
        if kind is FunctionType and "<locals>" in obj.__qualname__ and not obj.__closure__:
            # The factory of a defaultdict: by its code, which the header's version of Python makes safe.
            return _function, (obj.__module__, obj.__name__, marshal.dumps(obj.__code__))
        if kind.__module__.startswith("cryptography.") and hasattr(obj, "private_bytes"):
            return _private_key, (_der(obj),)
        return NotImplemented


def dump(what: Any, file: io.BytesIO) -> None:
    """Pickle something that moto holds, as snapshots do."""
    _Pickler(file).dump(what)


def unpickle(data: bytes, bodies: Bodies) -> Any:
    """Return what :func:`dump` has written."""
    return _Unpickler(io.BytesIO(data), bodies).load()


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: SupportsRead[bytes], bodies: Bodies) -> None:
        super().__init__(file)  # type: ignore[arg-type]
        self._bodies = bodies

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple):
            from local.cloud.iam import managed_policies

            _, arn, attachments = pid
            policy = managed_policies()[arn]
            policy.attachment_count = attachments
            return policy
        return self._bodies.restore(pid) if pid else Body(self._bodies)


def _set_state(obj: Any, state: dict[str, Any]) -> None:
    vars(obj).update(state)


def _fill(mapping: Any, state: tuple[list[tuple[Any, Any]], dict[str, Any], Any]) -> None:
    items, attributes, factory = state
    for key, value in items:
        dict.__setitem__(mapping, key, value)
    vars(mapping).update(attributes)
    if factory is not None:
        mapping.default_factory = factory


def _function(module: str, name: str, code: bytes) -> FunctionType:
    return FunctionType(marshal.loads(code), vars(importlib.import_module(module)), name)


def _der(key: Any) -> bytes:
    from cryptography.hazmat.primitives import serialization as s

    return bytes(key.private_bytes(s.Encoding.DER, s.PrivateFormat.PKCS8, s.NoEncryption()))


def _private_key(der: bytes) -> Any:
    from cryptography.hazmat.primitives.serialization import load_der_private_key

    return load_der_private_key(der, password=None)


# -- files -----------------------------------------------------------------------------------------------------------


def _write(path: Path, data: bytes) -> None:
    new = path.with_name(f"{path.name}.new")
    with new.open("wb") as file:
        file.write(data)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _fsync(path.parent)


def _fsync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
