"""The No-U-Turn sampler: known posteriors, honest diagnostics, the same however it is cut."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.convergence import convergence
from gammasky.engine.infer.coordinates import latent_coordinates
from gammasky.engine.infer.nuts import MAX_CHUNK, Chains, ChainSettings, Chunk, State
from gammasky.engine.infer.optimise import Laplace

MEAN = jnp.array([0.5, -1.0, 0.2])
COVARIANCE = jnp.array([[0.6, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.002]])


def stand_in(log_density: Callable[[jax.Array], jax.Array], size: int) -> Any:
    """A density of z in the place of a sky model."""
    single = jax.value_and_grad(log_density)
    return SimpleNamespace(
        n_latent=size,
        arrays={},
        log_density=lambda z, _arrays=None: log_density(z),
        program=lambda _key, build: build(),
        value_and_gradient=lambda z: jax.vmap(single)(z),
    )


def normal(z: jax.Array) -> jax.Array:
    offset = z - MEAN
    return -0.5 * offset @ jnp.linalg.inv(COVARIANCE + 0.03 * jnp.eye(3)) @ offset


def wide(size: int) -> Laplace:
    return Laplace(np.zeros(size), np.eye(size), 0.0, np.zeros(1))


def run(chains: Chains, state: State, n_iterations: int, chunk: int = MAX_CHUNK) -> tuple[State, Chunk]:
    parts = []
    while int(state["iteration"]) < n_iterations:
        state, part = chains.advance(state, min(chunk, n_iterations - int(state["iteration"])))
        parts.append(part)
    return state, Chunk.joined(parts, state["x"].shape[0], state["x"].shape[1])


def starts(n: int, size: int, seed: int = 0) -> np.ndarray:
    return np.random.default_rng(seed).standard_normal((n, size))


def test_finds_a_correlated_normal_from_a_mass_matrix_that_is_wrong() -> None:
    chains = Chains(stand_in(normal, 3), ChainSettings(chains=4, warmup=400, seed=1), latent_coordinates())
    state, kept = run(chains, chains.start(starts(4, 3), wide(3)), 2400)
    z = kept.z[400:]
    found = [convergence(z[:, :, axis].T) for axis in range(3)]
    assert all(of.good for of in found)
    covariance = np.asarray(COVARIANCE) + 0.03 * np.eye(3)
    error = np.sqrt(np.diag(covariance) / [of.ess_bulk for of in found])
    assert np.all(np.abs(z.mean(axis=(0, 1)) - MEAN) < 4.5 * error)
    np.testing.assert_allclose(np.cov(z.reshape(-1, 3).T), covariance, atol=0.08)
    # learnt: in its units the step is that of an isotropic normal, not of the narrowest direction
    np.testing.assert_allclose(np.diag(state["metric"]) / np.diag(covariance), 1.0, atol=0.35)
    assert 0.5 < chains.step_size(state) < 2.0
    assert kept.divergent[400:].mean() == 0.0
    assert kept.leapfrogs[400:].mean() < 8


@pytest.mark.slow
@pytest.mark.parametrize("chunk", [1, 7])
def test_the_same_however_it_is_cut(chunk: int) -> None:
    model = stand_in(normal, 3)
    results = []
    for size in (MAX_CHUNK, chunk):
        chains = Chains(model, ChainSettings(chains=2, warmup=60, seed=3), latent_coordinates())
        _, kept = run(chains, chains.start(starts(2, 3), wide(3)), 90, size)
        results.append(kept)
    for name in ("z", "log_density", "divergent", "leapfrogs"):
        np.testing.assert_array_equal(getattr(results[0], name), getattr(results[1], name))


@pytest.mark.slow
def test_a_wall_is_never_crossed_and_is_told() -> None:
    """Where there is no density a trajectory ends, as divergent."""
    wall = lambda z: jnp.where(z[0] > 0.5, jnp.nan, -0.5 * jnp.sum(z**2))  # noqa: E731
    chains = Chains(stand_in(wall, 2), ChainSettings(chains=2, warmup=100, seed=4), latent_coordinates())
    _, kept = run(chains, chains.start(np.full((2, 2), -0.5), wide(2)), 400)
    assert kept.z[:, :, 0].max() <= 0.5
    assert np.isfinite(kept.log_density).all()
    assert kept.divergent.mean() > 0.05
    # what is left of a normal distribution below 0.5 has mean -phi(0.5) / Phi(0.5)
    assert kept.z[100:, :, 0].mean() == pytest.approx(-0.509, abs=0.12)


@pytest.mark.parametrize(("name", "value"), [("chains", 1), ("warmup", 10), ("max_doublings", 0), ("seed", -1)])
def test_settings_that_make_no_sense_are_refused(name: str, value: int) -> None:
    with pytest.raises(InputError, match=f"{name}: expected a whole number of at least"):
        ChainSettings(**{name: value})
