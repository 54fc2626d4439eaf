"""Pausing: schedules and rules that are paused start nothing."""

from __future__ import annotations

from datetime import timedelta
from typing import Any

import pytest

from components.mlops_stack import MlopsStack
from components.stack_args import MlopsStackArgs
from millrace import Environment, FeatureTable, Monitoring, Retraining, UseCase
from millrace.names import PAUSABLE, Names
from tests.components import mocked
from tests.components.flights_stack import BUNDLE_FILE

NAMES = Names("small", "local", mocked.ACCOUNT, "eu-west-1")
#: Pausable trigger → the logical names of its resources, and their names in AWS.
TRIGGERS = {
    "monitor": [("small-local-monitor-schedule", NAMES.monitor_pipeline)],
    "features": [("small-local-features-schedule", NAMES.features_pipeline)],
    "retraining": [
        ("small-local-retraining-backstop", NAMES.retraining_backstop),
        ("small-local-retraining-recheck", NAMES.retraining_recheck),
        ("small-local-retraining-on-alarm", NAMES.retraining_rule),
        ("small-local-retraining-on-data", NAMES.retraining_data_rule),
    ],
}


def read_trigger_states(*what: str, **environment: Any) -> dict[str, str]:
    """Return the state of each schedule and of the retraining rule while ``what`` is paused."""
    use_case = UseCase(
        name="small", target="y", key="k", event_time="t",
        tables=[FeatureTable("w", entity="e", columns={"v": "number"})],
        monitoring=Monitoring(calibration_alarm=0.1),
        retraining=Retraining(on=("drift", "calibration", "data"), every=timedelta(days=7)),
    )  # fmt: skip
    where = Environment(name="local", **environment)
    args = MlopsStackArgs(use_case, where, mocked.ACCOUNT, "aws", BUNDLE_FILE, paused=what)
    found = mocked.run(lambda: MlopsStack("small", args))
    names = {name for pairs in TRIGGERS.values() for name, _ in pairs}
    assert {found[name].inputs["name"] for name in names} == {each for pairs in TRIGGERS.values() for _, each in pairs}
    return {name: found[name].inputs["state"] for name in names}


@pytest.mark.parametrize("what", [(), *((each,) for each in PAUSABLE), PAUSABLE])
def test_exactly_the_paused_triggers_are_disabled(what: tuple[str, ...]) -> None:
    assert set(TRIGGERS) == set(PAUSABLE)
    assert read_trigger_states(*what) == {
        name: "DISABLED" if kind in what else "ENABLED" for kind, pairs in TRIGGERS.items() for name, _ in pairs
    }


def test_with_replayed_time_only_the_rules_are_enabled() -> None:
    found = read_trigger_states(replay_from="2013-04-01T00:00:00Z")
    assert {name for name, state in found.items() if state == "ENABLED"} == {
        "small-local-retraining-on-alarm", "small-local-retraining-on-data"
    }  # fmt: skip


def test_failures_are_reported_while_everything_is_paused() -> None:
    use_case = UseCase(name="small", target="y", key="k", event_time="t")
    args = MlopsStackArgs(use_case, Environment(name="local"), mocked.ACCOUNT, "aws", BUNDLE_FILE, paused=PAUSABLE)
    found = mocked.run(lambda: MlopsStack("small", args))
    assert "state" not in found["small-local-notifications-failures"].inputs
