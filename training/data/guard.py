"""The guard of automatic retraining: whether a start of the training pipeline trains, or is skipped, and why.

Without it, an alarm that flaps, or two triggers with one cause, would train the same model again and again. A start
that is skipped succeeds: it is no failure that anyone should be called for.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from itertools import islice, takewhile
from pathlib import Path
from typing import Any

import numpy as np

from millrace.documents import SkipCode, Start
from millrace.inventory import JobVariable
from queries.alarms import find_firing
from queries.answers import Answer, UnreadableAnswerError, find_answer
from queries.documents import find_document, has_object
from queries.packages import APPROVED, REJECTED, describe_package, list_packages
from queries.pipelines import EXECUTING, SUCCEEDED, list_executions
from training.columns import Array
from training.data.dataset import find_judging_start, match_outcomes
from training.data.snapshot import EVENTS, Snapshot
from training.io import format_time, parse_time, print_progress
from training.job import Job
from training.notify import tell_people
from training.registry import fetch_champion

#: The trigger of a training that a person started; the guard never skips it.
MANUAL = "manual"
#: The trigger of the schedule that tries again while an alarm stays in ALARM.
RECHECK = "recheck"
_DAY = np.timedelta64(1, "D")

_SENTENCES = {
    SkipCode.RUNNING: "execution {other} was started before, still runs and trains on the same data",
    SkipCode.NO_ALARM: "none of the alarms that retrain is in ALARM: {alarms}",
    SkipCode.BUDGET: "{count} models were trained within a day before {now}; at most {most} are (retraining.per_day)",
    SkipCode.COOLDOWN: (
        "{version} was trained on data as of {trained}, this would be as of {now}; expected at least {cooldown} "
        "between them: retraining.cooldown, doubled for each of {lost} refused models since the champion"
    ),
    SkipCode.TOO_FEW_LABELS: (
        "{rows} labelled rows are newer than the data of {version}; expected at least {least} "
        "(retraining.min_new_labels), and enough of each outcome in the newer half to judge by"
    ),
    SkipCode.REVIEW: "trigger {trigger} asks whether to train (retraining.review); newest report: {report}",
    SkipCode.ASKED: "a person was asked on data as of {asked} whether to train (retraining.review)",
    SkipCode.DECLINED: "{by} decided at {at} not to train on data as of {asked}: {reason}",
}
#: The newest executions that are searched for a question to a person.
_SEARCHED = 20


@dataclass(frozen=True)
class Attempt:
    """A start of the training pipeline.

    Attributes:
        as_of: The time of the data that would be trained on.
        trigger: What started it; `manual` is never skipped.
        execution: The ARN of the execution; empty when it is not known.
        champion: The value of the pipeline's parameter: an ARN, `approved` or `none`.
    """

    as_of: np.datetime64
    trigger: str = MANUAL
    execution: str = ""
    champion: str = "approved"

    def skip(self, code: SkipCode, **fields: Any) -> Start:
        """Return the decision not to train."""
        as_of = format_time(self.as_of)
        return Start(
            version=1, needed=0, as_of=as_of, trigger=self.trigger, code=code, reason=_SENTENCES[code].format(**fields)
        )

    def go(self) -> Start:
        """Return the decision to train."""
        return Start(version=1, needed=1, as_of=format_time(self.as_of), trigger=self.trigger)


@dataclass(frozen=True)
class _Trained:
    """A registered model: its version for people, and when it was trained."""

    version: str
    time: np.datetime64


def decide_before_ingestion(job: Job, attempt: Attempt) -> Start:
    """Return whether an execution trains, as far as that is known without its data.

    Args:
        job: The job; its names identify the pipeline and the model package group.
        attempt: The start.
    """
    if attempt.trigger == MANUAL:
        return attempt.go()
    if other := _find_running(job, attempt.execution):
        return attempt.skip(SkipCode.RUNNING, other=other)
    retraining, sagemaker = job.use_case.retraining, job.make_client("sagemaker")
    if attempt.trigger == RECHECK:
        alarms = [job.names.alarm(kind) for kind in retraining.alarms]
        if not find_firing(job.make_client("cloudwatch"), alarms):
            return attempt.skip(SkipCode.NO_ALARM, alarms=", ".join(alarms))
    # An old --as-of must not look like time that has passed.
    now = max(attempt.as_of, job.find_data_time("now"))
    newest = list(islice(_list_trained(job, sagemaker), retraining.per_day))
    if len(newest) == retraining.per_day and now - newest[-1].time < _DAY:
        return attempt.skip(SkipCode.BUDGET, count=len(newest), now=format_time(now), most=retraining.per_day)
    if newest:
        lost = _count_refused(job, sagemaker)
        cooldown = _double(retraining.cooldown, lost, max(retraining.longest_cooldown, retraining.cooldown))
        if now - newest[0].time < np.timedelta64(cooldown, "us"):
            trained = format_time(newest[0].time)
            fields = {"version": newest[0].version, "trained": trained, "cooldown": cooldown, "lost": lost}
            return attempt.skip(SkipCode.COOLDOWN, now=format_time(now), **fields)
    return attempt.go()


def decide_after_ingestion(job: Job, attempt: Attempt, snapshot: Snapshot) -> Start:
    """Return whether the labels that are new since the champion's training are enough to train and to judge.

    Args:
        job: The job.
        attempt: The start.
        snapshot: What is known at the data time; it need not be valid.
    """
    if attempt.trigger == MANUAL:
        return attempt.go()
    with tempfile.TemporaryDirectory() as scratch:
        package = fetch_champion(job, attempt.champion, Path(scratch))
        if package is None:
            return attempt.go()
        unseen_since, version = package.trained_until, f"version {package.version} of {job.names.model_package_group}"
    case = job.use_case
    times, target = _sort_labelled(snapshot.data[EVENTS][case.event_time], match_outcomes(case, snapshot)[0])
    rows, least = int((times > unseen_since).sum()), case.retraining.min_new_labels
    if rows < least or find_judging_start(case, times, target, unseen_since) is None:
        return attempt.skip(SkipCode.TOO_FEW_LABELS, rows=rows, version=version, least=least)
    return attempt.go()


def ask_person(job: Job, attempt: Attempt) -> Start:
    """Return the decision on a start that is needed: to train, or to ask a person where the use case says so.

    A person is asked once within a cooldown; who declined is not asked again until it is over.

    Args:
        job: The job.
        attempt: The start.
    """
    retraining = job.use_case.retraining
    if attempt.trigger == MANUAL or not retraining.review:
        return attempt.go()
    asked = _find_last_question(job, attempt.execution)
    if asked is not None and attempt.as_of - asked < np.timedelta64(retraining.cooldown, "us"):
        if answer := _find_answer(job, asked):
            at = answer.at.isoformat(timespec="seconds")
            when = format_time(asked)
            start = attempt.skip(SkipCode.DECLINED, by=answer.by, at=at, asked=when, reason=answer.reason)
            return start.model_copy(update={"declined": when})
        start = attempt.skip(SkipCode.ASKED, asked=format_time(asked))
        return start.model_copy(update={"asked": format_time(asked)})
    found = list_executions(job.make_client("sagemaker"), job.names.monitor_pipeline, _SEARCHED) or []
    done = [each["PipelineExecutionArn"] for each in found if each["PipelineExecutionStatus"] == SUCCEEDED]
    report = job.names.report_uri(done[0], "report.html") if done else "none"
    start = attempt.skip(SkipCode.REVIEW, trigger=attempt.trigger, report=report)
    use_case = f"{job.use_case.name} --env {job.names.environment}"
    answers = (
        f"Train: `millrace approve {use_case} --retraining`. Do not: `millrace reject {use_case} --retraining "
        f"--reason …`. Stop asking: `millrace pause {use_case} --only retraining`."
    )
    tell_people(job, f"{job.names.model_package_group}: train a new model?", f"{start.reason}\n{answers}")
    return start


def carry_question(job: Job, attempt: Attempt, start: Start) -> Start:
    """Return a decision not to train, with the last question that no training has answered.

    Args:
        job: The job.
        attempt: The start.
        start: The decision.
    """
    if not job.use_case.retraining.review or start.question:
        return start
    asked = _find_last_question(job, attempt.execution)
    if asked is None:
        return start
    if _find_answer(job, asked):
        return start.model_copy(update={"declined": format_time(asked)})
    return start.model_copy(update={"asked": format_time(asked)})


def _find_answer(job: Job, asked: np.datetime64) -> Answer | None:
    """Return the decision not to train on data as of this time; None where the question is open."""
    try:
        answer = find_answer(job.make_client("ssm"), job.names.answer_parameter)
    except UnreadableAnswerError as error:
        print_progress(f"guard: the question counts as open: {error}")
        return None
    if answer is None:
        return None
    declined = np.datetime64(answer.asked.astimezone(UTC).replace(tzinfo=None), "us")
    return answer if declined >= asked else None


def _find_last_question(job: Job, own: str) -> np.datetime64 | None:
    """Return the data time at which a person was asked last; None if no newest execution of the others knows of it.

    A start that is skipped remembers when a person was asked; one that trains is the answer.
    """
    s3 = job.make_client("s3")
    for each in list_executions(job.make_client("sagemaker"), job.names.training_pipeline, _SEARCHED) or []:
        execution = each["PipelineExecutionArn"]
        uri = job.names.start_uri(execution)
        if execution == own or not has_object(s3, uri):
            continue
        start = find_document(s3, uri, Start)
        if start is None:
            continue
        if start.needed:
            return None
        asked = start.question or start.declined
        if asked:
            return parse_time(asked, f"the question of execution {execution}")
    return None


def _double(cooldown: timedelta, times: int, longest: timedelta) -> timedelta:
    """Return a cooldown that is doubled so many times, but not longer than the longest one."""
    seconds = min(cooldown.total_seconds() * 2.0 ** min(times, 1000), longest.total_seconds())
    return timedelta(seconds=seconds)


def _sort_labelled(times: Array, target: Array) -> tuple[Array, Array]:
    """Return the times and outcomes of the rows whose outcome is known, in the order of time."""
    known = ~np.isnan(target) & ~np.isnat(times)
    order = np.argsort(times[known], kind="stable")
    return times[known][order], target[known][order]


def _find_running(job: Job, execution: str) -> str | None:
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


def _list_trained(job: Job, sagemaker: Any) -> Iterator[_Trained]:
    """Yield the models of the group that record the time of their data, whatever became of them, newest first."""
    group = job.names.model_package_group
    for summary in list_packages(sagemaker, group):
        arn = summary["ModelPackageArn"]
        described = describe_package(sagemaker, arn)
        if described is None:
            continue
        text = described.get("CustomerMetadataProperties", {}).get("as_of", "")
        if not text:
            print_progress(f"guard: {arn} does not record the time of its training data; it is not counted")
            continue
        time = parse_time(text, f"as_of of {arn}")
        if not job.environment.get(JobVariable.CLOCK):
            created = np.datetime64(summary["CreationTime"].astimezone(UTC).replace(tzinfo=None), "us")
            time = max(time, created)
        yield _Trained(f"version {described.get('ModelPackageVersion')} of {group}", time)


def _count_refused(job: Job, sagemaker: Any) -> int:
    """Return how many models were refused since the champion, by a gate or because they are no better."""
    summaries = list_packages(sagemaker, job.names.model_package_group)
    since = takewhile(lambda summary: summary.get("ModelApprovalStatus") != APPROVED, summaries)
    return sum(summary.get("ModelApprovalStatus") == REJECTED for summary in since)
