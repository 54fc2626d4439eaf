"""A file is written as a whole or not at all, with the right mode."""

from __future__ import annotations

import os
import stat
from pathlib import Path

import pytest

from millrace.files import write_atomically


def read_mode(path: Path) -> int:
    return stat.S_IMODE(path.stat().st_mode)


@pytest.fixture(autouse=True)
def umask() -> object:
    before = os.umask(0o027)
    yield
    os.umask(before)


def test_a_new_file_gets_the_mode_of_the_umask(tmp_path: Path) -> None:
    write_atomically(tmp_path / "a", "täxt")
    assert (tmp_path / "a").read_text(encoding="utf-8") == "täxt"
    assert read_mode(tmp_path / "a") == 0o640
    assert os.umask(0o027) == 0o027


def test_an_existing_file_keeps_its_mode_and_its_link(tmp_path: Path) -> None:
    (tmp_path / "real").write_text("old")
    (tmp_path / "real").chmod(0o600)
    (tmp_path / "link").symlink_to("real")
    write_atomically(tmp_path / "link", b"new")
    assert (tmp_path / "link").is_symlink()
    assert ((tmp_path / "real").read_bytes(), read_mode(tmp_path / "real")) == (b"new", 0o600)
    assert sorted(path.name for path in tmp_path.iterdir()) == ["link", "real"]


def test_a_private_file_is_for_its_owner_alone(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("old")
    (tmp_path / "a").chmod(0o644)
    write_atomically(tmp_path / "a", "secret", private=True)
    assert read_mode(tmp_path / "a") == 0o600


def test_what_cannot_be_written_leaves_the_old_file_alone(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "a").write_text("old")

    def fail(_descriptor: int) -> None:
        raise OSError(28, "No space left on device")

    monkeypatch.setattr(os, "fsync", fail)
    with pytest.raises(OSError, match="No space left"):
        write_atomically(tmp_path / "a", "new")
    assert [path.name for path in tmp_path.iterdir()] == ["a"]
    assert (tmp_path / "a").read_text() == "old"
