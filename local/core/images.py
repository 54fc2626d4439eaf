"""Container images of this cloud: folders, found by the repository name in an image URI."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from pathlib import Path

from local.core.errors import validation_error


class Images:
    """The unpacked images this cloud can run.

    Args:
        folders: Repository name to the folder of the image, whose ``bin/`` holds its executables
            (``serve`` for endpoints, ``train`` for training jobs).

    Raises:
        ValueError: When a folder has no ``bin/``.
    """

    def __init__(self, folders: Mapping[str, Path]) -> None:
        self._folders = {name: Path(folder).resolve() for name, folder in folders.items()}
        for name, folder in self._folders.items():
            if not (folder / "bin").is_dir():
                raise ValueError(f"image {name}={folder}: no folder {folder / 'bin'}, where an image's executables are")

    @property
    def folders(self) -> dict[str, Path]:
        """The resolved folders of the images, by repository name."""
        return dict(self._folders)

    def resolve(self, image_uri: str) -> Path:
        """Return the folder of ``<registry>/<repository>[:tag|@digest]``; the registry and the tag do not matter.

        Args:
            image_uri: The URI of the image, with or without a registry.

        Raises:
            AwsError: ``ValidationException`` if no image has that repository name; the message lists the known names.
        """
        name = parse_repository_name(image_uri)
        folder = self._folders.get(name)
        if folder is None:
            known = ", ".join(sorted(self._folders)) or "none"
            raise validation_error(
                f"Requested image {image_uri} not found: the local cloud has no repository '{name}'; known: {known}. "
                f"Start it with `millrace local start --image {name}=FOLDER` to add one."
            )
        return folder

    def resolve_uri(self, image_uri: str) -> str:
        """Return the URI with the digest of the files that would run, as ``DeployedImages`` shows it.

        Args:
            image_uri: The URI of the image; one with a digest is returned unchanged.

        Raises:
            AwsError: ``ValidationException`` if no image has that repository name.
        """
        folder = self.resolve(image_uri)
        bare, _, given = image_uri.partition("@")
        if given:
            return image_uri
        head, slash, last = bare.rpartition("/")
        digest = hashlib.sha256()
        for file in sorted(path for path in (folder / "bin").iterdir() if path.is_file()):
            digest.update(file.name.encode() + b"\0" + file.read_bytes())
        return f"{head}{slash}{last.split(':')[0]}@sha256:{digest.hexdigest()}"


def parse_repository_name(image_uri: str) -> str:
    """Return an image URI's repository name: ``team/server`` of ``A.dkr.ecr.R.amazonaws.com/team/server:1``."""
    first, _, rest = image_uri.partition("@")[0].partition("/")
    path = rest if rest and ("." in first or ":" in first or first == "localhost") else image_uri.partition("@")[0]
    head, slash, last = path.rpartition("/")
    return f"{head}{slash}{last.split(':')[0]}"
