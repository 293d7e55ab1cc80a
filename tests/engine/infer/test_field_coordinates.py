"""Coordinates of fields: there and back, their volume, and a frame whose block follows the rest."""

from __future__ import annotations

from pathlib import Path

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.coordinates import Coordinates, flux_coordinates
from gammasky.engine.infer.emulator.copy import framed
from gammasky.engine.infer.emulator.network import start
from gammasky.engine.infer.emulator.sampling import Sampler
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.field_coordinates import _information, spread_over_blocks
from gammasky.engine.infer.field_frame import frame_of_fields
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset
from tests.engine.infer.emulator.toys import Toy


@pytest.fixture(scope="module")
def coordinates(field_model: SkyModel) -> Coordinates:
    return flux_coordinates(field_model)


def points(model: SkyModel, n: int = 3) -> np.ndarray:
    return 0.8 * np.random.default_rng(2).standard_normal((n, model.n_latent))


def test_there_and_back_and_the_volume(field_model: SkyModel, coordinates: Coordinates) -> None:
    z = jnp.asarray(points(field_model))
    x = jax.jit(jax.vmap(coordinates.from_latent))(z)
    back, log_volume = jax.jit(jax.vmap(coordinates.to_latent))(x)
    np.testing.assert_allclose(back, z, atol=1e-9)
    jacobians = jax.jit(jax.vmap(jax.jacfwd(lambda at: coordinates.to_latent(at)[0])))(x)
    np.testing.assert_allclose(np.linalg.slogdet(np.asarray(jacobians))[1], log_volume, rtol=1e-6)
    slot = field_model.latent.slots["z_dif"]
    assert not np.allclose(x[:, slot.start : slot.start + 36], z[:, slot.start : slot.start + 36])


def test_modes_are_as_wide_wherever_the_amplitude_is(field_model: SkyModel, coordinates: Coordinates) -> None:
    """At a tenth of the amplitude in the middle, where no mode is seen, and at twice that, where many are."""
    (field,) = coordinates.fields
    latent, expectation = field_model.latent, field_model.expectation

    def counts(coefficients: jax.Array, z: jax.Array) -> jax.Array:
        sky = field_model.sky(field_model.parameters(z) | {"z_dif": coefficients})
        found = expectation.counts(sky, field_model.arrays["sky"]).values()
        return jnp.stack(list(found))[:, : expectation.pixels.n_fit]

    widths, in_z, in_weights = [], [], []
    for of_amplitude in (-1.6, 1.2):
        z = jnp.zeros(field_model.n_latent).at[latent.slots["a_dif"].start].set(of_amplitude)
        parts = np.asarray(counts(z[field.axes], z))  # a norm may change by its own size
        by_field = np.asarray(jax.jacfwd(counts)(z[field.axes], z)).sum(axis=0)
        slopes = np.column_stack([by_field, parts.T])
        fisher = np.eye(36 + len(parts)) + slopes.T @ (slopes / parts.sum(axis=0)[:, None])
        in_z.append(np.sqrt(np.diag(np.linalg.inv(fisher))[:36]))
        widths.append(in_z[-1] * np.exp(np.asarray(field.log_stretch(z))))
        in_weights.append(widths[-1] * np.exp(np.asarray(field.log_weight(z))))
    assert field.information.min() > 0
    assert 3 <= (field.information > 1).sum() < 36  # the middle has seen some
    most = [np.abs(np.log(low / high)).max() for low, high in (widths, in_z, in_weights)]
    assert most[0] < 0.65 < 0.8 < most[1]
    assert most[2] > 2.5


def test_what_other_parts_can_do_is_not_known_of_a_mode() -> None:
    """One number alone has the information of its counts; of two that do the same each has at most one unit."""
    slopes, mean = np.full((1, 50), 2.0), np.full(50, 4.0)
    np.testing.assert_allclose(_information(slopes, mean), [50.0], rtol=1e-12)
    np.testing.assert_allclose(_information(np.repeat(slopes, 2, axis=0), mean), 50 / 51, rtol=1e-10)
    empty = np.concatenate([mean, np.zeros(3)])
    np.testing.assert_allclose(_information(np.pad(slopes, [(0, 0), (0, 3)]), empty), [50.0], rtol=1e-12)


def test_gradients_with_weights(field_model: SkyModel) -> None:
    target, rng = Target(field_model), np.random.default_rng(4)
    x = target.from_latent(points(field_model))
    gradients = target.likelihood(x)[1]
    moved, slopes = target.learnt(x, gradients)
    back = jax.vmap(target.coordinates.without_weights)(jnp.asarray(moved))
    np.testing.assert_allclose(back, x, rtol=1e-12)
    assert not np.allclose(moved, x)
    way = rng.standard_normal(x.shape) / np.sqrt(x.shape[1])
    above, below = (
        target.likelihood(np.asarray(jax.vmap(target.coordinates.without_weights)(moved + step * way)))[0]
        for step in (1e-5, -1e-5)
    )
    np.testing.assert_allclose((above - below) / 2e-5, (slopes * way).sum(axis=1), rtol=1e-5)


def test_the_copy_reads_weights(field_model: SkyModel) -> None:
    """A copy that is a quadratic form in the weights is one, whatever the amplitude does to x."""
    target = Target(field_model)
    size, n_plain = target.size, target.n_plain
    copy = framed(target, np.zeros(size), np.eye(size))
    curvature = np.zeros((size + len(copy.middle),) * 2)
    curvature[n_plain:size, n_plain:size] = -np.eye(size - n_plain)
    copy = copy._replace(network=start(jax.random.key(0), 0.0, np.zeros(len(curvature)), curvature), wall=np.inf)
    copy.network["weights_3"] = jnp.zeros_like(copy.network["weights_3"])
    x = target.from_latent(points(field_model))
    weights = target.learnt(x, np.zeros_like(x))[0][:, n_plain:]
    found = Sampler(target).log_density(copy, x) - target.prior(x)[0]
    np.testing.assert_allclose(found, -0.5 * (weights**2).sum(axis=1), rtol=1e-5)
    # beyond its reach the copy falls faster
    radii2 = (x[:, :n_plain] ** 2).sum(axis=1) + (weights**2).sum(axis=1)
    near = Sampler(target).log_density(copy._replace(reach=np.float64(radii2.min())), x)
    np.testing.assert_allclose(near - target.prior(x)[0] - found, -0.5 * (radii2 - radii2.min()), rtol=1e-5, atol=1e-9)


def test_blocks_come_last(field_model: SkyModel) -> None:
    latent = field_model.latent
    assert latent.n_plain == field_model.n_latent - 36 == latent.slots["z_dif"].start
    assert latent.names[latent.n_plain] == "z_dif[1,1]"
    z = points(field_model)[0]
    theta = latent.parameters(field_model.arrays["priors"], jnp.asarray(z))
    np.testing.assert_allclose(theta["z_dif"], z[latent.n_plain :])
    np.testing.assert_allclose(latent.to_box(theta)[latent.n_plain :], z[latent.n_plain :], rtol=1e-12)


def test_a_block_follows_the_rest_as_before() -> None:
    matrix = np.random.default_rng(3).standard_normal((7, 7))
    centre, covariance = np.arange(7.0), matrix @ matrix.T
    mean, same = spread_over_blocks(centre[:3], covariance[:3, :3], centre, covariance)
    np.testing.assert_allclose(mean, centre, rtol=1e-12)
    np.testing.assert_allclose(same, covariance, rtol=1e-9)
    # the first part made certain: what is left is the conditional distribution
    moved, narrow = spread_over_blocks(centre[:3] + 1.0, 1e-12 * np.eye(3), centre, covariance)
    follows = covariance[3:, :3] @ np.linalg.inv(covariance[:3, :3])
    np.testing.assert_allclose(moved[3:], centre[3:] + follows @ np.ones(3), rtol=1e-8)
    np.testing.assert_allclose(narrow[3:, 3:], covariance[3:, 3:] - follows @ covariance[:3, 3:], rtol=1e-6)


def test_the_frame_is_about_the_highest_point_in_x(field_model: SkyModel, coordinates: Coordinates) -> None:
    size, target = field_model.n_latent, Target(field_model)
    mean, covariance = coordinates.frame(field_model, Laplace(np.zeros(size), 0.1 * np.eye(size), 0.0, np.zeros(1)))
    shifts = 1e-3 * np.eye(size)
    x = np.concatenate([mean[None], mean + shifts, mean - shifts])
    gradients = target.likelihood(x)[1] + target.prior(x)[1]
    scale_tril = np.linalg.cholesky(covariance)
    assert np.linalg.norm(gradients[0] @ scale_tril) < 0.1  # of a standard deviation
    curvature = -(gradients[1 : size + 1] - gradients[size + 1 :]) / 2e-3
    values = np.linalg.eigvalsh(scale_tril.T @ (curvature + curvature.T) / 2 @ scale_tril)
    np.testing.assert_allclose(values[values > 0.95], 1.0, atol=0.02)
    assert (values > 0.95).sum() > 0.8 * size  # others are wider than twice the prior, and cut there


@pytest.mark.usefixtures("compiled_fast")
def test_a_field_that_is_switched_off_has_no_coordinates_of_its_own(tiny_files: Path) -> None:
    table = {
        "name": "off",
        "region": {"latitude_min": 2.0, "radius_max": 20.0, "mask": "spot", "exposure_regions": 1},
        "parameters": {
            "S_flat": {"prior": "uniform", "low": 0.5, "high": 20.0},
            "z": {"prior": "normal", "mean": 0.0, "sd": 1.0},
        },
        "components": [{
            "name": "flat",
            "norm": "S_flat",
            "template": {"map": "flat", "field": {"harmonics": 2, "amplitude": 0.0, "coefficients": "z"}},
        }],
    }  # fmt: skip
    model = SkyModel(model_from_table(table), Dataset.open(tiny_files / "sky"))
    coordinates = flux_coordinates(model)
    assert coordinates.fields == ()
    z = jnp.linspace(-1.0, 1.0, 9)
    np.testing.assert_allclose(coordinates.from_latent(z)[1:], z[1:], rtol=1e-15)


def test_a_frame_at_the_edge_of_the_likelihood_is_refused() -> None:
    """The highest point lies nearer to the edge than the steps of the curvature are long."""

    def log_posterior(z: jax.Array) -> jax.Array:
        return -0.5 * jnp.sum((z - 0.29995) ** 2) + 1e-12 * jnp.sqrt(0.3 - z[0])

    with pytest.raises(NonFiniteLikelihoodError):
        frame_of_fields(Toy(2, log_posterior), lambda x: (x, jnp.asarray(0.0)), np.full(2, 0.29995))
