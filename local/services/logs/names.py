"""Case-insensitive lookup of SageMaker's log groups and streams.

CloudWatch Logs itself is case-sensitive. A client that has a job's ARN knows its name in lower case only, and would not
find its streams; so under ``/aws/sagemaker/`` a name without an exact match is looked up without regard to case.
"""

from __future__ import annotations

import functools
import json
from collections.abc import Callable, Iterable
from typing import Any

_OURS = "/aws/sagemaker/"


@functools.cache
def install() -> None:
    """Patch moto to find SageMaker's log groups and streams by a name in any case, once in a process."""
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
    """Return the known name that equals the given one, exactly or else in any case; the given one if none does."""
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
    """Wrap FilterLogEvents so that it applies logStreamNamePrefix, which moto ignores."""
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
        # If none matches, a name that no stream can have is passed: an empty list would mean every stream.
        self.body = json.dumps({**json.loads(self.body), "logStreamNames": streams or [":"]})
        return method(self)

    return filter_log_events


def _prefix(group: Any, given: str) -> str:
    """Return the prefix in the spelling of the streams of a group."""
    if not group.name.startswith(_OURS) or any(name.startswith(given) for name in group.streams):
        return given
    # All streams of a job begin with its name in the same spelling.
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
