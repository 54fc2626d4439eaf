"""``python -m engine``: make the Pulumi CLI available, and say where it is."""

from __future__ import annotations

import sys

from engine.bootstrap import ensure
from engine.errors import EngineError


def main() -> int:
    """The exit code: 1 when no CLI could be had."""
    try:
        engine = ensure(lambda text: print(f"• {text}", flush=True))  # noqa: T201 - what the command is for
    except EngineError as error:
        print(error, file=sys.stderr)  # noqa: T201 - what the command is for
        return 1
    print(f"Pulumi {engine.origin} in {engine.folder}")  # noqa: T201 - what the command is for
    return 0


if __name__ == "__main__":
    sys.exit(main())
