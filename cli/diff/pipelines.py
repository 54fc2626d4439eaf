"""Pipelines before and after, from their definitions: steps, parameters, code, gates and promotion."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from typing import Any

from cli.diff import differences
from cli.diff.differences import ABSENT
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark, parse_document
from millrace.inventory import JobVariable

PIPELINE = "aws:sagemaker/pipeline:Pipeline"
#: The name of a bundle, which has the hash of its content.
BUNDLE = re.compile(r"millrace-[a-z0-9-]+-(?P<hash>[0-9a-f]{16})\.pyz")
PROMOTION = JobVariable.PROMOTION.value

_CODE = "(code)"
#: The types of steps that produce or register a model.
_TRAINING = ("Training", "RegisterModel")

Step = Mapping[str, Any]


def list_changes(preview: Preview) -> list[dict[str, Any]]:
    """Return the pipelines whose steps or parameters change; if only the code changes, without any steps.

    Args:
        preview: The preview of the change.

    Returns:
        Entries for the part ``pipelines`` of the document of `millrace diff`, with `ABSENT` for a value that does not
        exist.
    """
    found = []
    for pipeline in preview.find_resources(PIPELINE):
        if pipeline.operation != "same" and (entry := _pipeline(pipeline)):
            found.append(entry)
    return found


def _pipeline(pipeline: Resource) -> dict[str, Any] | None:
    name = str(pipeline.after.get("pipelineName") or pipeline.before.get("pipelineName") or pipeline.name)
    entry: dict[str, Any] = {
        "pipeline": name,
        "operation": pipeline.operation,
        "steps_added": [],
        "steps_removed": [],
        "steps_changed": [],
        "parameters": [],
        "code_changed": False,
        "trains": _trains(pipeline),
        "note": "",
    }
    if pipeline.operation == "create":
        entry["steps_added"] = list(list_steps(parse_definition(pipeline.after)))
        return entry
    if pipeline.operation == "delete":
        entry["steps_removed"] = list(list_steps(parse_definition(pipeline.before)))
        return entry
    before, after = parse_definition(pipeline.before), parse_definition(pipeline.after)
    if before is None or after is None:
        entry["note"] = "its definition is known after deployment"
        return entry
    old, new = list_steps(before), list_steps(after)
    entry["steps_added"] = [step for step in new if step not in old]
    entry["steps_removed"] = [step for step in old if step not in new]
    for step in new:
        if step not in old or old[step] == new[step]:
            continue
        differing = list(differences.compare_values(_hide_step_code(old[step]), _hide_step_code(new[step])))
        if find_bundles(json.dumps(old[step])) != find_bundles(json.dumps(new[step])):
            entry["code_changed"] = True
        if differing:
            changed = [{"path": each.path, "before": each.before, "after": each.after} for each in differing]
            entry["steps_changed"].append({"step": step, "changes": changed})
    entry["parameters"] = _parameters(before, after)
    return entry


def parse_definition(inputs: Mapping[str, Any]) -> dict[str, Any] | None:
    """Return a pipeline's definition; None when it is known only after deployment.

    Args:
        inputs: The inputs of a pipeline, before or after the change.
    """
    parsed = parse_document(inputs.get("pipelineDefinition"))
    return parsed if isinstance(parsed, dict) else None


def list_steps(parsed: Mapping[str, Any] | None) -> dict[str, Step]:
    """Return the steps by name, including those within conditions, in the definition's order.

    Args:
        parsed: The parsed definition; None has no steps.
    """
    return dict(_walk((parsed or {}).get("Steps") or []))


def _walk(given: list[Any]) -> Iterator[tuple[str, Step]]:
    for step in given:
        if not isinstance(step, Mapping):
            continue
        arguments = step.get("Arguments") if isinstance(step.get("Arguments"), Mapping) else {}
        assert isinstance(arguments, Mapping)
        if step.get("Type") == "Condition":
            outcome = {branch: [each.get("Name") for each in arguments.get(branch) or []] for branch in _BRANCHES}
            yield str(step.get("Name")), {**step, "Arguments": {**arguments, **outcome}}
            for branch in _BRANCHES:
                yield from _walk(arguments.get(branch) or [])
        else:
            yield str(step.get("Name")), step


_BRANCHES = ("IfSteps", "ElseSteps")


def _hide_step_code(step: Step) -> Any:
    """Return a step without the name of its code, which is reported only once."""
    return json.loads(_hide_text_code(json.dumps(step)))


def hide_code(text: Any) -> Any:
    """Replace the names of all code in a definition with the same placeholder."""
    return _hide_text_code(text) if isinstance(text, str) and not isinstance(text, Mark) else text


def _hide_text_code(text: str) -> str:
    """Replace names of bundles, and their full hashes, by which a job verifies them, with a placeholder."""
    for hash in find_bundles(text):
        text = re.sub(rf"\b{hash}[0-9a-f]{{48}}\b", _CODE, text)
    return BUNDLE.sub(_CODE, text)


def find_bundles(text: str) -> set[str]:
    """Return the hashes of the bundles that a text names."""
    return {found["hash"] for found in BUNDLE.finditer(text)}


def _trains(pipeline: Resource) -> bool:
    """Return True if a pipeline produces a model, or may do so because its definition is not known."""
    sides = [side for side in (pipeline.old, pipeline.new) if side is not None]
    parsed = [parse_definition(side) for side in sides]
    return None in parsed or any(step.get("Type") in _TRAINING for each in parsed for step in list_steps(each).values())


def _parameters(before: Mapping[str, Any], after: Mapping[str, Any]) -> list[dict[str, Any]]:
    sides = [
        {str(each.get("Name")): each.get("DefaultValue", ABSENT) for each in side.get("Parameters") or []}
        for side in (before, after)
    ]
    return [
        {"name": name, "before": sides[0].get(name, ABSENT), "after": sides[1].get(name, ABSENT)}
        for name in sorted({*sides[0], *sides[1]})
        if (name in sides[0]) != (name in sides[1]) or sides[0].get(name) != sides[1].get(name)
    ]


# -- promotion, gates and jobs in definitions --------------------------------------------------------------------------


def find_variables(inputs: Mapping[str, Any], name: str) -> set[str]:
    """Return the values of an environment variable in all steps of a pipeline.

    Args:
        inputs: The inputs of a pipeline, before or after the change.
        name: The name of the variable.
    """
    found = set()
    for step in list_steps(parse_definition(inputs)).values():
        environment = (step.get("Arguments") or {}).get("Environment") or {}
        if name in environment:
            found.add(str(environment[name]))
    return found


def approves_models(inputs: Mapping[str, Any]) -> bool | None:
    """Return True if a pipeline registers models as approved without a decision; None when it registers none.

    Args:
        inputs: The inputs of a pipeline, before or after the change.
    """
    said = [
        step["Arguments"]["ModelApprovalStatus"]
        for step in list_steps(parse_definition(inputs)).values()
        if "ModelApprovalStatus" in (step.get("Arguments") or {})
    ]
    return "Approved" in said if said else None


def list_removed_steps(pipeline: Resource) -> list[str]:
    """Return the steps that are removed from a pipeline that stays.

    Args:
        pipeline: The pipeline.

    Returns:
        Their names; none if one of the definitions is not known.
    """
    before, after = parse_definition(pipeline.before), parse_definition(pipeline.after)
    return (
        []
        if before is None or after is None
        else [step for step in list_steps(before) if step not in list_steps(after)]
    )


def list_changed_decisions(pipeline: Resource) -> dict[str, str]:
    """Return the steps that decide what comes next and do so differently than before, with what changed.

    Args:
        pipeline: The pipeline.

    Returns:
        Step → what changed, e.g. `has a different condition`; empty if one of the definitions is not known.
    """
    before, after = parse_definition(pipeline.before), parse_definition(pipeline.after)
    if before is None or after is None:
        return {}
    old, new = list_steps(before), list_steps(after)
    found = {}
    for name, step in old.items():
        if step.get("Type") != "Condition":
            continue
        was, now = step["Arguments"], (new.get(name) or {}).get("Arguments") or {}
        if name not in new:
            found[name] = "is removed"
        elif was.get("Conditions") != now.get("Conditions"):
            found[name] = "has a different condition"
        elif any(each in new and each not in (now.get(way) or []) for way in _BRANCHES for each in was[way]):
            found[name] = "no longer controls the same steps"
    return found


def find_hyperparameters(inputs: Mapping[str, Any]) -> dict[str, Any]:
    """Return the hyperparameters of the training steps."""
    found: dict[str, Any] = {}
    for step in list_steps(parse_definition(inputs)).values():
        found.update((step.get("Arguments") or {}).get("HyperParameters") or {})
    return found


def find_judged_metrics(inputs: Mapping[str, Any]) -> set[str]:
    """Return the metrics that a model is judged by: those that the training job publishes for the holdout rows.

    Args:
        inputs: The inputs of a pipeline, before or after the change.
    """
    found: set[str] = set()
    for step in list_steps(parse_definition(inputs)).values():
        algorithm = (step.get("Arguments") or {}).get("AlgorithmSpecification") or {}
        found.update(
            str(each.get("Name", "")).removeprefix("holdout_") for each in algorithm.get("MetricDefinitions") or []
        )
    return found


def find_instances(inputs: Mapping[str, Any]) -> dict[str, str]:
    """Return the instance type of each kind of job; if steps of a kind differ, the last one's."""
    found: dict[str, str] = {}
    for step in list_steps(parse_definition(inputs)).values():
        arguments = step.get("Arguments") or {}
        training = arguments.get("ResourceConfig") or {}
        processing = (arguments.get("ProcessingResources") or {}).get("ClusterConfig") or {}
        for kind, where in (("training", training), ("processing", processing)):
            if isinstance(where.get("InstanceType"), str):
                found[kind] = where["InstanceType"]
    return found
