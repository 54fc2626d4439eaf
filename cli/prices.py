"""Prices of AWS resources, from a table with dates and sources; a price that is not in the table is unknown.

The table has the fixed part of a month: what is paid while nobody uses the stack. Requests, storage, events and the
hours of jobs come on top. It is overridden, entry by entry, by `prices.toml` of this checkout, which `millrace prices
refresh` writes, and then by the user's own table, which `--prices FILE` or MILLRACE_PRICES names.
"""

from __future__ import annotations

import datetime
import os
import tomllib
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import click

from cli.console.errors import CliError

#: The environment variable that names the user's own table.
VARIABLE = "MILLRACE_PRICES"
KINDS = ("hosting", "processing", "training")

_TABLE = Path(__file__).with_suffix(".toml")
#: The table of this checkout, if any.
OVERLAY = Path(__file__).resolve().parents[1] / "prices.toml"
#: The key of prices that are quoted for another kind of instance hour.
_ANY = "any"

_CONFIG = "aws:sagemaker/endpointConfiguration:EndpointConfiguration"
_GROUP = "aws:sagemaker/featureGroup:FeatureGroup"
_ALARM = "aws:cloudwatch/metricAlarm:MetricAlarm"
_PARAMETER = "aws:ssm/parameter:Parameter"


@dataclass(frozen=True)
class Prices:
    """A price table, read and checked."""

    document: Mapping[str, Any]

    @classmethod
    def load(cls, override: Path | None = None) -> Prices:
        """Load the table, overridden by that of the checkout and by the user's own, where they exist.

        Args:
            override: The path of the user's table; None for the one that MILLRACE_PRICES names, if any.

        Returns:
            The merged table.

        Raises:
            CliError: One of these tables cannot be read, or is not valid.
        """
        document = tomllib.loads(_TABLE.read_text())
        named = os.environ.get(VARIABLE, "")
        tables = {OVERLAY: f"prices {OVERLAY}"} if OVERLAY.is_file() else {}
        if override is not None:
            tables[override] = f"prices {override}"
        elif named:
            tables[Path(named)] = f"prices {named} (of {VARIABLE})"
        for path, where in tables.items():
            mine = _read(path, where)
            _check(mine, where)
            document = _over(document, mine)
        return cls(document)

    @property
    def date(self) -> str:
        """The date of the table."""
        return str(self.document["date"])

    @property
    def source(self) -> str:
        """The source of the prices."""
        return str(self.document["source"])

    @property
    def currency(self) -> str:
        """The currency of the prices."""
        return str(self.document["currency"])

    @property
    def hours(self) -> float:
        """The number of hours in a month."""
        return float(self.document["hours_a_month"])

    def get_source(self, region: str) -> str:
        """Return the source of a region's prices; empty when none is known.

        Args:
            region: The AWS region.
        """
        return str(self._region(region).get("source", ""))

    def get_note(self, type_token: str) -> str:
        """Return the note to print with the price of a type; empty without one.

        Args:
            type_token: Pulumi's type token, e.g. `aws:kms/key:Key`.
        """
        return str(self.document["monthly"].get(type_token, {}).get("note", ""))

    def find_hourly_price(self, kind: str, instance: str, region: str) -> float | None:
        """Return the price of an instance hour; None when it is unknown.

        Args:
            kind: `hosting`, `processing` or `training`.
            instance: The instance type, e.g. `ml.m5.large`.
            region: The AWS region.

        Raises:
            ValueError: The kind is not one of these.
        """
        if kind not in KINDS:
            raise ValueError(f"kind {kind!r} of instance hours does not exist; expected one of {', '.join(KINDS)}")
        found = self._region(region)
        price = found.get(kind, {}).get(instance, found.get(_ANY, {}).get(instance))
        return None if price is None else float(price)

    def is_approximate(self, kind: str, instance: str, region: str) -> bool:
        """Tell whether the price is quoted for another kind of hour on the same instance.

        Args:
            kind: `hosting`, `processing` or `training`.
            instance: The instance type, e.g. `ml.m5.large`.
            region: The AWS region.

        Returns:
            True if it is; False also when the price is unknown.
        """
        found = self._region(region)
        return instance not in found.get(kind, {}) and instance in found.get(_ANY, {})

    def find_monthly_price(self, type_token: str, inputs: Mapping[str, Any], region: str) -> float | None:
        """Return the fixed cost of a resource in a month; None when it is unknown, 0.0 when only usage costs.

        Args:
            type_token: Pulumi's type token, e.g. `aws:kms/key:Key`.
            inputs: The resource's inputs. An endpoint configuration counts as one that serves; do not ask for one that
                is only kept, which costs nothing.
            region: The AWS region.
        """
        if type_token == _CONFIG:
            return self._fleet(inputs, region)
        if type_token == _GROUP:
            provisioned = (inputs.get("throughputConfig") or {}).get("throughputMode") == "Provisioned"
            return None if provisioned else 0.0
        if type_token == _PARAMETER:
            return 0.0 if inputs.get("tier", "Standard") == "Standard" else None
        if type_token == _ALARM:
            return self._alarm(inputs)
        if (known := self.document["monthly"].get(type_token)) is not None:
            return float(known["price"])
        return 0.0 if type_token in self.document["free"]["types"] else None

    def _region(self, region: str) -> Mapping[str, Any]:
        found: Mapping[str, Any] = self.document["regions"].get(region, {})
        return found

    def _fleet(self, inputs: Mapping[str, Any], region: str) -> float | None:
        total = 0.0
        for variant in inputs.get("productionVariants") or []:
            serverless = variant.get("serverlessConfig")
            if serverless:
                if serverless.get("provisionedConcurrency"):
                    return None
                continue
            count = variant.get("initialInstanceCount", 1)
            price = self.find_hourly_price("hosting", str(variant.get("instanceType")), region)
            if price is None or not isinstance(count, int | float):
                return None
            total += price * count * self.hours
        return total

    def _alarm(self, inputs: Mapping[str, Any]) -> float | None:
        known = self.document["monthly"].get(_ALARM)
        if known is None:
            return None
        period = inputs.get("period", 60)
        queries = inputs.get("metricQueries") or []
        metrics = max(1, sum(1 for each in queries if each.get("metric")))
        if any("ANOMALY_DETECTION_BAND" in str(each.get("expression", "")) for each in queries):
            # AWS bills the band as two more metrics.
            metrics += 2
        if isinstance(period, int | float) and period < 60:
            return float(known["high_resolution"]) * metrics if "high_resolution" in known else None
        return float(known["price"]) * metrics


def prices_option(function: Any) -> Any:
    """Add the option `--prices`.

    Args:
        function: The command, which takes ``prices``.

    Returns:
        The command with the option.
    """
    return click.option(
        "--prices",
        type=click.Path(path_type=Path),
        help=f"Your own price table, merged over the built-in one; also {VARIABLE}.",
    )(function)


def _read(path: Path, where: str) -> dict[str, Any]:
    try:
        return tomllib.loads(path.read_text(encoding="utf-8"))
    except FileNotFoundError as error:
        raise CliError(where, "does not exist", expected=f"a TOML table in the form of {_TABLE.name}") from error
    except OSError as error:
        raise CliError(
            where, f"cannot be read: {error.strerror}", expected=f"a TOML table in the form of {_TABLE.name}"
        ) from error
    except UnicodeDecodeError as error:
        raise CliError(where, f"is not UTF-8 (byte {error.start})", expected="a TOML table") from error
    except tomllib.TOMLDecodeError as error:
        raise CliError(where, f"is not TOML: {error}", expected=f"a table in the form of {_TABLE.name}") from error


def _check(document: Mapping[str, Any], where: str) -> None:
    problems = [*_problems(document)]
    if problems:
        raise CliError(f"{where}:", f"{'; '.join(problems)}", expected=f"the form of {_TABLE.name}")


def _problems(document: Mapping[str, Any]) -> Iterator[str]:
    texts = {"source": str, "currency": str, "date": datetime.date | str, "hours_a_month": int | float}
    for key, value in document.items():
        if key in texts:
            if not isinstance(value, texts[key]):
                yield f"{key} = {value!r} has the wrong type"
        elif key == "free":
            if not isinstance(value, Mapping) or not isinstance(value.get("types"), list):
                yield "free needs a list `types`"
        elif key not in ("regions", "monthly"):
            yield f"{key} is unknown (known: date, source, currency, hours_a_month, regions, monthly and free)"
        elif not isinstance(value, Mapping):
            yield f"{key} = {value!r} is not a table"
    if document.get("currency", "USD") != "USD":
        yield f"currency = {document['currency']!r}, but the built-in prices are in USD"
    regions, monthly = document.get("regions"), document.get("monthly")
    for region, blocks in regions.items() if isinstance(regions, Mapping) else ():
        yield from _in_region(region, blocks)
    for token, block in monthly.items() if isinstance(monthly, Mapping) else ():
        if not isinstance(block, Mapping) or not _is_price(block.get("price")):
            yield f"monthly.{token} needs a number `price` of 0 or more"


def _in_region(region: str, blocks: Any) -> Iterator[str]:
    if not isinstance(blocks, Mapping):
        yield f"regions.{region} is not a table"
        return
    for kind, block in blocks.items():
        if kind in ("date", "source"):
            continue
        if kind not in (*KINDS, _ANY):
            yield f"regions.{region}.{kind} is unknown (known: {', '.join((*KINDS, _ANY))})"
        elif not isinstance(block, Mapping):
            yield f"regions.{region}.{kind} is not a table"
        else:
            for instance, price in block.items():
                if not _is_price(price):
                    yield f"regions.{region}.{kind}.{instance} = {price!r} is not a number of 0 or more"


def _is_price(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and 0 <= value < float("inf")


def _over(below: Mapping[str, Any], above: Mapping[str, Any]) -> dict[str, Any]:
    """Override `below` by `above`: tables entry by entry; lists are concatenated, other values replaced."""
    made = dict(below)
    for key, value in above.items():
        under = made.get(key)
        if isinstance(under, Mapping) and isinstance(value, Mapping):
            made[key] = _over(under, value)
        elif isinstance(under, list) and isinstance(value, list):
            made[key] = [*under, *value]
        else:
            made[key] = value
    return made
