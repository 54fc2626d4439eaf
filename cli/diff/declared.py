"""What the declaration says before and after, out of the bundles that the jobs run: gates, slices, what is watched.

A preview shows a bundle's hash only. The new one lies where the program has just built it; the old one lies beside it,
or in the lake. A bundle is read only when its content is what the preview says it is.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cli.diff import differences
from cli.diff.preview import Preview
from cli.diff.values import clean

_CONTRACT = "contract.json"
#: No bundle is larger, bytes.
_LARGEST = 64 * 1024 * 1024

#: How a bundle of a file name is fetched from the lake; None when it cannot be.
Fetch = Callable[[str], bytes | None]

UseCase = Mapping[str, Any]


def use_cases(preview: Preview, fetch: Fetch | None) -> tuple[UseCase | None, UseCase | None]:
    """The declarations before and after; None where the code stays, or its bundle cannot be had."""
    for before, after in preview.assets.values():
        if not before.get("path", after.get("path", "")).endswith(".pyz"):
            continue
        if before.get("hash") == after.get("hash"):
            continue
        return _of_asset(before, fetch), _of_asset(after, None)
    return None, None


def _of_asset(asset: Mapping[str, Any], fetch: Fetch | None) -> UseCase | None:
    path, digest = asset.get("path"), asset.get("hash")
    if not isinstance(path, str) or not isinstance(digest, str):
        return None
    data = _file(Path(path), digest)
    if data is None and fetch is not None:
        fetched = fetch(Path(path).name)
        data = fetched if fetched and hashlib.sha256(fetched).hexdigest() == digest else None
    return None if data is None else _contract(data)


def _file(path: Path, digest: str) -> bytes | None:
    """A file's content when it is the one that is meant."""
    try:
        if path.suffix != ".pyz" or path.stat().st_size > _LARGEST:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def _contract(bundle: bytes) -> UseCase | None:
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            document = json.loads(archive.read(_CONTRACT))
    except (zipfile.BadZipFile, KeyError, ValueError):
        return None
    declared = document.get("use_case") if isinstance(document, dict) else None
    cleaned: UseCase = clean(declared, {})
    return cleaned if isinstance(declared, dict) else None


# -- what differs ------------------------------------------------------------------------------------------------------


def changes(before: UseCase | None, after: UseCase | None) -> list[dict[str, Any]]:
    """Each field that differs; tables are told with the features."""
    if before is None or after is None:
        return []
    found = differences.between(_keyed(before), _keyed(after))
    return [
        {"path": each.path, "before": each.before, "after": each.after}
        for each in found
        if not each.path.startswith("tables")
    ]


def _keyed(use_case: UseCase) -> dict[str, Any]:
    """Lists by what tells their members apart, so that one that is added does not move the others."""
    made = dict(use_case)
    for field, key in (("gates", "metric"), ("slices", "column"), ("tables", "name")):
        members = made.get(field)
        if isinstance(members, list):
            made[field] = _by(key, members)
    return made


def _by(key: str, members: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for place, each in enumerate(members):
        if not isinstance(each, Mapping):
            made[str(place)] = each
            continue
        given = {name: value for name, value in each.items() if value is not None}
        # Two gates on one metric bound it from both sides.
        made.setdefault(str(each.get(key, place)), {}).update(given)
    return made


def loosened(before: UseCase | None, after: UseCase | None) -> list[str]:
    """What a model no longer has to meet, a sentence each."""
    if before is None or after is None:
        return []
    old, new = _keyed(before), _keyed(after)
    found = []
    for metric, gate in sorted((old.get("gates") or {}).items()):
        found += _bounds(
            f"the gate on {metric}", gate, (new.get("gates") or {}).get(metric), ("at_least",), ("at_most",)
        )
    for column, each in sorted((old.get("slices") or {}).items()):
        gaps = ("max_tpr_gap", "max_fpr_gap")
        bounded = any(each.get(gap) is not None for gap in gaps)
        after_slice = (new.get("slices") or {}).get(column)
        if bounded:
            found += _bounds(f"the audit of {column}", each, after_slice, (), gaps)
    champion = ((before.get("champion") or {}), (after.get("champion") or {}))
    found += _bounds("the champion rule", champion[0], champion[1], ("better_by",), ())
    return found


def _bounds(
    what: str, old: Mapping[str, Any], new: Mapping[str, Any] | None, lowest: tuple[str, ...], highest: tuple[str, ...]
) -> list[str]:
    if new is None:
        return [f"{what} is gone"]
    found = []
    for names, is_looser, words in ((lowest, _less, "at least"), (highest, _more, "at most")):
        for name in names:
            bound, now = old.get(name), new.get(name)
            if isinstance(bound, int | float) and (
                now is None or (isinstance(now, int | float) and is_looser(now, bound))
            ):
                called = name.replace("_", " ")
                asked = "" if called == words else f"{called} "
                found.append(f"{what} asked for {asked}{words} {bound:g}, now for {_said(words, now)}")
    return found


def _said(words: str, now: Any) -> str:
    return "nothing" if now is None else f"{words} {now:g}"


def _less(now: float, bound: float) -> bool:
    return now < bound


def _more(now: float, bound: float) -> bool:
    return now > bound
