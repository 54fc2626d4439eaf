"""Validation of requests against botocore's service models, as strict as the services' own.

botocore's client checks only required members, types and a few lengths; AWS also enforces patterns, enums and
ranges. The messages are AWS's: ``1 validation error detected: Value 'a_b' at 'modelName' failed to satisfy
constraint: Member must satisfy regular expression pattern: …``.
"""

from __future__ import annotations

import contextlib
import json
import re
import sys
import unicodedata
from collections.abc import Iterator, Mapping
from functools import cache
from typing import Any

from botocore.model import OperationModel

from local.core.errors import AwsError
from local.core.regex import RegexError, compile_regex

#: Java's named classes, as sets of Unicode general categories (first letters or whole names).
_CATEGORIES = {
    "L": ("L",),
    "M": ("M",),
    "N": ("N",),
    "P": ("P",),
    "S": ("S",),
    "Z": ("Z",),
    "Zs": ("Zs",),
}
#: Java's POSIX classes are ASCII only.
_POSIX = {"ASCII": r"\x00-\x7f", "Alnum": "A-Za-z0-9", "Print": r"\x20-\x7e"}

_TOKEN = re.compile(r"\\p\{(?P<named>\w+)\}|\\(?P<end>z)|(?P<escape>\\.)|(?P<open>\[\^?)|(?P<close>\])", re.S)


def validate_parameters(operation: OperationModel, params: Mapping[str, Any]) -> None:
    """Refuse parameters that break a constraint of the operation's input shape.

    Args:
        operation: The model of the operation.
        params: The parameters by member name, already of the model's types.

    Raises:
        AwsError: ``ValidationException`` that lists every broken constraint, in AWS's words.
    """
    if operation.input_shape is None:
        return
    found = list(_structure(operation.input_shape, params, ""))
    if found:
        count = f"{len(found)} validation error{'s' if len(found) > 1 else ''} detected"
        raise AwsError("ValidationException", f"{count}: {'; '.join(found)}")


def _structure(shape: Any, value: Mapping[str, Any], where: str) -> Iterator[str]:
    if getattr(shape, "is_document_type", False):
        return
    for name in shape.required_members:
        # AWS generates an idempotency token that a client omits.
        if value.get(name) is None and not shape.members[name].metadata.get("idempotencyToken"):
            yield f"Value null at '{_path(where, name)}' failed to satisfy constraint: Member must not be null"
    if getattr(shape, "is_tagged_union", False) and len(value) != 1:
        yield _broken(shape, value, where, f"Exactly one of [{', '.join(shape.members)}] must be set")
    for name, item in value.items():
        yield from _member(shape.members[name], item, _path(where, name))


def _member(shape: Any, value: Any, where: str) -> Iterator[str]:
    kind = shape.type_name
    if kind == "structure":
        yield from _structure(shape, value, where)
        return
    broken = list(_size(shape, value, where))
    yield from broken
    if kind == "list":
        for index, item in enumerate(value, 1):
            yield from _member(shape.member, item, f"{where}.{index}.member")
    elif kind == "map":
        for key, item in value.items():
            yield from _member(shape.key, key, f"{where}.key")
            yield from _member(shape.value, item, f"{where}.{key}.member")
    elif kind == "string":
        enum = shape.metadata.get("enum")
        if enum and value not in enum:
            yield _broken(shape, value, where, f"Member must satisfy enum value set: [{', '.join(enum)}]")
        pattern = shape.metadata.get("pattern")
        # Skipped for a text of the wrong length, because matching a pattern can be slow.
        if pattern and not broken and not matches_pattern(pattern, value):
            yield _broken(shape, value, where, f"Member must satisfy regular expression pattern: {pattern}")


def _size(shape: Any, value: Any, where: str) -> Iterator[str]:
    low, high = shape.metadata.get("min"), shape.metadata.get("max")
    if low is None and high is None:
        return
    what, size = ("value", value) if isinstance(value, int | float) else ("length", len(value))
    if low is not None and size < low:
        yield _broken(shape, value, where, f"Member must have {what} greater than or equal to {low}")
    if high is not None and size > high:
        yield _broken(shape, value, where, f"Member must have {what} less than or equal to {high}")


def _path(where: str, name: str) -> str:
    lowered = name[:1].lower() + name[1:]
    return f"{where}.{lowered}" if where else lowered


def _broken(shape: Any, value: Any, where: str, constraint: str) -> str:
    if shape.metadata.get("sensitive"):
        return f"Value at '{where}' failed to satisfy constraint: {constraint}"
    shown = value if isinstance(value, str) else json.dumps(value, default=repr)
    shown = shown if len(shown) <= 200 else f"{shown[:197]}..."
    return f"Value '{shown}' at '{where}' failed to satisfy constraint: {constraint}"


# -- patterns --------------------------------------------------------------------------------------------------------


def matches_pattern(pattern: str, value: str) -> bool:
    """Return True if the whole value matches the model's (Java) pattern, or if Python cannot express the pattern.

    Args:
        pattern: The pattern as the model has it.
        value: The text to match.
    """
    compiled = compile_pattern(pattern, value.isascii())
    return compiled is None or compiled.fullmatch(value) is not None


@cache
def compile_pattern(pattern: str, ascii_only: bool = False) -> Any:
    """Return Python's form of a Java pattern, or None if there is none; such a pattern is not enforced.

    Args:
        pattern: The Java pattern of the model.
        ascii_only: Expand Unicode classes to their ASCII characters only, which is cheap.
    """
    try:
        python = _translate(pattern, ascii_only)
    except re.error:
        return None
    # RE2 needs only linear time, but it has no look-ahead and refuses a few large patterns of many ranges.
    with contextlib.suppress(RegexError):
        return compile_regex(python.replace(r"\Z", r"\z"))
    try:
        return re.compile(python, re.ASCII)
    except re.error:
        return None


def _translate(pattern: str, ascii_only: bool) -> str:
    # Java reads two escaped surrogates as the one character they encode, accepts a repeated `$`, and reads `-` after a
    # class literally.
    pattern = pattern.replace(r"\uD800\uDC00-\uDBFF\uDFFF", r"\U00010000-\U0010FFFF")
    pattern = re.sub(r"\$\{\d+,\d+\}", "$", pattern)
    pattern = re.sub(r"(\\[wds])-(?!\])", r"\1\\-", pattern)
    depth = 0

    def token(match: re.Match[str]) -> str:
        nonlocal depth
        if match["named"]:
            ranges = _ranges(match["named"], 128 if ascii_only else sys.maxunicode + 1)
            return ranges if depth else f"[{ranges}]"
        if match["end"]:
            return r"\Z"
        if match["open"] and not depth:
            depth = 1
        elif match["close"]:
            depth = 0
        return match[0]

    return _TOKEN.sub(token, pattern)


@cache
def _ranges(name: str, limit: int) -> str:
    """Return a named class as the content of a character class, for the code points below ``limit``."""
    if name in _POSIX:
        return _POSIX[name]
    if name not in _CATEGORIES:
        raise re.error(f"unknown character class \\p{{{name}}}")
    wanted = _CATEGORIES[name]
    parts, start = [], None
    for point in range(limit + 1):
        inside = point < limit and unicodedata.category(chr(point)).startswith(wanted)
        if inside and start is None:
            start = point
        elif not inside and start is not None:
            parts.append(f"\\U{start:08x}-\\U{point - 1:08x}")
            start = None
    return "".join(parts)
