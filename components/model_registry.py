"""The model package group, whose newest approved package serves."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws

from queries.client import make_client
from queries.packages import list_packages


@dataclass
class ModelRegistryArgs:
    """Inputs of :class:`ModelRegistry`.

    Attributes:
        group_name: Known before the group exists.
        description: The group's description; changing it would replace the group.
        region: Where the group is.
        protect: Whether `pulumi destroy` refuses to delete the group and with it all history. If the group is not
            protected, a hook deletes its models first: such a stack is destroyed with `--run-program`.
    """

    group_name: str
    description: str
    region: str
    protect: bool = True


class ModelRegistry(pulumi.ComponentResource):
    """A model package group. Creates one ModelPackageGroup, protected by default."""

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
        sagemaker = make_client("sagemaker", args.region)
        for arn in [each["ModelPackageArn"] for each in list_packages(sagemaker, args.group_name)]:
            sagemaker.delete_model_package(ModelPackageName=arn)

    return pulumi.ResourceHookBinding(before_delete=[pulumi.ResourceHook(f"{name}-emptied-group", empty)])
