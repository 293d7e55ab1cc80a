"""A catalogue's own dN/dF beside that of a fit: which sources count, and the heights of the histogram."""

from __future__ import annotations

from types import SimpleNamespace

import numpy as np
import pytest
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.dnds import _histogram, catalogued
from gammasky.engine.sky.catalogues import Catalogue
from gammasky.engine.sky.pixels import HealpixPixels

LON, LAT, FLUX = np.array([0.0, 10.0, 20.0]), np.array([30.0, 5.0, -40.0]), np.array([1e-10, 2e-10, 4e-10])


def model(flux: np.ndarray | None, band: tuple[float, float] | None = (10.0, 1000.0)) -> SimpleNamespace:
    catalogue = Catalogue("cat", LON, LAT, np.zeros(3), flux, band, np.full(3, 2.0))
    dataset = SimpleNamespace(catalogue=lambda _name: catalogue, energy_edges_gev=np.array([10.0, 20.0, 1000.0]))
    grid = HealpixPixels(8, "equatorial")
    region = np.flatnonzero(np.abs(grid.galactic[1]) >= 20.0)
    around = np.flatnonzero(np.abs(grid.galactic[1]) < 20.0)
    pixels = SimpleNamespace(grid=grid, pixel=np.concatenate([region, around]), n_region=len(region))
    return SimpleNamespace(dataset=dataset, pixels=pixels)


def test_the_sources_of_the_region_at_the_reference_exposure() -> None:
    np.testing.assert_allclose(catalogued(model(FLUX), "cat", 1e11), [10.0, 40.0])
    assert len(catalogued(model(None), "cat", 1e11)) == 0
    assert len(catalogued(model(FLUX, (50.0, 2000.0)), "cat", 1e11)) == 0  # its fluxes do not reach down to 10 GeV


def test_heights_of_the_histogram() -> None:
    counts = np.array([11.0, 12.0, 0.0, 45.0])  # bins of a fifth of a decade: 10 to 15.85, 39.8 to 63.1
    axis = Figure().subplots()
    _histogram(axis, "cat", counts, n_pixels=100)
    (line, _, (bars,)) = axis.containers[0]
    edges = 10 ** (np.arange(5, 10) / 5)
    middle = np.sqrt(edges[:-1] * edges[1:])
    expected = middle**2 * np.array([2, 0, 0, 1]) / np.diff(edges) / 100
    np.testing.assert_allclose(line.get_xdata(), middle[[0, 3]])
    np.testing.assert_allclose(line.get_ydata(), expected[[0, 3]])
    low, high = np.array(bars.get_segments())[0][:, 1]
    assert (low, high) == pytest.approx((expected[0] * (1 - 2**-0.5), expected[0] * (1 + 2**-0.5)))
    assert axis.containers[0].get_label() == "cat (3 sources)"
    _histogram(axis, "none", np.empty(0), n_pixels=100)
    assert len(axis.containers) == 1
