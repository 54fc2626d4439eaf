"""Writing of the files of a new use case: all of them or none, and never over existing files."""

from __future__ import annotations

import os
import shutil
from collections.abc import Mapping
from pathlib import Path

from cli.console import interrupts
from cli.console.errors import CliError


def write_files(files: Mapping[str, bytes], repository: Path, package: str) -> None:
    """Write files below a repository; the package is renamed into place last, so that it is never visible in part.

    Args:
        files: The content of each file by its path, e.g. `stacks/churn/data.py`.
        repository: The folder of the repository.
        package: The path of the package, e.g. `stacks/churn`.

    Raises:
        CliError: When a file or the package exists, or cannot be written; then nothing was written.
    """
    made: list[Path] = []
    target = repository / package
    draft = target.parent / f".{target.name}.{os.getpid()}"
    try:
        try:
            draft.mkdir()
            made.append(draft)
            for name, body in files.items():
                interrupts.raise_if_interrupted()
                inside = Path(name).is_relative_to(package)
                path = draft / Path(name).relative_to(package) if inside else repository / name
                path.parent.mkdir(parents=True, exist_ok=True)
                with path.open("xb") as file:
                    made.append(path)
                    file.write(body)
            # A rename would silently replace an empty folder.
            if target.exists():
                raise FileExistsError(None, "exists", str(target))
            draft.rename(target)
        except FileExistsError as error:
            raise CliError(f"{error.filename}", "already exists; nothing was written") from error
        except OSError as error:
            raise CliError(f"{error.filename}", f"cannot be written: {error.strerror}; nothing was written") from error
    except BaseException:
        if draft in made and not draft.exists():
            # The draft has already been renamed to the package.
            shutil.rmtree(target, ignore_errors=True)
        _undo(made)
        raise


def _undo(made: list[Path]) -> None:
    for path in reversed(made):
        if path.is_dir():
            shutil.rmtree(path, ignore_errors=True)
        else:
            path.unlink(missing_ok=True)
