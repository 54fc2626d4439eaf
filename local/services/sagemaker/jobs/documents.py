"""The documents of jobs: their statuses, their outcome, and the events of their changes."""

from __future__ import annotations

import re
import time
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from local.core.store import Document, remove_private_members

if TYPE_CHECKING:
    from local.core.context import Cloud

#: The final statuses of a job.
ENDED = ("Completed", "Failed", "Stopped")

RESTARTED = "InternalServerError: the local cloud was restarted while the job ran"

#: The maximum length of FailureReason.
_LIMIT = 1024

#: Members whose enumeration values have another case in events than in descriptions.
_EVENT_ENUMS = {"S3DataType", "S3InputMode", "S3DataDistributionType", "S3CompressionType", "S3UploadMode"}

#: The message of a training job's last secondary status, where the outcome has no reason.
_LAST_MESSAGES = {
    "Completed": "Training job completed",
    "Stopped": "Training job stopped",
    "MaxRuntimeExceeded": "Training job runtime exceeded MaxRuntimeInSeconds provided",
}


@dataclass
class Outcome:
    """The result of a job; ``members`` are further members of its description."""

    status: str
    secondary: str
    reason: str | None = None
    members: Document = field(default_factory=dict)


def write_outcome(document: Document, label: str, outcome: Outcome) -> None:
    """Write the outcome and the end time to a job's document.

    Args:
        document: The job's document, which is changed.
        label: The prefix of its members: ``Training`` or ``Processing``.
        outcome: The result of the job.
    """
    now = time.time()
    document[f"{label}JobStatus"] = outcome.status
    document[f"{label}EndTime"] = now
    document |= outcome.members
    if outcome.reason:
        document["FailureReason"] = outcome.reason[:_LIMIT]
    if label == "Training":
        enter_secondary_status(document, outcome.secondary, outcome.reason or _LAST_MESSAGES.get(outcome.secondary, ""))
        document["SecondaryStatusTransitions"][-1]["EndTime"] = now
        if started := document.get("TrainingStartTime"):
            seconds = max(1, round(now - started))
            document["TrainingTimeInSeconds"] = seconds
            document["BillableTimeInSeconds"] = seconds * document["ResourceConfig"].get("InstanceCount", 1)


def enter_secondary_status(document: Document, secondary: str, message: str) -> None:
    """Move a training job to its next secondary status.

    Args:
        document: The job's document, which is changed.
        secondary: The secondary status.
        message: The message of the transition.
    """
    now = time.time()
    transitions = document.setdefault("SecondaryStatusTransitions", [])
    if transitions:
        transitions[-1].setdefault("EndTime", now)
    document["SecondaryStatus"] = secondary
    transitions.append({"Status": secondary, "StartTime": now, "StatusMessage": message})


def update_job(
    cloud: Cloud, kind: str, label: str, region: str, name: str, change: Callable[[Document], None]
) -> Document | None:
    """Change a job's document in one transaction, and emit the state change event.

    Args:
        cloud: The cloud that the job belongs to.
        kind: The store's kind of the job.
        label: The prefix of the document's members: ``Training`` or ``Processing``.
        region: The job's region.
        name: The job's name.
        change: Changes the document in place.

    Returns:
        The document after the change; None if the job does not exist.
    """

    def changed(document: Document) -> None:
        change(document)
        document["LastModifiedTime"] = time.time()

    document = cloud.store.update(kind, region, name, changed)
    if document is not None:
        emit_state_change(cloud, label, region, document)
    return document


def emit_state_change(cloud: Cloud, label: str, region: str, document: Document) -> None:
    """Emit the state change event of a job.

    Args:
        cloud: The cloud that the job belongs to.
        label: The prefix of the document's members: ``Training`` or ``Processing``.
        region: The job's region.
        document: The job's document, as it is now.
    """
    cloud.events.emit(
        detail_type=f"SageMaker {label} Job State Change",
        resources=[document[f"{label}JobArn"]],
        detail=_to_event_detail(remove_private_members(document), enums=label == "Processing"),
        region=region,
    )


def _to_event_detail(value: Any, *, enums: bool, name: str = "") -> Any:
    """Return a description as events have it: times in milliseconds, some enumerations in another case."""
    if isinstance(value, dict):
        return {key: _to_event_detail(item, enums=enums, name=key) for key, item in value.items()}
    if isinstance(value, list):
        return [_to_event_detail(item, enums=enums) for item in value]
    if isinstance(value, float) and name.endswith(("Time", "Timestamp")):
        return int(value * 1000)
    if enums and name in _EVENT_ENUMS:
        return re.sub(r"(?<=[a-z])(?=[A-Z])", "_", value).upper()
    return value


def settle_interrupted_jobs(cloud: Cloud, kind: str, label: str) -> None:
    """Settle the jobs of a kind that the last shutdown of the local cloud interrupted.

    Args:
        cloud: The cloud, which has just started.
        kind: The store's kind of the jobs.
        label: The prefix of their documents' members: ``Training`` or ``Processing``.
    """
    for region, document in _list_unfinished_jobs(cloud, kind, label):
        stopping = document[f"{label}JobStatus"] == "Stopping"
        outcome = Outcome("Stopped", "Stopped") if stopping else Outcome("Failed", "Failed", RESTARTED)

        def end(document: Document, outcome: Outcome = outcome) -> None:
            write_outcome(document, label, outcome)

        update_job(cloud, kind, label, region, document[f"{label}JobName"], end)


def _list_unfinished_jobs(cloud: Cloud, kind: str, label: str) -> list[tuple[str, Document]]:
    return [
        (document[f"{label}JobArn"].split(":")[3], document)
        for document in cloud.store.list(kind)
        if document[f"{label}JobStatus"] not in ENDED
    ]
