"""PS map and power of residuals: probabilities to all digits, a global p that is uniform, sources that are found."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy import stats

from gammasky.engine.infer.derived import expected_counts
from gammasky.engine.infer.figures import profiles, residuals
from gammasky.engine.infer.predictive import PredictiveCheck, predictive_check
from gammasky.engine.infer.residuals import LARGEST, SPECTRUM_REPLICAS, Discs, PowerSpectrum, PsMap, signed_ps
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.psf import GaussianPSF
from gammasky.engine.sky.roi import angular_distance_deg

pytestmark = pytest.mark.usefixtures("compiled_fast")
N_SKIES, N_REPLICAS = 120, 200


@pytest.fixture(scope="module")
def model(tiny_files: Path) -> SkyModel:
    """The tiny model with a PSF that spreads photons over neighbouring pixels of 3.7 deg."""
    dataset = Dataset.open(tiny_files / "sky").with_psf(GaussianPSF(kind="gaussian", sigma_deg=2.0))
    return SkyModel(tiny_files / "model.toml", dataset)


@pytest.fixture(scope="module")
def discs(model: SkyModel) -> Discs:
    return Discs.of(model.pixels)


@pytest.fixture(scope="module")
def skies(model: SkyModel) -> np.ndarray:
    """Skies of the model at one point."""
    theta = model.parameters(np.zeros(model.n_latent))
    return PhotonSimulator(model).draw(theta, n=N_REPLICAS + N_SKIES, seed=7)[:, : model.pixels.n_fit]


@pytest.fixture(scope="module")
def expected(model: SkyModel) -> np.ndarray:
    return expected_counts(model, np.zeros((1, model.n_latent)))[0]


@pytest.fixture(scope="module")
def check(model: SkyModel, skies: np.ndarray) -> PredictiveCheck:
    return predictive_check(model.with_counts(skies[0]), np.zeros((1, model.n_latent)), n=20)


def test_probabilities() -> None:
    k, mean, excess = np.meshgrid([0.0, 1, 7, 40, 200], [0.3, 7.0, 35.5], [1.0, 1.3, 4.0])
    size, share = mean / np.maximum(excess - 1, 1e-9), 1 / excess
    poisson = excess == 1
    above = np.where(poisson, stats.poisson.sf(k - 1, mean), stats.nbinom.sf(k - 1, size, share))
    below = np.where(poisson, stats.poisson.cdf(k, mean), stats.nbinom.cdf(k, size, share))
    known = np.where(k >= mean, -np.log10(np.maximum(above, 1e-300)), np.log10(below))
    np.testing.assert_allclose(signed_ps(k, mean, excess), known, rtol=1e-9)
    near = signed_ps(np.array([30.0]), np.array([20.0]), np.array([1 + 2e-6]))
    np.testing.assert_allclose(near, -np.log10(stats.poisson.sf(29, 20.0)), rtol=1e-4)


def test_counts_where_the_model_has_none() -> None:
    none = np.zeros(2)
    np.testing.assert_array_equal(signed_ps(np.array([0.0, 2.0]), none, none + 1.5), [0.0, LARGEST])


def test_discs(discs: Discs, model: SkyModel, tiny_model: SkyModel) -> None:
    pixels = model.pixels
    lon, lat = pixels.lon_deg[: pixels.n_fit], pixels.lat_deg[: pixels.n_fit]
    radius = np.rad2deg(pixels.psf[0].radius(np.array(0.68))) + pixels.grid.spacing_deg / np.sqrt(2)
    assert discs.radius_deg == pytest.approx(radius)
    place = int(np.flatnonzero(discs.pixel == pixels.pixel[5])[0])
    inside = angular_distance_deg(lon, lat, lon[5], lat[5]) <= radius
    np.testing.assert_array_equal(discs.members.toarray()[place] == 1, inside)
    assert 4 < discs.members.sum(axis=1).mean() < 12
    np.testing.assert_array_equal(Discs.of(tiny_model.pixels).members.sum(axis=1), 1.0)  # a PSF without a width


def test_moments(discs: Discs, skies: np.ndarray, expected: np.ndarray) -> None:
    found = PsMap.of(discs, skies[0], skies[1:], expected)
    np.testing.assert_array_equal(found.counts, discs.members @ skies[0])
    sums = skies @ discs.members.T
    np.testing.assert_allclose(found.sd, sums.std(axis=0), rtol=0.35)
    np.testing.assert_allclose(np.mean(found.sd / sums.std(axis=0)), 1.0, atol=0.1)
    assert (found.ps[found.counts > found.expected] > 0).all()
    assert (found.ps[found.counts < found.expected] < 0).all()
    again = PsMap.of(
        discs, skies[3], np.delete(skies, 3, axis=0), expected
    )  # which sky is the one seen does not matter
    assert np.abs(again.ps).max() == pytest.approx(found.of_replicas[2])


def test_the_global_p_is_uniform_on_skies_of_the_model(discs: Discs, skies: np.ndarray, expected: np.ndarray) -> None:
    replicas = skies[N_SKIES:]
    found = [PsMap.of(discs, sky, replicas, expected).global_p for sky in skies[:N_SKIES]]
    every = np.arange(1, N_REPLICAS + 2) / (N_REPLICAS + 1)  # the same replicas serve all skies: two samples
    assert stats.ks_2samp(found, every).pvalue > 1e-4
    assert 0 < min(found) < 0.1  # by chance none of 120 is: 3e-6
    assert 0.9 < max(found) <= 1


def test_a_bright_source_is_found(discs: Discs, model: SkyModel, skies: np.ndarray, expected: np.ndarray) -> None:
    """90 photons, spread by the PSF around a direction off the middle of a pixel."""
    pixels, rng = model.pixels, np.random.default_rng(4)
    lon, lat = pixels.lon_deg[: pixels.n_fit], pixels.lat_deg[: pixels.n_fit]
    at = int(np.argmin(angular_distance_deg(lon, lat, -9.0, 8.0)))
    x, y = rng.normal(0, 2.0, (2, 90))
    place = [
        int(np.argmin(angular_distance_deg(lon, lat, lon[at] + 0.8 + dx, lat[at] - 0.5 + dy)))
        for dx, dy in zip(x, y, strict=True)
    ]
    sky = skies[1] + np.bincount(place, minlength=pixels.n_fit)
    found = PsMap.of(discs, sky, skies[N_SKIES:], expected)
    assert found.global_p == 1 / (N_REPLICAS + 1)
    without = [PsMap.of(discs, seen, skies[N_SKIES:], expected).global_p for seen in skies[:9]]
    assert np.median(without) > 0.05  # by chance five of nine are below: 1e-4
    first = found.spots()[0]
    assert angular_distance_deg(np.array([first["lon"]]), np.array([first["lat"]]), lon[at], lat[at])[0] < 4.0
    assert first["ps"] > 4
    assert first["counts"] > first["expected"] + 15
    spots = found.spots(3)
    assert [abs(spot["ps"]) for spot in spots] == sorted((abs(spot["ps"]) for spot in spots), reverse=True)
    apart = angular_distance_deg(np.array([spots[1]["lon"]]), np.array([spots[1]["lat"]]), first["lon"], first["lat"])
    assert apart[0] > 2 * found.discs.radius_deg


def test_photons_that_are_missing_are_found(discs: Discs, skies: np.ndarray, expected: np.ndarray) -> None:
    sky = skies[2].copy()
    place = int(np.argmax(discs.members @ expected))
    sky[discs.members.toarray()[place] == 1] //= 3
    found = PsMap.of(discs, sky, skies[N_SKIES:], expected)
    assert found.spots()[0]["ps"] < -3
    assert found.global_p < 0.02


def test_power_of_residuals(model: SkyModel) -> None:
    """White noise of Poisson counts has C_l = area of a pixel / mean, at every l; a wave stands out at its own."""
    rng = np.random.default_rng(2)
    flat = np.full(model.pixels.n_fit, 25.0)
    draws = rng.poisson(flat, (1 + 6 * SPECTRUM_REPLICAS, flat.size))
    found = PowerSpectrum.of(model.pixels, draws[0], draws[1:], flat)
    assert found.replicas.shape == (SPECTRUM_REPLICAS, len(found.edges) - 1)
    parts = np.split(draws[1:], 6)
    means = np.mean([PowerSpectrum.of(model.pixels, draws[0], part, flat).replicas for part in parts], axis=0)
    white = means[:, 5:].mean() / (model.pixels.pixel_area_sr / 25.0)  # on the scale of pixels
    assert white == pytest.approx(1.0, abs=0.05)  # four standard errors: that of 100 skies is 0.03
    lon = model.pixels.lon_deg[: model.pixels.n_fit]
    wave = rng.poisson(flat * (1 + 0.5 * np.cos(np.deg2rad(20 * lon))))
    power = PowerSpectrum.of(model.pixels, wave, draws, flat)
    largest = int(np.argmax(power.seen / power.replicas.mean(axis=0)))
    assert power.edges[largest] <= 20 < power.edges[largest + 1] + 6
    assert power.seen[largest] > 5 * power.replicas.mean(axis=0)[largest]


def test_summary_and_figures(check: PredictiveCheck, model: SkyModel) -> None:
    entry = check.as_dict()["ps_map"]
    assert entry["global_p"] == check.ps_map.global_p
    assert len(entry["spots"]) == 5
    drawn = residuals.draw(model, check)
    titles = [axis.get_title() for axis in drawn.axes[:4]]
    assert titles == [f"PS, global p = {check.ps_map.global_p:.3g}", "Counts", "Sigma", "Per cent"]
    shown = profiles.draw(model, check)
    points = next(line for line in shown.axes[1].get_lines() if line.get_label() == "counts")
    lat = model.pixels.lat_deg[: model.pixels.n_fit]
    lowest = lat < lat.min() + (lat.max() - lat.min()) / profiles.BINS
    assert points.get_ydata()[0] == pytest.approx(check.counts[lowest].mean())
    for figure in (drawn, shown):
        figure.draw_without_rendering()
