"""The regions of AWS, from botocore's data."""

from __future__ import annotations

from functools import cache

#: The partition whose ARNs this cloud writes.
_PARTITION = "aws"


@cache
def known_regions(partition: str = _PARTITION) -> frozenset[str]:
    """Return the names of the regions of a partition, or of all partitions if it is empty.

    Args:
        partition: botocore's name of the partition, such as ``aws-cn``, or an empty text.
    """
    from botocore.loaders import create_loader

    partitions = create_loader().load_data("endpoints")["partitions"]
    return frozenset(name for each in partitions if partition in ("", each["partition"]) for name in each["regions"])


def is_region(value: object) -> bool:
    """Return True if a value is the name of a region of this cloud.

    Args:
        value: The value, of any type.
    """
    return isinstance(value, str) and value in known_regions()


def describe_invalid_region(value: object) -> str:
    """Return the message for a value that is not a region.

    Args:
        value: The refused value, which the message shows as its ``repr``.
    """
    return f"{value!r} is no region of AWS; expected e.g. eu-west-1"
