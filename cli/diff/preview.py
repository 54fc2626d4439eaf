"""Previews, read from the output of `pulumi preview --json`, whoever made it and whenever.

Any other document is refused, and so is a preview that failed: an incomplete preview shows an incomplete change.
"""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, Literal

from cli.console.errors import CliError
from cli.diff.values import clean_value, replace_invisible

Operation = Literal["same", "create", "update", "replace", "delete"]

#: The operation of each kind of step; for a resource with several steps, the first in this order counts.
_OPERATIONS: dict[str, Operation] = {
    "replace": "replace",
    "create-replacement": "replace",
    "import-replacement": "replace",
    "read-replacement": "same",
    "create": "create",
    "import": "create",
    "update": "update",
    "delete": "delete",
    "same": "same",
    "read": "same",
    "refresh": "same",
    "discard": "same",
    # The rest of a replacement that an earlier update began.
    "delete-replaced": "delete",
    "discard-replaced": "same",
    "remove-pending-replace": "same",
}
_ORDER = list(_OPERATIONS)

_URN = re.compile(r"^urn:pulumi:(?P<stack>[^:]+)::(?P<project>[^:]+)::(?P<types>.+?)::(?P<name>.+)$", re.DOTALL)
_STACK = "pulumi:pulumi:Stack"
#: An account, in the ARN of a resource or in a condition on the source account.
_ACCOUNT = re.compile(r"\barn:[\w-]+:[\w-]*:[\w-]*:(\d{12}):|\bSourceAccount\W+(\d{12})\b")
_COLOUR = re.compile(r"<\{%.*?%\}>|\x1b\[[0-9;]*m")
_HOW = "create one with `pulumi preview --json`, or omit --preview"


@dataclass(frozen=True)
class Resource:
    """A resource and what happens to it.

    Attributes:
        type: Its token, e.g. `aws:kms/key:Key`.
        old: Its inputs before; None when it is created.
        new: Its inputs after; None when it is deleted.
        because: The properties that force a replacement.
        changed: The properties that differ, as the provider reports them.
        was_protected: Whether Pulumi refused to delete it.
        is_kept: Whether AWS keeps it when it is removed from the stack.
        is_component: Whether it is a component, which exists only in the program.
        sources: Property → URNs of the resources that its value comes from.
    """

    urn: str
    name: str
    type: str
    operation: Operation
    old: Mapping[str, Any] | None
    new: Mapping[str, Any] | None
    because: tuple[str, ...] = ()
    changed: tuple[str, ...] = ()
    was_protected: bool = False
    is_protected: bool = False
    is_kept: bool = False
    is_component: bool = False
    sources: Mapping[str, tuple[str, ...]] = field(default_factory=dict)

    @property
    def kind(self) -> str:
        """The last part of its type, e.g. `Key`."""
        return self.type.rpartition(":")[2]

    @property
    def is_real(self) -> bool:
        """True if it exists outside the program, unlike components, providers and the stack itself."""
        return not self.is_component and not self.type.startswith(("pulumi:", "millrace:"))

    @property
    def before(self) -> Mapping[str, Any]:
        """The inputs before the change; empty when the resource is created."""
        return self.old or {}

    @property
    def after(self) -> Mapping[str, Any]:
        """The inputs after the change; empty when the resource is deleted."""
        return self.new or {}


@dataclass(frozen=True)
class Preview:
    """A preview of one stack.

    Attributes:
        region: The stack's region; empty when the preview does not name it.
        account: The account of most deployed resources; empty when that is unclear.
        is_new: Whether nothing is deployed: the stack itself is created.
        is_complete: Whether it also names the resources that stay as they are.
        assets: URN → the files of a resource before and after: path and SHA-256.
    """

    stack: str
    region: str
    resources: tuple[Resource, ...]
    warnings: tuple[str, ...] = ()
    account: str = ""
    is_new: bool = False
    is_complete: bool = False
    assets: Mapping[str, tuple[Mapping[str, str], Mapping[str, str]]] = field(default_factory=dict)

    def find_resources(self, *types: str) -> list[Resource]:
        """Return the resources of these types, sorted by type and name.

        Args:
            *types: The tokens of the types, e.g. `aws:kms/key:Key`.
        """
        return [each for each in self.resources if each.type in types]


def read_preview(data: bytes, where: str) -> Preview:
    """Return the preview in JSON data.

    Args:
        data: The JSON data.
        where: The name of the data in errors.

    Raises:
        CliError: When the data are not a preview, or the preview failed.
    """
    return parse_preview(parse_json(data, where), where)


def parse_json(data: bytes, where: str) -> dict[str, Any]:
    """Return the JSON object that the data hold.

    Raises:
        CliError: When they hold none.
    """
    if not data.strip():
        raise CliError(where, "is empty", expected="the JSON of a preview", fix=_HOW)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        raise CliError(
            where, f"is not UTF-8 (byte {error.start})", expected="the JSON of a preview", fix=f"{_HOW}"
        ) from error
    try:
        document = json.loads(text)
    except (ValueError, RecursionError) as error:
        cut = " It seems to be truncated." if text.lstrip()[:1] == "{" and text.rstrip()[-1:] != "}" else ""
        raise CliError(where, f"is not JSON: {error}.{cut}", expected="the JSON of a preview", fix=_HOW) from error
    if not isinstance(document, dict):
        raise CliError(where, f"contains {type(document).__name__}", expected="an object with `steps`", fix=_HOW)
    return document


def parse_preview(document: Mapping[str, Any], where: str) -> Preview:
    """Return the preview in a parsed document.

    Args:
        document: The parsed output of `pulumi preview --json`.
        where: The name of the document in errors.

    Raises:
        CliError: When the document is not a preview, or the preview failed.
    """
    errors, warnings = _diagnostics(document, where)
    if errors:
        raise CliError(f"{where}:", "\n".join(["the preview failed, so its changes are unknown:", *errors]))
    steps = document.get("steps")
    if steps is None and document.get("changeSummary") is not None:
        steps = []
    if steps is not None and not isinstance(steps, list):
        kind = {dict: "an object", str: "a string", bool: "a Boolean"}.get(type(steps), "")
        raise CliError(f"{where}: steps", f"is {kind or steps}", expected="a list", fix=_HOW)
    if steps is None:
        known = ", ".join(sorted(map(str, document))[:8]) or "nothing"
        raise CliError(where, f"has no list `steps`, only {known}", expected="the JSON of a preview", fix=_HOW)
    _check_complete(steps, document.get("changeSummary"), where)
    grouped: dict[str, list[Mapping[str, Any]]] = {}
    for number, step in enumerate(steps):
        grouped.setdefault(_check_step(step, where, number), []).append(step)
    renamed = dict(_list_generated_names(grouped))
    resources = sorted(
        (_resource(urn, group, renamed) for urn, group in grouped.items()), key=lambda each: (each.type, each.name)
    )
    stacks = {_parts(urn)["stack"] for urn in grouped}
    if len(stacks) > 1:
        raise CliError(where, f"covers several stacks: {', '.join(sorted(stacks))}", expected="one", fix=_HOW)
    config = document.get("config")
    is_created = any(each.type == _STACK and each.operation == "create" for each in resources)
    return Preview(
        stack=replace_invisible(next(iter(stacks), "")),
        region=str(config.get("aws:region", "")) if isinstance(config, Mapping) else "",
        resources=tuple(resources),
        warnings=tuple(warnings),
        account=_account(grouped),
        # A comparison of two revisions does not read what is deployed.
        is_new=is_created and "compared" not in document,
        is_complete=is_created
        or any(each.operation == "same" and not each.type.startswith("pulumi:") for each in resources),
        assets=dict(_assets(grouped)),
    )


def _check_complete(steps: Sequence[Any], summary: Any, where: str) -> None:
    """Raise if steps are missing from a preview: they would be mistaken for resources that do not change.

    Only changes are counted: unchanged resources have steps only with `--show-sames`, but the summary always has them.
    """
    said = summary if isinstance(summary, Mapping) else {}
    if not steps and not any(said.values()):
        raise CliError(
            where,
            "has no steps and no changeSummary, so its stack is unknown",
            expected="the complete JSON of a preview",
            fix=_HOW,
        )
    shown = Counter(str(step.get("op")) for step in steps if isinstance(step, Mapping))
    for name in ("create", "import", "update", "replace", "delete"):
        count = said.get(name, 0)
        if isinstance(count, int) and shown[name] < count:
            raise CliError(
                f"{where}: changeSummary",
                f"reports {name}: {count}, but `steps` contains {shown[name]}",
                expected="the complete JSON of a preview",
                fix=_HOW,
            )


def _check_step(step: Any, where: str, number: int) -> str:
    if not isinstance(step, Mapping) or not isinstance(step.get("urn"), str) or not isinstance(step.get("op"), str):
        raise CliError(
            f"{where}: steps[{number}]", "has no `op` and `urn`", expected="the JSON of a preview", fix=f"{_HOW}"
        )
    if step["op"] not in _OPERATIONS:
        raise CliError(
            f"{where}: steps[{number}].op",
            f"is {step['op']!r}, which this version does not support",
            expected=f"one of {', '.join(_ORDER)}",
            fix="update Millrace, or create the preview with the Pulumi version that Millrace uses",
        )
    for state in ("oldState", "newState"):
        if step.get(state) is not None and not isinstance(step[state], Mapping):
            raise CliError(
                f"{where}: steps[{number}].{state}", "is not an object", expected="the JSON of a preview", fix=f"{_HOW}"
            )
    if not _URN.match(step["urn"]):
        raise CliError(
            f"{where}: steps[{number}].urn", f"is {step['urn']!r}", expected="urn:pulumi:<stack>::…", fix=f"{_HOW}"
        )
    return str(step["urn"])


def _parts(urn: str) -> dict[str, str]:
    found = _URN.match(urn)
    assert found is not None, "checked when the step was read"
    return found.groupdict()


def _diagnostics(document: Mapping[str, Any], where: str) -> tuple[list[str], list[str]]:
    """Return the errors and the warnings, without duplicates."""
    given = document.get("diagnostics") or []
    if not isinstance(given, list):
        raise CliError(f"{where}: `diagnostics`", "is not a list", expected="the JSON of a preview", fix=_HOW)
    said: dict[str, list[str]] = {"error": [], "warning": []}
    for each in given:
        if not isinstance(each, Mapping) or each.get("severity") not in said:
            continue
        message = _COLOUR.sub("", str(each.get("message", ""))).strip()
        message = message.removeprefix(f"{each['severity']}: ").removeprefix("Preview failed: ")
        name = str(each.get("urn", "")).rpartition("::")[2]
        text = str(clean_value(f"{name}: {message}" if name else message, {}))
        if text and text not in said[each["severity"]]:
            said[each["severity"]].append(text)
    if len(said["error"]) > 1:
        # Pulumi's own general error, which follows the specific ones.
        said["error"] = [each for each in said["error"] if each != "preview failed"]
    return said["error"], said["warning"]


def _list_generated_names(grouped: Mapping[str, Sequence[Mapping[str, Any]]]) -> Iterator[tuple[str, str]]:
    """Yield the random names that Pulumi generated for new resources, each with a name that is always the same."""
    for urn, steps in grouped.items():
        for step in steps:
            if _OPERATIONS[step["op"]] not in ("create", "replace"):
                continue
            inputs = (step.get("newState") or {}).get("inputs") or {}
            before = (step.get("oldState") or {}).get("inputs") or {}
            for key in inputs.get("__defaults") or []:
                drawn, name = inputs.get(key), _parts(urn)["name"]
                if isinstance(drawn, str) and drawn.startswith(f"{name}-") and drawn != before.get(key):
                    yield drawn, f"{name}-(new)"


def _resource(urn: str, steps: Sequence[Mapping[str, Any]], renamed: Mapping[str, str]) -> Resource:
    first = min(steps, key=lambda step: _ORDER.index(step["op"]))
    olds = [step["oldState"] for step in steps if step.get("oldState")]
    news = [step["newState"] for step in steps if step.get("newState")]
    old, new = (olds[0] if olds else {}), (news[-1] if news else {})
    parts = _parts(urn)
    operation = _OPERATIONS[first["op"]]
    return Resource(
        urn=replace_invisible(urn),
        name=replace_invisible(parts["name"]),
        type=replace_invisible(parts["types"].rpartition("$")[2]),
        operation=operation,
        old=_inputs(old, renamed) if old and operation != "create" else None,
        new=_inputs(new, renamed) if new and operation != "delete" else None,
        because=_list_causes(first),
        changed=_texts(first, "diffReasons"),
        was_protected=bool(old.get("protect")),
        is_protected=bool(new.get("protect")),
        is_kept=bool(old.get("retainOnDelete")),
        is_component=(new or old).get("custom") is False,
        sources={
            str(key): tuple(str(each) for each in urns or ())
            for key, urns in ((new or old).get("propertyDependencies") or {}).items()
        },
    )


def _account(grouped: Mapping[str, Sequence[Mapping[str, Any]]]) -> str:
    """Return the stack's own account, from what is already deployed, so that a change cannot claim another one."""
    said = Counter(
        found[1] or found[2]
        for steps in grouped.values()
        for step in steps
        for found in _ACCOUNT.finditer(json.dumps(step.get("oldState")))
    )
    most = max(said.values(), default=0)
    own = [account for account, count in said.items() if count == most]
    return own[0] if len(own) == 1 else ""


def _inputs(state: Mapping[str, Any], renamed: Mapping[str, str]) -> dict[str, Any]:
    given = state.get("inputs") or {}
    shown: dict[str, Any] = clean_value({key: each for key, each in given.items() if key != "__defaults"}, renamed)
    return shown


def _list_causes(step: Mapping[str, Any]) -> tuple[str, ...]:
    """Return the properties that force a replacement, as precisely as the provider reports them."""
    detailed = step.get("detailedDiff") or {}
    exact = {
        str(path)
        for path, each in detailed.items()
        if isinstance(each, Mapping) and str(each.get("kind", "")).endswith("-replace")
    }
    return tuple(sorted(map(replace_invisible, exact))) or _texts(step, "replaceReasons")


def _texts(step: Mapping[str, Any], key: str) -> tuple[str, ...]:
    return tuple(sorted({replace_invisible(str(each)) for each in step.get(key) or ()}))


def _assets(
    grouped: Mapping[str, Sequence[Mapping[str, Any]]],
) -> Iterator[tuple[str, tuple[Mapping[str, str], Mapping[str, str]]]]:
    """Yield the files of resources before and after, such as the code of the jobs."""
    for urn, steps in grouped.items():
        for step in steps:
            found = [((step.get(state) or {}).get("inputs") or {}).get("source") for state in ("oldState", "newState")]
            before, after = [each if isinstance(each, Mapping) else {} for each in found]
            if before or after:
                yield urn, (before, after)
