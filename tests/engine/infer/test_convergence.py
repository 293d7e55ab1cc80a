"""R-hat and effective sample sizes where their values are known."""

from __future__ import annotations

import numpy as np
import pytest

from gammasky.engine.infer.convergence import Convergence, convergence


def autoregressive(rho: float, chains: int, draws: int, seed: int) -> np.ndarray:
    """Chains with correlation rho^t, unit variance: ESS per draw (1 - rho) / (1 + rho)."""
    noise = np.random.default_rng(seed).standard_normal((chains, draws))
    x = np.empty_like(noise)
    x[:, 0] = noise[:, 0]
    for t in range(1, draws):
        x[:, t] = rho * x[:, t - 1] + np.sqrt(1 - rho**2) * noise[:, t]
    return x


def test_independent_draws() -> None:
    found = convergence(np.random.default_rng(1).standard_normal((4, 2000)))
    assert found.r_hat == pytest.approx(1.0, abs=0.002)
    assert found.ess_bulk == pytest.approx(8000, rel=0.1)
    assert found.ess_tail == pytest.approx(8000, rel=0.15)
    assert found.good


@pytest.mark.parametrize("rho", [0.5, 0.9])
def test_autoregressive_chains_have_their_known_effective_size(rho: float) -> None:
    found = convergence(autoregressive(rho, 4, 20_000, seed=2))
    assert found.ess_bulk == pytest.approx(80_000 * (1 - rho) / (1 + rho), rel=0.15)


def test_chains_in_two_modes_are_found_out() -> None:
    draws = np.random.default_rng(3).standard_normal((4, 1000))
    draws[0] += 3.0
    found = convergence(draws)
    assert found.r_hat > 1.2
    assert not found.good


def test_chains_of_one_mean_but_different_widths_are_found_out() -> None:
    """The folded half of the rank-normalised R-hat."""
    draws = np.random.default_rng(4).standard_normal((4, 1000))
    draws[0] *= 5.0
    assert convergence(draws).r_hat > 1.05


def test_a_number_that_never_varies() -> None:
    assert convergence(np.full((4, 100), 2.5)).good


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_one_draw_that_is_not_finite_is_enough(bad: float) -> None:
    draws = np.random.default_rng(5).standard_normal((4, 500))
    draws[2, 7] = bad
    found = convergence(draws)
    assert np.isnan([found.r_hat, found.ess_bulk, found.ess_tail, found.smallest_ess]).all()
    assert not found.good


@pytest.mark.parametrize("sizes", [(900.0, np.nan), (np.nan, 900.0)])
def test_the_smallest_of_a_size_and_nan_is_nan(sizes: tuple[float, float]) -> None:
    assert np.isnan(Convergence(1.0, *sizes).smallest_ess)


def test_chains_that_never_move() -> None:
    assert not convergence(np.repeat([[0.0], [1.0], [2.0]], 100, axis=1)).good


def test_one_chain_says_nothing_of_convergence() -> None:
    with pytest.raises(ValueError, match="at least 2 chains"):
        convergence(np.zeros((1, 100)))
