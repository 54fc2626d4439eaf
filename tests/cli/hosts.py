"""Fake GitHub and GitLab APIs, limited to the requests that the workflows make."""

from __future__ import annotations

import io
import json
import threading
import zipfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import Any
from urllib.parse import parse_qs, urlsplit

REPOSITORY, FORK = 100, 200
OWNERS = {REPOSITORY: "acme", FORK: "stranger"}
TOKEN = "a-token-of-the-workflow"
BOT = {"login": "github-actions[bot]", "type": "Bot"}

#: Status, headers, body.
Answer = tuple[int, dict[str, str], bytes]


def zip_files(files: dict[str, str | bytes]) -> bytes:
    """Return a zip archive of these files, as a downloaded artifact has it."""
    content = io.BytesIO()
    with zipfile.ZipFile(content, "w", zipfile.ZIP_DEFLATED) as archive:
        for name, data in files.items():
            archive.writestr(name, data)
    return content.getvalue()


def zip_corruptly(files: dict[str, str | bytes], kind: str) -> bytes:
    """Return a zip archive whose first file cannot be read.

    Args:
        files: The files.
        kind: `data` for compressed data that are not valid, `encrypted` or `method` for what only headers say.
    """
    archive = bytearray(zip_files(files))
    central = archive.index(b"PK\x01\x02")
    if kind == "data":
        # A block of deflated data has no type 3.
        archive[30 + len(next(iter(files)))] = 0xFF
    elif kind == "encrypted":
        archive[6] |= 1
        archive[central + 8] |= 1
    else:
        archive[8] = archive[central + 10] = zipfile.ZIP_LZMA
    return bytes(archive)


@dataclass
class GitHub:
    """A repository `acme/models` with its runs, artifacts, pull requests and comments."""

    url: str = ""
    runs: dict[int, dict[str, Any]] = field(default_factory=dict)
    artifacts: dict[int, tuple[dict[str, Any], bytes]] = field(default_factory=dict)
    pulls: dict[int, dict[str, Any]] = field(default_factory=dict)
    comments: dict[int, dict[str, Any]] = field(default_factory=dict)
    """Keyed by comment number; `pull` is the number of the pull request."""
    refused: list[str] = field(default_factory=list)
    """Requests without the token, or with it to the artifact store, which must not see it."""

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a runner sets."""
        return {
            "GITHUB_ACTIONS": "true",
            "GITHUB_API_URL": self.url,
            "GITHUB_REPOSITORY": "acme/models",
            "GITHUB_TOKEN": TOKEN,
        }

    def run(self, run: int, sha: str, *, head: int = REPOSITORY, conclusion: str = "success") -> None:
        """Add a preview run for a commit of this repository or of a fork."""
        self.runs[run] = {
            "id": run,
            "head_sha": sha,
            "conclusion": conclusion,
            "html_url": f"https://github.test/acme/models/actions/runs/{run}",
            "repository": {"id": REPOSITORY},
            "head_repository": {"id": head, "owner": {"login": OWNERS[head]}},
            "head_branch": "change",
            "pull_requests": [],
        }

    def pull(self, number: int, sha: str, *, head: int = REPOSITORY, state: str = "open") -> None:
        label = f"{OWNERS[head]}:change"
        self.pulls[number] = {
            "number": number, "state": state, "head": {"sha": sha, "label": label, "repo": {"id": head}},
        }  # fmt: skip

    def leave(self, run: int, name: str, content: bytes, **facts: Any) -> None:
        """Add an artifact to a run."""
        number = len(self.artifacts) + 1
        artifact = {
            "id": number,
            "name": name,
            "size_in_bytes": len(content),
            "expired": False,
            "created_at": f"2026-01-01T00:00:{number:02d}Z",
            "workflow_run": {
                "id": run,
                "repository_id": REPOSITORY,
                "head_repository_id": self.runs[run]["head_repository"]["id"],
            },
            **facts,
        }
        self.artifacts[number] = artifact, content

    def comment(self, pull: int, body: str, user: dict[str, str] = BOT) -> int:
        number = len(self.comments) + 1
        self.comments[number] = {"id": number, "pull": pull, "user": user, "body": body}
        return number

    def bodies(self, pull: int) -> list[str]:
        return [comment["body"] for comment in self.comments.values() if comment["pull"] == pull]

    def answer(self, method: str, target: str, headers: dict[str, str], data: bytes) -> Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        if url.path.startswith("/store/"):
            if "Authorization" in headers:
                self.refused.append(target)
            return 200, {"Content-Type": "application/zip"}, self.artifacts[int(url.path.rpartition("/")[2])][1]
        if headers.get("Authorization") != f"Bearer {TOKEN}":
            self.refused.append(target)
            return 401, {}, b"{}"
        parts = url.path.removeprefix("/repos/acme/models/").split("/")
        found = self._found(method, parts, query, json.loads(data) if data else {})
        if isinstance(found, tuple):
            return found
        return (404, {}, b'{"message": "Not Found"}') if found is None else (200, {}, json.dumps(found).encode())

    def _found(self, method: str, parts: list[str], query: dict[str, str], body: dict[str, Any]) -> Any:
        match method, parts:
            case "GET", ["actions", "runs", run]:
                return self.runs.get(int(run))
            case "GET", ["actions", "runs", run, "artifacts"]:
                mine = [each for each, _ in self.artifacts.values() if each["workflow_run"]["id"] == int(run)]
                return {"artifacts": _select_page(mine, query)}
            case "GET", ["actions", "artifacts"]:
                mine = [each for each, _ in self.artifacts.values() if each["name"] == query["name"]]
                return {"artifacts": _select_page(mine, query)}
            case "GET", ["actions", "artifacts", number, "zip"]:
                return 302, {"Location": f"{self.url}/store/{number}"}, b""
            case "GET", ["pulls"]:
                wanted = query["state"], query["head"]
                mine = [each for each in self.pulls.values() if (each["state"], each["head"]["label"]) == wanted]
                return _select_page(mine, query)
            case "GET", ["pulls", number]:
                return self.pulls.get(int(number))
            case "GET", ["issues", number, "comments"]:
                return _select_page([each for each in self.comments.values() if each["pull"] == int(number)], query)
            case "POST", ["issues", number, "comments"]:
                return {"id": self.comment(int(number), body["body"])}
            case "PATCH", ["issues", "comments", number]:
                self.comments[int(number)]["body"] = body["body"]
                return self.comments[int(number)]
            case "DELETE", ["issues", "comments", number]:
                del self.comments[int(number)]
                return 204, {}, b""
        return None


@dataclass
class GitLab:
    """A project with the notes of merge request 5 and its generic packages."""

    url: str = ""
    notes: dict[int, dict[str, Any]] = field(default_factory=dict)
    packages: dict[str, bytes] = field(default_factory=dict)

    @property
    def environment(self) -> dict[str, str]:
        """The environment variables that a runner sets."""
        return {
            "GITLAB_CI": "true",
            "CI_API_V4_URL": self.url,
            "CI_PROJECT_ID": "42",
            "CI_MERGE_REQUEST_IID": "5",
            "CI_COMMIT_SHA": "c" * 40,
            "CI_PIPELINE_URL": "https://gitlab.test/acme/models/-/pipelines/7",
            "CI_JOB_TOKEN": "a-token-of-the-job",
            "MILLRACE_TOKEN": TOKEN,
        }

    def answer(self, method: str, target: str, headers: dict[str, str], data: bytes) -> Answer:
        url = urlsplit(target)
        query = {name: values[0] for name, values in parse_qs(url.query).items()}
        package = url.path.startswith("/projects/42/packages/generic/")
        token = ("Job-Token", "a-token-of-the-job") if package else ("Private-Token", TOKEN)
        if headers.get(token[0]) != token[1]:
            return 401, {}, b"{}"
        match method, url.path.split("/")[1:]:
            case "PUT", ["projects", "42", "packages", "generic", *_] if package:
                self.packages[url.path] = data
                return 201, {}, b"{}"
            case "GET", ["projects", "42", "packages", "generic", *_] if package:
                return (200, {}, self.packages[url.path]) if url.path in self.packages else (404, {}, b"{}")
            case "GET", ["user"]:
                return 200, {}, b'{"id": 1}'
            case "GET", ["projects", "42", "merge_requests", "5", "notes"]:
                return 200, {}, json.dumps(_select_page(list(self.notes.values()), query)).encode()
            case "POST", ["projects", "42", "merge_requests", "5", "notes"]:
                self.note(json.loads(data)["body"], author=1)
                return 201, {}, b"{}"
            case "PUT", ["projects", "42", "merge_requests", "5", "notes", number]:
                self.notes[int(number)]["body"] = json.loads(data)["body"]
                return 200, {}, b"{}"
        return 404, {}, b"{}"

    def note(self, body: str, author: int) -> None:
        number = len(self.notes) + 1
        self.notes[number] = {"id": number, "author": {"id": author}, "body": body}


def _select_page(items: list[Any], query: dict[str, str]) -> list[Any]:
    size, page = int(query.get("per_page", 30)), int(query.get("page", 1))
    return items[(page - 1) * size : page * size]


@contextmanager
def serve_host(host: GitHub | GitLab) -> Iterator[None]:
    """Serve the host's API on a free local port."""
    server = ThreadingHTTPServer(("127.0.0.1", 0), _make_handler(host.answer))
    host.url = f"http://127.0.0.1:{server.server_port}"
    thread = threading.Thread(target=server.serve_forever, daemon=True)
    thread.start()
    try:
        yield
    finally:
        server.shutdown()
        server.server_close()
        thread.join()


def _make_handler(answer: Callable[[str, str, dict[str, str], bytes], Answer]) -> type[BaseHTTPRequestHandler]:
    class Handler(BaseHTTPRequestHandler):
        def _any(self) -> None:
            data = self.rfile.read(int(self.headers.get("Content-Length") or 0))
            headers = {name.title(): value for name, value in self.headers.items()}
            status, given, body = answer(self.command, self.path, headers, data)
            self.send_response(status)
            for name, value in given.items():
                self.send_header(name, value)
            self.send_header("Content-Length", str(len(body)))
            self.end_headers()
            self.wfile.write(body)

        do_GET = do_POST = do_PUT = do_PATCH = do_DELETE = _any

        def log_message(self, format: str, *arguments: Any) -> None:
            """Log nothing."""

    return Handler
