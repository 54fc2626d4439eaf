"""The monthly cost of a deployed stack: its parts with their prices, and the parts whose price is unknown.

A part without a price is listed and never counted as zero; a sum that lacks such parts is a lower bound.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

from cli.fleet.document import CostItem, CostPart, StackDocument
from cli.stack.target import Target
from millrace.inventory import list_alarm_kinds
from millrace.watching import list_pages

if TYPE_CHECKING:
    from cli.prices import Prices

#: Parts that are billed by use, so their cost is not known in advance: of a deployed stack, and of kept data.
_BY_USE = ("jobs of the pipelines", "storage and requests")
_KEPT = ("storage",)
#: The cost before it is computed.
NONE: CostPart = {"billed": False, "monthly_usd": None, "items": [], "unknown": [], "prices_of": ""}


def estimate_cost(target: Target, document: StackDocument, *, alarms: bool, kept: bool) -> CostPart:
    """Return the monthly cost of a stack; for a destroyed stack, of the data that was kept.

    Args:
        target: The use case and its environment.
        document: The stack's document; its own ``cost`` is not read.
        alarms: Whether the document's alarms are known.
        kept: Whether data exists that is kept when the stack is destroyed.
    """
    prices, items = load_prices(), list[CostItem]()
    region = target.environment.region
    if document["endpoint"]["config"]:
        count, instance = document["endpoint"]["instances"], document["endpoint"]["instance_type"]
        hourly = prices.find_hourly_price("hosting", instance or "", region)
        about = ", about" if instance and prices.is_approximate("hosting", instance, region) else ""
        total = None if hourly is None else hourly * prices.hours * count
        items.append(_item("endpoint", f"{count} × {instance or 'an unknown instance'}{about}", total))
    elif "endpoint" in document["unknown"]:
        items.append(_item("endpoint", "unknown", None))
    stands = document["deployed"]
    if alarms and stands:
        pages = len(list_pages(list_alarm_kinds(target.use_case)))
        # Each page has an alarm that suppresses it.
        count = len(document["alarms"]) + pages
        each = prices.find_monthly_price("aws:cloudwatch/metricAlarm:MetricAlarm", {}, region)
        items.append(_item("alarms", str(count), None if each is None else each * count))
        page = prices.find_monthly_price("aws:cloudwatch/compositeAlarm:CompositeAlarm", {}, region)
        items.append(_item("composite alarms", str(pages), None if page is None else page * pages))
    elif stands:
        items.append(_item("alarms", "unknown", None))
    if stands:
        items.append(
            _item("dashboard", "1", prices.find_monthly_price("aws:cloudwatch/dashboard:Dashboard", {}, region))
        )
    if (stands or kept) and target.environment.lake != "shared":
        items.append(_item("key", "1", prices.find_monthly_price("aws:kms/key:Key", {}, region)))
    items += [_item(name, "by usage", None) for name in (_BY_USE if stands else _KEPT if kept else ())]
    known = [each["monthly_usd"] for each in items if each["monthly_usd"] is not None]
    return {
        "billed": not target.is_local,
        "monthly_usd": round(sum(known), 2) if known else None,
        "items": items,
        "unknown": [each["item"] for each in items if each["monthly_usd"] is None],
        "prices_of": prices.date,
    }


def render_cost(cost: CostPart) -> str:
    """Return the cost for people: `local` if it is not billed, else the sum."""
    if not cost["billed"]:
        return "local"
    return render_amount(cost)


def render_amount(cost: CostPart) -> str:
    """Return the sum as text, marked as a lower bound if parts are unknown.

    Args:
        cost: The cost of one stack, billed or not.
    """
    if cost["monthly_usd"] is None:
        return "unknown"
    return f"{'≥ ' if cost['unknown'] else ''}${cost['monthly_usd']:,.2f}"


def render_total(costs: list[CostPart]) -> str:
    """Return the sum of all billed stacks as text; empty if no stack is billed."""
    billed = [cost for cost in costs if cost["billed"]]
    if not billed:
        return ""
    known = [cost["monthly_usd"] for cost in billed if cost["monthly_usd"] is not None]
    if not known:
        return "unknown"
    return f"{'≥ ' if any(cost['unknown'] for cost in billed) else ''}${sum(known):,.2f}"


def _item(item: str, detail: str, usd: float | None) -> CostItem:
    return {"item": item, "detail": detail, "monthly_usd": None if usd is None else round(usd, 2)}


@cache
def load_prices() -> Prices:
    """Return the price table that is part of Millrace."""
    from cli.prices import Prices

    return Prices.load()
