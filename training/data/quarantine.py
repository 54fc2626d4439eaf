"""The quarantine: a refused batch's report, and the rows that break each rule, kept in the lake for people."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from millrace import MillraceError
from millrace.findings import Finding, Level
from millrace.names import QUARANTINE
from training import columns as c
from training.columns import Array
from training.data.snapshot import Snapshot
from training.job import Job

#: The most rows that are kept of one finding.
KEPT = 10_000


def write_broken_rows(
    snapshot: Snapshot, findings: Sequence[tuple[Finding, Array | None]], folder: Path
) -> dict[int, str]:
    """Write the rows that break each rule that refuses the batch, whole and as they came.

    Args:
        snapshot: The snapshot as ingested.
        findings: Each finding with the mask of its table's rows that break it; None where it is not about rows.
        folder: Where they are written.

    Returns:
        Place of the finding → the name of its file, of at most `KEPT` rows.
    """
    files = {}
    for place, (finding, bad) in enumerate(findings):
        if finding.level is not Level.REFUSE or bad is None or not bad.any():
            continue
        rows = snapshot.data[finding.table]
        chosen = np.zeros(len(bad), dtype=bool)
        chosen[np.flatnonzero(bad)[:KEPT]] = True
        files[place] = f"broken_{place + 1}_{finding.table}_{finding.code.value}.parquet"
        c.write(c.select_rows(rows, chosen), folder / files[place])
    return files


def quarantine(job: Job, folder: Path) -> str:
    """Copy the report of a refused batch and its broken rows to the lake.

    Args:
        job: The job.
        folder: The folder with the report.

    Returns:
        A clause with the report's location, or why it could not be copied.
    """
    from boto3.exceptions import Boto3Error
    from botocore.exceptions import BotoCoreError, ClientError

    try:
        s3 = job.make_client("s3")
        prefix = job.names.key(QUARANTINE, job.name)
        for path in sorted(folder.iterdir()):
            s3.upload_file(str(path), job.names.lake, f"{prefix}/{path.name}")
    except (Boto3Error, BotoCoreError, ClientError, MillraceError) as error:
        return f" (the report could not be copied to the quarantine: {error})"
    return f" (report: s3://{job.names.lake}/{prefix}/validation.json)"
