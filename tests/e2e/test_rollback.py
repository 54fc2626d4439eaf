"""A deployment that an alarm rolls back: no request fails, the old model keeps serving and `pulumi up` reports why."""

from __future__ import annotations

import json
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

import pytest

from .stand import STACK, Stand, eventually, raise_alarm_during_bake

pytestmark = pytest.mark.timeout(600)


@pytest.fixture(scope="module")
def stand(prepared: Stand) -> Stand:
    return prepared


@pytest.fixture(scope="module", autouse=True)
def _up(stand: Stand) -> None:
    """Add an approved second model to the serving one, with a bake that is long enough to act in."""
    config = stand.folder / "stacks" / f"Pulumi.{STACK}.yaml"
    config.write_text(config.read_text().replace("bake_seconds: 60", "bake_seconds: 600"))
    [first] = stand.packages()
    # The same model again: only its version differs, which is all that a deployment needs.
    stand.millrace("retrain", "flights", "--as-of", first["CustomerMetadataProperties"]["as_of"], code=4)
    stand.millrace("approve", "flights", "2", "--yes", "--reason", "a rehearsal")


@dataclass
class Load:
    """Requests that were sent while something else happened."""

    answered: int = 0
    failed: list[str] = field(default_factory=list)


@contextmanager
def _send_requests(stand: Stand) -> Iterator[Load]:
    request = json.loads(stand.millrace("invoke", "flights", "--sample", "--json-output").stdout)["request"]
    client, over, load = stand.client("sagemaker-runtime"), threading.Event(), Load()
    body = json.dumps(request).encode()

    def ask() -> None:
        while not over.is_set():
            try:
                client.invoke_endpoint(EndpointName=STACK, ContentType="application/json", Body=body)["Body"].read()
                load.answered += 1
            except Exception as error:  # noqa: BLE001 - whatever it is, the test reports it
                load.failed.append(repr(error))

    threads = [threading.Thread(target=ask) for _ in range(2)]
    for thread in threads:
        thread.start()
    try:
        yield load
    finally:
        over.set()
        for thread in threads:
            thread.join()


def _read_served_version(stand: Stand) -> int:
    sagemaker = stand.client("sagemaker")
    config = sagemaker.describe_endpoint(EndpointName=STACK)["EndpointConfigName"]
    model = sagemaker.describe_endpoint_config(EndpointConfigName=config)["ProductionVariants"][0]["ModelName"]
    package = sagemaker.describe_model(ModelName=model)["PrimaryContainer"]["ModelPackageName"]
    return int(package.rpartition("/")[2])


def test_an_alarm_during_the_bake_rolls_back_and_fails_the_up(stand: Stand) -> None:
    assert _read_served_version(stand) == 1
    with _send_requests(stand) as load:
        watcher = threading.Thread(target=raise_alarm_during_bake, args=(stand,))
        watcher.start()
        said = stand.pulumi("up", "--yes", "--skip-preview", code=None)
        watcher.join()
    assert "rolled back" in said
    assert f"{STACK}-errors" in said
    assert _read_served_version(stand) == 1
    assert load.failed == []
    assert load.answered > 20


def test_the_next_up_deploys_the_approved_model_after_the_alarm(stand: Stand) -> None:
    eventually(lambda: True if stand.alarm("errors") == "OK" else None, "the alarm to be over", 60)
    with _send_requests(stand) as load:
        stand.up()
    assert _read_served_version(stand) == 2
    assert load.failed == []
    assert set(stand.changes()) == {"same"}


def test_rejecting_the_served_model_rolls_back_to_the_previous_one(stand: Stand) -> None:
    stand.millrace("reject", "flights", "2", "--yes", "--reason", "worse in use")
    stand.up()
    assert _read_served_version(stand) == 1
    rejected = stand.packages()[1]
    assert rejected["ModelApprovalStatus"] == "Rejected"
    assert rejected["ApprovalDescription"] == "worse in use"
