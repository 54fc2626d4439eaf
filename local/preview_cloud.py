"""A cloud that creates nothing and answers programs in a preview, started with ``python -m local.preview_cloud``.

An update takes seconds and leaves a state as if everything had been created, against which another revision of the
program can be previewed. Resources get plausible ids and ARNs but do not exist; every model package group has one
approved package; an endpoint reports the configuration it was last given. The process exits when its standard input
ends, so that it never outlives the process that started it.
"""

from __future__ import annotations

import argparse
import hashlib
import json
import logging
import os
import re
import socket
import sys
import time
import uuid
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING, Any

from pulumi.runtime.proto import provider_pb2

from local.client import write_config
from local.core.clock import Clock
from local.core.context import Call, Cloud
from local.core.errors import AwsError, validation_error
from local.core.identity import ACCOUNT, PARTITION
from local.core.images import Images
from local.core.protocol import Response
from local.core.server import create_server
from local.core.signature import Scope
from local.core.store import Store
from local.credentials import ensure_credentials
from local.files import write_atomically
from local.gateway import Gateway
from local.provider import lifecycle
from local.provider.api import Api
from local.provider.resources import Resource
from local.provider.server import Provider, find_type, report_errors, serve
from local.provider.shapes import Kind
from local.provider.socket_path import remove_socket
from local.provider.values import UNKNOWN, Values, marshal, unmarshal
from local.services import operations
from local.services.moto.mount import MotoMount, MotoService

if TYPE_CHECKING:
    from wsgiref.types import WSGIEnvironment

#: The part of an ARN between account and name, where it is not the type's name in kebab case and a slash.
_KINDS = {
    "BucketObjectv2": "",
    "Bucket": "",
    "Dashboard": "dashboard/",
    "EndpointConfiguration": "endpoint-config/",
    "EventRule": "rule/",
    "LogGroup": "log-group:",
    "MetricAlarm": "alarm:",
    "CompositeAlarm": "alarm:",
    "Queue": "",
    "Topic": "",
    "TopicSubscription": "",
}
#: Values of outputs that are not strings.
_VALUES: Mapping[str, Any] = {"alarmArns": [], "attachmentCount": 0, "version": 1}


class Rehearsing(Provider):
    """A provider that creates nothing and returns plausible ids and states instead."""

    def __init__(self, api: Api) -> None:
        super().__init__(api, Path.cwd())
        self.endpoints: dict[str, str] = {}

    @report_errors
    def Create(self, request: Any, context: Any) -> Any:
        """Return a plausible id and state of a resource without creating it."""
        if request.preview:
            return super().Create(request, context)
        resource = find_type(request)
        inputs, secrets = unmarshal(request.properties)
        work = self._context(context, inputs)
        id, state = predict_state(resource, lifecycle.plan_outputs(resource, work, inputs), request.urn)
        if resource.token == "aws:sagemaker/endpoint:Endpoint":
            self.endpoints[state["name"]] = state["endpointConfigName"]
        return provider_pb2.CreateResponse(id=id, properties=marshal({**state, "id": id}, secrets | resource.secret))


def predict_state(resource: Resource, planned: Values, urn: str) -> tuple[str, Values]:
    """Return a plausible id and state of a resource, derived from its planned outputs.

    The result is deterministic, so a difference between two rehearsals is a difference between the programs.
    """
    digest = hashlib.sha256(urn.encode()).hexdigest()
    name = _name(resource, planned, urn)
    state = dict(planned)
    for output in [output for output, value in planned.items() if value is UNKNOWN]:
        declared = resource.properties.get(output)
        if declared is not None and declared.kind is not Kind.STRING:
            # The service would fill it in; it is not compared if the program omits it.
            del state[output]
        else:
            state[output] = _output(resource, output, name, planned.get("region", ""), digest)
    return resource.build_id(state), state


def _name(resource: Resource, planned: Values, urn: str) -> str:
    """Return the resource's own name if it has one, else the name in its URN."""
    named = [resource.auto_name[0]] if resource.auto_name else []
    candidates = (planned.get(each) for each in [*named, "name", *resource.list_id_names()])
    return next((each for each in candidates if isinstance(each, str)), urn.rpartition("::")[2])


def _output(resource: Resource, output: str, name: str, region: str, digest: str) -> Any:
    kind = resource.token.rpartition(":")[2]
    if output in _VALUES:
        return _VALUES[output]
    if output.lower().endswith("arn"):
        if kind == "Key":
            name = str(uuid.UUID(digest[:32]))
        elif kind == "Schedule":
            name = f"default/{name}"
        if kind == "Alias" or resource.service == "s3":
            place, path = ("::" if resource.service == "s3" else f":{region}:{ACCOUNT}"), name
        else:
            between = _KINDS.get(kind, re.sub(r"(?<!^)(?=[A-Z])", "-", kind).lower() + "/")
            place, path = f":{region}:{ACCOUNT}", between + name.lstrip("/")
        return f"arn:{PARTITION}:{resource.service}{place}:{path}"
    if output == "keyId":
        return str(uuid.UUID(digest[:32]))
    if output.lower().endswith("url"):
        return f"https://{resource.service}.{region}.amazonaws.com/{ACCOUNT}/{name}"
    return digest[:20]


# -- requests of a program that do not go to its provider --------------------------------------------------------------


def _list_model_packages(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return one approved package for a group; which one serves does not depend on a program's revision."""
    group = params.get("ModelPackageGroupName")
    if group is None or params.get("ModelApprovalStatus", "Approved") != "Approved":
        return {"ModelPackageSummaryList": []}
    package = {
        "ModelPackageGroupName": group,
        "ModelPackageVersion": 1,
        "ModelPackageArn": f"arn:{PARTITION}:sagemaker:{call.region}:{ACCOUNT}:model-package/{group}/1",
        "CreationTime": datetime(2000, 1, 1, tzinfo=UTC),
        "ModelPackageStatus": "Completed",
        "ModelApprovalStatus": "Approved",
    }
    return {"ModelPackageSummaryList": [package]}


def _describe_endpoint(provider: Rehearsing, call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Return an endpoint in service with the configuration it was last given."""
    name = params["EndpointName"]
    arn = f"arn:{PARTITION}:sagemaker:{call.region}:{ACCOUNT}:endpoint/{name}"
    if name not in provider.endpoints:
        raise validation_error(f'Could not find endpoint "{arn}".')
    now = datetime(2000, 1, 1, tzinfo=UTC)
    return {
        "EndpointName": name,
        "EndpointArn": arn,
        "EndpointConfigName": provider.endpoints[name],
        "EndpointStatus": "InService",
        "CreationTime": now,
        "LastModifiedTime": now,
    }


class _Door(Gateway):
    """The cloud's gateway, which also answers a program's lookups of other stacks' resources."""

    def _other(self, service: MotoService, scope: Scope, environ: WSGIEnvironment, wire: str) -> Response:
        asked = (service.model, str(environ.get("HTTP_X_AMZ_TARGET", "")).rpartition(".")[2])
        if asked == ("ssm", "GetParameter"):
            # No parameter exists here: nothing was paused or configured.
            raise AwsError("ParameterNotFound", "Nothing is set while a program is only looked at.")
        if asked == ("kms", "DescribeKey"):
            params = json.loads(environ["wsgi.input"].read(int(environ["CONTENT_LENGTH"])))
            return _described_key(scope.region, params["KeyId"])
        return super()._other(service, scope, environ, wire)


def _described_key(region: str, name: str) -> Response:
    """Describe any key as existing: a program may use a key of another stack, such as its platform's."""
    key = name.rpartition(":key/")[2] if ":key/" in name else str(uuid.uuid5(uuid.NAMESPACE_URL, name))
    metadata = {"KeyId": key, "Arn": f"arn:{PARTITION}:kms:{region}:{ACCOUNT}:key/{key}", "Enabled": True}
    return Response(200, {"Content-Type": "application/x-amz-json-1.1"}, json.dumps({"KeyMetadata": metadata}).encode())


# -- the process -------------------------------------------------------------------------------------------------------


def main(arguments: Sequence[str] | None = None) -> None:
    """Serve requests until standard input ends, then exit the process.

    Args:
        arguments: The command line without the program's name; None for that of this process.
    """
    parser = argparse.ArgumentParser(
        prog="python -m local.preview_cloud", description=(__doc__ or "").partition("\n\n")[0]
    )
    parser.add_argument("--state", type=Path, required=True, help="a folder of its own")
    state: Path = parser.parse_args(arguments).state
    os.umask(0o077)
    ensure_credentials(state)
    write_config(state)
    logging.basicConfig(filename=state / "rehearsal.log", level=logging.WARNING)
    listening = socket.create_server(("127.0.0.1", 0))
    url = f"http://127.0.0.1:{listening.getsockname()[1]}"
    cloud = Cloud(state, url, Store(state / "sagemaker.sqlite"), Clock(1.0), Images({}))
    provider = Rehearsing(Api(url, cloud.keys.issue("pulumi").to_boto3_arguments()))
    tables = operations.list_operations()
    tables["sagemaker"] |= {
        "ListModelPackages": _list_model_packages,
        "DescribeEndpoint": lambda call, params: _describe_endpoint(provider, call, params),
    }
    served = serve(provider, state)
    facts = {
        "pid": os.getpid(),
        "port": listening.getsockname()[1],
        "endpoint_url": url,
        "provider_socket": str(served.socket),
        "scale": 1.0,
        "images": {},
        "started": time.time(),
    }
    gateway = _Door(cloud, MotoMount(cloud.stopping, cloud.keys, cloud.events), tables)
    cloud.spawn("http", create_server(gateway, listening).run)
    write_atomically(state / "daemon.json", json.dumps(facts, indent=2).encode())
    sys.stdin.buffer.read()
    # Nothing has to be saved or waited for.
    served.server.stop(grace=None)
    remove_socket(served.socket)
    os._exit(0)


if __name__ == "__main__":
    main()
