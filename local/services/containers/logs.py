"""A container's output as a stream of CloudWatch Logs.

Lines are sent in batches through the local cloud's own API. Lines that could not be sent are counted in the daemon's
log; they never stop the container.
"""

from __future__ import annotations

import logging
import time
from typing import TYPE_CHECKING, Any

from botocore.exceptions import BotoCoreError, ClientError

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Seconds that a line waits for further lines before the batch is sent.
DELAY = 0.3
#: Limits of a PutLogEvents batch: 10,000 events and 1 MiB, to which each event adds 26 bytes of overhead.
MAX_EVENTS = 10_000
MAX_BYTES = 1_048_576
OVERHEAD = 26
#: The maximum bytes of one event; longer lines are split.
MAX_LINE = 200_000


class LogStream:
    """One log stream; used by one thread."""

    def __init__(self, cloud: Cloud, region: str, group: str, stream: str) -> None:
        self.cloud = cloud
        self.region = region
        self.group = group
        self.stream = stream
        self._events: list[dict[str, Any]] = []
        self._bytes = 0
        self._oldest = 0.0
        self._created = False

    def write(self, line: str) -> None:
        """Add one line; it is sent when the batch is full, or by :meth:`flush`.

        Args:
            line: The text without its line end; a long one becomes several events, an empty one a space.
        """
        if not self._events:
            self._oldest = time.monotonic()
        stamp = int(time.time() * 1000)
        for start in range(0, max(len(line), 1), MAX_LINE // 4):
            # CloudWatch refuses an empty message, and a blank line is still a line.
            text = line[start : start + MAX_LINE // 4] or " "
            size = len(text.encode()) + OVERHEAD
            if len(self._events) == MAX_EVENTS or self._bytes + size > MAX_BYTES:
                self.flush()
            self._events.append({"timestamp": stamp, "message": text})
            self._bytes += size

    def seconds_until_due(self) -> float | None:
        """Return the seconds until the unsent lines should be flushed, or None if there are none."""
        return max(0.0, self._oldest + DELAY - time.monotonic()) if self._events else None

    def flush(self) -> None:
        """Send the unsent lines."""
        events, self._events, self._bytes = self._events, [], 0
        if not events:
            return
        try:
            self._put(events)
        except (ClientError, BotoCoreError) as error:
            log.warning("%d lines of log stream %s %s lost: %s", len(events), self.group, self.stream, error)

    def _put(self, events: list[dict[str, Any]]) -> None:
        client = self.cloud.client("logs", self.region)
        if not self._created:
            self._create(client)
        try:
            client.put_log_events(logGroupName=self.group, logStreamName=self.stream, logEvents=events)
        except client.exceptions.ResourceNotFoundException:
            # The group or the stream was deleted by another client.
            self._create(client)
            client.put_log_events(logGroupName=self.group, logStreamName=self.stream, logEvents=events)

    def _create(self, client: Any) -> None:
        for create, names in (
            (client.create_log_group, {"logGroupName": self.group}),
            (client.create_log_stream, {"logGroupName": self.group, "logStreamName": self.stream}),
        ):
            try:
                create(**names)
            except client.exceptions.ResourceAlreadyExistsException:
                continue
        self._created = True
