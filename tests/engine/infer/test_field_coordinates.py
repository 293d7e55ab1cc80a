"""Coordinates of fields: there and back, their volume, and a frame whose block follows the rest."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.infer.coordinates import Coordinates, flux_coordinates
from gammasky.engine.infer.emulator.copy import framed, moments, placed
from gammasky.engine.infer.emulator.target import Target
from gammasky.engine.infer.field_coordinates import spread_over_blocks
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.model import SkyModel


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


def test_modes_that_the_data_fix_scale_with_the_amplitude(field_model: SkyModel, coordinates: Coordinates) -> None:
    (field,) = coordinates.fields
    assert field.information.shape == (36,)
    assert field.information.max() > 10 * field.information.min() > 0
    z = jnp.zeros(field_model.n_latent).at[field.axes].set(1.0)
    wider = z.at[field_model.latent.slots["a_dif"].start].set(1.0)
    theta = [field_model.parameters(point)["a_dif"] for point in (z, wider)]
    log_ratio = np.log(float(theta[1] / theta[0]))
    found = np.asarray(field.log_stretch(wider) - field.log_stretch(z))
    power = field.information / (1 + field.information)
    np.testing.assert_allclose(found, power * log_ratio, rtol=1e-9)
    np.testing.assert_allclose(field.log_stretch(z), 0.0, atol=1e-12)


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


def test_the_frame_of_a_laplace_approximation(field_model: SkyModel, coordinates: Coordinates) -> None:
    size = field_model.n_latent
    laplace = Laplace(np.zeros(size), 0.1 * np.eye(size), 0.0, np.zeros(1))
    mean, covariance = coordinates.frame(field_model, laplace)
    assert mean.shape == (size,)
    assert np.linalg.eigvalsh(covariance).min() > 0
    block = np.sqrt(np.diag(covariance)[field_model.latent.n_plain :])
    np.testing.assert_allclose(block, 0.1, rtol=0.1)  # at z = 0 amplitude and length stretch nothing


def test_features_of_a_copy_do_not_depend_on_a_block(field_model: SkyModel) -> None:
    target, size, n_plain = Target(field_model), field_model.n_latent, field_model.latent.n_plain
    rng = np.random.default_rng(5)
    copy = framed(target, 0.05 * rng.standard_normal(size), 0.01 * np.eye(size))
    x = placed(copy, rng.standard_normal((4, size)))
    features, slopes = target.features_and_slopes(x)
    assert slopes.shape == (4, features.shape[1], n_plain)
    moved = x.copy()
    moved[:, n_plain:] += 1.0
    np.testing.assert_array_equal(target.features_and_slopes(moved)[0], features)
    moved[:, 0] += 0.1
    assert not np.allclose(target.features_and_slopes(moved)[0], features)


def test_a_frame_of_few_draws_keeps_the_block_that_follows(field_model: SkyModel) -> None:
    target, size, n_plain = Target(field_model), field_model.n_latent, field_model.latent.n_plain
    matrix = np.eye(size) + 0.05 * np.random.default_rng(6).standard_normal((size, size))
    copy = framed(target, np.zeros(size), matrix @ matrix.T)
    x = placed(copy, 1.5 * np.random.default_rng(7).standard_normal((40, size)))  # fewer draws than dimensions
    mean, covariance = moments(x, np.full(40, 1 / 40), copy, n_plain)
    before = matrix @ matrix.T
    follows = [np.linalg.solve(whole[:n_plain, :n_plain], whole[:n_plain, n_plain:]) for whole in (covariance, before)]
    np.testing.assert_allclose(follows[0], follows[1], atol=1e-9)
    assert np.trace(covariance[:n_plain, :n_plain]) > 1.1 * np.trace(before[:n_plain, :n_plain])
    assert np.linalg.eigvalsh(covariance).min() > 0
    assert mean.shape == (size,)
