"""Action items of a stack: the problems that need a person, each with the exact next command, worst first."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from cli.aws.endpoints import AWAITED, GONE
from cli.fleet.document import ActionItem, StackDocument
from cli.fleet.findings import Code, Finding, make_finding
from cli.fleet.served import PUT_BACK
from cli.stack.deployable import render_environment_option
from millrace.documents import Verdict
from millrace.names import ERRORS, LATENCY, UNDELIVERED
from millrace.watching import MonitorAlarm
from queries.pipelines import FAILED, RUNNING

#: Statuses of an endpoint that is in service or being changed.
_GOOD = ("InService", "Creating", "Updating", "RollingBack", "SystemUpdating")

Document = StackDocument
#: A finding and the command for it.
_Item = tuple[Finding, str]

#: The monitor's alarms: those that say that it judges nothing, those of the model, and those of requests and data.
_SIGNALS = (MonitorAlarm.HEARTBEAT, MonitorAlarm.UNMEASURED)
_OF_MODELS = (MonitorAlarm.QUALITY, MonitorAlarm.CALIBRATION, MonitorAlarm.SCORE_DRIFT, MonitorAlarm.DRIFT)
_OF_DATA = tuple(alarm for alarm in MonitorAlarm if alarm not in _SIGNALS + _OF_MODELS)


def list_items(document: Document, warnings: Sequence[Finding]) -> list[ActionItem]:
    """Return the action items.

    Args:
        document: The stack's document.
        warnings: The document's warnings; those that name a command are action items too.
    """
    return [
        {"code": each.code.value, "fields": dict(each.fields), "what": each.text, "command": made}
        for each, made in _list_findings(document, warnings)
    ]


def shorten(text: str, most: int = 200) -> str:
    """Return the first line of a text, shortened to ``most`` characters: a reason may be a whole stack trace.

    Args:
        text: The text, which may have several lines or none.
        most: Maximum number of characters, without the ` …` that marks a cut.
    """
    lines = [line.strip() for line in text.splitlines() if line.strip()]
    first = lines[0] if lines else ""
    if len(first) > most:
        return f"{first[:most].rsplit(' ', 1)[0]} …"
    return f"{first} …" if len(lines) > 1 else first


def is_too_old(document: Document, version: int) -> bool:
    """Return True if a newer version than this one is approved, so that a pending one can only be rejected."""
    return bool(document["approved"] and version < document["approved"])


def knows_what_serves(document: Document) -> bool:
    """Return True if it is known which package serves, or that none does.

    Args:
        document: The stack's document.
    """
    return document["endpoint"]["package"] is not None or not {"endpoint", "model"} & set(document["unknown"])


def build_command(document: Document, verb: str, *words: object) -> str:
    """Return a `millrace` command about the stack; `--env` is omitted for the local environment.

    Args:
        document: The stack's document.
        verb: The subcommand, e.g. `approve`.
        *words: Arguments and options that follow the use case.
    """
    return " ".join(["millrace", verb, document["use_case"], *map(str, words)]) + _build_environment_option(document)


def build_logs_command(document: Document, name: str) -> str:
    """Return the command that shows the logs of an endpoint or of a pipeline's newest execution."""
    return f"millrace logs {name}{_build_environment_option(document)}"


def _build_environment_option(document: Document) -> str:
    return render_environment_option(document["environment"])


def _list_findings(document: Document, warnings: Sequence[Finding]) -> Iterator[_Item]:
    yield from _list_endpoint_items(document)
    yield from _list_alarm_items(document)
    yield from _list_model_items(document)
    for warning in warnings:
        verb, *words = warning.command
        yield warning, build_command(document, verb, *words)
    yield from _list_run_items(document)
    if paused := document["paused"]:
        since = paused["since"] or "an unknown time"
        yield (
            make_finding(Code.PAUSED, since=since, reason=shorten(str(paused["reason"] or ""))),
            build_command(document, "resume"),
        )


def _list_endpoint_items(document: Document) -> Iterator[_Item]:
    endpoint = document["endpoint"]
    if endpoint["config"] is None:
        if endpoint["status"] == GONE:
            found = make_finding(Code.ENDPOINT_MISSING, endpoint=endpoint["name"], approved=document["approved"])
            yield found, build_command(document, *PUT_BACK)
        elif endpoint["status"] == AWAITED and not _has_model_to_come(document):
            yield make_finding(Code.NO_MODEL_YET), build_command(document, "retrain")
        return
    reason = shorten(endpoint["reason"])
    if endpoint["status"] not in _GOOD:
        found = make_finding(Code.ENDPOINT_UNHEALTHY, status=endpoint["status"], reason=reason)
        yield found, build_logs_command(document, endpoint["name"])
    elif endpoint["reason"] and document["rollout"] is None and _is_behind(document):
        yield make_finding(Code.ROLLED_BACK, reason=reason), build_logs_command(document, endpoint["name"])


def _has_model_to_come(document: Document) -> bool:
    return bool(document["pending"] or document["approved"] or document["missing"] or _is_training(document))


def _is_behind(document: Document) -> bool:
    """Return True if both are known and the newest approved version is not the one that serves."""
    if "registry" in document["unknown"] or not knows_what_serves(document):
        return False
    return bool(document["approved"] != document["endpoint"]["version"])


def _make_approved_item(document: Document, serves: int | None, approved: int) -> _Item:
    """Return the action item for an approved version that does not serve."""
    if document["endpoint"]["undone"] != approved or not document["endpoint"]["config"]:
        return make_finding(Code.APPROVED_NOT_SERVED, approved=approved), build_command(document, "deploy")
    fields = {"approved": approved, "serves": f"version {serves}" if serves else "the current model"}
    if document["endpoint"]["rolled_back_by_alarm"]:
        return make_finding(Code.APPROVED_ROLLED_BACK_BY_ALARM, **fields), build_command(document, "deploy")
    # Another attempt would fail in the same way.
    return make_finding(Code.APPROVED_ROLLOUT_FAILS, **fields), build_command(document, "reject", approved)


def _list_alarm_items(document: Document) -> Iterator[_Item]:
    # One that cannot be told from the champion yet waits for labels and not for a person.
    undecided = {each["version"] for each in document["pending"] if each["verdict"] == Verdict.UNDECIDED}
    pending = [each["version"] for each in document["pending"] if not is_too_old(document, each["version"])]
    waiting = [version for version in pending if version not in undecided]
    firing = {
        alarm["kind"]: alarm for alarm in document["alarms"] if alarm["state"] == "ALARM" and not alarm["snoozed"]
    }
    order = (ERRORS, LATENCY, UNDELIVERED, *_SIGNALS, *_OF_DATA, *_OF_MODELS)
    for kind in (kind for kind in order if kind in firing):
        alarm = {"alarm": firing[kind]["name"], "meaning": firing[kind]["description"].rstrip(".") or "it fires"}
        if kind in (ERRORS, LATENCY):
            yield make_finding(Code.ALARM, **alarm), build_logs_command(document, document["endpoint"]["name"])
        elif kind == UNDELIVERED:
            verb = "watch" if _is_training(document) else "retrain"
            yield make_finding(Code.ALARM_UNDELIVERED, **alarm), build_command(document, verb)
        elif kind in _SIGNALS:
            yield make_finding(Code.ALARM, **alarm), build_command(document, "run", "--pipeline", "monitor")
        elif kind in _OF_DATA:
            # A new model corrects neither requests nor data.
            yield make_finding(Code.ALARM, **alarm), build_command(document, "report")
        elif _is_training(document):
            yield make_finding(Code.ALARM_TRAINING_RUNS, **alarm), build_command(document, "watch")
        elif waiting:
            found = make_finding(Code.ALARM_APPROVAL_WAITS, version=waiting[0], **alarm)
            yield found, build_command(document, "approve", waiting[0])
        else:
            yield make_finding(Code.ALARM, **alarm), build_command(document, "retrain")


def _list_model_items(document: Document) -> Iterator[_Item]:
    serves, approved = document["endpoint"]["version"], document["approved"]
    for package in document["pending"]:
        version = package["version"]
        if is_too_old(document, version):
            found = make_finding(Code.APPROVAL_OUTDATED, version=version, approved=approved)
            yield found, build_command(document, "reject", version)
        elif package["verdict"] != Verdict.UNDECIDED:
            yield make_finding(Code.APPROVAL_WAITS, version=version), build_command(document, "approve", version)
    # If the endpoint serves without a package, a warning reports that, with its own command.
    is_odd = document["endpoint"]["config"] is not None and document["endpoint"]["package"] is None
    is_deployable = document["rollout"] is None and document["endpoint"]["status"] != GONE and not is_odd
    if approved and is_deployable and knows_what_serves(document) and (not serves or serves < approved):
        yield _make_approved_item(document, serves, approved)
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
            yield make_finding(Code.GATE_FAILED, **fields), build_command(document, "retrain")


def _list_run_items(document: Document) -> Iterator[_Item]:
    for kind, run in document["last"].items():
        if run and run["status"] == FAILED:
            reason = shorten(run["reason"]) or "without a reason"
            found = make_finding(Code.RUN_FAILED, pipeline=kind, reason=reason)
            yield found, build_logs_command(document, f"{document['stack']}-{kind}/")
        if run and run["asked"]:
            yield (
                make_finding(Code.RETRAINING_ASKED, asked=run["asked"], reason=run["asked_because"]),
                build_command(document, "approve", "--retraining"),
            )


def _is_training(document: Document) -> bool:
    run = document["last"].get("training")
    return bool(run and run["status"] in RUNNING)
