"""Routing of an endpoint's requests to its model servers: fleet by traffic share, variant by weight, server by load."""

from __future__ import annotations

import logging
import random
import threading
import time
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import urllib3

from local.core.errors import AwsError
from local.core.identity import ACCOUNT, PARTITION
from local.errors import LocalError
from local.services.sagemaker.hosting.capture import Capture
from local.services.sagemaker.hosting.fleet import Fleet, Plan, Server, Variant, build_log_group_name
from local.services.sagemaker.hosting.invocation import Reply, Request
from local.services.sagemaker.hosting.invocation_metrics import InvocationMetrics

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Seconds that a model may take to answer.
TIMEOUT = 60.0
#: Seconds that a request waits for a ready server: about as long as a restart takes.
PATIENCE = 8.0


@dataclass(frozen=True)
class Route:
    """A fleet, its share of the traffic (0 to 1), and the data capture of its traffic."""

    fleet: Fleet
    share: float
    capture: Capture | None = None


class Router:
    """The router of one endpoint.

    ``changed`` guards the routes and everything that fleets publish. A request holds its server from the
    choice to the answer, so that a fleet without a route ends only after its last request.
    """

    def __init__(self, cloud: Cloud, region: str, endpoint: str) -> None:
        self.cloud = cloud
        self.region = region
        self.endpoint = endpoint
        self.changed = threading.Condition()
        self.routes: tuple[Route, ...] = ()

    def create_fleet(self, plan: Plan) -> Fleet:
        """Return a new fleet of this endpoint; it has no servers yet and gets no traffic."""
        return Fleet(self.cloud, self.region, self.endpoint, plan, self.changed)

    def set_routes(self, *routes: Route) -> None:
        """Replace the routes; new requests use them at once."""
        with self.changed:
            self.routes = routes
            self.changed.notify_all()

    def invoke(self, request: Request) -> Reply:
        """Send a request to a model server.

        Args:
            request: The request; without a target variant, the variants' weights decide.

        Returns:
            The model's reply, whatever its status.

        Raises:
            AwsError: ``ModelError`` if the model does not answer, ``ServiceUnavailable`` if no server is ready,
                ``ValidationError`` if the target variant does not exist.
        """
        begun = time.monotonic()
        while True:
            route, variant, server = self._acquire(request.target_variant, begun + PATIENCE)
            asked = time.monotonic()
            try:
                reply = self._ask(server, request)
            except _NotDeliveredError:
                continue
            except AwsError:
                self._count(route, variant, 0, begun, asked)
                raise
            finally:
                self._release(server)
            self._count(route, variant, reply.status, begun, asked)
            if route.capture is not None and 200 <= reply.status < 300:
                route.capture.record(variant.name, request, reply)
            return reply

    def _acquire(self, target: str | None, deadline: float) -> tuple[Route, Variant, Server]:
        with self.changed:
            while True:
                known = {name for route in self.routes for name in route.fleet.variants}
                if target is not None and known and target not in known:
                    raise AwsError(
                        "ValidationError",
                        f"Variant {target} not found in endpoint {self.endpoint} of account {ACCOUNT}.",
                    )
                if chosen := _choose_server(self.routes, target):
                    chosen[2].outstanding += 1
                    return chosen
                remaining = deadline - time.monotonic()
                if remaining <= 0 or self.cloud.stopping.is_set():
                    break
                self.changed.wait(min(remaining, 1.0))
        self._count_unavailable(target)
        raise AwsError(
            "ServiceUnavailable", f"Endpoint {self.endpoint} has no model server that can take requests.", status=503
        )

    def _release(self, server: Server) -> None:
        with self.changed:
            server.outstanding -= 1
            self.changed.notify_all()

    def _ask(self, server: Server, request: Request, *, again: bool = True) -> Reply:
        pool = server.pool
        if pool is None:
            raise _NotDeliveredError
        try:
            answer = pool.request(
                "POST",
                "/invocations",
                body=request.body,
                headers=request.headers,
                timeout=urllib3.Timeout(connect=2.0, total=TIMEOUT),
                retries=False,
            )
        except urllib3.exceptions.NewConnectionError as error:
            server.kill_unreachable()
            raise _NotDeliveredError from error
        except urllib3.exceptions.ConnectTimeoutError as error:
            raise _NotDeliveredError from error
        except urllib3.exceptions.TimeoutError as error:
            raise self._no_answer("the time is up") from error
        except urllib3.exceptions.HTTPError as error:
            # The server closed a kept-alive connection but still runs, so it has not received the request.
            if again and _is_closed_unanswered(error) and server.is_alive_after(after=0.05):
                return self._ask(server, request, again=False)
            raise self._no_answer("the connection broke") from error
        return Reply(answer.status, answer.headers, answer.data, server.variant.name)

    def _no_answer(self, why: str) -> AwsError:
        log.warning("endpoint %s: no answer from a model server: %s", self.endpoint, why)
        text = (
            "Your invocation timed out while waiting for a response from container primary. Review the latency metrics "
            "for each container in Amazon CloudWatch, resolve the issue, and try again."
            if why == "the time is up"
            else f'Received server error (0) from primary with message "{why}". {self.format_log_reference()}'
        )
        return self.make_model_error(text, 0, why)

    def make_model_error(self, text: str, status: int, body: str) -> AwsError:
        """Return the error for a model that answered with an error or not at all."""
        return AwsError(
            "ModelError",
            text,
            status=424,
            OriginalStatusCode=status,
            OriginalMessage=body,
            LogStreamArn=f"arn:{PARTITION}:logs:{self.region}:{ACCOUNT}:log-group:{build_log_group_name(self.endpoint)}",
        )

    def format_log_reference(self) -> str:
        """Return the sentence with which AWS refers the caller to the logs."""
        return (
            f"See https://{self.region}.console.aws.amazon.com/cloudwatch/home?region={self.region}"
            f"#logEventViewer:group={build_log_group_name(self.endpoint)} in account {ACCOUNT} for more information."
        )

    def _count(self, route: Route, variant: Variant, status: int, begun: float, asked: float) -> None:
        now = time.monotonic()
        self.cloud.get_part(InvocationMetrics).count_request(
            region=self.region,
            endpoint=self.endpoint,
            variant=variant.name,
            config=route.fleet.config if len(self.routes) > 1 else None,
            status=status,
            model_latency=now - asked,
            overhead=asked - begun,
        )

    def _count_unavailable(self, target: str | None) -> None:
        names = [name for route in self.routes for name in route.fleet.variants]
        self.cloud.get_part(InvocationMetrics).count_request(
            region=self.region,
            endpoint=self.endpoint,
            variant=target or (names[0] if names else "none"),
            config=None,
            status=503,
            model_latency=None,
            overhead=PATIENCE,
        )


class _NotDeliveredError(LocalError):
    """A request that the server cannot have received, because it accepted no connection."""


def _is_closed_unanswered(error: Exception) -> bool:
    return isinstance(error, urllib3.exceptions.ProtocolError) and any(
        isinstance(cause, ConnectionError) for cause in error.args
    )


def _choose_server(routes: Sequence[Route], target: str | None) -> tuple[Route, Variant, Server] | None:
    """Choose a ready server, or return None if there is none.

    Fleets are chosen by share, variants by weight, and the least busy server unless routing is random.
    """
    ways: list[tuple[Route, Variant, list[Server]]] = []
    chances: list[float] = []
    for route in routes:
        total = sum(variant.weight for variant in route.fleet.variants.values())
        for variant in route.fleet.variants.values():
            servers = variant.list_ready_servers()
            if target not in (None, variant.name) or route.share <= 0 or not servers:
                continue
            # Weights do not count for a target variant, nor if all of them are 0.
            weight = 1.0 if target is not None or total == 0 else variant.weight / total
            ways.append((route, variant, servers))
            chances.append(route.share * weight)
    if not ways or sum(chances) == 0:
        return None
    route, variant, servers = random.choices(ways, chances)[0]
    if variant.plan["Routing"] == "RANDOM":
        return route, variant, random.choice(servers)
    least = min(server.outstanding for server in servers)
    return route, variant, random.choice([server for server in servers if server.outstanding == least])
