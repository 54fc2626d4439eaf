"""The cost of a month before and after, item by item; an unknown price is named and never counted as 0."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

from cli.diff import pipelines, traffic, watching
from cli.diff.preview import Preview, Resource
from cli.prices import Prices

#: The costs that the sum leaves out, as a note beside it.
EXCLUDED = "requests, storage, data transfer and job hours, which are billed by usage"


def compare_costs(preview: Preview, prices: Prices) -> dict[str, Any]:
    """Return the known sums, and items; the difference is None when the price of anything that changes is unknown."""
    items, unknown, approximate = _items(preview, prices)
    sides = {}
    for side in ("before", "after"):
        known = [each[side] for each in items if each[side] is not None]
        sides[side] = round(sum(known), 2)
    changed = [each for each in items if each["before"] != each["after"] or each["unknown"]]
    unsure = any(each["unknown"] and each["operation"] != "same" for each in items)
    return {
        "currency": prices.currency,
        **sides,
        "difference": None if unsure else round(sides["after"] - sides["before"], 2),
        "at_least": {side: any(each[side] is None for each in items) for side in sides},
        "complete": preview.is_complete,
        "items": changed,
        "unchanged_items": len(items) - len(changed),
        "unknown": unknown,
        "approximate": approximate,
        "hourly": _hourly(preview, prices),
        "excluded": EXCLUDED,
        "date": prices.date,
        "source": prices.get_source(preview.region) or prices.source,
    }


def _items(preview: Preview, prices: Prices) -> tuple[list[dict[str, Any]], list[dict[str, Any]], list[str]]:
    items, unknown, approximate = [], Counter[str](), set()
    serving = _serving(preview)
    for resource in preview.resources:
        if not resource.type.startswith("aws:"):
            continue
        if resource.type == traffic.CONFIG and resource.urn not in serving:
            # Kept for a rollback: nothing of it runs.
            continue
        before, after = [_price(side, resource, preview, prices) for side in (resource.old, resource.new)]
        old = None if resource.old is None else before
        new = None if resource.new is None else after
        lost = (resource.old is not None and before is None) or (resource.new is not None and after is None)
        if lost:
            unknown[_describe_unpriced(resource, preview, prices)] += 1
        approximate |= _approximate(resource, preview, prices)
        if lost or before or after:
            items.append(
                {
                    "item": watching.find_name(resource) if resource.type != traffic.CONFIG else resource.name,
                    "type": resource.type,
                    "what": _fleet(resource) or resource.kind,
                    "before": old if resource.old is not None else 0.0,
                    "after": new if resource.new is not None else 0.0,
                    "operation": resource.operation,
                    "unknown": lost,
                    "note": prices.get_note(resource.type),
                }
            )
    said = [{"what": what, "count": count} for what, count in sorted(unknown.items())]
    return (
        sorted(items, key=lambda each: (each["type"] != traffic.CONFIG, each["type"], each["item"])),
        said,
        sorted(approximate),
    )


def _serving(preview: Preview) -> set[str]:
    """Return the URNs of the configurations that an endpoint runs, before or after."""
    found = {
        config.urn
        for each in preview.find_resources(traffic.ENDPOINT)
        if (config := traffic.find_config(preview, each))
    }
    # A preview without unchanged resources may lack the endpoint; then a configuration that changes counts as serving.
    return found or {each.urn for each in preview.find_resources(traffic.CONFIG) if not preview.is_complete}


def _price(side: Mapping[str, Any] | None, resource: Resource, preview: Preview, prices: Prices) -> float | None:
    if side is None:
        return 0.0
    price = prices.find_monthly_price(resource.type, side, preview.region)
    return None if price is None else round(price, 2)


def _describe_unpriced(resource: Resource, preview: Preview, prices: Prices) -> str:
    """Return the description of what has no price in the table."""
    if resource.type != traffic.CONFIG:
        return resource.type
    unpriced = sorted(
        {
            str(each["instance"])
            for side in (resource.before, resource.after)
            for each in traffic.list_variants(side).values()
            if each["instance"] == "serverless"
            or prices.find_hourly_price("hosting", str(each["instance"]), preview.region) is None
        }
    )
    return f"hosting on {', '.join(unpriced)} in {preview.region or 'an unknown region'}"


def _approximate(resource: Resource, preview: Preview, prices: Prices) -> set[str]:
    if resource.type != traffic.CONFIG:
        return set()
    instances = {
        str(each["instance"])
        for side in (resource.before, resource.after)
        for each in traffic.list_variants(side).values()
    }
    return {each for each in instances if prices.is_approximate("hosting", each, preview.region)}


def _fleet(resource: Resource) -> str:
    if resource.type != traffic.CONFIG:
        return ""
    sides = [
        ", ".join(f"{each['count']} × {each['instance']}" for each in traffic.list_variants(side).values())
        for side in (resource.before, resource.after)
        if side
    ]
    return sides[0] if len(set(sides)) == 1 else " → ".join(sides)


def _hourly(preview: Preview, prices: Prices) -> list[dict[str, Any]]:
    """Return the cost of an hour of jobs before and after, where their instance type changes."""
    found: dict[tuple[str, str, str], dict[str, Any]] = {}
    for pipeline in preview.find_resources(pipelines.PIPELINE):
        before, after = pipelines.find_instances(pipeline.before), pipelines.find_instances(pipeline.after)
        for kind in sorted({*before} & {*after}):
            old, new = before[kind], after[kind]
            if old == new:
                continue
            costs = [prices.find_hourly_price(kind, each, preview.region) for each in (old, new)]
            found[kind, old, new] = {
                "kind": kind,
                "before": {"instance": old, "hourly": costs[0]},
                "after": {"instance": new, "hourly": costs[1]},
            }
    return [found[key] for key in sorted(found)]
