"""The errors of the engine."""

from __future__ import annotations


class EngineError(Exception):
    """The Pulumi CLI could not be found, installed or built.

    Args:
        subject: What is wrong: a program, a folder, an address.
        found: What is wrong with it, or what was tried.
        expected: What would be right.
        fix: The next step.
    """

    def __init__(self, subject: str, found: str = "", *, expected: str = "", fix: str = "") -> None:
        text = f"{subject} {found}" if found else subject
        if expected:
            text += f"; expected {expected}"
        if fix:
            text += fix if text.endswith("\n") else f"{': ' if expected else '; '}{fix}"
        super().__init__(text)
        self.subject, self.found, self.expected, self.fix = subject, found, expected, fix
