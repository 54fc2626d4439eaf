"""The one program: a stack's name says which use case runs in which environment, its configuration says how."""

from pathlib import Path

import pulumi
import pulumi_aws as aws

import stacks
from components.mlops_stack import MlopsStack, MlopsStackArgs
from components.model_registry import newest_approved
from millrace import Environment, MillraceError
from training import bundle

HERE = Path(__file__).parent

try:
    configured, region = pulumi.Config().get_object("environment"), pulumi.Config("aws").get("region")
    environment = Environment.of_stack(pulumi.get_stack(), configured, region)
    use_case = stacks.load(pulumi.get_stack().removesuffix(f"-{environment.name}"))
    args = MlopsStackArgs(
        use_case,
        environment,
        account=aws.get_caller_identity().account_id,
        bundle=bundle.build(use_case, HERE, HERE / ".millrace" / "bundles"),
        partition=aws.get_partition().partition,
    )
    args.approved_package = newest_approved(environment.region, args.names.model_package_group)
    stack = MlopsStack(use_case.name, args)
except MillraceError as error:
    raise pulumi.RunError(str(error)) from error

for name, value in stack.outputs().items():
    pulumi.export(name, value)
