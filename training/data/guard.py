"""The guard of automatic retraining: one training at a time, and not too soon after the previous one.

Without it, an alarm that flaps, or two triggers with one cause, would train the same model again and again.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

import numpy as np

from millrace.errors import MillraceError
from queries.packages import describe_package, find_newest_package
from queries.pipelines import EXECUTING, list_executions
from training.io import format_time, parse_time, print_progress
from training.job import Job

#: The trigger of a training that a person started; the guard never refuses it.
MANUAL = "manual"


def refuse_untimely_training(job: Job, as_of: np.datetime64, trigger: str, execution: str) -> None:
    """Refuse an automatic training that must not run now.

    Args:
        job: The job; its names identify the pipeline and the model package group.
        as_of: The time of the data that would be trained on.
        trigger: What started the pipeline; ``manual`` is never refused.
        execution: The ARN of the pipeline's execution; empty when it is not known.

    Raises:
        MillraceError: When an earlier execution still runs or the newest model is too recent.
    """
    if trigger == MANUAL:
        return
    if other := _runs_already(job, execution):
        raise MillraceError(
            "training",
            (
                f"was not started: trigger {trigger!r}: execution {other} of "
                f"{job.names.training_pipeline} was started before, still runs and trains on the same "
                "data"
            ),
            fix="wait for it, or start the pipeline with Trigger=manual",
        )
    _cooled_down(job, as_of, trigger)


def _runs_already(job: Job, execution: str) -> str | None:
    """Return the ARN of the earliest running execution that was started before this one, or None.

    The ARN orders executions started at the same time; if this one is not known, every running execution counts.
    """
    found = list_executions(job.make_client("sagemaker"), job.names.training_pipeline, None) or []
    mine = next((_order(summary) for summary in found if summary["PipelineExecutionArn"] == execution), None)
    others = [
        summary
        for summary in found
        if summary["PipelineExecutionStatus"] == EXECUTING and summary["PipelineExecutionArn"] != execution
    ]
    earlier = sorted(_order(summary) for summary in others if mine is None or _order(summary) < mine)
    return earlier[0][1] if earlier else None


def _order(summary: dict[str, Any]) -> tuple[datetime, str]:
    return summary["StartTime"], summary["PipelineExecutionArn"]


def _cooled_down(job: Job, as_of: np.datetime64, trigger: str) -> None:
    """Refuse when the newest model, approved or not, was trained on data from within the cooldown before ``as_of``."""
    cooldown = np.timedelta64(job.use_case.retraining.cooldown, "us")
    sagemaker = job.make_client("sagemaker")
    arn = find_newest_package(sagemaker, job.names.model_package_group)
    described = describe_package(sagemaker, arn) if arn else None
    if described is None:
        return
    text = described.get("CustomerMetadataProperties", {}).get("as_of", "")
    if not text:
        print_progress(f"guard: {arn} does not record the time of its training data; no cooldown applies")
        return
    trained = parse_time(text, f"as_of of {arn}")
    if as_of - trained < cooldown:
        version = f"version {described.get('ModelPackageVersion')} of {job.names.model_package_group}"
        raise MillraceError(
            "training",
            (
                f"was not started: trigger {trigger!r}: {version} was trained on data as of "
                f"{format_time(trained)}, this would be as of {format_time(as_of)}"
            ),
            expected=f"at least {job.use_case.retraining.cooldown} between them (retraining.cooldown)",
            fix="wait, or start the pipeline with Trigger=manual",
        )
