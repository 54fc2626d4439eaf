"""One real request: an event that is still to come, as a caller would send it."""

from __future__ import annotations

import json
import sys

import numpy as np

from millrace.errors import DataError
from training.columns import rows_of, take
from training.job import Job, format_time
from training.replay import plain

#: How far ahead an event is looked for.
AHEAD = np.timedelta64(7, "D")


def run(job: Job, as_of: str) -> None:
    """Print, as one line of JSON, the first event whose prediction is to be made after ``as_of``.

    Raises:
        DataError: When no event is known to come.
    """
    case = job.use_case
    now = job.time(as_of)
    first = now + np.timedelta64(case.lead_time, "us")
    events = job.functions.events(first, first + AHEAD)
    if not rows_of(events):
        raise DataError(
            f"there is no event to send as a sample: events() gives none in the {AHEAD} after {format_time(first)}; "
            "send a request of your own: `millrace invoke` with --json or --file"
        )
    one = {name: plain(values)[0] for name, values in take(events, np.array([0])).items() if name != case.target}
    sys.stdout.write(json.dumps(one) + "\n")
