"""Properties of a resource that the rules of all families use."""

from __future__ import annotations

from cli.diff.preview import Resource
from cli.diff.values import Mark


def find_name(resource: Resource) -> str:
    """Return the name that AWS knows a resource by, if the preview has it; otherwise its logical name.

    Args:
        resource: The resource.
    """
    for key in ("key", "bucket", "featureGroupName", "modelPackageGroupName", "pipelineName", "endpoint", "name"):
        value = resource.before.get(key) or resource.after.get(key)
        if isinstance(value, str) and not isinstance(value, Mark):
            return value
    return resource.name


def is_turned_on(resource: Resource, key: str) -> bool:
    """Return True if an input of an existing resource was off and is on."""
    return resource.old is not None and not resource.old.get(key) and bool(resource.after.get(key))


def is_turned_off(resource: Resource, key: str) -> bool:
    """Return True if an input of a resource that is not deleted was on and is off."""
    return resource.new is not None and bool(resource.before.get(key)) and not resource.new.get(key)
