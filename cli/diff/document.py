"""The whole difference as one document: the source of the review comment, and the output of `--format json`.

Its format is described in `docs/reviewing.md`; `version` changes when a reader of the old format would be misled.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

from cli.diff import cost, declared, differences, model, permissions, pipelines, risks, traffic, watching
from cli.diff.preview import Preview, Resource
from cli.prices import Prices

VERSION = 2

NOTHING, CHANGES, RISKY = "no changes", "changes", "risky changes"

#: The maximum number of lines of a document's diff: nobody reads more.
_LINES = 400


@dataclass(frozen=True)
class Context:
    """Information that the preview itself does not have.

    Attributes:
        use_case: The use case's name, or `platform`.
        environment: The environment's name.
        source: What was compared, for people.
        region: The stack's region.
        prices: The prices of resources.
        figures: Returns the metrics of a package in the registry.
        comparison: Returns the comparison with the champion that was recorded when a package was registered.
        fetch: Downloads a bundle from the lake.
        use_cases: The declarations before and after, where they are known without the bundles.
        notes: Additional notes for the reader.
    """

    use_case: str
    environment: str
    source: str
    region: str
    prices: Prices
    figures: model.Figures = lambda _: None
    comparison: model.Comparison = lambda _: ""
    fetch: declared.Fetch | None = None
    use_cases: tuple[declared.UseCase | None, declared.UseCase | None] = (None, None)
    notes: Sequence[str] = field(default_factory=list)


def make_document(preview: Preview, context: Context) -> dict[str, Any]:
    """Return the document of a preview; equal previews give equal documents.

    Args:
        preview: The preview of the change.
        context: The information that the preview does not have.
    """
    known = None not in context.use_cases
    use_cases = context.use_cases if known else declared.read_use_cases(preview, context.fetch)
    granted = permissions.list_changes(preview)
    found = risks.list_risks(preview, use_cases, granted)
    resources = [_resource(each) for each in preview.resources if _is_shown(each)]
    counts = Counter(each["operation"] for each in resources)
    made = {
        "version": VERSION,
        "stack": preview.stack or f"{context.use_case}-{context.environment}",
        "use_case": context.use_case,
        "environment": context.environment,
        "region": context.region,
        "source": context.source,
        "verdict": RISKY if found else CHANGES if resources else NOTHING,
        "new": preview.is_new,
        "counts": {name: counts[name] for name in ("create", "update", "replace", "delete") if counts[name]},
        "unchanged": sum(each.operation == "same" and each.is_real for each in preview.resources)
        if preview.is_complete
        else None,
        "risks": found,
        "traffic": traffic.list_changes(preview),
        "model": model.list_changes(preview, context.figures, use_cases, context.comparison),
        "permissions": granted,
        "watching": watching.list_changes(preview),
        "pipelines": [each for each in pipelines.list_changes(preview) if _says_something(each)],
        "cost": cost.compare_costs(preview, context.prices),
        "resources": resources,
        "notes": [*context.notes, *_notes(preview), *preview.warnings],
    }
    shown: dict[str, Any] = _replace_absent(made)
    return shown


def _replace_absent(value: Any) -> Any:
    """Replace `ABSENT` with None, everywhere in a value."""
    if isinstance(value, Mapping):
        return {key: _replace_absent(each) for key, each in value.items()}
    if isinstance(value, list):
        return [_replace_absent(each) for each in value]
    return None if value is differences.ABSENT else value


def _is_shown(resource: Resource) -> bool:
    if resource.operation == "same":
        # Only its protection from deletion changes.
        return resource.is_real and resource.was_protected and not resource.is_protected
    return resource.is_real


def _says_something(pipeline: Mapping[str, Any]) -> bool:
    keys = ("steps_added", "steps_removed", "steps_changed", "parameters", "note")
    return bool(pipeline["code_changed"]) or any(pipeline[key] for key in keys)


def _notes(preview: Preview) -> Iterator[str]:
    if preview.resources and not preview.is_complete:
        yield (
            "The preview lists only changed resources: costs cover only these, and a removed protection is not "
            "detected. `pulumi preview --json --show-sames` includes the others."
        )


def _resource(resource: Resource) -> dict[str, Any]:
    return {
        "urn": resource.urn,
        "name": resource.name,
        "type": resource.type,
        "operation": "unprotect" if resource.operation == "same" else resource.operation,
        "kept": resource.is_kept and resource.operation in ("delete", "replace"),
        "because": list(resource.because),
        "properties": [_property(each, resource) for each in differences.list_differences(resource)],
        "inputs": _inputs(resource),
    }


def _inputs(resource: Resource) -> dict[str, Any]:
    """Return all inputs of a resource that is created or deleted; none for any other."""
    if resource.operation == "create":
        return dict(resource.after)
    return dict(resource.before) if resource.operation == "delete" else {}


def _property(difference: differences.Difference, resource: Resource) -> dict[str, Any]:
    top = difference.path.partition(".")[0].partition("[")[0]
    hidden = difference.before == difference.after
    before, after = difference.before, difference.after
    if resource.type == pipelines.PIPELINE:
        # Its code is reported once, with the model.
        before, after = pipelines.hide_code(before), pipelines.hide_code(after)
    lines = None if hidden else differences.make_line_diff(before, after)
    made = {
        "path": difference.path,
        "replaces": any(each.partition(".")[0].partition("[")[0] == top for each in resource.because),
        "hidden": hidden,
    }
    if lines is not None:
        shown = lines[:_LINES]
        return {**made, "diff": shown, "left_out": len(lines) - len(shown)}
    return {**made, "before": difference.before, "after": difference.after}
