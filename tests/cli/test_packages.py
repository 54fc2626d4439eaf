"""Tests of how the target of a rollback is read from a model package."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest

from cli.aws.model_packages import Package

ARN = "arn:aws:sagemaker:eu-west-1:123456789012:model-package/toy-local/3"


@pytest.mark.parametrize(
    ("metadata", "reason", "expected"),
    [
        # printf whatever | sha256sum
        ({"rolled_back_to": "2:85738f8f9a7f1b04"}, "whatever", 2),
        # Rejected again by other means, which leave the metadata.
        ({"rolled_back_to": "2:85738f8f9a7f1b04"}, "unfair", None),
        ({"rolled_back_to": "2:85738f8f9a7f1b04"}, "rolled back to version 2", None),
        # Written by version 0.1, which kept only the reason.
        ({}, "rolled back to version 12: too many alarms", 12),
        ({}, "rolled back to version 12", 12),
        ({}, "not rolled back to version 12", None),
        ({}, "rolled back to version 12b", None),
        ({}, "", None),
    ],
)
def test_rollback_target_is_read_from_metadata_or_reason(
    metadata: dict[str, str], reason: str, expected: int | None
) -> None:
    package = Package(ARN, 3, "Rejected", datetime(2026, 1, 1, tzinfo=UTC), "", reason, metadata, None)
    assert package.rolled_back_to == expected
