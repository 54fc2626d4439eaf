"""The search for a running execution, on an account in memory."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime, timedelta
from typing import Any

from queries.fake import FakeAccount
from queries.pipelines import find_running_execution

PIPELINE = "flights-dev-training"


def count_requests(account: FakeAccount) -> int:
    return sum(operation == "ListPipelineExecutions" for _, operation, _ in account.requests)


def test_a_long_training_behind_many_short_ones_is_found() -> None:
    account = FakeAccount()
    running = account.add_execution(PIPELINE, "Executing")
    for _ in range(250):
        account.add_execution(PIPELINE, "Failed")
    assert find_running_execution(account.client("sagemaker"), PIPELINE) == running
    assert count_requests(account) == 3


def test_the_search_ends_at_the_first_running_execution() -> None:
    account = FakeAccount()
    for _ in range(250):
        account.add_execution(PIPELINE, "Failed")
    stopping = account.add_execution(PIPELINE, "Stopping")
    assert find_running_execution(account.client("sagemaker"), PIPELINE) == stopping
    assert count_requests(account) == 1


def test_the_search_ends_at_executions_that_are_too_old_to_run() -> None:
    account = FakeAccount()
    now = datetime.now(UTC)

    def list_page(params: Mapping[str, Any]) -> dict[str, Any]:
        page = int(params.get("NextToken", "0"))
        # An execution an hour, for more than a year.
        found = [
            {
                "PipelineExecutionArn": f"arn:aws:sagemaker:eu-west-1:123456789012:pipeline/p/execution/{number}",
                "StartTime": now - timedelta(hours=number),
                "PipelineExecutionStatus": "Succeeded",
            }
            for number in range(page * 100, (page + 1) * 100)
        ]
        return {"PipelineExecutionSummaries": found, "NextToken": str(page + 1)}

    account.answer("sagemaker", "ListPipelineExecutions", list_page)
    assert find_running_execution(account.client("sagemaker"), PIPELINE) is None
    assert count_requests(account) == 1


def test_a_pipeline_that_does_not_exist_runs_nothing() -> None:
    assert find_running_execution(FakeAccount().client("sagemaker"), PIPELINE) is None
