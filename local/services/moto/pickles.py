"""Pickling of moto's state: bodies of S3 objects are stored once each on disk, locks recreated, keys kept as DER."""

from __future__ import annotations

import copyreg
import hashlib
import importlib
import io
import marshal
import pickle
import sys
import threading
from pathlib import Path
from types import FunctionType
from typing import TYPE_CHECKING, Any

from local.files import sync_file, write_atomically
from local.services.iam import list_kept_policies

if TYPE_CHECKING:
    from _typeshed import SupportsRead


class Bodies:
    """The bodies of S3 objects, each stored once under its SHA-256."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._unsynced: set[str] = set()
        self._referenced: set[str] = set()
        folder.mkdir(parents=True, exist_ok=True)

    def put(self, data: bytes) -> str:
        """Store ``data``; :meth:`sync` flushes it to the disk.

        Args:
            data: A whole body.

        Returns:
            Its SHA-256 in hexadecimal digits.
        """
        digest = hashlib.sha256(data).hexdigest()
        path = self._folder / digest
        if not path.exists():
            write_atomically(path, data, sync=False)
            self._unsynced.add(digest)
        return digest

    def read(self, digest: str, start: int, size: int) -> bytes:
        """Return ``size`` bytes from ``start``, or all to the end if ``size`` is negative.

        Args:
            digest: The SHA-256 of a stored body.
            start: The offset of the first byte.
            size: The number of bytes; fewer are returned where the body ends.
        """
        with (self._folder / digest).open("rb") as file:
            file.seek(start)
            return file.read(size)

    def sync(self) -> None:
        """Flush the bodies that were stored since the last call to the disk."""
        while self._unsynced:
            sync_file(self._folder / self._unsynced.pop())

    def restore(self, digest: str) -> Body:
        """Return the body of an object in a snapshot.

        Args:
            digest: Its SHA-256; the next :meth:`sweep` keeps it.

        Raises:
            FileNotFoundError: It is not stored.
        """
        if not (self._folder / digest).is_file():
            raise FileNotFoundError(f"the body {digest} of an S3 object is not in {self._folder}")
        self._referenced.add(digest)
        return Body(self, digest)

    def sweep(self) -> int:
        """Remove every body that :meth:`restore` did not return, and return how many were removed."""
        unused = [path for path in self._folder.iterdir() if path.name not in self._referenced]
        for path in unused:
            path.unlink()
        self._referenced.clear()
        return len(unused)


class Body:
    """An S3 object's body in :class:`Bodies`, with the file methods that moto uses."""

    def __init__(self, bodies: Bodies, digest: str | None = None) -> None:
        self._bodies = bodies
        self._position = 0
        self.digest = digest

    def seek(self, position: int) -> int:
        """Set the position of the next read.

        Args:
            position: The offset in bytes from the start of the body.

        Returns:
            The position.
        """
        self._position = position
        return position

    def truncate(self) -> None:
        """Empty the body; its position must be 0.

        Raises:
            UnsupportedOperation: The position is not 0.
        """
        if self._position:
            raise io.UnsupportedOperation("a body is replaced whole: truncate(0) only")
        self.digest = None

    def write(self, data: bytes) -> int:
        """Store ``data`` as the whole body, which must be empty.

        Args:
            data: The whole body.

        Returns:
            Its length in bytes.

        Raises:
            UnsupportedOperation: The body is not empty.
        """
        if self.digest is not None:
            raise io.UnsupportedOperation("a body is written once")
        self.digest = self._bodies.put(bytes(data))
        self._position = len(data)
        return len(data)

    def read(self, size: int = -1) -> bytes:
        """Return ``size`` bytes from the position, or all to the end if ``size`` is negative.

        Args:
            size: The number of bytes; fewer are returned where the body ends.
        """
        if self.digest is None:
            return b""
        data = self._bodies.read(self.digest, self._position, size)
        self._position += len(data)
        return data

    def close(self) -> None:
        """Do nothing: no file is held open."""


class _Pickler(pickle.Pickler):
    """A pickler of moto's backends: it writes bodies by name, locks as new ones and keys as DER."""

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
            # The state from its own __getstate__ would include the body's bytes.
            return copyreg.__newobj__, (kind,), dict(vars(obj)), None, None, _set_state  # type: ignore[attr-defined]
        if kind.__module__.startswith("moto.") and issubclass(kind, dict):
            # moto's mappings override the methods with which pickle reads and fills a mapping.
            state = (list(dict.items(obj)), vars(obj), getattr(obj, "default_factory", None))
            return kind.__new__, (kind,), state, None, None, _fill
        if kind.__module__ == "moto.iam.models" and kind.__name__ == "IAMBackend":
            # AWS's managed policies are left out; those that are attached are kept by their ARN.
            kept = {**vars(obj), "aws_managed_policies": [], "managed_policies": list_kept_policies(obj)}
            return copyreg.__newobj__, (kind,), kept, None, None, _set_state  # type: ignore[attr-defined]
        if kind is FunctionType and "<locals>" in obj.__qualname__ and not obj.__closure__:
            # The factory of a defaultdict is kept as its code, which is safe: the header has Python's version.
            return _function, (obj.__module__, obj.__name__, marshal.dumps(obj.__code__))
        if kind.__module__.startswith("cryptography.") and hasattr(obj, "private_bytes"):
            return _private_key, (_der(obj),)
        return NotImplemented


def dump(what: Any, file: io.BytesIO) -> None:
    """Pickle an object of moto's in the format of snapshots.

    Args:
        what: The object: a backend, or backends by account and region.
        file: The buffer to which the pickle is appended.
    """
    _Pickler(file).dump(what)


def load(file: SupportsRead[bytes], bodies: Bodies) -> Any:
    """Return what :func:`dump` has written to a file.

    Args:
        file: The file, read from its position; it must come from this cloud, because a pickle can run any code.
        bodies: The bodies of S3 objects that the file refers to.

    Raises:
        FileNotFoundError: A body that the file refers to is not stored.
    """
    return _Unpickler(file, bodies).load()


def unpickle(data: bytes, bodies: Bodies) -> Any:
    """Return what :func:`dump` has written."""
    return load(io.BytesIO(data), bodies)


class _Unpickler(pickle.Unpickler):
    def __init__(self, file: SupportsRead[bytes], bodies: Bodies) -> None:
        super().__init__(file)  # type: ignore[arg-type]
        self._bodies = bodies

    def persistent_load(self, pid: Any) -> Any:
        if isinstance(pid, tuple):
            from local.services.iam import load_managed_policies

            _, arn, attachments = pid
            policy = load_managed_policies()[arn]
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


#: Snapshots refer to these functions by the module that first defined them, so that earlier and later versions can
#: read each other's.
_FIRST = "local.cloud.snapshot"
sys.modules.setdefault(_FIRST, sys.modules[__name__])
for _each in (_set_state, _fill, _function, _private_key):
    _each.__module__ = _FIRST
