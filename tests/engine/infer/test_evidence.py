"""Bridge sampling: known evidences, also where the guide misses a mode, with errors that are those seen."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.stats import norm

from gammasky.engine.infer.evidence import bridge_sampling
from gammasky.engine.infer.importance import importance

LOG_Z = -12.5
SECOND = 12.0  # so far off that no draw of the guide comes near


def log_density(x: np.ndarray) -> np.ndarray:
    """Three quarters in a normal about 0, one quarter in one about SECOND, times exp(LOG_Z)."""
    return LOG_Z + np.logaddexp(np.log(0.75) + norm.logpdf(x), np.log(0.25) + norm.logpdf(x, SECOND))


def posterior(rng: np.random.Generator) -> np.ndarray:
    return rng.standard_normal((4, 1000)) + SECOND * (rng.random((4, 1000)) < 0.25)


def found(seed: int) -> tuple[float, float]:
    """By a guide of the first mode only, slightly too wide."""
    rng = np.random.default_rng(seed)
    x, y = posterior(rng), 1.2 * rng.standard_normal(4000)
    ratio = lambda x: log_density(x) - norm.logpdf(x, scale=1.2)  # noqa: E731
    result = bridge_sampling(ratio(x), ratio(y))
    return result.log_z, result.log_z_error


def test_mass_that_the_guide_misses_is_counted() -> None:
    values, errors = np.array([found(seed) for seed in range(100)]).T
    assert np.all(np.abs(values - LOG_Z) < 4.5 * errors)
    # the standard deviation of n values has a relative standard error of 1 / sqrt(2 n)
    assert values.std() / errors.mean() == pytest.approx(1.0, abs=4.5 / np.sqrt(2 * 100))
    assert abs(values.mean() - LOG_Z) < 4.5 * errors.mean() / np.sqrt(100)


def test_importance_weights_would_miss_it() -> None:
    rng = np.random.default_rng(0)
    y = 1.2 * rng.standard_normal(4000)
    found = importance(log_density(y), norm.logpdf(y, scale=1.2))
    # (N(0, 1) / N(0, s))^2 has the mean s / sqrt(2 - 1 / s^2) over draws of N(0, s), and the weights the mean 1
    error = np.sqrt((1.2 / np.sqrt(2 - 1 / 1.2**2) - 1) / 4000)
    assert found.log_z == pytest.approx(LOG_Z + np.log(0.75), abs=4.5 * error)


def test_a_perfect_guide_has_no_error() -> None:
    result = bridge_sampling(np.full((2, 100), -3.0), np.full(500, -3.0))
    assert result.log_z == pytest.approx(-3.0)
    assert result.log_z_error == pytest.approx(0.0, abs=1e-12)


def test_a_ratio_that_is_not_finite_leaves_no_evidence() -> None:
    for chains, guide in ((np.nan, 0.0), (np.inf, 0.0), (0.0, np.nan), (0.0, np.inf)):
        found = bridge_sampling(np.full((2, 100), chains), np.full(500, guide))
        assert np.isnan([found.log_z, found.log_z_error]).all()
    assert np.isfinite(bridge_sampling(np.zeros((2, 100)), np.where(np.arange(500) < 5, -np.inf, 0.0)).log_z)
