"""Flux coordinates: there and back, with the right volume, of the right parameters."""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.infer.coordinates import Coordinates, flux_coordinates, latent_coordinates
from gammasky.engine.model import SkyModel

BOTH = Coordinates(np.array([0, 3]), np.array([1]), np.array([4]))


def points(n: int = 40) -> np.ndarray:
    z = np.random.default_rng(0).standard_normal((n, 6))
    z[0], z[1] = 5.0, -5.0  # at the ends of the priors
    z[2, [0, 4]] = -9.0
    return z


def test_there_and_back() -> None:
    z = points()
    x = jax.vmap(BOTH.from_latent)(jnp.asarray(z))
    back, _ = jax.vmap(BOTH.to_latent)(x)
    np.testing.assert_allclose(back, z, rtol=1e-7, atol=1e-9)
    np.testing.assert_array_equal(np.asarray(x)[:, [2, 5]], z[:, [2, 5]])


def test_volume_is_the_determinant_of_the_map() -> None:
    for z in points()[3:12]:
        x = BOTH.from_latent(jnp.asarray(z))
        jacobian = np.asarray(jax.jacrev(lambda x: BOTH.to_latent(x)[0])(x))
        _, log_volume = BOTH.to_latent(x)
        assert np.linalg.slogdet(jacobian)[1] == pytest.approx(float(log_volume), abs=1e-8)


def test_norms_are_linear_between_their_limits() -> None:
    """Equal steps of x are equal steps of the prior's quantile, away from its ends."""
    x = jnp.zeros((5, 6)).at[:, 0].set(jnp.linspace(-0.3, 0.3, 5))
    z, _ = jax.vmap(BOTH.to_latent)(x)
    np.testing.assert_allclose(jax.scipy.special.ndtr(z[:, 0]), np.linspace(0.2, 0.8, 5), atol=2e-5)


def test_the_prior_is_uniform() -> None:
    """exp(log N(z) + log volume) integrates to one, flat between the limits."""
    x = np.linspace(-1.5, 1.5, 30_001)
    one = Coordinates(np.array([0]), np.zeros(0, int), np.zeros(0, int))
    z, log_volume = jax.vmap(one.to_latent)(jnp.asarray(x)[:, None])
    density = np.exp(-0.5 * np.asarray(z)[:, 0] ** 2 - 0.5 * np.log(2 * np.pi) + np.asarray(log_volume))
    assert np.trapezoid(density, x) == pytest.approx(1.0, abs=1e-6)
    np.testing.assert_allclose(density[13_000:17_001:1000], 1.0, atol=1e-5)


def test_more_than_the_prior_allows_is_at_its_end() -> None:
    """Two fluxes that add up to more than the norm may be: the norm is at its upper end, the share is theirs."""
    x = jnp.zeros(6).at[1].set(0.9).at[4].set(0.3)
    z, log_volume = BOTH.to_latent(x)
    assert float(jax.scipy.special.ndtr(-z[1])) == pytest.approx(np.log1p(np.exp(-8)) / 40, rel=1e-4)
    assert float(jax.scipy.special.ndtr(z[4])) == pytest.approx(0.25, abs=1e-6)
    assert np.isfinite(float(log_volume))
    np.testing.assert_allclose(BOTH.from_latent(z), x, rtol=1e-7)


def test_an_amplitude_follows_its_counts(population_model: Callable[..., SkyModel]) -> None:
    """Steps of slopes and breaks at a fixed coordinate of the amplitude leave the mean counts as they are."""
    model = population_model(
        {
            "A": {"prior": "loguniform", "low": 1e-6, "high": 10.0},
            "n1": {"prior": "uniform", "low": 2.1, "high": 4.0},
            "sb": {"prior": "uniform", "low": 1.0, "high": 40.0},
        },
        amplitude="A",
        source_counts={"slopes": ["n1", 1.5], "breaks": ["sb"]},
    )
    found, amplitude = flux_coordinates(model), model.latent.slots["A"].start
    assert list(found.norms) == [amplitude]
    steps = np.random.default_rng(1).standard_normal((20, 3))
    steps[:, amplitude] = 0.05
    z, log_volume = jax.vmap(found.to_latent)(jnp.asarray(steps))
    counts = [float(model.mean_counts(model.populations[0], model.parameters(point))) for point in z]
    middle = np.abs(steps).max(axis=1) < 1.5  # away from the ends of the prior of A
    assert middle.sum() > 5
    np.testing.assert_allclose(np.array(counts)[middle], counts[0], rtol=1e-5)
    np.testing.assert_allclose(jax.vmap(found.from_latent)(z), steps, rtol=1e-9, atol=1e-12)
    jacobians = jax.vmap(jax.jacrev(lambda x: found.to_latent(x)[0]))(jnp.asarray(steps))
    np.testing.assert_allclose(np.linalg.slogdet(np.asarray(jacobians))[1], log_volume, atol=1e-9)


def test_latent_coordinates_change_nothing() -> None:
    z = jnp.asarray(points()[5])
    same, log_volume = latent_coordinates().to_latent(z)
    np.testing.assert_array_equal(same, z)
    assert float(log_volume) == 0.0


@pytest.mark.data
def test_of_a_model(small_model: SkyModel) -> None:
    found = flux_coordinates(small_model)
    slots = small_model.latent.slots
    # S_iso is log-uniform: its latent scale is its own
    assert sorted(found.norms) == sorted(slots[name].start for name in ("S_dif", "Sps_gce"))
    assert found.norm.size == found.share.size == 0
