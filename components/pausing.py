"""What a person has paused: schedules and rules that stay disabled, whatever is deployed, until they are resumed."""

import json
from collections.abc import Collection

import pulumi

from components import api


def paused(region: str, parameter: str, everything: Collection[str]) -> frozenset[str]:
    """What is paused; nothing where there is no such parameter.

    A program calls it and hands the answer to the stack: a deployment changes nothing about what is paused.

    Args:
        region: Where the parameter is.
        parameter: The SSM parameter that `millrace pause` writes: JSON with since, by, reason and perhaps only.
        everything: What can be paused, and is where the parameter does not say `only` what.

    Raises:
        pulumi.RunError: When what stands there cannot be understood: it is not taken for permission to go on.
    """
    ssm = api.client("ssm", region)
    try:
        text = ssm.get_parameter(Name=parameter)["Parameter"]["Value"]
    except ssm.exceptions.ParameterNotFound:
        return frozenset()
    try:
        only = frozenset(json.loads(text).get("only") or everything)
        known = only <= frozenset(everything)
    except (ValueError, AttributeError, TypeError):
        known = False
    if not known:
        raise pulumi.RunError(
            f"SSM parameter {parameter} is {text!r}; expected JSON with since, by, reason and perhaps only, of "
            f"{', '.join(everything)}: `millrace resume` deletes it, `millrace pause` writes it anew"
        )
    return only
