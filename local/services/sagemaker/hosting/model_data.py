"""The unpacked models of an endpoint, fetched once for each variant and then read-only."""

from __future__ import annotations

import contextlib
import shutil
import tempfile
import threading
from pathlib import Path

from botocore.exceptions import BotoCoreError, ClientError

from local.core.context import Cloud
from local.errors import LocalError
from local.services.sagemaker.hosting import archives

#: The suffix of the folders of unpacked models.
MODEL_SUFFIX = ".model"


class ModelDataError(LocalError):
    """A model archive that cannot be downloaded or unpacked; the message is AWS's."""


class ModelFolder:
    """The folder of a variant's unpacked model.

    Args:
        folder: The path of the folder, which need not exist yet.
        url: The archive's URL, `s3://…`; empty if the model has none.
    """

    def __init__(self, cloud: Cloud, region: str, folder: Path, url: str) -> None:
        self._cloud, self._region, self._folder, self._url = cloud, region, folder, url
        self._is_there = False
        self._unpacking = threading.Lock()

    def ensure(self) -> Path:
        """Return the folder; fetch and unpack the model on first use."""
        with self._unpacking:
            # An existing folder of this name is complete, and served before a restart.
            if not self._is_there:
                if not self._folder.is_dir():
                    self._fetch(self._folder)
                self._is_there = True
            return self._folder

    def _fetch(self, target: Path) -> None:
        new = target.with_name(f"{target.name}.new")
        remove_tree(new)
        new.mkdir(parents=True)
        if url := self._url:
            self._unpack(url, new)
        for path in (*new.rglob("*"), new):
            if not path.is_symlink():
                path.chmod(path.stat().st_mode & ~0o222)
        new.rename(target)

    def _unpack(self, url: str, target: Path) -> None:
        bucket, _, key = url.removeprefix("s3://").partition("/")
        with tempfile.TemporaryFile() as archive:
            try:
                self._cloud.client("s3", self._region).download_fileobj(bucket, key, archive)
            except (ClientError, BotoCoreError) as error:
                raise ModelDataError(f"Could not find model data at {url}. {error}") from error
            try:
                archives.unpack(archive, target)
            except archives.ArchiveError as error:
                raise ModelDataError(
                    f'Failed to extract model data archive for container "primary" from URL "{url}". Please ensure '
                    f"that the object located at the URL is a valid tar.gz archive. ({error})"
                ) from error


def build_fleet_folder_path(cloud: Cloud, region: str, endpoint: str, name: str) -> Path:
    """Return the folder of a fleet, which contains its models and its servers' folders."""
    return cloud.state / "endpoints" / region / endpoint / name


def remove_tree(folder: Path) -> None:
    """Remove a folder, even if it contains read-only folders; do nothing if it does not exist."""
    for path in [folder, *folder.rglob("*")] if folder.is_dir() else []:
        if path.is_dir() and not path.is_symlink():
            path.chmod(0o700)
    with contextlib.suppress(FileNotFoundError):
        shutil.rmtree(folder)
