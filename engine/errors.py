"""The error tree of the engine: one error."""

from __future__ import annotations


class EngineError(Exception):
    """The Pulumi CLI could not be found, installed or built; the message says what was tried and how to go on."""
