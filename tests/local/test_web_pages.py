"""Protection of the cloud against web pages that the user visits, by raw requests and in a real browser."""

from __future__ import annotations

import contextlib
import http.server
import shutil
import socket
import subprocess
import threading
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import urllib3

from local import client

from .conftest import CloudDaemon

HTTP = urllib3.PoolManager(retries=False)
CHROMIUM = shutil.which("chromium")
BUCKET = "lake-of-the-page"
BUNDLE = "code/millrace-flights-0123456789abcdef.pyz"
JOB = '{"ProcessingJobName": "rebound"}'


@pytest.fixture(scope="module")
def lake(cloud_daemon: CloudDaemon) -> str:
    s3 = cloud_daemon.client("s3")
    s3.create_bucket(Bucket=BUCKET, CreateBucketConfiguration={"LocationConstraint": client.REGION})
    # As permissive as possible: the bucket's CORS rules must not help a page.
    s3.put_bucket_cors(
        Bucket=BUCKET,
        CORSConfiguration={"CORSRules": [{"AllowedMethods": ["PUT", "POST", "GET"], "AllowedOrigins": ["*"]}]},
    )
    s3.put_object(Bucket=BUCKET, Key=BUNDLE, Body=b"the reviewed code")
    return BUCKET


def is_unchanged(daemon: CloudDaemon) -> bool:
    s3 = daemon.client("s3")
    keys = [found["Key"] for found in s3.list_objects_v2(Bucket=BUCKET)["Contents"]]
    body = s3.get_object(Bucket=BUCKET, Key=BUNDLE)["Body"].read()
    jobs = daemon.client("sagemaker").list_processing_jobs(NameContains="rebound")["ProcessingJobSummaries"]
    return (keys, body, jobs) == ([BUNDLE], b"the reviewed code", [])


# -- raw requests ------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "host",
    ["evil.test", "evil.test:{port}", "127.0.0.1.evil.test", "localhost.evil.test", "0.0.0.0:{port}", "", "::1",
     "127.0.0.2:{port}", ".localhost", "[::1].evil.test", "user@localhost"],
)  # fmt: skip
def test_a_foreign_host_header_is_refused(cloud_daemon: CloudDaemon, host: str) -> None:
    named = {"Host": host.format(port=cloud_daemon.running.port)}
    for path in ("/", "/_local/health"):
        answer = HTTP.request("GET", cloud_daemon.endpoint_url + path, headers=named)
        assert answer.status == 403
        assert "is not this local cloud" in answer.data.decode()


@pytest.mark.parametrize("host", ["127.0.0.1", "127.0.0.1:{port}", "localhost:{port}", "LOCALHOST", "[::1]:{port}"])
def test_every_local_host_name_is_served(cloud_daemon: CloudDaemon, host: str) -> None:
    named = {"Host": host.format(port=cloud_daemon.running.port)}
    assert HTTP.request("GET", f"{cloud_daemon.endpoint_url}/_local/health", headers=named).status == 200


@pytest.mark.parametrize(
    "headers",
    [{"Origin": "http://evil.test"}, {"Origin": "null"}, {"Origin": "http://127.0.0.1:1"},
     {"Origin": "https://127.0.0.1:{port}"}, {"Sec-Fetch-Site": "cross-site"}, {"Sec-Fetch-Site": "same-site"}],
)  # fmt: skip
def test_a_signed_request_of_another_page_is_refused(
    cloud_daemon: CloudDaemon, lake: str, headers: dict[str, str]
) -> None:
    named = {name: value.format(port=cloud_daemon.running.port) for name, value in headers.items()}
    url = cloud_daemon.client("s3").generate_presigned_url("get_object", Params={"Bucket": lake, "Key": BUNDLE})
    answer = HTTP.request("GET", url, headers=named)
    assert answer.status == 403
    assert b"reviewed" not in answer.data
    assert HTTP.request("GET", url, headers={"Sec-Fetch-Site": "none"}).data == b"the reviewed code"


def test_no_response_has_cors_headers(cloud_daemon: CloudDaemon, lake: str) -> None:
    own = f"http://127.0.0.1:{cloud_daemon.running.port}"
    url = cloud_daemon.client("s3").generate_presigned_url("get_object", Params={"Bucket": lake, "Key": BUNDLE})
    for method, address in (("GET", url), ("OPTIONS", f"{own}/{lake}/{BUNDLE}")):
        for origin in ("http://evil.test", own):
            headers = {"Origin": origin, "Access-Control-Request-Method": "PUT"}
            answer = HTTP.request(method, address, headers=headers)
            assert not [name for name in answer.headers if name.lower().startswith("access-control")]


def test_an_unsigned_form_changes_nothing(cloud_daemon: CloudDaemon, lake: str) -> None:
    for path in (f"/{lake}", f"/{lake}/"):
        fields: Any = {"key": BUNDLE, "file": ("bundle.pyz", b"evil", "application/zip")}
        answer = HTTP.request("POST", cloud_daemon.endpoint_url + path, fields=fields)
        assert (answer.status, b"AccessDenied" in answer.data) == (403, True)
    assert is_unchanged(cloud_daemon)


def test_a_virtual_hosted_bucket_is_served(cloud_daemon: CloudDaemon, lake: str) -> None:
    virtual = {"addressing_style": "virtual"}
    s3 = cloud_daemon.session.client(
        "s3",
        region_name=client.REGION,
        endpoint_url=f"http://localhost:{cloud_daemon.running.port}",
        config=client_config(virtual),
    )
    url = s3.generate_presigned_url("get_object", Params={"Bucket": lake, "Key": BUNDLE})
    host = f"{lake}.localhost:{cloud_daemon.running.port}"
    assert host in url
    # Not every resolver knows names below localhost.
    here = url.replace(host, f"127.0.0.1:{cloud_daemon.running.port}")
    assert HTTP.request("GET", here, headers={"Host": host}).data == b"the reviewed code"


def client_config(s3: dict[str, str]) -> Any:
    from botocore.config import Config

    return Config(s3=s3, signature_version="s3v4")


# -- in a browser -----------------------------------------------------------------------------------------------------


class Page(http.server.BaseHTTPRequestHandler):
    """The attacker's site: the page, and what it reports."""

    def do_GET(self) -> None:
        site: Any = self.server
        if self.path.startswith("/report"):
            site.reports.append(self.path.partition("?")[2])
        body = site.page.encode() if self.path == "/" else b""
        self.send_response(200)
        self.send_header("Content-Type", "text/html")
        self.send_header("Content-Length", str(len(body)))
        self.end_headers()
        self.wfile.write(body)

    def log_message(self, *_: object) -> None:
        """Keep the test's output clean."""


@contextlib.contextmanager
def site(page: str) -> Iterator[Any]:
    server: Any = http.server.ThreadingHTTPServer(("127.0.0.1", 0), Page)
    server.page, server.reports = page, []
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield server
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def visit(url: str, folder: Path, done: Any) -> None:
    """Open a page in a new headless browser, in which every name below `test` is this machine, until ``done``."""
    assert CHROMIUM is not None
    command = [
        CHROMIUM, "--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run",
        "--disable-background-networking", "--disable-component-update", "--disable-sync",
        f"--user-data-dir={folder}", "--host-resolver-rules=MAP *.test 127.0.0.1", "--remote-debugging-port=0", url,
    ]  # fmt: skip
    with subprocess.Popen(command, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL, start_new_session=True) as it:
        deadline = time.monotonic() + 60
        while not done() and time.monotonic() < deadline and it.poll() is None:
            time.sleep(0.1)
        it.terminate()
        with contextlib.suppress(subprocess.TimeoutExpired):
            it.wait(10)
        it.kill()
    assert done(), "the page did not do what it was written to do"


needs_chromium = pytest.mark.skipif(CHROMIUM is None, reason="no chromium on PATH; `make browser` installs it")


@needs_chromium
def test_the_form_and_scripts_of_a_page_change_nothing(cloud_daemon: CloudDaemon, lake: str, tmp_path: Path) -> None:
    url = cloud_daemon.endpoint_url
    page = f"""<!doctype html><title>a page</title>
    <iframe name=hidden></iframe>
    <form id=form action="{url}/{lake}" method=post enctype="multipart/form-data" target=hidden>
    <input name=key value="{BUNDLE}"><input name=file type=file id=file></form>
    <script>
    const say = text => fetch("/report?" + encodeURIComponent(text));
    const files = new DataTransfer();
    files.items.add(new File(["evil"], "bundle.pyz"));
    document.getElementById("file").files = files.files;
    (async () => {{
      for (const [name, init] of [
        ["form", {{method: "POST", mode: "no-cors", body: new FormData(document.getElementById("form"))}}],
        ["text", {{method: "POST", mode: "no-cors", body: "Action=CreateUser&UserName=rebound"}}],
        ["cors", {{method: "PUT", headers: {{"X-Amz-Target": "SageMaker.ListModels"}}, body: "evil"}}],
      ]) {{
        try {{ const got = await fetch("{url}/{lake}/{BUNDLE}", init); await say(name + " " + got.type); }}
        catch (error) {{ await say(name + " failed"); }}
      }}
      document.querySelector("iframe").onload = () => say("submitted");
      document.getElementById("form").submit();
    }})();
    </script>"""
    with site(page) as attacker:
        visit(f"http://evil.test:{attacker.server_port}/", tmp_path, lambda: "submitted" in attacker.reports)
    # The browser really sent them: a response that it may not read is opaque, and the one with a preflight failed.
    assert attacker.reports == ["form%20opaque", "text%20opaque", "cors%20failed", "submitted"]
    log = (cloud_daemon.state / "daemon.log").read_text()
    assert f"refused POST /{lake}: Origin 'http://evil.test:{attacker.server_port}' is a web page's" in log
    assert f"refused OPTIONS /{lake}/{BUNDLE}: Origin" in log
    assert is_unchanged(cloud_daemon)


class Rebinding(threading.Thread):
    """A port that first answers with a page and then forwards to the cloud, which is the effect of DNS rebinding."""

    def __init__(self, page: bytes, cloud_port: int) -> None:
        super().__init__(daemon=True)
        self.page, self.cloud_port = page, cloud_port
        self.listening = socket.create_server(("127.0.0.1", 0))
        self.port = self.listening.getsockname()[1]
        self.passed: list[bytes] = []
        self.answered: list[bytes] = []
        self.is_rebound = False

    def run(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self.listening.accept()
                threading.Thread(target=self.serve, args=(connection,), daemon=True).start()

    def serve(self, connection: socket.socket) -> None:
        with connection, contextlib.suppress(OSError):
            request = connection.recv(65536)
            if not request:
                return
            if not self.is_rebound:
                self.is_rebound = True
                head = f"HTTP/1.1 200 OK\r\nContent-Type: text/html\r\nContent-Length: {len(self.page)}\r\n"
                connection.sendall(head.encode() + b"Connection: close\r\n\r\n" + self.page)
                return
            with socket.create_connection(("127.0.0.1", self.cloud_port)) as cloud:
                self.passed.append(request)
                cloud.sendall(request)
                # Each connection serves one request.
                cloud.settimeout(5)
                answer = cloud.recv(65536)
                self.answered.append(answer)
                connection.sendall(answer)


@needs_chromium
def test_dns_rebinding_reaches_nothing(cloud_daemon: CloudDaemon, lake: str, tmp_path: Path) -> None:
    page = f"""<!doctype html><script>
    (async () => {{
      for (const [path, init] of [
        ["/", {{method: "POST", headers: {{"X-Amz-Target": "SageMaker.CreateProcessingJob",
          "Content-Type": "application/x-amz-json-1.1"}}, body: '{JOB}'}}],
        ["/{lake}/{BUNDLE}", {{method: "PUT", body: "evil"}}],
        ["/_local/health", {{}}],
      ]) {{ try {{ await fetch(path, init); }} catch (error) {{}} }}
      await fetch("/finished");
    }})();
    </script>"""
    rebinding = Rebinding(page.encode(), cloud_daemon.running.port)
    rebinding.start()
    try:
        visit(
            f"http://rebound.test:{rebinding.port}/",
            tmp_path,
            lambda: any(b"GET /finished" in request for request in rebinding.passed),
        )
    finally:
        rebinding.listening.close()
    job = next(request for request in rebinding.passed if b"SageMaker.CreateProcessingJob" in request)
    assert f"Host: rebound.test:{rebinding.port}".encode() in job
    statuses = {answer.split(b" ", 2)[1] for answer in rebinding.answered}
    assert statuses == {b"403"}
    assert not any(b"proof" in answer for answer in rebinding.answered)
    assert lake
    assert is_unchanged(cloud_daemon)
