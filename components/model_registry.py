"""The registry group whose approved packages are what serves."""

from dataclasses import dataclass

import pulumi
import pulumi_aws as aws


@dataclass
class ModelRegistryArgs:
    """Inputs of :class:`ModelRegistry`.

    Attributes:
        group_name: Known before the group exists.
        description: Changing it replaces the group: it is set once.
        protect: Whether `pulumi destroy` refuses to delete the group and with it all history.
    """

    group_name: str
    description: str
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
            opts=pulumi.ResourceOptions(parent=self, protect=args.protect),
        )
        self.group_name = group.model_package_group_name
        self.group_arn = group.arn
        self.register_outputs({"groupName": self.group_name, "groupArn": group.arn})
