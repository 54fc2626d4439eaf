"""Unpacking of model archives within limits, so that a small archive cannot fill the disk or the memory."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path
from typing import IO

from local.errors import LocalError

#: The maximum number of files in an archive, and of unpacked bytes.
MAX_FILES = 20_000
MAX_BYTES = 20 * 2**30
#: Unpacked bytes that are always allowed; above them, the maximum ratio to the packed size. Text has ratios of 3 to 10.
FREE_BYTES = 256 * 2**20
MAX_RATIO = 200
#: The maximum bytes of one read: tarfile reads a header at once, and no header needs more.
_MAX_READ = 16 * 2**20


class ArchiveError(LocalError):
    """A file that is not a valid archive, or one that exceeds the limits."""


class _Bounded:
    """A reader of an archive's unpacked bytes that refuses to exceed the limits."""

    def __init__(self, packed: IO[bytes]) -> None:
        packed.seek(0, 2)
        self._limit = min(MAX_BYTES, max(FREE_BYTES, MAX_RATIO * packed.tell()))
        packed.seek(0)
        self._file = gzip.GzipFile(fileobj=packed)

    def read(self, size: int = -1) -> bytes:
        if size < 0 or size > _MAX_READ:
            raise ArchiveError(f"a header of it has {size:,} bytes; at most {_MAX_READ:,}")
        found = self._file.read(size)
        self._check()
        return found

    def tell(self) -> int:
        return self._file.tell()

    def seek(self, position: int) -> int:
        if position > self._limit:
            raise self._too_much()
        return self._file.seek(position)

    def _check(self) -> None:
        if self._file.tell() > self._limit:
            raise self._too_much()

    def _too_much(self) -> ArchiveError:
        return ArchiveError(f"it unpacks to more than {self._limit:,} bytes")


def unpack(packed: IO[bytes], folder: Path) -> None:
    """Unpack a ``tar.gz`` into a folder.

    Args:
        packed: The archive, as a seekable file.
        folder: The folder to write to, which keeps what was unpacked before an error.

    Raises:
        ArchiveError: It is not a ``tar.gz``, or contains too many files, too many bytes, or a path outside the folder.
    """
    count = 0
    try:
        with tarfile.open(fileobj=_Bounded(packed), mode="r:") as tar:  # type: ignore[call-overload]
            for member in tar:
                count += 1
                if count > MAX_FILES:
                    raise ArchiveError(f"it has more than {MAX_FILES:,} files")
                tar.extract(member, folder, filter="data")
    except (tarfile.TarError, EOFError, OSError, zlib.error) as error:
        raise ArchiveError(str(error)) from error
