"""The alarms of a use case of which people do not want to be told now."""

from __future__ import annotations

from collections.abc import Collection
from datetime import UTC, datetime

from botocore.exceptions import BotoCoreError, ClientError

from millrace.errors import MillraceError
from millrace.monitor_report import MonitorReport
from millrace.watching import list_pages, name_snooze
from queries.alarms import find_firing
from queries.snoozes import Snooze, Until, find_snoozes, list_active
from training.job import Job


def find_snoozed(job: Job) -> tuple[dict[str, str], str]:
    """Return the alarms that are snoozed now.

    Args:
        job: The monitor's job.

    Returns:
        Alarm → who snoozed it, until when and why; and why they could not be read, empty where they could: then people
        are told of everything.
    """
    try:
        snoozes = find_snoozes(job.make_client("ssm"), job.names.snooze_parameter)
        active = list_active(snoozes, datetime.now(UTC), _find_firing(job, snoozes))
    except (BotoCoreError, ClientError, MillraceError) as error:
        return {}, f"what is snoozed could not be read, so that people are told of everything: {error}"
    return {alarm: snooze.describe() for alarm, snooze in sorted(active.items())}, ""


def _find_firing(job: Job, snoozes: dict[str, Snooze]) -> dict[str, datetime | None]:
    """Return since when each acknowledged alarm is in ALARM; one that is not is left out."""
    acknowledged = {job.names.alarm(alarm): alarm for alarm, snooze in snoozes.items() if snooze.until is Until.OK}
    if not acknowledged:
        return {}
    firing = find_firing(job.make_client("cloudwatch"), list(acknowledged))
    return {acknowledged[name]: since for name, since in firing.items()}


def list_quiet_pages(report: MonitorReport, alarms: Collection[str]) -> list[str]:
    """Return the metrics that keep a page from notifying, because all that raises it now is snoozed.

    Args:
        report: The report, with what is snoozed.
        alarms: The alarms that the use case has.
    """
    beyond = set(report.list_beyond())
    found = []
    for page, (causes, _) in list_pages(alarms).items():
        raised = beyond & set(causes)
        if raised and raised <= set(report.snoozed):
            found.append(name_snooze(page))
    return found
