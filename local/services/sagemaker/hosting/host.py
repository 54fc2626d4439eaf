"""The running endpoints of a local cloud: their servers, and the operations that change their state.

An endpoint's document has the members of ``DescribeEndpoint``, and ``_plan``: the plan that serves or served last.
"""

from __future__ import annotations

import logging
import math
import re
import threading
import time
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from local.core.errors import AwsError
from local.core.store import Document, remove_private_members
from local.services.sagemaker.hosting.capture import Capture
from local.services.sagemaker.hosting.deployment import Deployment, GoingDownError, RollBackError
from local.services.sagemaker.hosting.fleet import Fleet, Plan
from local.services.sagemaker.hosting.model_data import MODEL_SUFFIX, build_fleet_folder_path, remove_tree
from local.services.sagemaker.hosting.router import Route, Router

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Seconds that model servers have to end when the local cloud shuts down.
SHUTDOWN_GRACE = 2.0


class Hosting:
    """All endpoints of one local cloud; ``cloud.get_part(Hosting)``."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._stopped = False
        self._endpoints: dict[tuple[str, str], HostedEndpoint] = {}
        _remove_leftovers(cloud)
        cloud.spawn("hosting", self._await_stop)

    def get_endpoint(self, region: str, name: str) -> HostedEndpoint:
        """Return the endpoint, which is created on first use."""
        with self._lock:
            key = (region, name)
            if key not in self._endpoints:
                self._endpoints[key] = HostedEndpoint(self._cloud, region, name)
            return self._endpoints[key]

    def remove_endpoint(self, region: str, name: str) -> None:
        """Remove a deleted endpoint."""
        with self._lock:
            self._endpoints.pop((region, name), None)

    def stop(self) -> None:
        """End all model servers and write the captured data; the local cloud must still answer requests."""
        with self._lock:
            if self._stopped:
                return
            self._stopped = True
            endpoints = list(self._endpoints.values())
        threads = [threading.Thread(target=endpoint.shut_down, daemon=True) for endpoint in endpoints]
        for thread in threads:
            thread.start()
        for thread in threads:
            thread.join(SHUTDOWN_GRACE + 2.0)

    def _await_stop(self) -> None:
        self._cloud.stopping.wait()
        self.stop()


class HostedEndpoint:
    """One endpoint's servers and router; its changes use :meth:`run_in_background`, one at a time."""

    def __init__(self, cloud: Cloud, region: str, name: str) -> None:
        self.cloud = cloud
        self.region = region
        self.name = name
        self.router = Router(cloud, region, name)

    def run_in_background(self, work: Callable[..., None], *args: object) -> None:
        """Run one of this endpoint's methods in the background, until it returns or the local cloud shuts down."""

        def run() -> None:
            try:
                work(*args)
            except GoingDownError:
                log.info("endpoint %s: interrupted by the end of the cloud", self.name)

        self.cloud.spawn(f"{work.__name__}-{self.name}", run)

    def create(self, plan: Plan) -> None:
        """Start the first fleet; the status changes from Creating to InService or Failed.

        Args:
            plan: The plan of the fleet; its ``Folder`` is added.

        Raises:
            GoingDownError: The local cloud is shutting down.
        """
        self._announce()
        fleet = self.router.create_fleet(plan)
        # Without traffic yet, but already a route, so that a shutdown ends the fleet too.
        self.router.set_routes(Route(fleet, 0.0))
        fleet.resize()
        if reason := self._await(fleet):
            self.router.set_routes()
            fleet.stop()
            self._save(lambda doc: doc.update(EndpointStatus="Failed", FailureReason=reason))
        else:
            self.router.set_routes(Route(fleet, 1.0, self._capture(plan)))
            self._serve(plan, None)
        self._announce()

    def resume(self, plan: Plan, reason: str | None = None) -> None:
        """Serve again after a restart of the local cloud; requests wait for the servers.

        ``reason`` is the FailureReason if an interrupted update was rolled back.
        """
        fleet = self.router.create_fleet(plan)
        self._save(lambda doc: doc["_plan"].update(Folder=plan["Folder"]))
        fleet.persistent = True
        self.router.set_routes(Route(fleet, 1.0, self._capture(plan)))
        fleet.resize()
        if reason is not None:
            self._serve(plan, reason)
            self._announce()
        if failure := self._await(fleet):
            log.error("endpoint %s cannot serve since the restart: %s", self.name, failure)
            self._save(lambda doc: doc.update(FailureReason=failure))
            self._await_return(fleet, failure)

    def _await_return(self, fleet: Fleet, failure: str) -> None:
        """Remove the FailureReason once the fleet serves again, unless another fleet has replaced it."""
        while any(route.fleet is fleet for route in self.router.routes):
            if fleet.find_failure() is None and fleet.wait_until_ready():
                log.info("endpoint %s serves again", self.name)
                self._save(lambda doc: doc.pop("FailureReason") if doc.get("FailureReason") == failure else None)
                return
            if self.cloud.stopping.wait(0.5):
                raise GoingDownError

    def update(self, plan: Plan, config: dict[str, Any]) -> None:
        """Deploy a plan; the status changes from Updating to InService.

        After a rollback, the old plan serves.

        Args:
            plan: The new plan; its ``Folder`` is added.
            config: ``DeploymentConfig`` in the API's form; empty for the default deployment.

        Raises:
            GoingDownError: The local cloud is shutting down.
        """
        self._announce()
        blue = self._route()
        green = Route(self.router.create_fleet(plan), 0.0, self._capture(plan))
        begun = time.time()

        def shift(share: float) -> None:
            self.router.set_routes(Route(blue.fleet, 1 - share, blue.capture), Route(green.fleet, share, green.capture))

        def report(status: str, message: str, share: float, active: int) -> None:
            summary = _build_pending_summary(plan, begun, status, message, share, active)
            self._save(lambda doc: doc.update(PendingDeploymentSummary=summary))
            self._announce("SageMaker Endpoint Deployment State Change")

        total = sum(variant["Count"] for variant in plan["Variants"])
        # Without traffic yet, but already a route, so that a shutdown ends the fleet too.
        shift(0.0)
        deployment = Deployment(self.cloud, blue.fleet, green.fleet, config, shift=shift, report=report)
        reason: str | None = None
        try:
            deployment.run()
        except GoingDownError:
            raise
        except RollBackError as error:
            reason = str(error)
        except Exception as error:
            # The endpoint must not stay between two configurations, even after an unexpected error.
            log.exception("deployment of endpoint %s", self.name)
            reason = f"InternalServerError: {error}"
        if reason is not None:
            deployment.roll_back()
        kept, gone = (green, blue) if reason is None else (blue, green)
        self.router.set_routes(Route(kept.fleet, 1.0, kept.capture))
        if gone.fleet.count_servers():
            report(
                "Deleting",
                f"Terminating {gone.fleet.count_servers()} instance(s).",
                1.0 if reason is None else 0.0,
                total,
            )
        self._end(gone)
        self._serve(plan if reason is None else None, reason)
        self._announce()

    def scale(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        """Change the weights and instance counts of the serving fleet.

        If the servers do not start, the old weights and counts are kept. The status changes from Updating to InService.

        Args:
            weights: The new weights by variant; variants that are not in it keep theirs.
            counts: The new numbers of servers by variant; variants that are not in it keep theirs.

        Raises:
            GoingDownError: The local cloud is shutting down.
        """
        self._announce()
        route = self._route()
        before = {variant.name: len(variant.servers) for variant in route.fleet.variants.values()}
        route.fleet.resize(counts)
        reason = self._await(route.fleet)
        if reason is not None:
            route.fleet.resize(before)
            self._serve(None, reason)
        else:
            with self.router.changed:
                for name, weight in weights.items():
                    route.fleet.variants[name].weight = weight
            plan = self._document()["_plan"]
            for variant in plan["Variants"]:
                variant["Weight"] = weights.get(variant["VariantName"], variant["Weight"])
                variant["Count"] = counts.get(variant["VariantName"], variant["Count"])
            self._serve(plan, None)
        self._announce()

    def delete(self) -> None:
        """End the servers, then delete the endpoint's document and tags."""
        self._announce()
        routes = self.router.routes
        self.router.set_routes()
        for route in routes:
            self._end(route)
        arn = self._document()["EndpointArn"]
        with self.cloud.store.transaction():
            self.cloud.store.delete("endpoint", self.region, self.name)
            self.cloud.store.delete("tags", self.region, arn)
        self.cloud.get_part(Hosting).remove_endpoint(self.region, self.name)

    def shut_down(self) -> None:
        """End all servers quickly; keep the stored state."""
        for route in self.router.routes:
            if route.capture is not None:
                route.capture.close()
            route.fleet.stop(SHUTDOWN_GRACE, keep=True)

    def _route(self) -> Route:
        """Return the route of the one serving fleet; just after a restart, wait until it exists."""
        with self.router.changed:
            self.router.changed.wait_for(lambda: self.router.routes)
            (route,) = self.router.routes
            return route

    def _capture(self, plan: Plan) -> Capture | None:
        config = plan["DataCaptureConfig"]
        return Capture(self.cloud, self.region, self.name, config) if config and config["EnableCapture"] else None

    def _end(self, route: Route) -> None:
        route.fleet.stop()
        if route.capture is not None:
            route.capture.close()

    def _await(self, fleet: Fleet) -> str | None:
        """Wait until the fleet is ready; return None, or the reason why it will not be."""
        while not fleet.wait_until_ready():
            if self.cloud.stopping.is_set():
                raise GoingDownError
            if (reason := fleet.find_failure()) is not None:
                return reason
        return None

    def _document(self) -> Document:
        document = self.cloud.store.get("endpoint", self.region, self.name)
        if document is None:
            raise AwsError("InternalFailure", f"endpoint {self.name} lost its state", status=500)
        return document

    def _save(self, change: Callable[[Document], None]) -> None:
        def stamped(document: Document) -> None:
            change(document)
            document["LastModifiedTime"] = time.time()

        self.cloud.store.update("endpoint", self.region, self.name, stamped)

    def _serve(self, plan: Plan | None, reason: str | None) -> None:
        """Set the status InService with ``plan``, or with the plan in the document."""

        def change(document: Document) -> None:
            document.pop("PendingDeploymentSummary", None)
            document.pop("FailureReason", None)
            document["EndpointStatus"] = "InService"
            if reason is not None:
                document["FailureReason"] = reason
            write_plan(document, plan or document["_plan"])

        self._save(change)

    def _announce(self, detail_type: str = "SageMaker Endpoint State Change") -> None:
        document = self._document()
        tags = self.cloud.store.get("tags", self.region, document["EndpointArn"]) or {}
        members = {
            **remove_private_members(document),
            "EndpointStatus": _to_event_status(document["EndpointStatus"]),
            "Tags": tags,
        }
        self.cloud.events.emit(
            detail_type=detail_type,
            resources=[document["EndpointArn"]],
            detail=_to_milliseconds(members),
            region=self.region,
        )


def _build_pending_summary(
    plan: Plan, begun: float, status: str, message: str, share: float, active: int
) -> dict[str, Any]:
    """Return a ``PendingDeploymentSummary``: ``active`` of the new servers take ``share`` of the traffic."""
    total = sum(variant["Count"] for variant in plan["Variants"])
    variants = [
        {
            "VariantName": variant["VariantName"],
            "CurrentWeight": variant["Weight"] if share else 0.0,
            "DesiredWeight": variant["Weight"],
            "CurrentInstanceCount": math.ceil(variant["Count"] * active / total),
            "DesiredInstanceCount": variant["Count"],
            "InstanceType": variant["InstanceType"],
            "DeployedImages": variant["DeployedImages"],
            "VariantStatus": [{"Status": status, "StatusMessage": message, "StartTime": time.time()}],
        }
        for variant in plan["Variants"]
    ]
    return {"EndpointConfigName": plan["EndpointConfigName"], "StartTime": begun, "ProductionVariants": variants}


def write_plan(document: Document, plan: Plan) -> None:
    """Write the serving plan to an endpoint's document."""
    document["_plan"] = plan
    document["EndpointConfigName"] = plan["EndpointConfigName"]
    document["ProductionVariants"] = [
        {
            "VariantName": variant["VariantName"],
            "DeployedImages": variant["DeployedImages"],
            "CurrentWeight": variant["Weight"],
            "DesiredWeight": variant["Weight"],
            "CurrentInstanceCount": variant["Count"],
            "DesiredInstanceCount": variant["Count"],
        }
        for variant in plan["Variants"]
    ]
    document.pop("DataCaptureConfig", None)
    if capture := plan["DataCaptureConfig"]:
        document["DataCaptureConfig"] = {
            "EnableCapture": capture["EnableCapture"],
            "CaptureStatus": "Started" if capture["EnableCapture"] else "Stopped",
            "CurrentSamplingPercentage": capture["InitialSamplingPercentage"],
            "DestinationS3Uri": capture["DestinationS3Uri"],
            # Describe always has the member, empty when there is no key.
            "KmsKeyId": capture.get("KmsKeyId", ""),
        }


def _remove_leftovers(cloud: Cloud) -> None:
    """Remove leftovers of the last run, except the unpacked models of endpoints that will serve again.

    As on AWS, such an endpoint no longer needs its model or the archive.
    """
    kept = {
        build_fleet_folder_path(cloud, document["EndpointArn"].split(":")[3], document["EndpointName"], folder)
        for document in cloud.store.list("endpoint")
        if document["EndpointStatus"] not in ("Creating", "Deleting", "Failed")
        and (folder := document["_plan"].get("Folder"))
    }
    for fleet in (cloud.state / "endpoints").glob("*/*/*"):
        for part in fleet.iterdir():
            if fleet not in kept or part.suffix != MODEL_SUFFIX:
                remove_tree(part)
        if fleet not in kept:
            remove_tree(fleet)


def recover(cloud: Cloud) -> None:
    """Restore every endpoint to the state in its document, or to the state before an interrupted update.

    Args:
        cloud: The cloud, which has just started; the servers are started in the background.
    """
    hosting = cloud.get_part(Hosting)
    for document in cloud.store.list("endpoint"):
        region, name = document["EndpointArn"].split(":")[3], document["EndpointName"]
        endpoint, plan, status = hosting.get_endpoint(region, name), document["_plan"], document["EndpointStatus"]
        if status == "Creating":
            endpoint.run_in_background(endpoint.create, plan)
        elif status == "Deleting":
            endpoint.run_in_background(endpoint.delete)
        elif status == "Updating":
            reason = "The local cloud was restarted during the update, which was rolled back."
            endpoint.run_in_background(endpoint.resume, plan, reason)
        elif status != "Failed":
            endpoint.run_in_background(endpoint.resume, plan)


def _to_event_status(status: str) -> str:
    """Return a status as events spell it: ``InService`` becomes ``IN_SERVICE``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", status).upper()


def _to_milliseconds(value: Any, key: str = "") -> Any:
    """Return the value with all times in milliseconds, as events have them."""
    if isinstance(value, dict):
        return {name: _to_milliseconds(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_to_milliseconds(item) for item in value]
    return int(value * 1000) if isinstance(value, float) and key.endswith("Time") else value
