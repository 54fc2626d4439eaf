"""Undo of refused requests: a moto backend gets back the state it had before a failed call.

moto validates much only after it has changed something, and some of it not at all: an exception then ends a request
halfway. A young cloud's state is small, and copying it costs less than the call. A backend that takes longer to copy
than :data:`DEAR` is left out: it relies on moto alone.
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

#: The longest that copying one backend may take, seconds.
DEAR = 0.005


@dataclass(frozen=True)
class Picture:
    """The state of a service's backends: pickles by account and region, and which backends existed."""

    service: str
    pickles: dict[tuple[str, str], bytes]
    known: frozenset[tuple[str, str]]


class Undo:
    """The maker and restorer of pictures; callers hold moto's lock."""

    def __init__(self, bodies: Bodies) -> None:
        self._bodies = bodies
        self._cost: dict[tuple[str, str, str], float] = {}

    def take(self, service: str) -> Picture:
        """Return a picture of a service's backends, without the pickles of those that are slow to copy.

        Args:
            service: moto's name of the service.
        """
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

    def restore(self, before: Picture) -> None:
        """Restore the backends to what they were in a picture.

        Args:
            before: The picture; backends without a pickle in it stay as they are, and those created since are removed.
        """
        from moto.backends import get_backend

        live: Any = get_backend(before.service)  # type: ignore[call-overload]
        for place, backend in _backends(before.service).items():
            account, region = place
            if place not in before.known:
                # The failed call created it.
                dict.pop(live[account], region, None)
            elif place in before.pickles and _pickled(backend) != before.pickles[place]:
                log.warning("a refused request has changed %s in %s: it is put back", before.service, region)
                kept = unpickle(before.pickles[place], self._bodies)
                # The object itself stays, because others refer to it.
                vars(backend).clear()
                vars(backend).update(vars(kept))
                if before.service == "iam":
                    iam.add_managed_policies(backend)


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
        # Saving a snapshot logs which backend cannot be pickled.
        log.debug("no picture of %r", backend, exc_info=True)
        return None
    return out.getvalue()
