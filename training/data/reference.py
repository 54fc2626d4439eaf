"""The reference of a snapshot: the profile of the newest one that was accepted before it."""

from __future__ import annotations

import numpy as np

from millrace import MillraceError
from millrace.errors import DataError
from queries.documents import find_document, has_object
from queries.pipelines import SUCCEEDED, list_executions
from training.data.profile import SnapshotProfile
from training.io import parse_time
from training.job import Job

#: The newest executions among which one that accepted a snapshot is searched.
_SEARCHED = 50


def find_reference(job: Job, as_of: np.datetime64) -> tuple[SnapshotProfile | None, str]:
    """Return the profile of the newest snapshot that was accepted as of an earlier time.

    Args:
        job: The job.
        as_of: The time of the data that are compared with it; an earlier training that knew more is no reference.

    Returns:
        The profile, None where there is none; and why it could not be read, empty where it could.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    first = ""
    try:
        s3 = job.make_client("s3")
        for each in list_executions(job.make_client("sagemaker"), job.names.training_pipeline, _SEARCHED) or []:
            uri = job.names.profile_uri(each["PipelineExecutionArn"])
            # A failed training may have accepted its snapshot; only one that succeeded surely finished its validation.
            if each["PipelineExecutionStatus"] != SUCCEEDED or not has_object(s3, uri):
                continue
            try:
                found = find_document(s3, uri, SnapshotProfile)
            except DataError as error:
                # An older one is better than none.
                first = first or str(error)
                continue
            if found is not None and parse_time(found.as_of, uri) < as_of:
                return found, first
    except (BotoCoreError, ClientError, MillraceError) as error:
        return None, str(error)
    return None, first
