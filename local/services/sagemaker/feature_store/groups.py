"""Feature groups: create, describe, update, delete, list.

Refused by name, because they are not supported: Iceberg tables, collection types, storage other than Standard,
provisioned throughput. Features can be added but not removed. A group's records are in `records.py`.
"""

from __future__ import annotations

import logging
import re
import time
from collections.abc import Callable, Iterable, Mapping, Sequence
from functools import partial
from typing import Any

from botocore.exceptions import BotoCoreError, ClientError

from local.core.context import Call, Cloud, Handler
from local.core.errors import in_use_error, not_found_error, validation_error
from local.core.identity import ACCOUNT
from local.core.store import Document, remove_private_members
from local.services.sagemaker import names, paging, tags
from local.services.sagemaker.feature_store import offline_store, record_store
from local.services.sagemaker.roles import require_account

log = logging.getLogger(__name__)

KIND = "feature-group"

#: Columns of the offline store that the feature store itself writes.
RESERVED = frozenset({"is_deleted", "write_time", "api_invocation_time"})

_LIMIT = 2500
_SECONDS = {"Seconds": 1, "Minutes": 60, "Hours": 3600, "Days": 86400, "Weeks": 604800}
_BUSY = frozenset({"Creating", "Deleting"})


def create_feature_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Create a feature group and return at once; its role, bucket and keys are checked afterwards."""
    name = params["FeatureGroupName"]
    _check_features(params)
    _check_stores(params)
    if role := params.get("RoleArn"):
        require_account(role)
    now = time.time()
    arn = call.build_arn(f"feature-group/{name.lower()}")
    document = {
        **{key: value for key, value in params.items() if key != "Tags"},
        "FeatureGroupArn": arn,
        "CreationTime": now,
        "LastModifiedTime": now,
        "FeatureGroupStatus": "Creating",
    }
    if offline := document.get("OfflineStoreConfig"):
        document["OfflineStoreConfig"] = _resolve_offline_config(call, name, offline, int(now))
        document["OfflineStoreStatus"] = {"Status": "Active"}
    with call.store.transaction():
        if _find_group(call, name):
            raise in_use_error(f"Resource Already Exists: FeatureGroup with name {name} already exists.")
        tags.merge_tags(call, arn, params.get("Tags"))
        call.store.put(KIND, call.region, name, document)
    call.cloud.spawn(f"create {name}", _finish_creation, call.cloud, call.region, name)
    return {"FeatureGroupArn": arn}


def _check_features(params: Mapping[str, Any]) -> None:
    _check_definitions(params["FeatureDefinitions"], ())
    types = {each["FeatureName"]: each["FeatureType"] for each in params["FeatureDefinitions"]}
    for member in ("RecordIdentifierFeatureName", "EventTimeFeatureName"):
        if params[member] not in types:
            raise validation_error(f"{member} '{params[member]}' is not in FeatureDefinitions: define it as a feature.")
    event_time = params["EventTimeFeatureName"]
    if event_time == params["RecordIdentifierFeatureName"]:
        raise validation_error(f"RecordIdentifierFeatureName and EventTimeFeatureName are both '{event_time}'.")
    if types[event_time] not in ("String", "Fractional"):
        raise validation_error(
            f"EventTimeFeatureName '{event_time}' has the FeatureType {types[event_time]}; expected String "
            "(yyyy-MM-dd'T'HH:mm:ssZ) or Fractional (Unix seconds)."
        )


def _check_definitions(definitions: Sequence[Mapping[str, Any]], existing: Iterable[str]) -> None:
    # The names of the data catalog are case-insensitive.
    taken = {name.lower() for name in existing}
    for definition in definitions:
        name = definition["FeatureName"]
        if name.lower() in RESERVED:
            raise validation_error(f"Feature name '{name}' is reserved: {', '.join(sorted(RESERVED))} cannot be used.")
        if name.lower() in taken:
            raise validation_error(f"Feature name '{name}' is there twice; names must differ in more than case.")
        if "CollectionType" in definition or "CollectionConfig" in definition:
            raise validation_error(
                f"CollectionType of feature '{name}' is not available in the local cloud: "
                "define one feature for each element."
            )
        taken.add(name.lower())
    if len(taken) > _LIMIT:
        raise validation_error(f"{len(taken)} features: a feature group has at most {_LIMIT}.")


def _check_stores(params: Mapping[str, Any]) -> None:
    online = params.get("OnlineStoreConfig") or {}
    offline = params.get("OfflineStoreConfig")
    if not online.get("EnableOnlineStore") and not offline:
        raise validation_error(
            "A feature group needs an OnlineStoreConfig with EnableOnlineStore, an OfflineStoreConfig, or both."
        )
    if not online.get("EnableOnlineStore") and "TtlDuration" in online:
        raise validation_error("TtlDuration needs an online store: set EnableOnlineStore.")
    _check_ttl(online)
    _check_available("OnlineStoreConfig.StorageType", online.get("StorageType", "Standard"), ("Standard",))
    _check_throughput(params)
    if offline:
        if "RoleArn" not in params:
            raise validation_error(
                "A feature group with an OfflineStoreConfig needs a RoleArn that may write to its S3Uri."
            )
        _check_available("OfflineStoreConfig.TableFormat", offline.get("TableFormat", "Glue"), ("Glue", "Default"))


def _check_ttl(online: Mapping[str, Any]) -> None:
    ttl = online.get("TtlDuration")
    if ttl is not None and set(ttl) != {"Unit", "Value"}:
        raise validation_error(f"TtlDuration {ttl}: expected both Unit and Value.")
    if ttl is not None and time.time() + compute_lifetime(ttl) > record_store.LATEST:
        raise validation_error(
            f"TtlDuration of {ttl['Value']} {ttl['Unit']} ends after the year 9999: choose a shorter one, or none for "
            "records that never expire."
        )


def compute_lifetime(ttl: Mapping[str, Any]) -> float:
    """Return a ``TtlDuration`` in seconds."""
    return float(ttl["Value"] * _SECONDS[ttl["Unit"]])


def _check_throughput(params: Mapping[str, Any]) -> None:
    _check_available(
        "ThroughputConfig.ThroughputMode",
        params.get("ThroughputConfig", {}).get("ThroughputMode", "OnDemand"),
        ("OnDemand",),
    )


def _check_available(member: str, value: str, available: Sequence[str]) -> None:
    if value not in available:
        raise validation_error(
            f"{member} {value} is not available in the local cloud; available: {', '.join(available)}."
        )


def _resolve_offline_config(call: Call, name: str, offline: Mapping[str, Any], epoch: int) -> dict[str, Any]:
    storage = dict(offline["S3StorageConfig"])
    prefix = storage["S3Uri"].rstrip("/")
    folder = f"{ACCOUNT}/sagemaker/{call.region}/offline-store/{name}-{epoch}/data"
    storage["ResolvedOutputS3Uri"] = f"{prefix}/{folder}"
    disabled = offline.get("DisableGlueTableCreation", False)
    config = {**offline, "S3StorageConfig": storage, "DisableGlueTableCreation": disabled}
    if not disabled and "DataCatalogConfig" not in config:
        config["DataCatalogConfig"] = {
            "TableName": f"{name.replace('-', '_')}_{epoch}".lower(),
            "Catalog": "AwsDataCatalog",
            "Database": "sagemaker_featurestore",
        }
    return config


def _finish_creation(cloud: Cloud, region: str, name: str) -> None:
    group = cloud.store.get(KIND, region, name)
    if group is None:
        return
    problem = _find_problem(cloud, region, group)

    def change(document: Document) -> None:
        document["FeatureGroupStatus"] = "CreateFailed" if problem else "Created"
        if problem:
            document["FailureReason"] = problem

    _change_group(cloud, region, name, change)


def _find_problem(cloud: Cloud, region: str, group: Mapping[str, Any]) -> str | None:
    """Return the reason why the group cannot work (a role, bucket or key that cannot be used), or None."""
    storage = group.get("OfflineStoreConfig", {}).get("S3StorageConfig", {})
    security = (group.get("OnlineStoreConfig") or {}).get("SecurityConfig", {})
    checks: list[tuple[str, Callable[[], object]]] = []
    if role := group.get("RoleArn"):
        get_role = cloud.client("iam", region).get_role
        checks.append((f"role {role}", partial(get_role, RoleName=role.rpartition("/")[2])))
    if uri := storage.get("S3Uri"):
        bucket = re.sub(r"^(s3|https)://", "", uri).partition("/")[0]
        checks.append((f"bucket {bucket}", partial(cloud.client("s3", region).head_bucket, Bucket=bucket)))
    for key in filter(None, (storage.get("KmsKeyId"), security.get("KmsKeyId"))):
        checks.append((f"key {key}", partial(cloud.client("kms", region).describe_key, KeyId=key)))
    for what, check in checks:
        try:
            check()
        except (ClientError, BotoCoreError) as error:
            return f"The {what} cannot be used: {error}"
    return None


def describe_feature_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Describe a feature group, with all its features on one page.

    Returns:
        The group's members and an empty ``NextToken``; ``OnlineStoreTotalSizeBytes`` if it has an online store.

    Raises:
        AwsError: The group does not exist.
    """
    group = require_group(call, params["FeatureGroupName"])
    answer = {**remove_private_members(group), "NextToken": ""}
    if (group.get("OnlineStoreConfig") or {}).get("EnableOnlineStore"):
        answer["OnlineStoreTotalSizeBytes"] = call.cloud.get_part(record_store.RecordStore).measure_size(
            group["FeatureGroupArn"]
        )
    return answer


def update_feature_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Add features, or change the throughput or the time to live of records written from then on.

    Returns:
        ``FeatureGroupArn``; the update is finished in the background.

    Raises:
        AwsError: The group does not exist or cannot be updated now, or the update is not valid.
    """
    given = [member for member in ("FeatureAdditions", "OnlineStoreConfig", "ThroughputConfig") if params.get(member)]
    if len(given) != 1:
        raise validation_error(
            "UpdateFeatureGroup takes exactly one of FeatureAdditions, OnlineStoreConfig and ThroughputConfig, "
            f"not {len(given)}."
        )
    online = params.get("OnlineStoreConfig", {})
    _check_available("OnlineStoreConfig.StorageType", online.get("StorageType", "Standard"), ("Standard",))
    _check_ttl(online)
    _check_throughput(params)
    with call.store.transaction():
        group = require_group(call, params["FeatureGroupName"])
        name = group["FeatureGroupName"]
        if group["FeatureGroupStatus"] != "Created":
            raise validation_error(
                f"FeatureGroup {name} is {group['FeatureGroupStatus']}; only a Created one can be updated."
            )
        if group.get("LastUpdateStatus", {}).get("Status") == "InProgress":
            raise validation_error(f"FeatureGroup {name} is being updated: wait until LastUpdateStatus is Successful.")
        if online and not (group.get("OnlineStoreConfig") or {}).get("EnableOnlineStore"):
            raise validation_error(f"FeatureGroup {name} has no online store, so it has no TtlDuration.")
        additions = params.get("FeatureAdditions", [])
        existing = [each["FeatureName"] for each in group["FeatureDefinitions"]]
        _check_definitions(additions, existing)
        group["_update"] = {key: params[key] for key in given}
        group["LastUpdateStatus"] = {"Status": "InProgress"}
        group["LastModifiedTime"] = time.time()
        call.store.put(KIND, call.region, name, group)
    call.cloud.spawn(f"update {name}", _finish_update, call.cloud, call.region, name)
    return {"FeatureGroupArn": group["FeatureGroupArn"]}


def _finish_update(cloud: Cloud, region: str, name: str) -> None:
    def change(group: Document) -> None:
        update = group.pop("_update", {})
        group["FeatureDefinitions"] += update.get("FeatureAdditions", [])
        if ttl := update.get("OnlineStoreConfig", {}).get("TtlDuration"):
            group["OnlineStoreConfig"]["TtlDuration"] = ttl
        if throughput := update.get("ThroughputConfig"):
            group["ThroughputConfig"] = throughput
        group["LastUpdateStatus"] = {"Status": "Successful"}

    _change_group(cloud, region, name, change)


def delete_feature_group(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """Delete a feature group and its online records; its data in S3 remains."""
    with call.store.transaction():
        group = require_group(call, params["FeatureGroupName"])
        if group["FeatureGroupStatus"] in _BUSY:
            raise validation_error(
                f"FeatureGroup {group['FeatureGroupName']} is {group['FeatureGroupStatus']} and cannot be deleted now."
            )
        group["FeatureGroupStatus"] = "Deleting"
        call.store.put(KIND, call.region, group["FeatureGroupName"], group)
    _delete_records(call.cloud, call.region, group)
    call.cloud.spawn("delete group", _finish_deletion, call.cloud, call.region, group["FeatureGroupName"])
    return {}


def _finish_deletion(cloud: Cloud, region: str, name: str) -> None:
    group = cloud.store.get(KIND, region, name)
    if group is None:
        return
    # Write the buffered rows to S3 before the group is deleted; its data there remains.
    cloud.get_part(offline_store.OfflineStore).flush()
    _delete_records(cloud, region, group)
    with cloud.store.transaction():
        cloud.store.delete(KIND, region, name)
        cloud.store.delete("tags", region, group["FeatureGroupArn"])
        _announce(cloud, region, group)


def _delete_records(cloud: Cloud, region: str, group: Document) -> None:
    """Delete the online records of a group, unless another group has the same ARN and thus the same records.

    Such groups, whose names differ in case alone, were created by earlier versions.
    """
    arn = group["FeatureGroupArn"]
    if sum(each["FeatureGroupArn"] == arn for each in cloud.store.list(KIND, region)) < 2:
        cloud.get_part(record_store.RecordStore).delete_group(arn)


def list_feature_groups(call: Call, params: dict[str, Any]) -> dict[str, Any]:
    """List feature groups."""
    wanted, offline = params.get("FeatureGroupStatusEquals"), params.get("OfflineStoreStatusEquals")
    members = ("FeatureGroupName", "FeatureGroupArn", "CreationTime", "FeatureGroupStatus", "OfflineStoreStatus")
    items = []
    for group in call.store.list(KIND, call.region):
        status = group.get("OfflineStoreStatus", {}).get("Status", "Disabled")
        if wanted in (None, group["FeatureGroupStatus"]) and offline in (None, status):
            items.append({**{key: group[key] for key in members if key in group}, "_offline": status})
    sort = {
        "Name": "FeatureGroupName",
        "CreationTime": "CreationTime",
        "FeatureGroupStatus": "FeatureGroupStatus",
        "OfflineStoreStatus": "_offline",
    }
    answer = paging.build_page(call, params, items, key="FeatureGroupSummaries", sort=sort)
    answer["FeatureGroupSummaries"] = [remove_private_members(item) for item in answer["FeatureGroupSummaries"]]
    return answer


def require_group(call: Call, name: str) -> Document:
    """Return the group's document by name or ARN.

    Args:
        call: The request, in whose region the group must be.
        name: The group's name or ARN, in any case.

    Raises:
        AwsError: ``ResourceNotFound``, or ``ValidationException`` for an ARN of another region.
    """
    group = _find_group(call, name)
    if group is None:
        raise not_found_error(format_not_found(name))
    return group


def format_not_found(name: str) -> str:
    """Return AWS's message for a group that does not exist."""
    return f"Resource Not Found: Amazon SageMaker can't find a FeatureGroup with name {name.rpartition('/')[2]}"


def _find_group(call: Call, name: str) -> Document | None:
    if name[:4].lower() == "arn:":
        region, prefix = name.split(":")[3], call.build_arn(f"{KIND}/")
        if region != call.region:
            raise validation_error(f"{name} is in {region}, but the request is for {call.region}.")
        if not name.lower().startswith(prefix):
            return None
        name = name[len(prefix) :]
    return call.store.get(KIND, call.region, names.find_stored_name(call, KIND, name))


def _change_group(cloud: Cloud, region: str, name: str, change: Callable[[Document], None]) -> None:
    with cloud.store.transaction():
        group = cloud.store.update(KIND, region, name, change)
        if group is not None:
            _announce(cloud, region, group)


def _announce(cloud: Cloud, region: str, group: Document) -> None:
    detail = remove_private_members(group)
    for member in ("CreationTime", "LastModifiedTime"):
        detail[member] = int(detail[member] * 1000)
    cloud.events.emit(
        detail_type="SageMaker Feature Group State Change",
        resources=[group["FeatureGroupArn"]],
        detail=detail,
        region=region,
    )


def recover(cloud: Cloud) -> None:
    """Finish interrupted operations, and start the worker that writes the offline store.

    Args:
        cloud: The cloud, which has just started.
    """
    for group in cloud.store.list(KIND):
        try:
            _finish_interrupted(cloud, group)
        except Exception:
            # The other groups and their offline store work without it.
            log.exception("%s: what a stop interrupted could not be finished", group["FeatureGroupArn"])
    cloud.spawn("offline store", cloud.get_part(offline_store.OfflineStore).run)


def _finish_interrupted(cloud: Cloud, group: Document) -> None:
    name, region = group["FeatureGroupName"], group["FeatureGroupArn"].split(":")[3]
    if group["FeatureGroupStatus"] == "Creating":
        _finish_creation(cloud, region, name)
    elif group["FeatureGroupStatus"] == "Deleting":
        _finish_deletion(cloud, region, name)
    elif "_update" in group:
        _finish_update(cloud, region, name)


OPERATIONS: dict[str, Handler] = {
    "CreateFeatureGroup": create_feature_group,
    "DescribeFeatureGroup": describe_feature_group,
    "UpdateFeatureGroup": update_feature_group,
    "DeleteFeatureGroup": delete_feature_group,
    "ListFeatureGroups": list_feature_groups,
}
