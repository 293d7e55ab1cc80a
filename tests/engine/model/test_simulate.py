"""Simulated skies of a model: reproducible, with the right mean, and alike from both simulators."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from scipy import stats

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.simulate import (
    LikelihoodSimulator,
    PhotonSimulator,
    build_simulator,
    margin_deg,
)
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.psf import DeltaPSF, GaussianPSF

Build = Callable[..., SkyModel]
POINT = {"S_flat": 2.0, "S_peak": 1.5, "Sps": 3.0, "n1": 4.0, "n2": 1.2, "sb": 8.0}
SIMULATORS = ["photons", "likelihood"]
SKIES = 400


@pytest.fixture(scope="session")
def even(small: Dataset) -> Dataset:
    """The small sky with the same exposure everywhere: one exposure region is then exact."""
    return replace(small, exposure=np.full_like(small.exposure, 1e11))


def point_of(model: SkyModel) -> Any:
    return model.point({name: POINT[name] for name in model.latent.slots})


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_sky_depends_on_seed_and_number_alone(name: str, population_table: dict[str, Any], build: Build) -> None:
    model = build(population_table)
    theta, simulator = point_of(model), build_simulator(name, model)
    skies = simulator.draw(theta, n=5, seed=3)
    again = build_simulator(name, model)
    for number in (0, 3, 4):
        np.testing.assert_array_equal(again.draw(theta, seed=3, first=number)[0], skies[number])
    np.testing.assert_array_equal(simulator.draw(theta, n=2, seed=3, first=2), skies[2:4])
    others = simulator.draw(theta, n=5, seed=4)
    assert all((skies[i] != skies[j]).any() for i in range(5) for j in range(i))
    assert all((skies[i] != others[j]).any() for i in range(5) for j in range(5))


@pytest.mark.parametrize("name", SIMULATORS)
def test_a_sky_does_not_depend_on_the_threads(
    name: str, population_table: dict[str, Any], build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = build(population_table)
    several = build_simulator(name, model).draw(point_of(model), n=6, seed=1)
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    np.testing.assert_array_equal(build_simulator(name, model).draw(point_of(model), n=6, seed=1), several)


def test_a_sky_does_not_depend_on_the_counts_that_were_seen(population_table: dict[str, Any], build: Build) -> None:
    model = build(population_table)
    bright = model.dataset.counts + 40
    other = SkyModel(model.spec, replace(model.dataset, counts=bright))
    for name in SIMULATORS:
        first, second = (build_simulator(name, m).draw(point_of(m), n=3, seed=1) for m in (model, other))
        np.testing.assert_array_equal(first, second)


def test_pixels(population_table: dict[str, Any], build: Build) -> None:
    model = build(population_table)
    assert PhotonSimulator(model).draw(point_of(model)).shape == (1, model.pixels.n_region)
    assert LikelihoodSimulator(model).draw(point_of(model), n=2).shape == (2, model.pixels.n_fit)
    assert model.pixels.n_fit < model.pixels.n_region  # the mask takes some


@pytest.mark.parametrize("name", SIMULATORS)
def test_mean_with_a_point_like_psf(name: str, even: Dataset, population_table: dict[str, Any]) -> None:
    """Smooth and point-source templates have mean 1 over the region, so a pixel's mean is a sum of norm x template."""
    model = SkyModel(model_from_table(population_table), even)
    pixels = model.pixels
    peak = even.template("peak")[0, pixels.index]
    expected = 2.0 + 4.5 * peak / peak.mean()
    skies = build_simulator(name, model).draw(point_of(model), n=SKIES, seed=7)
    expected = expected[: skies.shape[1]]
    pull = (skies.mean(axis=0) - expected) / (skies.std(axis=0) / np.sqrt(SKIES))
    assert np.abs(pull).max() < 5.0  # skewed: faint sources are many, bright ones rare
    total = skies.sum(axis=1)
    assert abs(total.mean() - expected.sum()) < 4 * total.std() / np.sqrt(SKIES)


def test_exposure_scales_the_sources(small: Dataset, population_table: dict[str, Any]) -> None:
    """Sources take the exposure where they are; the reference is the mean over the fitted pixels of equal regions."""
    population_table["region"]["mask"] = None
    population_table["components"] = population_table["components"][2:]
    del population_table["components"][0]["group"]
    for name in ("S_flat", "S_peak"):
        del population_table["parameters"][name]
    model = SkyModel(model_from_table(population_table), small)
    pixels = model.pixels
    exposure, peak = small.exposure[0, pixels.index], small.template("peak")[0, pixels.index]
    shape = peak / exposure  # `unit = "counts"`: of the flux
    order = np.argsort(exposure, kind="stable")
    reference = np.mean([exposure[part].mean() for part in np.array_split(order, 2)])
    skies = PhotonSimulator(model).draw(point_of(model), n=2 * SKIES, seed=2)
    per_source = 3.0 * shape / shape.mean() * exposure / reference
    pull = (skies.mean(axis=0) - per_source) / (skies.std(axis=0) / np.sqrt(2 * SKIES))
    assert np.abs(pull).max() < 5.0
    assert 0.7 < pull.std() < 1.3


def test_as_many_photons_leak_in_as_out(even: Dataset, population_table: dict[str, Any]) -> None:
    """Sources around the region make up for photons that leave it: an isotropic population stays flat to the edge."""
    population_table["components"] = [population_table["components"][2] | {"template": "flat"}]
    del population_table["components"][0]["group"]
    for name in ("S_flat", "S_peak"):
        del population_table["parameters"][name]
    model = SkyModel(model_from_table(population_table), even.with_psf(GaussianPSF(sigma_deg=3.0)))
    simulator = PhotonSimulator(model)
    assert simulator.pixels.n_pixels > simulator.pixels.n_region
    skies = simulator.draw(point_of(model), n=2 * SKIES, seed=9)
    total = skies.sum(axis=1)
    assert abs(total.mean() - 3.0 * skies.shape[1]) < 4 * total.std() / np.sqrt(2 * SKIES)
    distance = np.hypot(simulator.pixels.lon_deg, simulator.pixels.lat_deg)[: skies.shape[1]]
    edge = skies[:, distance > 15.0].sum(axis=1)  # a third of whose photons would be lost at 20 deg
    assert abs(edge.mean() - 3.0 * (distance > 15.0).sum()) < 4 * edge.std() / np.sqrt(2 * SKIES)
    single = skies.mean(axis=0) - 3.0
    assert np.abs(single / (skies.std(axis=0) / np.sqrt(2 * SKIES))).max() < 5.0


def test_neighbours_share_sources_through_the_psf_only(even: Dataset, population_table: dict[str, Any]) -> None:
    """What the likelihood neglects: with a wide PSF pixels are correlated."""
    spec = model_from_table(population_table)
    scatter = {}
    for name, psf in (("delta", DeltaPSF()), ("wide", GaussianPSF(sigma_deg=3.0))):
        model = SkyModel(spec, even.with_psf(psf))
        skies = PhotonSimulator(model).draw(point_of(model), n=SKIES, seed=9)
        centre = np.hypot(model.pixels.lon_deg, model.pixels.lat_deg)[: skies.shape[1]] < 6.0
        inner = skies[:, centre].astype(float)
        matrix = np.corrcoef(inner.T)
        scatter[name] = (matrix.sum() - len(matrix)) / (len(matrix) * (len(matrix) - 1))
    assert abs(scatter["delta"]) < 0.02
    assert scatter["wide"] > 0.05


def test_both_simulators_agree_for_a_point_like_psf(even: Dataset, population_table: dict[str, Any]) -> None:
    """Two-sample chi-square of the histograms of counts; different streams of random numbers."""
    model = SkyModel(model_from_table(population_table), even)
    theta, n_fit = point_of(model), model.pixels.n_fit
    photons = PhotonSimulator(model).draw(theta, n=SKIES, seed=21)[:, :n_fit]
    likelihood = LikelihoodSimulator(model).draw(theta, n=SKIES, seed=21)
    assert chi_square(photons, likelihood) > 1e-3
    other = model.point(POINT | {"sb": 16.0})  # brighter sources of the same total flux are noticed
    assert chi_square(photons, LikelihoodSimulator(model).draw(other, n=SKIES, seed=21)) < 1e-6


def chi_square(first: np.ndarray, second: np.ndarray) -> float:
    """p-value; the tail is one bin."""
    top = int(np.quantile(first, 0.999))
    table = [np.bincount(np.minimum(skies, top).ravel(), minlength=top + 1) for skies in (first, second)]
    return float(stats.chi2_contingency(table).pvalue)


def test_smooth_models_have_no_sources(smooth_table: dict[str, Any], build: Build) -> None:
    model = build(smooth_table)
    theta = point_of(model)
    counts, lists = PhotonSimulator(model).draw_with_sources(theta, n=2, seed=1)
    np.testing.assert_array_equal(counts, PhotonSimulator(model).draw(theta, n=2, seed=1))
    assert [len(sources.s) for sources in lists] == [0, 0]
    skies = LikelihoodSimulator(model).draw(theta, n=SKIES, seed=1)
    mean = np.asarray(model.expectation.smooth_mean(model.sky(theta), model.pixels.n_fit))
    ratio = ((skies - mean) ** 2 / mean).mean()
    assert ratio == pytest.approx(1.0, abs=5 * np.sqrt(3.0 / skies.size))  # Poisson


def test_sources_are_those_of_the_counts(even: Dataset, population_table: dict[str, Any]) -> None:
    population_table["parameters"]["S_flat"] = {"prior": "uniform", "low": 0.0, "high": 1.0}
    population_table["parameters"]["S_peak"] = {"prior": "uniform", "low": 0.0, "high": 1.0}
    model = SkyModel(model_from_table(population_table), even)
    theta = model.point(POINT | {"S_flat": 0.0, "S_peak": 0.0})
    counts, (sources,) = PhotonSimulator(model).draw_with_sources(theta, seed=5)
    place = {healpix: number for number, healpix in enumerate(model.pixels.index)}
    found = np.zeros(model.pixels.n_region, dtype=int)
    for pixel, photons in zip(sources.pixel, sources.counts, strict=True):
        found[place[pixel]] += photons
    np.testing.assert_array_equal(found, counts[0])
    assert (sources.s >= 0.1).all()
    assert (sources.s <= 50.0).all()


@pytest.mark.slow
def test_every_feature_of_a_model(full_table: dict[str, Any], build: Build) -> None:
    """Mixed, modulated, moving and `as_is` templates: both simulators have one mean."""
    full_table["parameters"]["S_tilt"] = {"prior": "uniform", "low": 0.1, "high": 0.4}
    model = build(full_table)
    theta = model.parameters(np.zeros(model.n_latent))
    photons, likelihood = (
        build_simulator(name, model).draw(theta, n=200, seed=3)[:, : model.pixels.n_fit].sum(axis=1)
        for name in SIMULATORS
    )
    error = np.hypot(photons.std(), likelihood.std()) / np.sqrt(200)
    assert abs(photons.mean() - likelihood.mean()) < 4 * error + 0.002 * likelihood.mean()  # exposure within regions


def test_margin() -> None:
    assert margin_deg([DeltaPSF()]) == 0.0
    assert margin_deg([GaussianPSF(sigma_deg=0.5), DeltaPSF()]) == pytest.approx(
        0.5 * np.sqrt(2 * np.log(1e4)), rel=1e-3
    )


def test_a_data_set_may_end_where_its_region_does(small: Dataset, population_table: dict[str, Any]) -> None:
    """Sources around the region are simulated as far as there is exposure; the others are counted."""
    dataset, spec = small.with_psf(GaussianPSF(sigma_deg=2.0)), model_from_table(population_table)
    whole = PhotonSimulator(SkyModel(spec, dataset)).pixels
    assert whole.unknown_around == 0
    around = whole.index[whole.n_region :]
    gone = around[: len(around) // 2]
    exposure = dataset.exposure.copy()
    exposure.ravel()[gone] = np.nan
    model = SkyModel(spec, replace(dataset, exposure=exposure))
    simulator = PhotonSimulator(model)
    assert simulator.pixels.unknown_around == len(gone)
    np.testing.assert_array_equal(simulator.pixels.index[whole.n_region :], around[len(gone) :])
    assert simulator.draw(point_of(model)).shape == (1, whole.n_region)
    exposure.ravel()[whole.index[0]] = np.nan
    with pytest.raises(InputError, match="finite and positive where they are used"):
        SkyModel(spec, replace(dataset, exposure=exposure))


def test_a_template_may_end_where_its_region_does(
    small_folder: Path, tmp_path: Path, population_table: dict[str, Any]
) -> None:
    """As the exposure: a recipe may make both for the region alone."""
    folder = shutil.copytree(small_folder, tmp_path / "sky")
    dataset = Dataset.open(folder).with_psf(GaussianPSF(sigma_deg=2.0))
    spec = model_from_table(population_table)
    whole = PhotonSimulator(SkyModel(spec, dataset)).pixels
    around = whole.index[whole.n_region :]
    gone = around[: len(around) // 2]
    peak = np.load(folder / "peak.npy")
    peak.ravel()[gone] = np.nan
    np.save(folder / "peak.npy", peak)
    model = SkyModel(spec, Dataset.open(folder).with_psf(GaussianPSF(sigma_deg=2.0)))
    simulator = PhotonSimulator(model)
    assert simulator.pixels.unknown_around == len(gone)
    np.testing.assert_array_equal(simulator.pixels.index[whole.n_region :], around[len(gone) :])
    assert simulator.draw(point_of(model)).shape == (1, whole.n_region)


def test_with_psf_changes_nothing_else(small: Dataset) -> None:
    other = small.with_psf(GaussianPSF(sigma_deg=0.5))
    assert other.psf == GaussianPSF(sigma_deg=0.5)
    assert small.psf == DeltaPSF()
    assert other.counts is small.counts
    assert other.checksums == small.checksums


@pytest.mark.parametrize("name", SIMULATORS)
def test_negative_means_are_refused(name: str, signed_table: dict[str, Any], build: Build) -> None:
    model = build(signed_table)
    theta = model.point({n: POINT.get(n, 0) for n in model.latent.slots} | {"S_flat": -9.0})
    with pytest.raises(InputError, match=r"mean.*(at least 0|must be from 0).*got -"):
        build_simulator(name, model).draw(theta)


@pytest.mark.parametrize("name", SIMULATORS)
@pytest.mark.parametrize(("option", "value"), [("seed", -1), ("seed", 2**63), ("seed", 2**64), ("seed", 1.5), ("n", 0)])
def test_bad_numbers(name: str, option: str, value: Any, smooth_table: dict[str, Any], build: Build) -> None:
    model = build(smooth_table)
    with pytest.raises(InputError, match=rf"{option}: expected a whole number.*got {value}"):
        build_simulator(name, model).draw(point_of(model), **{option: value})


def test_unknown_simulator(smooth_table: dict[str, Any], build: Build) -> None:
    with pytest.raises(InputError, match="unknown simulator 'photon'; did you mean 'photons'"):
        build_simulator("photon", build(smooth_table))


def test_a_psf_wider_than_the_sphere(small: Dataset, population_table: dict[str, Any]) -> None:
    model = SkyModel(model_from_table(population_table), small)
    model.dataset = small.with_psf(GaussianPSF(sigma_deg=900.0))
    with pytest.raises(InputError, match="psf: wider than the sphere"):
        PhotonSimulator(model)


@pytest.mark.parametrize(
    ("name", "value", "message"),
    [
        ("S_south", 8.001, "parameter 'S_south': expected a value inside its prior, 0.5 to 8, got 8.001"),
        ("S_mix", 0.1, "parameter 'S_mix': expected a value inside its prior, 0.2 to inf, got 0.1"),
        ("zs", float("nan"), "parameter 'zs': expected a value inside its prior, 0.1 to 2.5, got nan"),
        ("gamma", [0.3, 2.5], "parameter 'gamma': expected a value inside its prior, 0.2 to 2, got 2.5"),
    ],
)
def test_outside_the_prior(name: str, value: Any, message: str, full_model: SkyModel) -> None:
    theta = full_model.parameters(np.zeros(full_model.n_latent))
    full_model.require_inside_priors(theta)
    with pytest.raises(InputError, match=message):
        full_model.require_inside_priors({**theta, name: value})


@pytest.mark.parametrize("z", [-9.0, -3.0, 3.0, 9.0])
def test_draws_of_the_prior_are_inside_it(z: float, full_model: SkyModel) -> None:
    """Even where rounding takes them to its limits."""
    full_model.require_inside_priors(full_model.parameters(np.full(full_model.n_latent, z)))


def test_limits_belong_to_the_prior(full_model: SkyModel) -> None:
    theta = full_model.parameters(np.zeros(full_model.n_latent))
    full_model.require_inside_priors({**theta, "S_south": 8.0, "S_mix": 0.2, "zs": 0.1})
