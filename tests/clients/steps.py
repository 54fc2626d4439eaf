"""What every client's script shares: steps that are tried one after another and reported, a line each."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
import traceback
from collections.abc import Callable
from typing import Any

#: How the local cloud refuses what it does not have, in any service's words.
BY_NAME = ("not available in the local cloud", "is not available")

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/clients"
IMAGE = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/clients:1"
REGION = "eu-west-1"


def step(name: str, action: Callable[[], Any]) -> Any:
    """Try it; print what came of it as JSON: it works, it is refused by name, or it failed."""
    began = time.monotonic()
    try:
        found = action()
    except BaseException as error:  # noqa: BLE001 - whatever a client raises is what is reported
        text = f"{type(error).__name__}: {error}"
        result = "refused" if any(words in text for words in BY_NAME) else "failed"
        if result == "failed":
            traceback.print_exc()
        _print(name, result, text[:400], began)
        return None
    _print(name, "works", "", began)
    return found


def _print(name: str, result: str, detail: str, began: float) -> None:
    line = {"step": name, "result": result, "detail": detail, "seconds": round(time.monotonic() - began, 1)}
    # On a line of its own: some clients print their progress without an end of line.
    sys.stdout.write(f"\nSTEP {json.dumps(line)}\n")
    sys.stdout.flush()


def expect(condition: object, what: object) -> None:
    """Fail the step when an answer is not what it must be."""
    if not condition:
        raise AssertionError(f"unexpected: {what!r}")


def expect_registered(execution: Any) -> None:
    """Wait for a pipeline execution of either SDK; fail the step unless all its steps succeed and one registers."""
    execution.wait(delay=2, max_attempts=60)
    found = {each["StepName"]: each["StepStatus"] for each in execution.list_steps()}
    expect(set(found.values()) == {"Succeeded"}, found)
    expect(any(name.startswith("Register") for name in found), found)


def archive() -> bytes:
    """A model's archive, as small as can be."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.txt")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"model"))
    return file.getvalue()
