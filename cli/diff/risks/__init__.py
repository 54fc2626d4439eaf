"""Risks of a change: loss, and weaker protection, monitoring, encryption, checks of models and data, and permissions.

Each family of rules has a file; `risk.py` has the values and their sentences.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any

from cli.diff import declared
from cli.diff.preview import Preview
from cli.diff.risks import access, decisions, encryption, loss, protection, rollout, watching

UseCases = tuple[declared.UseCase | None, declared.UseCase | None]


def list_risks(
    preview: Preview, use_cases: UseCases = (None, None), granted: Iterable[Mapping[str, Any]] = ()
) -> list[dict[str, Any]]:
    """Return all risks of a change, in the order of their families.

    A stack that is created has none: nothing exists that could be harmed.

    Args:
        preview: The change.
        use_cases: The declarations before and after, where they are known.
        granted: The permissions that change, see :mod:`cli.diff.permissions`.
    """
    if preview.is_new:
        return []
    found = [
        *loss.list_risks(preview),
        *protection.list_risks(preview),
        *watching.list_risks(preview),
        *rollout.list_risks(preview),
        *encryption.list_risks(preview),
        *decisions.list_risks(preview, use_cases),
        *access.list_risks(preview, granted),
    ]
    return [risk.dump() for risk in found]
