"""Quantiles of the priors against scipy, tails and gradients included."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats
from scipy.special import log_ndtr, ndtr

from gammasky.engine.model.latent import Latent, log_standard_normal
from gammasky.engine.model.priors import Dirichlet, HalfNormal, LogUniform, Normal, Uniform

Z = np.array([-8.0, -5.0, -2.5, -1.0, -0.1, 0.0, 0.3, 1.7, 4.0, 6.0])

CASES = [
    (Uniform(prior="uniform", low=-2.0, high=7.0), stats.uniform(-2.0, 9.0)),
    (LogUniform(prior="loguniform", low=1e-6, high=10.0), stats.loguniform(1e-6, 10.0)),
    (Normal(prior="normal", mean=-1.5, sd=0.3), stats.norm(-1.5, 0.3)),
    (HalfNormal(prior="halfnormal", sd=2.0, low=0.5), stats.halfnorm(0.5, 2.0)),
]


@pytest.mark.parametrize(("prior", "reference"), CASES, ids=lambda case: type(case).__name__)
def test_quantiles(prior: Any, reference: Any) -> None:
    numbers = [jnp.asarray(number) for number in prior.numbers()]
    found = prior.quantile(jnp.asarray(Z), *numbers)
    expected = np.where(Z < 0, reference.ppf(ndtr(Z)), reference.isf(ndtr(-Z)))
    np.testing.assert_allclose(found, expected, rtol=1e-12)


@pytest.mark.parametrize(("prior", "reference"), CASES, ids=lambda case: type(case).__name__)
def test_gradients_are_the_ratio_of_densities(prior: Any, reference: Any) -> None:
    """d theta / dz = phi(z) / f(theta)."""
    numbers = [jnp.asarray(number) for number in prior.numbers()]
    found = jax.vmap(jax.grad(prior.quantile), (0, None, None))(jnp.asarray(Z), *numbers)
    theta = np.asarray(prior.quantile(jnp.asarray(Z), *numbers))
    np.testing.assert_allclose(found, stats.norm.pdf(Z) / reference.pdf(theta), rtol=1e-9)


@pytest.mark.parametrize("prior", [case[0] for case in CASES], ids=lambda case: type(case).__name__)
def test_far_tails_are_finite_and_inside_the_support(prior: Any) -> None:
    z = jnp.asarray([-37.0, -20.0, 20.0, 37.0])
    numbers = [jnp.asarray(number) for number in prior.numbers()]
    values = np.asarray(prior.quantile(z, *numbers))
    low, high = prior.support()
    assert np.isfinite(values).all()
    # exp(log(low)) may round to just below low
    assert (values >= low * (1 - 1e-14 * np.sign(low))).all()
    assert (values <= high * (1 + 1e-14)).all()
    assert np.isfinite(jax.vmap(jax.grad(prior.quantile), (0, None, None))(z, *numbers)).all()


def test_the_small_side_of_a_half_normal_keeps_its_digits() -> None:
    found = HalfNormal.quantile(jnp.asarray(20.0), jnp.asarray(0.0), jnp.asarray(1.0))
    # P(theta > t) = 2 Phi(-t) = Phi(-20): compare logarithms
    np.testing.assert_allclose(np.log(2) + log_ndtr(-float(found)), log_ndtr(-20.0), rtol=1e-12)


def test_layout_of_the_latent_vector() -> None:
    """Order of kinds, elements of vectors, sticks last; every entry of z moves its own parameter alone."""
    priors = {
        "mix": Dirichlet(prior="dirichlet"),
        "a": Normal(prior="normal", mean=1.0, sd=2.0),
        "v": Uniform(prior="uniform", low=0.0, high=1.0),
        "b": Uniform(prior="uniform", low=5.0, high=6.0),
    }
    latent = Latent(priors, {"mix": ("x", "y", "z"), "a": (), "v": ("1,0", "1,1"), "b": ()})
    assert latent.n_latent == 6
    assert latent.names == ["v[1,0]", "v[1,1]", "b", "a", "mix[x]", "mix[y]"]
    arrays = jax.tree.map(jnp.asarray, latent.arrays())
    base = latent.parameters(arrays, jnp.zeros(6))
    assert list(base) == ["mix", "a", "v", "b"]
    assert base["mix"].shape == (3,)
    for entry, name in enumerate(latent.names):
        moved = latent.parameters(arrays, jnp.zeros(6).at[entry].set(0.7))
        changed = [key for key in base if not np.array_equal(base[key], moved[key])]
        assert changed == [name.split("[")[0]]
    moved = latent.parameters(arrays, jnp.zeros(6).at[1].set(0.7))
    np.testing.assert_allclose(moved["v"], [0.5, ndtr(0.7)], rtol=1e-14)


def test_log_standard_normal() -> None:
    z = np.random.default_rng(3).normal(size=9)
    np.testing.assert_allclose(log_standard_normal(jnp.asarray(z)), stats.norm.logpdf(z).sum(), rtol=1e-14)
