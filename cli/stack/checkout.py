"""The repository's content at a revision or in the working tree, which can be hashed or written to another folder.

The repository itself is not changed: its index is copied, and new objects go to a temporary folder.
"""

from __future__ import annotations

import contextlib
import os
import shutil
import subprocess
import tempfile
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path

from cli.console.errors import CliError

#: Receives a line to show to the user.
Line = Callable[[str], None]

#: Variables that git sets for hooks and commands; they would direct it to another repository or index.
_LOCAL = (
    "GIT_ALTERNATE_OBJECT_DIRECTORIES",
    "GIT_COMMON_DIR",
    "GIT_DIR",
    "GIT_INDEX_FILE",
    "GIT_NAMESPACE",
    "GIT_OBJECT_DIRECTORY",
    "GIT_PREFIX",
    "GIT_WORK_TREE",
)
#: Settings with which git does not prompt, fetch, or download large files: only what the repository has is compared.
_QUIET = {
    "GIT_TERMINAL_PROMPT": "0",
    "GIT_LFS_SKIP_SMUDGE": "1",
    "GIT_NO_LAZY_FETCH": "1",
    "GIT_OPTIONAL_LOCKS": "0",
    "LC_ALL": "C",
}
_SUBMODULE = "160000"


@dataclass(frozen=True)
class Checkout:
    """A working tree, or a folder in one.

    Attributes:
        folder: The folder of the Pulumi program.
        prefix: Its path in the working tree: empty, or ending in a slash.
    """

    folder: Path
    prefix: str

    @classmethod
    def find(cls, folder: Path) -> Checkout:
        """Return the checkout that contains this folder.

        Args:
            folder: The folder, which must exist.

        Raises:
            CliError: When the folder is not in a checkout, or git is not installed.
        """
        try:
            done = _git(folder, ["rev-parse", "--show-prefix"])
        except FileNotFoundError as error:
            raise CliError("`git`", "is not on PATH, and this command needs it", fix="install it") from error
        if done.returncode != 0:
            raise CliError(
                f"{folder}",
                f"is not a git checkout: {_get_error_text(done)}",
                expected="a checkout with revisions to read",
            )
        return cls(folder, done.stdout.rstrip("\n"))

    def resolve_commit(self, revision: str) -> str:
        """Return the hash of the commit that a revision names.

        Args:
            revision: A branch, tag or hash, or anything else that git resolves.

        Raises:
            CliError: When this clone has no such commit.
        """
        done = self._git("rev-parse", "--verify", "--quiet", "--end-of-options", f"{revision}^{{commit}}")
        if done.returncode == 0:
            return done.stdout.strip()
        remote, _, branch = revision.partition("/")
        known = self._git("remote").stdout.split()
        where = f"{remote} {branch}" if branch and remote in known else f"{next(iter(known), 'origin')} {revision}"
        shallow = self._git("rev-parse", "--is-shallow-repository").stdout.strip() == "true"
        why = "this clone is shallow" if shallow else "no revision has that name"
        raise CliError(
            f"revision {revision!r}",
            f"is not in this clone ({why})",
            fix=f"fetch it with `git fetch {where}`, or name another one with --base",
        )

    def find_fork_point(self, base: str, head: str) -> str:
        """Return the merge base of ``base`` and ``head``; ``base`` itself if none is known, as in a shallow clone.

        Args:
            base: The commit to compare with.
            head: The commit that branched off it.
        """
        done = self._git("merge-base", base, head)
        return done.stdout.strip() if done.returncode == 0 else base

    def count_changed_files(self) -> int:
        """Return the number of files below the folder that differ from HEAD, including untracked files."""
        done = self._asked("status", "--porcelain", "-z", "--untracked-files=all", "--no-renames", "--", ".")
        return done.count("\0")

    def write(self, revision: str | None, into: Path, note: Line) -> Path:
        """Write the content of a revision, or of the working tree if None, to a new folder.

        Args:
            revision: The commit; None for the working tree, including untracked files that are not ignored.
            into: The new folder, which must not exist.
            note: Receives a line for each submodule that is not available.

        Returns:
            The program's folder in the new folder.

        Raises:
            CliError: When git fails, with its error message.
        """
        into.mkdir(parents=True)
        with self._index(revision) as environment:
            self._asked("checkout-index", "--all", "--force", f"--prefix={into}/", environment=environment)
            gitlinks = [(path, commit) for mode, commit, path in self._entries(environment) if mode == _SUBMODULE]
        for path, commit in gitlinks:
            self._write_submodule(path, commit if revision else None, into, note)
        return into / self.prefix

    def hash_content(self, folders: Sequence[str], without: Path | None = None) -> tuple[str, dict[str, str]]:
        """Return the hashes by which git would identify the working tree's content.

        Args:
            folders: Folders in which untracked files are included.
            without: A file to leave out.

        Returns:
            The hash of the tree, and the mode and hash of each file by its path relative to the program's folder.
        """
        with self._index(None, folders, without) as environment:
            tree = self._asked(
                "write-tree", *([f"--prefix={self.prefix}"] if self.prefix else []), environment=environment
            )
            files = {path: f"{mode} {blob}" for mode, blob, path in self._entries(environment)}
        return tree.strip(), {path.removeprefix(self.prefix): found for path, found in sorted(files.items())}

    # -- git -----------------------------------------------------------------------------------------------------------

    @contextlib.contextmanager
    def _index(
        self, revision: str | None, folders: Sequence[str] = (".",), without: Path | None = None
    ) -> Iterator[dict[str, str]]:
        """Yield environment variables with which git uses a temporary index that holds this content."""
        with tempfile.TemporaryDirectory(prefix="millrace-index-") as scratch:
            environment = {"GIT_INDEX_FILE": f"{scratch}/index"}
            if revision is not None:
                self._asked("read-tree", revision, environment=environment)
                yield environment
                return
            known = {"GIT_ALTERNATE_OBJECT_DIRECTORIES": str(self._path("objects"))}
            environment |= {**known, "GIT_OBJECT_DIRECTORY": f"{scratch}/objects"}
            Path(scratch, "objects").mkdir()
            with contextlib.suppress(FileNotFoundError):
                shutil.copyfile(self._path("index"), f"{scratch}/index")
            self._asked("add", "--update", "--", ".", environment=environment)
            there = [each for each in folders if (self.folder / each).exists()]
            if there:
                self._asked("add", "--all", "--", *there, environment=environment)
            if without is not None and without.is_relative_to(self.folder):
                path = without.relative_to(self.folder).as_posix()
                self._asked("rm", "--cached", "--quiet", "--ignore-unmatch", "--", path, environment=environment)
            yield environment

    def _path(self, name: str) -> Path:
        """Return the path of a file or folder in this working tree's git folder."""
        return self.folder / self._asked("rev-parse", "--git-path", name).rstrip("\n")

    def _entries(self, environment: dict[str, str]) -> list[tuple[str, str, str]]:
        """Return mode, hash and path of each entry of the index below the program's folder."""
        listed = self._asked("ls-files", "--stage", "--full-name", "-z", environment=environment)
        found = []
        for entry in filter(None, listed.split("\0")):
            facts, path = entry.split("\t", 1)
            mode, blob, _ = facts.split()
            found.append((mode, blob, path))
        return found

    def _write_submodule(self, path: str, commit: str | None, into: Path, note: Line) -> None:
        """Write a submodule's content; note it and continue if it is not available, because it may not matter."""
        place = self.folder / path.removeprefix(self.prefix)
        try:
            if not (place / ".git").exists():
                raise CliError("the revision", "is not checked out")
            inner = Checkout.find(place)
            shutil.rmtree(into / path, ignore_errors=True)
            inner.write(inner.resolve_commit(commit) if commit else None, into / path, note)
        except CliError as error:
            note(f"compared without submodule {path}: {error}; `git submodule update --init {path}` fetches it")

    def _git(self, *arguments: str, environment: dict[str, str] | None = None) -> subprocess.CompletedProcess[str]:
        return _git(self.folder, arguments, environment)

    def _asked(self, *arguments: str, environment: dict[str, str] | None = None) -> str:
        """Run git and return its output.

        Raises:
            CliError: When git fails, with its error message.
        """
        done = self._git(*arguments, environment=environment)
        if done.returncode != 0:
            raise CliError(f"`git {' '.join(arguments)}` in {self.folder}", f"failed: {_get_error_text(done)}")
        return done.stdout


def _git(
    folder: Path, arguments: Sequence[str], environment: dict[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    mine = {name: value for name, value in os.environ.items() if name not in _LOCAL}
    return subprocess.run(
        ["git", *arguments],
        cwd=folder,
        env={**mine, **_QUIET, **(environment or {})},
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        errors="surrogateescape",
        check=False,
    )


def _get_error_text(done: subprocess.CompletedProcess[str]) -> str:
    return done.stderr.strip() or f"exit code {done.returncode}"
