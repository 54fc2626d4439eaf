"""Model archives, unpacked within bounds: what is small when it is sent cannot fill the disk or the memory."""

from __future__ import annotations

import gzip
import tarfile
import zlib
from pathlib import Path
from typing import IO

from local.errors import LocalError

#: The most files of an archive, and the most bytes that it may hold.
MAX_FILES = 20_000
MAX_BYTES = 20 * 2**30
#: Above this size, an archive may not hold more than so many times its own bytes. Text compresses 3 to 10 times.
FREE_BYTES = 256 * 2**20
MAX_RATIO = 200
#: A header of an archive is read at once; none needs more.
_MAX_READ = 16 * 2**20


class ArchiveError(LocalError):
    """An archive that is none, or holds more than it may."""


class _Bounded:
    """The unpacked bytes of an archive, as far as they may be read."""

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

    Raises:
        ArchiveError: It is no such archive, or holds too many files, too many bytes, or a path outside the folder.
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
