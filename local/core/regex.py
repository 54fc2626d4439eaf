"""Regular expressions given by users, run by RE2 in time linear in the text, so that none can block the cloud.

Python's own engine can take unlimited time, during which nothing else runs. RE2 has neither look-around nor
back-references; an expression with them is refused.
"""

from __future__ import annotations

import importlib
import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Any

import re2

from local.errors import LocalError

#: Modules of moto, by the name of their backend, that run expressions built from users' input.
_OF_MOTO: Mapping[str, tuple[str, ...]] = {
    "ecr": ("moto.ecr.models",),
    "events": ("moto.events.models",),
    "iam": ("moto.iam.access_control",),
    "s3": ("moto.iam.access_control", "moto.s3.utils"),
    "sqs": ("moto.sqs.models",),
}


class RegexError(LocalError, ValueError):
    """A regular expression that RE2 does not accept; the message gives the reason."""


@lru_cache(maxsize=2000)
def compile_regex(pattern: str) -> Any:
    """Return a compiled expression with ``match``, ``search``, ``fullmatch``, ``finditer`` and ``groups``.

    Args:
        pattern: The expression in RE2's syntax.

    Raises:
        RegexError: If it is not a valid expression, or uses syntax that RE2 does not have.
    """
    options = re2.Options()
    options.log_errors = False
    try:
        return re2.compile(pattern, options)
    except (re2.error, UnicodeError) as error:
        reason = error.args[0] if error.args else error
        text = reason.decode("utf-8", "replace") if isinstance(reason, bytes) else str(reason)
        raise RegexError(f"{text} (RE2 syntax, without look-around and back-references)") from error


def compile_wildcards(pattern: str, many: str = "*", one: str = "?") -> Any:
    """Return a compiled expression for a text in which ``*`` stands for any text and ``?`` for any character.

    Args:
        pattern: The text with wildcards; all other characters match themselves.
        many: The wildcard for any text, including an empty one.
        one: The wildcard for exactly one character.
    """
    parts = (".*" if c == many else "." if c == one else re2.escape(c) for c in pattern)
    return compile_regex("(?s)" + "".join(parts))


class _Linear:
    """A replacement of Python's ``re`` in modules of moto."""

    error = re.error
    DOTALL, IGNORECASE, MULTILINE, VERBOSE = re.DOTALL, re.IGNORECASE, re.MULTILINE, re.VERBOSE

    def __getattr__(self, name: str) -> Any:
        return getattr(re, name)

    def compile(self, pattern: Any, flags: int = 0) -> Any:
        """Compile a pattern without flags with RE2; patterns with flags are moto's own, not the user's."""
        if flags or not isinstance(pattern, str):
            return re.compile(pattern, flags)
        try:
            return compile_regex(pattern)
        except RegexError as error:
            raise re.error(str(error)) from error

    def match(self, pattern: Any, text: str, flags: int = 0) -> Any:
        """Match at the start."""
        return self.compile(pattern, flags).match(text)

    def fullmatch(self, pattern: Any, text: str, flags: int = 0) -> Any:
        """Match the whole text."""
        return self.compile(pattern, flags).fullmatch(text)

    def search(self, pattern: Any, text: str, flags: int = 0) -> Any:
        """Match anywhere."""
        return self.compile(pattern, flags).search(text)


def use_re2_in_moto(backend: str) -> None:
    """Make a backend of moto run users' expressions with RE2.

    Args:
        backend: The backend's name in moto, e.g. ``s3``; a backend without users' expressions is not changed.
    """
    for name in _OF_MOTO.get(backend, ()):
        importlib.import_module(name).re = _Linear()  # type: ignore[attr-defined]
