"""The replay step: sends past events to an endpoint as if they happened now, in steps of data time.

Each row carries its table columns as they were known when its prediction would have been made, so that a replay needs
no feature store. In an environment that replays, the clock moves along: to a step's end, once the events of the step
have been answered. It never goes back, so it is never moved past events that were not sent.
"""

from __future__ import annotations

import json
import time
import uuid
from argparse import Namespace
from collections.abc import Iterator
from typing import Any

import numpy as np

from millrace.errors import DataError, DeclarationError, Diagnosis, MillraceError
from millrace.inventory import JobVariable
from training import columns as c
from training.columns import Array, Columns, is_missing
from training.data.ingest import fetch_tables
from training.data.join import join
from training.io import format_time, parse_time, print_progress, split_uri
from training.job import Job
from training.serving.answer import PREDICTIONS

#: Bytes of the largest body; a little below SageMaker's limit of six megabytes.
LARGEST = 5_000_000
#: Bounds of the options: rows of a request, hours of a step, and the span of a replay.
MOST_ROWS = 10_000
LEAST_HOURS, MOST_HOURS = 0.001, 24.0 * 31
LONGEST = np.timedelta64(3 * 366, "D")
#: About how much data time is joined at once.
BLOCK = np.timedelta64(31, "D")
#: A span of at least this length without any event is a mistake.
QUIET = np.timedelta64(7, "D")


def run_replay(job: Job, options: Namespace) -> None:
    """Send the events of [since, until) and move the clock to ``until``.

    Args:
        job: This job.
        options: `since` and `until` (ISO 8601), `endpoint` (empty for the use case's own), `step_hours` (data time of a
            step) and `batch` (rows per request).

    Raises:
        DeclarationError: When an option is invalid or does not fit the clock.
        DataError: When a long span has no events, or one row is too large for a request.
        MillraceError: When the endpoint refuses a request or does not answer it.
    """
    since, until = _span(options)
    clock = _clock(job, options, since, until)
    endpoint = options.endpoint or job.names.endpoint
    runtime = job.make_client("sagemaker-runtime")
    step = np.timedelta64(round(options.step_hours * 3600e6), "us")
    rows = requests = 0
    began = time.monotonic()
    for end, joined in _steps(job, since, until, step):
        step_began = time.monotonic()
        sent = 0
        for body, size in _bodies(joined, options.batch):
            _send(runtime, endpoint, body, size)
            sent, requests = sent + size, requests + 1
        if clock is not None:
            clock.move(end)
        rows += sent
        seconds = max(time.monotonic() - step_began, 1e-9)
        print_progress(f"until {format_time(end)}: {sent} rows, {sent / seconds:.0f} rows/s; {rows} so far")
    seconds = time.monotonic() - began
    print_progress(
        f"replayed {format_time(since)} to {format_time(until)}: {rows} rows in {requests} requests, {seconds:.1f} s"
    )


def _span(options: Namespace) -> tuple[np.datetime64, np.datetime64]:
    """Return the span; refuse it and the other options where they are invalid.

    Raises:
        DeclarationError: When options are invalid; names all of them.
    """
    since, until = parse_time(options.since, "--since"), parse_time(options.until, "--until")
    problems = []
    if not since < until:
        found = f"is {format_time(since)} and --until {format_time(until)}"
        problems.append(Diagnosis("--since", found, "an earlier --since"))
    elif until - since > LONGEST:
        days = (until - since) / np.timedelta64(1, "D")
        problems.append(Diagnosis("--since to --until", f"is {days:.0f} days", "at most 3 years", "replay it in parts"))
    if until > np.datetime64("now", "us"):
        past = "a time in the past, since a replay sends what happened"
        problems.append(Diagnosis("--until", f"is {format_time(until)}", past))
    if not LEAST_HOURS <= options.step_hours <= MOST_HOURS:
        bounds = f"{LEAST_HOURS:g} to {MOST_HOURS:g}"
        problems.append(Diagnosis("--step-hours", f"is {options.step_hours:g}", bounds))
    if not 1 <= options.batch <= MOST_ROWS:
        problems.append(Diagnosis("--batch", f"is {options.batch}", f"1 to {MOST_ROWS} rows"))
    if problems:
        raise DeclarationError("options", problems)
    return since, until


class _Clock:
    """The data time of an environment that replays."""

    def __init__(self, job: Job, uri: str) -> None:
        self.now = job.find_data_time("now")
        self._bucket, self._key = split_uri(uri)
        self._s3 = job.make_client("s3")

    def move(self, to: np.datetime64) -> None:
        """Set the clock, unless it is already later, as when an interrupted replay is restarted."""
        if self.now >= to:
            return
        body = json.dumps({"now": format_time(to)}).encode()
        self._s3.put_object(Bucket=self._bucket, Key=self._key, Body=body, ContentType="application/json")
        self.now = to


def _clock(job: Job, options: Namespace, since: np.datetime64, until: np.datetime64) -> _Clock | None:
    """Return the environment's clock, or None where it follows the wall clock.

    Raises:
        DeclarationError: When replayed events would mix with real ones, the clock would go back, or events would be
            left out.
    """
    uri = job.environment.get(JobVariable.CLOCK, "")
    if not uri:
        if not options.endpoint:
            raise DeclarationError(
                "options",
                [
                    Diagnosis(
                        JobVariable.CLOCK,
                        (
                            "is not set: this environment follows the wall clock, and replayed events would be "
                            "mistaken for real ones"
                        ),
                        fix="name the endpoint with --endpoint if that is intended",
                    )
                ],
            )
        return None
    clock = _Clock(job, uri)
    now = format_time(clock.now)
    if until < clock.now:
        raise DeclarationError(
            "options",
            [
                Diagnosis(
                    "--until",
                    f"is {format_time(until)}, but data time is already {now} and cannot move back",
                    fix="choose a later time",
                )
            ],
        )
    if since > clock.now:
        raise DeclarationError(
            "options",
            [
                Diagnosis(
                    "--since",
                    f"is {format_time(since)}, but data time is {now}, so that the events between would be missed",
                    fix=f"begin at {now} or before",
                )
            ],
        )
    return clock


def _steps(
    job: Job, since: np.datetime64, until: np.datetime64, step: np.timedelta64
) -> Iterator[tuple[np.datetime64, Columns]]:
    """Yield the end and the rows of each step; a block of steps is joined at once, which costs as much as one step."""
    block = max(1, int(BLOCK / step)) * step
    start = since
    while start < until:
        last = min(start + block, until)
        rows = _joined(job, start, last)
        if not c.count_rows(rows) and last - start >= QUIET:
            raise DataError(
                "events()",
                f"returned none from {format_time(start)} to {format_time(last)}",
                expected="at least one",
                fix="check the year; data time was not moved",
            )
        times = rows[job.use_case.event_time]
        while start < last:
            end = min(start + step, last)
            yield end, c.select_rows(rows, (times >= start) & (times < end))
            start = end


def _joined(job: Job, start: np.datetime64, end: np.datetime64) -> Columns:
    """Return the events of a span, joined with what is known when each is predicted."""
    case = job.use_case
    events = {name: values for name, values in job.functions.events(start, end).items() if name != case.target}
    return join(case, events, fetch_tables(job.functions, start, end)) if c.count_rows(events) else events


def _bodies(rows: Columns, batch: int) -> Iterator[tuple[bytes, int]]:
    """Yield request bodies of at most ``batch`` rows, fewer where they would be too large, with their row counts."""
    names = list(rows)
    values = [to_json_values(column) for column in rows.values()]
    records = [dict(zip(names, row, strict=True)) for row in zip(*values, strict=True)]
    waiting = [records[first : first + batch] for first in range(0, len(records), batch)]
    while waiting:
        part = waiting.pop(0)
        body = json.dumps({"instances": part}, separators=(",", ":"), allow_nan=False).encode()
        if len(body) <= LARGEST:
            yield body, len(part)
        elif len(part) == 1:
            raise DataError(
                "a row",
                f"makes a request of {len(body)} bytes",
                expected=f"at most {LARGEST}",
                fix=f"shorten its values: {str(part)[:200]}",
            )
        else:
            waiting[:0] = [part[: len(part) // 2], part[len(part) // 2 :]]


def to_json_values(column: Array) -> list[Any]:
    """Return values for JSON; missing ones are None."""
    if column.dtype.kind == "M":
        return [None if np.isnat(value) else format_time(value) for value in column]
    missing = is_missing(column)
    return [None if gone else value for value, gone in zip(column.tolist(), missing.tolist(), strict=True)]


def _send(runtime: Any, endpoint: str, body: bytes, size: int) -> None:
    """Send one request and check that each row got a prediction."""
    from botocore.exceptions import BotoCoreError, ClientError

    inference = str(uuid.uuid4())
    try:
        reply = runtime.invoke_endpoint(
            EndpointName=endpoint,
            Body=body,
            ContentType="application/json",
            Accept="application/json",
            InferenceId=inference,
        )
        answer = json.loads(reply["Body"].read())
    except ClientError as error:
        said = error.response.get("OriginalMessage") or error.response["Error"]["Message"]
        raise MillraceError(f"endpoint {endpoint}", f"refused request {inference} of {size} rows: {said}") from error
    except (BotoCoreError, ValueError) as error:
        raise MillraceError(
            f"endpoint {endpoint}", f"did not answer request {inference} of {size} rows: {error}"
        ) from error
    found = len(answer[PREDICTIONS]) if isinstance(answer, dict) and PREDICTIONS in answer else 0
    if found != size:
        raise MillraceError(
            f"endpoint {endpoint}",
            (f"answered request {inference} of {size} rows with {found} predictions: {str(answer)[:200]}"),
            expected="as many predictions as rows",
        )
