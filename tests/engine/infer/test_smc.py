"""Tempered sequential Monte Carlo: known evidences and modes, honest errors, the same however it is cut."""

from __future__ import annotations

from collections.abc import Callable
from types import SimpleNamespace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError
from gammasky.engine.infer.smc import PARTS, SmcResult, SmcSettings, TemperedSmc, log_z_error
from gammasky.engine.model import SkyModel

MEAN = np.array([0.8, -1.2, 0.3])
COVARIANCE = np.array([[0.05, 0.03, 0.0], [0.03, 0.04, 0.01], [0.0, 0.01, 0.3]])


def stand_in(log_likelihood: Callable[[jax.Array], jax.Array], size: int) -> Any:
    """A likelihood of z in the place of a sky model."""
    programs: dict[Any, Any] = {}

    def program(key: Any, build: Callable[[], Any]) -> Any:
        if key not in programs:
            programs[key] = build()
        return programs[key]

    return SimpleNamespace(
        n_latent=size,
        arrays={},
        log_likelihood=lambda theta, _arrays=None: log_likelihood(theta["z"]),
        parameters=lambda z, _arrays=None: {"z": z},
        program=program,
        explain=lambda theta: NonFiniteLikelihoodError(f"bad at {float(theta['z'][0]):.3f}"),
    )


def normal() -> tuple[Any, float]:
    """A normal likelihood, and its log evidence."""
    precision = jnp.asarray(np.linalg.inv(COVARIANCE))
    predictive = COVARIANCE + np.eye(3)
    log_z = 0.5 * np.linalg.slogdet(COVARIANCE)[1] - 0.5 * np.linalg.slogdet(predictive)[1]
    log_z -= 0.5 * MEAN @ np.linalg.solve(predictive, MEAN)
    return stand_in(lambda z: -0.5 * (z - MEAN) @ precision @ (z - MEAN), 3), float(log_z)


def run(model: Any, settings: SmcSettings) -> SmcResult:
    smc = TemperedSmc(model, settings)
    state = smc.start()
    while not smc.done(state):
        state = smc.advance(state)
    return smc.result(state)


def test_evidence_and_its_error() -> None:
    """log Z is within 4 of its errors, and the errors are those that runs of other seeds show."""
    model, log_z = normal()
    runs = [run(model, SmcSettings(particles=128, seed=seed)) for seed in range(20)]
    found, errors = np.array([(result.log_z, result.log_z_error) for result in runs]).T
    scatter = np.sqrt(np.mean((found - log_z) ** 2))
    assert np.all(np.abs(found - log_z) < 4 * errors)
    assert abs(found.mean() - log_z) < 3 * scatter / np.sqrt(20) + scatter**2
    assert 0.5 < errors.mean() / scatter < 2.0


def test_particles_are_the_posterior() -> None:
    model, _ = normal()
    result = run(model, SmcSettings(particles=2048))
    covariance = np.linalg.inv(np.linalg.inv(COVARIANCE) + np.eye(3))
    mean = covariance @ np.linalg.solve(COVARIANCE, MEAN)
    np.testing.assert_allclose((result.z.mean(axis=0) - mean) / np.sqrt(np.diag(covariance)), 0.0, atol=0.12)
    np.testing.assert_allclose(result.z.var(axis=0) / np.diag(covariance), 1.0, atol=0.2)
    again = jax.vmap(lambda z: model.log_likelihood({"z": z}))(jnp.asarray(result.z))
    np.testing.assert_allclose(result.log_likelihood, again, rtol=1e-9)
    assert result.beta[-1] == 1.0
    assert np.all(np.diff(result.beta) > 0)
    assert np.all((result.acceptance > 0.6) & (result.acceptance <= 1.0))
    assert result.temperatures == result.acceptance.size == result.moves.size == result.jump.size
    assert result.gradients >= result.z.shape[0] * (1 + result.moves.sum())


def test_many_dimensions_cost_no_bias() -> None:
    """A mass matrix learnt from the particles that it moves would lower log Z by several times this tolerance."""
    scales = jnp.geomspace(0.05, 1.0, 20)
    model = stand_in(lambda z: -0.5 * jnp.sum((z / scales) ** 2), 20)
    log_z = float(-0.5 * jnp.sum(jnp.log1p(1 / scales**2)))
    runs = [run(model, SmcSettings(particles=128, seed=seed)) for seed in range(3)]
    assert np.mean([result.log_z for result in runs]) == pytest.approx(log_z, abs=2.0)


def test_far_modes_keep_their_shares() -> None:
    centres = jnp.array([[-1.5, 0.0], [1.5, 0.0]])
    log_shares, width = jnp.log(jnp.array([0.3, 0.7])), 0.1

    def log_likelihood(z: jax.Array) -> jax.Array:
        return jax.scipy.special.logsumexp(log_shares - 0.5 * jnp.sum((z - centres) ** 2, axis=1) / width**2)

    model = stand_in(log_likelihood, 2)
    results = [run(model, SmcSettings(particles=256, seed=seed)) for seed in range(4)]
    shares = np.array([(result.z[:, 0] > 0).mean() for result in results])
    errors = np.array([result.log_z_error for result in results])
    # of independent families the share of a mode has about the relative error of Z
    assert np.all(np.abs(shares - 0.7) < 4 * errors * np.sqrt(0.3 * 0.7))
    assert shares.mean() == pytest.approx(0.7, abs=0.1)


def test_goes_on_bit_for_bit() -> None:
    """A state that went through plain arrays, into another object, ends as an uninterrupted run."""
    model, _ = normal()
    settings = SmcSettings(particles=64, seed=5)
    whole = run(model, settings)
    smc = TemperedSmc(model, settings)
    state, pieces = smc.start(), 0
    while not smc.done(state):
        state, pieces = smc.advance(state), pieces + 1
        if pieces % 7 == 0:
            stored = {name: np.asarray(value) for name, value in state.items()}
            state = {name: jnp.asarray(value) for name, value in stored.items()}
            smc = TemperedSmc(model, settings)
    assert pieces > 2 * PARTS
    cut = smc.result(state)
    for name in ("z", "log_likelihood", "log_z", "log_z_error", "beta", "acceptance", "moves", "jump", "gradients"):
        np.testing.assert_array_equal(getattr(cut, name), getattr(whole, name))


def test_seed_decides() -> None:
    model, _ = normal()
    first, second = (run(model, SmcSettings(particles=16, seed=seed)).z for seed in (1, 2))
    assert not np.array_equal(first, second)


def test_a_likelihood_that_says_nothing() -> None:
    result = run(stand_in(lambda z: 0.0 * z[0], 2), SmcSettings(particles=16))
    assert result.temperatures == 1
    assert result.log_z == pytest.approx(0.0, abs=1e-12)
    assert result.log_z_error == pytest.approx(0.0, abs=1e-6)


def test_non_finite_prior_draw_is_named() -> None:
    model = stand_in(lambda z: jnp.where(z[0] > 1.0, jnp.nan, -z[0]), 2)
    with pytest.raises(NonFiniteLikelihoodError, match=r"bad at (1\.[0-9]+|[2-9]\.)"):
        TemperedSmc(model, SmcSettings()).start()


def test_non_finite_energy_rejects_a_trajectory() -> None:
    """Beyond all prior draws the likelihood does not exist: particles that are driven there stay where they were."""
    settings = SmcSettings(particles=64)
    free = TemperedSmc(stand_in(lambda z: 3.0 * z[0], 1), settings)
    wall = float(free.start()["z"].max()) + 0.01
    result = run(stand_in(lambda z: jnp.where(z[0] > wall, jnp.nan, 3.0 * z[0]), 1), settings)
    assert run(free.model, settings).z.max() > wall
    assert result.z.max() <= wall
    assert np.isfinite(result.log_likelihood).all()


def test_error_of_a_genealogy() -> None:
    """By hand, without resampling noise: families of 3, 1, 0, 0 of 4; Q = 3/8, c = 4/3, s^2 = -log(1/2)."""
    assert log_z_error(np.array([0, 0, 0, 1]), np.log(4 / 3)) == pytest.approx(np.sqrt(np.log(2.0)))
    assert log_z_error(np.array([2, 2, 2, 2]), 0.0) == np.inf


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"particles": 8}, "particles: expected a whole number of at least 16, got 8"),
        ({"particles": 100}, "particles: expected a multiple of 8, got 100"),
        ({"moves": 0}, "moves: expected a whole number of at least 1, got 0"),
        ({"seed": -1}, "seed: expected a whole number of at least 0, got -1"),
        ({"seed": 2**63}, "seed: expected a whole number of at most"),
        ({"target_ess": 1.0}, "target_ess: expected a share between 0.1 and 0.99, got 1.0"),
        ({"target_ess": float("nan")}, "target_ess: expected a share between 0.1 and 0.99, got nan"),
    ],
)
def test_bad_settings(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SmcSettings(**change)


@pytest.mark.slow
def test_another_sky_costs_no_compilation(small_model: SkyModel) -> None:
    rng = np.random.default_rng(4)
    values, sizes = [], []
    for _ in range(2):
        model = small_model.with_counts(rng.permutation(small_model.pixels.counts))
        smc = TemperedSmc(model, SmcSettings(particles=16))
        state = smc.start()
        for _ in range(2 * PARTS + 3):  # past the end of a move, and of a temperature where one move is enough
            state = smc.advance({name: jnp.asarray(np.asarray(value)) for name, value in state.items()})
        values.append(np.asarray(state["log_likelihood"]))
        sizes.append([model.programs[f"smc {name}"]._cache_size() for name in ("likelihoods", "trajectories")])
    assert not np.array_equal(*values)
    assert sizes[0] == sizes[1]  # of both skies; other tests may have run the programs for other numbers of particles
