"""Decisions about models, tested on an account in memory: no process, no local cloud."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from cli.aws import endpoints, model_packages
from cli.console.errors import CliError
from cli.deployment import endpoint_guard, rollout
from cli.stack.target import Target
from queries.fake import FakeAccount

STACK = "flights-local"


@pytest.fixture
def account() -> FakeAccount:
    return FakeAccount()


@pytest.fixture
def target(account: FakeAccount, tmp_path: Path) -> Target:
    return replace(Target.load("flights", "local", tmp_path), clients=account.client)


def test_a_version_that_does_not_exist_is_refused_with_the_range_of_versions(
    account: FakeAccount, target: Target
) -> None:
    for _ in range(3):
        account.add_package(STACK, "Approved")
    assert model_packages.get_version(target, 2).version == 2
    with pytest.raises(CliError, match="has no model version 4; the newest is version 3"):
        model_packages.get_version(target, 4)


def test_a_decision_is_written_with_its_reason(account: FakeAccount, target: Target) -> None:
    arn = account.add_package(STACK, "PendingManualApproval")
    package = model_packages.get_package(target, arn)
    written = model_packages.set_approval(target, package, "Approved", "passed the audit")
    assert (written.approval, written.reason) == ("Approved", "passed the audit")
    assert [operation for _, operation, _ in account.requests if operation.startswith("Update")] == [
        "UpdateModelPackage"
    ]


def test_a_decision_of_somebody_else_in_the_meantime_is_kept(account: FakeAccount, target: Target) -> None:
    arn = account.add_package(STACK, "PendingManualApproval")
    shown = model_packages.get_package(target, arn)
    account.client("sagemaker").update_model_package(
        ModelPackageArn=arn, ModelApprovalStatus="Rejected", ApprovalDescription="unfair"
    )
    with pytest.raises(CliError, match=r"was set to Rejected .*, after it was shown as PendingManualApproval"):
        model_packages.set_approval(target, shown, "Approved", "fine")
    assert model_packages.get_package(target, arn).approval == "Rejected"


def test_a_package_that_was_deleted_in_the_meantime_is_not_decided_on(account: FakeAccount, target: Target) -> None:
    arn = account.add_package(STACK, "PendingManualApproval")
    shown = model_packages.get_package(target, arn)
    account.delete_package(arn)
    with pytest.raises(CliError, match="was deleted in the meantime; nothing was changed"):
        model_packages.set_approval(target, shown, "Approved", "fine")


def test_a_deployment_that_would_delete_the_endpoint_is_refused_until_a_version_is_approved(
    account: FakeAccount, target: Target
) -> None:
    arn = account.add_package(STACK, "Approved")
    account.serve(STACK, arn)
    assert not endpoint_guard.would_lose_endpoint(target)
    account.client("sagemaker").update_model_package(ModelPackageArn=arn, ModelApprovalStatus="Rejected")
    assert endpoint_guard.would_lose_endpoint(target)
    error = endpoint_guard.make_removal_error(target)
    assert error.subject == f"endpoint {STACK}, which serves version 1,"
    assert f"no model of {STACK} is approved" in error.found
    assert "`millrace approve flights 1`" in error.fix


@pytest.mark.parametrize("status", ["Updating", "Failed"])
def test_an_endpoint_that_does_not_serve_the_package_is_reported(
    account: FakeAccount, target: Target, status: str
) -> None:
    first, second = account.add_package(STACK, "Approved"), account.add_package(STACK, "Approved")
    account.serve(STACK, first)
    package = model_packages.get_package(target, second)
    with pytest.raises(rollout.NotServingError, match=f"endpoint {STACK} does not serve version 2"):
        rollout.require_serving(target, package, endpoints.read_endpoint(target))
    account.serve(STACK, second, status=status)
    assert not rollout.is_serving(endpoints.read_endpoint(target), package)
    account.set_endpoint_status(STACK, "InService")
    endpoint = rollout.require_serving(target, package, endpoints.read_endpoint(target))
    assert endpoint.version == 2
