"""The model that serves and what trains it, before and after: version, code, hyperparameters, features."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Mapping
from typing import Any

from cli.diff import declared, pipelines
from cli.diff.differences import ABSENT
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark, clean_value, parse_document

MODEL = "aws:sagemaker/model:Model"
PARAMETER, GROUP = "aws:ssm/parameter:Parameter", "aws:sagemaker/featureGroup:FeatureGroup"

#: Returns the registry's metrics of a package by its ARN; None when they cannot be read.
Figures = Callable[[str], Mapping[str, Any] | None]
#: Returns how a package compared with the champion, as recorded in the registry; empty when that cannot be read.
Comparison = Callable[[str], str]


def list_changes(
    preview: Preview,
    figures: Figures,
    use_cases: tuple[declared.UseCase | None, declared.UseCase | None],
    comparison: Comparison = lambda _: "",
) -> dict[str, Any]:
    """Return the changes to the model; empty lists and None where nothing changes.

    Args:
        preview: The preview of the change.
        figures: Looks up the metrics of a package by its ARN.
        use_cases: The declarations before and after; None for one that is not known.
        comparison: Looks up the comparison of a package with the champion by its ARN; empty by default.

    Returns:
        The part ``model`` of the document of `millrace diff`, with `ABSENT` for a value that does not exist.
    """
    before, after = use_cases
    return {
        "serves": _serves(preview, figures, comparison),
        "image": _image(preview),
        "code": _code(preview),
        "hyperparameters": list(_hyperparameters(preview)),
        "features": _features(preview),
        "declaration": declared.list_changes(before, after),
        "declaration_known": before is not None and after is not None,
        "variables": list(_variables(preview)),
    }


def find_package(inputs: Mapping[str, Any]) -> str | None:
    """Return the ARN of the package that a model is made of; None when it has none.

    Args:
        inputs: The inputs of a SageMaker model, before or after the change.
    """
    containers = [inputs.get("primaryContainer"), *(inputs.get("containers") or [])]
    for container in containers:
        if isinstance(container, Mapping) and container.get("modelPackageName"):
            return str(container["modelPackageName"])
    return None


def parse_version(arn: str | None) -> int | None:
    """Return the version at the end of a package's ARN; None when there is none.

    Args:
        arn: The package's ARN; None for a model without a package.
    """
    last = (arn or "").rpartition("/")[2]
    return int(last) if last.isdecimal() else None


def _serves(preview: Preview, figures: Figures, comparison: Comparison) -> dict[str, Any] | None:
    for model in preview.find_resources(MODEL):
        before, after = find_package(model.before), find_package(model.after)
        if model.operation != "same" and before != after:
            return {
                "before": _package(before, figures) if model.old is not None else None,
                "after": _package(after, figures) if model.new is not None else None,
                # Only if the version is newer: an older one was compared with an earlier champion.
                "comparison": _comparison(before, after, comparison),
            }
    return None


def _comparison(before: str | None, after: str | None, comparison: Comparison) -> str | None:
    old, new = parse_version(before), parse_version(after)
    if old is None or new is None or new < old:
        return None
    return clean_value(comparison(str(after)), {}) or None


def _package(arn: str | None, figures: Figures) -> dict[str, Any]:
    if arn is None or parse_version(arn) is None:
        return {"package": arn, "version": None, "metrics": None}
    return {"package": arn, "version": parse_version(arn), "metrics": figures(arn)}


def _image(preview: Preview) -> dict[str, Any] | None:
    """Return the change of the jobs' image; None when it stays the same."""
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        if pipeline.operation == "update":
            before, after = _images(pipeline.before), _images(pipeline.after)
            if before and after and before != after:
                return {"before": ", ".join(sorted(before)), "after": ", ".join(sorted(after))}
    return None


def _images(inputs: Mapping[str, Any]) -> set[str]:
    found = set()
    for step in pipelines.list_steps(pipelines.parse_definition(inputs)).values():
        arguments = step.get("Arguments") or {}
        for where in ("AppSpecification", "AlgorithmSpecification"):
            image = (arguments.get(where) or {}).get("ImageUri") or (arguments.get(where) or {}).get("TrainingImage")
            if isinstance(image, str):
                found.add(image)
    return found


def _code(preview: Preview) -> dict[str, Any] | None:
    """Return the change of the bundles that jobs run, by their hashes; None when they stay the same."""
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        if pipeline.operation != "update":
            continue
        before, after = [
            pipelines.find_bundles(str(side.get("pipelineDefinition", "")))
            for side in (pipeline.before, pipeline.after)
        ]
        if before != after and before and after:
            return {"before": ", ".join(sorted(before)), "after": ", ".join(sorted(after))}
    return None


def _hyperparameters(preview: Preview) -> Iterator[dict[str, Any]]:
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        if pipeline.operation != "update":
            continue
        before, after = pipelines.find_hyperparameters(pipeline.before), pipelines.find_hyperparameters(pipeline.after)
        if not after and pipelines.parse_definition(pipeline.after) is None:
            continue
        for name in sorted({*before, *after}):
            old, new = before.get(name, ABSENT), after.get(name, ABSENT)
            if old != new:
                yield {"name": name, "before": old, "after": new}


def _variables(preview: Preview) -> Iterator[dict[str, Any]]:
    """Yield the changed environment variables of the served model."""
    for model in preview.find_resources(MODEL):
        if model.operation in ("same", "create", "delete"):
            continue
        before, after = [
            (side.get("primaryContainer") or {}).get("environment") or {} for side in (model.before, model.after)
        ]
        for name in sorted({*before, *after}):
            old, new = before.get(name, ABSENT), after.get(name, ABSENT)
            if old != new:
                yield {"name": name, "before": old, "after": new}


# -- features ----------------------------------------------------------------------------------------------------------


def _features(preview: Preview) -> list[dict[str, Any]]:
    """Return the features added, removed and retyped, table by table, including new and deleted tables."""
    found = []
    for parameter in preview.find_resources(PARAMETER):
        name = str(parameter.after.get("name") or parameter.before.get("name") or "")
        if parameter.operation == "same" or not name.endswith("/schema"):
            continue
        before, after = _schema(parameter.before), _schema(parameter.after)
        found.append(_table(name.split("/")[-2], parameter, before, after))
    return sorted(found, key=lambda each: str(each["table"]))


def _schema(inputs: Mapping[str, Any]) -> dict[str, str]:
    parsed = parse_document(inputs.get("insecureValue"))
    return {str(name): str(kind) for name, kind in parsed.items()} if isinstance(parsed, dict) else {}


def _table(name: str, parameter: Resource, before: Mapping[str, str], after: Mapping[str, str]) -> dict[str, Any]:
    unknown = isinstance(parameter.after.get("insecureValue"), Mark)
    return {
        "table": name,
        "operation": parameter.operation,
        "added": [{"name": each, "type": after[each]} for each in after if each not in before],
        "removed": [] if unknown else [{"name": each, "type": before[each]} for each in before if each not in after],
        "retyped": [
            {"name": each, "before": before[each], "after": after[each]}
            for each in after
            if each in before and before[each] != after[each]
        ],
    }


def format_value(value: Any) -> str:
    """Return a value as one line: a text as it is, anything else as JSON.

    Args:
        value: JSON data.
    """
    return value if isinstance(value, str) else json.dumps(value, sort_keys=True, ensure_ascii=False)
