"""The account in memory answers as the local cloud does, and fails where it has no answer."""

from __future__ import annotations

from typing import Any

import pytest
from botocore.exceptions import ClientError, ParamValidationError

from queries.endpoints import find_endpoint, find_served_model
from queries.fake import FakeAccount, RefusedRequestError
from queries.packages import APPROVED, describe_package, find_newest_package, parse_group, parse_version
from queries.pauses import find_pause
from queries.pipelines import find_running_execution, list_executions


def test_the_newest_approved_package_is_found() -> None:
    account = FakeAccount()
    sagemaker = account.client("sagemaker")
    assert find_newest_package(sagemaker, "flights-dev", APPROVED) is None
    first = account.add_package("flights-dev", "Approved")
    second = account.add_package("flights-dev", "Approved")
    account.add_package("flights-dev", "PendingManualApproval")
    account.add_package("other", "Approved")
    assert find_newest_package(sagemaker, "flights-dev", APPROVED) == second
    sagemaker.update_model_package(ModelPackageArn=second, ModelApprovalStatus="Rejected", ApprovalDescription="unfair")
    assert find_newest_package(sagemaker, "flights-dev", APPROVED) == first
    described = describe_package(sagemaker, second)
    assert described is not None
    assert (described["ModelApprovalStatus"], described["ApprovalDescription"]) == ("Rejected", "unfair")
    assert (parse_group(second), parse_version(second)) == ("flights-dev", 2)
    account.delete_package(second)
    assert describe_package(sagemaker, second) is None


def test_an_endpoint_is_followed_to_its_package() -> None:
    account = FakeAccount()
    sagemaker = account.client("sagemaker")
    assert find_endpoint(sagemaker, "flights-dev") is None
    package = account.add_package("flights-dev", "Approved")
    account.serve("flights-dev", package)
    first = find_endpoint(sagemaker, "flights-dev")
    account.serve("flights-dev", account.add_package("flights-dev", "Approved"), status="Updating")
    second = find_endpoint(sagemaker, "flights-dev")
    assert first is not None
    assert second is not None
    assert find_served_model(sagemaker, first["EndpointConfigName"]).package == package
    assert (first["EndpointStatus"], second["EndpointStatus"]) == ("InService", "Updating")
    assert first["CreationTime"] == second["CreationTime"] < second["LastModifiedTime"]


def test_executions_and_parameters_are_kept() -> None:
    account = FakeAccount()
    assert list_executions(account.client("sagemaker"), "flights-dev-training") is None
    account.add_execution("flights-dev-training", "Succeeded")
    running = account.add_execution("flights-dev-training", "Executing")
    found = list_executions(account.client("sagemaker"), "flights-dev-training")
    assert [each["PipelineExecutionStatus"] for each in found or []] == ["Executing", "Succeeded"]
    assert find_running_execution(account.client("sagemaker"), "flights-dev-training") == running
    assert find_pause(account.client("ssm"), "/millrace/flights-dev/paused") is None
    account.add_parameter(
        "/millrace/flights-dev/paused", '{"since": "2026-11-23T08:00:00Z", "by": "anna", "reason": ""}'
    )
    pause = find_pause(account.client("ssm"), "/millrace/flights-dev/paused")
    assert pause is not None
    assert pause.by == "anna"


def test_an_operation_without_an_answer_fails_by_name() -> None:
    with pytest.raises(NotImplementedError, match="does not answer sagemaker CreateModel"):
        FakeAccount().client("sagemaker").create_model(ModelName="m")


def test_parameters_and_answers_are_checked_against_the_service_s_model() -> None:
    account = FakeAccount()
    with pytest.raises(ParamValidationError, match="EndpointNames"):
        account.client("sagemaker").describe_endpoint(EndpointNames="x")
    account.answer("sagemaker", "DescribeEndpoint", lambda _params: {"EndpointName": 3})
    with pytest.raises(ParamValidationError, match="EndpointName"):
        account.client("sagemaker").describe_endpoint(EndpointName="x")


def test_a_handler_answers_or_refuses_and_requests_are_recorded() -> None:
    account = FakeAccount()

    def refuse(_params: Any) -> Any:
        raise RefusedRequestError("AccessDeniedException", "not authorized to perform: sagemaker:DescribeEndpoint")

    account.answer("sagemaker", "DescribeEndpoint", refuse)
    with pytest.raises(ClientError, match="not authorized") as refused:
        account.client("sagemaker").describe_endpoint(EndpointName="x")
    assert refused.value.response["Error"]["Code"] == "AccessDeniedException"
    assert account.requests == [("sagemaker", "DescribeEndpoint", {"EndpointName": "x"})]
    assert account.client("sts").get_caller_identity()["Account"] == "123456789012"
