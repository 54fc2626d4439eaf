"""The source archive: named by its content, the same from a checkout and from where it was unpacked."""

from __future__ import annotations

import shutil
import subprocess
import zipfile
from pathlib import Path

import pytest

from training.source_archive import MANIFEST, SourceArchiveError, build_source_archive


def run_git(folder: Path, *arguments: str) -> None:
    identity = ["-c", "user.name=test", "-c", "user.email=test@localhost"]
    subprocess.run(["git", *identity, *arguments], cwd=folder, check=True, capture_output=True)


@pytest.fixture
def checkout(tmp_path: Path) -> Path:
    folder = tmp_path / "checkout"
    (folder / "tests").mkdir(parents=True)
    (folder / "stacks" / "a b").mkdir(parents=True)
    (folder / "run.sh").write_text("#!/bin/sh\n")
    (folder / "run.sh").chmod(0o755)
    (folder / "stacks" / "a b" / "däta.py").write_text("X = 1\n")
    (folder / "tests" / "test_a.py").write_text("")
    (folder / ".gitignore").write_text("*.log\n")
    (folder / "noise.log").write_text("noise")
    run_git(folder, "init", "--quiet")
    run_git(folder, "add", "--all")
    run_git(folder, "commit", "--quiet", "--message", "start")
    return folder


def list_names(archive: Path) -> list[str]:
    with zipfile.ZipFile(archive) as found:
        return found.namelist()


def test_it_holds_what_git_knows_without_tests(checkout: Path, tmp_path: Path) -> None:
    made = build_source_archive(checkout, tmp_path / "made", committed=True)
    assert list_names(made) == [MANIFEST, ".gitignore", "run.sh", "stacks/a b/däta.py"]
    with zipfile.ZipFile(made) as archive:
        modes = {each.filename: each.external_attr >> 16 for each in archive.infolist()}
    assert (modes["run.sh"], modes[".gitignore"]) == (0o100755, 0o100644)


def test_a_build_makes_the_same_archive_from_what_it_unpacked(checkout: Path, tmp_path: Path) -> None:
    made = build_source_archive(checkout, tmp_path / "made", committed=True)
    unpacked = tmp_path / "unpacked"
    with zipfile.ZipFile(made) as archive:
        archive.extractall(unpacked)
    # What a build adds is not part of it, and the executable bits are lost.
    (unpacked / "new.pyc").write_text("x")
    again = build_source_archive(unpacked, tmp_path / "again", committed=True)
    assert (again.name, again.read_bytes()) == (made.name, made.read_bytes())


def test_changes_are_part_of_it_unless_only_commits_may_be_deployed(checkout: Path, tmp_path: Path) -> None:
    before = build_source_archive(checkout, tmp_path, committed=True)
    # Tests are not deployed, so that their changes do not matter.
    (checkout / "tests" / "test_b.py").write_text("")
    assert build_source_archive(checkout, tmp_path, committed=True) == before
    (checkout / "new.py").write_text("Y = 2\n")
    (checkout / "run.sh").unlink()
    with pytest.raises(SourceArchiveError, match=r"not committed, in run\.sh, new\.py"):
        build_source_archive(checkout, tmp_path, committed=True)
    changed = build_source_archive(checkout, tmp_path, committed=False)
    assert changed != before
    assert list_names(changed) == [MANIFEST, ".gitignore", "new.py", "stacks/a b/däta.py"]


def test_the_key_that_pulumi_adds_to_a_stack_s_file_is_no_change(checkout: Path, tmp_path: Path) -> None:
    file = checkout / "stacks" / "Pulumi.shop-dev.yaml"
    file.write_text("config:\n  aws:region: eu-west-1\n")
    run_git(checkout, "add", "--all")
    run_git(checkout, "commit", "--quiet", "--message", "stack")
    before = build_source_archive(checkout, tmp_path, committed=True)
    file.write_text(f"{file.read_text()}encryptionsalt: v1:abc\n")
    assert build_source_archive(checkout, tmp_path, committed=True) == before
    file.write_text(file.read_text().replace("eu-west-1", "eu-west-2"))
    with pytest.raises(SourceArchiveError, match=r"in stacks/Pulumi\.shop-dev\.yaml"):
        build_source_archive(checkout, tmp_path, committed=True)


def test_a_project_in_a_folder_of_a_checkout_is_archived_by_itself(checkout: Path, tmp_path: Path) -> None:
    alone = build_source_archive(checkout, tmp_path / "alone", committed=True)
    whole = tmp_path / "whole"
    shutil.copytree(checkout, whole / "ml", ignore=shutil.ignore_patterns(".git"))
    (whole / "other.py").write_text("")
    run_git(whole, "init", "--quiet")
    run_git(whole, "add", "--all")
    run_git(whole, "commit", "--quiet", "--message", "start")
    inside = build_source_archive(whole / "ml", tmp_path / "inside", committed=True)
    assert inside.read_bytes() == alone.read_bytes()


def test_files_of_jobs_that_git_ignores_are_refused(checkout: Path, tmp_path: Path) -> None:
    (checkout / ".gitignore").write_text("*.log\n*.csv\n")
    (checkout / "stacks" / "a b" / "known.csv").write_text("a\n")
    with pytest.raises(SourceArchiveError, match=r"that git ignores and jobs get: stacks/a b/known\.csv"):
        build_source_archive(checkout, tmp_path, committed=False)


def test_what_is_no_checkout_is_refused(tmp_path: Path) -> None:
    with pytest.raises(SourceArchiveError, match="is no git checkout"):
        build_source_archive(tmp_path, tmp_path / "made", committed=False)
