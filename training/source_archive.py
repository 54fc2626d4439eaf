"""The source archive: what a build needs to deploy this revision, as one zip file that is named by its content.

It holds what git knows of the checkout, without tests, docs and benchmarks, and a list of it, from which a build, which
has no git checkout, makes the same archive again. Equal files give equal bytes: order, times and compression are fixed.
"""

from __future__ import annotations

import hashlib
import io
import re
import subprocess
import zipfile
from pathlib import Path
from typing import Final

from millrace.errors import MillraceError
from millrace.files import write_atomically
from training.bundle import SUFFIXES

#: The list of the files of an archive, in it.
MANIFEST: Final = ".source-files"
#: What no deployment reads.
_LEFT_OUT: Final = ("tests", "docs", "benchmarks", ".ci", ".github")
_STACK_FILE: Final = re.compile(r"stacks/Pulumi\.[^/]+\.yaml")
#: The fields that Pulumi writes into a stack's file when it creates the stack.
_KEYS: Final = (b"encryptionsalt:", b"encryptedkey:", b"secretsprovider:")


class SourceArchiveError(MillraceError):
    """A checkout of which no archive can be made."""


def build_source_archive(repository: Path, folder: Path, *, committed: bool) -> Path:
    """Write the archive of a checkout.

    Args:
        repository: The checkout, or the folder in which an archive was unpacked.
        folder: Where to write it; created if it does not exist.
        committed: Whether to refuse a checkout with changes that are not committed.

    Returns:
        The archive, `<folder>/<first 16 of its SHA-256>.zip`.

    Raises:
        SourceArchiveError: It is no git checkout, or has changes that are not committed.
    """
    unpacked = repository / MANIFEST
    # Not every tool that unpacks keeps the executable bits, so that the list has them.
    lines = unpacked.read_text().splitlines() if unpacked.is_file() else _list_files(repository, committed=committed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, MANIFEST, "".join(f"{line}\n" for line in lines).encode(), executable=False)
        for line in lines:
            mode, _, name = line.partition(" ")
            _add(archive, name, _strip_key(name, (repository / name).read_bytes()), executable=mode == "x")
    data = buffer.getvalue()
    made = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.zip"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(made, data)
    return made


def _list_files(repository: Path, *, committed: bool) -> list[str]:
    """Return a line for each file of a checkout, sorted by name: whether it can be executed, and its name.

    Raises:
        SourceArchiveError: It has changes that are not committed, and ``committed`` is set.
    """
    paths = [".", *(f":(exclude){name}" for name in _LEFT_OUT)]
    if committed and (changed := _find_changes(repository, paths)):
        named = ", ".join(changed[:5]) + (", …" if len(changed) > 5 else "")
        raise SourceArchiveError(
            f"the checkout {repository.name}",
            f"has changes that are not committed, in {named}: what a build deploys could not be told from a commit",
            fix="commit them, or put them away with `git stash --include-untracked`",
        )
    listed = _run_git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    # Files that git ignores would be in the bundle of a checkout, and not in that of a build.
    ignored = _run_git(repository, "ls-files", "-z", "--others", "--ignored", "--exclude-standard", "--", "stacks")
    if lost := sorted(name for name in ignored.split("\0") if Path(name).suffix in SUFFIXES and not _is_cache(name)):
        raise SourceArchiveError(
            f"the checkout {repository.name}",
            f"has files that git ignores and jobs get: {', '.join(lost[:5])}; a build could not make the same code",
            fix="take them out of .gitignore, or move them out of stacks/",
        )
    # A file that was deleted and not committed is still listed.
    files = {name: repository / name for name in listed.split("\0") if name and (repository / name).is_file()}
    return [f"{'x' if files[name].stat().st_mode & 0o100 else '-'} {name}" for name in sorted(files)]


def _find_changes(repository: Path, paths: list[str]) -> list[str]:
    """Return the files with changes that are not committed; the key that Pulumi adds to a stack's file is none."""
    found = []
    for line in filter(
        None, _run_git(repository, "status", "--porcelain", "-z", "--no-renames", "--", *paths).split("\0")
    ):
        status, name = line[:2], line[3:]
        top = _run_git(repository, "rev-parse", "--show-prefix").strip()
        own = name.removeprefix(top)
        if status.strip() == "M" and _STACK_FILE.fullmatch(own):
            committed = _run_git(repository, "show", f"HEAD:{name}").encode()
            if _strip_key(own, committed) == _strip_key(own, (repository / own).read_bytes()):
                continue
        found.append(own)
    return found


def _strip_key(name: str, content: bytes) -> bytes:
    """Return a stack's file without the key of its secrets, which Pulumi writes; other files as they are."""
    if not _STACK_FILE.fullmatch(name):
        return content
    return b"".join(line for line in content.splitlines(keepends=True) if not line.startswith(_KEYS))


def _is_cache(name: str) -> bool:
    return any(part.startswith((".", "__pycache__")) for part in Path(name).parts)


def _add(archive: zipfile.ZipFile, name: str, content: bytes, *, executable: bool) -> None:
    entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
    entry.create_system, entry.external_attr = 3, (0o100755 if executable else 0o100644) << 16
    # Stored, not deflated: compressed bytes differ between zlib builds.
    archive.writestr(entry, content)


def _run_git(repository: Path, *arguments: str) -> str:
    command = ["git", "-C", str(repository), *arguments]
    try:
        done = subprocess.run(command, capture_output=True, text=True, check=False)
    except FileNotFoundError as error:
        raise SourceArchiveError("`git`", "is not on PATH", fix="install it: it knows the files") from error
    if done.returncode:
        raise SourceArchiveError(
            f"the folder {repository}",
            f"is no git checkout: {done.stderr.strip()}",
            expected="a checkout, of which a build gets what git knows",
            fix="`git init`, `git add` and commit it, or set `promotion.by: person`",
        )
    return done.stdout
