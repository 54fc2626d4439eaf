"""Prices of SageMaker's instance hours, read from the AWS Price List API."""

from __future__ import annotations

import json
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

#: The region in which the Price List API is asked; it is served in a few regions only, and knows the prices of all.
API_REGION = "us-east-1"
_SERVICE = "AmazonSageMaker"
#: The beginning of a usage type → the kind of instance hour. A region's abbreviation may come first, as in
#: `EU-Host:ml.m5.large`.
_KINDS = {"Host": "hosting", "Processing": "processing", "Train": "training"}
_USAGE = re.compile(rf"(?:[A-Z]{{2,5}}\d?-)?(?P<kind>{'|'.join(_KINDS)}):(?P<instance>ml\.[a-z0-9.-]+)")


@dataclass
class RegionPrices:
    """The prices of one region.

    Attributes:
        prices: Kind of instance hour → instance type → US dollars per hour.
        published: The date of the newest price list that they are from.
        ambiguous: Usage types with several prices, which are left out.
    """

    prices: dict[str, dict[str, float]] = field(default_factory=dict)
    published: str = ""
    ambiguous: list[str] = field(default_factory=list)

    @property
    def count(self) -> int:
        """The number of prices."""
        return sum(len(prices) for prices in self.prices.values())


def read_prices(pricing: Any, region: str) -> RegionPrices:
    """Read the prices of a region's instance hours, without discounts and commitments.

    Args:
        pricing: The client of the Price List API.
        region: The region whose prices are read.

    Returns:
        The prices in US dollars per hour; a usage type with several prices is only in ``ambiguous``.
    """
    found = RegionPrices()
    known: dict[tuple[str, str], set[float]] = {}
    pages = pricing.get_paginator("get_products").paginate(
        ServiceCode=_SERVICE, Filters=[{"Type": "TERM_MATCH", "Field": "regionCode", "Value": region}]
    )
    for product in (json.loads(text) for page in pages for text in page["PriceList"]):
        usage = _USAGE.fullmatch(product["product"].get("attributes", {}).get("usagetype", ""))
        if usage is None:
            continue
        found.published = max(found.published, product.get("publicationDate", "")[:10])
        known.setdefault((_KINDS[usage["kind"]], usage["instance"]), set()).update(_list_hourly_prices(product))
    for (kind, instance), prices in sorted(known.items()):
        if len(prices) == 1:
            found.prices.setdefault(kind, {})[instance] = next(iter(prices))
        elif prices:
            found.ambiguous.append(f"{kind} {instance}")
    return found


def _list_hourly_prices(product: Mapping[str, Any]) -> Iterator[float]:
    """Yield a product's prices on demand, in US dollars per hour; a price of zero is a free tier."""
    for term in product.get("terms", {}).get("OnDemand", {}).values():
        for dimension in term["priceDimensions"].values():
            price = float(dimension["pricePerUnit"].get("USD", 0))
            if price > 0 and dimension["unit"].lower() in ("hrs", "hours", "hour"):
                yield price
