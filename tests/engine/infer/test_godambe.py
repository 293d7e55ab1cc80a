"""Godambe information: the likelihood's own where pixels share nothing, more where a PSF spreads photons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.godambe import Godambe, godambe, pixel_scores, sharing
from gammasky.engine.infer.optimise import curvature
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.simulate import LikelihoodSimulator, PhotonSimulator
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.psf import GaussianPSF
from gammasky.engine.sky.roi import angular_distance_deg
from tests.engine.model.bins import MEAN_EXPOSURE, joint, photons, tilted, write_bins

pytestmark = pytest.mark.usefixtures("compiled_fast")
POINT = np.array([0.1, 0.3, -0.2])


@pytest.fixture(scope="module")
def blurred(tiny_files: Path) -> SkyModel:
    """The tiny model where a PSF of 3 deg spreads the photons of a source over pixels of 3.7 deg."""
    dataset = Dataset.open(tiny_files / "sky").with_psf(GaussianPSF(kind="gaussian", sigma_deg=3.0))
    return SkyModel(tiny_files / "model.toml", dataset)


@pytest.fixture(scope="module")
def found(blurred: SkyModel) -> Godambe:
    return godambe(blurred, POINT, skies=120, seed=3)


def some(seed: int, size: int = 4, skies: int = 50) -> Godambe:
    """Any symmetric matrices."""
    rng = np.random.default_rng(seed)
    parts = [(lambda a: a @ a.T)(rng.normal(size=(size, size))) for _ in range(3)]
    return Godambe(np.zeros(size), *parts, rng.normal(size=size), skies)


def test_scores_of_pixels_add_up_to_the_gradient(blurred: SkyModel) -> None:
    scores = pixel_scores(blurred, POINT)
    gradient = np.asarray(blurred.value_and_gradient(POINT)[1]) + POINT
    np.testing.assert_allclose(scores.sum(axis=0), gradient, rtol=1e-6)
    changed = blurred.pixels.counts.copy()
    changed[7] += 1
    differ = (pixel_scores(blurred.with_counts(changed), POINT) != scores).any(axis=1)
    assert differ.sum() == 1
    assert differ[7]


def test_pixels_that_share_sources_are_near(blurred: SkyModel, tiny_model: SkyModel) -> None:
    pixels, share = blurred.pixels, sharing(blurred).toarray()
    lon, lat = pixels.lon_deg[: pixels.n_fit], pixels.lat_deg[: pixels.n_fit]
    far = angular_distance_deg(lon, lat, lon[11], lat[11])
    reach = 2 * np.rad2deg(pixels.psf[0].radius(np.array(0.99))) + pixels.grid.spacing_deg
    np.testing.assert_array_equal(share[11] == 1, far <= reach)
    np.testing.assert_array_equal(share, share.T)
    np.testing.assert_array_equal(sharing(tiny_model).toarray(), np.eye(tiny_model.pixels.n_fit))


def test_without_a_psf_the_likelihood_is_right(tiny_model: SkyModel) -> None:
    found = godambe(tiny_model, POINT, skies=15)
    np.testing.assert_allclose(found.variability, found.sensitivity, rtol=1e-12)
    np.testing.assert_allclose(found.stretch, np.eye(3), atol=1e-12)
    np.testing.assert_allclose(found.factors, 1.0, rtol=1e-12)
    assert found.power == pytest.approx(1.0)
    assert found.noise < 1e-10
    np.testing.assert_allclose(found.fixed, np.eye(3))


def test_the_expected_curvature_is_that_of_the_hessian(blurred: SkyModel, found: Godambe) -> None:
    """Minus the mean Hessian over skies of the likelihood's own, by differences of exact gradients."""
    counts = LikelihoodSimulator(blurred).draw(blurred.parameters(POINT), n=60, seed=9)
    each = np.array([curvature(blurred.with_counts(sky), POINT) - np.eye(3) for sky in counts])
    error = np.sqrt(each.var(axis=0) / len(each) + (0.05 * found.sensitivity) ** 2)
    assert (np.abs(found.sensitivity - each.mean(axis=0)) < 4 * error).all()


def test_the_variability_is_that_of_the_score(blurred: SkyModel, found: Godambe) -> None:
    counts = PhotonSimulator(blurred).draw(blurred.parameters(POINT), n=400, seed=5)[:, : blurred.pixels.n_fit]
    scores = [np.asarray(blurred.with_counts(sky).value_and_gradient(POINT)[1]) + POINT for sky in counts]
    whole = np.diag(np.cov(np.transpose(scores)))
    np.testing.assert_allclose(np.diag(found.variability) / whole, 1.0, atol=4 * np.sqrt(2 / 400))
    assert found.variability[1, 1] > 1.2 * found.sensitivity[1, 1]  # of the norm of the sources
    error = np.sqrt(whole / 400 + np.diag(found.variability) / 120)
    assert (np.abs(found.mean_score - np.mean(scores, axis=0)) < 4 * error).all()
    assert found.factors[1] > 1.05
    assert found.power < 0.95
    assert 0 < found.noise < 0.1


def test_two_looks_know_twice_as_much(blurred: SkyModel, found: Godambe) -> None:
    counts = blurred.pixels.counts
    twice = godambe(blurred.with_counts(counts, counts), POINT, skies=120, seed=3)
    np.testing.assert_allclose(twice.sensitivity, 2 * found.sensitivity)
    np.testing.assert_allclose(twice.variability, 2 * found.variability)
    np.testing.assert_allclose(twice.fixed, found.fixed)


def test_the_same_on_any_number_of_threads(blurred: SkyModel, monkeypatch: pytest.MonkeyPatch) -> None:
    told: list[int] = []
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    first = godambe(blurred, POINT, skies=30, seed=1, note=told.append)
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "3")
    second = godambe(blurred, POINT, skies=30, seed=1)
    np.testing.assert_array_equal(first.variability, second.variability)
    assert (godambe(blurred, POINT, skies=30, seed=2).variability != first.variability).any()
    assert told == [0, 25]


def test_the_map_gives_draws_the_covariance_of_the_error() -> None:
    found = some(1)
    inverse = np.linalg.inv(found.precision)
    np.testing.assert_allclose(found.stretch @ inverse @ found.stretch.T, found.covariance)
    expected = inverse @ (found.variability + found.fixed) @ inverse
    np.testing.assert_allclose(found.covariance, expected)
    np.testing.assert_allclose(found.factors**2, np.diag(expected) / np.diag(inverse))
    axes, squares = found.axes
    np.testing.assert_allclose(axes.T @ inverse @ axes, np.eye(4), atol=1e-10)
    np.testing.assert_allclose(axes.T @ expected @ axes, np.diag(squares), atol=1e-10)
    np.testing.assert_allclose(found.shift, inverse @ found.mean_score)
    scatter = inverse @ found.variability @ inverse / 50
    np.testing.assert_allclose(found.shift_error, np.sqrt(np.diag(scatter)))


def test_the_map_does_not_depend_on_coordinates() -> None:
    """In coordinates y = T z it is T A T^-1, which a root that is symmetric in z is not."""
    found, turn = some(2), np.random.default_rng(5).normal(size=(4, 4))
    back = np.linalg.inv(turn)
    parts = [back.T @ part @ back for part in (found.sensitivity, found.variability, found.fixed)]
    other = Godambe(found.point, *parts, back.T @ found.mean_score, 50)
    np.testing.assert_allclose(other.stretch, turn @ found.stretch @ back, rtol=1e-7, atol=1e-9)
    assert other.power == pytest.approx(found.power)


def test_where_the_data_say_nothing_the_prior_stays() -> None:
    nothing = np.zeros((2, 2))
    nothing[0, 0] = 4.0
    found = Godambe(np.zeros(2), nothing, 3.0 * nothing, np.eye(2), np.zeros(2), 10)
    np.testing.assert_allclose(np.diag(found.covariance), [13 / 25, 1.0])
    assert found.power == pytest.approx(1 / 3)


def test_all_energy_bins_of_a_pixel_are_one_factor(tmp_path: Path) -> None:
    """A joint likelihood of four bins: without a PSF no pixel shares a source with another."""
    model = SkyModel(model_from_table(joint()), write_bins(tmp_path / "sky", photons(4), tilted(MEAN_EXPOSURE)))
    point = np.zeros(model.n_latent)
    scores = pixel_scores(model, point)
    assert scores.shape == (model.pixels.n_fit // 4, model.n_latent)
    np.testing.assert_allclose(scores.sum(axis=0), np.asarray(model.value_and_gradient(point)[1]), rtol=1e-5, atol=1e-4)
    np.testing.assert_array_equal(sharing(model).toarray(), np.eye(len(scores)))


def test_too_few_skies(blurred: SkyModel) -> None:
    with pytest.raises(InputError, match="`skies`: expected at least 15, 5 for each of 3 latent dimensions, got 14"):
        godambe(blurred, POINT, skies=14)
