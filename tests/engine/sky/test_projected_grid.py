"""A data set on a projected grid: its pixels, templates by their solid angle, pixel fractions, and simulated skies."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.special import ndtr

from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import PhotonSimulator
from gammasky.engine.model.spec import model_from_table
from gammasky.engine.sky import Dataset, GaussianPSF, RegionOfInterest, pixel_fractions
from gammasky.engine.sky.pixels import ProjectedPixels
from gammasky.engine.sky.pixels.frames import in_frame
from gammasky.engine.sky.simulated import write_sky, write_sources
from tests.engine.sky.products.conftest import ebounds, energies, image, write

MANIFEST = """
name = "grid"
energy_edges_gev = [1.0, 10.0]
counts = { file = "counts.fits" }
exposure = { file = "exposure.fits" }
psf = { kind = "gaussian", sigma_deg = 0.6 }
[templates]
flat = { file = "flat.npy", unit = "intensity" }
[masks]
band = { file = "band.fits", masked_where = 1 }
"""
PLACE = in_frame(np.array([40.0]), np.array([60.0]), "equatorial", "galactic")
RING = {"center_lon": float(PLACE[0][0]), "center_lat": float(PLACE[1][0])}
UNIFORM = {"prior": "uniform", "low": 0.1, "high": 9.0}
MODEL = {
    "name": "grid",
    "region": {"radius_max": 14.0, **RING, "mask": "band", "exposure_regions": 1},
    "source_grid": {"min": 0.5, "max": 60.0, "nodes": 40},
    "parameters": {"S": UNIFORM, "P": UNIFORM},
    "components": [
        {"name": "smooth", "norm": "S", "template": "flat"},
        {"name": "sources", "norm": "P", "template": "flat", "source_counts": {"slopes": [3.0, 1.0], "breaks": [10.0]}},
    ],
}  # fmt: skip
AT_60 = {
    "CRVAL1": 40.0,
    "CRVAL2": 60.0,
}  # far from the equator of the projection's sky, where TAN is as good as anywhere
POINT = {"S": np.array(2.0), "P": np.array(1.5)}


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Counts of 40 x 30 pixels of a degree around (40, 60) deg, equatorial, TAN."""
    place = tmp_path_factory.mktemp("grid")
    counts = np.random.default_rng(4).poisson(3.0, (2, 30, 40)).astype(np.int32)
    tan = ("RA---TAN", "DEC--TAN")
    write(place / "counts.fits", image(counts, tan, **AT_60), ebounds())
    write(place / "exposure.fits", image(np.full((3, 30, 40), 1e11), tan, **AT_60), energies())
    np.save(place / "flat.npy", np.full(768, 2.0))
    band = np.zeros((30, 40))
    band[:, 18:22] = 1
    write(place / "band.fits", image(band, tan, **AT_60))
    (place / "dataset.toml").write_text(MANIFEST)
    return place


@pytest.fixture(scope="module")
def model(folder: Path) -> SkyModel:
    return SkyModel(model_from_table(MODEL), Dataset.open(folder))


def test_the_pixels_of_the_counts_are_those_of_the_data_set(model: SkyModel) -> None:
    dataset, pixels = model.dataset, model.pixels
    assert isinstance(dataset.pixels, ProjectedPixels)
    assert dataset.pixels.name == "TAN 40 x 30 pixels of 1 deg, equatorial"
    assert (dataset.nside, dataset.manifest.frame) == (None, "equatorial")
    near = RegionOfInterest(**RING, radius_max=5.0, exposure_regions=1)
    assert 60 < len(near.flatten(dataset).index) < 95  # a circle of 5 deg
    np.testing.assert_array_equal(near.flatten(dataset, around_deg=90.0).n_pixels, 1200)
    np.testing.assert_array_equal(pixels.counts, dataset.counts[0, pixels.index[: pixels.n_fit]])
    in_band = np.isin(pixels.pixel % 40, [18, 19, 20, 21])
    np.testing.assert_array_equal(in_band, np.arange(pixels.n_pixels) >= pixels.n_fit)


def test_a_flat_intensity_is_as_large_as_its_pixels(model: SkyModel) -> None:
    """For photons and for sources alike, with mean 1 over the region."""
    pixels = model.pixels
    area = pixels.grid.solid_angle_sr[pixels.pixel]
    expected = area / area.mean()
    assert np.ptp(expected) > 0.02
    np.testing.assert_allclose(pixels.relative_area, expected, rtol=1e-12)
    for maps in ("map:flat:intensity:False:False", "map:flat:intensity:True:False"):
        np.testing.assert_allclose(model.expectation.arrays["templates"][maps], expected, rtol=1e-12)
    assert pixels.counts_per_intensity == pytest.approx([1e11 * area.mean()])


def test_fractions_of_square_pixels() -> None:
    """The sum of squares of the fractions, by integrals along either axis."""
    grid = image(np.zeros((90, 90)), ("GLON-ZEA", "GLAT-ZEA"), CDELT1=-0.2, CDELT2=0.2)
    pixels = ProjectedPixels.of_header(grid.header, (90, 90), "grid")
    found = pixel_fractions(GaussianPSF(sigma_deg=0.3), pixels, n_positions=2048, n_photons=1000, cache=False)
    assert np.sum(found.weight * found.fraction) == pytest.approx(1.0, rel=1e-12)
    u, j = (np.arange(500)[:, None] + 0.5) / 500, np.arange(-20, 21)
    shares = ndtr((j + 1 - u) * 0.2 / 0.3) - ndtr((j - u) * 0.2 / 0.3)
    assert np.sum(found.weight * found.fraction**2) == pytest.approx((shares**2).sum(axis=1).mean() ** 2, rel=5e-3)
    assert len(found.fraction) < 200


def test_simulated_skies_have_the_expected_counts(model: SkyModel) -> None:
    simulator = PhotonSimulator(model)
    skies = simulator.draw(POINT, n=150, seed=3)
    np.testing.assert_array_equal(skies[7], simulator.draw(POINT, n=1, seed=3, first=7)[0])
    n_region = model.pixels.n_region
    expected = 3.5 * model.pixels.relative_area[:n_region]
    inner = np.flatnonzero(expected > 0)
    mean, error = skies[:, inner].mean(), skies.mean(axis=1).std() / np.sqrt(150)
    assert abs(mean - expected[inner].mean()) < 4 * error + 0.02 * 1.5  # some sources beyond the grid are missing
    sources = simulator.draw_with_sources(POINT, n=1, seed=3)[1][0]
    there = model.dataset.pixels.find(
        np.stack([np.cos(np.deg2rad(sources.lat_deg)) * np.cos(np.deg2rad(sources.lon_deg)),
                  np.cos(np.deg2rad(sources.lat_deg)) * np.sin(np.deg2rad(sources.lon_deg)),
                  np.sin(np.deg2rad(sources.lat_deg))], axis=-1))  # fmt: skip
    np.testing.assert_array_equal(there, sources.pixel)
    assert skies.var(axis=0).mean() > 1.5 * mean  # sources make more than Poisson scatter


def test_a_simulated_sky_is_a_data_set(tmp_path: Path, folder: Path, model: SkyModel) -> None:
    counts = PhotonSimulator(model).draw(POINT, n=1, seed=5)[0]
    path = write_sky(tmp_path, 3, model.pixels, counts, base=str(folder), truth={"S": 2.0}, description="")
    again = SkyModel(model_from_table(MODEL), Dataset.open(path))
    np.testing.assert_array_equal(again.pixels.counts, counts[: model.pixels.n_fit])
    assert again.pixels.grid.key == model.pixels.grid.key
    sources = PhotonSimulator(model).draw_with_sources(POINT, n=1, seed=5)[1][0]
    write_sources(tmp_path / "s.fits", sources, ["sources"])
    assert (tmp_path / "s.fits").is_file()


def test_the_likelihood_and_its_gradient(model: SkyModel) -> None:
    z = np.zeros(model.n_latent)
    value, gradient = model.value_and_gradient(z)
    step = 1e-5
    for i in range(model.n_latent):
        shift = step * np.eye(model.n_latent)[i]
        slope = (model.log_density(z + shift) - model.log_density(z - shift)) / (2 * step)
        assert float(gradient[i]) == pytest.approx(float(slope), rel=1e-5)
    assert np.isfinite(float(value))
