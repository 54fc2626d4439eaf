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
    Cause.CREATED_SO: "it is created this way",
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


_WHY_BOUND = "Explain in the pull request why the old bound was wrong, or keep it."
_WHY_VALUE = "Explain in the pull request why the old value was wrong, or keep it."
_KEEP = "Keep it as it is."
_NOT_STARTED = "It no longer starts its job automatically: retraining, monitoring or publishing."
_UNBOUNDED = "Everything that its policies allow, now or later, takes effect without a limit."
_TEXTS = {
    Code.DELETED: _Text("deleted", "Deletes the {noun}", "{consequence}", "{fix}"),
    Code.REPLACED: _Text("replaced", "Replaces the {noun}", "{consequence}", "{fix}"),
    Code.KEY_OFF: _Text(
        "key-off",
        "Disables the KMS key",
        "Nothing encrypted with it can be read or written until it is enabled again: the lake, the feature store, "
        "captured requests.",
        "Keep it enabled; restrict who may use it in its policy.",
    ),
    Code.UNPROTECTED: _Text(
        "unprotected",
        "Removes the protection of",
        "Pulumi no longer refuses to delete or replace it, so the next change may do so.",
        "Keep it protected, unless you intend to delete it.",
    ),
    Code.FORCE_DESTROY: _Text(
        "force-destroy",
        "Allows deleting the bucket with all its contents",
        "From then on `pulumi destroy` deletes the data without confirmation.",
        "Remove `force_destroy` from the stack's configuration.",
    ),
    Code.KEPT_SHORTER: _Text(
        "kept-shorter",
        "Shortens the retention of data: {noun}",
        "Kept {before} until now, from then on {after}: older data is deleted soon after and cannot be restored.",
        "Keep the longer retention, or copy the older data first.",
    ),
    Code.ALARM_REMOVED: _Text(
        "alarm-removed",
        "Removes the alarm",
        "Nobody is notified any more when {rule}.",
        "Keep it; to silence it for a while, use `millrace pause`.",
    ),
    Code.ALARM_LOOSENED: _Text(
        "alarm-loosened", "Loosens the alarm", "It fires later, or for less: {how}.", _WHY_BOUND
    ),
    Code.TRIGGER_REMOVED: _Text(
        "trigger-off",
        "Removes the {noun}",
        _NOT_STARTED,
        "Keep it; to stop it for a while, use `millrace pause`, which is visible and ends with `millrace resume`.",
    ),
    Code.TRIGGER_OFF: _Text(
        "trigger-off",
        "Turns off the {noun}",
        _NOT_STARTED,
        "Keep it; to stop it for a while, use `millrace pause`, which is visible and ends with `millrace resume`.",
    ),
    Code.TRIGGER_STOPPED: _Text(
        "trigger-off",
        "Stops the {noun}",
        "{how} " + _NOT_STARTED,
        "Keep it; to stop it for a while, use `millrace pause`.",
    ),
    Code.CAPTURE_OFF: _Text(
        "capture-off",
        "Stops capturing requests",
        "{before:g} % of the requests were captured, now {after:g} % are. Drift and calibration are measured on them, "
        "so the monitor has no data.",
        "Keep `capture_percent` as it is.",
    ),
    Code.CAPTURE_FEWER: _Text(
        "capture-less",
        "Captures fewer requests",
        "{before:g} % of the requests were captured, now {after:g} % are. Drift and calibration are measured on them.",
        "Keep `capture_percent` as it is.",
    ),
    Code.CAPTURE_LESS: _Text(
        "capture-less",
        "Captures less of each request",
        "{modes} is no longer captured. Drift and calibration are measured on requests and responses.",
        "Keep `Input` and `Output`.",
    ),
    Code.WATCHED_LESS: _Text("watched-less", "Monitors less:", "{how}", _WHY_VALUE),
    Code.BAKE_NONE: _Text(
        "bake-none",
        "Does not wait for the alarms of a rollout:",
        "The old fleet is terminated {when}: a bad model is not detected before that, and afterwards a rollback is "
        "impossible.",
        "Set `rollout.bake_seconds` to longer than the alarms take to fire, e.g. 300.",
    ),
    Code.ROLLBACK_ALARM_REMOVED: _Text(
        "rollback-alarm-removed",
        "A rollout is no longer rolled back by {alarms}:",
        "A bad deployment may succeed unnoticed.",
        "Keep the alarms of the endpoint's deployment.",
    ),
    Code.ROLLBACK_ALARMS_REMOVED: _Text(
        "rollback-alarm-removed",
        "A rollout is no longer rolled back by {alarms}:",
        "No alarm rolls back a bad deployment any more.",
        "Keep the alarms of the endpoint's deployment.",
    ),
    Code.ENCRYPTION_KEY: _Text(
        "weakened",
        "Encrypts new objects with a weaker key:",
        "New objects no longer need the lake's own key to be read.",
        _KEEP,
    ),
    Code.KEY_ROTATION: _Text("weakened", "Stops rotating the key:", "The same key is used for ever.", _KEEP),
    Code.QUEUE_ENCRYPTION: _Text("weakened", "Stops encrypting the queue:", "Its messages are not encrypted.", _KEEP),
    Code.TOPIC_ENCRYPTION: _Text("weakened", "Stops encrypting the topic:", "Its messages are not encrypted.", _KEEP),
    Code.DISK_ENCRYPTION: _Text(
        "weakened", "Stops encrypting the endpoint's disks:", "They are no longer encrypted with the lake's key.", _KEEP
    ),
    Code.ROLE_BOUNDARY: _Text("weakened", "Removes the permissions boundary of the role:", _UNBOUNDED, _KEEP),
    Code.USER_BOUNDARY: _Text("weakened", "Removes the permissions boundary of the user:", _UNBOUNDED, _KEEP),
    Code.PUBLIC_ACCESS: _Text(
        "weakened",
        "Allows opening the bucket to the public:",
        "A policy or an access list can open it to everybody.",
        _KEEP,
    ),
    Code.VERSIONING: _Text(
        "weakened",
        "Stops keeping old versions of objects:",
        "Objects that are overwritten or deleted from then on cannot be restored.",
        _KEEP,
    ),
    Code.CAPTURE_ENCRYPTION: _Text(
        "weakened", "Stops encrypting captured requests:", "They are no longer encrypted with the lake's key.", _KEEP
    ),
    Code.PLAIN_HTTP: _Text(
        "weakened",
        "Allows reading data over plain HTTP:",
        "Requests without TLS are no longer refused.",
        "Keep the statement that denies requests without TLS.",
    ),
    Code.JOB_ENCRYPTION: _Text(
        "weakened",
        "Jobs no longer encrypt all their output:",
        "Steps {steps} specify fewer keys than before.",
        "Keep `VolumeKmsKeyId` and `KmsKeyId` in every step.",
    ),
    Code.PROMOTION_AUTOMATIC: _Text(
        "promotion-automatic",
        "A model serves without a person's approval:",
        "The gate alone decides which model serves; until now a person approved it first.",
        "Keep `promotion: manual` if the decisions affect people.",
    ),
    Code.STEP_APPROVES: _Text(
        "promotion-automatic",
        "A model serves without a person's approval:",
        "The step that registers it also approves it, regardless of its evaluation and without a reviewer.",
        "Keep the `ModelApprovalStatus` that the evaluation sets.",
    ),
    Code.GATE_LOOSENED: _Text("gate-loosened", "Accepts weaker models:", "{how}", _WHY_BOUND),
    Code.CONDITION_CHANGED: _Text(
        "gate-loosened",
        "Accepts different models:",
        "The step {step}, which decides about a model, {how}.",
        "Explain in the pull request why the old condition was wrong, or keep it.",
    ),
    Code.STEP_REMOVED: _Text(
        "step-removed",
        "Removes steps from the pipeline",
        "{steps}: their actions and checks no longer happen.",
        "Keep them, or explain in the pull request what replaces them.",
    ),
    Code.FEATURE_REMOVED: _Text(
        "feature-removed",
        "Removes features from the table",
        "{features}: features of a feature group cannot be removed or retyped, so the deployment is refused.",
        "Declare them as before and stop using them in `features()`.",
    ),
    Code.ANOTHER_MODEL: _Text(
        "another-model",
        "Declares another model:",
        "{how} The champion rule would compare it with a model that answers a different question, and the requests and "
        "labels captured until now belong to the old model.",
        "Declare a new use case next to this one, and move its clients.",
    ),
    Code.EXPECTATION_LOOSENED: _Text(
        "expectation-loosened",
        "Accepts worse data:",
        "{how}",
        "Explain in the pull request why such data is valid, or keep the rule.",
    ),
    Code.OPENED: _Text(
        "opened",
        "Allows {whom} to do {what}:",
        "{consequence}",
        "Specify the actions, the resources and the principals.",
    ),
    Code.CONDITION_LOST: _Text(
        "condition-lost",
        "No longer checks on whose behalf {principal} acts:",
        "Until now only if {condition}. Without it, strangers can make the service use it on their behalf.",
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
