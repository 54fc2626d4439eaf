"""What the registry keeps of a decision, as programs read it."""

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
        # Kept by version 0.1, which had the reason alone.
        ({}, "rolled back to version 12: too many alarms", 12),
        ({}, "rolled back to version 12", 12),
        ({}, "not rolled back to version 12", None),
        ({}, "rolled back to version 12b", None),
        ({}, "", None),
    ],
)
def test_which_version_a_rollback_went_back_to(metadata: dict[str, str], reason: str, expected: int | None) -> None:
    package = Package(ARN, 3, "Rejected", datetime(2026, 1, 1, tzinfo=UTC), "", reason, metadata, None)
    assert package.rolled_back_to == expected
