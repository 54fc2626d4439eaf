"""The Pulumi program: the stack's name selects a use case and environment, its configuration describes the latter."""

import os
from functools import partial
from pathlib import Path

import pulumi
import pulumi_aws as aws

import stacks
from components.mlops_stack import MlopsStack
from components.platform import Platform, PlatformArgs, make_shared_lake
from components.stack_args import MlopsStackArgs
from millrace import Environment, MillraceError
from millrace.environment import Deployer
from millrace.names import PLATFORM, ROLLBACK_REPORT
from queries import keys, packages, pauses
from queries.client import make_client
from training import bundle
from training.source_archive import build_source_archive

HERE = Path(__file__).parent


def create_platform() -> Platform:
    """Create what the use cases of the environment share."""
    declared = stacks.load_environment_use_cases(environment.name)
    return Platform(PLATFORM, PlatformArgs(environment, *get_account(), declared))


def create_use_case(name: str) -> MlopsStack:
    """Create all resources of a use case.

    Args:
        name: The use case's name, as declared.

    Returns:
        The component that owns them.

    Raises:
        DeclarationError: The declaration cannot be loaded, or the bundle cannot be built from it.
        UnreadablePauseError: The stack's pause cannot be understood.
    """
    declared = stacks.load(name)
    built = bundle.build_bundle(declared, HERE, HERE / ".millrace" / "bundles")
    number, partition = get_account()
    names, client = environment.make_names(declared.name, number), partial(make_client, region=environment.region)
    package = packages.find_newest_package(client("sagemaker"), names.model_package_group, packages.APPROVED)
    pause = pauses.find_pause(client("ssm"), names.pause_parameter)
    lake = None
    if names.shared_lake:
        lake = make_shared_lake(names, partition, keys.find_key(client("kms"), names.lake_alias))
    paused = pause.only if pause else ()
    source = None
    if environment.promotion.by is Deployer.BUILD:
        committed = not environment.is_ephemeral
        source = build_source_archive(HERE, HERE / ".millrace" / "sources", committed=committed)
    args = MlopsStackArgs(
        declared,
        environment,
        number,
        partition,
        built,
        package,
        lake,
        paused,
        os.environ.get(ROLLBACK_REPORT),
        source,
        os.environ.get("PULUMI_BACKEND_URL", ""),
    )
    return MlopsStack(name, args)


def get_account() -> tuple[str, str]:
    """Return the AWS account and its partition."""
    return aws.get_caller_identity().account_id, aws.get_partition().partition


try:
    configured, region = pulumi.Config().get_object("environment"), pulumi.Config("aws").get("region")
    environment = Environment.from_stack(pulumi.get_stack(), configured, region)
    what = pulumi.get_stack().removesuffix(f"-{environment.name}")
    stack = create_platform() if what == PLATFORM else create_use_case(what)
except MillraceError as error:
    raise pulumi.RunError(str(error)) from error

for name, value in stack.list_outputs().items():
    pulumi.export(name, value)
