"""What of a change a person should look at twice: what is lost, what is no longer guarded, what is watched less."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from dataclasses import asdict, dataclass
from typing import Any

from cli.diff import (
    declared,
    easing,
    losses,
    model,
    openings,
    permissions,
    pipelines,
    policies,
    retention,
    traffic,
    watching,
)
from cli.diff.preview import Preview, Resource
from cli.diff.values import Mark

_ENCRYPTION = "aws:s3/bucketServerSideEncryptionConfiguration:BucketServerSideEncryptionConfiguration"
_BLOCK = "aws:s3/bucketPublicAccessBlock:BucketPublicAccessBlock"

_TRIGGERS = {watching.SCHEDULE: "schedule", watching.RULE: "rule", watching.TARGET: "target of the rule"}
_UNBOUNDED = "All that its policies allow counts from then on, now and later."


@dataclass(frozen=True)
class Danger:
    """One thing to look at.

    Attributes:
        kind: For programs, e.g. `replaced`; documented in `docs/reviewing.md`.
        title: What happens.
        name: To what.
        consequence: What that means.
        because: What forces or causes it.
        way_out: What to do instead.
    """

    kind: str
    title: str
    name: str
    type: str
    consequence: str
    because: str
    way_out: str


def of(
    preview: Preview,
    use_cases: tuple[declared.UseCase | None, declared.UseCase | None] = (None, None),
    granted: Iterable[Mapping[str, Any]] = (),
) -> list[dict[str, str]]:
    """All dangers, the worst first. A stack that is made anew has none: nothing is there to be harmed."""
    if preview.is_new:
        return []
    found = [*_lost(preview), *_locked(preview), *_unguarded(preview), *_kept_shorter(preview), *_watched_less(preview)]
    found += [*_served_blindly(preview), *_weaker(preview), *_loosened(preview, use_cases), *_opened(preview, granted)]
    return [asdict(danger) for danger in found]


# -- what is lost ------------------------------------------------------------------------------------------------------


def _lost(preview: Preview) -> Iterator[Danger]:
    gone = [each for each in preview.resources if each.operation in ("delete", "replace") and not each.is_kept]
    for resource in sorted(gone, key=lambda each: (losses.rank(each), each.name)):
        loss = losses.of(resource)
        if loss is None:
            continue
        replaced = resource.operation == "replace"
        why = _change(*resource.because) if resource.because else ""
        yield Danger(
            "replaced" if replaced else "deleted",
            f"{'Replaces' if replaced else 'Deletes'} the {loss.noun}",
            _called(resource),
            resource.type,
            loss.replaced if replaced else loss.deleted,
            why or ("it forces a replacement" if replaced else "it is no longer declared"),
            loss.way_out,
        )


def _locked(preview: Preview) -> Iterator[Danger]:
    for key in preview.of("aws:kms/key:Key"):
        if key.new is not None and key.before.get("isEnabled", True) and key.new.get("isEnabled") is False:
            yield Danger(
                "key-off", "Turns off the KMS key", _called(key), key.type,
                "Nothing that it encrypts can be read or written until it is on again: the lake, the feature store, "
                "captured requests.",
                _change("isEnabled"), "Keep it on; who may use it is a matter of its policy.",
            )  # fmt: skip


def _change(*properties: str) -> str:
    """Properties that change, as a cause."""
    names = ", ".join(f"`{each}`" for each in properties)
    return f"{names} change{'s' if len(properties) == 1 else ''}"


def _called(resource: Resource) -> str:
    """The name that AWS knows it by, where the preview says it."""
    for key in ("key", "bucket", "featureGroupName", "modelPackageGroupName", "pipelineName", "endpoint", "name"):
        value = resource.before.get(key) or resource.after.get(key)
        if isinstance(value, str) and not isinstance(value, Mark):
            return value
    return resource.name


# -- what is no longer guarded -----------------------------------------------------------------------------------------


def _unguarded(preview: Preview) -> Iterator[Danger]:
    for resource in preview.resources:
        if resource.was_protected and not resource.is_protected and resource.new is not None:
            yield Danger(
                "unprotected",
                "Takes away the protection of",
                _called(resource),
                resource.type,
                "The engine no longer refuses to delete or replace it; the next change may.",
                _change("protect"),
                "Leave it protected, unless it is to be deleted on purpose.",
            )
        if resource.type in retention.BUCKETS and _turned_on(resource, "forceDestroy"):
            yield Danger(
                "force-destroy",
                "Lets the bucket be deleted with all that is in it",
                _called(resource),
                resource.type,
                "From then on `pulumi destroy` deletes the data without asking.",
                _change("forceDestroy"),
                "Leave `force_destroy` out of the stack's configuration.",
            )


def _turned_on(resource: Resource, key: str) -> bool:
    return resource.old is not None and not resource.old.get(key) and bool(resource.after.get(key))


def _turned_off(resource: Resource, key: str) -> bool:
    return resource.new is not None and bool(resource.before.get(key)) and not resource.new.get(key)


def _kept_shorter(preview: Preview) -> Iterator[Danger]:
    for each in retention.shorter(preview):
        yield Danger(
            "kept-shorter",
            f"Keeps data for a shorter time: {each.noun}",
            _called(each.resource),
            each.resource.type,
            f"Kept {each.was} until now, from then on {each.now}: what is older is deleted soon after, and cannot be "
            "had back.",
            _change(each.what),
            "Keep the longer time, or copy what is older first.",
        )


# -- what is watched less ----------------------------------------------------------------------------------------------


def _watched_less(preview: Preview) -> Iterator[Danger]:
    for alarm in preview.of(watching.ALARM, watching.COMPOSITE):
        name = watching.called(alarm)
        if alarm.operation == "delete":
            yield Danger(
                "alarm-removed", "Removes the alarm", name, alarm.type,
                f"Nobody is told any more when {watching.rule_of(alarm.before)}.",
                "it is no longer declared", "Keep it; to have peace for a while, `millrace pause`.",
            )  # fmt: skip
        for field, words in watching.loosened(alarm):
            yield Danger(
                "alarm-loosened", "Loosens the alarm", name, alarm.type,
                f"It fires later, or for less: {words}.",
                _change(field), "Say in the pull request why the old bound was wrong, or keep it.",
            )  # fmt: skip
    for resource in preview.of(watching.SCHEDULE, watching.RULE, watching.TARGET):
        if watching.is_off(resource) or watching.is_untargeted(resource, preview):
            noun = _TRIGGERS[resource.type]
            gone = resource.new is None
            yield Danger(
                "trigger-off", f"{'Removes' if gone else 'Turns off'} the {noun}",
                watching.called(resource), resource.type,
                "What it starts no longer starts by itself: retraining, monitoring or publishing.",
                "it is no longer declared" if gone else _change("state"),
                "Keep it; to stop it for a while, `millrace pause`, which is seen and undone by `millrace resume`.",
            )  # fmt: skip
        elif stopped := watching.stopped(resource):
            field, words = stopped
            yield Danger(
                "trigger-off", f"Stops the {_TRIGGERS[resource.type]}", watching.called(resource), resource.type,
                f"{words} What it starts no longer starts by itself: retraining, monitoring or publishing.",
                _change(field), "Keep it; to stop it for a while, `millrace pause`.",
            )  # fmt: skip


def _served_blindly(preview: Preview) -> Iterator[Danger]:
    for config in preview.of(traffic.CONFIG):
        if config.old is None or config.new is None:
            continue
        before, after = _captured(config.old), _captured(config.new)
        if after < before:
            yield Danger(
                "capture-off" if after == 0 else "capture-less",
                "Stops capturing requests" if after == 0 else "Captures fewer requests",
                config.name, config.type,
                f"{before:g} % of the requests were kept, then {after:g} %. Drift and calibration are measured on them"
                + (": the monitor has nothing to look at." if after == 0 else "."),
                _change("dataCaptureConfig"), "Keep `capture_percent` as it is.",
            )  # fmt: skip
        elif before and (left := sorted(_modes(config.old) - _modes(config.new))):
            yield Danger(
                "capture-less", "Captures less of requests", config.name, config.type,
                f"{' and '.join(left)} is no longer kept. Drift and calibration are measured on what comes in and "
                "what is answered.",
                _change("dataCaptureConfig.captureOptions"), "Keep `Input` and `Output`.",
            )  # fmt: skip
    for endpoint in preview.of(traffic.ENDPOINT):
        if _bakes_too_short(endpoint, fires := traffic.quickest(endpoint.after, preview)):
            ends = "the moment all traffic has moved"
            if wait := traffic.bake(endpoint.after):
                ends = f"{wait:g} s after all traffic has moved, and no alarm fires in less than {fires:g} s"
            yield Danger(
                "bake-none", "Does not wait for the alarms of a roll-out:",
                watching.called(endpoint), endpoint.type,
                f"The old fleet ends {ends}: a bad model is not noticed before the old fleet ends, "
                "and then there is nothing to go back to.",
                _change("deploymentConfig") if endpoint.old is not None else "it is made so",
                "Let `rollout.bake_seconds` be longer than the alarms take to fire, such as 300.",
            )  # fmt: skip
        if endpoint.old is None or endpoint.new is None:
            continue
        left = [name for name in traffic.alarms(endpoint.old) if name not in traffic.alarms(endpoint.new)]
        if left:
            none = not traffic.alarms(endpoint.new)
            yield Danger(
                "rollback-alarm-removed", f"A roll-out is no longer undone by {', '.join(left)}:",
                watching.called(endpoint), endpoint.type,
                "No alarm undoes a bad deployment any more." if none else "A bad deployment may go through unnoticed.",
                _change("deploymentConfig.autoRollbackConfiguration"), "Keep the alarms of the endpoint's deployment.",
            )  # fmt: skip


def _bakes_too_short(endpoint: Resource, fires: float) -> bool:
    """Whether alarms undo a roll-out, which is over before they can, and was not so before, or waits less still."""
    if endpoint.new is None or not traffic.alarms(endpoint.new) or not traffic.is_unwatched(endpoint.new, fires):
        return False
    if endpoint.old is None or not traffic.alarms(endpoint.old) or not traffic.is_unwatched(endpoint.old, fires):
        return True
    return (traffic.bake(endpoint.new) or 0) < (traffic.bake(endpoint.old) or 0)


def _captured(inputs: Mapping[str, Any]) -> float:
    capture = inputs.get("dataCaptureConfig") or {}
    if not capture.get("enableCapture"):
        return 0.0
    percent = capture.get("initialSamplingPercentage", 100)
    return float(percent) if isinstance(percent, int | float) else 100.0


def _modes(inputs: Mapping[str, Any]) -> set[str]:
    options = (inputs.get("dataCaptureConfig") or {}).get("captureOptions") or []
    return {str(each.get("captureMode")) for each in options}


# -- what is weaker ----------------------------------------------------------------------------------------------------


def _weaker(preview: Preview) -> Iterator[Danger]:
    for resource in preview.of(_ENCRYPTION):
        if resource.old is None or resource.new is None:
            continue
        if _is_kms(resource.old) and not _is_kms(resource.new):
            yield _weakened(
                resource,
                "Encrypts new objects with a weaker key",
                "New objects no longer need the lake's own key to be read.",
                "rules",
            )
    for token, key, title, text in (
        ("aws:kms/key:Key", "enableKeyRotation", "Stops rotating the key", "One key for ever encrypts everything."),
        ("aws:sqs/queue:Queue", "sqsManagedSseEnabled", "Stops encrypting the queue", "Its messages lie in the clear."),
        ("aws:sns/topic:Topic", "kmsMasterKeyId", "Stops encrypting the topic", "Its messages lie in the clear."),
        (traffic.CONFIG, "kmsKeyArn", "Stops encrypting the endpoint's disks", "Their key is no longer the lake's."),
        (policies.ROLE, "permissionsBoundary", "Takes away the boundary of the role", _UNBOUNDED),
        (policies.USER, "permissionsBoundary", "Takes away the boundary of the user", _UNBOUNDED),
    ):
        for resource in preview.of(token):
            if _turned_off(resource, key):
                yield _weakened(resource, title, text, key)
    for resource in preview.of(_BLOCK):
        for key in ("blockPublicAcls", "blockPublicPolicy", "ignorePublicAcls", "restrictPublicBuckets"):
            if _turned_off(resource, key):
                yield _weakened(
                    resource,
                    "Lets the bucket be opened to the public",
                    "A policy or an access list may open it to everybody.",
                    key,
                )
    for resource in preview.of("aws:s3/bucketVersioning:BucketVersioning"):
        status = [
            (side.get("versioningConfiguration") or {}).get("status") for side in (resource.before, resource.after)
        ]
        if resource.new is not None and status[0] == "Enabled" and status[1] != "Enabled":
            yield _weakened(
                resource, "Stops keeping old versions of objects",
                "What is overwritten or deleted from then on cannot be had back.", "versioningConfiguration",
            )  # fmt: skip
    for resource in preview.of(traffic.CONFIG):
        old, new = (side.get("dataCaptureConfig") or {} for side in (resource.before, resource.after))
        if new.get("enableCapture") and old.get("kmsKeyId") and not new.get("kmsKeyId"):
            yield _weakened(
                resource, "Stops encrypting captured requests", "Their key is no longer the lake's.",
                "dataCaptureConfig.kmsKeyId",
            )  # fmt: skip
    yield from _in_the_clear(preview)
    yield from _disks(preview)


def _weakened(resource: Resource, title: str, consequence: str, key: str) -> Danger:
    return Danger(
        "weakened", f"{title}:", _called(resource), resource.type, consequence, _change(key), "Keep it as it is."
    )


def _is_kms(inputs: Mapping[str, Any]) -> bool:
    rules = inputs.get("rules") or []
    defaults = [rule.get("applyServerSideEncryptionByDefault") or {} for rule in rules]
    return any(str(each.get("sseAlgorithm", "")).startswith("aws:kms") for each in defaults)


def _in_the_clear(preview: Preview) -> Iterator[Danger]:
    """Policies that refused plain HTTP and do so no more."""
    for resource in preview.of(
        "aws:s3/bucketPolicy:BucketPolicy", "aws:sqs/queuePolicy:QueuePolicy", "aws:sns/topicPolicy:TopicPolicy"
    ):
        before = permissions.of_policy(resource.before.get("policy")) or set()
        after = permissions.of_policy(resource.after.get("policy")) if resource.new is not None else set()
        if after is None:
            continue
        refused = {each for each in before if each.effect == "Deny" and "aws:SecureTransport" in each.condition}
        lost = permissions.compare(refused, {each for each in after if each.effect == "Deny"})[1]
        if lost:
            yield Danger(
                "weakened", "Lets data be read over plain HTTP:", _called(resource), resource.type,
                "Requests without TLS are no longer refused.",
                _change("policy") if resource.new is not None else "it is no longer declared",
                "Keep the statement that denies requests without TLS.",
            )  # fmt: skip


def _disks(preview: Preview) -> Iterator[Danger]:
    """Jobs whose disks or results were encrypted with the lake's key."""
    for pipeline in preview.of(pipelines.PIPELINE):
        before, after = pipelines.definition(pipeline.before), pipelines.definition(pipeline.after)
        if before is None or after is None:
            continue
        old, new = pipelines.steps(before), pipelines.steps(after)
        bare = sorted(name for name in old if name in new and len(_keys(new[name])) < len(_keys(old[name])))
        if bare:
            yield Danger(
                "weakened", "Jobs no longer encrypt all they write:", _called(pipeline), pipeline.type,
                f"Steps {', '.join(bare)} name fewer keys than before.", _change("pipelineDefinition"),
                "Keep `VolumeKmsKeyId` and `KmsKeyId` in every step.",
            )  # fmt: skip


def _keys(value: Any) -> list[str]:
    if isinstance(value, Mapping):
        mine = [key for key in ("VolumeKmsKeyId", "KmsKeyId") if value.get(key)]
        return [*mine, *(key for each in value.values() for key in _keys(each))]
    return [key for each in value for key in _keys(each)] if isinstance(value, list) else []


# -- who decides -------------------------------------------------------------------------------------------------------


def _loosened(preview: Preview, use_cases: tuple[declared.UseCase | None, declared.UseCase | None]) -> Iterator[Danger]:
    promotions = [_promotion(preview, after=after) for after in (False, True)]
    if promotions[0] == {"manual"} and "automatic" in promotions[1]:
        yield Danger(
            "promotion-automatic", "A model serves without a person's approval:", preview.stack, "",
            "The gate alone decides what serves; until now a person looked first.",
            "`promotion` changes from manual to automatic",
            "Keep `promotion: manual` where decisions are about people.",
        )  # fmt: skip
    yield from _decided_otherwise(preview)
    yield from _declared_less(preview, use_cases)
    if None in use_cases:
        for pipeline in preview.of(pipelines.PIPELINE):
            if pipelines.definition(pipeline.after) is None:
                continue
            for metric in sorted(pipelines.judged(pipeline.before) - pipelines.judged(pipeline.after)):
                yield _gate(preview, f"models are no longer judged by {metric}")
    for table in model.changes(preview, lambda _: None, (None, None))["features"]:
        gone = [each["name"] for each in [*table["removed"], *table["retyped"]]]
        if gone and table["operation"] == "update":
            yield Danger(
                "feature-removed", "Takes features away from the table", str(table["table"]), model.PARAMETER,
                f"{', '.join(gone)}: a feature group cannot lose or retype one, so the deployment is refused.",
                "the table's columns change", "Declare them as before and stop using them in `features()`.",
            )  # fmt: skip


def _decided_otherwise(preview: Preview) -> Iterator[Danger]:
    """What the definitions of pipelines themselves say of gates and approvals."""
    cause = _change("pipelineDefinition")
    for pipeline in preview.of(pipelines.PIPELINE):
        name = _called(pipeline)
        if pipelines.approves(pipeline.after) and pipelines.approves(pipeline.before) is False:
            yield Danger(
                "promotion-automatic", "A model serves without a person's approval:", name, pipeline.type,
                "The step that registers it approves it, whatever was found of it and whoever should look first.",
                cause, "Keep the `ModelApprovalStatus` that the evaluation gives.",
            )  # fmt: skip
        decided = pipelines.decided(pipeline)
        for step, words in decided.items():
            yield Danger(
                "gate-loosened", "Lets other models pass:", name, pipeline.type,
                f"The step {step}, which decides what becomes of a model, {words}.",
                cause, "Say in the pull request why the old condition was wrong, or keep it.",
            )  # fmt: skip
        if gone := [step for step in pipelines.removed(pipeline) if step not in decided]:
            yield Danger(
                "step-removed", "Takes steps out of the pipeline", name, pipeline.type,
                f"{', '.join(gone)}: what they did, checked or kept is no longer done.",
                cause, "Keep them, or say in the pull request what does their work from then on.",
            )  # fmt: skip


def _declared_less(
    preview: Preview, use_cases: tuple[declared.UseCase | None, declared.UseCase | None]
) -> Iterator[Danger]:
    """What the declaration itself asks less for."""
    if different := easing.another(*use_cases):
        yield Danger(
            "another-model", "Declares another model:", preview.stack, "",
            f"{_sentence(' and '.join(different))} The champion rule would compare it with one that answers another "
            "question, and what has been captured and labelled until now is of the old one.",
            "the declaration changes", "Declare a new use case beside this one, and move who asks it.",
        )  # fmt: skip
    for words in easing.models(*use_cases):
        yield _gate(preview, words)
    for words in easing.data(*use_cases):
        yield Danger(
            "expectation-loosened", "Lets worse data through:", preview.stack, "", _sentence(words),
            "the declaration changes", "Say in the pull request why such data are good, or keep the rule.",
        )  # fmt: skip
    for words in easing.watching(*use_cases):
        yield Danger(
            "watched-less", "Watches less:", preview.stack, "", _sentence(words),
            "the declaration changes", "Say in the pull request why the old value was wrong, or keep it.",
        )  # fmt: skip


def _sentence(words: str) -> str:
    return f"{words[:1].upper()}{words[1:]}."


def _gate(preview: Preview, words: str) -> Danger:
    return Danger(
        "gate-loosened", "Lets weaker models pass:", preview.stack, "",
        _sentence(words), "the declaration changes",
        "Say in the pull request why the old bound was wrong, or keep it.",
    )  # fmt: skip


def _promotion(preview: Preview, *, after: bool) -> set[str]:
    found: set[str] = set()
    for pipeline in preview.of(pipelines.PIPELINE):
        found |= pipelines.variables(pipeline.after if after else pipeline.before, pipelines.PROMOTION)
    for each in preview.of(model.MODEL):
        side = each.after if after else each.before
        value = ((side.get("primaryContainer") or {}).get("environment") or {}).get(pipelines.PROMOTION)
        if isinstance(value, str):
            found.add(value)
    return found


def _opened(preview: Preview, granted: Iterable[Mapping[str, Any]]) -> Iterator[Danger]:
    """More than can be overseen to somebody, something to everybody, or to a service for anybody's sake."""
    for entry in granted:
        for each in openings.of(entry, preview.account):
            yield Danger(
                "opened", f"Allows {each.whom} to do {each.what}:", entry["name"], "", each.consequence,
                _change("policy"), "Name the actions, the resources and who may.",
            )  # fmt: skip
        lost = sorted({(each["principal"], openings.as_words(each["condition"])) for each in entry["unguarded"]})
        for principal, words in lost:
            yield Danger(
                "condition-lost", f"No longer asks for whom {principal or 'it'} acts:", entry["name"], "",
                f"Until now only if {words}. Without that, a stranger may have the service use it in their name.",
                _change("assumeRolePolicy" if entry["of"] == "trust" else "policy"),
                "Keep the condition on aws:SourceAccount or aws:SourceArn.",
            )  # fmt: skip
