"""What the newest run of the monitor found: checks beyond their threshold, with figure, threshold and cause."""

from __future__ import annotations

from cli.fleet.document import FindingPart, MonitorPart
from cli.stack.target import Target
from millrace.monitor_report import MonitorReport
from queries.documents import find_document
from queries.pipelines import SUCCEEDED, list_executions

#: The newest executions of the monitor among which one that succeeded is looked for.
_SEARCHED = 5


def find_newest_findings(target: Target) -> MonitorPart | None:
    """Return what the newest successful run of the monitor found; None where there is none, or its report is gone.

    Args:
        target: The stack, with the clients of its account.
    """
    runs = list_executions(target.sagemaker, target.names.monitor_pipeline, _SEARCHED) or []
    newest = next((run for run in runs if run["PipelineExecutionStatus"] == SUCCEEDED), None)
    if newest is None:
        return None
    uri = target.names.report_uri(newest["PipelineExecutionArn"], "monitor.json")
    report = find_document(target.client("s3"), uri, MonitorReport)
    return None if report is None else describe_findings(report)


def describe_findings(report: MonitorReport) -> MonitorPart:
    """Return the checks of a report that are beyond their threshold, the largest first.

    Args:
        report: The report of the monitor.
    """
    beyond = sorted((check for check in report.checks if check.ratio > 1.0), key=lambda check: -check.ratio)
    findings: list[FindingPart] = [
        {
            "alarm": check.alarm,
            "subject": check.subject,
            "value": check.value,
            "threshold": check.threshold,
            "ratio": check.ratio,
            "cause": check.cause,
            "text": check.text,
        }
        for check in beyond
    ]
    return {
        "as_of": report.as_of,
        "measured": report.measured,
        "findings": findings,
        "warned": report.warned,
        "notes": report.notes,
    }
