"""Bounds on log Z: their order, their gradients, and what may not go unnoticed in them."""

from __future__ import annotations

from functools import partial
from itertools import pairwise

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.objective import Objective

LOG_Z = 1.7
GUIDE = jnp.array([0.4, -0.2])  # mean and log width, off those of the posterior
Guide = jax.Array


def log_joint(z: jax.Array) -> jax.Array:
    """A skewed posterior, log Z apart: the logarithm of a gamma variable of shape 3."""
    return LOG_Z - jax.scipy.special.gammaln(3.0) + 3.0 * z - jnp.exp(z)


def log_guide(guide: Guide, z: jax.Array) -> jax.Array:
    return jax.scipy.stats.norm.logpdf(z, guide[0], jnp.exp(guide[1]))


def loss(guide: Guide, noise: jax.Array, objective: Objective, doubly: bool) -> jax.Array:
    """The loss of the draws (K,) that a normal guide makes of some noise."""
    z = guide[0] + jnp.exp(guide[1]) * noise
    log_q = log_guide(jax.lax.stop_gradient(guide) if doubly else guide, z)
    return objective.loss(log_joint(z) - log_q, doubly=doubly)


def noise(repeats: int, particles: int) -> jax.Array:
    return jax.random.normal(jax.random.key(5), (repeats, particles))


def test_bounds_come_in_order() -> None:
    rows = noise(20_000, 4)
    means, errors = [], []
    for alpha in (1.0, 0.999, 0.5, 0.0):
        of_row = partial(loss, GUIDE, objective=Objective(alpha), doubly=False)
        bounds = -np.asarray(jax.jit(jax.vmap(of_row))(rows))
        means.append(bounds.mean())
        errors.append(bounds.std() / np.sqrt(bounds.size))
    assert all(a < b for a, b in pairwise(means))
    assert means[-1] < LOG_Z - 3 * errors[-1]


def test_many_draws_close_the_importance_weighted_bound() -> None:
    of_row = partial(loss, GUIDE, objective=Objective(0.0), doubly=False)
    bounds = jax.jit(jax.vmap(of_row))(noise(50, 4000))
    np.testing.assert_allclose(-bounds.mean(), LOG_Z, atol=0.02)


@pytest.mark.parametrize("alpha", [1.0, 0.7, 0.3, 0.0])
def test_doubly_reparametrised_gradient_is_the_gradient(alpha: float) -> None:
    """In expectation; the values are the same for every draw."""
    rows = noise(100_000, 4)
    values, gradients = [], []
    for doubly in (False, True):
        single = jax.value_and_grad(partial(loss, objective=Objective(alpha), doubly=doubly))
        value, gradient = jax.jit(jax.vmap(partial(single, GUIDE)))(rows)
        values.append(np.asarray(value))
        gradients.append(np.asarray(gradient))
    np.testing.assert_allclose(*values, rtol=0, atol=1e-12)
    difference = gradients[1] - gradients[0]
    error = difference.std(axis=0) / np.sqrt(len(rows))
    assert (np.abs(difference.mean(axis=0)) < 4 * error).all()
    assert (error < 0.02 * np.linalg.norm(gradients[0].mean(axis=0))).all()  # so that the line above can fail


@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_doubly_reparametrised_gradient_vanishes_at_the_posterior(alpha: float) -> None:
    def at_the_guide(guide: Guide, row: jax.Array, doubly: bool) -> jax.Array:
        z = guide[0] + jnp.exp(guide[1]) * row
        log_q = log_guide(jax.lax.stop_gradient(guide) if doubly else guide, z)
        return Objective(alpha).loss(log_guide(GUIDE, z) - log_q, doubly=doubly)

    row, gradient = noise(1, 8)[0], jax.jit(jax.grad(at_the_guide), static_argnums=2)
    np.testing.assert_allclose(gradient(GUIDE, row, True), 0.0, atol=1e-14)
    assert np.abs(gradient(GUIDE, row, False)).max() > 1e-3


def test_elbo_is_the_limit() -> None:
    row = noise(1, 8)[0]
    for doubly in (False, True):
        limit, near = (
            jax.jit(jax.value_and_grad(partial(loss, objective=Objective(alpha), doubly=doubly)))(GUIDE, row)
            for alpha in (1.0, 1 - 1e-7)
        )
        np.testing.assert_allclose(near[0], limit[0], rtol=1e-6)
        np.testing.assert_allclose(near[1], limit[1], rtol=1e-5)


@pytest.mark.parametrize("doubly", [False, True])
@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
@pytest.mark.parametrize("alpha", [1.0, 0.5, 0.0])
def test_a_draw_that_is_not_finite_is_not_averaged_away(alpha: float, bad: float, doubly: bool) -> None:
    assert not np.isfinite(Objective(alpha).loss(jnp.array([0.3, bad, -2.0]), doubly=doubly))


def test_weights_of_any_size() -> None:
    """exp(-20000) underflows; a draw that is 1e6 nat worse has no share, and costs log 2."""
    for doubly in (False, True):
        value = Objective(0.0).loss(jnp.array([-2.0e4, -1.02e6]), doubly=doubly)
        np.testing.assert_allclose(value, 2.0e4 + np.log(2), rtol=1e-15)


@pytest.mark.parametrize("alpha", [-0.1, 1.5, float("nan")])
def test_alpha_out_of_range(alpha: float) -> None:
    with pytest.raises(InputError, match="alpha: expected a number from 0 to 1, got"):
        Objective(alpha)
