"""Dirichlet fractions by stick-breaking: distribution, simplex, tails, gradients."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import ndtr

from gammasky.engine.model.priors import Dirichlet, Slot, sticks

ALPHAS = [[1 / 3, 1 / 3, 1 / 3], [0.2] * 5, [1.0, 1.0], [5.0, 0.5, 30.0], [0.05, 2.0]]
fractions, jacobian = jax.jit(sticks.fractions), jax.jit(jax.jacrev(sticks.fractions, 1))
Z = np.array([-6.0, -3.3, -1.0, -0.02, 0.0, 0.4, 1.9, 3.7, 5.5])


def tables(alphas: list[float]) -> jax.Array:
    return jnp.asarray(sticks.stick_tables(np.array(alphas)))


@pytest.mark.parametrize("alphas", ALPHAS)
def test_the_first_fraction_is_a_beta_quantile(alphas: list[float]) -> None:
    """theta_1 ~ Beta(alpha_1, sum of the others), and 1 - theta_1 keeps its digits where it is small."""
    a, b, table = alphas[0], sum(alphas[1:]), tables(alphas)
    rest = jnp.zeros(len(alphas) - 2)
    found = np.array([fractions(table, jnp.concatenate([jnp.array([z]), rest])) for z in Z])
    low, high = Z < 0, Z >= 0
    np.testing.assert_allclose(found[low, 0], stats.beta.ppf(ndtr(Z[low]), a, b), rtol=2e-8)
    np.testing.assert_allclose(found[high, 1:].sum(axis=1), stats.beta.ppf(ndtr(-Z[high]), b, a), rtol=2e-8)


@pytest.mark.parametrize("alphas", ALPHAS)
def test_later_sticks_share_what_is_left(alphas: list[float]) -> None:
    z = np.random.default_rng(5).normal(size=len(alphas) - 1)
    remaining, expected = 1.0, []
    for j, value in enumerate(z):
        stick = stats.beta.ppf(ndtr(value), alphas[j], sum(alphas[j + 1 :]))
        expected.append(remaining * stick)
        remaining *= 1.0 - stick
    np.testing.assert_allclose(fractions(tables(alphas), jnp.asarray(z)), [*expected, remaining], rtol=2e-8)


@pytest.mark.slow
@pytest.mark.parametrize("alphas", ALPHAS)
def test_fractions_are_on_the_simplex_and_finite_in_the_tails(alphas: list[float]) -> None:
    table, n = tables(alphas), len(alphas) - 1
    z = jnp.asarray(np.random.default_rng(6).choice([-20.0, -14.0, -9.0, 0.0, 9.0, 14.0, 20.0], size=(60, n)))
    theta = jax.vmap(fractions, (None, 0))(table, z)
    assert np.isfinite(theta).all()
    assert (np.asarray(theta) >= 0).all()
    np.testing.assert_allclose(theta.sum(axis=1), 1.0, rtol=1e-13)
    assert np.isfinite(jax.vmap(jacobian, (None, 0))(table, z)).all()


@pytest.mark.parametrize("alphas", ALPHAS)
def test_each_entry_of_the_jacobian(alphas: list[float]) -> None:
    """Against central differences, beyond the table too."""
    table, n, step = tables(alphas), len(alphas) - 1, 1e-5
    for centre in (-15.0, -2.0, 0.3, 2.5, 15.0):
        z = np.linspace(centre, centre + 0.1, n)
        found = jacobian(table, jnp.asarray(z))
        for j in range(n):
            shift = step * np.eye(n)[j]
            up, down = fractions(table, jnp.asarray(z + shift)), fractions(table, jnp.asarray(z - shift))
            np.testing.assert_allclose(found[:, j], (up - down) / (2 * step), rtol=1e-6, atol=1e-10)


def test_moments_of_draws() -> None:
    alphas = np.array([0.7, 1.5, 0.4])
    z = jnp.asarray(np.random.default_rng(7).normal(size=(200_000, 2)))
    draws = np.asarray(jax.vmap(fractions, (None, 0))(tables(list(alphas)), z))
    law = stats.dirichlet(alphas)
    np.testing.assert_allclose(draws.mean(axis=0), law.mean(), atol=4e-3)
    np.testing.assert_allclose(np.cov(draws.T), law.cov(), atol=2e-3)
    # every marginal, the last one too, is a Beta
    for j, alpha in enumerate(alphas):
        assert stats.kstest(draws[:20_000, j], stats.beta(alpha, alphas.sum() - alpha).cdf).pvalue > 1e-3


def test_an_infinite_latent_number_is_a_share_of_all_or_nothing() -> None:
    table = tables([0.3, 0.3, 0.3])
    middle = fractions(tables([0.3, 0.3]), jnp.zeros(1))
    for z, expected in (
        ([np.inf, 0.0], [1.0, 0.0, 0.0]),
        ([-np.inf, 0.0], [0.0, *middle]),
        ([-np.inf, np.inf], [0.0, 1.0, 0.0]),
        ([-np.inf, -np.inf], [0.0, 0.0, 1.0]),
    ):
        np.testing.assert_allclose(fractions(table, jnp.asarray(z)), expected, rtol=1e-9)
        slopes = jacobian(table, jnp.asarray(z))
        np.testing.assert_array_equal(slopes[:, np.isinf(z)], 0.0)


def test_parameters_of_several_lengths() -> None:
    """Runs of one length are one operation; each parameter has its own concentrations and part of z."""
    given = [[0.3, 0.3, 0.3], [2.0, 0.5, 1.0], [0.4, 0.6], [1.0, 3.0, 0.2]]
    slots, start = [], 5
    for number, alphas in enumerate(given):
        prior = Dirichlet(prior="dirichlet", concentration=alphas)
        slots.append(Slot(f"theta_{number}", prior, tuple("abc"[: len(alphas)]), start))
        start += len(alphas) - 1
    z = jnp.asarray(np.random.default_rng(8).normal(size=start - 5))
    found = Dirichlet.values(Dirichlet.tables(slots), z, slots)
    assert list(found) == [slot.name for slot in slots]
    for slot, alphas in zip(slots, given, strict=True):
        own = z[slot.start - 5 :][: slot.n_latent]
        np.testing.assert_allclose(found[slot.name], fractions(tables(alphas), own), rtol=1e-14)
