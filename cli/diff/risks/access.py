"""Rules for wider permissions: wildcards, everybody, other accounts, services that act for strangers."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping
from typing import Any

from cli.diff.permissions import openings
from cli.diff.preview import Preview
from cli.diff.risks.risk import Code, Risk, caused_by


def list_risks(preview: Preview, granted: Iterable[Mapping[str, Any]]) -> Iterator[Risk]:
    """Yield the risks of permissions that are gained, and of conditions that are lost.

    Args:
        preview: The preview of the change.
        granted: The permissions that change, see :mod:`cli.diff.permissions`.
    """
    for entry in granted:
        for each in openings.find_openings(entry, preview.account):
            fields = {"whom": each.whom, "what": each.what, "opening": each.code.value, "consequence": each.consequence}
            yield Risk(Code.OPENED, entry["name"], "", caused_by("policy"), fields)
        cause = caused_by("assumeRolePolicy" if entry["of"] == "trust" else "policy")
        lost = {(each["principal"], openings.format_condition(each["condition"])) for each in entry["unguarded"]}
        for principal, condition in sorted(lost):
            fields = {"principal": principal or "it", "condition": condition}
            yield Risk(Code.CONDITION_LOST, entry["name"], "", cause, fields)
