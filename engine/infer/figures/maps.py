"""Counts, expected counts and residuals over the region of interest."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.cm import ScalarMappable
from matplotlib.colors import ListedColormap, Normalize, PowerNorm
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.style import MASKED
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixels.frames import vectors_of

SAMPLES = 800  # along the longer side of a panel
LARGEST_RESIDUAL = 5.0
RESIDUAL = r"(counts $-$ model) / $\sqrt{\mathrm{model}}$"


def draw(model: SkyModel, predicted: Mapping[str, np.ndarray]) -> Figure:
    """Three panels in Galactic coordinates, energy bins added up; masked pixels grey, outside white.

    Args:
        model: the model.
        predicted: expected counts (N,) of each component, from `predicted_maps`.
    """
    pixels = model.pixels
    counts = _on_sphere(pixels, pixels.counts)
    expected = _on_sphere(pixels, np.sum(list(predicted.values()), axis=0)[: pixels.n_fit])
    with np.errstate(invalid="ignore"):  # NaN outside
        residual = (counts - expected) / np.sqrt(expected)
    # on a square-root scale equal steps of colour are equal steps in Poisson standard deviations
    scale = PowerNorm(0.5, vmin=0.0, vmax=max(np.nanmax(counts), np.nanmax(expected), 1.0))
    sigma = residual_scale()
    panels = (
        ("Counts", counts, scale, "viridis"),
        ("Posterior-mean model", expected, scale, "viridis"),
        ("Residual", residual, sigma, "RdBu_r"),
    )
    figure = Figure(figsize=(15, 5.8), layout="constrained")
    axes = figure.subplots(1, 3, sharey=True)
    window = Window(pixels)
    for axis, (title, values, norm, colours) in zip(axes, panels, strict=True):
        window.show(axis, values, norm, colours)
        axis.set_title(title)
        axis.set_xlabel(r"Galactic longitude $\ell$ [deg]")
    axes[0].set_ylabel(r"Galactic latitude $b$ [deg]")
    colour_bar(figure, list(axes[:2]), scale, "viridis", "counts per pixel", shrink=0.5)
    colour_bar(figure, [axes[2]], sigma, "RdBu_r", RESIDUAL, shrink=0.9, extend="both")
    return figure


def residual_scale() -> Normalize:
    """Colours of residuals, symmetric about zero."""
    return Normalize(-LARGEST_RESIDUAL, LARGEST_RESIDUAL)


def _on_sphere(pixels: Observation, values: np.ndarray) -> np.ndarray:
    """A map (npix,) of values (P,), energy bins added up, NaN outside."""
    return pixels.to_map(values).sum(axis=0)


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
    figure: Figure,
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
