"""A refused request changes nothing: what a backend of moto held before a call is put back when the call fails.

moto checks much after it has begun, and some of it not at all: an exception of its own then ends a request halfway.
The state is small where a cloud is young, and a picture of it costs less than the call. Of a backend whose picture
takes longer than :data:`DEAR`, none is taken: moto itself must leave it whole.
"""

from __future__ import annotations

import io
import logging
import time
from dataclasses import dataclass
from typing import Any

from local.services import iam
from local.services.moto.pickles import Bodies, dump, unpickle

log = logging.getLogger(__name__)

#: Seconds that a picture of one backend may take.
DEAR = 0.005


@dataclass(frozen=True)
class Picture:
    """What the backends of a service held: pickles by account and region, and which there were."""

    service: str
    pickles: dict[tuple[str, str], bytes]
    known: frozenset[tuple[str, str]]


class Undo:
    """Takes pictures and puts them back; used under the lock of moto."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._cost: dict[tuple[str, str, str], float] = {}

    def take(self, service: str) -> Picture:
        """Return what the backends of a service hold now, of those that are cheap to look at."""
        pickles = {}
        found = _backends(service)
        for place, backend in found.items():
            if self._cost.get((service, *place), 0.0) <= DEAR:
                began = time.perf_counter()
                data = _pickled(backend)
                self._cost[service, *place] = time.perf_counter() - began
                if data is not None:
                    pickles[place] = data
        return Picture(service, pickles, frozenset(found))

    def put_back(self, before: Picture) -> None:
        """Make the backends hold again what they held."""
        from moto.backends import get_backend

        live: Any = get_backend(before.service)  # type: ignore[call-overload]
        for place, backend in _backends(before.service).items():
            account, region = place
            if place not in before.known:
                # The failed call has made it.
                dict.pop(live[account], region, None)
            elif place in before.pickles and _pickled(backend) != before.pickles[place]:
                log.warning("a refused request has changed %s in %s: it is put back", before.service, region)
                kept = unpickle(before.pickles[place], self._bodies)
                # The object stays: others hold it.
                vars(backend).clear()
                vars(backend).update(vars(kept))
                if before.service == "iam":
                    iam.complete(backend)


def _backends(service: str) -> dict[tuple[str, str], Any]:
    from moto.backends import get_backend

    backends: Any = get_backend(service)  # type: ignore[call-overload]
    return {
        (account, region): backend
        for account, regions in list(backends.items())
        for region, backend in list(dict.items(regions))
    }


def _pickled(backend: Any) -> bytes | None:
    out = io.BytesIO()
    try:
        dump(backend, out)
    except Exception:
        # The snapshot says which backend cannot be kept.
        log.debug("no picture of %r", backend, exc_info=True)
        return None
    return out.getvalue()
