"""Pulumi's home, file backend and provider for local stacks, all under the cloud's state folder.

A user's own Pulumi login is never touched, and nothing leaves the machine.
"""

from __future__ import annotations

import shlex
import sys
from importlib.metadata import version
from pathlib import Path

#: Local stacks hold no secret worth protecting; the passphrase is public so that anyone can open them.
PASSPHRASE = "local"

_PROVIDER = """#!/bin/sh
# Written by millrace: attaches the engine to the provider inside the local cloud's daemon.
exec {python} -I -S {relay} {facts}
"""
_RELAY = Path(__file__).with_name("relay.py")


def prepare_home(state: Path) -> dict[str, str]:
    """Write the files that the engine needs and return the environment that makes it use them.

    Args:
        state: The cloud's state folder, e.g. `.millrace`.

    Returns:
        The variables to add to the environment of the `pulumi` program, by name.
    """
    state = state.resolve()
    home, backend = state / "pulumi", state / "stacks"
    plugin = home / "plugins" / f"resource-aws-v{version('pulumi-aws')}" / "pulumi-resource-aws"
    plugin.parent.mkdir(parents=True, exist_ok=True)
    backend.mkdir(parents=True, exist_ok=True)
    script = _PROVIDER.format(
        python=shlex.quote(sys.executable),
        relay=shlex.quote(str(_RELAY)),
        facts=shlex.quote(str(state / "daemon.json")),
    )
    if not plugin.exists() or plugin.read_text() != script:
        plugin.write_text(script)
        plugin.chmod(0o755)
    return {
        "PULUMI_HOME": str(home),
        "PULUMI_BACKEND_URL": backend.as_uri(),
        "PULUMI_CONFIG_PASSPHRASE": PASSPHRASE,
        "PULUMI_SKIP_UPDATE_CHECK": "1",
        # `pulumi destroy` can only call a program's before-delete hooks if it runs the program.
        "PULUMI_RUN_PROGRAM": "true",
        "PULUMI_DISABLE_AUTOMATIC_PLUGIN_ACQUISITION": "true",
    }
