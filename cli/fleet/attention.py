"""What needs a person: from what is known of a stack, one sentence each, with the exact next command; worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from typing import Any

from cli import cloud
from millrace.names import CALIBRATION, DRIFT, ERRORS, HEARTBEAT, LATENCY, UNDELIVERED

#: Statuses of an execution that is not over.
RUNNING = ("Executing", "Stopping")
#: The step with which the training pipeline ends that refuses a challenger.
REFUSED = "Refused"
#: Statuses of an endpoint that is being changed or is as it should be.
_GOOD = ("InService", "Creating", "Updating", "RollingBack", "SystemUpdating")

Need = dict[str, str]
Document = Mapping[str, Any]


def of(document: Document) -> list[Need]:
    """Each need: ``what`` and ``command``."""
    return [{"what": what, "command": command} for what, command in _needs(document)]


def command(document: Document, verb: str, *words: object) -> str:
    """A command about the stack; the local environment goes without saying."""
    where = [] if document["environment"] == cloud.LOCAL else ["--env", document["environment"]]
    return " ".join(["millrace", verb, document["use_case"], *map(str, words), *where])


def logs(document: Document, name: str) -> str:
    """The command that shows what an endpoint or a pipeline's newest execution printed."""
    where = "" if document["environment"] == cloud.LOCAL else f" --env {document['environment']}"
    return f"millrace logs {name}{where}"


def _needs(document: Document) -> Iterator[tuple[str, str]]:
    yield from _of_endpoint(document)
    yield from _of_alarms(document)
    yield from _of_model(document)
    yield from _of_runs(document)
    if paused := document["paused"]:
        why = f": {paused['reason']}" if paused["reason"] else ""
        yield f"paused since {paused['since'] or 'an unknown time'}{why}", command(document, "resume")


def _of_endpoint(document: Document) -> Iterator[tuple[str, str]]:
    endpoint = document["endpoint"]
    if endpoint["config"] is None:
        if not document["pending"] and not document["approved"] and not _is_training(document):
            yield "it has no model yet", command(document, "retrain")
        return
    if endpoint["status"] not in _GOOD:
        said = f": {endpoint['reason']}" if endpoint["reason"] else ""
        yield f"the endpoint is {endpoint['status']}{said}", logs(document, endpoint["name"])
    elif endpoint["reason"] and document["rollout"] is None:
        yield f"the last roll-out was undone: {endpoint['reason']}", logs(document, endpoint["name"])


def _of_alarms(document: Document) -> Iterator[tuple[str, str]]:
    firing = {alarm["kind"]: alarm for alarm in document["alarms"] if alarm["state"] == "ALARM"}
    order = (ERRORS, LATENCY, UNDELIVERED, HEARTBEAT, CALIBRATION, DRIFT)
    for kind in (kind for kind in order if kind in firing):
        name = firing[kind]["name"]
        meaning = firing[kind]["description"].rstrip(".") or "it fires"
        if kind in (ERRORS, LATENCY):
            yield f"alarm {name}: {meaning}", logs(document, document["endpoint"]["name"])
        elif kind == UNDELIVERED:
            yield f"alarm {name}: {meaning}", f"millrace status {document['use_case']} --env {document['environment']}"
        elif kind == HEARTBEAT:
            yield f"alarm {name}: {meaning}", command(document, "run", "--pipeline", "monitor")
        elif not _is_training(document) and not document["pending"]:
            yield f"alarm {name}: {meaning}", command(document, "retrain")


def _of_model(document: Document) -> Iterator[tuple[str, str]]:
    for package in document["pending"]:
        yield f"version {package['version']} waits for approval", command(document, "approve", package["version"])
    serves, approved = document["endpoint"]["version"], document["approved"]
    if approved and serves != approved and document["rollout"] is None:
        what = f"version {approved} is approved and does not serve yet"
        if serves and serves > approved:
            what = f"version {serves} serves, and the newest approved one is version {approved}"
        yield what, command(document, "deploy")
    model = document["model"]
    for gate in model["gates"] if model else []:
        if gate["passed"] is False:
            bound = "at least" if gate["at_least"] is not None else "at most"
            limit = gate["at_least"] if gate["at_least"] is not None else gate["at_most"]
            what = (
                f"version {model['version']} serves with {gate['metric']} {gate['value']:g}, expected {bound} {limit:g}"
            )
            yield what, command(document, "retrain")
    for warning in document["warnings"]:
        yield warning, f"millrace status {document['use_case']} --env {document['environment']}"


def _of_runs(document: Document) -> Iterator[tuple[str, str]]:
    for kind, run in document["last"].items():
        # A refused challenger is an answer; it is the pipeline's own way to fail.
        if run and run["status"] == "Failed" and run["step"] != REFUSED:
            said = run["reason"] or "without a reason"
            yield f"the last {kind} failed: {said}", logs(document, f"{document['stack']}-{kind}/")


def _is_training(document: Document) -> bool:
    run = document["last"].get("training")
    return bool(run and run["status"] in RUNNING)
