"""Fixture that the tests of training share: a started cloud."""

from __future__ import annotations

from tests.local.conftest import cloud_daemon

__all__ = ["cloud_daemon"]
