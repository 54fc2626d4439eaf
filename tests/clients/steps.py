"""Helpers that the scripts of the clients share: steps that run one after another and are reported on a line each."""

from __future__ import annotations

import io
import json
import sys
import tarfile
import time
import traceback
from collections.abc import Callable
from typing import Any

#: Phrases with which the local cloud refuses unsupported operations, in any service.
BY_NAME = ("not available in the local cloud", "is not available")

ACCOUNT = "123456789012"
ROLE = f"arn:aws:iam::{ACCOUNT}:role/clients"
IMAGE = f"{ACCOUNT}.dkr.ecr.eu-west-1.amazonaws.com/clients:1"
REGION = "eu-west-1"


def step(name: str, action: Callable[[], Any]) -> Any:
    """Run an action and print its result as JSON: it works, is refused by name, or failed."""
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
    # On its own line: some clients print their progress without a line break.
    sys.stdout.write(f"\nSTEP {json.dumps(line)}\n")
    sys.stdout.flush()


def expect(condition: object, what: object) -> None:
    """Fail the step if an answer is not the expected one."""
    if not condition:
        raise AssertionError(f"unexpected: {what!r}")


def expect_registered(execution: Any) -> None:
    """Wait for a pipeline execution of either SDK; fail the step unless all steps succeed and one registers a model."""
    execution.wait(delay=2, max_attempts=60)
    found = {each["StepName"]: each["StepStatus"] for each in execution.list_steps()}
    expect(set(found.values()) == {"Succeeded"}, found)
    expect(any(name.startswith("Register") for name in found), found)


def archive() -> bytes:
    """Return a minimal model archive."""
    file = io.BytesIO()
    with tarfile.open(fileobj=file, mode="w:gz") as tar:
        member = tarfile.TarInfo("model.txt")
        member.size = 5
        tar.addfile(member, io.BytesIO(b"model"))
    return file.getvalue()
