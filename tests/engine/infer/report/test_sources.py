"""Point sources in the report: dN/dS and numbers as the model has them, intensities, and catalogue thresholds."""

from __future__ import annotations

import base64
import io
import math
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import xarray
from matplotlib.image import imread

from gammasky.engine.infer.report import read_fit, report_page, sources
from gammasky.engine.infer.report.sky import catalogue_thresholds
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.manifest import read_manifest, shipped_manifests

pytestmark = pytest.mark.usefixtures("compiled_fast")


def test_intensities_need_the_exposure(folder: Any) -> None:
    with folder.posterior() as tree:
        pixels = tree["constant_data"].to_dataset()
        pixels["exposure"] = ("pixel", np.full(pixels.sizes["pixel"], 1e11))
        tree["constant_data"] = xarray.DataTree(pixels)
    fit = read_fit(folder.path)
    area = 4 * math.pi / 3072
    middle = float(np.median(fit.posterior.draws["flux"][:, 0])) / (1e11 * area) * 1e7
    assert sources.pixel_area_sr(fit.posterior) == pytest.approx(area)
    page = folder.page()
    assert f"{middle:.3f}" in page.text
    assert "intensity (10⁻⁷)" in page.text
    with folder.posterior() as tree:
        tree["constant_data"] = xarray.DataTree(pixels.drop_vars("exposure"))
    assert "does not hold the exposure" in folder.page().text


def test_a_threshold_that_is_given(folder: Any) -> None:
    text = folder.page(threshold=33.0).text
    assert "The catalogue threshold of 33 photons was given." in text
    assert "above 33 photons" in text


def test_the_threshold_of_a_catalogue_that_the_data_set_names(folder: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    fermi = read_manifest(shipped_manifests()["fermi"])
    monkeypatch.setattr("gammasky.engine.infer.report.sky.datasets_of", lambda _name, _checksums: [fermi])
    fit = read_fit(folder.path)
    low, high = (flux * sources.reference_exposure_cm2_s(fit.posterior) for flux in (4e-10, 5e-10))
    assert catalogue_thresholds(fit) == {"3FGL": (pytest.approx(low), pytest.approx(high))}
    text = folder.page().text
    assert f"sources of 3FGL begin to be resolved, {low:.0f} to {high:.0f} photons" in text
    assert f"above {high:.0f} photons" in text
    assert "5 σ" not in text
    assert "given" in folder.page(threshold=33.0).text


def test_dnds_and_numbers_are_those_of_the_model(made: Path, tiny_model: SkyModel) -> None:
    posterior = read_fit(made).posterior
    values, chosen = posterior.dnds["sources"], posterior.source_draws[:5]
    found = sources.number_of_sources(posterior, "sources", posterior.draws["flux"][chosen], values[:5], 1.0)
    grid = np.geomspace(0.1, 50.0, 60)
    np.testing.assert_allclose(posterior.spec.source_grid.points(), grid, rtol=1e-14)
    for row, draw in enumerate(chosen):
        sky = tiny_model.sky(tiny_model.point({name: posterior.draws[name][draw] for name in ("S_flat", "Sps", "mix")}))
        direct, template = np.asarray(sky.dnds["sources"]), np.asarray(sky.templates["sources"])
        np.testing.assert_allclose(values[row], direct, rtol=1e-6)  # kept in single precision
        above = np.trapezoid(np.where(grid >= 1.0, direct, 0.0)[grid >= 1.0], grid[grid >= 1.0])
        first = grid[grid >= 1.0][0]
        above += (first - 1.0) * 0.5 * (np.interp(1.0, grid, direct) + np.interp(first, grid, direct))
        assert found[row] == pytest.approx(template[: tiny_model.pixels.n_region].sum() * above, rel=1e-6)


def test_pixels_of_the_region(made: Path, tiny_model: SkyModel) -> None:
    posterior = read_fit(made).posterior
    assert sources.pixels_of_region(posterior) == tiny_model.pixels.n_region
    posterior.pixels.attrs["n_region"] = 17
    assert sources.pixels_of_region(posterior) == 17


def test_the_figure_of_source_counts_is_a_picture(made: Path) -> None:
    text = report_page(read_fit(made))
    pictures = [base64.b64decode(part.split('"')[0]) for part in text.split("data:image/png;base64,")[1:]]
    assert len(pictures) == 2  # maps and dN/dS
    assert imread(io.BytesIO(pictures[1])).std() > 0.02
