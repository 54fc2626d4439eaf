"""Run of `docs/operating.md` as a reader follows it."""

from __future__ import annotations

from functools import partial
from pathlib import Path

import pytest

from tests.docs.follow import follow
from tests.e2e.prepared import copy_state


@pytest.mark.timeout(1200)
def test_the_page_can_be_followed(tmp_path: Path, tmp_path_factory: pytest.TempPathFactory) -> None:
    """The page begins with an `up`, which here finds everything in place."""
    follow("operating", tmp_path, partial(copy_state, tmp_path_factory))
