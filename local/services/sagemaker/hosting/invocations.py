"""The runtime API: InvokeEndpoint. Streams, sessions, explanations and inference components are refused by name."""

from __future__ import annotations

from typing import Any

from local.core.context import Call, Handler
from local.core.errors import AwsError
from local.core.identity import ACCOUNT
from local.services.sagemaker.hosting.host import Hosting
from local.services.sagemaker.hosting.invocation import Request

_KNOWN = {
    "EndpointName", "Body", "ContentType", "Accept", "CustomAttributes", "TargetVariant", "InferenceId",
}  # fmt: skip
_ATTRIBUTES = "X-Amzn-SageMaker-Custom-Attributes"
#: The maximum bytes of a body: 25 MiB.
LIMIT = 25 * 1024 * 1024


def invoke_endpoint(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Send one request to a model server and return its reply.

    Returns:
        ``Body`` and ``InvokedProductionVariant``; ``ContentType`` and ``CustomAttributes`` if the model gave them.

    Raises:
        AwsError: The endpoint does not serve, the request is not valid or too large, or the model failed.
    """
    if others := sorted(set(params) - _KNOWN):
        raise _make_refusal(f"{', '.join(others)} of InvokeEndpoint is not available in the local cloud.")
    name, body = params["EndpointName"], params.get("Body", b"")
    document = call.store.get("endpoint", call.region, name)
    if document is None or document["EndpointStatus"] in ("Creating", "Failed", "Deleting"):
        raise _make_refusal(f"Endpoint {name} of account {ACCOUNT} not found.")
    if len(body) > LIMIT:
        raise _make_refusal(f"The body of {len(body)} bytes is too large; at most {LIMIT} are taken.")
    headers = {
        "Content-Type": params.get("ContentType", "application/json"),
        "Accept": params.get("Accept"),
        _ATTRIBUTES: params.get("CustomAttributes"),
        "X-Amzn-SageMaker-Inference-Id": params.get("InferenceId"),
    }
    router = call.cloud.get_part(Hosting).get_endpoint(call.region, name).router
    reply = router.invoke(
        Request(
            body=body,
            headers={key: value for key, value in headers.items() if value is not None},
            target_variant=params.get("TargetVariant"),
            inference_id=params.get("InferenceId"),
            custom_attributes=params.get("CustomAttributes"),
        )
    )
    if not 200 <= reply.status < 300:
        text = reply.body.decode("utf-8", "replace")
        side = "client" if reply.status < 500 else "server"
        message = (
            f'Received {side} error ({reply.status}) from primary with message "{text}". '
            f"{router.format_log_reference()}"
        )
        raise router.make_model_error(message, reply.status, text)
    answer = {"Body": reply.body, "InvokedProductionVariant": reply.variant}
    if content_type := reply.headers.get("Content-Type"):
        answer["ContentType"] = content_type
    if attributes := reply.headers.get(_ATTRIBUTES):
        answer["CustomAttributes"] = attributes
    return answer


def _make_refusal(message: str) -> AwsError:
    return AwsError("ValidationError", message)


OPERATIONS: dict[str, Handler] = {"InvokeEndpoint": invoke_endpoint}
