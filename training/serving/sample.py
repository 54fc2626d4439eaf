"""The sample step: prints a real request as a caller would send it, of the next known event or else the newest one."""

from __future__ import annotations

import json
import sys

import numpy as np

from millrace.errors import DataError
from training.columns import Array, count_rows, select_rows
from training.io import format_time
from training.job import Job
from training.serving.replay import to_json_values

#: How far ahead an event is looked for.
AHEAD = np.timedelta64(7, "D")


def run_sample(job: Job, as_of: str) -> None:
    """Print, as one line of JSON, the first event whose prediction is to be made after ``as_of``, or the last before.

    Args:
        job: This job.
        as_of: A data time in ISO 8601, or ``now``.

    Raises:
        DataError: When no event is found, even as far back as models learn from.
    """
    case = job.use_case
    events, place = _near(job, job.find_data_time(as_of) + np.timedelta64(case.lead_time, "us"))
    one = {
        name: to_json_values(values)[0]
        for name, values in select_rows(events, np.array([place])).items()
        if name != case.target
    }
    sys.stdout.write(json.dumps(one) + "\n")


def _near(job: Job, time: np.datetime64) -> tuple[dict[str, Array], int]:
    """Return events, sorted by time, and the position of the nearest one."""
    events = job.functions.events(time, time + AHEAD)
    if count_rows(events):
        return events, 0
    since = time - np.timedelta64(job.use_case.history, "us")
    events = job.functions.events(since, time)
    if not count_rows(events):
        raise DataError(
            "no event",
            (
                f"can be sent as a sample: events() returns none from {format_time(since)} to "
                f"{format_time(time + AHEAD)}"
            ),
            fix="send a request of your own: `millrace invoke` with --json or --file",
        )
    return events, count_rows(events) - 1
