"""What needs a person: from what is known of a stack, one sentence each, with the exact next command; worst first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from cli.deployable import in_environment
from cli.fleet.served import AWAITED, GONE
from millrace.names import CALIBRATION, DRIFT, ERRORS, HEARTBEAT, LATENCY, UNDELIVERED

#: Statuses of an execution that is not over.
RUNNING = ("Executing", "Stopping")
#: The step with which the training pipeline ends that refuses a challenger.
REFUSED = "Refused"
#: Statuses of an endpoint that is being changed or is as it should be.
_GOOD = ("InService", "Creating", "Updating", "RollingBack", "SystemUpdating")

Need = dict[str, str]
Document = Mapping[str, Any]


def of(document: Document, odd: Mapping[str, Sequence[str]]) -> list[Need]:
    """Each need: ``what`` and ``command``.

    Args:
        odd: The document's warnings, with the words of the command that mends each.
    """
    return [{"what": what, "command": command} for what, command in _needs(document, odd)]


def brief(text: str, most: int = 200) -> str:
    """The first line of what somebody said, shortened: a reason may be a whole dump."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if len(first) > most:
        return f"{first[:most].rsplit(' ', 1)[0]} …"
    return f"{first} …" if len(lines) > 1 else first


def is_too_old(document: Document, version: int) -> bool:
    """Whether a version that waits can only be rejected: a newer one is approved, and the newest one serves."""
    return bool(document["approved"] and version < document["approved"])


def knows_what_serves(document: Document) -> bool:
    """Whether it was answered which package serves, if any: what was not answered is not absent."""
    return document["endpoint"]["package"] is not None or not {"endpoint", "model"} & set(document["unknown"])


def command(document: Document, verb: str, *words: object) -> str:
    """A command about the stack; the local environment goes without saying."""
    return " ".join(["millrace", verb, document["use_case"], *map(str, words)]) + _where(document)


def logs(document: Document, name: str) -> str:
    """The command that shows what an endpoint or a pipeline's newest execution printed."""
    return f"millrace logs {name}{_where(document)}"


def _where(document: Document) -> str:
    return in_environment(document["environment"])


def _needs(document: Document, odd: Mapping[str, Sequence[str]]) -> Iterator[tuple[str, str]]:
    yield from _of_endpoint(document)
    yield from _of_alarms(document)
    yield from _of_model(document)
    for what, (verb, *words) in odd.items():
        yield what, command(document, verb, *words)
    yield from _of_runs(document)
    if paused := document["paused"]:
        why = f": {brief(paused['reason'])}" if paused["reason"] else ""
        yield f"paused since {paused['since'] or 'an unknown time'}{why}", command(document, "resume")


def _of_endpoint(document: Document) -> Iterator[tuple[str, str]]:
    endpoint = document["endpoint"]
    if endpoint["config"] is None:
        if endpoint["status"] == GONE:
            what = f"endpoint {endpoint['name']} is gone, and version {document['approved']} is approved: a deployment "
            yield what + "that looks at what is there makes it anew", command(document, "deploy", "--refresh")
        elif endpoint["status"] == AWAITED and not _has_model_to_come(document):
            yield "it has no model yet", command(document, "retrain")
        return
    if endpoint["status"] not in _GOOD:
        said = f": {brief(endpoint['reason'])}" if endpoint["reason"] else ""
        yield f"the endpoint is {endpoint['status']}{said}", logs(document, endpoint["name"])
    elif endpoint["reason"] and document["rollout"] is None and _is_behind(document):
        yield f"the last roll-out was undone: {brief(endpoint['reason'])}", logs(document, endpoint["name"])


def _has_model_to_come(document: Document) -> bool:
    return bool(document["pending"] or document["approved"] or document["missing"] or _is_training(document))


def _is_behind(document: Document) -> bool:
    """Whether, as far as both are known, another version is approved than the one that serves."""
    if "registry" in document["unknown"] or not knows_what_serves(document):
        return False
    return bool(document["approved"] != document["endpoint"]["version"])


def _of_approved(document: Document, serves: int | None, approved: int) -> tuple[str, str]:
    """What to do about an approved version that does not serve."""
    if document["endpoint"]["undone"] != approved or not document["endpoint"]["config"]:
        return f"version {approved} is approved and does not serve yet", command(document, "deploy")
    left = f"version {serves}" if serves else "what serves"
    if document["endpoint"]["rolled_back_by_alarm"]:
        what = (
            f"version {approved} is approved, and its roll-out was undone by an alarm: {left} serves on; once the "
            "alarm is over, a deployment tries again; `millrace reject` keeps it from serving"
        )
        return what, command(document, "deploy")
    # The next try would meet the same.
    what = (
        f"version {approved} is approved and could not be rolled out: each deployment would try it again and fail; "
        f"rejected, it leaves {left} serving"
    )
    return what, command(document, "reject", approved)


def _of_alarms(document: Document) -> Iterator[tuple[str, str]]:
    waiting = [each["version"] for each in document["pending"] if not is_too_old(document, each["version"])]
    firing = {alarm["kind"]: alarm for alarm in document["alarms"] if alarm["state"] == "ALARM"}
    order = (ERRORS, LATENCY, UNDELIVERED, HEARTBEAT, CALIBRATION, DRIFT)
    for kind in (kind for kind in order if kind in firing):
        name = firing[kind]["name"]
        meaning = firing[kind]["description"].rstrip(".") or "it fires"
        if kind in (ERRORS, LATENCY):
            yield f"alarm {name}: {meaning}", logs(document, document["endpoint"]["name"])
        elif kind == UNDELIVERED:
            what = f"alarm {name}: {meaning}; whatever it was to start has not run"
            yield what, command(document, "watch" if _is_training(document) else "retrain")
        elif kind == HEARTBEAT:
            yield f"alarm {name}: {meaning}", command(document, "run", "--pipeline", "monitor")
        elif _is_training(document):
            yield f"alarm {name}: {meaning}; a training runs", command(document, "watch")
        elif waiting:
            what = f"alarm {name}: {meaning}; version {waiting[0]} waits for approval"
            yield what, command(document, "approve", waiting[0])
        else:
            yield f"alarm {name}: {meaning}", command(document, "retrain")


def _of_model(document: Document) -> Iterator[tuple[str, str]]:
    serves, approved = document["endpoint"]["version"], document["approved"]
    for package in document["pending"]:
        version = package["version"]
        if is_too_old(document, version):
            what = f"version {version} waits for approval, but version {approved} is approved and newer: reject it"
            yield what, command(document, "reject", version)
        else:
            yield f"version {version} waits for approval", command(document, "approve", version)
    # What serves without a package is odd: how to put that back is said with it.
    is_odd = document["endpoint"]["config"] is not None and document["endpoint"]["package"] is None
    is_deployable = document["rollout"] is None and document["endpoint"]["status"] != GONE and not is_odd
    if approved and is_deployable and knows_what_serves(document) and (not serves or serves < approved):
        yield _of_approved(document, serves, approved)
    model = document["model"]
    for gate in model["gates"] if model else []:
        if gate["passed"] is False:
            bound = "at least" if gate["at_least"] is not None else "at most"
            limit = gate["at_least"] if gate["at_least"] is not None else gate["at_most"]
            what = (
                f"version {model['version']} serves with {gate['metric']} {gate['value']:g}, expected {bound} {limit:g}"
            )
            yield what, command(document, "retrain")


def _of_runs(document: Document) -> Iterator[tuple[str, str]]:
    for kind, run in document["last"].items():
        # A refused challenger is an answer; it is the pipeline's own way to fail.
        if run and run["status"] == "Failed" and run["step"] != REFUSED:
            said = brief(run["reason"]) or "without a reason"
            yield f"the last run of {kind} failed: {said}", logs(document, f"{document['stack']}-{kind}/")


def _is_training(document: Document) -> bool:
    run = document["last"].get("training")
    return bool(run and run["status"] in RUNNING)
