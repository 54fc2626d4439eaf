"""A risk of a change, as a value: its code, its resource and its cause; and the sentences for each code."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any


class Cause(StrEnum):
    """The cause of a risk, where that is not a property of the resource."""

    NOT_DECLARED = "not_declared"
    DECLARATION = "declaration"
    PROMOTION = "promotion"
    COLUMNS = "columns"
    REPLACEMENT = "replacement"
    CREATED_SO = "created_so"


_CAUSES = {
    Cause.NOT_DECLARED: "it is no longer declared",
    Cause.DECLARATION: "the declaration changes",
    Cause.PROMOTION: "`promotion` changes from manual to automatic",
    Cause.COLUMNS: "the table's columns change",
    Cause.REPLACEMENT: "it forces a replacement",
    Cause.CREATED_SO: "it is made so",
}


class Code(StrEnum):
    """The code of a risk."""

    # Loss
    DELETED = "deleted"
    REPLACED = "replaced"
    KEY_OFF = "key_off"
    # Weaker protection from deletion
    UNPROTECTED = "unprotected"
    FORCE_DESTROY = "force_destroy"
    KEPT_SHORTER = "kept_shorter"
    # Weaker monitoring
    ALARM_REMOVED = "alarm_removed"
    ALARM_LOOSENED = "alarm_loosened"
    TRIGGER_REMOVED = "trigger_removed"
    TRIGGER_OFF = "trigger_off"
    TRIGGER_STOPPED = "trigger_stopped"
    CAPTURE_OFF = "capture_off"
    CAPTURE_FEWER = "capture_fewer"
    CAPTURE_LESS = "capture_less"
    WATCHED_LESS = "watched_less"
    # Weaker rollback of rollouts
    BAKE_NONE = "bake_none"
    ROLLBACK_ALARM_REMOVED = "rollback_alarm_removed"
    ROLLBACK_ALARMS_REMOVED = "rollback_alarms_removed"
    # Weaker encryption and protection from access
    ENCRYPTION_KEY = "encryption_key"
    KEY_ROTATION = "key_rotation"
    QUEUE_ENCRYPTION = "queue_encryption"
    TOPIC_ENCRYPTION = "topic_encryption"
    DISK_ENCRYPTION = "disk_encryption"
    ROLE_BOUNDARY = "role_boundary"
    USER_BOUNDARY = "user_boundary"
    PUBLIC_ACCESS = "public_access"
    VERSIONING = "versioning"
    CAPTURE_ENCRYPTION = "capture_encryption"
    PLAIN_HTTP = "plain_http"
    JOB_ENCRYPTION = "job_encryption"
    # Weaker decisions on models and data
    PROMOTION_AUTOMATIC = "promotion_automatic"
    STEP_APPROVES = "step_approves"
    GATE_LOOSENED = "gate_loosened"
    CONDITION_CHANGED = "condition_changed"
    STEP_REMOVED = "step_removed"
    FEATURE_REMOVED = "feature_removed"
    ANOTHER_MODEL = "another_model"
    EXPECTATION_LOOSENED = "expectation_loosened"
    # Wider permissions
    OPENED = "opened"
    CONDITION_LOST = "condition_lost"


@dataclass(frozen=True)
class _Text:
    """The sentences of a code, with the names of its fields.

    Attributes:
        kind: The group that the documentation explains.
        title: What happens; the name of the resource follows it.
        consequence: What that means.
        fix: What to do instead.
    """

    kind: str
    title: str
    consequence: str
    fix: str


_WHY_BOUND = "Say in the pull request why the old bound was wrong, or keep it."
_WHY_VALUE = "Say in the pull request why the old value was wrong, or keep it."
_KEEP = "Keep it as it is."
_NOT_STARTED = "What it starts no longer starts by itself: retraining, monitoring or publishing."
_UNBOUNDED = "All that its policies allow counts from then on, now and later."
_TEXTS = {
    Code.DELETED: _Text("deleted", "Deletes the {noun}", "{consequence}", "{fix}"),
    Code.REPLACED: _Text("replaced", "Replaces the {noun}", "{consequence}", "{fix}"),
    Code.KEY_OFF: _Text(
        "key-off",
        "Turns off the KMS key",
        "Nothing that it encrypts can be read or written until it is on again: the lake, the feature store, captured "
        "requests.",
        "Keep it on; who may use it is a matter of its policy.",
    ),
    Code.UNPROTECTED: _Text(
        "unprotected",
        "Takes away the protection of",
        "The engine no longer refuses to delete or replace it; the next change may.",
        "Leave it protected, unless it is to be deleted on purpose.",
    ),
    Code.FORCE_DESTROY: _Text(
        "force-destroy",
        "Lets the bucket be deleted with all that is in it",
        "From then on `pulumi destroy` deletes the data without asking.",
        "Leave `force_destroy` out of the stack's configuration.",
    ),
    Code.KEPT_SHORTER: _Text(
        "kept-shorter",
        "Keeps data for a shorter time: {noun}",
        "Kept {before} until now, from then on {after}: what is older is deleted soon after, and cannot be had back.",
        "Keep the longer time, or copy what is older first.",
    ),
    Code.ALARM_REMOVED: _Text(
        "alarm-removed",
        "Removes the alarm",
        "Nobody is told any more when {rule}.",
        "Keep it; to have peace for a while, `millrace pause`.",
    ),
    Code.ALARM_LOOSENED: _Text(
        "alarm-loosened", "Loosens the alarm", "It fires later, or for less: {how}.", _WHY_BOUND
    ),
    Code.TRIGGER_REMOVED: _Text(
        "trigger-off",
        "Removes the {noun}",
        _NOT_STARTED,
        "Keep it; to stop it for a while, `millrace pause`, which is seen and undone by `millrace resume`.",
    ),
    Code.TRIGGER_OFF: _Text(
        "trigger-off",
        "Turns off the {noun}",
        _NOT_STARTED,
        "Keep it; to stop it for a while, `millrace pause`, which is seen and undone by `millrace resume`.",
    ),
    Code.TRIGGER_STOPPED: _Text(
        "trigger-off", "Stops the {noun}", "{how} " + _NOT_STARTED, "Keep it; to stop it for a while, `millrace pause`."
    ),
    Code.CAPTURE_OFF: _Text(
        "capture-off",
        "Stops capturing requests",
        "{before:g} % of the requests were kept, then {after:g} %. Drift and calibration are measured on them: the "
        "monitor has nothing to look at.",
        "Keep `capture_percent` as it is.",
    ),
    Code.CAPTURE_FEWER: _Text(
        "capture-less",
        "Captures fewer requests",
        "{before:g} % of the requests were kept, then {after:g} %. Drift and calibration are measured on them.",
        "Keep `capture_percent` as it is.",
    ),
    Code.CAPTURE_LESS: _Text(
        "capture-less",
        "Captures less of requests",
        "{modes} is no longer kept. Drift and calibration are measured on what comes in and what is answered.",
        "Keep `Input` and `Output`.",
    ),
    Code.WATCHED_LESS: _Text("watched-less", "Watches less:", "{how}", _WHY_VALUE),
    Code.BAKE_NONE: _Text(
        "bake-none",
        "Does not wait for the alarms of a roll-out:",
        "The old fleet ends {when}: a bad model is not noticed before the old fleet ends, and then there is nothing to "
        "go back to.",
        "Let `rollout.bake_seconds` be longer than the alarms take to fire, such as 300.",
    ),
    Code.ROLLBACK_ALARM_REMOVED: _Text(
        "rollback-alarm-removed",
        "A roll-out is no longer undone by {alarms}:",
        "A bad deployment may go through unnoticed.",
        "Keep the alarms of the endpoint's deployment.",
    ),
    Code.ROLLBACK_ALARMS_REMOVED: _Text(
        "rollback-alarm-removed",
        "A roll-out is no longer undone by {alarms}:",
        "No alarm undoes a bad deployment any more.",
        "Keep the alarms of the endpoint's deployment.",
    ),
    Code.ENCRYPTION_KEY: _Text(
        "weakened",
        "Encrypts new objects with a weaker key:",
        "New objects no longer need the lake's own key to be read.",
        _KEEP,
    ),
    Code.KEY_ROTATION: _Text("weakened", "Stops rotating the key:", "One key for ever encrypts everything.", _KEEP),
    Code.QUEUE_ENCRYPTION: _Text("weakened", "Stops encrypting the queue:", "Its messages lie in the clear.", _KEEP),
    Code.TOPIC_ENCRYPTION: _Text("weakened", "Stops encrypting the topic:", "Its messages lie in the clear.", _KEEP),
    Code.DISK_ENCRYPTION: _Text(
        "weakened", "Stops encrypting the endpoint's disks:", "Their key is no longer the lake's.", _KEEP
    ),
    Code.ROLE_BOUNDARY: _Text("weakened", "Takes away the boundary of the role:", _UNBOUNDED, _KEEP),
    Code.USER_BOUNDARY: _Text("weakened", "Takes away the boundary of the user:", _UNBOUNDED, _KEEP),
    Code.PUBLIC_ACCESS: _Text(
        "weakened",
        "Lets the bucket be opened to the public:",
        "A policy or an access list may open it to everybody.",
        _KEEP,
    ),
    Code.VERSIONING: _Text(
        "weakened",
        "Stops keeping old versions of objects:",
        "What is overwritten or deleted from then on cannot be had back.",
        _KEEP,
    ),
    Code.CAPTURE_ENCRYPTION: _Text(
        "weakened", "Stops encrypting captured requests:", "Their key is no longer the lake's.", _KEEP
    ),
    Code.PLAIN_HTTP: _Text(
        "weakened",
        "Lets data be read over plain HTTP:",
        "Requests without TLS are no longer refused.",
        "Keep the statement that denies requests without TLS.",
    ),
    Code.JOB_ENCRYPTION: _Text(
        "weakened",
        "Jobs no longer encrypt all they write:",
        "Steps {steps} name fewer keys than before.",
        "Keep `VolumeKmsKeyId` and `KmsKeyId` in every step.",
    ),
    Code.PROMOTION_AUTOMATIC: _Text(
        "promotion-automatic",
        "A model serves without a person's approval:",
        "The gate alone decides what serves; until now a person looked first.",
        "Keep `promotion: manual` where decisions are about people.",
    ),
    Code.STEP_APPROVES: _Text(
        "promotion-automatic",
        "A model serves without a person's approval:",
        "The step that registers it approves it, whatever was found of it and whoever should look first.",
        "Keep the `ModelApprovalStatus` that the evaluation gives.",
    ),
    Code.GATE_LOOSENED: _Text("gate-loosened", "Lets weaker models pass:", "{how}", _WHY_BOUND),
    Code.CONDITION_CHANGED: _Text(
        "gate-loosened",
        "Lets other models pass:",
        "The step {step}, which decides what becomes of a model, {how}.",
        "Say in the pull request why the old condition was wrong, or keep it.",
    ),
    Code.STEP_REMOVED: _Text(
        "step-removed",
        "Takes steps out of the pipeline",
        "{steps}: what they did, checked or kept is no longer done.",
        "Keep them, or say in the pull request what does their work from then on.",
    ),
    Code.FEATURE_REMOVED: _Text(
        "feature-removed",
        "Takes features away from the table",
        "{features}: a feature group cannot lose or retype one, so the deployment is refused.",
        "Declare them as before and stop using them in `features()`.",
    ),
    Code.ANOTHER_MODEL: _Text(
        "another-model",
        "Declares another model:",
        "{how} The champion rule would compare it with one that answers another question, and what has been captured "
        "and labelled until now is of the old one.",
        "Declare a new use case beside this one, and move who asks it.",
    ),
    Code.EXPECTATION_LOOSENED: _Text(
        "expectation-loosened",
        "Lets worse data through:",
        "{how}",
        "Say in the pull request why such data are good, or keep the rule.",
    ),
    Code.OPENED: _Text(
        "opened",
        "Allows {whom} to do {what}:",
        "{consequence}",
        "Name the actions, the resources and who may.",
    ),
    Code.CONDITION_LOST: _Text(
        "condition-lost",
        "No longer asks for whom {principal} acts:",
        "Until now only if {condition}. Without that, a stranger may have the service use it in their name.",
        "Keep the condition on aws:SourceAccount or aws:SourceArn.",
    ),
}


@dataclass(frozen=True)
class Risk:
    """A risk of a change, which a person should check.

    Attributes:
        code: The code of the risk.
        name: The name of the resource, or the stack's.
        type: The resource's type; empty for the stack.
        cause: What causes it: a cause, or the properties that change.
        fields: The values for the code's sentences, by name.
    """

    code: Code
    name: str
    type: str = ""
    cause: Cause | tuple[str, ...] = Cause.DECLARATION
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def because(self) -> str:
        """The cause, as a part of a sentence."""
        if isinstance(self.cause, Cause):
            return _CAUSES[self.cause]
        names = ", ".join(f"`{each}`" for each in self.cause)
        return f"{names} change{'s' if len(self.cause) == 1 else ''}"

    def dump(self) -> dict[str, Any]:
        """Return the risk as JSON data, with its sentences."""
        text = _TEXTS[self.code]
        return {
            "code": self.code.value,
            "kind": text.kind,
            "title": text.title.format(**self.fields),
            "name": self.name,
            "type": self.type,
            "consequence": text.consequence.format(**self.fields),
            "because": self.because,
            "fix": text.fix.format(**self.fields),
            "fields": dict(self.fields),
        }


#: The kinds of risk, which the documentation explains one by one.
KINDS = frozenset(text.kind for text in _TEXTS.values())


def caused_by(*properties: str) -> tuple[str, ...]:
    """Return the cause of a risk that is caused by changed properties."""
    return properties
