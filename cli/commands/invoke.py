"""`millrace invoke`: ask the endpoint for a prediction."""

from __future__ import annotations

import json
import sys
from pathlib import Path

import click

from cli.aws import bundle_steps, endpoints
from cli.commands.options import with_target
from cli.console.errors import CliError
from cli.console.output import say, write_json
from cli.stack.target import Target

#: Content types by a file's extension.
_TYPES = {".json": "application/json", ".jsonl": "application/jsonlines", ".csv": "text/csv"}


@click.command()
@with_target
@click.option("--json", "text", metavar="JSON", help='The request: one record, or {"instances": [record, …]}.')
@click.option("--file", metavar="FILE", help="The request in a file: .json, .jsonl or .csv; - reads JSON from stdin.")
@click.option("--sample", "use_sample", is_flag=True, help="Use a real event, the next one after the data clock.")
@click.option("--json-output", is_flag=True, help="Print one JSON document: request, answer, latency, variant.")
def invoke(target: Target, text: str | None, file: str | None, use_sample: bool, json_output: bool) -> None:
    """Ask the endpoint for a prediction.

    A record holds what is known when the request is made; columns of feature tables are looked up online.
    """
    if sum((text is not None, file is not None, use_sample)) != 1:
        raise click.UsageError("give exactly one of --json, --file and --sample")
    body, content_type = _body(target, text, file)
    answer = endpoints.invoke(target, body, content_type)
    if json_output:
        write_json(endpoints.describe_answer(target, body, answer))
        return
    if use_sample:
        say(f"request  {body.decode()}")
    say(f"answer   {json.dumps(answer.body)}")
    say(f"latency  {answer.latency_ms:.1f} ms, variant {answer.variant}")


def _body(target: Target, text: str | None, file: str | None) -> tuple[bytes, str]:
    """Return the request and its content type."""
    if text is not None:
        # An argument's bytes that are not UTF-8 arrive as surrogates.
        return _checked(text.encode(errors="surrogateescape"), "--json"), _TYPES[".json"]
    if file is None:
        return json.dumps(bundle_steps.make_sample_request(target)).encode(), _TYPES[".json"]
    if file == "-":
        return _checked(sys.stdin.buffer.read(), "standard input"), _TYPES[".json"]
    path = Path(file)
    if path.suffix not in _TYPES:
        raise CliError(f"--file {file}", "has an unsupported extension", expected=f"one of {', '.join(_TYPES)}")
    try:
        body = path.read_bytes()
    except OSError as error:
        raise CliError(f"--file {file}", f"cannot be read: {error.strerror}") from error
    return (_checked(body, file) if path.suffix == ".json" else body), _TYPES[path.suffix]


def _checked(body: bytes, where: str) -> bytes:
    try:
        json.loads(body.decode())
    except UnicodeDecodeError as error:
        raise CliError(where, f"is not UTF-8: {error}", expected="JSON in UTF-8") from error
    except RecursionError as error:
        raise CliError(where, "is JSON nested too deeply to be read", expected="records") from error
    except ValueError as error:
        raise CliError(where, f"is not JSON: {error}", expected='one record or {"instances": [record, …]}') from error
    return body
