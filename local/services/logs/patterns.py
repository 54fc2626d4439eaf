"""Filter patterns of CloudWatch Logs: terms of a text, and conditions on the fields of a JSON event.

Patterns of space-delimited fields (``[a, b]``) and regular expressions are not available here.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Iterator, Mapping
from typing import Any, Final

from local.core.regex import compile_wildcards
from local.errors import LocalError

#: Returns whether an event matches.
Matcher = Callable[[str], bool]
_Condition = Callable[[Any], bool]

_TOKEN = re.compile(
    r"""\s*(?:(?P<open>\()|(?P<close>\))|(?P<and>&&)|(?P<or>\|\|)|(?P<field>\$(?:\.[\w-]+|\[\d+\]|\['[^']*'\])+)"""
    r"""|(?P<op>!=|<=|>=|=|<|>)|(?P<text>"(?:[^"\\]|\\.)*")|(?P<word>[^\s()&|=<>!"]+))"""
)
_STEP = re.compile(r"\.([\w-]+)|\[(\d+)\]|\['([^']*)'\]")
_TERM = re.compile(r'([?-]?)(?:"((?:[^"\\]|\\.)*)"|(\S+))')
_ORDERED: Final[Mapping[str, Callable[[float, float], bool]]] = {
    "<": lambda a, b: a < b,
    ">": lambda a, b: a > b,
    "<=": lambda a, b: a <= b,
    ">=": lambda a, b: a >= b,
}
_ABSENT: Final = object()


class FilterPatternError(LocalError):
    """A filter pattern that is not valid, or not available here."""


def parse_filter_pattern(pattern: str) -> Matcher:
    """Return what tells whether an event matches a pattern.

    Args:
        pattern: The pattern; an empty one matches every event.

    Raises:
        FilterPatternError: It is not valid, or not available here.
    """
    text = pattern.strip()
    if text.startswith("["):
        raise FilterPatternError(
            f"the pattern {pattern!r} of space-delimited fields is not available in the local cloud"
        )
    if "%" in text:
        raise FilterPatternError(f"the regular expression in {pattern!r} is not available in the local cloud")
    if not text.startswith("{"):
        return _parse_terms(text)
    if not text.endswith("}"):
        raise FilterPatternError(f"the pattern {pattern!r} has no closing brace")
    condition = _Parser(text[1:-1], pattern).parse()

    def matches(event: str) -> bool:
        try:
            document = json.loads(event)
        except ValueError:
            return False
        return condition(document)

    return matches


def resolve_field(path: str, event: str) -> Any:
    """Return the value of a field of a JSON event; None where it has none, or is not JSON.

    Args:
        path: The field, such as ``$.request.ms``.
        event: The event's message.
    """
    try:
        found = _resolve(path, json.loads(event))
    except ValueError:
        return None
    return None if found is _ABSENT else found


def is_field(text: str) -> bool:
    """Return True if a text names a field of a JSON event, such as ``$.ms``."""
    return re.fullmatch(r"\$(?:\.[\w-]+|\[\d+\]|\['[^']*'\])+", text) is not None


def _resolve(path: str, document: Any) -> Any:
    found = document
    for name, place, quoted in _STEP.findall(path[1:]):
        if place:
            if not isinstance(found, list) or int(place) >= len(found):
                return _ABSENT
            found = found[int(place)]
        elif isinstance(found, dict) and (name or quoted) in found:
            found = found[name or quoted]
        else:
            return _ABSENT
    return found


def _parse_terms(text: str) -> Matcher:
    """Return the matcher of terms: all without a sign, any with ``?``, none with ``-``; case matters."""
    groups: dict[str, list[str]] = {"": [], "?": [], "-": []}
    for sign, quoted, plain in _TERM.findall(text):
        groups[sign].append(re.sub(r"\\(.)", r"\1", quoted) if quoted else plain)

    def matches(event: str) -> bool:
        return (
            all(term in event for term in groups[""])
            and (not groups["?"] or any(term in event for term in groups["?"]))
            and not any(term in event for term in groups["-"])
        )

    return matches


class _Parser:
    """A parser of the conditions within braces: ``&&`` binds stronger than ``||``."""

    def __init__(self, text: str, pattern: str) -> None:
        self._pattern = pattern
        self._tokens = list(self._read(text))
        self._place = 0

    def parse(self) -> _Condition:
        found = self._parse_any()
        if self._place < len(self._tokens):
            raise self._make_error()
        return found

    def _read(self, text: str) -> Iterator[tuple[str, str]]:
        place = 0
        while text[place:].strip():
            match = _TOKEN.match(text, place)
            if match is None or match.lastgroup is None:
                raise FilterPatternError(
                    f"the pattern {self._pattern!r} cannot be read at {text[place:].strip()[:20]!r}"
                )
            yield match.lastgroup, match[match.lastgroup]
            place = match.end()

    def _parse_any(self) -> _Condition:
        parts = [self._parse_all()]
        while self._take("or"):
            parts.append(self._parse_all())
        return lambda document: any(part(document) for part in parts)

    def _parse_all(self) -> _Condition:
        parts = [self._parse_one()]
        while self._take("and"):
            parts.append(self._parse_one())
        return lambda document: all(part(document) for part in parts)

    def _parse_one(self) -> _Condition:
        if self._take("open"):
            inner = self._parse_any()
            if not self._take("close"):
                raise self._make_error()
            return inner
        path = self._take("field")
        if path is None:
            raise self._make_error()
        operator = self._take("op")
        if operator is not None:
            value = self._take("text") or self._take("word")
            if value is None:
                raise self._make_error()
            return self._compare(path, operator, value)
        words = [word.upper() for word in iter(lambda: self._take("word"), None)]
        known: dict[tuple[str, ...], _Condition] = {
            ("IS", "NULL"): lambda document: _resolve(path, document) is None,
            ("IS", "TRUE"): lambda document: _resolve(path, document) is True,
            ("IS", "FALSE"): lambda document: _resolve(path, document) is False,
            ("NOT", "EXISTS"): lambda document: _resolve(path, document) is _ABSENT,
        }
        if tuple(words) not in known:
            raise self._make_error()
        return known[tuple(words)]

    def _compare(self, path: str, operator: str, value: str) -> _Condition:
        quoted = value.startswith('"')
        text = re.sub(r"\\(.)", r"\1", value[1:-1]) if quoted else value
        number = None if quoted else _read_number(text)
        if operator in _ORDERED:
            if number is None:
                raise self._make_error()
            bound = number

            def orders(document: Any) -> bool:
                found = _resolve(path, document)
                return _is_number(found) and _ORDERED[operator](found, bound)

            return orders
        wanted = compile_wildcards(text)

        def equals(document: Any) -> bool:
            found = _resolve(path, document)
            if number is not None and _is_number(found):
                return bool((found == number) is (operator == "="))
            # A field that is not there is neither equal to a value nor different from one.
            if found is _ABSENT or isinstance(found, dict | list) or found is None:
                return False
            shown = found if isinstance(found, str) else json.dumps(found)
            return (wanted.fullmatch(shown) is not None) is (operator == "=")

        return equals

    def _take(self, kind: str) -> str | None:
        if self._place < len(self._tokens) and self._tokens[self._place][0] == kind:
            self._place += 1
            return self._tokens[self._place - 1][1]
        return None

    def _make_error(self) -> FilterPatternError:
        at = self._tokens[self._place][1] if self._place < len(self._tokens) else "its end"
        return FilterPatternError(f"the pattern {self._pattern!r} is not valid at {at!r}")


def _read_number(text: str) -> float | None:
    try:
        return float(text)
    except ValueError:
        return None


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)
