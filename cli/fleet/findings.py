"""Findings about a stack, which are its warnings and action items: a code with fields, and the sentence of each code.

A warning is a difference from the declaration; an action item is a problem that needs a person, with its command.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any

from cli.fleet.document import WarningPart


class Code(StrEnum):
    """The kind of a finding."""

    # The endpoint
    ENDPOINT_MISSING = "endpoint_missing"
    ENDPOINT_UNHEALTHY = "endpoint_unhealthy"
    NO_MODEL_YET = "no_model_yet"
    ROLLED_BACK = "rolled_back"
    # What it serves
    FOREIGN_CONFIG = "foreign_config"
    FOREIGN_GROUP = "foreign_group"
    CONFIG_DELETED = "config_deleted"
    MODEL_DELETED = "model_deleted"
    MODEL_WITHOUT_PACKAGE = "model_without_package"
    PACKAGE_DELETED = "package_deleted"
    PACKAGE_DELETED_NONE_APPROVED = "package_deleted_none_approved"
    PACKAGE_DELETED_REGISTRY_SILENT = "package_deleted_registry_silent"
    METRICS_MISSING = "metrics_missing"
    GATE_FAILED = "gate_failed"
    # The registry
    GROUP_DELETED = "group_deleted"
    GROUP_DELETED_SERVING = "group_deleted_serving"
    NONE_APPROVED = "none_approved"
    REJECTED_SERVES_NONE_APPROVED = "rejected_serves_none_approved"
    REJECTED_SERVES = "rejected_serves"
    OLDER_APPROVED = "older_approved"
    APPROVED_LATE = "approved_late"
    APPROVED_NOT_SERVED = "approved_not_served"
    APPROVED_ROLLED_BACK_BY_ALARM = "approved_rolled_back_by_alarm"
    APPROVED_ROLLOUT_FAILS = "approved_rollout_fails"
    APPROVAL_WAITS = "approval_waits"
    APPROVAL_OUTDATED = "approval_outdated"
    # Alarms, runs, triggers
    ALARM = "alarm"
    ALARM_UNDELIVERED = "alarm_undelivered"
    ALARM_TRAINING_RUNS = "alarm_training_runs"
    ALARM_APPROVAL_WAITS = "alarm_approval_waits"
    RUN_FAILED = "run_failed"
    PAUSED = "paused"
    RULE_DISABLED = "rule_disabled"
    RETRAINING_ASKED = "retraining_asked"
    # The stack
    RESOURCES_MISSING = "resources_missing"
    NEVER_DEPLOYED = "never_deployed"
    TAKEN_DOWN = "taken_down"
    NOT_RUNNING = "not_running"


_NONE_LEFT = "`pulumi up` would stop serving, and `millrace deploy` refuses to"
_NEXT = "a deployment with --refresh"
#: The sentence of each code, with the names of its fields; a reason, if given, is appended after a colon.
_SENTENCES = {
    Code.ENDPOINT_MISSING: (
        "endpoint {endpoint} was deleted, and version {approved} is approved: " + _NEXT + " recreates it"
    ),
    Code.ENDPOINT_UNHEALTHY: "the endpoint is {status}",
    Code.NO_MODEL_YET: "it has no model yet",
    Code.ROLLED_BACK: "the last rollout was rolled back",
    Code.FOREIGN_CONFIG: (
        "endpoint {endpoint} runs configuration {config}, which `pulumi up` did not create; "
        + _NEXT
        + " restores its own"
    ),
    Code.FOREIGN_GROUP: (
        "endpoint {endpoint} serves a model of another group: {package}; expected one of {group}; "
        + _NEXT
        + " restores its own"
    ),
    Code.CONFIG_DELETED: (
        "endpoint configuration {config}, which serves, was deleted: which package serves is unknown, and SageMaker "
        "accepts no other configuration for such an endpoint. It continues to serve until it is deleted: "
        "`aws sagemaker delete-endpoint --endpoint-name {endpoint} --region {region}`; then " + _NEXT + " recreates "
        "both with the newest approved version"
    ),
    Code.MODEL_DELETED: (
        "model {model}, which serves, was deleted: which package serves is unknown; "
        + _NEXT
        + " recreates it with the "
        "newest approved version"
    ),
    Code.MODEL_WITHOUT_PACKAGE: (
        "model {model}, which serves, was not created from a registered package; "
        + _NEXT
        + " replaces it with the newest "
        "approved version"
    ),
    Code.PACKAGE_DELETED: (
        "package {package}, which serves, was deleted with its metrics; it serves until a new model does; the next "
        "deployment serves version {approved}"
    ),
    Code.PACKAGE_DELETED_NONE_APPROVED: (
        "package {package}, which serves, was deleted with its metrics; it serves until a new model does; no "
        "version is approved: " + _NONE_LEFT
    ),
    Code.PACKAGE_DELETED_REGISTRY_SILENT: (
        "package {package}, which serves, was deleted with its metrics; it serves until a new model does; whether "
        "another version is approved is unknown"
    ),
    Code.METRICS_MISSING: "version {version}, which serves, has no value for {metrics}",
    Code.GATE_FAILED: "version {version} serves with {metric} {value:g}, expected {bound} {limit:g}",
    Code.GROUP_DELETED: "model package group {group} was deleted with its history; " + _NEXT + " recreates it",
    Code.GROUP_DELETED_SERVING: (
        "model package group {group} was deleted with its history; the endpoint still serves, but no approved version "
        "is left: " + _NONE_LEFT + ". To start again, delete the endpoint with this command, which stops serving, then "
        "train a model with `millrace retrain`"
    ),
    Code.NONE_APPROVED: "version {version} serves and no version is approved: " + _NONE_LEFT,
    Code.REJECTED_SERVES_NONE_APPROVED: (
        "version {version}, which serves, is rejected, and no version is approved: " + _NONE_LEFT + "; approve another "
        "version, or train one"
    ),
    Code.REJECTED_SERVES: "version {version}, which serves, is rejected: the next deployment replaces it",
    Code.OLDER_APPROVED: (
        "version {approved}, the newest approved one, is older than version {version}, which serves and is {approval}: "
        "the next deployment returns to it"
    ),
    Code.APPROVED_LATE: (
        "version {version} was approved after version {newest} and does not serve: the newest approved version does"
    ),
    Code.APPROVED_NOT_SERVED: "version {approved} is approved and does not serve yet",
    Code.APPROVED_ROLLED_BACK_BY_ALARM: (
        "version {approved} is approved, and its rollout was rolled back by an alarm: {serves} still serves; once the "
        "alarm has ended, a deployment tries again; `millrace reject` prevents it from serving"
    ),
    Code.APPROVED_ROLLOUT_FAILS: (
        "version {approved} is approved and could not be rolled out: each deployment would try again and fail; once it "
        "is rejected, {serves} keeps serving"
    ),
    Code.APPROVAL_WAITS: "version {version} waits for approval",
    Code.APPROVAL_OUTDATED: (
        "version {version} waits for approval, but version {approved} is approved and newer: reject it"
    ),
    Code.ALARM: "alarm {alarm}: {meaning}",
    Code.ALARM_UNDELIVERED: "alarm {alarm}: {meaning}; the execution that it should start did not run",
    Code.ALARM_TRAINING_RUNS: "alarm {alarm}: {meaning}; a training is running",
    Code.ALARM_APPROVAL_WAITS: "alarm {alarm}: {meaning}; version {version} waits for approval",
    Code.RUN_FAILED: "the last run of {pipeline} failed",
    Code.PAUSED: "paused since {since}",
    Code.RETRAINING_ASKED: "retraining asks for a decision, on data as of {asked}; its newest start: {reason}",
    Code.RULE_DISABLED: (
        "rule {rule} is disabled, though nothing is paused: it starts no training; " + _NEXT + " enables it"
    ),
    Code.RESOURCES_MISSING: (
        "{resources} missing, although other parts of the stack exist: its deployment was interrupted, or somebody "
        "deleted them; " + _NEXT + " recreates them"
    ),
    Code.NEVER_DEPLOYED: "never deployed, or interrupted at its beginning: none of it is running {where}: {command}",
    Code.TAKEN_DOWN: (
        "destroyed with its data kept, or interrupted at its first deployment: none of it is running {where}, and only "
        "kept resources exist, such as model package group {group}; to deploy it: {command}"
    ),
    Code.NOT_RUNNING: "none of it is running {where}; whether its models are kept is unknown; to deploy it: {command}",
}


@dataclass(frozen=True)
class Finding:
    """Something about a stack that a person should know.

    Attributes:
        code: The kind of the finding.
        command: The words of the command that fixes it, its verb first; the use case is inserted after the verb. Empty
            if the command is computed elsewhere or is part of the sentence.
        fields: The values for the placeholders in the code's sentence; ``reason``, if given, is quoted text.
    """

    code: Code
    command: tuple[str, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=dict)

    @property
    def text(self) -> str:
        """The sentence for people."""
        reason = self.fields.get("reason")
        resources = _list_resources(self.fields.get("missing", {}))
        return _SENTENCES[self.code].format(resources=resources, **self.fields) + (f": {reason}" if reason else "")

    def dump(self) -> WarningPart:
        """Return the finding as JSON data."""
        return {"code": self.code.value, "fields": dict(self.fields), "text": self.text}


def _list_resources(missing: Mapping[str, Sequence[str]]) -> str:
    """Return missing resources as the subject of a sentence with its verb, from their names by kind."""
    listed = " and ".join(f"{kind} {' and '.join(names)}" for kind, names in missing.items())
    return f"{listed} {'is' if sum(map(len, missing.values())) == 1 else 'are'}"


def make_finding(code: Code, *command: str, **fields: Any) -> Finding:
    """Make a finding from a code, the words of a command, and fields."""
    return Finding(code, command, fields)
