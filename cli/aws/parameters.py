"""Writing and deleting the SSM parameters that hold what people have decided."""

from __future__ import annotations

from cli.stack.deployable import Deployable


def write_parameter(target: Deployable, name: str, value: str, description: str) -> None:
    """Write a parameter; it replaces an earlier value.

    Args:
        target: The stack.
        name: The parameter's name.
        value: Its value.
        description: What it is for, and which command writes it.
    """
    target.client("ssm").put_parameter(Name=name, Type="String", Value=value, Description=description, Overwrite=True)


def delete_parameter(target: Deployable, name: str) -> bool:
    """Delete a parameter.

    Args:
        target: The stack.
        name: The parameter's name.

    Returns:
        Whether it existed.
    """
    ssm = target.client("ssm")
    try:
        ssm.delete_parameter(Name=name)
    except ssm.exceptions.ParameterNotFound:
        return False
    return True
