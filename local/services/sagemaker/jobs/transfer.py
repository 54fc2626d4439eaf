"""What moves between S3 and a job's folders: objects of a data source, trees of files, archives.

An archive depends on names, contents and the executable bit alone: equal content gives equal bytes.
"""

from __future__ import annotations

import gzip
import json
import os
import shutil
import stat
import tarfile
from collections.abc import Iterable, Mapping
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from pathlib import Path, PurePosixPath
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError

#: Requests at a time; below the ten connections a boto3 client keeps open.
PARALLEL = 8

_CHUNK = 1 << 20


class TransferError(LocalError):
    """Data that could not be moved; the message says which and why."""


@dataclass(frozen=True)
class Item:
    """One object and where it goes, relative to the folder of its data source."""

    bucket: str
    key: str
    path: str

    @property
    def url(self) -> str:
        return f"s3://{self.bucket}/{self.key}"


def split(url: str) -> tuple[str, str]:
    """Bucket and key of an ``s3://`` URL.

    Raises:
        TransferError: When it is not one.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise TransferError(f"'{url}' is not an S3 URI; expected s3://bucket/key")
    return bucket, key


def find(s3: Any, url: str, data_type: str = "S3Prefix") -> list[Item]:
    """The objects of a data source, by key.

    ``S3Prefix`` is a raw key prefix: ``s3://b/in`` also finds ``in_old/x``. A path is what follows the prefix; where
    the prefix ends within a name, that name is kept whole. ``ManifestFile`` names a common prefix, then objects.

    Raises:
        TransferError: When there are none, or they cannot be listed.
    """
    items = list_objects(s3, url, data_type)
    if not items:
        raise TransferError(
            f'Data download failed: No S3 objects found under S3 URL "{url}" given in input data source. '
            "Please ensure that the bucket exists and that objects exist under that S3 prefix."
        )
    return items


def list_objects(s3: Any, url: str, data_type: str = "S3Prefix") -> list[Item]:
    """The objects of a data source, by key; none where there are none.

    Raises:
        TransferError: When they cannot be listed.
    """
    bucket, prefix = split(url)
    try:
        items = _manifest(s3, bucket, prefix) if data_type == "ManifestFile" else _prefix(s3, bucket, prefix)
    except (ClientError, BotoCoreError) as error:
        raise TransferError(f'Data download failed: S3 URL "{url}": {error}') from error
    return sorted(items, key=lambda item: item.url)


def _prefix(s3: Any, bucket: str, prefix: str) -> list[Item]:
    items = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            key = found["Key"]
            rest = key[len(prefix) :]
            if prefix and not prefix.endswith("/") and not rest.startswith("/"):
                rest = key[prefix.rfind("/") + 1 :]
            path = rest.lstrip("/")
            # Keys that end in a slash are what consoles make for folders.
            if path and not path.endswith("/"):
                items.append(Item(bucket, key, path))
    return items


def _manifest(s3: Any, bucket: str, key: str) -> list[Item]:
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        head, *names = json.loads(body)
        common_bucket, common = split(head["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise TransferError(
            f's3://{bucket}/{key} is not a manifest; expected [{{"prefix": "s3://bucket/prefix/"}}, "name", …]'
        ) from error
    return [Item(common_bucket, common + name, name.lstrip("/")) for name in names]


def shard(items: list[Item], host: int, hosts: int) -> list[Item]:
    """About one ``hosts``-th of the objects: those of host number ``host``."""
    return items[host::hosts]


def download(s3: Any, items: Iterable[Item], folder: Path) -> None:
    """Copy objects into a folder, several at a time.

    Raises:
        TransferError: When one cannot be had, or its path would leave the folder.
    """
    folder.mkdir(parents=True, exist_ok=True)

    def one(item: Item) -> None:
        if ".." in PurePosixPath(item.path).parts:
            raise TransferError(f'Data download failed: the path of "{item.url}" leaves its folder')
        target = folder / item.path
        try:
            target.parent.mkdir(parents=True, exist_ok=True)
            with target.open("wb") as file:
                shutil.copyfileobj(s3.get_object(Bucket=item.bucket, Key=item.key)["Body"], file, _CHUNK)
        except (ClientError, BotoCoreError, OSError) as error:
            raise TransferError(f'Data download failed: "{item.url}": {error}') from error

    _each(one, items)


def upload(s3: Any, files: Mapping[str, Path], url: str, key: str | None = None, *, may_vanish: bool = False) -> None:
    """Put files, by path relative to the URL; objects that are there already stay.

    Args:
        key: The KMS key to encrypt with, if any.
        may_vanish: Whether a file that is no longer there is left out.

    Raises:
        TransferError: When one cannot be put.
    """
    bucket, prefix = split(url)
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}

    def one(entry: tuple[str, Path]) -> None:
        name = f"{prefix.rstrip('/')}/{entry[0]}".lstrip("/")
        try:
            with entry[1].open("rb") as body:
                s3.put_object(Bucket=bucket, Key=name, Body=body, **encryption)
        except FileNotFoundError as error:
            if not may_vanish:
                raise TransferError(f'Artifact upload failed: "s3://{bucket}/{name}": {error}') from error
        except (ClientError, BotoCoreError, OSError) as error:
            raise TransferError(f'Artifact upload failed: "s3://{bucket}/{name}": {error}') from error

    _each(one, files.items())


def _each(action: Any, things: Iterable[Any]) -> None:
    things = list(things)
    if len(things) == 1:
        action(things[0])
    elif things:
        with ThreadPoolExecutor(min(PARALLEL, len(things)), "transfer") as pool:
            list(pool.map(action, things))


def tree(*folders: Path) -> dict[str, Path]:
    """All files of the folders by relative path, sorted; of equal paths the first folder's.

    Raises:
        TransferError: On a symbolic link, which SageMaker does not take either.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        # Unlike Path.rglob, os.walk goes on when a folder vanishes.
        for parent, folders_there, names in os.walk(folder):
            for name in (*folders_there, *names):
                path = Path(parent, name)
                if path.is_symlink():
                    raise TransferError(f"Artifact upload failed: {path.relative_to(folder)} is a symbolic link")
                if path.is_file():
                    files.setdefault(path.relative_to(folder).as_posix(), path)
    return dict(sorted(files.items()))


def archive(files: Mapping[str, Path], target: Path) -> None:
    """Write a ``tar.gz`` of files by their names in it."""
    with (
        target.open("wb") as raw,
        gzip.GzipFile(filename="", fileobj=raw, mode="wb", compresslevel=6, mtime=0) as zipped,
        tarfile.open(fileobj=zipped, mode="w", format=tarfile.PAX_FORMAT) as tar,
    ):
        for name, path in sorted(files.items()):
            about = path.stat()
            member = tarfile.TarInfo(name)
            member.size = about.st_size
            member.mode = 0o755 if about.st_mode & stat.S_IXUSR else 0o644
            with path.open("rb") as content:
                tar.addfile(member, content)
