"""The effects of destroying a stack: what is deleted, what is kept and costs money, and how to remove the rest."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from typing import Any

from cli.console.output import format_size
from cli.deployment import garbage
from cli.fleet import costs
from cli.pulumi.stack_state import Resource
from cli.stack.deployable import Deployable, render_arguments

BUCKET = "aws:s3/bucket:Bucket"
#: The maximum number of pages of object versions that are counted, because a person is waiting.
_PAGES = 50
_FREE = "free locally"


@dataclass
class Plan:
    """The existing parts of a stack, and what a destruction does with them."""

    goes: list[Resource] = field(default_factory=list)
    stays: list[Resource] = field(default_factory=list)
    known: bool = False
    """True if Pulumi has a stack of that name."""
    hollow: bool = False
    """True if its state has no AWS resources: its first deployment failed before it created any."""
    running: list[tuple[str, str]] = field(default_factory=list)
    """Kind of pipeline and ARN of the execution."""
    orphans: list[garbage.Item] = field(default_factory=list)
    paused: bool = False
    delete_data: bool = False

    @property
    def is_empty(self) -> bool:
        """True if there is nothing to delete, to stop or to resume."""
        return not (self.goes or self.orphans or self.running or self.paused)


@dataclass
class Done:
    """The result of a destruction."""

    deleted: Counter[str] = field(default_factory=Counter)
    stopped: int = 0
    removed: bool = False


def holds_data(resource: Resource) -> bool:
    """Return True if a resource holds data itself, rather than being a setting of one that does.

    Args:
        resource: A resource in Pulumi's state.
    """
    return resource.kind in ("Bucket", "Key", "ModelPackageGroup")


def list_kept(target: Deployable, plan: Plan) -> list[dict[str, str]]:
    """Return the kept resources that hold data, and the stack's folder in a shared lake if there are any.

    Args:
        target: The stack.
        plan: What the destruction deletes and keeps.

    Returns:
        Documents with the keys ``type`` and ``name``.
    """
    found = [{"type": each.kind, "name": each.id} for each in plan.stays if holds_data(each)]
    return [*found, {"type": "Folder", "name": target.names.uri()}] if target.names.shared_lake and found else found


def list_costs(target: Deployable, plan: Plan) -> list[dict[str, Any]]:
    """Return the continuing costs of the kept resources; a price that is not known is named as such.

    Args:
        target: The stack.
        plan: What the destruction deletes and keeps.

    Returns:
        Documents: ``what`` (`key` or `lake`), ``usd`` (the price, as text) and ``how`` (per month, or the lake's size).
    """
    if not plan.stays:
        return []
    found = []
    if any(each.kind == "Key" for each in plan.stays):
        prices = costs.load_prices()
        usd = prices.find_monthly_price("aws:kms/key:Key", {}, target.names.region) if prices else None
        found.append({"what": "key", "usd": _usd(target, usd), "how": "per month"})
    found += [
        {"what": "lake", "usd": _FREE if target.is_local else "by size", "how": _size(target, each.id)}
        for each in plan.stays
        if each.type == BUCKET
    ]
    return found


def _usd(target: Deployable, usd: float | None) -> str:
    if target.is_local:
        return _FREE
    return "price unknown" if usd is None else f"{usd:.2f} USD"


def _size(target: Deployable, bucket: str) -> str:
    """Return the size of all object versions in a lake, as text."""
    size = count = 0
    pages = target.client("s3").get_paginator("list_object_versions").paginate(Bucket=bucket)
    for number, page in enumerate(pages):
        if number == _PAGES:
            return f"more than {format_size(size)}"
        size += sum(each["Size"] for each in page.get("Versions", []))
        count += len(page.get("Versions", []))
    return f"{format_size(size)} in {count} object versions"


def list_removal_commands(target: Deployable, plan: Plan) -> list[str]:
    """Return the commands that remove the kept resources, for a person who wants that.

    Args:
        target: The stack.
        plan: What the destruction deletes and keeps.

    Returns:
        Commands for a shell, in the order to run them.
    """
    stack, names = target.stack, target.names
    if target.environment.force_destroy:
        return [f"millrace destroy {render_arguments(target)}"]
    lines = [f"pulumi state unprotect --all --yes --stack {stack}"]
    if any(each.kind == "ModelPackageGroup" for each in plan.stays):
        lines.append(
            f"for arn in $(aws sagemaker list-model-packages --model-package-group-name {names.model_package_group} "
            "--query 'ModelPackageSummaryList[].ModelPackageArn' --output text); do "
            'aws sagemaker delete-model-package --model-package-name "$arn"; done'
        )
    lines += [_format_emptying_command(each.id) for each in plan.stays if each.type == BUCKET]
    if names.shared_lake:
        lines.append(_format_emptying_command(names.lake, f"{names.use_case}/"))
    # The program would protect the resources again.
    lines.append(f"pulumi destroy --yes --stack {stack} --run-program=false")
    return [*lines, f"pulumi stack rm {stack} --yes --preserve-config"]


def _format_emptying_command(bucket: str, prefix: str = "") -> str:
    """Return the command that deletes every object version under a key prefix."""
    of = f"--bucket {bucket}" + (f" --prefix {prefix}" if prefix else "")
    return (
        f"aws s3api list-object-versions {of} --query '[Versions, DeleteMarkers][].[Key, VersionId]' --output text "
        "| while IFS=$'\\t' read -r key version; do "
        f'aws s3api delete-object --bucket {bucket} --key "$key" --version-id "$version"; done'
    )
