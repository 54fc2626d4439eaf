"""Delivery to one target: a SageMaker pipeline, a CodeBuild project, an SNS topic, an SQS queue or a log group.

This module decides what is sent and with whose permission. Other targets, and members of a target that this cloud does
not support, are refused by name: when they are put, and again when something is delivered.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, Any

from botocore.exceptions import ClientError, ParamValidationError

from local.core.event_bus import format_timestamp
from local.core.identity import ACCOUNT
from local.errors import LocalError
from local.services.eventbridge import access, templates

if TYPE_CHECKING:
    from local.core.context import Cloud

Document = Mapping[str, Any]

_HONOURED = {
    "Id", "Arn", "RoleArn", "Input", "InputPath", "InputTransformer", "SageMakerPipelineParameters", "SqsParameters",
    "RetryPolicy", "DeadLetterConfig",
}  # fmt: skip
_THROTTLED = frozenset({"Throttling", "ThrottlingException", "TooManyRequestsException", "RequestLimitExceeded"})
#: Targets that are started with a role of the target.
_WITH_A_ROLE = frozenset({("sagemaker", "pipeline"), ("codebuild", "project")})
_ARN = re.compile(r"arn:aws[a-z-]*:(?P<service>[a-z0-9-]+):(?P<region>[a-z0-9-]*):(?P<account>\d*):\S+")
_GONE = ("NotFound", "NonExistent", "DoesNotExist")


class DeliveryError(LocalError):
    """A failed delivery.

    Attributes:
        code: The error code in dead-letter messages.
        passing: Whether a retry may succeed.
    """

    def __init__(self, code: str, message: str, *, passing: bool = False) -> None:
        super().__init__(message)
        self.code = code
        self.passing = passing


def check(target: Document) -> None:
    """Refuse a target that nothing can ever be delivered to.

    Args:
        target: A target in the form of ``PutTargets`` and ``CreateSchedule``.

    Raises:
        DeliveryError: The target is not valid or not available here; the message says why.
    """
    _check_arn(target["Arn"])
    if _kind(target["Arn"]) not in _SENDERS:
        raise DeliveryError(
            "INVALID_PARAMETER",
            f"Target {target['Arn']} is not available in the local cloud; available: pipelines of SageMaker, "
            "projects of CodeBuild, SNS topics, SQS queues, CloudWatch log groups.",
        )
    if _kind(target["Arn"]) in _WITH_A_ROLE and not target.get("RoleArn"):
        raise DeliveryError("INVALID_PARAMETER", f"RoleArn is required for target {target['Arn']}.")
    if others := sorted(set(target) - _HONOURED):
        message = f"{', '.join(others)} of a target is not available in the local cloud."
        raise DeliveryError("INVALID_PARAMETER", message)
    given = [name for name in ("Input", "InputPath", "InputTransformer") if name in target]
    if len(given) > 1:
        message = (
            f"Only one of Input, InputPath, or InputTransformer must be provided for target {target.get('Id', '')}."
        )
        raise DeliveryError("INVALID_PARAMETER", message)
    if "Id" in target and "Input" in target and not _is_json(target["Input"]):
        message = f"JSON syntax error in input for target {target['Id']}: {str(target['Input'])[:80]!r}"
        raise DeliveryError("INVALID_PARAMETER", message)
    if dead := target.get("DeadLetterConfig", {}).get("Arn"):
        _check_arn(dead)
        if _kind(dead) != ("sqs", ""):
            raise DeliveryError("INVALID_PARAMETER", f"DeadLetterConfig: {dead} is not the ARN of an SQS queue.")
    try:
        if "InputPath" in target:
            templates.check_path(target["InputPath"])
        if "InputTransformer" in target:
            templates.check(target["InputTransformer"])
    except templates.TemplateError as error:
        raise DeliveryError("INVALID_PARAMETER", str(error)) from error


def _is_json(text: str) -> bool:
    try:
        json.loads(text)
    except (ValueError, RecursionError):
        return False
    return True


def _check_arn(arn: str) -> None:
    found = _ARN.fullmatch(arn)
    if found is None:
        raise DeliveryError(
            "INVALID_PARAMETER",
            f"Parameter {arn} is not valid. Reason: Provided Arn is not in correct format, "
            f"such as arn:aws:sqs:eu-west-1:{ACCOUNT}:orders.",
        )
    if _kind(arn) in _SENDERS and (found["account"] != ACCOUNT or not found["region"]):
        raise DeliveryError(
            "INVALID_PARAMETER", f"Target {arn} is not in the local cloud, which has the account {ACCOUNT} alone."
        )


def send(cloud: Cloud, delivery: Document) -> None:
    """Attempt one delivery, as queued by :meth:`local.core.event_bus.EventBus.deliver`.

    Raises:
        DeliveryError: The delivery failed.
    """
    target = delivery["target"]
    check(target)
    try:
        _SENDERS[_kind(target["Arn"])](cloud, delivery)
    except access.AccessError as error:
        raise DeliveryError(error.code, str(error)) from error
    except ClientError as error:
        raise _failed(error) from error


def send_to_dead_letter_queue(cloud: Cloud, delivery: Document, error: DeliveryError) -> None:
    """Send a failed delivery to the target's dead-letter queue, with attributes that describe the failure.

    Raises:
        AccessError: The queue's policy, or the schedule's role, does not allow it.
        ClientError: The queue does not exist.
    """
    target = delivery["target"]
    queue = target["DeadLetterConfig"]["Arn"]
    sqs = cloud.client("sqs", queue.split(":")[3])
    url = sqs.get_queue_url(QueueName=queue.rpartition(":")[2])["QueueUrl"]
    _require(cloud, delivery, "sqs:SendMessage", queue, _queue_policy(sqs, url))
    scheduled = delivery["principal"] == "scheduler.amazonaws.com"
    attributes = {
        "SCHEDULE_ARN" if scheduled else "RULE_ARN": delivery["sender"],
        "TARGET_ARN": target["Arn"],
        "ERROR_CODE": error.code,
        "ERROR_MESSAGE": str(error),
        "RETRY_ATTEMPTS": str(max(0, delivery["attempts"] - 1)),
    }
    sqs.send_message(
        QueueUrl=url,
        MessageBody=_message({**delivery, "target": {}}),
        MessageAttributes={key: {"DataType": "String", "StringValue": value} for key, value in attributes.items()},
    )


def _kind(arn: str) -> tuple[str, str]:
    """Return the service and resource type of an ARN; the type is empty if the resource is only a name."""
    service, resource = arn.split(":")[2], arn.split(":", 5)[-1]
    parts = re.split(r"[:/]", resource)
    return service, parts[0] if len(parts) > 1 else ""


def _failed(error: ClientError) -> DeliveryError:
    code = str(error.response["Error"]["Code"])
    status = int(error.response["ResponseMetadata"]["HTTPStatusCode"])
    if code in _THROTTLED or status == 429:
        return DeliveryError("THROTTLING", str(error), passing=True)
    if status >= 500:
        return DeliveryError("INTERNAL_ERROR", str(error), passing=status != 501)
    if any(word in code for word in _GONE):
        return DeliveryError("NO_RESOURCE", str(error))
    return DeliveryError("SDK_CLIENT_ERROR", str(error))


# -- messages --------------------------------------------------------------------------------------------------------


def _message(delivery: Document) -> str:
    """Return the text for a target that takes one: the event, or the result of the input options of the target."""
    target, payload = delivery["target"], delivery["payload"]
    if "Input" in target:
        return str(target["Input"])
    if "InputPath" in target:
        payload = resolve(target["InputPath"], payload)
    elif transformer := target.get("InputTransformer"):
        return templates.fill_template(
            transformer, payload, rule=delivery["sender"], received=format_timestamp(delivery["created"])
        )
    return payload if isinstance(payload, str) else json.dumps(payload)


def resolve(path: str, event: Any) -> Any:
    """Return the value at a JSON path of an event.

    Args:
        path: The path, such as ``$.detail.items[0]``.
        event: The event, or another value of JSON.

    Raises:
        DeliveryError: The path is not valid, or the event has nothing there.
    """
    try:
        return templates.resolve(path, event)
    except (templates.TemplateError, templates.AbsentError) as error:
        raise DeliveryError("INVALID_PARAMETER", str(error)) from error


# -- destinations ----------------------------------------------------------------------------------------------------


def _require_role(cloud: Cloud, delivery: Document, action: str, resource: str) -> None:
    role = delivery["target"].get("RoleArn")
    if not role:
        raise DeliveryError("FAILED_TO_ASSUME_ROLE", f"The target {delivery['target']['Arn']} needs a RoleArn.")
    principal, sender = delivery["principal"], delivery["sender"]
    if principal == "scheduler.amazonaws.com":
        # The trust policy of a schedule's role sees the schedule's group as the source.
        sender = sender.replace(":schedule/", ":schedule-group/").rpartition("/")[0]
    access.require_role(cloud, role, principal=principal, sender=sender, action=action, resource=resource)


def _require(cloud: Cloud, delivery: Document, action: str, resource: str, policies: list[Document]) -> None:
    """Check that a delivery is allowed.

    Schedules act with their role; rules and alarms need the policy of the resource that they send to.
    """
    if delivery["principal"] == "scheduler.amazonaws.com":
        _require_role(cloud, delivery, action, resource)
        return
    access.require_policy(
        policies, principal=delivery["principal"], sender=delivery["sender"], action=action, resource=resource
    )


def _queue_policy(sqs: Any, url: str) -> list[Document]:
    policy = sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["Policy"]).get("Attributes", {}).get("Policy")
    return [json.loads(policy)] if policy else []


def _to_pipeline(cloud: Cloud, delivery: Document) -> None:
    target, arn = delivery["target"], delivery["target"]["Arn"]
    _require_role(cloud, delivery, "sagemaker:StartPipelineExecution", arn)
    given = target.get("SageMakerPipelineParameters", {}).get("PipelineParameterList", [])
    parameters = []
    for parameter in given:
        value = parameter["Value"]
        if value.startswith("$.") and delivery["principal"] == "events.amazonaws.com":
            value = resolve(value, delivery["payload"])
        parameters.append({"Name": parameter["Name"], "Value": value if isinstance(value, str) else json.dumps(value)})
    cloud.client("sagemaker", arn.split(":")[3]).start_pipeline_execution(
        PipelineName=arn, PipelineParameters=parameters, ClientRequestToken=delivery["id"]
    )


def _to_project(cloud: Cloud, delivery: Document) -> None:
    """Start a build; what the target's input options make of the event are parameters of StartBuild."""
    target, arn = delivery["target"], delivery["target"]["Arn"]
    _require_role(cloud, delivery, "codebuild:StartBuild", arn)
    given: Any = {}
    if "Input" in target or "InputTransformer" in target:
        try:
            given = json.loads(_message(delivery))
        except ValueError as error:
            raise DeliveryError("INVALID_JSON", f"the input of target {arn} is not JSON: {error}") from error
        if not isinstance(given, dict):
            raise DeliveryError("INVALID_PARAMETER", f"the input of target {arn} is not an object of StartBuild")
    name = arn.rpartition(":project/")[2]
    try:
        cloud.client("codebuild", arn.split(":")[3]).start_build(
            **{"idempotencyToken": delivery["id"], **given, "projectName": name}
        )
    except ParamValidationError as error:
        raise DeliveryError("INVALID_PARAMETER", str(error)) from error


def _to_topic(cloud: Cloud, delivery: Document) -> None:
    arn = delivery["target"]["Arn"]
    sns = cloud.client("sns", arn.split(":")[3])
    policy = sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy")
    _require(cloud, delivery, "sns:Publish", arn, [json.loads(policy)] if policy else [])
    subject = {"Subject": delivery["subject"]} if delivery["subject"] else {}
    sns.publish(TopicArn=arn, Message=_message(delivery), **subject)


def _to_queue(cloud: Cloud, delivery: Document) -> None:
    target, arn = delivery["target"], delivery["target"]["Arn"]
    sqs = cloud.client("sqs", arn.split(":")[3])
    url = sqs.get_queue_url(QueueName=arn.rpartition(":")[2])["QueueUrl"]
    _require(cloud, delivery, "sqs:SendMessage", arn, _queue_policy(sqs, url))
    sqs.send_message(QueueUrl=url, MessageBody=_message(delivery), **target.get("SqsParameters", {}))


def _to_log_group(cloud: Cloud, delivery: Document) -> None:
    arn = delivery["target"]["Arn"].removesuffix(":*")
    logs = cloud.client("logs", arn.split(":")[3])
    policies = [json.loads(each["policyDocument"]) for each in logs.describe_resource_policies()["resourcePolicies"]]
    for action in ("logs:CreateLogStream", "logs:PutLogEvents"):
        _require(cloud, delivery, action, f"{arn}:log-stream:{delivery['id']}", policies)
    group = arn.rpartition(":log-group:")[2]
    logs.create_log_stream(logGroupName=group, logStreamName=delivery["id"])
    event = {"timestamp": int(cloud.clock.now() * 1000), "message": _message(delivery)}
    logs.put_log_events(logGroupName=group, logStreamName=delivery["id"], logEvents=[event])


_SENDERS: Mapping[tuple[str, str], Callable[[Cloud, Document], None]] = {
    ("sagemaker", "pipeline"): _to_pipeline,
    ("codebuild", "project"): _to_project,
    ("sns", ""): _to_topic,
    ("sqs", ""): _to_queue,
    ("logs", "log-group"): _to_log_group,
}
