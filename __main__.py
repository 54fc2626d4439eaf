"""The one program: a stack's name says which use case runs in which environment, its configuration says how."""

from pathlib import Path

import pulumi
import pulumi_aws as aws

import stacks
from components.mlops_stack import MlopsStack, MlopsStackArgs
from components.model_registry import newest_approved
from components.pausing import paused
from components.platform import Platform, PlatformArgs, shared_lake
from millrace import Environment, MillraceError
from millrace.names import PAUSABLE, PLATFORM
from training import bundle

HERE = Path(__file__).parent


def platform() -> Platform:
    """What the use cases of the environment share."""
    declared = stacks.of_environment(environment.name)
    return Platform(PLATFORM, PlatformArgs(environment, *account(), declared))


def use_case(name: str) -> MlopsStack:
    """The whole loop of a use case."""
    declared = stacks.load(name)
    built = bundle.build(declared, HERE, HERE / ".millrace" / "bundles")
    args = MlopsStackArgs(declared, environment, *account(), built)
    args.approved_package = newest_approved(environment.region, args.names.model_package_group)
    args.shared_lake = shared_lake(args.names, args.partition)
    args.paused = paused(environment.region, args.names.pause_parameter, PAUSABLE)
    return MlopsStack(name, args)


def account() -> tuple[str, str]:
    """The AWS account and its partition."""
    return aws.get_caller_identity().account_id, aws.get_partition().partition


try:
    configured, region = pulumi.Config().get_object("environment"), pulumi.Config("aws").get("region")
    environment = Environment.of_stack(pulumi.get_stack(), configured, region)
    what = pulumi.get_stack().removesuffix(f"-{environment.name}")
    stack = platform() if what == PLATFORM else use_case(what)
except MillraceError as error:
    raise pulumi.RunError(str(error)) from error

for name, value in stack.outputs().items():
    pulumi.export(name, value)
