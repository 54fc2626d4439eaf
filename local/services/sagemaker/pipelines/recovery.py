"""Recovery of executions after a shutdown of the local cloud, which may have lost the last seconds of S3.

When a step with a job succeeds, the objects of its outputs are counted. If some of them are missing at the next start,
the step and all steps after it are run again.
"""

from __future__ import annotations

import logging
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError

from local.core.store import Document
from local.services.sagemaker.jobs.transfer import parse_s3_url
from local.services.sagemaker.pipelines import state as state
from local.services.sagemaker.pipelines.graph import Node

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: The operation that deletes the resource of a step to be run again, by the step's type; jobs are kept.
_UNDO = {"Model": ("delete_model", "ModelName"), "RegisterModel": ("delete_model_package", "ModelPackageName")}


def count_outputs(cloud: Cloud, region: str, described: Mapping[str, Any]) -> dict[str, int]:
    """Return the number of objects in each output of a job, by URL."""
    outputs = described.get("ProcessingOutputConfig", {}).get("Outputs", [])
    urls = [f"{output['S3Output']['S3Uri'].rstrip('/')}/" for output in outputs]
    if artifact := described.get("ModelArtifacts", {}).get("S3ModelArtifacts"):
        urls.append(artifact)
    return {url: _count_objects(cloud, region, url) for url in urls}


def _count_objects(cloud: Cloud, region: str, url: str) -> int:
    bucket, prefix = parse_s3_url(url)
    pages = cloud.client("s3", region).get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
    try:
        return sum(page["KeyCount"] for page in pages)
    except ClientError as error:
        # An output that cannot be listed counts as empty, so that the step still succeeds.
        log.info("%s cannot be listed: %s", url, error)
        return 0


def drop_lost_steps(cloud: Cloud, region: str, arn: str, nodes: Mapping[str, Node]) -> None:
    """Remove the records of steps with lost outputs, and of the steps after them, so that they run again."""
    document = cloud.store.get(state.EXECUTION, region, arn)
    assert document is not None, arn
    records = document["_steps"]
    lost = {name for name, record in records.items() if _is_lost(cloud, region, record)}
    if not lost:
        return
    while more := {name for name in records if nodes[name].after & lost} - lost:
        lost |= more
    log.warning("%s: outputs were lost with the end of the cloud; done again: %s", arn, ", ".join(sorted(lost)))
    for name in lost:
        _undo(cloud, region, records[name])

    def drop(document: Document) -> None:
        for name in lost:
            del document["_steps"][name]

    state.change_execution(cloud, region, arn, drop)


def _is_lost(cloud: Cloud, region: str, record: Document) -> bool:
    if record["StepStatus"] != "Succeeded":
        return False
    return any(_count_objects(cloud, region, url) < count for url, count in record.get("_objects", {}).items())


def _undo(cloud: Cloud, region: str, record: Document) -> None:
    if record["_type"] not in _UNDO or not record.get("_made"):
        return
    operation, member = _UNDO[record["_type"]]
    try:
        getattr(cloud.client("sagemaker", region), operation)(**{member: record["_made"]})
    except ClientError as error:
        # It was deleted by another client, or cannot be deleted; it is not needed in either case.
        log.warning("%s of %s: %s", operation, record["_made"], error)
