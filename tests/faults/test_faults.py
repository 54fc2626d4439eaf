"""One planted fault of each group, and two clean cases; `make faults` plants all of them."""

from __future__ import annotations

import pytest

from tests.faults import served, trained  # noqa: F401 - importing registers their faults
from tests.faults.clean import CASES, Clean
from tests.faults.planted import FAULTS, Fault

#: The first fault of each group.
FIRST = list({fault.group: fault for fault in reversed(FAULTS)}.values())


def test_there_are_faults_of_every_group_and_clean_cases() -> None:
    counts = {group: sum(fault.group == group for fault in FAULTS) for group in {fault.group for fault in FAULTS}}
    assert counts == {
        "drift": 8, "skew": 9, "silence": 12, "labels": 5, "quality": 7,
        "leak": 7, "label": 2, "challenger": 4, "gate": 5,
    }  # fmt: skip
    assert len({fault.name for fault in FAULTS}) == len(FAULTS)
    assert len(CASES) == 20


@pytest.mark.parametrize("fault", FIRST, ids=[fault.name for fault in FIRST])
def test_a_planted_fault_is_named(fault: Fault) -> None:
    assert fault.name_it() is not None


@pytest.mark.parametrize("case", CASES[5:7], ids=[case.name for case in CASES[5:7]])
def test_a_clean_case_is_found_clean(case: Clean) -> None:
    assert list(case.find()) == []
