"""Input transformers: from an event and a template to the text for a target.

This module also resolves JSON paths of EventBridge. In a JSON template, a value is inserted as JSON, or within quotes
as part of the text; in any other template it is inserted as text.
"""

from __future__ import annotations

import json
import re
from collections.abc import Mapping
from typing import Any

from local.errors import LocalError

Transformer = Mapping[str, Any]

#: Variables that are defined in every template.
_PREDEFINED = frozenset(
    f"aws.events.{name}" for name in ("rule-arn", "rule-name", "event.ingestion-time", "event", "event.json")
)
_VARIABLE = re.compile(r"<([A-Za-z0-9_.\-]+)>")
#: Tokens that determine whether a variable is within quotes.
_TOKEN = re.compile(rf'(?P<escape>\\.)|(?P<quote>")|{_VARIABLE.pattern}', re.DOTALL)
_PATH = re.compile(r"\$(\.[^.\[\]$\s*]+|\[\d+\]|\['[^']+'\])*")
_STEP = re.compile(r"\.([^.\[\]]+)|\[(\d+)\]|\['([^']+)'\]")


class TemplateError(LocalError, ValueError):
    """A template or path that can never be filled."""


class AbsentError(LocalError, LookupError):
    """A JSON path at which the event has nothing."""


def resolve(path: str, event: Any) -> Any:
    """Return the value at a JSON path of names and indexes, such as ``$.detail.items[0]``.

    Args:
        path: The path; ``$`` alone is the whole event.
        event: The event, or another value of JSON.

    Raises:
        TemplateError: The path is not valid.
        AbsentError: The event has nothing there.
    """
    check_path(path)
    value = event
    for name, index, quoted in _STEP.findall(path):
        try:
            value = value[int(index)] if index else value[name or quoted]
        except (KeyError, IndexError, TypeError) as error:
            raise AbsentError(f"The event has nothing at '{path}'.") from error
    return value


def check_path(path: str) -> None:
    """Refuse a text that is not a JSON path.

    Raises:
        TemplateError: It is not one.
    """
    if not _PATH.fullmatch(path):
        raise TemplateError(f"'{path}' is not a JSON path such as $.detail.alarmName.")


def check(transformer: Transformer) -> None:
    """Refuse a transformer that cannot be filled from any event.

    Raises:
        TemplateError: A path or a variable is not valid; the message names it.
    """
    paths = transformer.get("InputPathsMap", {})
    for name, path in paths.items():
        if name.lower().startswith("aws."):
            raise TemplateError(f"InputPathsMap names '{name}': names that start with 'AWS.' are reserved.")
        check_path(path)
    for name in _VARIABLE.findall(transformer["InputTemplate"]):
        if name not in paths and name not in _PREDEFINED:
            known = ", ".join(sorted({*paths, *_PREDEFINED}))
            raise TemplateError(f"InputTemplate names <{name}>, which InputPathsMap lacks; known: {known}.")


def fill_template(transformer: Transformer, event: Any, *, rule: str, received: str) -> str:
    """Fill the template of a transformer that :func:`check` accepts.

    Args:
        transformer: InputTemplate and InputPathsMap.
        event: The event.
        rule: The ARN of the rule that matched the event.
        received: The time at which the event arrived.
    """
    paths = transformer.get("InputPathsMap", {})
    predefined = {
        "aws.events.rule-arn": rule,
        "aws.events.rule-name": rule.rpartition("/")[2],
        "aws.events.event.ingestion-time": received,
        "aws.events.event": {key: value for key, value in event.items() if key != "detail"},
        "aws.events.event.json": event,
    }

    def value_of(name: str) -> Any:
        try:
            return predefined[name] if name in predefined else resolve(paths[name], event)
        except AbsentError:
            # AWS leaves such a variable empty and delivers.
            return ""

    template = str(transformer["InputTemplate"])
    if not _is_json(template):
        return _VARIABLE.sub(lambda match: _text(value_of(match[1])), template)
    quoted = False

    def filled(match: re.Match[str]) -> str:
        nonlocal quoted
        if match["quote"]:
            quoted = not quoted
        if match["quote"] or match["escape"]:
            return match[0]
        value = value_of(match[3])
        return json.dumps(_text(value))[1:-1] if quoted else json.dumps(value)

    return _TOKEN.sub(filled, template)


def _is_json(template: str) -> bool:
    """Return True if a template is a JSON object, array or text once its variables have values."""
    if template.lstrip().startswith("{"):
        return True
    try:
        return isinstance(json.loads(_VARIABLE.sub("0", template)), dict | list | str)
    except json.JSONDecodeError:
        return False


def _text(value: Any) -> str:
    return value if isinstance(value, str) else json.dumps(value)
