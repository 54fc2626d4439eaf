"""Feature groups to which features can only be added.

The provider would replace a group, and wipe its online store, for an added feature. So the group's own definition is
frozen at its creation, and the schema that is wanted now is kept in an SSM parameter: a preview shows its change as an
update in place, and a hook on that update adds the new features with UpdateFeatureGroup. A feature that was removed, or
has another type, is refused at preview.
"""

import json
import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Literal

import pulumi
import pulumi_aws as aws

from millrace.errors import InvalidValueError, MillraceError
from queries.client import make_client

FeatureType = Literal["String", "Fractional", "Integral"]

#: How long UpdateFeatureGroup may take, seconds, and how many features it takes at once.
_UPDATE_TIMEOUT = 600
_ADDITIONS_AT_ONCE = 100

#: SageMaker adds these to every record of the offline store.
_RESERVED = frozenset({"is_deleted", "write_time", "api_invocation_time"})


class FeatureRemovedError(MillraceError, ValueError):
    """A declaration that removes a feature or changes its type, which a feature group does not allow."""


@dataclass
class FeatureStoreArgs:
    """Inputs of :class:`FeatureStore`.

    Attributes:
        group_name: Known before the group exists, at most 64 characters.
        record_identifier: The feature that identifies an entity.
        event_time: The feature with the time at which a record was known.
        features: Feature → type, the two above included.
        offline_uri: The URI of the offline store, `s3://…`.
        kms_key_arn: The key that encrypts both stores.
        role_arn: The role that writes the offline store.
        region: Where the group is.
        parameter_name: The SSM parameter that holds the wanted schema.
        protect: Whether `pulumi destroy` refuses to delete the group: its online store would be wiped.
    """

    group_name: str
    record_identifier: str
    event_time: str
    features: Mapping[str, FeatureType]
    offline_uri: str
    kms_key_arn: pulumi.Input[str]
    role_arn: pulumi.Input[str]
    region: str
    parameter_name: str
    protect: bool = True

    def __post_init__(self) -> None:
        for needed in (self.record_identifier, self.event_time):
            if needed not in self.features:
                raise InvalidValueError(
                    f"FeatureStore {self.group_name!r}: features", f"lack {needed!r}", fix="add it with its type"
                )
        if self.features[self.event_time] not in ("String", "Fractional"):
            raise InvalidValueError(
                f"FeatureStore {self.group_name!r}: event_time={self.event_time!r}",
                f"is {self.features[self.event_time]}",
                expected="String or Fractional",
                fix="change its type",
            )
        if taken := _RESERVED.intersection(self.features):
            raise InvalidValueError(
                f"FeatureStore {self.group_name!r}: features",
                f"name {sorted(taken)}, which SageMaker reserves",
                fix="rename them",
            )
        for feature in self.features:
            if len(feature) > 64:
                raise InvalidValueError(
                    f"FeatureStore {self.group_name!r}: feature {feature!r}",
                    f"has {len(feature)} characters",
                    expected="at most 64",
                    fix="shorten it",
                )
        if len(self.group_name) > 64:
            raise InvalidValueError(
                f"FeatureStore: group_name={self.group_name!r}",
                f"has {len(self.group_name)} characters",
                expected="at most 64",
                fix="shorten the table's name",
            )


class FeatureStore(pulumi.ComponentResource):
    """One feature group, online and offline. Creates a FeatureGroup and an SSM Parameter with its wanted schema."""

    group_name: pulumi.Output[str]
    group_arn: pulumi.Output[str]

    def __init__(self, name: str, args: FeatureStoreArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:FeatureStore", name, None, opts)
        group = aws.sagemaker.FeatureGroup(
            f"{name}-group",
            feature_group_name=args.group_name,
            record_identifier_feature_name=args.record_identifier,
            event_time_feature_name=args.event_time,
            feature_definitions=[
                {"feature_name": feature, "feature_type": kind} for feature, kind in args.features.items()
            ],
            role_arn=args.role_arn,
            online_store_config={"enable_online_store": True, "security_config": {"kms_key_id": args.kms_key_arn}},
            offline_store_config={
                "s3_storage_config": {"s3_uri": args.offline_uri, "kms_key_id": args.kms_key_arn},
                "table_format": "Glue",
            },
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect, ignore_changes=["featureDefinitions"]),
        )
        aws.ssm.Parameter(
            f"{name}-schema",
            name=args.parameter_name,
            type="String",
            # `value` would be a secret, which a preview does not show and a hook cannot read.
            insecure_value=json.dumps(dict(args.features), sort_keys=True),
            description=f"The features of {args.group_name}; features can only be added",
            opts=pulumi.ResourceOptions(parent=self, depends_on=[group], hooks=_growing(name, args)),
        )
        self.group_name = group.feature_group_name
        self.group_arn = group.arn
        self.register_outputs({"groupName": self.group_name, "groupArn": group.arn})


def _growing(name: str, args: FeatureStoreArgs) -> pulumi.ResourceHookBinding:
    def added(hook: pulumi.ResourceHookArgs) -> dict[str, FeatureType]:
        old, new = hook.old_inputs or {}, hook.new_inputs or {}
        return find_added_features(args.group_name, json.loads(old["insecureValue"]), json.loads(new["insecureValue"]))

    def refuse_removals(hook: pulumi.ResourceHookArgs) -> None:
        added(hook)

    def add(hook: pulumi.ResourceHookArgs) -> None:
        add_features(args.region, args.group_name, added(hook))

    at_preview = pulumi.ResourceHookOptions(on_dry_run=True)
    before = pulumi.ResourceHook(f"{name}-features-only-grow", refuse_removals, at_preview)
    # Before the parameter changes, so that the next update tries again after a failure.
    update = pulumi.ResourceHook(f"{name}-add-features", add)
    return pulumi.ResourceHookBinding(before_update=[before, update])


def find_added_features(
    group: str, old: Mapping[str, FeatureType], new: Mapping[str, FeatureType]
) -> dict[str, FeatureType]:
    """Return the features that `new` has and `old` lacks.

    Raises:
        FeatureRemovedError: A feature of `old` is missing from `new` or has another type.
    """
    problems = [
        f"{feature!r} was removed" if feature not in new else f"{feature!r} was {kind} and is now {new[feature]}"
        for feature, kind in old.items()
        if new.get(feature) != kind
    ]
    if problems:
        raise FeatureRemovedError(
            f"feature group {group!r}: {'; '.join(problems)}. A group cannot lose a feature or change its type. "
            "Declare it as before and stop using it in `features()`, or declare a new table under a new name."
        )
    return {feature: kind for feature, kind in new.items() if feature not in old}


def add_features(region: str, group: str, wanted: Mapping[str, FeatureType]) -> None:
    """Add features to a live group and wait until SageMaker has added them.

    Raises:
        RuntimeError: The update failed or took too long.
    """
    sagemaker = make_client("sagemaker", region)
    live = {
        feature["FeatureName"]
        for feature in sagemaker.describe_feature_group(FeatureGroupName=group)["FeatureDefinitions"]
    }
    missing = [{"FeatureName": name, "FeatureType": kind} for name, kind in wanted.items() if name not in live]
    for start in range(0, len(missing), _ADDITIONS_AT_ONCE):
        batch = missing[start : start + _ADDITIONS_AT_ONCE]
        sagemaker.update_feature_group(FeatureGroupName=group, FeatureAdditions=batch)
        _wait_until_updated(sagemaker, group)


def _wait_until_updated(sagemaker: "object", group: str) -> None:
    deadline = time.monotonic() + _UPDATE_TIMEOUT
    while time.monotonic() < deadline:
        update = sagemaker.describe_feature_group(FeatureGroupName=group)["LastUpdateStatus"]  # type: ignore[attr-defined]
        if update["Status"] == "Successful":
            return
        if update["Status"] == "Failed":
            raise RuntimeError(f"feature group {group!r}: UpdateFeatureGroup failed: {update.get('FailureReason')}")
        time.sleep(0.5)
    raise RuntimeError(f"feature group {group!r}: UpdateFeatureGroup took more than {_UPDATE_TIMEOUT} s; deploy again")
