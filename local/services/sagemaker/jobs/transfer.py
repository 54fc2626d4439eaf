"""Transfers between S3 and a job's folders: objects of a data source, trees of files, archives.

An archive depends only on names, contents and the executable bit: equal content gives equal bytes.
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
from tempfile import SpooledTemporaryFile
from typing import IO, Any, cast

from botocore.exceptions import BotoCoreError, ClientError

from local.errors import LocalError

#: The number of parallel requests; less than the ten connections that a boto3 client keeps open.
PARALLEL = 8

_CHUNK = 1 << 20


class TransferError(LocalError):
    """Data that could not be transferred; the message names it and the reason."""


@dataclass(frozen=True)
class Item:
    """One object and its target path, relative to the folder of its data source."""

    bucket: str
    key: str
    path: str

    @property
    def url(self) -> str:
        """The object's S3 URL."""
        return f"s3://{self.bucket}/{self.key}"


def parse_s3_url(url: str) -> tuple[str, str]:
    """Return bucket and key of an ``s3://`` URL.

    Args:
        url: The URL; the key in it may be empty.

    Raises:
        TransferError: The text is not such a URL.
    """
    bucket, _, key = url.removeprefix("s3://").partition("/")
    if not url.startswith("s3://") or not bucket:
        raise TransferError(f"'{url}' is not an S3 URI; expected s3://bucket/key")
    return bucket, key


def require_objects(s3: Any, url: str, data_type: str = "S3Prefix") -> list[Item]:
    """Return the objects of a data source, sorted by URL.

    ``S3Prefix`` is a raw key prefix: ``s3://b/in`` also finds ``in_old/x``. An object's path is the part of its key
    after the prefix; if the prefix ends within a name, the path begins with that whole name. ``ManifestFile`` is a file
    with a common prefix and the objects below it.

    Raises:
        TransferError: No objects exist, or they cannot be listed.
    """
    items = list_objects(s3, url, data_type)
    if not items:
        raise TransferError(
            f'Data download failed: No S3 objects found under S3 URL "{url}" given in input data source. '
            "Please ensure that the bucket exists and that objects exist under that S3 prefix."
        )
    return items


def list_objects(s3: Any, url: str, data_type: str = "S3Prefix") -> list[Item]:
    """Return the objects of a data source, sorted by URL; the list may be empty.

    Raises:
        TransferError: They cannot be listed.
    """
    bucket, prefix = parse_s3_url(url)
    try:
        items = _read_manifest(s3, bucket, prefix) if data_type == "ManifestFile" else _list_prefix(s3, bucket, prefix)
    except (ClientError, BotoCoreError) as error:
        raise TransferError(f'Data download failed: S3 URL "{url}": {error}') from error
    return sorted(items, key=lambda item: item.url)


def _list_prefix(s3: Any, bucket: str, prefix: str) -> list[Item]:
    items = []
    for page in s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for found in page.get("Contents", ()):
            key = found["Key"]
            rest = key[len(prefix) :]
            if prefix and not prefix.endswith("/") and not rest.startswith("/"):
                rest = key[prefix.rfind("/") + 1 :]
            path = rest.lstrip("/")
            # Keys that end in a slash are folder markers, which consoles create.
            if path and not path.endswith("/"):
                items.append(Item(bucket, key, path))
    return items


def _read_manifest(s3: Any, bucket: str, key: str) -> list[Item]:
    body = s3.get_object(Bucket=bucket, Key=key)["Body"].read()
    try:
        head, *names = json.loads(body)
        common_bucket, common = parse_s3_url(head["prefix"])
    except (ValueError, TypeError, KeyError) as error:
        raise TransferError(
            f's3://{bucket}/{key} is not a manifest; expected [{{"prefix": "s3://bucket/prefix/"}}, "name", …]'
        ) from error
    return [Item(common_bucket, common + name, name.lstrip("/")) for name in names]


def select_shard(items: list[Item], host: int, hosts: int) -> list[Item]:
    """Return about one ``hosts``-th of the objects: those of host number ``host``, counted from 0."""
    return items[host::hosts]


def download(s3: Any, items: Iterable[Item], folder: Path) -> None:
    """Copy objects into a folder, several at a time.

    Raises:
        TransferError: An object cannot be copied, or its path would leave the folder.
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

    _run_parallel(one, items)


def upload(s3: Any, files: Mapping[str, Path], url: str, key: str | None = None, *, live: bool = False) -> None:
    """Upload files by their path relative to the URL; other existing objects remain.

    Args:
        s3: The S3 client.
        files: The files by path relative to the URL.
        url: The S3 URL below which they are put.
        key: The KMS key to encrypt with, if any.
        live: Whether the job that writes the files still runs. A file is then copied before it is sent, because S3
            refuses a body that changes on the way, and a file that no longer exists is skipped.

    Raises:
        TransferError: A file cannot be uploaded.
    """
    bucket, prefix = parse_s3_url(url)
    encryption = {"ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key} if key else {}

    def one(entry: tuple[str, Path]) -> None:
        name = f"{prefix.rstrip('/')}/{entry[0]}".lstrip("/")
        try:
            with _open_copy(entry[1]) if live else entry[1].open("rb") as body:
                s3.put_object(Bucket=bucket, Key=name, Body=body, **encryption)
        except FileNotFoundError as error:
            if not live:
                raise TransferError(f'Artifact upload failed: "s3://{bucket}/{name}": {error}') from error
        except (ClientError, BotoCoreError, OSError) as error:
            raise TransferError(f'Artifact upload failed: "s3://{bucket}/{name}": {error}') from error

    _run_parallel(one, files.items())


def _open_copy(path: Path) -> IO[bytes]:
    copy = SpooledTemporaryFile(max_size=8 * _CHUNK)  # noqa: SIM115 - the caller closes it
    with path.open("rb") as body:
        shutil.copyfileobj(body, copy, _CHUNK)
    copy.seek(0)
    return cast(IO[bytes], copy)


def _run_parallel(action: Any, things: Iterable[Any]) -> None:
    things = list(things)
    if len(things) == 1:
        action(things[0])
    elif things:
        with ThreadPoolExecutor(min(PARALLEL, len(things)), "transfer") as pool:
            list(pool.map(action, things))


def list_files(*folders: Path) -> dict[str, Path]:
    """Return all files of the folders by relative path, sorted; of equal paths the first folder's file.

    Raises:
        TransferError: A folder contains a symbolic link, which SageMaker does not accept either.
    """
    files: dict[str, Path] = {}
    for folder in folders:
        # Unlike Path.rglob, os.walk continues when a folder is deleted meanwhile.
        for parent, folders_there, names in os.walk(folder):
            for name in (*folders_there, *names):
                path = Path(parent, name)
                if path.is_symlink():
                    raise TransferError(f"Artifact upload failed: {path.relative_to(folder)} is a symbolic link")
                if path.is_file():
                    files.setdefault(path.relative_to(folder).as_posix(), path)
    return dict(sorted(files.items()))


def write_archive(files: Mapping[str, Path], target: Path) -> None:
    """Write files to a ``tar.gz`` under the given names."""
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
