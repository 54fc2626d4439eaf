"""The endpoints of a cloud while it runs: their servers, and the work that changes their state.

The document of an endpoint is what ``DescribeEndpoint`` answers, plus ``_plan``: what serves, or served last.
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
from local.core.store import Document, public
from local.services.sagemaker.hosting.capture import Capture
from local.services.sagemaker.hosting.deployment import Deployment, GoingDownError, RollBackError
from local.services.sagemaker.hosting.fleet import Fleet, Plan
from local.services.sagemaker.hosting.model_data import MODEL_SUFFIX, models_folder, remove_tree
from local.services.sagemaker.hosting.router import Route, Router

if TYPE_CHECKING:
    from local.core.context import Cloud

log = logging.getLogger(__name__)

#: Seconds that model servers get to end when the cloud itself goes down.
SHUTDOWN_GRACE = 2.0


class Hosting:
    """All endpoints of one cloud; ``cloud.part(Hosting)``."""

    def __init__(self, cloud: Cloud) -> None:
        self._cloud = cloud
        self._lock = threading.Lock()
        self._stopped = False
        self._endpoints: dict[tuple[str, str], HostedEndpoint] = {}
        _tidy(cloud)
        cloud.spawn("hosting", self._await_stop)

    def endpoint(self, region: str, name: str) -> HostedEndpoint:
        """The endpoint, made on first use."""
        with self._lock:
            key = (region, name)
            if key not in self._endpoints:
                self._endpoints[key] = HostedEndpoint(self._cloud, region, name)
            return self._endpoints[key]

    def forget(self, region: str, name: str) -> None:
        """It is deleted."""
        with self._lock:
            self._endpoints.pop((region, name), None)

    def stop(self) -> None:
        """End all model servers and write what was captured; the cloud must still answer."""
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
    """One endpoint's servers and router; what changes it runs in a thread by :meth:`start`, one at a time."""

    def __init__(self, cloud: Cloud, region: str, name: str) -> None:
        self.cloud = cloud
        self.region = region
        self.name = name
        self.router = Router(cloud, region, name)

    def start(self, work: Callable[..., None], *args: object) -> None:
        """Run one of this endpoint's methods in the background, until it is done or the cloud goes down."""

        def run() -> None:
            try:
                work(*args)
            except GoingDownError:
                log.info("endpoint %s: interrupted by the end of the cloud", self.name)

        self.cloud.spawn(f"{work.__name__}-{self.name}", run)

    def create(self, plan: Plan) -> None:
        """Creating → InService or Failed."""
        self._announce()
        fleet = self.router.fleet(plan)
        # Without a share of the traffic, but known to whoever ends everything.
        self.router.set(Route(fleet, 0.0))
        fleet.resize()
        if reason := self._await(fleet):
            self.router.set()
            fleet.stop()
            self._save(lambda doc: doc.update(EndpointStatus="Failed", FailureReason=reason))
        else:
            self.router.set(Route(fleet, 1.0, self._capture(plan)))
            self._serve(plan, None)
        self._announce()

    def resume(self, plan: Plan, reason: str | None = None) -> None:
        """Serve again after a restart of the cloud, rolled back for ``reason``; requests wait for the servers."""
        fleet = self.router.fleet(plan)
        self._save(lambda doc: doc["_plan"].update(Folder=plan["Folder"]))
        fleet.persistent = True
        self.router.set(Route(fleet, 1.0, self._capture(plan)))
        fleet.resize()
        if reason is not None:
            self._serve(plan, reason)
            self._announce()
        if failure := self._await(fleet):
            log.error("endpoint %s cannot serve since the restart: %s", self.name, failure)
            self._save(lambda doc: doc.update(FailureReason=failure))
            self._await_return(fleet, failure)

    def _await_return(self, fleet: Fleet, failure: str) -> None:
        """Take the reason back as soon as the fleet serves, unless another one took its place."""
        while any(route.fleet is fleet for route in self.router.routes):
            if fleet.failure() is None and fleet.wait():
                log.info("endpoint %s serves again", self.name)
                self._save(lambda doc: doc.pop("FailureReason") if doc.get("FailureReason") == failure else None)
                return
            if self.cloud.stopping.wait(0.5):
                raise GoingDownError

    def update(self, plan: Plan, config: dict[str, Any]) -> None:
        """Updating → InService on the new configuration, or on the old one after a roll-back."""
        self._announce()
        blue = self._route()
        green = Route(self.router.fleet(plan), 0.0, self._capture(plan))
        begun = time.time()

        def shift(share: float) -> None:
            self.router.set(Route(blue.fleet, 1 - share, blue.capture), Route(green.fleet, share, green.capture))

        def report(status: str, message: str, share: float, active: int) -> None:
            summary = _pending(plan, begun, status, message, share, active)
            self._save(lambda doc: doc.update(PendingDeploymentSummary=summary))
            self._announce("SageMaker Endpoint Deployment State Change")

        total = sum(variant["Count"] for variant in plan["Variants"])
        # Without a share of the traffic, but known to whoever ends everything.
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
            # The endpoint must not stay between two configurations, whatever we have not thought of.
            log.exception("deployment of endpoint %s", self.name)
            reason = f"InternalServerError: {error}"
        if reason is not None:
            deployment.roll_back()
        kept, gone = (green, blue) if reason is None else (blue, green)
        self.router.set(Route(kept.fleet, 1.0, kept.capture))
        if gone.fleet.count():
            report("Deleting", f"Terminating {gone.fleet.count()} instance(s).", 1.0 if reason is None else 0.0, total)
        self._end(gone)
        self._serve(plan if reason is None else None, reason)
        self._announce()

    def scale(self, weights: dict[str, float], counts: dict[str, int]) -> None:
        """New weights and instance counts on the same fleet: Updating → InService, or as it was."""
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
        """Deleting → gone."""
        self._announce()
        routes = self.router.routes
        self.router.set()
        for route in routes:
            self._end(route)
        arn = self._document()["EndpointArn"]
        with self.cloud.store.transaction():
            self.cloud.store.delete("endpoint", self.region, self.name)
            self.cloud.store.delete("tags", self.region, arn)
        self.cloud.part(Hosting).forget(self.region, self.name)

    def shut_down(self) -> None:
        """End everything quickly; the state stays."""
        for route in self.router.routes:
            if route.capture is not None:
                route.capture.close()
            route.fleet.stop(SHUTDOWN_GRACE, keep=True)

    def _route(self) -> Route:
        """The one fleet that serves; just after a restart it is not there for a moment."""
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
        """Wait until the fleet is ready; why it will not be, or None."""
        while not fleet.wait():
            if self.cloud.stopping.is_set():
                raise GoingDownError
            if (reason := fleet.failure()) is not None:
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
        """InService with what ``plan`` says, or with what the document says already."""

        def change(document: Document) -> None:
            document.pop("PendingDeploymentSummary", None)
            document.pop("FailureReason", None)
            document["EndpointStatus"] = "InService"
            if reason is not None:
                document["FailureReason"] = reason
            show(document, plan or document["_plan"])

        self._save(change)

    def _announce(self, detail_type: str = "SageMaker Endpoint State Change") -> None:
        document = self._document()
        tags = self.cloud.store.get("tags", self.region, document["EndpointArn"]) or {}
        members = {**public(document), "EndpointStatus": _upper(document["EndpointStatus"]), "Tags": tags}
        self.cloud.events.emit(
            detail_type=detail_type,
            resources=[document["EndpointArn"]],
            detail=_in_milliseconds(members),
            region=self.region,
        )


def _pending(plan: Plan, begun: float, status: str, message: str, share: float, active: int) -> dict[str, Any]:
    """A ``PendingDeploymentSummary``: ``active`` of the new servers take ``share`` of the traffic."""
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


def show(document: Document, plan: Plan) -> None:
    """Write into an endpoint's document what serves."""
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


def _tidy(cloud: Cloud) -> None:
    """Remove what the last run left, but for the unpacked models of endpoints that will serve again.

    As on AWS an endpoint then needs neither its model nor the archive any more.
    """
    kept = {
        models_folder(cloud, document["EndpointArn"].split(":")[3], document["EndpointName"], folder)
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
    """Bring every endpoint to where its document says, or to where it was before the interrupted change."""
    hosting = cloud.part(Hosting)
    for document in cloud.store.list("endpoint"):
        region, name = document["EndpointArn"].split(":")[3], document["EndpointName"]
        endpoint, plan, status = hosting.endpoint(region, name), document["_plan"], document["EndpointStatus"]
        if status == "Creating":
            endpoint.start(endpoint.create, plan)
        elif status == "Deleting":
            endpoint.start(endpoint.delete)
        elif status == "Updating":
            reason = "The local cloud was restarted during the update, which was rolled back."
            endpoint.start(endpoint.resume, plan, reason)
        elif status != "Failed":
            endpoint.start(endpoint.resume, plan)


def _upper(status: str) -> str:
    """``InService`` as events spell it: ``IN_SERVICE``."""
    return re.sub(r"(?<!^)(?=[A-Z])", "_", status).upper()


def _in_milliseconds(value: Any, key: str = "") -> Any:
    """Times as events have them."""
    if isinstance(value, dict):
        return {name: _in_milliseconds(item, name) for name, item in value.items()}
    if isinstance(value, list):
        return [_in_milliseconds(item) for item in value]
    return int(value * 1000) if isinstance(value, float) and key.endswith("Time") else value
