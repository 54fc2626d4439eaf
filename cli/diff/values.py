"""Values of a preview in a form that may be shown: without secrets, placeholders and randomly generated names.

All values are cleaned once, when the preview is read, so that later code cannot show what it never received.
"""

from __future__ import annotations

import hashlib
import json
import re
from collections.abc import Mapping
from typing import Any

#: The key under which Pulumi names the type of a value that JSON cannot represent.
SIGNATURE = "4dabf18193072939515e22adb298388d"
_SECRET = "1b47061264138c4ac30d75fd1eb44270"
_FILES = {"c44067f5952c0a294b673a41bacd8c17": "file", "0def7320c3a5731c473e5ecbe6d01bc7": "archive"}

#: Pulumi's placeholders for a value that is known only after deployment, one for each type.
_UNKNOWN = (
    "04da6b54-80e4-46f7-96ec-b56ff0331ba9",
    "1c4a061d-8072-4f0a-a4cb-0ff528b18fe7",
    "3eeb2bf0-c639-47a8-9e75-3b44932eb421",
    "6a19a0b0-7e62-4c92-b797-7f8e31da9cc2",
    "030794c1-ac77-496b-92df-f27374a8bd58",
    "e48ece36-62e2-4504-bad9-02848725956a",
    "dd056dcd-154b-4c76-9bd3-c8f88648b5ff",
)
_ANY_UNKNOWN = re.compile("|".join(_UNKNOWN))

#: Names under which people keep secrets.
_SECRET_NAME = re.compile(
    r"passw|passphrase|secret(?!s?manager|arn|name|id$)|token(?!iz)|api[-_]?key|access[-_]?key|private[-_]?key|credential|"
    r"(^|[-_])(pwd|auth|bearer|dsn)($|[-_])|connection[-_]?string",
    re.IGNORECASE,
)
#: Names that match the pattern above, but not for secrets.
_NO_SECRET_NAME = re.compile(
    r"(token|tokens)[-_]?(count|limit|length|size|bucket)|max[-_]?tokens"
    # Condition keys for the tokens of GitHub's identity provider.
    r"|^token\.actions\.githubusercontent\.com(/[^:]*)?:\w+$",
    re.IGNORECASE,
)
#: Values that are secrets under any name.
_SECRET_VALUE = re.compile(
    r"\b(?:AKIA|ASIA)[0-9A-Z]{16}\b"
    r"|-----BEGIN [A-Z ]*PRIVATE KEY-----.*?(?:-----END [A-Z ]*PRIVATE KEY-----|\Z)"
    r"|\bgh[pousr]_[A-Za-z0-9]{20,}|\bgithub_pat_\w{20,}|\bglpat-[\w-]{16,}|\bxox[abprs]-[\w-]{10,}|\bpul-[0-9a-f]{40}\b"
    r"|(?<=://)[^/\s:@\"']+:[^/\s@\"']+(?=@)",
    re.DOTALL,
)


#: Characters that move a terminal's cursor or change the reading direction; tabs and line ends are harmless.
_UNSEEN = re.compile("[\x00-\x08\x0b-\x1f\x7f-\x9f\u200e\u200f\u202a-\u202e\u2066-\u2069\ud800-\udfff]")


class Mark(str):
    """A text that represents a value; never equal to the same text in a resource."""

    __slots__ = ("digest",)
    digest: str

    def __new__(cls, text: str, digest: str = "") -> Mark:
        """Create a mark; `digest` distinguishes marks of the same text."""
        made = super().__new__(cls, text)
        made.digest = digest
        return made

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Mark) and str.__eq__(self, other) and self.digest == other.digest

    def __ne__(self, other: object) -> bool:
        return not self == other

    def __hash__(self) -> int:
        return hash((str(self), self.digest))


UNKNOWN = Mark("known after deployment")
_SECRET_TEXT = "[secret]"


def mark_secret(value: Any) -> Mark:
    """Return a mark for a secret, which shows only whether the secret changes."""
    text = json.dumps(value, sort_keys=True, default=str)
    return Mark(_SECRET_TEXT, hashlib.sha256(text.encode()).hexdigest())


def is_secret_name(name: str) -> bool:
    """Return True if a value with this name must not be shown."""
    return bool(_SECRET_NAME.search(name)) and not _NO_SECRET_NAME.search(name)


def clean_value(value: Any, renamed: Mapping[str, str], name: str = "") -> Any:
    """Return a value in a form that may be shown.

    Args:
        value: The value.
        renamed: Names that Pulumi generated for resources that it will create → the names to show instead.
        name: The key of the value.
    """
    hides = bool(name) and is_secret_name(name) and value not in (None, "", [], {}) and not isinstance(value, bool)
    if isinstance(value, Mapping):
        if SIGNATURE in value:
            return _special(value)
        return mark_secret(value) if hides else _object(value, renamed)
    if isinstance(value, list):
        if hides:
            return mark_secret(value)
        return [clean_value(each, renamed) for each in value]
    if hides and value not in _UNKNOWN:
        return mark_secret(value)
    return _text(value, renamed) if isinstance(value, str) else value


def _special(value: Mapping[str, Any]) -> Any:
    kind = value[SIGNATURE]
    if kind in _FILES:
        # Without its path, which belongs to the machine where the preview was made.
        return f"{_FILES[kind]} of SHA-256 {str(value.get('hash', 'unknown'))[:16]}"
    if kind == _SECRET:
        return mark_secret({key: each for key, each in value.items() if key != SIGNATURE})
    # Outputs, references and types that Pulumi may add later are not shown.
    return UNKNOWN if kind in _UNKNOWN else mark_secret(value)


def _object(value: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    """Clean an object; in a pair of name and value, the name decides whether the value is a secret."""
    called = next((value[key] for key in ("name", "Name", "key", "Key") if isinstance(value.get(key), str)), "")
    cleaned = {}
    for key, each in value.items():
        hides = key in ("value", "Value", "DefaultValue") and is_secret_name(called)
        cleaned[replace_invisible(str(key))] = mark_secret(each) if hides else clean_value(each, renamed, str(key))
    return cleaned


def _text(value: str, renamed: Mapping[str, str]) -> str:
    if value == _SECRET_TEXT:
        return Mark(_SECRET_TEXT)
    if value in _UNKNOWN:
        return UNKNOWN
    for drawn, said in renamed.items():
        if drawn in value:
            value = value.replace(drawn, said)
    if (parsed := parse_document(value)) is not None:
        # Documents within documents hold secrets too.
        shown = clean_value(parsed, {})
        if shown != parsed:
            value = json.dumps(shown, separators=(",", ":"))
    return _SECRET_VALUE.sub(_SECRET_TEXT, _ANY_UNKNOWN.sub(str(UNKNOWN), replace_invisible(value)))


def replace_invisible(text: str) -> str:
    """Replace the characters of a text that are invisible but change how it reads."""
    return _UNSEEN.sub("\N{REPLACEMENT CHARACTER}", text)


def parse_document(value: Any) -> Any:
    """Return the JSON document that a text holds; None when it holds none.

    Args:
        value: Any value; only a text can hold a document, and a mark holds none.
    """
    if not isinstance(value, str) or isinstance(value, Mark) or value[:1] not in ("{", "["):
        return None
    try:
        parsed = json.loads(value)
    except ValueError:
        return None
    return parsed if isinstance(parsed, dict | list) else None
