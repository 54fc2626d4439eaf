"""The declaration before and after, read from the bundles that the jobs run: gates, slices, monitoring.

A preview has only a bundle's hash. The new bundle is where the program has just built it; the old one is next to it,
or in the lake. A bundle is read only when its content has the hash that the preview names.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
import zlib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from cli.diff import differences
from cli.diff.preview import Preview
from cli.diff.values import clean_value

_CONTRACT = "contract.json"
#: The maximum size of a bundle, bytes.
_LARGEST = 64 * 1024 * 1024

#: Returns the bundle with a file name from the lake; None when it cannot be read.
Fetch = Callable[[str], bytes | None]

UseCase = Mapping[str, Any]


def read_use_cases(preview: Preview, fetch: Fetch | None) -> tuple[UseCase | None, UseCase | None]:
    """Return the declarations before and after; None where the code stays, or its bundle is not available.

    Args:
        preview: The preview of the change.
        fetch: Downloads the old bundle if this machine does not have it; None downloads nothing.
    """
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
    """Return the content of a file; None if it does not have the expected digest."""
    try:
        if path.suffix != ".pyz" or path.stat().st_size > _LARGEST:
            return None
        data = path.read_bytes()
    except OSError:
        return None
    return data if hashlib.sha256(data).hexdigest() == digest else None


def find_contract(bundle: bytes) -> dict[str, Any] | None:
    """Return the contract in a bundle as a document; None if the bundle or its contract cannot be read.

    Args:
        bundle: The content of the bundle, which may be damaged.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(bundle)) as archive:
            if archive.getinfo(_CONTRACT).compress_type not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
                return None
            document = json.loads(archive.read(_CONTRACT))
    except (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError, ValueError):
        return None
    return document if isinstance(document, dict) else None


def _contract(bundle: bytes) -> UseCase | None:
    document = find_contract(bundle)
    declared = document.get("use_case") if document else None
    cleaned: UseCase = clean_value(declared, {})
    return cleaned if isinstance(declared, dict) else None


# -- differences -------------------------------------------------------------------------------------------------------


def list_changes(before: UseCase | None, after: UseCase | None) -> list[dict[str, Any]]:
    """Return each field that differs, except tables, which are reported with the features.

    Args:
        before: The declaration before; None if it is not known.
        after: The declaration after; None if it is not known.

    Returns:
        Documents with ``path``, ``before`` and ``after``, which is `ABSENT` where a field does not exist; none if one
        of the declarations is not known.
    """
    if before is None or after is None:
        return []
    found = differences.compare_values(key_lists(before), key_lists(after))
    return [
        {"path": each.path, "before": each.before, "after": each.after}
        for each in found
        if not each.path.startswith("tables")
    ]


def key_lists(use_case: UseCase) -> dict[str, Any]:
    """Replace lists with mappings, keyed by what identifies a member, so that adding one does not move the others.

    Args:
        use_case: The declaration, which is left unchanged.

    Returns:
        A copy: gates by metric, slices by column, tables by name, expectations by table and column, and lists of names
        as name → True.
    """
    made = dict(use_case)
    for field, key in (("gates", "metric"), ("slices", "column"), ("tables", "name")):
        if isinstance(made.get(field), list):
            made[field] = _key_members(key, made[field])
    if isinstance(made.get("expectations"), list):
        made["expectations"] = _rules(made["expectations"])
    made = _named(made, "trusted")
    for field, key in (("monitoring", "informational"), ("retraining", "on")):
        if isinstance(made.get(field), Mapping):
            made[field] = _named(made[field], key)
    return made


def _named(part: Mapping[str, Any], field: str) -> dict[str, Any]:
    """Replace a list of names with a mapping, so that their order does not matter."""
    names = part.get(field)
    return {**part, field: dict.fromkeys(map(str, names), True)} if isinstance(names, list) else dict(part)


def _rules(members: list[Any]) -> dict[str, Any]:
    """Return expectations by their table and column; several of one column are numbered."""
    made: dict[str, Any] = {}
    for each in sorted(members, key=lambda rule: json.dumps(rule, sort_keys=True, default=str)):
        if not isinstance(each, Mapping):
            continue
        rule = _named({name: value for name, value in each.items() if value is not None}, "one_of")
        name = called = f"{rule.get('table', 'events')}.{rule.get('column')}"
        number = 1
        while name in made:
            number += 1
            name = f"{called} ({number})"
        made[name] = rule
    return made


def _key_members(key: str, members: list[Any]) -> dict[str, Any]:
    made: dict[str, Any] = {}
    for place, each in enumerate(members):
        if not isinstance(each, Mapping):
            made[str(place)] = each
            continue
        given = {name: value for name, value in each.items() if value is not None}
        # Two gates on one metric bound it from both sides.
        made.setdefault(str(each.get(key, place)), {}).update(given)
    return made
