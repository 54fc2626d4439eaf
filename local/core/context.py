"""The context of every handler and background worker: the cloud it belongs to and the call it answers."""

from __future__ import annotations

import logging
import threading
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from functools import lru_cache
from pathlib import Path
from typing import Any, TypeVar

import boto3

from local.core.clock import Clock
from local.core.event_bus import EventBus
from local.core.identity import ACCOUNT, PARTITION
from local.core.images import Images
from local.core.keys import KeyRing
from local.core.store import Store

log = logging.getLogger(__name__)

Part = TypeVar("Part")


@dataclass
class Cloud:
    """One running cloud: its state folder, store, clock, images, events and threads.

    Attributes:
        state: The folder that holds everything the cloud keeps.
        endpoint_url: The cloud's URL, ``http://127.0.0.1:<port>``, which its own parts use too.
        keys: The access keys with which the cloud may be called.
        stopping: Set once, when the cloud stops; every loop and wait then ends.
    """

    state: Path
    endpoint_url: str
    store: Store
    clock: Clock
    images: Images
    stopping: threading.Event = field(default_factory=threading.Event)

    def __post_init__(self) -> None:
        self.events = EventBus(self.store, self.clock)
        self.keys = KeyRing(self.state)
        self._own = self.keys.issue("cloud", own=True)
        self.client = lru_cache(maxsize=None)(self._client)
        self._parts: dict[Callable[[Cloud], Any], Any] = {}
        self._parts_lock = threading.RLock()

    def _client(self, service: str, region: str) -> Any:
        # A separate session: boto3's default session is not safe to build clients from in several threads.
        return boto3.session.Session().client(
            service, region_name=region, endpoint_url=self.endpoint_url, **self._own.to_boto3_arguments()
        )

    def get_part(self, kind: Callable[[Cloud], Part]) -> Part:
        """Return this cloud's only instance of ``kind``, created on first use, for a module's data in memory.

        Args:
            kind: The class or function that creates the instance from the cloud; each one has its own instance.
        """
        with self._parts_lock:
            if kind not in self._parts:
                self._parts[kind] = kind(self)
            return self._parts[kind]  # type: ignore[no-any-return]

    def spawn(self, name: str, target: Callable[..., None], *args: object) -> threading.Thread:
        """Run ``target`` in a daemon thread; an exception that escapes it is logged with its trace.

        Args:
            name: The name of the thread, which the log shows.
            target: The function to run.
            *args: The function's positional arguments.

        Returns:
            The thread, already started.
        """

        def guarded() -> None:
            try:
                target(*args)
            except Exception:
                log.exception("background worker %s died", name)

        thread = threading.Thread(target=guarded, name=name, daemon=True)
        thread.start()
        return thread


@dataclass(frozen=True)
class Call:
    """One request that a handler answers."""

    cloud: Cloud
    service: str
    operation: str
    region: str
    request_id: str
    headers: Mapping[str, str] = field(default_factory=dict)

    @property
    def store(self) -> Store:
        """The cloud's document store."""
        return self.cloud.store

    def build_arn(self, resource: str, service: str = "sagemaker") -> str:
        """Return ``arn:aws:<service>:<region>:<account>:<resource>``.

        Args:
            resource: The type and name of the resource, e.g. ``endpoint/search``.
            service: The service's name in ARNs.
        """
        return f"arn:{PARTITION}:{service}:{self.region}:{ACCOUNT}:{resource}"


#: Takes the call and its validated parameters (botocore's member names; times as ``datetime``, blobs as
#: ``bytes``), returns the operation's output members (times as epoch seconds or ``datetime``).
Handler = Callable[[Call, dict[str, Any]], dict[str, Any]]
