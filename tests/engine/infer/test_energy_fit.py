"""A fit in several energy bins from its command to its report: spectra, fractions by bin, dN/dF, replicas."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest
import tomli_w

from gammasky.analyses.ensemble.quantities import quantity_draws
from gammasky.analyses.programs import structure
from gammasky.cli import main
from gammasky.engine.infer.derived import BIN_FLUX, FLUX, derive, expected_counts
from gammasky.engine.infer.energy_spectra import EnergySpectra
from gammasky.engine.infer.godambe import pixel_scores, sharing
from gammasky.engine.infer.predictive import _together
from gammasky.engine.infer.report.fit_folder import read_fit
from gammasky.engine.infer.report.sources import number_of_sources, photon_fluxes, source_exposure_cm2_s
from gammasky.engine.infer.report.spectra import energy_spectra
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.sky.dataset import Dataset
from tests.engine.model.bins import EDGES, MEAN_EXPOSURE, joint, photons, tilted, write_bins

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")


def table() -> dict[str, Any]:
    """One population whose index is free, and smooth emission with a norm for each bin."""
    found = joint(name="energy")
    found["components"] = found["components"][:3]
    found["components"][0] = {"name": "flat", "norm": {"per_bin": "S_flat"}, "template": "flat"}
    found["components"][1]["template"] = found["components"][2]["template"] = "peak"
    found["parameters"] = {name: p for name, p in found["parameters"].items() if name not in ("A", "gamma")}
    found["parameters"]["S_flat"] = {"prior": "uniform", "low": 0.02, "high": 3.0}
    return found


@pytest.fixture(scope="module")
def sky(tmp_path_factory: pytest.TempPathFactory) -> Dataset:
    """A sky that the model itself has drawn, photon by photon."""
    folder = tmp_path_factory.mktemp("energy")
    blank = SkyModel(model_from_table(table()), write_bins(folder / "blank", photons(4), tilted(MEAN_EXPOSURE)))
    theta = blank.parameters(jnp.zeros(blank.n_latent))
    simulator = PhotonSimulator(blank)
    drawn = simulator.draw(theta, seed=3)[0]
    counts = np.zeros((4, 768), dtype=np.int64)
    counts.ravel()[simulator.pixels.index[: simulator.pixels.n_region]] = drawn
    made = write_bins(folder / "sky", counts, tilted(MEAN_EXPOSURE))
    truth = {name: np.asarray(value).tolist() for name, value in theta.items()}
    with (made.folder / "dataset.toml").open("a") as file:
        file.write("\n" + tomli_w.dumps({"truth": truth}))
    return Dataset.open(made.folder)


@pytest.fixture(scope="module")
def fitted(sky: Dataset, tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("fit")
    (folder / "model.toml").write_text(tomli_w.dumps(table()))
    words = ["fit", str(folder / "model.toml"), "--data", str(sky.folder), "--method", "laplace"]
    assert main([*words, "--out", str(folder / "fit"), "--quiet"]) == 0
    assert main(["report", str(folder / "fit")]) == 0
    return folder


def test_photons_have_the_spectrum_and_exposure_of_their_bin(sky: Dataset) -> None:
    model = SkyModel(model_from_table(table()), sky)
    theta = model.parameters(jnp.zeros(model.n_latent))
    counts, lists = PhotonSimulator(model).draw_with_sources(theta, n=40, seed=1)
    z = np.zeros((1, model.n_latent))
    expected = expected_counts(model, z)[0].reshape(4, -1)
    seen = counts[:, : model.pixels.n_fit].reshape(40, 4, -1)
    np.testing.assert_allclose(seen.sum(axis=(0, 2)) / 40, expected.sum(axis=1), rtol=0.02)
    fluxes = np.concatenate([one.flux for one in lists])
    grid = model.spec.source_grid
    assert grid.flux_min <= fluxes.min() < fluxes.max() <= grid.flux_max
    shares = np.asarray(model.sky(theta).shares["gce_ps"])
    # photons in each bin over flux: the exposure of the bin, which varies by a fifth on the sky, times the share
    per_flux = np.sum([one.photons.sum(axis=0) for one in lists], axis=0) / fluxes.sum()
    np.testing.assert_allclose(per_flux, shares * MEAN_EXPOSURE * 1.2, rtol=0.2)
    with pytest.raises(AssertionError):  # they are not shared out evenly
        np.testing.assert_allclose(per_flux, per_flux.mean(), rtol=0.5)


def test_the_summary_has_spectra_and_fractions_by_bin(fitted: Path, sky: Dataset) -> None:
    summary = json.loads((fitted / "fit" / "summary.json").read_text())
    labels = ["1-2 GeV", "2-5 GeV", "5-10 GeV", "10-40 GeV"]
    assert list(summary["energy_spectra"]) == ["flat", "gce", "gce_ps"]
    assert list(summary["energy_spectra"]["flat"]) == labels == list(summary["point_source_fraction_by_bin"]["gce"])
    assert summary["energy_spectra"]["gce"]["1-2 GeV"]["unit"] == "GeV cm-2 s-1 sr-1"
    # both of the group have one spectrum: the fraction is that of all bins, but for the exposures of region and sources
    whole = summary["point_source_fraction"]["gce"]["q50"]
    for entry in summary["point_source_fraction_by_bin"]["gce"].values():
        assert entry["q50"] == pytest.approx(whole, abs=0.02)
    truth = {name: entry["truth"] for name, entry in summary["energy_spectra"]["flat"].items()}
    area, edges, norm = 4 * np.pi / 768, np.array(EDGES), 1.51
    model = SkyModel(model_from_table(table()), sky)
    intensity = norm / (model.pixels.mean_exposure * area)
    expected = intensity * edges[1:] * edges[:-1] / np.diff(edges)
    np.testing.assert_allclose(list(truth.values()), expected, rtol=1e-9)
    for name, entry in summary["energy_spectra"]["flat"].items():
        assert abs(entry["mean"] - truth[name]) < 5 * entry["sd"]
    bands = [band for band in summary["predictive_checks"]["bands"] if band["coordinate"] == "energy"]
    assert [(band["low"], band["high"]) for band in bands] == [(1, 2), (2, 5), (5, 10), (10, 40)]
    assert sum(band["counts"] for band in bands) == summary["predictive_checks"]["bands"][0]["counts"]
    assert min(band["p_counts"] for band in bands) > 0.005
    assert 0.005 < summary["predictive_checks"]["p_together"] < 0.995


def test_bins_that_rise_and_fall_together_are_seen() -> None:
    """Sum over pairs of bins of the products of pulls."""
    expected = np.array([[4.0, 1.0, 9.0, 4.0, 1.0, 0.0]])  # three bins of two pixels; the model leaves one dark
    counts = np.array([6, 2, 12, 3, 3, 0])
    pulls = ((counts - expected[0]) / np.sqrt([4.0, 1.0, 9.0, 4.0, 1.0, np.inf])).reshape(3, 2)
    pairs = [pulls[a] * pulls[b] for a, b in ((0, 1), (0, 2), (1, 2))]
    np.testing.assert_allclose(_together(counts, expected, 3), [np.sum(pairs)], rtol=1e-12)
    drawn = np.random.default_rng(5).poisson(3.0, (2, 400, 500))
    level = np.full((400, 1500), 3.0)
    apart = _together(np.concatenate([drawn[0], drawn[1], drawn[0][::-1]], axis=1), level, 3)
    same = _together(np.concatenate([drawn[0]] * 3, axis=1), level, 3)
    assert abs(apart.mean()) < 0.05 * same.mean()
    assert same.mean() == pytest.approx(3 * 500, rel=0.05)


def test_the_posterior_file_and_the_report(fitted: Path, sky: Dataset) -> None:
    fit = read_fit(fitted / "fit")
    posterior, model = fit.posterior, SkyModel(model_from_table(table()), sky)
    assert posterior.bin_fluxes is not None
    np.testing.assert_allclose(posterior.bin_fluxes.sum(axis=2), posterior.draws[FLUX], rtol=1e-12)
    found, spectra = derive(model, np.zeros((2, model.n_latent))), energy_spectra(posterior)
    assert spectra is not None
    again = EnergySpectra.of(model, {BIN_FLUX: posterior.bin_fluxes})
    np.testing.assert_allclose(spectra.sed, again.sed, rtol=1e-12)
    assert found[BIN_FLUX].shape == (2, 3, 4)
    # sources: the flux of all of them in the region, over the mean flux of one
    grid = model.spec.source_grid.points()
    dndf = posterior.dnds["gce_ps"]
    flux = photon_fluxes(posterior)[posterior.source_draws]
    np.testing.assert_allclose(flux[:, 2], np.trapezoid(grid * dndf, grid, axis=1), rtol=1e-6)
    number = number_of_sources(posterior, "gce_ps", flux, dndf, grid[0])
    pixels = model.pixels.n_region // 4
    np.testing.assert_allclose(number, pixels * np.trapezoid(dndf, grid, axis=1), rtol=1e-6)
    assert 2e10 < source_exposure_cm2_s(posterior) < 5e10
    page = (fitted / "fit" / "report.html").read_text()
    headings = "Energy spectra", "E² dN/dE in 10⁻⁷ GeV", "Point-source fraction by energy"
    for words in (*headings, "1 GeV &lt; E &lt; 2 GeV", "F ≥ 1e-11 cm⁻² s⁻¹"):
        assert words in page
    assert {"sed", "dnds", "maps", "fluxes"} <= set(fit.figures)


def test_simulate_from_the_fit(fitted: Path, sky: Dataset) -> None:
    for simulator in ("photons", "likelihood"):
        out = fitted / simulator
        words = ["simulate", str(fitted / "model.toml"), "--data", str(sky.folder), "--out", str(out), "--n", "2"]
        words += ["--posterior", str(fitted / "fit" / "posterior.nc"), "--simulator", simulator]
        assert main(words) == 0
        drawn = Dataset.open(out / "sky_0001.toml")
        assert drawn.counts.shape == (4, 768)
        model = SkyModel(model_from_table(table()), drawn)
        assert np.isfinite(float(model.log_likelihood(model.parameters(jnp.zeros(model.n_latent)))))


def test_pixels_of_the_sky_share_sources_not_those_of_a_bin(sky: Dataset) -> None:
    model = SkyModel(model_from_table(table()), sky)
    n_pixels = model.pixels.n_fit // 4
    assert sharing(model).shape == (n_pixels, n_pixels)
    scores = pixel_scores(model, np.zeros(model.n_latent))
    _, gradient = model.value_and_gradient(np.zeros(model.n_latent))
    np.testing.assert_allclose(scores.sum(axis=0), gradient, rtol=1e-5, atol=1e-4)


def test_models_share_programs_only_where_spectra_are_the_same(sky: Dataset) -> None:
    """A compiled program holds where the nodes of the fluxes lie, which the middle of a spectrum's priors decides."""
    other, settings = table(), Settings()
    other["parameters"]["index"] = {"prior": "uniform", "low": 1.8, "high": 3.5}
    models = [SkyModel(model_from_table(described), sky) for described in (table(), table(), other)]
    first, same, different = (structure(model, settings) for model in models)
    assert first == same != different


def test_sources_above_a_photon_are_counted_by_their_flux(sky: Dataset) -> None:
    model = SkyModel(model_from_table(table()), sky)
    derived = derive(model, np.zeros((1, model.n_latent)))
    found = quantity_draws(model, derived)["n_sources"]
    sky_there = model.sky(model.parameters(jnp.zeros(model.n_latent)))
    grid, dndf = model.spec.source_grid.points(), np.asarray(sky_there.dnds["gce_ps"])
    exposure = float(np.asarray(sky_there.shares["gce_ps"]) @ model.pixels.reference_exposure)
    bright = grid >= 1 / exposure
    whole = np.trapezoid(dndf[bright], grid[bright]) * model.pixels.n_region / 4
    np.testing.assert_allclose(found, whole, rtol=0.05)
