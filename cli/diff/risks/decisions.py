"""Rules for what decides which model serves: promotion, gates, steps of pipelines, the declaration itself."""

from __future__ import annotations

from collections.abc import Iterator

from cli.diff import declared, model, pipelines
from cli.diff.preview import Preview
from cli.diff.risks import easing
from cli.diff.risks.resources import find_name
from cli.diff.risks.risk import Cause, Code, Risk, caused_by

UseCases = tuple[declared.UseCase | None, declared.UseCase | None]


def list_risks(preview: Preview, use_cases: UseCases) -> Iterator[Risk]:
    """Yield the risks of models or data that would not have passed before.

    Args:
        preview: The preview of the change.
        use_cases: The declarations before and after; None for one that is not known.
    """
    before, after = (_find_promotion(preview, after=after) for after in (False, True))
    if before == {"manual"} and "automatic" in after:
        yield Risk(Code.PROMOTION_AUTOMATIC, preview.stack, cause=Cause.PROMOTION)
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        name, cause = find_name(pipeline), caused_by("pipelineDefinition")
        if pipelines.approves_models(pipeline.after) and pipelines.approves_models(pipeline.before) is False:
            yield Risk(Code.STEP_APPROVES, name, pipeline.type, cause)
        decided = pipelines.list_changed_decisions(pipeline)
        for step, how in decided.items():
            yield Risk(Code.CONDITION_CHANGED, name, pipeline.type, cause, {"step": step, "how": how})
        if gone := [step for step in pipelines.list_removed_steps(pipeline) if step not in decided]:
            yield Risk(Code.STEP_REMOVED, name, pipeline.type, cause, {"steps": ", ".join(gone)})
    yield from _list_declared_less(preview.stack, use_cases)
    if None in use_cases:
        yield from _list_judged_less(preview)
    for table in model.list_changes(preview, lambda _: None, (None, None))["features"]:
        gone = [each["name"] for each in [*table["removed"], *table["retyped"]]]
        if gone and table["operation"] == "update":
            fields = {"features": ", ".join(gone)}
            yield Risk(Code.FEATURE_REMOVED, str(table["table"]), model.PARAMETER, Cause.COLUMNS, fields)


def _list_declared_less(stack: str, use_cases: UseCases) -> Iterator[Risk]:
    """Yield the risks of a declaration that requires less than before."""
    if different := easing.list_identity_changes(*use_cases):
        how = _make_sentence(" and ".join(each.text for each in different))
        yield Risk(Code.ANOTHER_MODEL, stack, fields={"how": how})
    for code, eased in (
        (Code.GATE_LOOSENED, easing.list_model_easings(*use_cases)),
        (Code.EXPECTATION_LOOSENED, easing.list_data_easings(*use_cases)),
        (Code.WATCHED_LESS, easing.list_monitoring_easings(*use_cases)),
    ):
        for each in eased:
            yield Risk(code, stack, fields={"how": _make_sentence(each.text), "easing": each.dump()})


def _list_judged_less(preview: Preview) -> Iterator[Risk]:
    """Yield a risk for each metric that models are no longer judged by, if the declarations are unknown."""
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        if pipelines.parse_definition(pipeline.after) is None:
            continue
        for metric in sorted(
            pipelines.find_judged_metrics(pipeline.before) - pipelines.find_judged_metrics(pipeline.after)
        ):
            how = f"Models are no longer evaluated by {metric}."
            yield Risk(Code.GATE_LOOSENED, preview.stack, fields={"how": how})


def _make_sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _find_promotion(preview: Preview, *, after: bool) -> set[str]:
    found: set[str] = set()
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        found |= pipelines.find_variables(pipeline.after if after else pipeline.before, pipelines.PROMOTION)
    for each in preview.find_resources(model.MODEL):
        side = each.after if after else each.before
        value = ((side.get("primaryContainer") or {}).get("environment") or {}).get(pipelines.PROMOTION)
        if isinstance(value, str):
            found.add(value)
    return found
