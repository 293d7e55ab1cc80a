"""Variational steps: they find known posteriors, and are the same however they are cut."""

from __future__ import annotations

from dataclasses import replace
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.svi import Settings, VariationalFit, is_flat
from gammasky.engine.model import SkyModel

MEAN = jnp.array([0.5, -1.0, 0.2])
COVARIANCE = jnp.array([[0.6, 0.3, 0.0], [0.3, 0.5, 0.1], [0.0, 0.1, 0.2]])


def stand_in(wall: float = np.inf) -> Any:
    """A correlated normal distribution in the place of a sky model; not finite where z[0] > wall."""
    precision = jnp.linalg.inv(COVARIANCE)

    def log_density(z: jax.Array, arrays: Any = None, beta: Any = 1.0) -> jax.Array:  # noqa: ARG001
        offset = z - MEAN
        value = -0.5 * offset @ precision @ offset - 0.5 * jnp.linalg.slogdet(2 * jnp.pi * COVARIANCE)[1]
        return beta * jnp.where(z[0] > wall, jnp.nan, value)

    def explain(theta: Any) -> NonFiniteLikelihoodError:
        return NonFiniteLikelihoodError(f"bad at {float(theta['z'][0]):.3f}")

    single = jax.value_and_grad(log_density)
    return SimpleNamespace(
        n_latent=3,
        arrays={},
        log_density=log_density,
        program=lambda _key, build: build(),
        value_and_gradient=lambda z: jax.vmap(single)(z) if jnp.ndim(z) == 2 else single(z),
        parameters=lambda z: {"z": z},
        explain=explain,
    )


def wide_start() -> Laplace:
    return Laplace(np.zeros(3), np.eye(3), 0.0, np.zeros(1))


@pytest.mark.parametrize("guide", ["mvn", "iaf", "flow"])
def test_finds_a_correlated_normal(guide: str) -> None:
    fit = VariationalFit(
        stand_in(), Settings(guide=guide, learning_rate=0.01, particles=16, schedule="cosine", steps=1500)
    )
    state, start, elbos = fit.start(wide_start()), wide_start(), []
    for _ in range(3):
        state, elbo = fit.advance(state, start, 500)
        elbos.append(elbo)
    assert np.mean(elbos[-1][-200:]) > -0.02  # log Z = 0: the guide is the posterior
    z, log_q = fit.draw(state, start, 4000)
    np.testing.assert_allclose(z.mean(axis=0), MEAN, atol=0.06)
    np.testing.assert_allclose(np.cov(z.T), COVARIANCE, atol=0.06)
    log_p = np.asarray(jax.vmap(stand_in().log_density)(jnp.asarray(z)))
    assert np.std(log_p - log_q) < 0.2


def test_diagonal_finds_the_conditional_widths() -> None:
    fit = VariationalFit(stand_in(), Settings(guide="diagonal", learning_rate=0.02, schedule="cosine", steps=1000))
    state, _ = fit.advance(fit.start(wide_start()), wide_start(), 1000)
    expected = np.sqrt(1 / np.diag(np.linalg.inv(COVARIANCE)))
    np.testing.assert_allclose(np.exp(state["guide"]["log_scale"]), expected, rtol=0.1)


@pytest.mark.parametrize("cuts", [(60,), (1, 59), (7, 20, 33)])
def test_steps_do_not_depend_on_where_they_are_cut(cuts: tuple[int, ...]) -> None:
    fit = VariationalFit(stand_in(), Settings(guide="mvn", steps=60))
    whole, trace = fit.advance(fit.start(wide_start()), wide_start(), 60)
    state, parts = fit.start(wide_start()), []
    for cut in cuts:
        state, elbo = fit.advance(state, wide_start(), cut)
        parts.append(elbo)
    np.testing.assert_array_equal(np.concatenate(parts), trace)
    assert jax.tree.all(jax.tree.map(lambda a, b: bool((a == b).all()), state, whole))


def test_seed_decides_the_steps() -> None:
    def trace(seed: int) -> np.ndarray:
        fit = VariationalFit(stand_in(), Settings(guide="mvn", steps=20, seed=seed))
        return fit.advance(fit.start(wide_start()), wide_start(), 20)[1]

    np.testing.assert_array_equal(trace(4), trace(4))
    assert not np.array_equal(trace(4), trace(5))


def test_non_finite_draw_is_named() -> None:
    fit = VariationalFit(stand_in(wall=1.0), Settings(guide="mvn", steps=100))
    with pytest.raises(NonFiniteLikelihoodError, match=r"bad at (1\.[0-9]+|[2-9]\.)"):
        fit.advance(fit.start(wide_start()), wide_start(), 100)


def test_tempering_raises_the_weight_of_the_likelihood() -> None:
    fit = VariationalFit(stand_in(), Settings(temper=10))
    weights = [float(fit._beta(jnp.asarray(step))) for step in (0, 5, 10, 50)]
    np.testing.assert_allclose(weights, [0.05, 0.525, 1.0, 1.0])


def test_flatness() -> None:
    rng = np.random.default_rng(0)
    noise = rng.standard_normal(1000)
    assert is_flat(noise, 400)
    assert not is_flat(noise + 0.005 * np.arange(1000), 400)
    assert not is_flat(noise[:700], 400)  # too short to tell


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"guide": "flown"}, "unknown guide 'flown'; did you mean 'flow'"),
        ({"schedule": "cosin"}, "did you mean 'cosine'"),
        ({"steps": 0}, "steps: expected a whole number of at least 1, got 0"),
        ({"learning_rate": float("nan")}, "learning_rate: expected a positive number"),
        ({"clip": -1.0}, "clip: expected a positive number"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        Settings(**change)


def test_another_sky_costs_no_compilation(small_model: SkyModel) -> None:
    """Steps, draws and densities of a model `with_counts` run in the programs that are there; results differ."""
    rng = np.random.default_rng(4)
    settings = Settings(guide="mvn", steps=3)
    start = Laplace(np.zeros(small_model.n_latent), np.eye(small_model.n_latent), 0.0, np.zeros(1))
    elbo, sizes = [], []
    for seed in range(3):
        model = small_model.with_counts(rng.permutation(small_model.pixels.counts))
        fit = VariationalFit(model, replace(settings, seed=seed))
        state, trace = fit.advance(fit.start(start), start, 3)
        fit.draw(state, start, 5)
        model.value_and_gradient(start.mode)
        elbo.append(trace)
        sizes.append([program._cache_size() for program in model._programs.values()])
    assert len({tuple(trace) for trace in elbo}) == 3
    assert sizes[0] == sizes[-1]
    again = small_model.with_counts(model.pixels.counts)
    fit = VariationalFit(again, replace(settings, seed=2))
    np.testing.assert_array_equal(fit.advance(fit.start(start), start, 3)[1], elbo[-1])
