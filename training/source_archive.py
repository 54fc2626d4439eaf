"""The source archive: what a build needs to deploy this revision, as one zip file that is named by its content.

It holds what git knows of the checkout, without tests, docs and benchmarks, and a list of it, from which a build, which
has no git checkout, makes the same archive again. Equal files give equal bytes: order, times and compression are fixed.
"""

from __future__ import annotations

import hashlib
import io
import subprocess
import zipfile
from pathlib import Path
from typing import Final

from millrace.errors import MillraceError
from millrace.files import write_atomically

#: The list of the files of an archive, in it.
MANIFEST: Final = ".source-files"
#: What no deployment reads.
_LEFT_OUT: Final = ("tests", "docs", "benchmarks", ".ci", ".github")


class SourceError(MillraceError):
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
        SourceError: It is no git checkout, or has changes that are not committed.
    """
    unpacked = repository / MANIFEST
    names = unpacked.read_text().splitlines() if unpacked.is_file() else _list_files(repository, committed=committed)
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        _add(archive, MANIFEST, "".join(f"{name}\n" for name in names).encode(), executable=False)
        for name in names:
            file = repository / name
            _add(archive, name, file.read_bytes(), executable=bool(file.stat().st_mode & 0o100))
    data = buffer.getvalue()
    made = folder / f"{hashlib.sha256(data).hexdigest()[:16]}.zip"
    if not made.is_file():
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(made, data)
    return made


def _list_files(repository: Path, *, committed: bool) -> list[str]:
    """Return the files of a checkout, sorted.

    Raises:
        SourceError: It has changes that are not committed, and ``committed`` is set.
    """
    paths = [":(top)", *(f":(exclude,top){name}" for name in _LEFT_OUT)]
    if committed and (changed := _run_git(repository, "status", "--porcelain", "--", *paths).splitlines()):
        named = ", ".join(line[3:] for line in changed[:5]) + (", …" if len(changed) > 5 else "")
        raise SourceError(
            f"the checkout {repository.name}",
            f"has changes that are not committed, in {named}: what a build deploys could not be told from a commit",
            fix="commit them, or put them away with `git stash`",
        )
    listed = _run_git(repository, "ls-files", "-z", "--cached", "--others", "--exclude-standard", "--", *paths)
    # A file that was deleted and not committed is still listed.
    return sorted(name for name in listed.split("\0") if name and (repository / name).is_file())


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
        raise SourceError("`git`", "is not on PATH", fix="install it: the archive holds what git knows") from error
    if done.returncode:
        raise SourceError(
            f"the folder {repository}",
            f"is no git checkout: {done.stderr.strip()}",
            expected="a checkout, of which a build gets what git knows",
            fix="`git init`, `git add` and commit it, or set `promotion.by: person`",
        )
    return done.stdout
