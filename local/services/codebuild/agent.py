"""The program that runs a buildspec's commands, phase by phase, as the first process of a build's container.

It is started with the path of a plan, and knows nothing of the cloud. Each command is a shell of its own, which begins
with the folder and the exported variables that the command before it left. What has happened is appended to a file
of JSON lines, which the cloud follows.
"""

from __future__ import annotations

import json
import subprocess
import sys
import time
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Final

#: Begins where the last command ended, and keeps where this one ends; an `exit` in it ends only the command.
_WRAPPER: Final = """\
cd "$(cat "$0/folder")" || exit 1
. "$0/variables"
. "$0/command"
status=$?
pwd > "$0/folder"
export -p > "$0/variables"
exit $status
"""
_SUCCEEDING: Final = "CODEBUILD_BUILD_SUCCEEDING"


class Agent:
    """The run of one plan.

    Args:
        plan: `shell`, `source` (the first folder), `scratch` (a folder for the agent's own files), `progress` (the file
            of JSON lines), `phases` (each with `name`, `commands`, `last` and `on_failure`), and `exported`.
    """

    def __init__(self, plan: Mapping[str, Any]) -> None:
        self._shell = str(plan["shell"])
        self._scratch, self._progress = Path(plan["scratch"]), Path(plan["progress"])
        self._phases: Sequence[Mapping[str, Any]] = plan["phases"]
        self._exported: Sequence[str] = plan["exported"]
        (self._scratch / "folder").write_text(str(plan["source"]))
        (self._scratch / "variables").write_text("")
        self._export(_SUCCEEDING, "1")

    def run(self) -> int:
        """Run the phases, until one fails that ends the build.

        Returns:
            The exit code: 0 where each phase has succeeded.
        """
        succeeded = True
        for phase in self._phases:
            self._note({"phase": phase["name"], "started": time.time()})
            broken = self._run_phase(phase)
            done = {"phase": phase["name"], "ended": time.time(), "succeeded": broken is None}
            self._note(done if broken is None else {**done, "command": broken[0], "code": broken[1]})
            if broken is not None:
                succeeded = False
                self._export(_SUCCEEDING, "0")
                if phase["on_failure"] == "ABORT":
                    break
        if self._exported:
            self._note({"exported": self._read_exported()})
        return 0 if succeeded else 1

    def _run_phase(self, phase: Mapping[str, Any]) -> tuple[str, int] | None:
        """Run a phase's commands; return the first that failed with its code, None where none did."""
        broken = self._run_commands(phase["commands"])
        at_last = self._run_commands(phase["last"])
        return broken or at_last

    def _run_commands(self, commands: Sequence[str]) -> tuple[str, int] | None:
        for command in commands:
            _say(f"Running command {command}")
            (self._scratch / "command").write_text(command + "\n")
            code = subprocess.run([self._shell, "-c", _WRAPPER, str(self._scratch)], check=False).returncode
            if code:
                _say(f"Command did not exit successfully {command} exit status {code}")
                return command, code
        return None

    def _read_exported(self) -> dict[str, str]:
        """Return the exported variables' last values; a variable that no command has set is empty."""
        program = (
            "import json, os, sys; json.dump({name: os.environ.get(name, '') for name in sys.argv[1:]}, sys.stdout)"
        )
        command = '. "$0/variables"; exec "$@"'
        done = subprocess.run(
            [self._shell, "-c", command, str(self._scratch), sys.executable, "-c", program, *self._exported],
            stdout=subprocess.PIPE,
            check=True,
        )
        return dict(json.loads(done.stdout))

    def _export(self, name: str, value: str) -> None:
        with (self._scratch / "variables").open("a") as file:
            file.write(f"\nexport {name}={value}\n")

    def _note(self, what: Mapping[str, Any]) -> None:
        with self._progress.open("a") as file:
            file.write(json.dumps(what) + "\n")


def _say(text: str) -> None:
    stamp = time.strftime("%Y/%m/%d %H:%M:%S", time.gmtime())
    sys.stdout.write(f"[Container] {stamp} {text}\n")
    sys.stdout.flush()


if __name__ == "__main__":
    sys.exit(Agent(json.loads(Path(sys.argv[1]).read_text())).run())
