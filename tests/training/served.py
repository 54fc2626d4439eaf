"""A model server in its own process, as SageMaker starts it, and a client that keeps its connection."""

from __future__ import annotations

import http.client
import json
import os
import signal
import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from tests.training import synthetic

SERVE = synthetic.REPOSITORY / "training" / "image" / "bin" / "serve"


class Server:
    """Started server; ``base`` is its `/opt/ml`."""

    def __init__(self, base: Path, **env: str) -> None:
        with socket.socket() as probe:
            probe.bind(("127.0.0.1", 0))
            self.port = int(probe.getsockname()[1])
        # Read while the process runs, closed after it.
        self._log = tempfile.TemporaryFile(mode="w+")  # noqa: SIM115
        environment = synthetic.environment(base, SAGEMAKER_BIND_TO_PORT=str(self.port), **env)
        self.process = subprocess.Popen([str(SERVE)], env=environment, stdout=self._log, stderr=subprocess.STDOUT)
        self.connection = http.client.HTTPConnection("127.0.0.1", self.port, timeout=30)

    def ready(self, seconds: float = 30.0) -> None:
        """Wait until the server answers pings."""
        deadline = time.monotonic() + seconds
        while True:
            assert self.process.poll() is None, self.log()
            assert time.monotonic() < deadline, self.log()
            try:
                status, _, body = self.call("GET", "/ping")
            except OSError:
                self.connection.close()
                time.sleep(0.02)
                continue
            assert (status, body) == (200, b"")
            return

    def call(
        self, method: str, path: str, body: bytes | str = b"", **headers: str
    ) -> tuple[int, dict[str, str], bytes]:
        """Return status, headers and body; underscores in header names become hyphens."""
        self.connection.request(method, path, body, {name.replace("_", "-"): text for name, text in headers.items()})
        answer = self.connection.getresponse()
        return answer.status, {name.lower(): text for name, text in answer.getheaders()}, answer.read()

    def invoke(self, body: Any, kind: str = "application/json", **headers: str) -> tuple[int, Any]:
        """Return status and answer of an invocation, parsed if it is JSON; a body other than bytes is sent as JSON."""
        data = body if isinstance(body, bytes) else json.dumps(body).encode()
        status, given, answer = self.call("POST", "/invocations", data, Content_Type=kind, **headers)
        is_json = given["content-type"] == "application/json"
        return status, json.loads(answer) if is_json else answer.decode()

    def predict(self, records: list[dict[str, Any]]) -> list[dict[str, Any]]:
        """Return the predictions of valid records."""
        status, answer = self.invoke({"instances": records})
        assert status == 200, answer
        return list(answer["predictions"])

    def log(self) -> str:
        self._log.seek(0)
        return self._log.read()

    def stop(self) -> int:
        """Stop the server as SageMaker does and return its exit code."""
        if self.process.poll() is None:
            os.kill(self.process.pid, signal.SIGTERM)
        try:
            return self.process.wait(10)
        except subprocess.TimeoutExpired:
            self.process.kill()
            self.process.wait(10)
            sys.stderr.write(self.log())
            raise
        finally:
            self.connection.close()

    def close(self) -> None:
        """Close and delete the log."""
        self._log.close()


@contextmanager
def serving(base: Path, **env: str) -> Iterator[Server]:
    """Yield a server that answers, and stop it at the end."""
    server = Server(base, **env)
    try:
        server.ready()
        yield server
    finally:
        server.stop()
        server.close()
