"""Log groups and streams of SageMaker, found by a name in any case.

CloudWatch Logs itself tells names apart by case. A client that has a job's ARN knows its name in lower case only, and
would find no stream by it; so under ``/aws/sagemaker/`` a name that matches nothing as it is given is looked for
without regard to case.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

_OURS = "/aws/sagemaker/"


@functools.cache
def install() -> None:
    """Make moto find what belongs to SageMaker by a name in any case, once in a process."""
    from moto.logs.models import LogGroup, LogsBackend
    from moto.logs.responses import LogsResponse

    for owner, name, change in (
        (LogGroup, "describe_log_streams", _by_prefix),
        (LogGroup, "get_log_events", _by_name),
        (LogGroup, "filter_log_events", _by_names),
        (LogsResponse, "filter_log_events", _by_stream_prefix),
        (LogsBackend, "filter_log_events", _in_group),
        (LogsBackend, "_find_log_group", _of_group),
    ):
        setattr(owner, name, change(getattr(owner, name)))


def _own(known: Iterable[str], given: str) -> str:
    """The one of the known names that is the given one in any case; the given one as it is goes first."""
    names = list(known)
    if given in names:
        return given
    return next((name for name in names if name.lower() == given.lower()), given)


def _by_prefix(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def describe_log_streams(self: Any, *given: Any, **named: Any) -> Any:
        named["log_stream_name_prefix"] = _prefix(self, named.get("log_stream_name_prefix") or "")
        return method(self, *given, **named)

    return describe_log_streams


def _by_name(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def get_log_events(self: Any, log_stream_name: str, *given: Any, **named: Any) -> Any:
        name = _own(self.streams, log_stream_name) if self.name.startswith(_OURS) else log_stream_name
        return method(self, name, *given, **named)

    return get_log_events


def _by_names(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def filter_log_events(self: Any, log_group_name: str, log_stream_names: list[str], *given: Any) -> Any:
        if self.name.startswith(_OURS):
            log_stream_names = [_own(self.streams, name) for name in log_stream_names or ()]
        return method(self, log_group_name, log_stream_names, *given)

    return filter_log_events


def _by_stream_prefix(method: Callable[..., Any]) -> Callable[..., Any]:
    """The streams of a prefix, which moto takes no notice of."""
    from moto.logs.exceptions import InvalidParameterException

    @functools.wraps(method)
    def filter_log_events(self: Any) -> Any:
        prefix, groups = self._get_param("logStreamNamePrefix"), self.logs_backend.groups
        if not prefix:
            return method(self)
        if self._get_param("logStreamNames"):
            raise InvalidParameterException(msg="logStreamNames and logStreamNamePrefix cannot both be given")
        name = self._get_param("logGroupName")
        group = groups.get(_own(groups, name) if name.startswith(_OURS) else name)
        streams = [stream for stream in group.streams if stream.startswith(_prefix(group, prefix))] if group else []
        # Where there are none, a name that no stream can have: no name at all would mean every stream.
        self.body = json.dumps({**json.loads(self.body), "logStreamNames": streams or [":"]})
        return method(self)

    return filter_log_events


def _prefix(group: Any, given: str) -> str:
    """The prefix as the streams of a group have it."""
    if not group.name.startswith(_OURS) or any(name.startswith(given) for name in group.streams):
        return given
    # Streams of one job begin alike: its name in its own spelling.
    return next((name[: len(given)] for name in group.streams if name.lower().startswith(given.lower())), given)


def _in_group(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def filter_log_events(self: Any, log_group_name: str, *given: Any, **named: Any) -> Any:
        name = _own(self.groups, log_group_name) if log_group_name.startswith(_OURS) else log_group_name
        return method(self, name, *given, **named)

    return filter_log_events


def _of_group(method: Callable[..., Any]) -> Callable[..., Any]:
    @functools.wraps(method)
    def find_log_group(self: Any, log_group_id: str | None = None, log_group_name: str | None = None) -> Any:
        if log_group_name and log_group_name.startswith(_OURS):
            log_group_name = _own(self.groups, log_group_name)
        return method(self, log_group_id, log_group_name)

    return find_log_group
