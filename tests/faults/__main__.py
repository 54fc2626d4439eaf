"""Plants every fault and runs every clean case: `python -m tests.faults [--write]`.

A line is printed for each; the exit code is 1 where a fault is not named, or where more than one clean case is not
found clean. With `--write`, docs/faults.md is made from the result.
"""

from __future__ import annotations

import argparse
import datetime as dt
import sys
import time
from collections.abc import Callable
from pathlib import Path

from tests.faults import served, trained  # noqa: F401 - importing registers their faults
from tests.faults.clean import CASES
from tests.faults.planted import FAULTS, Fault, Found

PAGE = Path(__file__).parents[2] / "docs" / "faults.md"
#: Of so many clean cases, how many may raise an alarm: each alarm is wrong in at most 1 % of windows.
_WRONG = 1

_HEAD = """# Planted faults

Each line is a small use case into which a fault was planted, and the alarm, gate or finding that named it; `make
faults` plants them again and writes this page. Last run: {date}, {named} of {faults} faults named, {quiet} of {clean}
clean cases without any alarm.

| fault | named by | in these words |
|---|---|---|
"""
_CLEAN = """
## Without a fault

In these cases no alarm may fire and no gate may fail.

| case | found |
|---|---|
"""


def main() -> int:
    """Plant all faults, and return the exit code."""
    parser = argparse.ArgumentParser(prog="python -m tests.faults", description=__doc__)
    parser.add_argument("--write", action="store_true", help="write the result to docs/faults.md")
    options = parser.parse_args()
    named = [(fault, _run(fault.name, fault.name_it, wanted=True)) for fault in FAULTS]
    quiet = [(case.name, _run(case.name, lambda case=case: _describe(case.find()), wanted=False)) for case in CASES]
    missed = sum(text is None for _, text in named)
    loud = sum(text is not None for _, text in quiet)
    _say(f"{len(named) - missed} of {len(named)} faults named, {len(quiet) - loud} of {len(quiet)} cases clean")
    if options.write:
        PAGE.write_text(_render(named, quiet))
    return 1 if missed or loud > _WRONG else 0


def _describe(found: Found) -> str | None:
    return "; ".join(f"{by}: {text}" for by, text in found) or None


def _run(name: str, find: Callable[[], str | None], *, wanted: bool) -> str | None:
    began = time.monotonic()
    text = find()
    mark = "✓" if (text is not None) is wanted else "✗"
    _say(f"{mark} {name}  {time.monotonic() - began:.1f} s  {(text or '').strip()[:120]}")
    return text


def _say(line: str) -> None:
    sys.stdout.write(f"{line.rstrip()}\n")
    sys.stdout.flush()


def _render(named: list[tuple[Fault, str | None]], quiet: list[tuple[str, str | None]]) -> str:
    """Return the page."""
    head = _HEAD.format(
        date=dt.datetime.now(dt.UTC).date().isoformat(),
        named=sum(text is not None for _, text in named),
        faults=len(named),
        quiet=sum(text is None for _, text in quiet),
        clean=len(quiet),
    )
    rows = [f"| {fault.group}: {fault.name} | `{fault.by}` | {_cut(text)} |" for fault, text in named]
    clean = [f"| {name} | {_cut(text) if text else 'nothing'} |" for name, text in quiet]
    return head + "\n".join(rows) + "\n" + _CLEAN + "\n".join(clean) + "\n"


def _cut(text: str | None) -> str:
    if text is None:
        return "**not named**"
    line = " ".join(text.split()).replace("|", "\\|")
    return line if len(line) <= 200 else f"{line[:199]}…"


if __name__ == "__main__":
    sys.exit(main())
