"""When outcomes are certain: delays that are learned, declared, or cannot be learned."""

from __future__ import annotations

from datetime import timedelta

import numpy as np
import pytest

from tests.training import synthetic
from training.data.maturity import Maturity, learn_maturity

DAY = np.timedelta64(1, "D")
AS_OF = np.datetime64("2024-12-31T00:00:00", "us")


def make_labels(days: int, delays: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Return the times of events of so many days, ending now, and when their labels became known; NaT if not yet."""
    times = AS_OF - days * DAY + np.arange(len(delays)) * (days * DAY.astype("timedelta64[us]") // len(delays))
    known_at = times + (delays * 86_400e6).astype("timedelta64[us]")
    known_at[known_at > AS_OF] = np.datetime64("NaT")
    return times, known_at


def test_the_age_is_that_by_which_the_slow_outcome_is_known() -> None:
    rng = np.random.default_rng(1)
    positive = rng.random(20_000) < 0.3
    case = synthetic.use_case(history=timedelta(days=365))
    times, known_at = make_labels(300, np.where(positive, 5.0, 45.0))
    found = learn_maturity(case, times, known_at, AS_OF)
    assert found.after / DAY == pytest.approx(45, abs=0.01)
    assert found.coverage == 1.0
    # Without it, the newest labelled events would be of one outcome only.
    labelled = ~np.isnat(known_at)
    assert positive[labelled & (times > AS_OF - 40 * DAY)].all()
    mature = labelled & (times <= AS_OF - found.after)
    assert positive[mature].mean() == pytest.approx(0.3, abs=0.01)


def test_a_declared_age_counts_and_labels_that_never_come_lower_the_coverage() -> None:
    rng = np.random.default_rng(2)
    times, known_at = make_labels(100, rng.exponential(1.0, 8000))
    known_at[rng.random(8000) < 0.2] = np.datetime64("NaT")
    case = synthetic.use_case(history=timedelta(days=365), labels_mature_after=timedelta(days=10))
    found = learn_maturity(case, times, known_at, AS_OF)
    assert found.after == np.timedelta64(10, "D")
    assert found.coverage == pytest.approx(0.8, abs=0.02)
    # A label arrives within a day with a probability of 1 - 1/e, and one in five never does.
    expected = found.expect_labels(np.array([0, 1, 10]) * DAY.astype("timedelta64[us]"))
    assert expected == pytest.approx([0.0, 0.8 * (1 - 1 / np.e), 0.8], abs=0.03)


def test_labels_that_were_loaded_at_once_do_not_make_all_events_young() -> None:
    times = AS_OF - 300 * DAY + np.arange(3000) * np.timedelta64(144, "m")
    case = synthetic.use_case(history=timedelta(days=365))
    found = learn_maturity(case, times, np.full(3000, AS_OF), AS_OF)
    assert found.after / DAY == pytest.approx(365 / 4)


def test_labels_at_once_are_certain_at_once() -> None:
    times, known_at = make_labels(50, np.zeros(1000))
    found = learn_maturity(synthetic.use_case(), times, known_at, AS_OF)
    assert found.after == np.timedelta64(0, "us")
    assert found.expect_labels(np.array([0], dtype="timedelta64[us]")) == pytest.approx([1.0])


def test_a_model_of_an_earlier_version_knows_nothing_about_labels() -> None:
    found = Maturity.load({})
    assert found.after == np.timedelta64(0, "us")
    assert np.isnan(found.expect_labels(np.array([5], dtype="timedelta64[us]"))).all()
    assert Maturity.load(Maturity(DAY.astype("timedelta64[us]"), (0.0, 3.0), 0.5).dump()).dump() == {
        "mature_after": 86_400.0, "delays": [0.0, 3.0], "coverage": 0.5,
    }  # fmt: skip


def test_outcomes_that_are_empty_until_they_are_known_show_their_delay_by_age() -> None:
    """A file without times of labels: its young rows have no outcome yet."""
    rng = np.random.default_rng(4)
    times, known_at = make_labels(365, 1.0 + rng.exponential(4.0, 20_000))
    labelled = ~np.isnat(known_at) & (rng.random(20_000) < 0.9)
    at_once = np.where(labelled, times, np.datetime64("NaT", "us"))
    case = synthetic.use_case(history=timedelta(days=365))
    found = learn_maturity(case, times, at_once, AS_OF)
    # 95 % are known after 1 + 4 ln 20 days.
    assert found.after / DAY == pytest.approx(1 + 4 * np.log(20), abs=4)
    assert found.coverage == pytest.approx(0.9, abs=0.02)
    ages = np.array([0.5, 5.0, 40.0]) * 86_400e6
    expected = found.expect_labels(ages.astype("timedelta64[us]"))
    assert expected == pytest.approx([0.0, 0.9 * (1 - np.exp(-1)), 0.9], abs=0.12)
    # Where young rows have outcomes as often as old ones, they are known at once.
    complete = learn_maturity(case, times, np.where(rng.random(20_000) < 0.9, times, np.datetime64("NaT", "us")), AS_OF)
    assert complete.after == np.timedelta64(0, "us")
