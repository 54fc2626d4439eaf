"""Continuous upload of a running job's folders to S3: outputs, checkpoints, TensorBoard's events."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from local.services.sagemaker.jobs import transfer


@dataclass(frozen=True)
class Place:
    """A folder on each host, and the S3 URL to which their files are uploaded.

    Attributes:
        key: The KMS key to encrypt with, if any.
    """

    folders: Sequence[Path]
    url: str
    key: str | None = None


class Continuous:
    """An uploader of files that are new or changed since its last upload."""

    def __init__(self, s3: Any, places: Sequence[Place]) -> None:
        self._s3 = s3
        self._places = places
        self._seen: dict[Path, tuple[int, int]] = {}

    def __bool__(self) -> bool:
        return bool(self._places)

    def upload(self) -> None:
        """Upload the new and changed files.

        Raises:
            TransferError: A file cannot be uploaded.
        """
        for place in self._places:
            fresh = {}
            for name, path in transfer.list_files(*place.folders).items():
                try:
                    about = path.stat()
                except FileNotFoundError:
                    # The job removed it since the listing.
                    continue
                mark = (about.st_mtime_ns, about.st_size)
                if self._seen.get(path) != mark:
                    self._seen[path] = mark
                    fresh[name] = path
            transfer.upload(self._s3, fresh, place.url, place.key, live=True)
