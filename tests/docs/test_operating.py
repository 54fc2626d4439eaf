"""Run of `docs/operating.md` as a reader follows it."""

from __future__ import annotations

from pathlib import Path

import pytest

from tests.docs.follow import follow


@pytest.mark.timeout(1200)
def test_the_page_can_be_followed(tmp_path: Path) -> None:
    follow("operating", tmp_path)
