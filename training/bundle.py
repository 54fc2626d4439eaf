"""The bundle: a zip file that `python3` runs, with the code of jobs and endpoints and the use case's declaration.

Its name contains the hash of its content, and equal sources give equal bytes: order, times, modes and compression are
fixed. A model's `code` identity is the SHA-256 of a bundle.
"""

from __future__ import annotations

import hashlib
import io
import json
import zipfile
from collections.abc import Iterator, Mapping
from pathlib import Path

from millrace import UseCase
from millrace.errors import DeclarationError, Diagnosis, diagnose_source
from millrace.files import write_atomically

CONTRACT = "contract.json"
#: Suffixes of the use case's files that are bundled; all others (notebooks, data, caches) and its tests are left out.
SUFFIXES = frozenset({".py", ".json", ".sql", ".txt", ".csv", ".toml", ".html", ".j2"})

#: Folders of the repository whose modules are shipped.
_SHIPPED = ("training", "millrace", "queries")
#: Modules of these packages that no job uses.
_LEFT_OUT = frozenset({"fake.py", "source_archive.py"})

_MAIN = "from training.__main__ import main\n\nmain()\n"


def build_bundle(use_case: UseCase, repository: Path, folder: Path) -> Path:
    """Write the bundle of a use case.

    Args:
        use_case: The declaration; it goes into the bundle as `contract.json`.
        repository: The folder that holds `training/`, `millrace/`, `queries/` and `stacks/`.
        folder: Where to write it; created if it does not exist.

    Returns:
        The bundle, `<folder>/millrace-<use case>-<first 16 of its SHA-256>.pyz`.

    Raises:
        DeclarationError: When the use case has no package under `stacks/`, or a module there is not valid Python.
    """
    package = repository / "stacks" / use_case.package
    if not (package / "__init__.py").is_file():
        raise DeclarationError(
            f"use case {use_case.name!r}",
            [
                Diagnosis(
                    f"name={use_case.name!r}",
                    f"has no stacks/{use_case.package}/__init__.py",
                    expected="the package of the use case",
                )
            ],
        )
    contents = {CONTRACT: render_contract(use_case), "__main__.py": _MAIN.encode()}
    for path in _sources(repository, package):
        contents[path.relative_to(repository).as_posix()] = path.read_bytes()
    _compile(use_case, {name: contents[name] for name in sorted(contents) if name.startswith("stacks/")})
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        for name in sorted(contents):
            # Stored, not deflated: compressed bytes differ between zlib builds. Python zips need no execute bit.
            entry = zipfile.ZipInfo(name, date_time=(1980, 1, 1, 0, 0, 0))
            entry.create_system, entry.external_attr = 3, 0o100644 << 16
            archive.writestr(entry, contents[name])
    data = buffer.getvalue()
    bundle = folder / f"millrace-{use_case.name}-{hashlib.sha256(data).hexdigest()[:16]}.pyz"
    if not bundle.is_file() or bundle.read_bytes() != data:
        folder.mkdir(parents=True, exist_ok=True)
        write_atomically(bundle, data)
    return bundle


def render_contract(use_case: UseCase) -> bytes:
    """Return the declaration as canonical JSON."""
    document = {"version": 1, "use_case": use_case.model_dump(mode="json")}
    return json.dumps(document, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def read_contract(data: bytes) -> UseCase:
    """Return the declaration that :func:`render_contract` wrote.

    Raises:
        DeclarationError: When the contract has another version or its declaration is invalid.
    """
    document = json.loads(data)
    if document.get("version") != 1:
        raise DeclarationError(
            CONTRACT,
            [
                Diagnosis(
                    f"version={document.get('version')!r}", "cannot be read", expected="1", fix="build the bundle again"
                )
            ],
        )
    return UseCase(**document["use_case"])


def _compile(use_case: UseCase, contents: Mapping[str, bytes]) -> None:
    """Refuse modules with syntax errors, which no job could import.

    The modules are compiled but not run: their dependencies may exist in the image only.
    """
    problems = []
    for name, source in contents.items():
        if not name.endswith(".py"):
            continue
        try:
            compile(source, name, "exec", dont_inherit=True)
        # ValueError: older Python releases raise it for null bytes.
        except (SyntaxError, ValueError) as error:
            problems.append(diagnose_source(error, name, error.lineno if isinstance(error, SyntaxError) else None))
    if problems:
        raise DeclarationError(f"use case {use_case.name!r}, stacks/{use_case.package}", problems)


def _sources(repository: Path, package: Path) -> Iterator[Path]:
    for name in _SHIPPED:
        yield from (path for path in (repository / name).rglob("*.py") if path.name not in _LEFT_OUT)
    yield repository / "stacks" / "__init__.py"
    for path in package.rglob("*"):
        relative = path.relative_to(package)
        hidden = relative.parts[0] == "tests" or any(part.startswith((".", "__pycache__")) for part in relative.parts)
        if path.is_file() and path.suffix in SUFFIXES and not hidden:
            yield path
