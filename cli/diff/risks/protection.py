"""Rules for resources that are no longer protected from deletion, and for data that are kept for a shorter time."""

from __future__ import annotations

from collections.abc import Iterator

from cli.diff import retention
from cli.diff.preview import Preview
from cli.diff.risks.resources import find_name, is_turned_on
from cli.diff.risks.risk import Code, Risk, caused_by


def list_risks(preview: Preview) -> Iterator[Risk]:
    """Yield the risks of what may be deleted, or is deleted sooner, from then on.

    Args:
        preview: The preview of the change.
    """
    for resource in preview.resources:
        if resource.was_protected and not resource.is_protected and resource.new is not None:
            yield Risk(Code.UNPROTECTED, find_name(resource), resource.type, caused_by("protect"))
        if resource.type in retention.BUCKETS and is_turned_on(resource, "forceDestroy"):
            yield Risk(Code.FORCE_DESTROY, find_name(resource), resource.type, caused_by("forceDestroy"))
    for each in retention.list_shorter(preview):
        yield Risk(
            Code.KEPT_SHORTER,
            find_name(each.resource),
            each.resource.type,
            caused_by(each.what),
            {"noun": each.noun, "before": each.was, "after": each.now},
        )
