"""The entry point of ``python -m engine``, which makes the Pulumi CLI available and prints its location."""

from __future__ import annotations

import sys

from engine.bootstrap import ensure_cli
from engine.errors import EngineError


def main() -> int:
    """Make the CLI available.

    Returns:
        The exit status: 0, or 1 if no CLI was found, installed or built.
    """
    try:
        engine = ensure_cli(lambda text: print(f"• {text}", flush=True))  # noqa: T201 - what the command is for
    except EngineError as error:
        print(error, file=sys.stderr)  # noqa: T201 - what the command is for
        return 1
    print(f"Pulumi {engine.origin} in {engine.folder}")  # noqa: T201 - what the command is for
    return 0


if __name__ == "__main__":
    sys.exit(main())
