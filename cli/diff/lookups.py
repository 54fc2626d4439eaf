"""Lookups in the registry and the lake: the metrics of versions, and the code that runs now."""

from __future__ import annotations

from typing import Any

from cli.aws import model_packages
from cli.stack.target import Target
from millrace.names import CODE


def make_lookups(target: Target) -> dict[str, Any]:
    """Return functions that look up metrics, comparisons and bundles; each returns nothing when its lookup fails.

    Args:
        target: The stack.

    Returns:
        The fields ``figures``, ``comparison`` and ``fetch`` of :class:`cli.diff.document.Context`.
    """
    from botocore.exceptions import BotoCoreError, ClientError

    def figures(arn: str) -> dict[str, float] | None:
        try:
            package = model_packages.find_package(target, arn)
        except (BotoCoreError, ClientError):
            return None
        if package is None:
            return None
        wanted = [gate.metric for gate in target.use_case.gates]
        found: dict[str, float] = {}
        for metric in dict.fromkeys([*wanted, target.use_case.champion_metric]):
            try:
                found[metric] = round(float(package.metadata[metric]), 4)
            except (KeyError, ValueError):
                continue
        return found or None

    def comparison(arn: str) -> str:
        try:
            package = model_packages.find_package(target, arn)
        except (BotoCoreError, ClientError):
            return ""
        return package.description if package else ""

    def fetch(name: str) -> bytes | None:
        try:
            found = target.client("s3").get_object(Bucket=target.names.lake, Key=target.names.key(CODE, name))
            return bytes(found["Body"].read())
        except (BotoCoreError, ClientError):
            return None

    return {"figures": figures, "comparison": comparison, "fetch": fetch}
