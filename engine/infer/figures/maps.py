"""Counts, expected counts and residuals over the region of interest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure, SubFigure

from gammasky.engine.infer.figures.style import MASKED
from gammasky.engine.model import SkyModel
from gammasky.engine.model.parameters import bin_labels
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixels.frames import vectors_of

MOST_BINS = 8  # that have a row of panels each
SAMPLES = 800  # along the longer side of a panel
LARGEST_RESIDUAL = 5.0
RESIDUAL = r"(counts $-$ model) / $\sqrt{\mathrm{model}}$"


def draw(model: SkyModel, predicted: Mapping[str, np.ndarray]) -> Figure:
    """Counts, expected counts and residuals in Galactic coordinates; masked pixels grey, outside white.

    One row of panels; of several energy bins one with all of them added up, and where they are few one for each.

    Args:
        model: the model.
        predicted: expected counts (N,) of each component, from `predicted_maps`.
    """
    pixels = model.pixels
    counts = pixels.to_map(pixels.counts)  # (E, npix), NaN outside
    expected = pixels.to_map(np.sum(list(predicted.values()), axis=0)[: pixels.n_fit])
    rows = [("", counts.sum(axis=0), expected.sum(axis=0))]
    if 1 < pixels.n_energy <= MOST_BINS:
        ranges = bin_labels(pixels.energy_edges_gev, "maps")
        rows += [(f", {name}", *of_bin) for name, *of_bin in zip(ranges, counts, expected, strict=True)]
    figure = Figure(figsize=(15, 5.8 * len(rows)), layout="constrained")
    parts = figure.subfigures(len(rows), 1, squeeze=False)[:, 0]
    window = Window(pixels)
    for part, row in zip(parts, rows, strict=True):
        _draw_row(part, window, *row)
    return figure


def _draw_row(figure: SubFigure, window: Window, of: str, counts: np.ndarray, expected: np.ndarray) -> None:
    """Draw three maps (npix,) beside each other; `of` is the end of their titles."""
    with np.errstate(invalid="ignore"):  # NaN outside
        residual = (counts - expected) / np.sqrt(expected)
    # on a square-root scale equal steps of colour are equal steps in Poisson standard deviations
    scale = PowerNorm(0.5, vmin=0.0, vmax=max(np.nanmax(counts), np.nanmax(expected), 1.0))
    sigma = residual_scale()
    panels = (
        (f"Counts{of}", counts, scale, "viridis"),
        (f"Posterior-mean model{of}", expected, scale, "viridis"),
        (f"Residual{of}", residual, sigma, "RdBu_r"),
    )
    axes = figure.subplots(1, 3, sharey=True)
    for axis, (title, values, norm, colours) in zip(axes, panels, strict=True):
        window.show(axis, values, norm, colours)
        axis.set_title(title)
        axis.set_xlabel(r"Galactic longitude $\ell$ [deg]")
    axes[0].set_ylabel(r"Galactic latitude $b$ [deg]")
    colour_bar(figure, list(axes[:2]), scale, "viridis", "counts per pixel", shrink=0.5)
    colour_bar(figure, [axes[2]], sigma, "RdBu_r", RESIDUAL, shrink=0.9, extend="both")


def residual_scale() -> Normalize:
    """Colours of residuals, symmetric about zero."""
    return Normalize(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)


class Window:
    """A grid of directions around the region, longitude rising to the left, and the pixel of each."""

    def __init__(self, pixels: Observation) -> None:
        lon, lat = pixels.lon_deg, pixels.lat_deg
        if np.abs(lon).min() > 90:
            lon = lon % 360  # a region around the anticentre stays in one piece
        margin = pixels.grid.spacing_deg
        left, right = lon.max() + margin, lon.min() - margin
        low, high = max(lat.min() - margin, -90.0), min(lat.max() + margin, 90.0)
        self.extent = (left, right, low, high)
        step = max(left - right, high - low) / SAMPLES
        columns = np.linspace(left, right, int(np.ceil((left - right) / step)))
        rows = np.linspace(low, high, int(np.ceil((high - low) / step)))
        self.pixel = pixels.grid.find(vectors_of(*np.meshgrid(columns, rows)))
        inside = pixels.to_map(np.arange(pixels.n_region) >= pixels.n_fit)[0]
        self.masked = np.where(inside == 1.0, 1.0, np.nan)

    def show(self, axis: Axes, values: np.ndarray, norm: Normalize, colours: str) -> None:
        """Draw a map (npix,) on `axis`."""
        options: dict[str, Any] = {
            "extent": self.extent,
            "origin": "lower",
            "interpolation": "nearest",
            "aspect": "equal",
        }
        axis.imshow(self._at(self.masked), cmap=ListedColormap([MASKED]), **options)
        axis.imshow(self._at(values), norm=norm, cmap=colours, **options)
        axis.tick_params(direction="out")

    def _at(self, values: np.ndarray) -> np.ndarray:
        """The values of a map (npix,) in the directions of the grid, NaN where no pixel is."""
        return np.where(self.pixel >= 0, values[self.pixel], np.nan)


def colour_bar(
    figure: Figure | SubFigure,
    axes: list[Axes],
    norm: Normalize,
    colours: str,
    label: str,
    shrink: float,
    extend: str = "neither",
) -> None:
    mappable = ScalarMappable(norm, colours)
    options: dict[str, Any] = {"location": "bottom", "aspect": 32, "pad": 0.02, "shrink": shrink, "extend": extend}
    figure.colorbar(mappable, ax=axes, label=label, **options)
