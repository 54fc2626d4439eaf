"""Log streams: read the last lines of one, or follow several."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

from botocore.exceptions import ClientError

from cli.console import interrupts
from queries.client import is_not_found

#: The most lines that one GetLogEvents call returns.
MOST_LINES = 10_000
#: Seconds between two polls for new lines.
_LOOK = 0.5


def list_streams(logs: Any, group: str, prefix: str = "") -> list[str]:
    """Return the names of a group's streams with this prefix, oldest first; none when the group does not exist.

    Args:
        logs: The CloudWatch Logs client.
        group: The name of the log group.
        prefix: The start of the streams' names; empty for all streams.
    """
    prefixed = {"logStreamNamePrefix": prefix} if prefix else {}
    try:
        pages = logs.get_paginator("describe_log_streams").paginate(logGroupName=group, **prefixed)
        found = [stream for page in pages for stream in page["logStreams"]]
    except ClientError as error:
        if not is_not_found(error):
            raise
        return []
    return [stream["logStreamName"] for stream in sorted(found, key=lambda stream: stream.get("creationTime", 0))]


def read_last_lines(logs: Any, group: str, stream: str, lines: int) -> list[str]:
    """Return the last lines of a stream.

    Args:
        logs: The CloudWatch Logs client.
        group: The name of the log group.
        stream: The name of the stream.
        lines: How many lines at most, up to `MOST_LINES`.

    Returns:
        The lines without their line ends, oldest first.
    """
    return _page(logs, group, stream, limit=lines)[0]


def follow_lines(logs: Any, group: str, prefix: str, lines: int) -> Iterator[tuple[str, str]]:
    """Yield (stream, line) without end: the last lines of each stream with this prefix, then new lines.

    Args:
        logs: The CloudWatch Logs client.
        group: The name of the log group.
        prefix: The start of the streams' names; empty for all streams.
        lines: How many earlier lines of each stream at most, up to `MOST_LINES`.
    """
    tokens: dict[str, str] = {}
    for stream in list_streams(logs, group, prefix):
        messages, tokens[stream] = _page(logs, group, stream, limit=lines)
        yield from ((stream, message) for message in messages)
    while True:
        interrupts.sleep(_LOOK)
        for stream in list_streams(logs, group, prefix):
            yield from ((stream, message) for message in _new(logs, group, stream, tokens))


def _new(logs: Any, group: str, stream: str, tokens: dict[str, str]) -> Iterator[str]:
    while True:
        token = tokens.get(stream)
        more = {"nextToken": token} if token else {}
        messages, tokens[stream] = _page(logs, group, stream, startFromHead=True, **more)
        yield from messages
        # CloudWatch returns the same token again at the end of the stream.
        if not messages or tokens[stream] == token:
            return


def _page(logs: Any, group: str, stream: str, **options: Any) -> tuple[list[str], str]:
    """Return lines and the token of the page after them."""
    page = logs.get_log_events(logGroupName=group, logStreamName=stream, **options)
    return [event["message"].rstrip("\n") for event in page["events"]], page["nextForwardToken"]
