"""Fixtures for a stand that `millrace up` provisions, one for the tests of a module."""

from __future__ import annotations

from collections.abc import Iterator
from functools import partial

import pytest

from .prepared import copy_state
from .stand import Stand, start_stand


@pytest.fixture(scope="module")
def hurried(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Yield a stand where a day takes five seconds, so that alarms on days start and end."""
    yield from start_stand(tmp_path_factory.mktemp("hurried") / "millrace", 17_280.0)


@pytest.fixture(scope="module")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Yield a stand as :func:`stand`, in which flights already serves its first model."""
    folder = tmp_path_factory.mktemp("stand") / "millrace"
    yield from start_stand(folder, 60.0, partial(copy_state, tmp_path_factory))


@pytest.fixture(scope="module")
def stand(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Stand]:
    """Yield a stand where an hour takes a minute."""
    yield from start_stand(tmp_path_factory.mktemp("stand") / "millrace", 60.0)
