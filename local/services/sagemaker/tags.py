"""Tags of SageMaker resources; other operations change them with :func:`merge_tags` and :func:`delete_all_tags`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from local.core.context import Call, Handler
from local.core.errors import validation_error
from local.services.sagemaker import paging

#: The maximum number of tags of a resource.
LIMIT = 50

#: The member that holds the ARN, by the resource type in the ARN, which is also the store's kind.
_RESOURCES = {
    "model": "ModelArn",
    "endpoint-config": "EndpointConfigArn",
    "endpoint": "EndpointArn",
    "model-package-group": "ModelPackageGroupArn",
    "feature-group": "FeatureGroupArn",
    "pipeline": "PipelineArn",
    "training-job": "TrainingJobArn",
    "processing-job": "ProcessingJobArn",
}


def merge_tags(call: Call, arn: str, tags: Sequence[dict[str, str]] | None) -> dict[str, str]:
    """Add tags to those of ``arn``; a new value replaces the old one of its key.

    Call it before the resource is written, because it refuses invalid tags.

    Args:
        call: The request, in whose region the resource is.
        arn: The ARN of the resource, which need not exist yet.
        tags: The new tags in the API's form, each with ``Key`` and ``Value``; None for no tags.

    Returns:
        All tags of the resource, values by key.

    Raises:
        AwsError: ``ValidationException`` for a reserved key or too many tags; nothing has changed.
    """
    with call.store.transaction():
        now = get_tags(call, arn)
        given = {tag["Key"]: tag["Value"] for tag in tags or ()}
        for key in given:
            if key.lower().startswith("aws:"):
                raise validation_error(f"Tag key '{key}' of {arn}: the prefix aws: is reserved for AWS's own tags.")
        now |= given
        if len(now) > LIMIT:
            raise validation_error(f"{arn} would have {len(now)} tags; the limit is {LIMIT}.")
        if given:
            call.store.put("tags", call.region, arn, now)
        return now


def get_tags(call: Call, arn: str) -> dict[str, str]:
    """Return the tags of ``arn`` by key."""
    return call.store.get("tags", call.region, arn) or {}


def delete_all_tags(call: Call, arn: str) -> None:
    """Delete all tags of a resource that is being deleted.

    Args:
        call: The request, in whose region the resource is.
        arn: The ARN of the resource.
    """
    call.store.delete("tags", call.region, arn)


def _require(call: Call, arn: str) -> None:
    kind = arn.split(":", 5)[-1].split("/")[0]
    member = _RESOURCES.get(kind)
    if member is None:
        raise validation_error(
            f"Tags of '{arn}' are not available in the local cloud; resources with tags: {', '.join(_RESOURCES)}."
        )
    if not any(document.get(member) == arn for document in call.store.list(kind, call.region)):
        raise validation_error(f'Could not find {kind.replace("-", " ")} "{arn}".')


def to_tag_list(tags: dict[str, str]) -> list[dict[str, str]]:
    """Return tags in the API's form."""
    return [{"Key": key, "Value": value} for key, value in tags.items()]


def add_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Add tags to a resource.

    Returns:
        All its tags, as ``Tags`` in the API's form.

    Raises:
        AwsError: The resource does not exist or cannot have tags, or a tag is not valid.
    """
    _require(call, params["ResourceArn"])
    return {"Tags": to_tag_list(merge_tags(call, params["ResourceArn"], params["Tags"]))}


def list_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List the tags of a resource, sorted by key."""
    _require(call, params["ResourceArn"])
    items = to_tag_list(get_tags(call, params["ResourceArn"]))
    return paging.build_page(
        call, params, items, key="Tags", sort={"Name": "Key"}, by="Name", order="Ascending", size=50
    )


def delete_tags(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete tags of a resource; keys that it does not have are ignored."""
    arn = params["ResourceArn"]
    _require(call, arn)
    with call.store.transaction():
        call.store.put(
            "tags", call.region, arn, {k: v for k, v in get_tags(call, arn).items() if k not in params["TagKeys"]}
        )
    return {}


OPERATIONS: dict[str, Handler] = {
    "AddTags": add_tags,
    "ListTags": list_tags,
    "DeleteTags": delete_tags,
}
