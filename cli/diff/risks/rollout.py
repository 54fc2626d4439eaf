"""Rules for how a bad rollout is noticed and rolled back: its bake time, and the alarms of the deployment."""

from __future__ import annotations

from collections.abc import Iterator

from cli.diff import traffic, watching
from cli.diff.preview import Preview, Resource
from cli.diff.risks.risk import Cause, Code, Risk, caused_by


def list_risks(preview: Preview) -> Iterator[Risk]:
    """Yield the risks of rollouts that nothing rolls back.

    Args:
        preview: The preview of the change.
    """
    for endpoint in preview.find_resources(traffic.ENDPOINT):
        name = watching.find_name(endpoint)
        if _bakes_too_short(endpoint, fires := traffic.find_fastest_alarm(endpoint.after, preview)):
            when = "the moment all traffic has moved"
            if wait := traffic.find_bake_time(endpoint.after):
                when = f"{wait:g} s after all traffic has moved, and no alarm fires in less than {fires:g} s"
            cause = caused_by("deploymentConfig") if endpoint.old is not None else Cause.CREATED_SO
            yield Risk(Code.BAKE_NONE, name, endpoint.type, cause, {"when": when})
        if endpoint.old is None or endpoint.new is None:
            continue
        left = traffic.list_rollback_alarms(endpoint.new)
        if gone := [alarm for alarm in traffic.list_rollback_alarms(endpoint.old) if alarm not in left]:
            code = Code.ROLLBACK_ALARM_REMOVED if left else Code.ROLLBACK_ALARMS_REMOVED
            cause = caused_by("deploymentConfig.autoRollbackConfiguration")
            yield Risk(code, name, endpoint.type, cause, {"alarms": ", ".join(gone)})


def _bakes_too_short(endpoint: Resource, fires: float) -> bool:
    """Tell whether this change makes the bake shorter than the fastest rollback alarm takes to fire."""
    if (
        endpoint.new is None
        or not traffic.list_rollback_alarms(endpoint.new)
        or not traffic.is_unwatched(endpoint.new, fires)
    ):
        return False
    if (
        endpoint.old is None
        or not traffic.list_rollback_alarms(endpoint.old)
        or not traffic.is_unwatched(endpoint.old, fires)
    ):
        return True
    return (traffic.find_bake_time(endpoint.new) or 0) < (traffic.find_bake_time(endpoint.old) or 0)
