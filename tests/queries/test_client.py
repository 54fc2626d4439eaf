"""Clients: one retry policy for all callers, and sessions that threads do not share."""

from __future__ import annotations

import threading
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any

import pytest
from botocore.exceptions import ClientError, ReadTimeoutError

from queries import client
from queries.client import is_not_found, make_client

REGION = "eu-west-1"


@contextmanager
def run_refusing_service(status: int, code: str, message: str = "no") -> Iterator[tuple[str, list[str]]]:
    """Run a service that refuses every request the same way; yield its address and the requested operations."""
    asked: list[str] = []

    class Handler(BaseHTTPRequestHandler):
        def do_POST(self) -> None:
            asked.append(self.headers["X-Amz-Target"].partition(".")[2])
            body = f'{{"__type":"{code}","message":"{message}"}}'.encode()
            self.send_response(status)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        def log_message(self, *_: Any) -> None:
            pass

    server = ThreadingHTTPServer(("127.0.0.1", 0), Handler)
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield f"http://127.0.0.1:{server.server_address[1]}", asked
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


@pytest.fixture(autouse=True)
def credentials(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "a")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "b")
    # The back-off of botocore is not tested here, so it need not take time.
    monkeypatch.setattr("botocore.endpoint.time.sleep", lambda _: None)


@pytest.mark.parametrize(
    ("status", "code", "times"),
    [
        (400, "ThrottlingException", 4),
        (503, "ServiceUnavailable", 4),
        (500, "InternalFailure", 4),
        (400, "ValidationException", 1),
        (403, "AccessDeniedException", 1),
    ],
)
def test_transient_errors_are_tried_four_times_and_others_once(status: int, code: str, times: int) -> None:
    with run_refusing_service(status, code) as (address, asked):
        with pytest.raises(ClientError, match=code):
            make_client("sagemaker", REGION, endpoint_url=address).list_models()
        assert asked == ["ListModels"] * times


@pytest.mark.parametrize(
    ("code", "message", "expected"),
    [
        ("ValidationException", 'Could not find endpoint "arn:aws:sagemaker:eu-west-1:1:endpoint/x".', True),
        ("ValidationException", "ModelPackageGroup arn:aws:sagemaker:eu-west-1:1:x does not exist.", True),
        ("ResourceNotFound", "Pipeline x does not exist.", True),
        ("ValidationException", "1 validation error detected", False),
        ("AccessDeniedException", "User: a is not authorized to perform: sagemaker:ListModels", False),
        ("ThrottlingException", "Rate exceeded", False),
    ],
)
def test_not_found_errors_are_recognised(code: str, message: str, expected: bool) -> None:
    assert is_not_found(ClientError({"Error": {"Code": code, "Message": message}}, "DescribeEndpoint")) is expected
    assert not is_not_found(ReadTimeoutError(endpoint_url="http://127.0.0.1"))


def test_each_thread_keeps_its_own_session() -> None:
    found: list[Any] = []
    threads = [threading.Thread(target=lambda: found.append(client._get_session(None))) for _ in range(3)]
    for each in threads:
        each.start()
    for each in threads:
        each.join()
    mine = client._get_session(None)
    assert len({id(each) for each in [*found, mine]}) == 4
    assert client._get_session(None) is mine


def test_changed_credentials_create_another_session(monkeypatch: pytest.MonkeyPatch) -> None:
    with run_refusing_service(400, "ValidationException") as (address, _):
        first = make_client("sagemaker", REGION, endpoint_url=address)
        monkeypatch.setenv("AWS_ACCESS_KEY_ID", "other")
        second = make_client("sagemaker", REGION, endpoint_url=address)
    found = [each._request_signer._credentials.access_key for each in (first, second)]
    assert found == ["a", "other"]
