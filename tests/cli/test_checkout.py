"""Tests of reading the repository's content and writing it elsewhere without touching the repository."""

from __future__ import annotations

import os
import subprocess
from pathlib import Path

import pytest

from cli.console.errors import CliError
from cli.stack.checkout import Checkout


def git(folder: Path, *arguments: str) -> str:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost", "-c", "protocol.file.allow=always"]
    done = subprocess.run(["git", *identity, *arguments], cwd=folder, capture_output=True, text=True, check=True)
    return done.stdout.strip()


@pytest.fixture
def repository(tmp_path: Path) -> Path:
    """Return a repository with two commits on main and a program in a subfolder."""
    folder = tmp_path / "repository"
    (folder / "program").mkdir(parents=True)
    git(folder, "init", "--quiet", "--initial-branch=main")
    (folder / "program" / "a.py").write_text("one\n")
    (folder / "other.txt").write_text("other\n")
    (folder / ".gitignore").write_text("*.log\n")
    git(folder, "add", "--all")
    git(folder, "commit", "--quiet", "--message", "first")
    (folder / "program" / "a.py").write_text("two\n")
    git(folder, "commit", "--quiet", "--all", "--message", "second")
    return folder


def read_contents(folder: Path) -> dict[str, str]:
    return {
        path.relative_to(folder).as_posix(): path.read_text()
        for path in sorted(folder.rglob("*"))
        if path.is_file() and ".git" not in path.relative_to(folder).parts
    }


def read_all_files(folder: Path) -> dict[str, tuple[int, bytes]]:
    """Return every file, including git's own, with its modification time."""
    return {str(path): (path.stat().st_mtime_ns, path.read_bytes()) for path in folder.rglob("*") if path.is_file()}


def write_revision(checkout: Checkout, revision: str | None, into: Path) -> tuple[dict[str, str], list[str]]:
    said: list[str] = []
    program = checkout.write(checkout.resolve_commit(revision) if revision else None, into, said.append)
    return read_contents(program), said


def test_revisions_and_the_working_tree_are_written_unchanged(repository: Path, tmp_path: Path) -> None:
    (repository / "program" / "a.py").write_text("three\n")
    (repository / "program" / "b.py").write_text("not known to git\n")
    (repository / "program" / "c.log").write_text("ignored\n")
    before = read_all_files(repository)
    checkout = Checkout.find(repository / "program")
    assert write_revision(checkout, "HEAD~1", tmp_path / "first") == ({"a.py": "one\n"}, [])
    assert write_revision(checkout, "main", tmp_path / "second") == ({"a.py": "two\n"}, [])
    head, _ = write_revision(checkout, None, tmp_path / "head")
    assert head == {"a.py": "three\n", "b.py": "not known to git\n"}
    assert checkout.count_changed_files() == 2
    assert read_all_files(repository) == before


def test_git_variables_of_a_hook_are_ignored(repository: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GIT_INDEX_FILE", str(tmp_path / "nowhere"))
    monkeypatch.setenv("GIT_DIR", str(tmp_path / "no-repository"))
    assert write_revision(Checkout.find(repository), "HEAD", tmp_path / "head")[0]["program/a.py"] == "two\n"


def test_content_hashes_equal_those_of_git(repository: Path) -> None:
    checkout = Checkout.find(repository)
    tree, files = checkout.hash_content(["program"])
    assert tree == git(repository, "rev-parse", "HEAD^{tree}")
    assert files["program/a.py"] == f"100644 {git(repository, 'rev-parse', 'HEAD:program/a.py')}"
    (repository / "program" / "a.py").write_text("three\n")
    (repository / "program" / "new.py").write_text("new\n")
    (repository / "elsewhere.py").write_text("does not count\n")
    (repository / "program" / "plan.json").write_text("{}")
    changed, found = checkout.hash_content(["program", "gone"], without=repository / "program" / "plan.json")
    assert set(found) - set(files) == {"program/new.py"}
    assert found["program/a.py"] != files["program/a.py"]
    git(repository, "add", "program/a.py", "program/new.py")
    git(repository, "commit", "--quiet", "--message", "third")
    assert changed == git(repository, "rev-parse", "HEAD^{tree}")


def test_paths_are_relative_to_the_program_in_a_larger_repository(repository: Path) -> None:
    tree, files = Checkout.find(repository / "program").hash_content(["."])
    assert tree == git(repository, "rev-parse", "HEAD:program")
    assert list(files) == ["a.py"]


def test_the_base_is_the_fork_point(repository: Path) -> None:
    left = git(repository, "rev-parse", "HEAD")
    git(repository, "switch", "--quiet", "--create", "mine")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "mine")
    git(repository, "switch", "--quiet", "main")
    git(repository, "commit", "--quiet", "--allow-empty", "--message", "theirs")
    checkout = Checkout.find(repository)
    assert checkout.find_fork_point(checkout.resolve_commit("main"), checkout.resolve_commit("mine")) == left


def test_missing_commits_of_a_shallow_clone_suggest_git_fetch(repository: Path, tmp_path: Path) -> None:
    missing = git(repository, "rev-parse", "HEAD~1")
    git(tmp_path, "clone", "--quiet", "--depth", "1", repository.as_uri(), "shallow")
    checkout = Checkout.find(tmp_path / "shallow")
    assert checkout.resolve_commit("origin/main") == git(repository, "rev-parse", "HEAD")
    with pytest.raises(CliError, match=rf"'{missing}' .*shallow.*`git fetch origin {missing}`"):
        checkout.resolve_commit(missing)
    with pytest.raises(CliError, match="`git fetch origin release`"):
        checkout.resolve_commit("origin/release")
    with pytest.raises(CliError, match="is not a git checkout"):
        Checkout.find(tmp_path)


def test_a_revision_that_looks_like_an_option_is_refused(repository: Path) -> None:
    with pytest.raises(CliError, match="'--all'"):
        Checkout.find(repository).resolve_commit("--all")


def test_submodules_are_written_and_missing_ones_are_reported(repository: Path, tmp_path: Path) -> None:
    library = tmp_path / "library"
    library.mkdir()
    git(library, "init", "--quiet")
    (library / "lib.py").write_text("first\n")
    git(library, "add", "--all")
    git(library, "commit", "--quiet", "--message", "first")
    git(repository, "submodule", "--quiet", "add", str(library), "program/lib")
    git(repository, "commit", "--quiet", "--message", "with a library")
    (repository / "program" / "lib" / "lib.py").write_text("changed\n")
    checkout = Checkout.find(repository)
    assert write_revision(checkout, "HEAD", tmp_path / "base")[0]["program/lib/lib.py"] == "first\n"
    assert write_revision(checkout, None, tmp_path / "head")[0]["program/lib/lib.py"] == "changed\n"
    git(tmp_path, "clone", "--quiet", str(repository), "without")
    found, said = write_revision(Checkout.find(tmp_path / "without"), "HEAD", tmp_path / "third")
    assert "program/lib/lib.py" not in found
    assert "submodule program/lib" in said[0]
    assert "git submodule update --init program/lib" in said[0]


def test_lfs_files_stay_pointers(repository: Path, tmp_path: Path) -> None:
    assert os.environ.get("GIT_LFS_SKIP_SMUDGE") is None
    git(repository, "config", "filter.lfs.smudge", "sh -c 'test \"$GIT_LFS_SKIP_SMUDGE\" = 1 && cat'")
    git(repository, "config", "filter.lfs.clean", "cat")
    git(repository, "config", "filter.lfs.required", "true")
    (repository / ".gitattributes").write_text("*.bin filter=lfs\n")
    (repository / "model.bin").write_text("pointer\n")
    assert write_revision(Checkout.find(repository), None, tmp_path / "head")[0]["model.bin"] == "pointer\n"
