"""The features of a flight, from the same function in training, monitoring and the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stacks.flights import USE_CASE

REQUEST = ("carrier", "origin", "minute_of_day", "weekday", "distance")
TABLES = tuple(f"{table.name}_{column}" for table in USE_CASE.tables for column in table.columns)


def features(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """Return the 15 features; the other columns of the events are only for audits.

    Args:
        columns: The columns of requests and of tables, n rows each, and any others.

    Returns:
        Feature → n values: float32, or texts.
    """
    taken = {name: columns[name] for name in REQUEST + TABLES}
    return {name: values if values.dtype == object else values.astype(np.float32) for name, values in taken.items()}
