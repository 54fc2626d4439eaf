"""The summary of `millrace up`: a real prediction, the figures against the gates, the alarms, what to try."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any

from cli.aws import bundle_steps, endpoints, gates, model_packages
from cli.aws.alarms import find_alarms, format_alarm_rows
from cli.aws.endpoints import build_endpoint_document
from cli.console.errors import CliError
from cli.console.output import print_table, say
from cli.stack.deployable import render_arguments
from cli.stack.target import Target
from queries.packages import PENDING


def build_summary(target: Target, stages: Mapping[str, float]) -> dict[str, Any]:
    """Return the summary as a document for JSON output."""
    endpoint = endpoints.read_endpoint(target)
    package = model_packages.find_package(target, endpoint.package) if endpoint else None
    waiting = model_packages.find_newest(target, PENDING)
    shown = package or waiting
    evaluation = model_packages.find_evaluation(target, shown) if shown else None
    return {
        "stack": target.stack,
        "stages": dict(stages),
        "endpoint": build_endpoint_document(target, endpoint),
        "version": endpoint.version if endpoint else None,
        "pending_version": waiting.version if waiting and (not package or waiting.version > package.version) else None,
        "gates": gates.check_gates(target.use_case, shown) if shown else [],
        "evaluation": evaluation.dump() if evaluation else {},
        "sample": _sample(target) if endpoint else None,
        "alarms": find_alarms(target),
        "next": _next(target, served=endpoint is not None),
    }


def print_summary(target: Target, found: Mapping[str, Any]) -> None:
    """Print the summary for people.

    Args:
        target: The stack.
        found: What :func:`build_summary` returned.
    """
    say()
    version = found["version"] or found["pending_version"]
    serves = f", serves version {found['version']}" if found["version"] else ""
    say(f"endpoint    {found['endpoint']['name']}: {found['endpoint']['status']}{serves}")
    if asked := found["sample"]:
        if "error" in asked:
            say(f"prediction  none: {asked['error']}")
        else:
            say(f"request     {json.dumps(asked['request'])}")
            say(f"prediction  {json.dumps(asked['answer'])}  ({asked['latency_ms']:.1f} ms)")
    if version:
        package = model_packages.get_version(target, version)
        say(f"gates       of version {version}, on rows that it had not seen")
        print_table(gates.format_package_gates(target.use_case, package), indent=12)
    say("alarms")
    print_table(format_alarm_rows(found["alarms"]), indent=12)
    say("next")
    print_table(found["next"], indent=12)


def _sample(target: Target) -> dict[str, Any]:
    """Return a real prediction; the reason where the use case has no event to ask about."""
    try:
        body = json.dumps(bundle_steps.make_sample_request(target)).encode()
    except CliError as error:
        return {"error": str(error)}
    return endpoints.describe_answer(target, body, endpoints.invoke(target, body))


def _next(target: Target, *, served: bool) -> list[list[str]]:
    name = render_arguments(target)
    if not served:
        return [
            [f"millrace approve {name}", "review the model and let it serve"],
            [f"millrace up {name}" if target.is_local else f"millrace up --stack {target.stack}", "deploy it"],
        ]
    commands = [
        [f"millrace status {name}", "what serves, alarms, executions"],
        [f"millrace invoke {name} --sample", "one more prediction"],
        [f"millrace retrain {name}", "train a challenger"],
        [f"millrace report {name}", "a page for decision-makers"],
    ]
    if target.is_local:
        commands.insert(0, ['eval "$(.venv/bin/millrace local env)"', "millrace, pulumi, aws and boto3 work here"])
        commands.insert(1, ["pulumi preview", "what would change: nothing"])
        if target.clock:
            commands.append([f"millrace replay {name} --since … --until …", "past events, as if they happened now"])
        commands.append(["millrace local stop", "stop the cloud; its state is kept"])
    return commands
