"""Documents that jobs and commands exchange: they round-trip, and an invalid one is refused by its field."""

from __future__ import annotations

import json
from typing import Any

import pytest

from millrace.documents import Evaluation
from millrace.errors import DataError
from millrace.monitor_report import MonitorReport

#: A document of the first version, which had no version number yet.
FIRST: dict[str, Any] = {
    "gate": {"passed": 0, "failed": "roc_auc is 0.6100; expected at least 0.65"},
    "approval": {"status": "Rejected", "description": "roc_auc is 0.6100; expected at least 0.65"},
    "metrics": {"rows": 200, "roc_auc": 0.61, "latency_ms_p50": 1.5},
    "champion": {"package": "", "text": "there is no champion", "rows": 0, "champion": None, "challenger": None},
    "slices": {"band": {"groups": {"a": {"rows": 120, "base_rate": 0.2, "tpr": None, "fpr": 0.1, "roc_auc": None}},
                        "max_tpr_gap": 0.4, "max_fpr_gap": None, "tpr_gap": None, "fpr_gap": None}},
    "calibration": [{"rows": 20, "predicted": 0.1, "observed": 0.15}],
    "identity": {"snapshot": "a", "code": "b"},
    "metadata": {"as_of": "2024-04-15T00:00:00Z"},
}  # fmt: skip


#: The same, as this version holds it: the two gaps that there were are among those that there are.
NOW: dict[str, Any] = {
    **FIRST,
    "slices": {"band": {"groups": FIRST["slices"]["band"]["groups"],
                        "gaps": {"tpr": {"value": None, "bound": 0.4}, "fpr": {"value": None, "bound": None}}}},
}  # fmt: skip


def test_a_first_version_evaluation_loses_nothing() -> None:
    # It said whether the challenger is better, where a later one says by how much and how sure that is.
    written = {**FIRST, "champion": {**FIRST["champion"], "is_better": None}}
    found = Evaluation.load(json.dumps(written), "evaluation.json")
    assert found.version == 1
    assert found.slices["band"].groups["a"].fpr == 0.1
    assert found.dump() == NOW
    assert Evaluation.load(json.dumps(NOW), "evaluation.json") == found
    # A count is written as one: 200, not 200.0.
    assert json.dumps(found.dump()["metrics"]) == json.dumps(FIRST["metrics"])


def test_unknown_fields_of_a_later_version_are_ignored() -> None:
    later = {**FIRST, "bootstrap": {"low": 0.6}, "gate": {**FIRST["gate"], "interval": [0.6, 0.7]}}
    assert Evaluation.load(json.dumps(later), "evaluation.json").dump() == NOW


@pytest.mark.parametrize(
    ("text", "said"),
    [
        ("", "is not JSON"),
        ("[]", "the document is not as expected"),
        (json.dumps({**FIRST, "version": 2}), "version is not as expected"),
        (json.dumps({**FIRST, "gate": None}), "gate is not as expected"),
        (json.dumps({**FIRST, "metrics": {"roc_auc": "good"}}), "metrics.roc_auc is not as expected"),
        (json.dumps({**FIRST, "calibration": [{"rows": 1}]}), "calibration.0.predicted is not as expected"),
    ],
)
def test_an_invalid_evaluation_is_refused_by_field(text: str, said: str) -> None:
    with pytest.raises(DataError, match=f"^s3://lake/e.json:? {said}"):
        Evaluation.load(text, "s3://lake/e.json")


def test_a_report_contains_only_measured_values() -> None:
    document = {"version": 1, "as_of": "2024-04-15T00:00:00Z", "since": "2024-04-01T00:00:00Z", "rows": 0, "notes": []}
    report = MonitorReport.load(json.dumps(document), "monitor.json")
    assert report.drift is None
    assert report.dump() == document
    assert report.model_copy(update={"drift": None}).dump() == {**document, "drift": None}
