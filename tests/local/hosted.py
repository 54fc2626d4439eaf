"""An in-process cloud for tests of hosting: our handlers called as boto3 calls them, moto's server for the rest."""

from __future__ import annotations

import contextlib
import io
import tarfile
import threading
import time
from collections import Counter
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from botocore import xform_name
from botocore.exceptions import ClientError
from moto.server import ThreadedMotoServer

from local.core.clock import Clock
from local.core.context import Call, Cloud, Handler
from local.core.errors import AwsError
from local.core.event_bus import EVENTS
from local.core.images import Images
from local.core.store import Store
from local.services.sagemaker import models, tags
from local.services.sagemaker.hosting import endpoint_configs, endpoints, invocations
from local.services.sagemaker.hosting.host import Hosting

REGION = "eu-west-1"
IMAGE = f"123456789012.dkr.ecr.{REGION}.amazonaws.com/echo:1"
ECHO = Path(__file__).parent / "images" / "echo"
#: A minute of the cloud's time takes a third of a second.
SCALE = 180.0
HANDLERS: dict[str, Handler] = {
    name: handler
    for module in (models, endpoint_configs, endpoints, invocations, tags)
    for name, handler in module.OPERATIONS.items()
}


def eventually(condition: Callable[[], Any], seconds: float = 15.0) -> Any:
    """Return the condition's first true value; fail when the time is up."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if value := condition():
            return value
        time.sleep(0.02)
    raise AssertionError(f"not within {seconds} s: {condition}")


class HostedCloud:
    """A cloud with one bucket, ``models``, and shorthand for what every test of endpoints does."""

    def __init__(self, state: Path, endpoint_url: str) -> None:
        self.store = Store(state / "sagemaker.db")
        self.cloud = Cloud(state, endpoint_url, self.store, Clock(SCALE), Images({"echo": ECHO}))
        self.events: list[dict[str, Any]] = []

    def __getattr__(self, operation: str) -> Callable[..., dict[str, Any]]:
        name = next((name for name in HANDLERS if xform_name(name) == operation), None)
        if name is None:
            raise AttributeError(operation)

        def call(**params: Any) -> dict[str, Any]:
            try:
                return HANDLERS[name](Call(self.cloud, "sagemaker", name, REGION, "request"), params)
            except AwsError as error:
                detail = {"Error": {"Code": error.code, "Message": error.message}, **error.fields}
                raise ClientError({**detail, "ResponseMetadata": {"HTTPStatusCode": error.status}}, name) from error

        return call

    def aws(self, service: str) -> Any:
        return self.cloud.client(service, REGION)

    def model(self, name: str, *, environment: dict[str, str] | None = None) -> str:
        """Create a model that answers its own name."""
        archive = io.BytesIO()
        with tarfile.open(fileobj=archive, mode="w:gz") as tar:
            member = tarfile.TarInfo("answer.txt")
            member.size = len(name)
            tar.addfile(member, io.BytesIO(name.encode()))
        self.aws("s3").put_object(Bucket="models", Key=f"{name}.tar.gz", Body=archive.getvalue())
        container = {"Image": IMAGE, "ModelDataUrl": f"s3://models/{name}.tar.gz", "Environment": environment or {}}
        self.create_model(ModelName=name, PrimaryContainer=container)
        return name

    def config(self, name: str, *, count: int = 1, environment: dict[str, str] | None = None, **more: Any) -> str:
        """Create a model and a configuration with one variant, ``main``; both are called ``name``."""
        self.model(name, environment=environment)
        self.create_endpoint_config(EndpointConfigName=name, ProductionVariants=[variant(name, count=count)], **more)
        return name

    def endpoint(self, name: str, config: str) -> None:
        """Create an endpoint and wait until it is in service."""
        self.create_endpoint(EndpointName=name, EndpointConfigName=config)
        assert self.settled(name)["EndpointStatus"] == "InService"

    def settled(self, name: str) -> dict[str, Any]:
        def done() -> dict[str, Any] | None:
            described = self.describe_endpoint(EndpointName=name)
            return described if described["EndpointStatus"] not in ("Creating", "Updating") else None

        return dict(eventually(done))

    def gone(self, name: str) -> bool:
        with contextlib.suppress(ClientError):
            return not self.describe_endpoint(EndpointName=name)
        return True

    def ask(self, name: str, body: bytes = b"who", **more: Any) -> bytes:
        return bytes(self.invoke_endpoint(EndpointName=name, Body=body, **more)["Body"])

    def drain_events(self) -> list[dict[str, Any]]:
        """Take the queued events out of the store and return all events so far."""
        for queued in self.store.list(EVENTS):
            event = queued["event"]
            self.store.delete(EVENTS, event["region"], event["id"])
            self.events.append(event)
        return self.events

    def go_down(self) -> None:
        self.cloud.stopping.set()
        self.cloud.get_part(Hosting).stop()

    @contextlib.contextmanager
    def load(self, name: str, threads: int = 3) -> Iterator[Counter[str]]:
        """Send requests from several threads while the block runs; yield the counts of answers and errors."""
        counts: Counter[str] = Counter()
        stop, lock = threading.Event(), threading.Lock()

        def run() -> None:
            while not stop.wait(0.002):
                try:
                    text = self.ask(name).decode()
                except ClientError as error:
                    text = f"failed: {error}"
                with lock:
                    counts[text] += 1

        workers = [threading.Thread(target=run) for _ in range(threads)]
        for worker in workers:
            worker.start()
        try:
            yield counts
        finally:
            stop.set()
            for worker in workers:
                worker.join()


def variant(model: str, *, name: str = "main", count: int = 1, **more: Any) -> dict[str, Any]:
    return {
        "VariantName": name, "ModelName": model, "InitialInstanceCount": count, "InstanceType": "ml.m5.large", **more,
    }  # fmt: skip


def failures(counts: Counter[str]) -> list[str]:
    return [text for text in counts if text.startswith("failed")]


@pytest.fixture(scope="module")
def moto_url() -> Iterator[str]:
    server = ThreadedMotoServer("127.0.0.1", port=0, verbose=False)
    server.start()
    host, port = server.get_host_and_port()
    yield f"http://{host}:{port}"
    server.stop()


@pytest.fixture
def hosted(moto_url: str, tmp_path: Path) -> Iterator[HostedCloud]:
    cloud = HostedCloud(tmp_path, moto_url)
    with contextlib.suppress(ClientError):
        cloud.aws("s3").create_bucket(Bucket="models", CreateBucketConfiguration={"LocationConstraint": REGION})
    yield cloud
    cloud.go_down()
