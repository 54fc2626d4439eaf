"""What the model sees of a flight: the same function in training, monitoring and the endpoint."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from stacks.flights import USE_CASE

REQUEST = ("carrier", "origin", "minute_of_day", "weekday", "distance")
TABLES = tuple(f"{table.name}_{column}" for table in USE_CASE.tables for column in table.columns)


def features(columns: Mapping[str, npt.NDArray[Any]]) -> dict[str, npt.NDArray[Any]]:
    """The 15 features; what the events hold besides is for audits alone."""
    taken = {name: columns[name] for name in REQUEST + TABLES}
    return {name: values if values.dtype == object else values.astype(np.float32) for name, values in taken.items()}
