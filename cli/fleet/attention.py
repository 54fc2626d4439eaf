"""Action items of a stack: the problems that need a person, each with the exact next command, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.aws.endpoints import AWAITED, GONE
from cli.fleet.document import ActionItem, StackDocument
from cli.fleet.findings import Code, Finding, find
from cli.fleet.served import PUT_BACK
from cli.stack.deployable import in_environment
from millrace.names import CALIBRATION, DRIFT, ERRORS, HEARTBEAT, LATENCY, UNDELIVERED
from queries.pipelines import FAILED, RUNNING

#: The step with which the training pipeline fails when it refuses a challenger.
REFUSED = "Refused"
#: Statuses of an endpoint that is in service or being changed.
_GOOD = ("InService", "Creating", "Updating", "RollingBack", "SystemUpdating")

Document = StackDocument
#: A finding and the command for it.
_Item = tuple[Finding, str]


def list_items(document: Document, warnings: Sequence[Finding]) -> list[ActionItem]:
    """Return the action items.

    Args:
        document: The stack's document.
        warnings: The document's warnings; those that name a command are action items too.
    """
    return [
        {"code": each.code.value, "fields": dict(each.fields), "what": each.text, "command": made}
        for each, made in _list_needs(document, warnings)
    ]


def brief(text: str, most: int = 200) -> str:
    """Return the first line of a text, shortened to ``most`` characters: a reason may be a whole stack trace."""
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if len(first) > most:
        return f"{first[:most].rsplit(' ', 1)[0]} …"
    return f"{first} …" if len(lines) > 1 else first


def is_too_old(document: Document, version: int) -> bool:
    """Return True if a newer version than this one is approved, so that a pending one can only be rejected."""
    return bool(document["approved"] and version < document["approved"])


def knows_what_serves(document: Document) -> bool:
    """Return True if it is known which package serves, or that none does."""
    return document["endpoint"]["package"] is not None or not {"endpoint", "model"} & set(document["unknown"])


def command(document: Document, verb: str, *words: object) -> str:
    """Return a `millrace` command about the stack; `--env` is omitted for the local environment."""
    return " ".join(["millrace", verb, document["use_case"], *map(str, words)]) + _where(document)


def logs(document: Document, name: str) -> str:
    """Return the command that shows the logs of an endpoint or of a pipeline's newest execution."""
    return f"millrace logs {name}{_where(document)}"


def _where(document: Document) -> str:
    return in_environment(document["environment"])


def _list_needs(document: Document, warnings: Sequence[Finding]) -> Iterator[_Item]:
    yield from _of_endpoint(document)
    yield from _of_alarms(document)
    yield from _of_model(document)
    for warning in warnings:
        verb, *words = warning.command
        yield warning, command(document, verb, *words)
    yield from _of_runs(document)
    if paused := document["paused"]:
        since = paused["since"] or "an unknown time"
        yield find(Code.PAUSED, since=since, reason=brief(str(paused["reason"] or ""))), command(document, "resume")


def _of_endpoint(document: Document) -> Iterator[_Item]:
    endpoint = document["endpoint"]
    if endpoint["config"] is None:
        if endpoint["status"] == GONE:
            found = find(Code.ENDPOINT_MISSING, endpoint=endpoint["name"], approved=document["approved"])
            yield found, command(document, *PUT_BACK)
        elif endpoint["status"] == AWAITED and not _has_model_to_come(document):
            yield find(Code.NO_MODEL_YET), command(document, "retrain")
        return
    reason = brief(endpoint["reason"])
    if endpoint["status"] not in _GOOD:
        found = find(Code.ENDPOINT_UNHEALTHY, status=endpoint["status"], reason=reason)
        yield found, logs(document, endpoint["name"])
    elif endpoint["reason"] and document["rollout"] is None and _is_behind(document):
        yield find(Code.ROLLED_BACK, reason=reason), logs(document, endpoint["name"])


def _has_model_to_come(document: Document) -> bool:
    return bool(document["pending"] or document["approved"] or document["missing"] or _is_training(document))


def _is_behind(document: Document) -> bool:
    """Return True if both are known and the newest approved version is not the one that serves."""
    if "registry" in document["unknown"] or not knows_what_serves(document):
        return False
    return bool(document["approved"] != document["endpoint"]["version"])


def _of_approved(document: Document, serves: int | None, approved: int) -> _Item:
    """Return the action item for an approved version that does not serve."""
    if document["endpoint"]["undone"] != approved or not document["endpoint"]["config"]:
        return find(Code.APPROVED_NOT_SERVED, approved=approved), command(document, "deploy")
    fields = {"approved": approved, "serves": f"version {serves}" if serves else "the current model"}
    if document["endpoint"]["rolled_back_by_alarm"]:
        return find(Code.APPROVED_ROLLED_BACK_BY_ALARM, **fields), command(document, "deploy")
    # Another attempt would fail in the same way.
    return find(Code.APPROVED_ROLLOUT_FAILS, **fields), command(document, "reject", approved)


def _of_alarms(document: Document) -> Iterator[_Item]:
    waiting = [each["version"] for each in document["pending"] if not is_too_old(document, each["version"])]
    firing = {alarm["kind"]: alarm for alarm in document["alarms"] if alarm["state"] == "ALARM"}
    order = (ERRORS, LATENCY, UNDELIVERED, HEARTBEAT, CALIBRATION, DRIFT)
    for kind in (kind for kind in order if kind in firing):
        alarm = {"alarm": firing[kind]["name"], "meaning": firing[kind]["description"].rstrip(".") or "it fires"}
        if kind in (ERRORS, LATENCY):
            yield find(Code.ALARM, **alarm), logs(document, document["endpoint"]["name"])
        elif kind == UNDELIVERED:
            verb = "watch" if _is_training(document) else "retrain"
            yield find(Code.ALARM_UNDELIVERED, **alarm), command(document, verb)
        elif kind == HEARTBEAT:
            yield find(Code.ALARM, **alarm), command(document, "run", "--pipeline", "monitor")
        elif _is_training(document):
            yield find(Code.ALARM_TRAINING_RUNS, **alarm), command(document, "watch")
        elif waiting:
            found = find(Code.ALARM_APPROVAL_WAITS, version=waiting[0], **alarm)
            yield found, command(document, "approve", waiting[0])
        else:
            yield find(Code.ALARM, **alarm), command(document, "retrain")


def _of_model(document: Document) -> Iterator[_Item]:
    serves, approved = document["endpoint"]["version"], document["approved"]
    for package in document["pending"]:
        version = package["version"]
        if is_too_old(document, version):
            found = find(Code.APPROVAL_OUTDATED, version=version, approved=approved)
            yield found, command(document, "reject", version)
        else:
            yield find(Code.APPROVAL_WAITS, version=version), command(document, "approve", version)
    # If the endpoint serves without a package, a warning reports that, with its own command.
    is_odd = document["endpoint"]["config"] is not None and document["endpoint"]["package"] is None
    is_deployable = document["rollout"] is None and document["endpoint"]["status"] != GONE and not is_odd
    if approved and is_deployable and knows_what_serves(document) and (not serves or serves < approved):
        yield _of_approved(document, serves, approved)
    model = document["model"]
    if model is None:
        return
    for gate in model["gates"]:
        if gate["passed"] is False:
            has_lower = gate["at_least"] is not None
            fields = {
                "version": model["version"],
                "metric": gate["metric"],
                "value": gate["value"],
                "bound": "at least" if has_lower else "at most",
                "limit": gate["at_least"] if has_lower else gate["at_most"],
            }
            yield find(Code.GATE_FAILED, **fields), command(document, "retrain")


def _of_runs(document: Document) -> Iterator[_Item]:
    for kind, run in document["last"].items():
        # A refused challenger is a regular result; the pipeline reports it by failing.
        if run and run["status"] == FAILED and run["step"] != REFUSED:
            reason = brief(run["reason"]) or "without a reason"
            found = find(Code.RUN_FAILED, pipeline=kind, reason=reason)
            yield found, logs(document, f"{document['stack']}-{kind}/")


def _is_training(document: Document) -> bool:
    run = document["last"].get("training")
    return bool(run and run["status"] in RUNNING)
