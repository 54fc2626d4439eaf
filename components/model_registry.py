"""The registry group whose newest approved package is what serves."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from components import api


@dataclass
class ModelRegistryArgs:
    """Inputs of :class:`ModelRegistry`.

    Attributes:
        group_name: Known before the group exists.
        description: Changing it replaces the group: it is set once.
        region: Where the group is.
        protect: Whether `pulumi destroy` refuses to delete the group and with it all history. Of a group that is not
            protected the models are deleted first, by a hook: such a stack is destroyed with `--run-program`.
    """

    group_name: str
    description: str
    region: str
    protect: bool = True


class ModelRegistry(pulumi.ComponentResource):
    """A model package group. Makes one ModelPackageGroup, protected by default."""

    group_name: pulumi.Output[str]
    group_arn: pulumi.Output[str]

    def __init__(self, name: str, args: ModelRegistryArgs, opts: pulumi.ResourceOptions | None = None) -> None:
        super().__init__("millrace:index:ModelRegistry", name, None, opts)
        group = aws.sagemaker.ModelPackageGroup(
            f"{name}-group",
            model_package_group_name=args.group_name,
            model_package_group_description=args.description,
            opts=pulumi.ResourceOptions(
                parent=self, protect=args.protect, hooks=None if args.protect else _emptied(name, args)
            ),
        )
        self.group_name = group.model_package_group_name
        self.group_arn = group.arn
        self.register_outputs({"groupName": self.group_name, "groupArn": group.arn})


def _emptied(name: str, args: ModelRegistryArgs) -> pulumi.ResourceHookBinding:
    def empty(_: pulumi.ResourceHookArgs) -> None:
        sagemaker = api.client("sagemaker", args.region)
        pages = sagemaker.get_paginator("list_model_packages").paginate(ModelPackageGroupName=args.group_name)
        for arn in [package["ModelPackageArn"] for page in pages for package in page["ModelPackageSummaryList"]]:
            sagemaker.delete_model_package(ModelPackageName=arn)

    return pulumi.ResourceHookBinding(before_delete=[pulumi.ResourceHook(f"{name}-emptied-group", empty)])


def newest_approved(region: str, group_name: str) -> str | None:
    """The ARN of the package that should serve: the newest approved one; None when there is none, or no group yet.

    A program calls it and hands the answer to the endpoint: what serves is decided by the registry alone.
    """
    from botocore.exceptions import ClientError

    sagemaker = api.client("sagemaker", region)
    try:
        pages = sagemaker.get_paginator("list_model_packages").paginate(
            ModelPackageGroupName=group_name,
            ModelApprovalStatus="Approved",
            SortBy="CreationTime",
            SortOrder="Descending",
        )
        # A filtered page may be empty and yet not the last one.
        found = next((package for page in pages for package in page["ModelPackageSummaryList"]), None)
    except ClientError as error:
        if "does not exist" in error.response["Error"]["Message"]:
            return None
        raise
    return str(found["ModelPackageArn"]) if found else None
