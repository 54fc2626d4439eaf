"""The documents of builds: phases, the final status, and the events of their changes."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any, Final

from local.core.store import Document, remove_private_members

if TYPE_CHECKING:
    from local.core.context import Cloud

PROJECT: Final = "codebuild-project"
BUILD: Final = "codebuild-build"

IN_PROGRESS, SUCCEEDED, FAILED = "IN_PROGRESS", "SUCCEEDED", "FAILED"
FAULT, STOPPED, TIMED_OUT = "FAULT", "STOPPED", "TIMED_OUT"

_RESTARTED = ("INTERNAL_SERVICE_ERROR", "the local cloud was restarted while the build ran")
#: The longest message of a phase's context.
_LIMIT = 1024


def update_build(cloud: Cloud, region: str, name: str, change: Callable[[Document], None]) -> Document | None:
    """Change a build's document in one transaction; return it, or None if it was deleted.

    Args:
        cloud: The cloud.
        region: The build's region.
        name: The build's id.
        change: Changes the document in place.
    """
    return cloud.store.update(BUILD, region, name, change)


def enter_phase(cloud: Cloud, region: str, name: str, phase: str, at: float | None = None) -> None:
    """End the phase that a build is in successfully, and begin the next.

    Args:
        cloud: The cloud.
        region: The build's region.
        name: The build's id.
        phase: The next phase.
        at: The time, epoch seconds; None for now.
    """
    end_phase(cloud, region, name, SUCCEEDED, at=at)

    def entered(document: Document) -> None:
        document["phases"].append({"phaseType": phase, "startTime": time.time() if at is None else at})
        document["currentPhase"] = phase

    update_build(cloud, region, name, entered)


def end_phase(
    cloud: Cloud,
    region: str,
    name: str,
    status: str,
    context: tuple[str, str] | None = None,
    at: float | None = None,
) -> None:
    """End the phase that a build is in; do nothing where it has ended already.

    Args:
        cloud: The cloud.
        region: The build's region.
        name: The build's id.
        status: The phase's status.
        context: Code and message of what went wrong; None where nothing did.
        at: The time, epoch seconds; None for now.
    """
    ended: list[Document] = []

    def left(document: Document) -> None:
        phase = document["phases"][-1] if document["phases"] else {"phaseStatus": SUCCEEDED}
        if "phaseStatus" not in phase:
            _close(phase, status, context, time.time() if at is None else at)
            ended.append(phase)

    with cloud.store.transaction():
        document = update_build(cloud, region, name, left)
        if document is not None and ended:
            _emit_phase_change(cloud, region, document, ended[0])


def _close(phase: Document, status: str, context: tuple[str, str] | None, now: float) -> None:
    phase |= {"phaseStatus": status, "endTime": now, "durationInSeconds": max(0, round(now - phase["startTime"]))}
    if context is not None:
        phase["contexts"] = [{"statusCode": context[0], "message": context[1][:_LIMIT]}]


def complete_build(cloud: Cloud, region: str, name: str, status: str) -> None:
    """Write a build's final status, and emit its event; do nothing where it is complete.

    Args:
        cloud: The cloud.
        region: The build's region.
        name: The build's id.
        status: The final status.
    """
    now = time.time()

    def completed(document: Document) -> None:
        document |= {"buildStatus": status, "buildComplete": True, "endTime": now, "currentPhase": "COMPLETED"}
        document["phases"].append({"phaseType": "COMPLETED", "startTime": now})

    with cloud.store.transaction():
        known = cloud.store.get(BUILD, region, name)
        if known is None or known["buildComplete"]:
            return
        document = update_build(cloud, region, name, completed)
        assert document is not None
        emit_state_change(cloud, region, document)


def emit_state_change(cloud: Cloud, region: str, document: Document) -> None:
    """Emit the event of a build's status.

    Args:
        cloud: The cloud.
        region: The build's region.
        document: The build's document, as it is now.
    """
    contexts = [context for phase in document["phases"] for context in phase.get("contexts", ())]
    cloud.events.emit(
        source="aws.codebuild",
        detail_type="CodeBuild Build State Change",
        resources=[document["arn"]],
        detail={
            **_describe(document),
            "build-status": document["buildStatus"],
            "current-phase": document["currentPhase"],
            "current-phase-context": _format_contexts(contexts),
        },
        region=region,
    )


def _emit_phase_change(cloud: Cloud, region: str, document: Document, phase: Mapping[str, Any]) -> None:
    cloud.events.emit(
        source="aws.codebuild",
        detail_type="CodeBuild Build Phase Change",
        resources=[document["arn"]],
        detail={
            **_describe(document),
            "completed-phase": phase["phaseType"],
            "completed-phase-status": phase["phaseStatus"],
            "completed-phase-context": _format_contexts(phase.get("contexts", ())),
            "completed-phase-duration-seconds": phase["durationInSeconds"],
            "completed-phase-start": _format_time(phase["startTime"]),
            "completed-phase-end": _format_time(phase["endTime"]),
        },
        region=region,
    )


def _describe(document: Document) -> dict[str, Any]:
    """Return the part of a detail that all events of a build have."""
    build, logs = remove_private_members(document), document["logs"]
    phases = [
        {
            "phase-type": phase["phaseType"],
            "start-time": _format_time(phase["startTime"]),
            **(
                {
                    "phase-status": phase["phaseStatus"],
                    "end-time": _format_time(phase["endTime"]),
                    "duration-in-seconds": phase["durationInSeconds"],
                    "phase-context": [_format_contexts(phase.get("contexts", ()))],
                }
                if "phaseStatus" in phase
                else {}
            ),
        }
        for phase in build["phases"]
    ]
    variables = build["environment"].get("environmentVariables", [])
    return {
        "project-name": build["projectName"],
        "build-id": build["arn"],
        "version": "1",
        "additional-information": {
            "environment": {
                "image": build["environment"]["image"],
                "privileged-mode": build["environment"].get("privilegedMode", False),
                "compute-type": build["environment"]["computeType"],
                "type": build["environment"]["type"],
                "environment-variables": variables,
            },
            "timeout-in-minutes": build["timeoutInMinutes"],
            "build-complete": build["buildComplete"],
            "initiator": build["initiator"],
            "build-start-time": _format_time(build["startTime"]),
            "source": {name: build["source"][name] for name in ("type", "location") if name in build["source"]},
            "logs": {
                "group-name": logs.get("groupName"),
                "stream-name": logs.get("streamName"),
                "deep-link": logs.get("deepLink"),
            },
            "phases": phases,
        },
    }


def _format_contexts(contexts: Any) -> str:
    shown = ", ".join(f"{each['statusCode']}: {each['message']}" for each in contexts)
    return f"[{shown}]"


def _format_time(seconds: float) -> str:
    return time.strftime("%b %d, %Y %I:%M:%S %p", time.gmtime(seconds))


def settle_interrupted_builds(cloud: Cloud) -> None:
    """End the builds that the last shutdown of the local cloud interrupted.

    Args:
        cloud: The cloud, which has just started.
    """
    for document in cloud.store.list(BUILD):
        if not document["buildComplete"]:
            region, name = document["arn"].split(":")[3], document["id"]
            end_phase(cloud, region, name, FAULT, _RESTARTED)
            complete_build(cloud, region, name, FAULT)
