"""Importance weights: known log Z, known Pareto shape, and the sign that `psislw` wants."""

from __future__ import annotations

import numpy as np
import pytest
from scipy import stats
from scipy.special import logsumexp

from gammasky.engine.errors import InputError
from gammasky.engine.infer.importance import importance, psis


@pytest.mark.parametrize("rate", [1.25, 1.5, 2.0, 3.0])
def test_k_hat_of_exponential_ratios(rate: float) -> None:
    """Target Exp(1), draws from Exp(rate): w = exp((rate - 1) x) / rate is Pareto with shape k = 1 - 1 / rate."""
    n = 100_000
    x = -np.log1p(-(np.random.default_rng(1).permutation(n) + 0.5) / n) / rate  # the quantiles, shuffled: no scatter
    smoothed, k_hat = psis((rate - 1) * x)
    # the prior of k-hat, ten draws at 0.5 beside a tail of 3 sqrt(n), moves it by up to 3 / tail, the steps by 1 / tail
    assert k_hat == pytest.approx(1 - 1 / rate, abs=5 / int(3 * np.sqrt(n)))
    order = np.argsort(x)
    assert (np.diff(smoothed[order]) >= -1e-9).all()  # large weights stay large


@pytest.mark.parametrize(
    "log_weights",
    [
        np.linspace(-1e5, 0.0, 1000),  # one weight outweighs all others together
        np.r_[np.full(998, -np.inf), 0.0, 1.0],
        np.r_[np.linspace(-1.0, 0.0, 500), np.full(490, 0.5), np.full(10, 3.0)],
    ],
    ids=["underflow", "two draws", "ties"],
)
def test_a_tail_that_cannot_be_fitted_is_the_worst(log_weights: np.ndarray) -> None:
    """arviz-stats gives these a k-hat of 0.05."""
    smoothed, k_hat = psis(log_weights)
    assert k_hat == np.inf
    np.testing.assert_allclose(smoothed, log_weights - logsumexp(log_weights))


def test_a_guide_that_is_the_posterior() -> None:
    z = np.random.default_rng(2).normal(size=5000)
    found = importance(stats.norm.logpdf(z) - 7.5, stats.norm.logpdf(z))
    assert found.log_z == pytest.approx(-7.5, abs=1e-12)
    assert found.elbo == pytest.approx(-7.5, abs=1e-12)
    assert found.log_z_error < 1e-12
    assert found.efficiency == pytest.approx(1.0, abs=1e-9)
    assert found.shift(z) == pytest.approx(0.0, abs=1e-9)


def test_evidence_of_a_shifted_guide() -> None:
    """log Z and its error, ESS and the shift of the mean, against closed forms for two normals."""
    n, delta, log_z = 200_000, 0.5, 3.0
    z = np.random.default_rng(3).normal(size=n)
    found = importance(log_z + stats.norm.logpdf(z, loc=delta), stats.norm.logpdf(z))
    assert found.elbo == pytest.approx(log_z - delta**2 / 2, abs=5 * found.elbo_error)
    assert abs(found.log_z - log_z) < 4 * found.log_z_error
    assert found.log_z_error == pytest.approx(np.sqrt(np.expm1(delta**2) / n), rel=0.1)
    assert found.efficiency == pytest.approx(np.exp(-(delta**2)), rel=0.02)
    assert found.shift(z) == pytest.approx(delta, abs=0.02)
    assert found.k_hat < 0.5
    drawn = z[found.resampled(50_000, seed=4)]
    assert drawn.mean() == pytest.approx(delta, abs=0.03)
    assert drawn.std() == pytest.approx(1.0, abs=0.03)


def test_a_guide_that_is_too_narrow() -> None:
    """In two dimensions the weights are Pareto with shape k = 1 - scale^2."""
    n, scale = 200_000, 0.1
    z = scale * np.random.default_rng(5).normal(size=(n, 2))
    k_hat = importance(stats.norm.logpdf(z).sum(axis=1), stats.norm.logpdf(z, scale=scale).sum(axis=1)).k_hat
    k = 1 - scale**2
    assert k_hat > 0.7  # five standard errors, (1 + k) / sqrt(tail) = 0.054 of a tail of 3 sqrt(n), below k
    assert k_hat == pytest.approx(k, abs=5 * (1 + k) / np.sqrt(3 * np.sqrt(n)))


def test_draws_of_no_density_and_bad_ones() -> None:
    z = np.random.default_rng(6).uniform(-1, 1, 4000)
    inside = np.where(z > 0, 0.0, -np.inf)
    found = importance(inside, np.full(z.size, np.log(0.5)))
    assert found.log_z == pytest.approx(0.0, abs=0.05)
    assert found.weights[z < 0].max() == 0.0
    assert found.elbo == -np.inf
    bad_number = found.shift(np.where(np.arange(z.size) == 7, np.nan, z))
    assert np.isnan(bad_number)  # no shift of zero
    for bad in (np.nan, np.inf):
        with pytest.raises(InputError, match=f"draw 7 has log weight {bad}"):
            importance(np.where(np.arange(200) == 7, bad, 0.0), np.zeros(200))
    with pytest.raises(InputError, match="at least 100 draws, got 5"):
        importance(np.zeros(5), np.zeros(5))
