"""Quantiles of counts are those of scipy.stats."""

from __future__ import annotations

import subprocess
import sys

import numpy as np
import pytest
from scipy import stats

from training.quantiles import compute_binomial_quantile, compute_negative_binomial_quantile

SHARES = (0.001, 0.003, 0.4, 0.9, 0.99, 0.994, 0.9999)


@pytest.mark.parametrize("share", SHARES)
def test_binomial_quantiles_are_those_of_scipy(share: float) -> None:
    rng = np.random.default_rng(1)
    for count in (1, 2, 7, 60, 1000, 20_000, 1_000_000):
        for chance in (0.0, 1e-6, 0.001, 0.02, 0.26, 0.5, 0.97, 1.0, *rng.random(20)):
            expected = float(stats.binom.ppf(share, count, chance))
            assert compute_binomial_quantile(share, count, float(chance)) == expected, (count, chance)


@pytest.mark.parametrize("share", SHARES)
def test_negative_binomial_quantiles_are_those_of_scipy(share: float) -> None:
    rng = np.random.default_rng(2)
    for size in (0.3, 1.0, 2.5, 40.0, 900.0, *(10 ** rng.uniform(-1, 4, 10))):
        for expected in (0.4, 3.0, 55.0, 700.0, 20_000.0):
            chance = size / (size + expected)
            wanted = float(stats.nbinom.ppf(share, size, chance))
            assert compute_negative_binomial_quantile(share, float(size), chance) == wanted, (size, expected)


def test_no_job_imports_scipy_stats() -> None:
    """It takes a second, which every job and every monitor would pay."""
    modules = "training.monitoring.monitor, training.data.validate, training.modeling.evaluate, training.data.dataset"
    program = f"import sys, {modules}; sys.exit('scipy.stats' in sys.modules)"
    assert subprocess.run([sys.executable, "-c", program], check=False).returncode == 0
