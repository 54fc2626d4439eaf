"""The preview comment of each stack on a pull or merge request: `python3 -m cli.delivery.comment`.

Each run updates the existing comment in place. The program uses only Python's standard library, because it runs with
a token that may write comments: a job with such a token installs nothing and runs nothing from the pull request. Its
input was produced by the code of the pull request, which may come from a stranger, and is treated as data: its size,
names and number are checked, the number against what GitHub itself reports about the run, and text from a fork is
marked as such. Each comment names its commit, and a failed preview replaces the comment of an earlier one.

    python3 -m cli.delivery.comment github --run ID                   after a run that left `comment-<stack>` artifacts
    python3 -m cli.delivery.comment gitlab --stack STACK --file FILE  within a pipeline of a merge request
    python3 -m cli.delivery.comment gitlab --stack STACK --failed     within a pipeline, when there is no file

Exit codes: 0 done, or nothing to do; 1 failed; 2 wrong usage.
"""

from __future__ import annotations

import argparse
import io
import json
import os
import re
import sys
import urllib.error
import urllib.parse
import urllib.request
import zipfile
import zlib
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

#: The maximum length of a comment, characters: GitHub's limit less room for what is added to the text.
LONGEST = 60_000
#: The maximum size of an artifact (packed, and of each file in it), bytes, and the maximum number for a run.
_LARGEST, _MOST = 1_000_000, 50
#: The name of an artifact with a comment; the group is the stack.
_ARTIFACT = re.compile(r"comment-([a-z][a-z0-9]*(?:-[a-z0-9]+)*)")
_NUMBER = re.compile(r"[1-9][0-9]{0,8}")
#: The author of everything that is written with a workflow's token.
_BOT = "github-actions[bot]"
#: The conclusions of a run that failed.
_FAILED = ("failure", "startup_failure", "timed_out")
#: What reading a damaged or encrypted archive raises.
_UNREADABLE = (zipfile.BadZipFile, zlib.error, KeyError, RuntimeError, EOFError, ValueError)
_TIMEOUT = 30.0
_PER_PAGE = 100


class CommentError(RuntimeError):
    """A failed request or an invalid input; `status` is the HTTP status of the response, if there was one."""

    def __init__(self, text: str, status: int | None = None) -> None:
        super().__init__(text)
        self.status = status


@dataclass(frozen=True)
class Api:
    """A JSON API over HTTP.

    Attributes:
        url: The base URL.
        headers: The headers that authenticate the caller; never sent to the target of a redirect.
    """

    url: str
    headers: Mapping[str, str]

    def call(self, method: str, path: str, body: Any = None) -> Any:
        """Send a request and read the JSON of the response.

        Args:
            method: The HTTP method.
            path: The path below the base URL, with its query.
            body: The JSON to send; None sends no body.

        Returns:
            The JSON of the response; None when the response is empty.

        Raises:
            CommentError: When the request is refused or not answered, or the response is not JSON.
        """
        answer = self.read(method, path, None if body is None else json.dumps(body).encode())
        try:
            return json.loads(answer) if answer else None
        except ValueError as error:
            said = answer[:200].decode(errors="replace")
            raise CommentError(f"{method} {self._locate(path)} returned something other than JSON: {said!r}") from error

    def read(self, method: str, path: str, data: bytes | None = None, most: int = 10_000_000) -> bytes:
        """Send a request and read the body of the response.

        Args:
            method: The HTTP method.
            path: The path below the base URL, with its query.
            data: The body to send, which must be JSON; None sends no body.
            most: The maximum size of the response, bytes.

        Returns:
            The body of the response.

        Raises:
            CommentError: When the request is refused or not answered, or the response is too large.
        """
        address = self._locate(path)
        request = urllib.request.Request(address, data=data, method=method)
        request.add_header("User-Agent", "millrace")
        if data is not None:
            request.add_header("Content-Type", "application/json")
        for name, value in self.headers.items():
            # GitHub redirects an artifact's download to a storage service, which must not receive the token.
            request.add_unredirected_header(name, value)
        try:
            with urllib.request.urlopen(request, timeout=_TIMEOUT) as answer:
                content: bytes = answer.read(most + 1)
        except urllib.error.HTTPError as error:
            said = error.read(2000).decode(errors="replace")
            raise CommentError(f"{method} {address} failed with status {error.code}: {said}", error.code) from error
        except OSError as error:
            raise CommentError(f"{method} {address} received no answer: {error}") from error
        if len(content) > most:
            raise CommentError(f"{method} {address} returned more than {most} bytes")
        return content

    def _locate(self, path: str) -> str:
        return f"{self.url.rstrip('/')}/{path.lstrip('/')}"

    def read_pages(self, path: str, key: str | None = None) -> list[Any]:
        """Return the entries of all pages of a list.

        Args:
            path: The path of the list in the API.
            key: The key of the list in a response; None when the response itself is the list.
        """
        found: list[Any] = []
        joint = "&" if "?" in path else "?"
        for page in range(1, 101):
            answer = self.call("GET", f"{path}{joint}per_page={_PER_PAGE}&page={page}")
            listed = answer[key] if key else answer
            found += listed
            if len(listed) < _PER_PAGE:
                return found
        raise CommentError(f"GET {path} returned more than {len(found)} entries")


def make_github_api() -> Api:
    """Return the API of this repository on GitHub, from the variables that its runners set."""
    token = _variable("GITHUB_TOKEN")
    return Api(
        f"{_variable('GITHUB_API_URL')}/repos/{_variable('GITHUB_REPOSITORY')}",
        {
            "Authorization": f"Bearer {token}",
            "Accept": "application/vnd.github+json",
            "X-GitHub-Api-Version": "2022-11-28",
        },
    )


def make_gitlab_api(token: str, header: str) -> Api:
    """Return the API of GitLab, from the variables that its runners set; `token` names the one with the token."""
    return Api(_variable("CI_API_V4_URL"), {header: _variable(token)})


def find_gitlab_project() -> str:
    """Return the path of this project in GitLab's API."""
    return f"projects/{urllib.parse.quote(_variable('CI_PROJECT_ID'), safe='')}"


def _variable(name: str) -> str:
    value = os.environ.get(name, "")
    if not value:
        raise CommentError(f"the variable {name} is not set; this is meant to run within a workflow, which sets it")
    return value


# -- GitHub ------------------------------------------------------------------------------------------------------------


def write_github_comments(api: Api, run_id: int) -> list[str]:
    """Write the comments that a run of the preview left.

    Returns:
        What was done, one line for each comment.
    """
    run = api.call("GET", f"actions/runs/{run_id}")
    texts, numbers = _read_artifacts(api, run_id)
    number = _pull_request(api, run, numbers)
    if number is None:
        return ["no open pull request contains the commit of this run: nothing was written"]
    is_foreign = (run.get("head_repository") or {}).get("id") != run["repository"]["id"]
    ours = _find_own_comments(api.read_pages(f"issues/{number}/comments"))
    commit, conclusion = run["head_sha"], run.get("conclusion")
    done = []
    for stack, text in sorted(texts.items()):
        body = _body(stack, commit, _foreign(text) if is_foreign else text)
        done += _github_write(api, number, stack, body, ours.pop(stack, []))
    for stack, ids in sorted(ours.items()):
        if conclusion == "success":
            body = _body(stack, commit, f"`{stack}`: the pull request no longer affects this stack.")
            done += _github_write(api, number, stack, body, ids)
        elif conclusion in _FAILED:
            done += _github_write(api, number, stack, _failed(stack, commit, run["html_url"]), ids)
    return done or ["the run saved no comment: nothing was written"]


def _read_artifacts(api: Api, run_id: int) -> tuple[dict[str, str], set[str]]:
    """Return the text for each stack from a run's artifacts, and the pull request numbers that they name."""
    texts: dict[str, str] = {}
    numbers: set[str] = set()
    listed = api.read_pages(f"actions/runs/{run_id}/artifacts", "artifacts")
    named = [(match[1], each) for each in listed if (match := _ARTIFACT.fullmatch(str(each["name"])))]
    if len(named) > _MOST:
        raise CommentError(f"run {run_id} saved {len(named)} comments; expected at most {_MOST}")
    for stack, artifact in named:
        if artifact["expired"]:
            continue
        if artifact["size_in_bytes"] > _LARGEST:
            raise CommentError(
                f"artifact {artifact['name']} has {artifact['size_in_bytes']} bytes; expected at most {_LARGEST}"
            )
        packed = api.read("GET", f"actions/artifacts/{int(artifact['id'])}/zip", most=_LARGEST)
        files = unpack(packed, ("comment.md", "number"), _LARGEST)
        texts[stack] = shorten(files["comment.md"].decode(errors="replace"))
        numbers.add(files["number"].decode(errors="replace").strip())
    return texts, numbers


def unpack(packed: bytes, names: Sequence[str], largest: int) -> dict[str, bytes]:
    """Return the named files of a zip archive, read in memory and never written to disk.

    Args:
        packed: The content of the archive.
        names: The paths of the files in the archive, all of which it must have.
        largest: The maximum size of each file, unpacked, bytes.

    Raises:
        CommentError: When a file is missing, too large or encrypted, or the archive is not a valid zip file.
    """
    try:
        with zipfile.ZipFile(io.BytesIO(packed)) as archive:
            found = {name: _read_start(archive, name, largest + 1) for name in names}
    except _UNREADABLE as error:
        raise CommentError(f"an artifact cannot be read: {error}; expected a zip of {', '.join(names)}") from error
    if large := [name for name, content in found.items() if len(content) > largest]:
        raise CommentError(f"{large[0]} of an artifact has more than {largest} bytes")
    return found


def _read_start(archive: zipfile.ZipFile, name: str, most: int) -> bytes:
    """Return at most the first bytes of a file, because the size recorded in the archive is not trusted."""
    method = archive.getinfo(name).compress_type
    if method not in (zipfile.ZIP_STORED, zipfile.ZIP_DEFLATED):
        raise zipfile.BadZipFile(f"{name} is compressed by method {method}")
    with archive.open(name) as file:
        return file.read(most)


def _pull_request(api: Api, run: Mapping[str, Any], numbers: set[str]) -> int | None:
    """Return the number of a run's pull request; None when it is unclear, closed or has newer commits.

    The artifacts name the number; it is accepted only if GitHub reports the run's commit and repository for it.
    """
    if not numbers:
        # A run that failed, or that concerns no stack, leaves no number, but existing comments must be updated.
        numbers = _of_branch(api, run)
    if len(numbers) != 1:
        return None
    [number] = numbers
    if not _NUMBER.fullmatch(number):
        raise CommentError(f"{number[:40]!r} is not a pull request number; nothing was written")
    pull = api.call("GET", f"pulls/{number}")
    head = pull["head"]
    same = head["sha"] == run["head_sha"] and (head.get("repo") or {}).get("id") == run["head_repository"]["id"]
    return int(number) if same and pull["state"] == "open" else None


def _of_branch(api: Api, run: Mapping[str, Any]) -> set[str]:
    """Return the open pull requests of a run's branch, including those of a fork, which GitHub omits from the run."""
    repository = run.get("head_repository")
    if not repository:
        # The fork was deleted, so its branch cannot be looked up.
        return set()
    head = f"{repository['owner']['login']}:{run['head_branch']}"
    pulls = api.read_pages(f"pulls?state=open&head={urllib.parse.quote(head, safe='')}")
    return {str(each["number"]) for each in pulls}


def _find_own_comments(comments: Sequence[Mapping[str, Any]]) -> dict[str, list[int]]:
    """Return the IDs of the comments that this program wrote, by stack.

    The author is checked, because anybody may write the marker.
    """
    found: dict[str, list[int]] = {}
    for comment in comments:
        match = re.match(r"<!-- millrace: (\S+) -->", comment.get("body") or "")
        if match and (comment.get("user") or {}).get("login") == _BOT:
            found.setdefault(match[1], []).append(int(comment["id"]))
    return found


def _github_write(api: Api, number: int, stack: str, body: str, ids: Sequence[int]) -> list[str]:
    if not ids:
        api.call("POST", f"issues/{number}/comments", {"body": body})
        return [f"{stack}: commented on pull request {number}"]
    api.call("PATCH", f"issues/comments/{ids[0]}", {"body": body})
    # Two concurrent runs may each have created a comment.
    for extra in ids[1:]:
        api.call("DELETE", f"issues/comments/{extra}")
    return [f"{stack}: updated the comment on pull request {number}"]


def _marker(stack: str) -> str:
    return f"<!-- millrace: {stack} -->"


def _body(stack: str, commit: str, text: str) -> str:
    return f"{_marker(stack)}\nOf commit {commit}:\n\n{text}"


def _failed(stack: str, commit: str, where: str) -> str:
    return f"{_marker(stack)}\nThe preview of {commit} failed, so its changes to `{stack}` are unknown. See {where}"


def _foreign(text: str) -> str:
    """Prefix the text of a fork with a warning and disable its mentions."""
    return (
        "> Created without credentials by the code of the pull request itself, which comes from a fork: trust it no "
        "more than that code.\n\n" + text.replace("@", "@\u200b")
    )


def shorten(text: str) -> str:
    """Return a text, cut to the maximum length of a comment.

    Args:
        text: The text of a comment, in Markdown.
    """
    if len(text) <= LONGEST:
        return text
    return text[:LONGEST] + "\n\n… and more: the full text is in the artifacts of the run."


# -- GitLab ------------------------------------------------------------------------------------------------------------


def write_gitlab_note(api: Api, project: str, request: str, stack: str, body: str) -> str:
    """Write the note of a stack on a merge request and return what was done.

    Args:
        api: The API of GitLab.
        project: The path of the project in the API.
        request: The number of the merge request in the project.
        stack: The stack's name.
        body: The text of the note.
    """
    if not _NUMBER.fullmatch(request):
        raise CommentError(f"CI_MERGE_REQUEST_IID={request!r} is not a merge request number")
    me = api.call("GET", "user")["id"]
    notes = f"{project}/merge_requests/{request}/notes"
    ids = [
        int(note["id"])
        for note in api.read_pages(notes)
        if note["author"]["id"] == me and (note.get("body") or "").startswith(_marker(stack))
    ]
    if not ids:
        api.call("POST", notes, {"body": body})
        return f"{stack}: commented on merge request {request}"
    api.call("PUT", f"{notes}/{ids[0]}", {"body": body})
    return f"{stack}: updated the note on merge request {request}"


def _gitlab_body(stack: str, file: Path | None) -> str:
    """Return the text of a note: the content of the file, or that the preview failed when there is no file."""
    # In a pipeline for merged results, the pipeline's own commit is on no branch.
    commit = os.environ.get("CI_MERGE_REQUEST_SOURCE_BRANCH_SHA") or _variable("CI_COMMIT_SHA")
    if file is None:
        return _failed(stack, commit, _variable("CI_PIPELINE_URL"))
    return _body(stack, commit, shorten(file.read_text()))


# -- the command -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the program.

    Args:
        arguments: The command line without the program's name; None for that of this process.

    Returns:
        The exit code: 0 done, or nothing to do; 1 failed.

    Raises:
        SystemExit: When the usage is wrong, with exit code 2.
    """
    parser = argparse.ArgumentParser(prog="python3 -m cli.delivery.comment", description="One comment for each stack.")
    hosts = parser.add_subparsers(dest="host", required=True)
    github = hosts.add_parser("github", help="after a run that saved comments as artifacts")
    github.add_argument("--run", type=int, required=True, help="the run's number")
    gitlab = hosts.add_parser("gitlab", help="within a pipeline of a merge request")
    gitlab.add_argument("--stack", required=True)
    what = gitlab.add_mutually_exclusive_group(required=True)
    what.add_argument("--file", type=Path, help="the text of the preview")
    what.add_argument("--failed", action="store_true", help="the preview failed")
    given = parser.parse_args(arguments)
    try:
        if given.host == "github":
            for line in write_github_comments(make_github_api(), given.run):
                print(line)
        else:
            api = make_gitlab_api("MILLRACE_TOKEN", "PRIVATE-TOKEN")
            body = _gitlab_body(given.stack, given.file)
            print(write_gitlab_note(api, find_gitlab_project(), _variable("CI_MERGE_REQUEST_IID"), given.stack, body))
    except (CommentError, OSError) as error:
        print(f"error: {error}", file=sys.stderr)
        return 1
    return 0


if __name__ == "__main__":
    sys.exit(main())
