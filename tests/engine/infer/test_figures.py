"""Figures: whole PNG files that are not blank, and the numbers in them where they can be read back."""

from __future__ import annotations

import sys
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import healpy
import numpy as np
import pytest
from matplotlib import rcParams
from matplotlib.image import imread
from matplotlib.lines import Line2D

from gammasky.engine.infer.derived import Predictions, derive, predict, predicted_maps, reference_exposure
from gammasky.engine.infer.figures import corner, dnds, elbo, fluxes, maps, save_figures
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset
from gammasky.engine.sky.pixels import HealpixPixels
from tests.engine.model.bins import MEAN_EXPOSURE, joint, photons, tilted, write_bins

pytestmark = pytest.mark.usefixtures("compiled_fast")

ALL = {"maps.png", "corner.png", "dnds.png", "fluxes.png", "elbo.png"}


def trace(steps: int = 400) -> np.ndarray:
    rng = np.random.default_rng(2)
    return -100.0 - 50 * np.exp(-np.arange(steps) / 30) + rng.normal(size=steps)


def check_png(path: Path) -> None:
    assert path.read_bytes()[:8] == b"\x89PNG\r\n\x1a\n"
    image = imread(path)[..., :3]
    height, width, _ = image.shape
    assert min(height, width) > 300
    assert image.std() > 0.05
    ink = np.argwhere((image < 0.9).any(axis=2))
    assert (ink.min(axis=0) > 5).all(), "clipped at the top or left"
    assert (ink.max(axis=0) < [height - 6, width - 6]).all(), "clipped at the bottom or right"


def predicted(model: SkyModel, z: np.ndarray) -> tuple[Predictions, dict[str, np.ndarray]]:
    derived = derive(model, z)
    return predict(model, z, derived), derived


def test_every_figure(
    small_fiducial: SkyModel, draws: np.ndarray, derived: dict[str, np.ndarray], tmp_path: Path
) -> None:
    settings = {name: value for name, value in rcParams.items() if name != "backend"}  # chosen at the first figure
    predictions = predict(small_fiducial, draws, derived)
    written = save_figures(small_fiducial, predictions, derived, trace(), tmp_path / "new" / "figures")
    assert {path.name for path in written} == ALL
    assert {path.name for path in (tmp_path / "new" / "figures").iterdir()} == ALL
    for path in written:
        check_png(path)
    assert {name: value for name, value in rcParams.items() if name != "backend"} == settings
    if "matplotlib.pyplot" in sys.modules:  # corner imports it
        assert sys.modules["matplotlib.pyplot"].get_fignums() == []


def test_only_what_the_model_has(smooth_only: SkyModel, tmp_path: Path) -> None:
    z = np.random.default_rng(0).normal(size=(50, 1))
    written = save_figures(smooth_only, *predicted(smooth_only, z), np.array([]), tmp_path)
    assert {path.name for path in written} == {"maps.png", "fluxes.png", "corner.png"}
    for path in written:
        check_png(path)


def test_draws_that_do_not_vary(smooth_only: SkyModel, tmp_path: Path) -> None:
    z = np.zeros((3, 1))
    for path in save_figures(smooth_only, *predicted(smooth_only, z), trace(1), tmp_path):
        assert imread(path).std() > 0.02


def test_maps_show_each_pixel_in_its_place(small_fiducial: SkyModel, draws: np.ndarray) -> None:
    pixels = small_fiducial.pixels
    figure = maps.draw(small_fiducial, predicted_maps(small_fiducial, draws[:2]))
    for axis in figure.axes[:3]:
        left, right, low, high = axis.images[0].get_extent()
        assert left > pixels.lon_deg.max() > pixels.lon_deg.min() > right  # longitude rises to the left
        assert low < pixels.lat_deg.min() < pixels.lat_deg.max() < high
    masked, shown = (np.ma.filled(image.get_array(), np.nan) for image in figure.axes[0].images)
    rows, columns = shown.shape
    row = np.rint((pixels.lat_deg - low) / (high - low) * (rows - 1)).astype(int)
    column = np.rint((left - pixels.lon_deg) / (left - right) * (columns - 1)).astype(int)
    at = shown[row, column]
    np.testing.assert_array_equal(at[: pixels.n_fit], pixels.counts)
    assert np.isnan(at[pixels.n_fit :]).all()
    np.testing.assert_array_equal(masked[row, column] == 1.0, np.arange(pixels.n_pixels) >= pixels.n_fit)
    assert np.isnan(shown[rows // 2, columns // 2])  # the plane is outside


def test_maps_of_each_energy_bin(tmp_path: Path) -> None:
    dataset = write_bins(tmp_path / "sky", photons(4), tilted(MEAN_EXPOSURE))
    model = SkyModel(model_from_table(joint()), dataset)
    pixels, n_fit = model.pixels, model.pixels.n_fit
    figure = maps.draw(model, {"all": np.arange(1.0, pixels.n_pixels + 1)})
    rows = [axis for axis in figure.axes if axis.get_title().startswith("Posterior-mean")]
    assert [axis.get_title() for axis in rows] == [
        "Posterior-mean model", *(f"Posterior-mean model, {of} GeV" for of in ("1-2", "2-5", "5-10", "10-40"))
    ]  # fmt: skip
    by_bin = np.arange(1.0, n_fit + 1).reshape(4, -1)
    for axis, expected in zip(rows, (by_bin.sum(axis=0), *by_bin), strict=True):
        assert set(np.unique(axis.images[1].get_array().compressed())) <= set(expected)
    maps.draw(model, {"all": np.ones(pixels.n_pixels)}).savefig(tmp_path / "maps.png", dpi=40)


def test_residuals_and_scales(small_fiducial: SkyModel) -> None:
    pixels = small_fiducial.pixels
    figure = maps.draw(small_fiducial, {"one": np.full(pixels.n_pixels, 9.0), "two": np.full(pixels.n_pixels, 16.0)})
    counts, expected, residual = (figure.axes[i].images[1] for i in range(3))
    assert counts.norm is expected.norm
    assert (counts.norm.vmin, counts.norm.vmax) == (0.0, pixels.counts.max())
    assert (residual.norm.vmin, residual.norm.vmax) == (-5.0, 5.0)
    np.testing.assert_allclose(np.unique(expected.get_array().compressed()), 25.0)
    np.testing.assert_allclose(residual.get_array(), (counts.get_array() - 25.0) / 5.0)


def test_a_region_around_the_anticentre_stays_in_one_piece(fermi: object, smooth_only: SkyModel) -> None:
    lon = np.array([178.0, -178.0, 180.0])
    index = healpy.ang2pix(128, lon, np.full(3, 5.0), lonlat=True)
    centres = healpy.pix2ang(128, index, lonlat=True)
    options = {
        "grid": HealpixPixels(128),
        "energy_edges_gev": np.array([2.0, 20.0]),
        "psf": smooth_only.pixels.psf,
        "n_fit": 3,
        "n_region": 3,
        "counts": np.arange(3),
        "region": np.zeros(3, dtype=int),
    }
    pixels = type(smooth_only.pixels)(
        index=index,
        lon_deg=(centres[0] + 180) % 360 - 180,
        lat_deg=centres[1],
        exposure_ratios=np.ones(1),
        exposure=np.ones(3),
        reference_exposure=np.ones(1),
        **options,
    )
    stand_in = type("Model", (), {"pixels": pixels})()
    left, right, *_ = maps.draw(stand_in, {"flat": np.ones(3)}).axes[0].images[0].get_extent()
    assert fermi is smooth_only.dataset
    assert 175 < right < 178
    assert 182 < left < 185


def test_corner_panels(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    figure = corner.draw(small_fiducial, derived)
    assert len(figure.axes) == 81
    first, last = figure.axes[0], figure.axes[80]
    low, middle, high = np.quantile(derived["S_pib"], (0.16, 0.5, 0.84))
    assert first.get_title().startswith(f"S_pib\n${middle:.1f}")
    assert last.get_xlabel() == "C"
    assert figure.axes[7 * 10].get_title().startswith("scale height\n")
    assert figure.axes[9 * 7].get_ylabel() == "scale height\n[kpc]"
    left, right = first.get_xlim()
    assert left < low < high < right


def test_dnds_bands(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    values = small_fiducial.expectation.populations.dnds(derived)
    figure = dnds.draw(small_fiducial, values)
    (axis,) = figure.axes
    s = np.geomspace(0.1, 100, 100)
    by_label = {line.get_label(): line for line in axis.get_lines()}
    for number, name in enumerate(("gce_ps", "dsk_ps")):
        np.testing.assert_allclose(by_label[name].get_ydata(), s**2 * np.median(values[:, number], axis=0), rtol=1e-12)
    assert [text.get_text() for text in axis.texts] == ["1 photon", "3FGL resolved"]
    (flux_axis,) = axis.child_axes
    assert "cm$^{-2}$ s$^{-1}$" in flux_axis.get_xlabel()
    figure.draw_without_rendering()
    pixels = small_fiducial.pixels
    exposure = small_fiducial.dataset.exposure[0, pixels.index[: pixels.n_fit]]
    mean = np.mean([exposure[pixels.region == region].mean() for region in range(3)])
    assert reference_exposure(small_fiducial.pixels) == pytest.approx(mean, rel=1e-12)
    np.testing.assert_allclose(flux_axis.get_xlim(), np.array([0.1, 100]) / mean, rtol=1e-9)


def test_fluxes_panels(
    small_fiducial: SkyModel, derived: dict[str, np.ndarray], population_model: Callable[..., SkyModel]
) -> None:
    figure = fluxes.draw(small_fiducial, derived)
    top, bottom = figure.axes
    assert [label.get_text() for label in top.get_yticklabels()] == [c.name for c in small_fiducial.spec.components]
    medians = [line for line in top.get_lines() if line.get_marker() != "None"]
    np.testing.assert_allclose([line.get_xdata()[0] for line in medians], np.median(derived["flux"], axis=0))
    assert [line.get_marker() == "s" for line in medians] == [c.of_sources for c in small_fiducial.spec.components]
    assert bottom.get_xlim() == (0.0, 1.0)
    alone = population_model({"S": {"prior": "uniform", "low": 0.1, "high": 1.0}}, norm="S")
    assert len(fluxes.draw(alone, derive(alone, np.random.default_rng(1).normal(size=(20, 1)))).axes) == 1


@pytest.mark.parametrize("steps", [1, 2, 7, 400])
def test_elbo_panels(steps: int) -> None:
    values = trace(steps)
    whole, zoom = elbo.draw(values).axes
    np.testing.assert_array_equal(whole.get_lines()[0].get_ydata(), values)
    np.testing.assert_array_equal(zoom.get_lines()[0].get_ydata(), values[-max(round(0.8 * steps), 1) :])
    window = max(steps // 50, 1)
    running = whole.get_lines()[1]
    middle = running.get_xdata()[0]  # of the first `window` steps
    assert middle == pytest.approx((window + 1) / 2, abs=0.5)
    assert running.get_ydata()[0] == pytest.approx(values[:window].mean())


def test_elbo_of_a_diverged_fit_is_drawn(tmp_path: Path, smooth_only: SkyModel) -> None:
    values = trace(100)
    values[40:] = np.nan
    values[30] = -np.inf
    z = np.random.default_rng(3).normal(size=(20, 1))
    written = save_figures(smooth_only, *predicted(smooth_only, z), values, tmp_path)
    check_png(next(path for path in written if path.name == "elbo.png"))


@pytest.mark.parametrize("known", [("S_flat", "Sps"), ("Sps",), ()])
def test_corner_with_truth(known: tuple[str, ...], tiny_files: Path) -> None:
    """A line where the truth is known, in the marginal and in the panels of pairs."""
    dataset = Dataset.open(tiny_files / "sky")
    truth = {name: value for name, value in (("S_flat", 2.25), ("Sps", 4.125)) if name in known}
    manifest = dataset.manifest.model_copy(update={"truth": truth})
    model = SkyModel(tiny_files / "model.toml", replace(dataset, manifest=manifest))
    figure = corner.draw(model, derive(model, np.random.default_rng(3).normal(size=(300, model.n_latent))))
    places = {"S_flat": figure.axes[0], "Sps": figure.axes[3]}
    for name, axis in places.items():
        upright = {float(np.ravel(line.get_xdata())[0]) for line in axis.get_lines() if vertical(line)}
        assert (truth.get(name) in upright) == (name in known)
        assert len(upright) == (2 if name in known else 1)  # the median always
    pair = figure.axes[2]
    values = {float(value) for line in pair.get_lines() for value in (*line.get_xdata(), *line.get_ydata())}
    assert {truth[name] for name in known} <= values


def vertical(line: Line2D) -> bool:
    return len(set(np.ravel(line.get_xdata()))) == 1
