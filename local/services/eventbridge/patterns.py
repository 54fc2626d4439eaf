"""Event patterns, by which a rule selects events.

Fields are joined by *and*, the entries of a list by *or*, comparison is exact. Operators: ``prefix``, ``suffix``,
``anything-but``, ``exists``, ``numeric``, ``equals-ignore-case``, ``wildcard``, ``cidr`` and ``$or``. An unknown
operator is refused by name: a rule that silently matches nothing, or everything, is worse.
"""

from __future__ import annotations

import ipaddress
import math
import operator
import re
from collections.abc import Callable, Mapping
from typing import Any

import re2

from local.core.regex import compile_regex
from local.errors import LocalError

_ABSENT = object()

_COMPARE: Mapping[str, Callable[[float, float], bool]] = {
    "<": operator.lt,
    "<=": operator.le,
    "=": operator.eq,
    ">=": operator.ge,
    ">": operator.gt,
}

Pattern = Mapping[str, Any]


class PatternError(LocalError, ValueError):
    """A pattern that EventBridge would refuse."""


def matches(pattern: Pattern, event: Any) -> bool:
    """Return True if an event matches a pattern that :func:`check` accepts; an empty pattern matches every event."""
    # An array of objects matches when one of its objects does.
    if isinstance(event, list):
        return any(matches(pattern, item) for item in event)
    return all(_field(key, wanted, event) for key, wanted in pattern.items())


def check(pattern: Any) -> None:
    """Refuse a pattern that EventBridge would refuse.

    Raises:
        PatternError: A part of the pattern is not valid; the message names it.
    """
    if not isinstance(pattern, Mapping):
        raise PatternError(f"{pattern!r} is not an object")
    if not pattern:
        raise PatternError("Empty objects are not allowed")
    for key, wanted in pattern.items():
        if key == "$or":
            if not isinstance(wanted, list) or len(wanted) < 2:
                raise PatternError("$or must be an array of at least two patterns")
            for each in wanted:
                check(each)
        elif isinstance(wanted, Mapping):
            check(wanted)
        elif not isinstance(wanted, list) or not wanted:
            raise PatternError(f"'{key}' must be an object or an array that is not empty, not {wanted!r}")
        else:
            for each in wanted:
                _test(each)


def _field(key: str, wanted: Any, event: Any) -> bool:
    if key == "$or":
        return any(matches(each, event) for each in wanted)
    value = event.get(key, _ABSENT) if isinstance(event, Mapping) else _ABSENT
    if isinstance(wanted, Mapping):
        return matches(wanted, {} if value is _ABSENT else value)
    return any(_entry(each, value) for each in wanted)


def _entry(wanted: Any, value: Any) -> bool:
    """Return True if a field matches one entry of a pattern's array; an array matches if one of its elements does."""
    if isinstance(wanted, Mapping) and "exists" in wanted:
        return bool((value is not _ABSENT and not isinstance(value, Mapping)) is wanted["exists"])
    test = _test(wanted)
    if value is _ABSENT or isinstance(value, Mapping):
        return False
    return any(test(item) for item in value) if isinstance(value, list) else test(value)


def _test(wanted: Any) -> Callable[[Any], bool]:
    if isinstance(wanted, list) or (isinstance(wanted, float) and not math.isfinite(wanted)):
        raise PatternError(f"{wanted!r} cannot be a value of an array in a pattern")
    if not isinstance(wanted, Mapping):
        return lambda value: _same(value, wanted)
    if len(wanted) != 1:
        raise PatternError(f"{dict(wanted)!r} must hold one operator")
    name, operand = next(iter(wanted.items()))
    make = _OPERATORS.get(name)
    if make is None:
        raise PatternError(f"unknown operator '{name}'; known: {', '.join(sorted([*_OPERATORS, '$or']))}")
    return make(operand)


def _same(value: Any, wanted: Any) -> bool:
    # In Python True == 1; in JSON it is not.
    return isinstance(value, bool) == isinstance(wanted, bool) and bool(value == wanted)


def _text(operand: Any, name: str) -> str:
    if not isinstance(operand, str):
        raise PatternError(f"{name} must be text, not {operand!r}")
    return operand


def _affix(name: str, fits: Callable[[str, str], bool]) -> Callable[[Any], Callable[[Any], bool]]:
    def make(operand: Any) -> Callable[[Any], bool]:
        if isinstance(operand, Mapping):
            if set(operand) != {"equals-ignore-case"}:
                raise PatternError(f"{name} can hold text or equals-ignore-case, not {dict(operand)!r}")
            wanted = _text(operand["equals-ignore-case"], f"{name}'s equals-ignore-case").lower()
            return lambda value: isinstance(value, str) and fits(value.lower(), wanted)
        wanted = _text(operand, name)
        return lambda value: isinstance(value, str) and fits(value, wanted)

    return make


def _ignore_case(operand: Any) -> Callable[[Any], bool]:
    wanted = _text(operand, "equals-ignore-case").lower()
    return lambda value: isinstance(value, str) and value.lower() == wanted


def _wildcard(operand: Any) -> Callable[[Any], bool]:
    wanted = _text(operand, "wildcard")
    if "**" in wanted:
        raise PatternError(f"wildcard '{wanted}' has consecutive '*'")
    parts = re.findall(r"\\[*\\]|.", wanted, re.DOTALL)
    regex = compile_regex("(?s)" + "".join(".*" if part == "*" else re2.escape(part[-1]) for part in parts))
    return lambda value: isinstance(value, str) and regex.fullmatch(value) is not None


def _numeric(operand: Any) -> Callable[[Any], bool]:
    if not isinstance(operand, list) or not operand or len(operand) % 2:
        raise PatternError(f'numeric must be pairs such as [">", 0, "<=", 5], not {operand!r}')
    pairs = list(zip(operand[::2], operand[1::2], strict=True))
    for sign, bound in pairs:
        if sign not in _COMPARE or isinstance(bound, bool) or not isinstance(bound, int | float):
            raise PatternError(f"numeric: '{sign} {bound}' is not one of {', '.join(_COMPARE)} and a number")

    def test(value: Any) -> bool:
        number = isinstance(value, int | float) and not isinstance(value, bool)
        return number and all(_COMPARE[sign](value, bound) for sign, bound in pairs)

    return test


def _cidr(operand: Any) -> Callable[[Any], bool]:
    try:
        network = ipaddress.ip_network(_text(operand, "cidr"))
    except ValueError as error:
        raise PatternError(f"cidr: {error}") from error

    def test(value: Any) -> bool:
        try:
            return ipaddress.ip_address(value) in network
        except ValueError:
            return False

    return test


def _anything_but(operand: Any) -> Callable[[Any], bool]:
    """Return the test of ``anything-but``.

    The operand is a literal, a list of literals, or one of the text operators, whose own operand may be a list here.
    """
    if isinstance(operand, Mapping):
        name, inner = next(iter(operand.items()), ("", None))
        if len(operand) != 1 or name not in ("prefix", "suffix", "equals-ignore-case", "wildcard"):
            raise PatternError(f"anything-but cannot hold {dict(operand)!r}")
        tests = [_OPERATORS[name](each) for each in (inner if isinstance(inner, list) else [inner])]
        return lambda value: not any(test(value) for test in tests)
    wanted = operand if isinstance(operand, list) else [operand]
    if not wanted or any(isinstance(each, list | Mapping) for each in wanted):
        raise PatternError(f"anything-but must be text, a number, or an array of them, not {operand!r}")
    return lambda value: not any(_same(value, each) for each in wanted)


def _exists(operand: Any) -> Callable[[Any], bool]:
    if not isinstance(operand, bool):
        raise PatternError(f"exists must be true or false, not {operand!r}")
    return lambda _value: operand


_OPERATORS: Mapping[str, Callable[[Any], Callable[[Any], bool]]] = {
    "prefix": _affix("prefix", str.startswith),
    "suffix": _affix("suffix", str.endswith),
    "equals-ignore-case": _ignore_case,
    "wildcard": _wildcard,
    "numeric": _numeric,
    "cidr": _cidr,
    "anything-but": _anything_but,
    "exists": _exists,
}
