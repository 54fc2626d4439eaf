"""The upgrade of a stack file: keys are renamed and removed in place, and nothing else changes.

The parser reports where every key and value begins and ends; the text between them, including comments and
`encryptionsalt`, is never rewritten.
"""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any, Literal

from cli.upgrading import (
    Finding,
    UnreadableSourceError,
    Upgraded,
    explain_retirement,
    find_unit,
    make_automatic_finding,
    make_duplicate_finding,
    make_manual_finding,
    parts,
)
from millrace import Environment
from millrace.deprecations import Entry, Table, get_current_name
from millrace.part import Part

_ENVIRONMENT = "millrace:environment"
#: The ISO 8601 duration for a number of each unit.
_LETTERS = {"seconds": "PT{}S", "minutes": "PT{}M", "hours": "PT{}H", "days": "P{}D"}

#: A replacement in a text: start, end, and new text.
_Edit = tuple[int, int, str]


def upgrade_stack_file(content: bytes, table: Table) -> Upgraded:
    """Upgrade a stack file to the current names.

    Args:
        content: The content of the file.
        table: The renamed and the retired fields.

    Returns:
        The new content, equal to the old one if nothing changes, and the findings in the order of their lines.

    Raises:
        UnreadableSourceError: When the content is not valid YAML in UTF-8.
    """
    text = _decode(content)
    found = _Search(text, table)
    environment = _value(_value(_parse_nodes(text), "config"), _ENVIRONMENT)
    if environment is not None:
        found.search(Environment, environment)
    for start, end, new in sorted(set(found.edits), reverse=True):
        text = text[:start] + new + text[end:]
    return Upgraded(text.encode(), sorted(dict.fromkeys(found.findings), key=lambda each: each.line))


def read_environment_name(content: bytes) -> str | None:
    """Return the name of the environment that a stack file describes; None if it names none.

    Args:
        content: The content of the file.

    Raises:
        UnreadableSourceError: When the content is not valid YAML in UTF-8.
    """
    name = _value(_value(_value(_parse_nodes(_decode(content)), "config"), _ENVIRONMENT), "name")
    return str(name.value) if name is not None and isinstance(name.value, str) else None


def _decode(content: bytes) -> str:
    try:
        return content.decode()
    except UnicodeDecodeError as error:
        raise UnreadableSourceError(content[: error.start].count(b"\n") + 1, "it is not UTF-8") from error


def _parse_nodes(text: str) -> Any:
    """Parse YAML into a tree of nodes with their positions."""
    from ruamel.yaml import YAML
    from ruamel.yaml.error import MarkedYAMLError, YAMLError

    try:
        return YAML(typ="rt", pure=True).compose(text)
    except MarkedYAMLError as error:
        mark = error.problem_mark or error.context_mark
        raise UnreadableSourceError(mark.line + 1 if mark else None, str(error.problem or error.context)) from error
    except YAMLError as error:
        raise UnreadableSourceError(None, str(error)) from error


def _pairs(node: Any) -> list[tuple[Any, Any]]:
    return list(node.value) if node is not None and node.id == "mapping" else []


def _value(node: Any, key: str) -> Any:
    return next((value for name, value in _pairs(node) if name.value == key), None)


class _Search:
    """A search for old fields in a text, which collects findings and edits."""

    def __init__(self, text: str, table: Table) -> None:
        self.text, self.table = text, table
        self.findings: list[Finding] = []
        self.edits: list[_Edit] = []

    def search(self, part: type[Part], node: Any) -> Literal["empty", "kept"]:
        """Search a mapping that describes a part; return `empty` if all of its keys have to be removed, else `kept`."""
        pairs = _pairs(node)
        given = {key.value for key, _ in pairs}
        gone = [place for place, (key, value) in enumerate(pairs) if self._is_gone(part, key, value, given)]
        if pairs and len(gone) == len(pairs):
            return "empty"
        self.edits += _list_removals(self.text, node, gone)
        return "kept"

    def _is_gone(self, part: type[Part], key: Any, value: Any, given: set[str]) -> bool:
        route = self.table.trace(part.__name__, str(key.value))
        if key.value == "<<":
            # The merged mapping has an anchor and may be defined anywhere in the file.
            for merged in [value] if value.id == "mapping" else _items(value):
                self.search(part, merged)
            return False
        name = (get_current_name(route) if route else None) or str(key.value)
        if route and self._mend(part, key, value, route, given):
            return True
        inner = parts.find_held_part(part, name)
        left: list[str] = []
        if inner is not None:
            left = [self.search(inner, each) for each in ([value] if value.id == "mapping" else _items(value))]
        return left == ["empty"] and value.id == "mapping"

    def _mend(self, part: type[Part], key: Any, value: Any, route: list[Entry], given: set[str]) -> bool:
        """Add the findings and edits for an old key; return True if the key has to be removed."""
        new, line = get_current_name(route), key.start_mark.line + 1
        if new is None and value.anchor:
            reason = (
                f"{key.value} has no effect any more: {explain_retirement(route)}; its value has an anchor, "
                "so remove it by hand"
            )
            self.findings.append(make_manual_finding(line, part.__name__, key.value, route, reason))
            return False
        if new in given:
            self.findings.append(make_duplicate_finding(line, part.__name__, key.value, route))
            return False
        if new is not None and (of := find_unit(route)):
            duration = _duration(value, of)
            if duration is None:
                reason = f"{key.value} is now {new}, a duration; write e.g. {_LETTERS[of].format(5)} by hand"
                self.findings.append(make_manual_finding(line, part.__name__, key.value, route, reason))
                return False
            if value.value:
                self.edits.append((value.start_mark.index, value.end_mark.index, duration))
        self.findings.append(make_automatic_finding(line, part.__name__, key.value, route))
        if new is None:
            return True
        start, end = key.start_mark.index, key.end_mark.index
        self.edits.append((start, end, self.text[start:end].replace(key.value, new)))
        return False


def _items(node: Any) -> list[Any]:
    return list(node.value) if node.id == "sequence" else []


def _duration(node: Any, of: str) -> str | None:
    """Return a number of a unit as an ISO 8601 duration; an empty value as it is, and None for other values."""
    if node.id != "scalar":
        return None
    if node.value in ("", "~", "null"):
        return str(node.value)
    try:
        number = float(node.value)
    except ValueError:
        return None
    return _LETTERS[of].format(f"{number:g}") if number >= 0 and f"{number:g}".replace(".", "").isdigit() else None


# -- taking keys out ---------------------------------------------------------------------------------------------------


def _list_removals(text: str, mapping: Any, gone: list[int]) -> Iterator[_Edit]:
    """Yield the edits that remove some of a mapping's keys; ``gone`` must not be all of them."""
    pairs = mapping.value
    for place in gone:
        key, value = pairs[place]
        if not mapping.flow_style:
            # Remove whole lines, but keep the comments of the next key.
            start = text.rfind("\n", 0, key.start_mark.index) + 1
            end = text.find("\n", _find_end(text, key, value))
            yield start, len(text) if end < 0 else end + 1, ""
        elif all(each in gone for each in range(place, len(pairs))):
            last = max(each for each in range(len(pairs)) if each not in gone)
            if place == last + 1:
                yield _find_end(text, *pairs[last]), _find_end(text, *pairs[-1]), ""
        else:
            yield key.start_mark.index, pairs[place + 1][0].start_mark.index, ""


def _find_end(text: str, key: Any, value: Any) -> int:
    """Return where the text of a key and its value ends; a block's own end mark is where the next item begins."""
    start, end = int(value.start_mark.index), int(value.end_mark.index)
    if value.id != "scalar" and not value.flow_style and value.value:
        last = value.value[-1]
        return _find_end(text, *(last if value.id == "mapping" else (last, last)))
    if start == end:
        # The value is empty, and the position of its mark has no meaning.
        return int(key.end_mark.index)
    return start + len(text[start:end].rstrip())
