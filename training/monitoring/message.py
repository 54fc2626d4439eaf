"""What the monitor tells people: an alarm's own text knows neither column nor group, figure nor threshold."""

from __future__ import annotations

from millrace import UseCase
from millrace.monitor_report import Check, MonitorReport

#: Checks of one alarm that the message names; the report has all.
_SHOWN = 5


def make_message(case: UseCase, stack: str, report: MonitorReport) -> tuple[str, str] | None:
    """Return the subject and the text of the message about a report; None where there is nothing to tell.

    What is snoozed is told only beside something that is not.

    Args:
        case: The declaration; what it switches off is not told.
        stack: The stack's name, from which the alarms have theirs.
        report: The report.
    """
    found: dict[str, list[Check]] = {}
    for check in sorted(report.checks, key=lambda check: -check.ratio):
        if check.ratio > 1.0 and check.alarm not in case.monitoring.off:
            found.setdefault(check.alarm, []).append(check)
    if not set(found) - set(report.snoozed):
        return None
    lines = [f"{report.endpoint} from {report.since} to {report.as_of}, {report.rows} rows served:"]
    for alarm, checks in found.items():
        lines += ["", f"{stack}-{alarm} (docs/operating.md, section `{alarm}`)"]
        if alarm in report.snoozed:
            lines.append(report.snoozed[alarm])
        lines += [f"- {check.text}." for check in checks[:_SHOWN]]
        if len(checks) > _SHOWN:
            lines.append(f"- and {len(checks) - _SHOWN} more, which the report of the monitor has")
    lines += _explain(report)
    told = [alarm for alarm in found if alarm not in report.snoozed]
    return f"{stack}: {', '.join(told)}", "\n".join(lines)


def _explain(report: MonitorReport) -> list[str]:
    """Return the lines about the features that explain a move."""
    if not report.explained:
        return []
    lines = ["", "What explains it, each feature by itself, with 90 % confidence:"]
    for each in report.explained[:_SHOWN]:
        lines.append(
            f"- {each.share:.0%} ({each.lower:.0%} to {each.upper:.0%}) of the move of the {each.of}: {each.feature}"
        )
    return lines
