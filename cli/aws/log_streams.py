"""Log streams: read the last lines of one, or follow several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.console import interrupts
from queries.client import is_not_found

#: What GetLogEvents gives at most.
MOST_LINES = 10_000
#: Seconds between two looks for new lines.
_LOOK = 0.5


def streams(logs: Any, group: str, prefix: str = "") -> list[str]:
    """The names of a group's streams that begin so, oldest first; none when there is no such group."""
    prefixed = {"logStreamNamePrefix": prefix} if prefix else {}
    try:
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, **prefixed)
        found = [stream for page in pages for stream in page["logStreams"]]
    except ClientError as error:
        if not is_not_found(error):
            raise
        return []
    return [stream["logStreamName"] for stream in sorted(found, key=lambda stream: stream.get("creationTime", 0))]


def last(logs: Any, group: str, stream: str, lines: int) -> list[str]:
    """The last lines of a stream."""
    return _page(logs, group, stream, limit=lines)[0]


def follow(logs: Any, group: str, prefix: str, lines: int) -> Iterator[tuple[str, str]]:
    """Stream and line: the last ones of each stream that begins so, then new ones, until the reader has enough."""
    tokens: dict[str, str] = {}
    for stream in streams(logs, group, prefix):
        messages, tokens[stream] = _page(logs, group, stream, limit=lines)
        yield from ((stream, message) for message in messages)
    while True:
        interrupts.pause(_LOOK)
        for stream in streams(logs, group, prefix):
            yield from ((stream, message) for message in _new(logs, group, stream, tokens))


def _new(logs: Any, group: str, stream: str, tokens: dict[str, str]) -> Iterator[str]:
    while True:
        token = tokens.get(stream)
        more = {"nextToken": token} if token else {}
        messages, tokens[stream] = _page(logs, group, stream, startFromHead=True, **more)
        yield from messages
        # The same token again is the end, for now.
        if not messages or tokens[stream] == token:
            return


def _page(logs: Any, group: str, stream: str, **options: Any) -> tuple[list[str], str]:
    """Lines, and the token of what comes after them."""
    page = logs.get_log_events(logGroupName=group, logStreamName=stream, **options)
    return [event["message"].rstrip("\n") for event in page["events"]], page["nextForwardToken"]
