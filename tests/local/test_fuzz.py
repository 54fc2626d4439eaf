"""Fuzzed requests to every served operation: no crash, no hang, and no change by a refused request."""

from __future__ import annotations

import random
import string
from collections.abc import Iterator
from typing import Any

import pytest
import requests
from botocore import xform_name
from botocore.config import Config
from botocore.exceptions import BotoCoreError, ClientError, HTTPClientError

from local import client
from local.core.protocol import load_service_model
from local.core.store import Store
from local.services.moto.mount import SERVICES
from local.services.operations import list_operations

from .conftest import CloudDaemon, make_roles

SEED = 20260101
#: Requests to each operation.
TIMES = 10
#: Seconds after which a request counts as hanging.
PATIENCE = 20

#: Operations whose host has a prefix that no resolver knows here.
ELSEWHERE = {("logs", "StartLiveTail"), ("logs", "GetLogObject"), ("s3", "WriteGetObjectResponse")}

TEXTS = [
    "", "a", "no-such-thing", "A" * 300, "é漢\u200b", "*", "..", "%00", "arn:aws:iam::123456789012:role/nobody",
    "arn:aws:sns:eu-west-1:123456789012:none", "arn:aws:x", "{}", "[", '{"a": 1}', "s3://b/k", "0", "-1", "1e999",
]  # fmt: skip


def operations() -> Iterator[tuple[str, str]]:
    for service, table in list_operations().items():
        for name in sorted(table):
            yield service, name
    for known in SERVICES.values():
        for name in sorted(load_service_model(known.model).operation_names):
            if (known.model, name) not in ELSEWHERE:
                yield known.model, name


class Made:
    """Random values for botocore's shapes: some valid, most slightly invalid."""

    def __init__(self, seed: str) -> None:
        self.random = random.Random(seed)

    def value(self, shape: Any, depth: int = 0) -> Any:
        kind = shape.type_name
        if kind == "structure":
            return self.structure(shape, depth)
        if kind == "list":
            return [self.value(shape.member, depth + 1) for _ in range(self.random.choice([0, 1, 1, 2]))]
        if kind == "map":
            return {self.text(shape.key): self.value(shape.value, depth + 1) for _ in range(self.random.choice([0, 1]))}
        if kind == "string":
            return self.text(shape)
        if kind == "boolean":
            return self.random.choice([True, False])
        if kind == "blob":
            return self.random.choice([b"", b"\x00\xff", b"<a/>", b"{}"])
        if kind == "timestamp":
            return self.random.choice([0, 1_700_000_000, 4_000_000_000])
        return self.random.choice([0, 1, -1, 2**31 - 1, int(shape.metadata.get("min") or 1)])

    def structure(self, shape: Any, depth: int) -> dict[str, Any]:
        chance = self.random.choice([0.0, 0.3, 1.0]) if depth < 3 else 0.0
        return {
            name: self.value(member, depth + 1)
            for name, member in shape.members.items()
            if name in shape.required_members or self.random.random() < chance
        }

    def text(self, shape: Any) -> str:
        if enum := shape.metadata.get("enum"):
            return str(self.random.choice([*enum, "Nonsense"]))
        if self.random.random() < 0.4:
            size = max(int(shape.metadata.get("min") or 1), 3)
            return "".join(self.random.choices(string.ascii_lowercase, k=min(size, 64)))
        return self.random.choice(TEXTS)


@pytest.fixture(scope="module")
def fuzzed(tmp_path_factory: pytest.TempPathFactory) -> Iterator[CloudDaemon]:
    """Yield a daemon for these tests alone, because they may leave it in any state."""
    daemon = CloudDaemon(tmp_path_factory.mktemp("fuzz") / "state")
    daemon.start()
    make_roles(daemon.client("iam"))
    try:
        yield daemon
    finally:
        daemon.stop()


def read_store(daemon: CloudDaemon) -> list[str]:
    """Return the documents in SageMaker's store, one text each."""
    store = Store(daemon.state / "sagemaker.sqlite")
    try:
        rows = store._db.execute("SELECT kind, region, name, body FROM documents ORDER BY 1, 2, 3").fetchall()
    finally:
        store.close()
    return [str(row) for row in rows]


@pytest.mark.timeout(900)
@pytest.mark.parametrize("service", dict.fromkeys(service for service, _ in operations()))
def test_fuzzed_requests_do_not_break_the_cloud(fuzzed: CloudDaemon, service: str) -> None:
    caller = fuzzed.session.client(
        service,
        region_name=client.REGION,
        endpoint_url=fuzzed.endpoint_url,
        config=Config(
            retries={"total_max_attempts": 1},
            parameter_validation=False,
            read_timeout=PATIENCE,
            inject_host_prefix=False,
        ),
    )
    wrong: list[str] = []
    asked = 0
    for name in (name for known, name in operations() if known == service):
        shape = load_service_model(service).operation_model(name).input_shape
        made = Made(f"{SEED} {service} {name}")
        for _ in range(TIMES):
            params = made.structure(shape, 0) if shape is not None else {}
            for member in ("WaitTimeSeconds", "ContentLength"):
                # These make the client wait on request, or for a body that it does not send.
                params.pop(member, None)
            before = read_store(fuzzed) if service.startswith("sagemaker") else []
            try:
                getattr(caller, xform_name(name))(**params)
            except ClientError as error:
                asked += 1
                status, code = error.response["ResponseMetadata"]["HTTPStatusCode"], error.response["Error"]["Code"]
                if status >= 500 and status != 501:
                    wrong.append(f"{name}({params}): {status} {code}")
                if (
                    service.startswith("sagemaker")
                    and read_store(fuzzed) != before
                    and not _is_background_change(before, fuzzed)
                ):
                    wrong.append(f"{name}({params}): refused with {code}, and something has changed")
                if status == 501:
                    break
            except HTTPClientError as error:
                wrong.append(f"{name}({params}): {type(error).__name__}")
            except (BotoCoreError, ValueError, TypeError, AttributeError, requests.RequestException):
                # Nothing was sent: the client could not serialise the request.
                continue
            else:
                asked += 1
    assert asked > 0
    assert not wrong, "\n".join(wrong[:20])


def _is_background_change(before: list[str], daemon: CloudDaemon) -> bool:
    """Return True if only documents with an operation in progress have changed."""
    busy = ("Creating", "InProgress", "Executing", "Stopping", "Deleting", "Updating")
    changed = set(read_store(daemon)) ^ set(before)
    return all(any(status in row for status in busy) for row in changed if row in before) and any(
        row in before for row in changed
    )
