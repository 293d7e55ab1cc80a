"""Flux coordinates: there and back, with the right volume, of the right parameters."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.stats import norm

from gammasky.engine.infer import coordinates
from gammasky.engine.infer.coordinates import Coordinates, flux_coordinates, latent_coordinates
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset

BLOCK = 100
BOTH = Coordinates(np.array([0, 3]), np.array([1]), np.array([4]))


def in_blocks(function: Callable[..., Any]) -> Callable[[Any], Any]:
    """The function of any number of points (n, D), compiled once, for blocks of one size."""
    compiled = jax.jit(jax.vmap(function))

    def evaluate(x: Any) -> Any:
        x = np.asarray(x)
        blocks = np.resize(x, (-(-len(x) // BLOCK), BLOCK, x.shape[1]))  # the last is filled up from the first
        parts = [compiled(block) for block in blocks]
        return jax.tree.map(lambda *values: np.concatenate(values)[: len(x)], *parts)

    return evaluate


from_latent, to_latent = in_blocks(BOTH.from_latent), in_blocks(BOTH.to_latent)


def points(n: int = 40) -> np.ndarray:
    z = np.random.default_rng(0).standard_normal((n, 6))
    z[0], z[1] = 5.0, -5.0  # at the ends of the priors
    z[2, [0, 4]] = -9.0
    return z


def test_there_and_back() -> None:
    z = points()
    x = from_latent(z)
    back, _ = to_latent(x)
    np.testing.assert_allclose(back, z, rtol=1e-9, atol=1e-11)
    np.testing.assert_array_equal(np.asarray(x)[:, [2, 5]], z[:, [2, 5]])


def test_volume_is_the_determinant_of_the_map() -> None:
    x = from_latent(points()[3:12])
    jacobians = jax.jit(jax.vmap(jax.jacrev(lambda x: BOTH.to_latent(x)[0])))(x)
    np.testing.assert_allclose(np.linalg.slogdet(np.asarray(jacobians))[1], to_latent(x)[1], rtol=1e-6, atol=1e-8)


def test_inverses_are_exact() -> None:
    z = jnp.linspace(-12.0, 12.0, 24_001)
    x = from_latent(jnp.zeros((z.size, 6)).at[:, 0].set(z))
    np.testing.assert_allclose(to_latent(x)[0][:, 0], z, atol=1e-13)


def test_norms_are_linear_between_their_limits() -> None:
    """Equal steps of x are equal steps of the prior's quantile, away from its ends."""
    x = jnp.zeros((5, 6)).at[:, 0].set(jnp.linspace(0.2, 0.8, 5))
    z, _ = to_latent(x)
    np.testing.assert_allclose(jax.scipy.special.ndtr(z[:, 0]), np.linspace(0.2, 0.8, 5), atol=1e-3)


def test_the_prior_has_normal_ends() -> None:
    """exp(log N(z) + log volume) integrates to one, nearly flat between the limits, normal beyond them."""
    x = np.linspace(-1.0, 2.0, 60_001)
    one = Coordinates(np.array([0]), np.zeros(0, int), np.zeros(0, int))
    z, log_volume = in_blocks(one.to_latent)(x[:, None])
    log_density = -0.5 * np.asarray(z)[:, 0] ** 2 - 0.5 * np.log(2 * np.pi) + np.asarray(log_volume)
    assert np.trapezoid(np.exp(log_density), x) == pytest.approx(1.0, abs=1e-9)
    middle = (x > 0.05) & (x < 0.95)
    np.testing.assert_allclose(np.exp(log_density[middle]), 1.0, atol=0.07)
    for beyond, end in ((x < -0.6, 0.0), (x > 1.6, 1.0)):
        normal = -0.5 * (10 * np.abs(x[beyond] - end) + 3.0) ** 2 - 0.5 * np.log(2 * np.pi) + np.log(10)
        np.testing.assert_allclose(log_density[beyond], normal, rtol=1e-10)


def test_more_than_the_prior_allows_is_at_its_end() -> None:
    """Two fluxes that add up to more than the norm may be: the norm is at its upper end, the share is theirs."""
    x = np.array([[0.0, 0.9, 0.0, 0.0, 0.5, 0.0]])
    (z,), (log_volume,) = to_latent(x)
    assert float(z[1]) == pytest.approx(3.0 + 0.4 * 10, abs=0.001)
    assert 0.25 < float(jax.scipy.special.ndtr(z[4])) < 0.5
    assert np.isfinite(float(log_volume))
    np.testing.assert_allclose(from_latent(z[None]), x, rtol=1e-9, atol=1e-12)


def test_a_pair_with_no_second_flux_is_one_norm() -> None:
    (z,), _ = to_latent(np.array([[0.3, -0.9, 0.0, 0.0, 0.3, 0.0]]))
    assert float(z[1]) == pytest.approx(float(z[0]), abs=1e-9)


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
    steps[:, amplitude] = 0.55
    z, log_volume = in_blocks(found.to_latent)(steps)
    name = model.spec.populations[0].name
    mean_counts = jax.jit(lambda point: model.sky(model.parameters(point)).norms[name])
    counts = [float(mean_counts(point)) for point in z]
    middle = np.abs(steps).max(axis=1) < 1.5  # away from the ends of the prior of A
    assert middle.sum() > 5
    np.testing.assert_allclose(np.array(counts)[middle], counts[0], rtol=0.02)
    np.testing.assert_allclose(in_blocks(found.from_latent)(z), steps, rtol=1e-9, atol=1e-12)
    jacobians = jax.jit(jax.vmap(jax.jacrev(lambda x: found.to_latent(x)[0])))(jnp.asarray(steps))
    np.testing.assert_allclose(np.linalg.slogdet(np.asarray(jacobians))[1], log_volume, atol=1e-9)


def test_latent_coordinates_change_nothing() -> None:
    z = jnp.asarray(points()[5])
    same, log_volume = latent_coordinates().to_latent(z)
    np.testing.assert_array_equal(same, z)
    assert float(log_volume) == 0.0


@pytest.mark.usefixtures("compiled_fast")
def test_the_frame_of_one_norm_is_a_matrix(tiny_files: Path) -> None:
    table = {
        "name": "one",
        "region": {"latitude_min": 2.0, "radius_max": 20.0, "mask": "spot", "exposure_regions": 1},
        "parameters": {"S_flat": {"prior": "uniform", "low": 0.0, "high": 20.0}},
        "components": [{"name": "flat", "norm": "S_flat", "template": "flat"}],
    }
    model = SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))
    start = Laplace(np.array([-0.5]), np.array([[0.02]]), 0.0, np.zeros(1))
    mean, covariance = flux_coordinates(model).frame(model, start)
    assert (mean.shape, covariance.shape) == ((1,), (1, 1))
    np.testing.assert_allclose(covariance, [[(0.02 * norm.pdf(-0.5)) ** 2]], rtol=0.1)


@pytest.mark.data
def test_of_a_model(small_model: SkyModel) -> None:
    found = flux_coordinates(small_model)
    slots = small_model.latent.slots
    # S_iso is log-uniform: its latent scale is its own
    assert sorted(found.norms) == sorted(slots[name].start for name in ("S_dif", "Sps_gce"))
    assert found.norm.size == found.share.size == 0


def test_the_inverse_of_an_open_end_has_all_digits() -> None:
    """Below the table, within it, and on the straight line beyond."""
    z = np.concatenate([np.linspace(-30.0, 9.0, 4001), [20.0, 100.0, 1e4]])
    back = np.asarray(jax.jit(coordinates._inverse_open)(jax.jit(coordinates._open)(z)))
    slope = np.asarray(coordinates._open_slope(z))  # T is flat at its low end: z is as good as T is there
    error = np.abs(back - z) * slope / np.asarray(coordinates._open(z))
    assert error.max() < 4e-13  # the exponential of -450 has no more
