"""An AWS account in memory, for tests of code that asks an account: no network, no process, no credentials.

Requests are made with real clients of boto3, so that botocore checks each parameter, and each answer is checked against
botocore's model of it. A request that the account does not answer fails by name.

Example:
    account = FakeAccount()
    account.add_package("flights-dev", "Approved")
    assert find_newest_package(account.client("sagemaker"), "flights-dev", "Approved")
"""

from __future__ import annotations

import functools
import itertools
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from datetime import UTC, datetime, timedelta
from types import SimpleNamespace
from typing import Any

from millrace.errors import MillraceError

#: Takes the parameters of a request and returns its answer.
Handler = Callable[[Mapping[str, Any]], dict[str, Any]]

_BEGIN = datetime(2030, 1, 1, tzinfo=UTC)
_IMAGE = "123456789012.dkr.ecr.eu-west-1.amazonaws.com/millrace:1"


class RefusedRequestError(MillraceError):
    """A request that the account refuses; the client raises it as a ClientError.

    Args:
        code: AWS's error code.
        message: AWS's message.
    """

    def __init__(self, code: str, message: str) -> None:
        super().__init__(f"{code}:", message)
        self.code, self.message = code, message


@dataclass
class FakeAccount:
    """An account with a model registry, endpoints, pipelines and parameters.

    Attributes:
        account: The account's number.
        region: The region of all clients.
        requests: Every request so far: service, operation and parameters.
    """

    account: str = "123456789012"
    region: str = "eu-west-1"
    requests: list[tuple[str, str, dict[str, Any]]] = field(default_factory=list)
    _packages: dict[str, dict[str, Any]] = field(default_factory=dict)
    _groups: set[str] = field(default_factory=set)
    _endpoints: dict[str, dict[str, Any]] = field(default_factory=dict)
    _configs: dict[str, dict[str, Any]] = field(default_factory=dict)
    _models: dict[str, dict[str, Any]] = field(default_factory=dict)
    _executions: dict[str, list[dict[str, Any]]] = field(default_factory=dict)
    _parameters: dict[str, str] = field(default_factory=dict)
    _handlers: dict[tuple[str, str], Handler] = field(default_factory=dict)
    _clients: dict[str, Any] = field(default_factory=dict)
    _numbers: Any = field(default_factory=itertools.count)

    def client(self, service: str) -> Any:
        """Return the boto3 client of a service; the same one at each call.

        Args:
            service: boto3's name of the service.
        """
        if service not in self._clients:
            made = _get_session().client(
                service, region_name=self.region, aws_access_key_id="fake", aws_secret_access_key="fake"
            )
            made.meta.events.register("before-parameter-build", _keep_parameters)
            made.meta.events.register("before-call", functools.partial(self._answer, service))
            self._clients[service] = made
        return self._clients[service]

    def answer(self, service: str, operation: str, handler: Handler) -> None:
        """Answer an operation by a function, instead of the account's own answer if it has one.

        Args:
            service: boto3's name of the service.
            operation: The operation, e.g. `DescribeEndpoint`.
            handler: Takes the parameters and returns the answer, or raises :class:`RefusedRequestError`.
        """
        self._handlers[service, operation] = handler

    # -- what the account holds --------------------------------------------------------------------------------------

    def add_group(self, name: str) -> None:
        """Add a model package group."""
        self._groups.add(name)

    def add_package(self, group: str, approval: str, **members: Any) -> str:
        """Add the next version of a group, and the group if it does not exist; return the ARN.

        Args:
            group: The model package group.
            approval: The approval status.
            members: Further members of DescribeModelPackage, such as `CustomerMetadataProperties`.
        """
        self.add_group(group)
        version = 1 + max((each["ModelPackageVersion"] for each in self._list_packages(group)), default=0)
        arn = self._make_arn("model-package", f"{group}/{version}")
        self._packages[arn] = {
            "ModelPackageName": group,
            "ModelPackageGroupName": group,
            "ModelPackageVersion": version,
            "ModelPackageArn": arn,
            "CreationTime": self._tick(),
            "ModelPackageStatus": "Completed",
            "ModelPackageStatusDetails": {"ValidationStatuses": []},
            "ModelApprovalStatus": approval,
            "InferenceSpecification": {"Containers": [{"Image": _IMAGE, "ModelDataUrl": f"s3://models/{version}"}]},
            **members,
        }
        return arn

    def delete_package(self, arn: str) -> None:
        """Delete a package."""
        del self._packages[arn]

    def serve(self, endpoint: str, package: str, *, status: str = "InService") -> None:
        """Let an endpoint run a package: with a new configuration and a new model.

        Args:
            endpoint: The endpoint's name.
            package: The package's ARN.
            status: The endpoint's status.
        """
        number = next(self._numbers)
        model, config, now = f"{endpoint}-model-{number}", f"{endpoint}-config-{number}", self._tick()
        self._models[model] = {
            "ModelName": model,
            "ModelArn": self._make_arn("model", model),
            "CreationTime": now,
            "PrimaryContainer": {"ModelPackageName": package},
        }
        variant = {"VariantName": "AllTraffic", "ModelName": model, "InstanceType": "ml.m5.large"}
        self._configs[config] = {
            "EndpointConfigName": config,
            "EndpointConfigArn": self._make_arn("endpoint-config", config),
            "ProductionVariants": [{**variant, "InitialInstanceCount": 1}],
            "CreationTime": now,
        }
        created = self._endpoints.get(endpoint, {}).get("CreationTime", now)
        self._endpoints[endpoint] = {
            "EndpointName": endpoint,
            "EndpointArn": self._make_arn("endpoint", endpoint),
            "EndpointConfigName": config,
            "EndpointStatus": status,
            "CreationTime": created,
            "LastModifiedTime": now,
        }

    def set_endpoint_status(self, endpoint: str, status: str) -> None:
        """Set the status of an endpoint."""
        self._endpoints[endpoint]["EndpointStatus"] = status

    def add_execution(self, pipeline: str, status: str) -> str:
        """Add an execution to a pipeline, and the pipeline if it does not exist; return the ARN."""
        arn = self._make_arn("pipeline", f"{pipeline}/execution/{next(self._numbers):012}")
        summary = {"PipelineExecutionArn": arn, "StartTime": self._tick(), "PipelineExecutionStatus": status}
        self._executions.setdefault(pipeline, []).append(summary)
        return arn

    def add_parameter(self, name: str, value: str) -> None:
        """Set an SSM parameter."""
        self._parameters[name] = value

    # -- answers -----------------------------------------------------------------------------------------------------

    def _answer(self, service: str, model: Any, context: dict[str, Any], **_more: Any) -> tuple[Any, dict[str, Any]]:
        from botocore.validate import validate_parameters

        params = context["fake_parameters"]
        self.requests.append((service, model.name, params))
        own = getattr(self, f"_{service.replace('-', '_')}_{model.name}", None)
        handler = self._handlers.get((service, model.name), own)
        if handler is None:
            raise NotImplementedError(
                f"FakeAccount does not answer {service} {model.name}; add a handler with answer()"
            )
        try:
            answer = handler(params)
        except RefusedRequestError as error:
            refused = {"Error": {"Code": error.code, "Message": error.message}, "ResponseMetadata": {}}
            return SimpleNamespace(status_code=400), refused
        if model.output_shape is not None:
            validate_parameters(answer, model.output_shape)
        return SimpleNamespace(status_code=200), {**answer, "ResponseMetadata": {"HTTPStatusCode": 200}}

    def _make_arn(self, kind: str, name: str) -> str:
        return f"arn:aws:sagemaker:{self.region}:{self.account}:{kind}/{name}"

    def _tick(self) -> datetime:
        """Return a time that is a second after the last one."""
        return _BEGIN + timedelta(seconds=next(self._numbers))

    def _list_packages(self, group: str) -> list[dict[str, Any]]:
        found = [each for each in self._packages.values() if each["ModelPackageGroupName"] == group]
        return sorted(found, key=lambda each: each["ModelPackageVersion"], reverse=True)

    def _sts_GetCallerIdentity(self, _params: Mapping[str, Any]) -> dict[str, Any]:
        return {"Account": self.account, "UserId": "fake", "Arn": f"arn:aws:iam::{self.account}:user/fake"}

    def _sagemaker_ListModelPackages(self, params: Mapping[str, Any]) -> dict[str, Any]:
        group = params.get("ModelPackageGroupName", "")
        if group not in self._groups:
            raise RefusedRequestError("ValidationException", f"ModelPackageGroup {group} does not exist.")
        wanted = params.get("ModelApprovalStatus")
        members = (
            "ModelPackageName", "ModelPackageGroupName", "ModelPackageVersion", "ModelPackageArn", "CreationTime",
            "ModelPackageStatus", "ModelApprovalStatus",
        )  # fmt: skip
        found = [each for each in self._list_packages(group) if wanted in (None, each["ModelApprovalStatus"])]
        return {"ModelPackageSummaryList": [{name: each[name] for name in members} for each in found]}

    def _sagemaker_DescribeModelPackage(self, params: Mapping[str, Any]) -> dict[str, Any]:
        arn = params["ModelPackageName"]
        if arn not in self._packages:
            raise RefusedRequestError("ValidationException", f"ModelPackage {arn} does not exist.")
        return self._packages[arn]

    def _sagemaker_UpdateModelPackage(self, params: Mapping[str, Any]) -> dict[str, Any]:
        package = self._sagemaker_DescribeModelPackage({"ModelPackageName": params["ModelPackageArn"]})
        package.update({name: value for name, value in params.items() if name != "ModelPackageArn"})
        package["LastModifiedTime"] = self._tick()
        return {"ModelPackageArn": params["ModelPackageArn"]}

    def _sagemaker_DescribeEndpoint(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return _find(self._endpoints, "endpoint", params["EndpointName"])

    def _sagemaker_DescribeEndpointConfig(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return _find(self._configs, "endpoint configuration", params["EndpointConfigName"])

    def _sagemaker_DescribeModel(self, params: Mapping[str, Any]) -> dict[str, Any]:
        return _find(self._models, "model", params["ModelName"])

    def _sagemaker_ListPipelineExecutions(self, params: Mapping[str, Any]) -> dict[str, Any]:
        name = params["PipelineName"]
        if name not in self._executions:
            raise RefusedRequestError("ResourceNotFound", f"Pipeline '{name}' does not exist.")
        first, most = int(params.get("NextToken", "0")), params.get("MaxResults", 100)
        found = self._executions[name][::-1]
        more = {"NextToken": str(first + most)} if len(found) > first + most else {}
        return {"PipelineExecutionSummaries": found[first : first + most], **more}

    def _ssm_GetParameter(self, params: Mapping[str, Any]) -> dict[str, Any]:
        if params["Name"] not in self._parameters:
            raise RefusedRequestError("ParameterNotFound", f"Parameter {params['Name']} not found.")
        return {"Parameter": {"Name": params["Name"], "Value": self._parameters[params["Name"]], "Type": "String"}}

    def _ssm_PutParameter(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._parameters[params["Name"]] = params["Value"]
        return {"Version": 1}

    def _ssm_DeleteParameter(self, params: Mapping[str, Any]) -> dict[str, Any]:
        self._ssm_GetParameter(params)
        del self._parameters[params["Name"]]
        return {}


@functools.cache
def _get_session() -> Any:
    """Return the session of all accounts, which has loaded each service's model once."""
    import boto3

    return boto3.session.Session()


def _find(known: Mapping[str, dict[str, Any]], what: str, name: str) -> dict[str, Any]:
    if name not in known:
        raise RefusedRequestError("ValidationException", f'Could not find {what} "{name}".')
    return known[name]


def _keep_parameters(params: dict[str, Any], context: dict[str, Any], **_more: Any) -> None:
    """Keep the parameters of a request as the caller gave them."""
    context["fake_parameters"] = dict(params)
