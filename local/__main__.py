"""The entry point of ``python -m local``, which runs the daemon."""

from __future__ import annotations

import sys

from local.daemon import main

if __name__ == "__main__":
    sys.exit(main())
