"""SSM parameters that hold what people have decided."""

from __future__ import annotations

from typing import Any


def find_parameter(ssm: Any, name: str) -> str | None:
    """Return a parameter's value; None where it does not exist.

    Args:
        ssm: A boto3 client.
        name: The parameter's name.
    """
    try:
        return str(ssm.get_parameter(Name=name)["Parameter"]["Value"])
    except ssm.exceptions.ParameterNotFound:
        return None
