"""What the rules of all families ask of a resource."""

from __future__ import annotations

from cli.diff.preview import Resource
from cli.diff.values import Mark


def find_name(resource: Resource) -> str:
    """Return the name that AWS knows a resource by, where the preview says it; else its logical name."""
    for key in ("key", "bucket", "featureGroupName", "modelPackageGroupName", "pipelineName", "endpoint", "name"):
        value = resource.before.get(key) or resource.after.get(key)
        if isinstance(value, str) and not isinstance(value, Mark):
            return value
    return resource.name


def is_turned_on(resource: Resource, key: str) -> bool:
    """Tell whether an input was off, of a resource that existed, and is on."""
    return resource.old is not None and not resource.old.get(key) and bool(resource.after.get(key))


def is_turned_off(resource: Resource, key: str) -> bool:
    """Tell whether an input was on and is off, of a resource that stays."""
    return resource.new is not None and bool(resource.before.get(key)) and not resource.new.get(key)
