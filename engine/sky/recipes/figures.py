"""Maps of counts and exposure for the report of a data folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.sky.pixels import HealpixPixels, Pixels
from gammasky.engine.sky.pixels.frames import vectors_of

ROWS = 240  # of the grid that the whole sky is drawn on


def draw_map(path: Path, pixels: Pixels, values: np.ndarray, title: str, unit: str, *, logarithmic: bool) -> None:
    """Draw a map in Galactic coordinates: the whole sky for HEALPix pixels, else the image itself.

    Args:
        path: a PNG file.
        pixels: of the map.
        values (n_pixels,): NaN where there is none.
        title, unit: what it shows.
        logarithmic: colours by log(1 + value).
    """
    from matplotlib.backends.backend_agg import FigureCanvasAgg
    from matplotlib.figure import Figure

    shown = np.log10(1 + values) if logarithmic else values
    label = f"log10(1 + {unit})" if logarithmic else unit
    figure = Figure(figsize=(8, 4.6), layout="constrained")
    FigureCanvasAgg(figure)
    if isinstance(pixels, HealpixPixels):
        axes = figure.add_subplot(projection="mollweide")
        lon, lat = np.meshgrid(_middles(-180, 180, 2 * ROWS), _middles(-90, 90, ROWS))
        image = shown[pixels.find(vectors_of(lon, lat))]
        drawn: Any = axes.pcolormesh(-np.deg2rad(lon), np.deg2rad(lat), image, shading="nearest", rasterized=True)
        axes.set_xticks(np.deg2rad(np.arange(-120, 121, 60)), [f"{-angle % 360}°" for angle in range(-120, 121, 60)])
        axes.grid(alpha=0.3)
    else:
        axes = figure.add_subplot()
        rows, columns = pixels.shape
        drawn = axes.imshow(shown.reshape(rows, columns), origin="lower", interpolation="nearest")
        axes.set_xlabel(f"column ({pixels.name})")
        axes.set_ylabel("row")
    figure.colorbar(drawn, ax=axes, label=label, shrink=0.8)
    axes.set_title(title)
    figure.savefig(path, dpi=110)


def _middles(low: float, high: float, n: int) -> np.ndarray:
    """Middles of `n` equal parts."""
    return low + (high - low) * (np.arange(n) + 0.5) / n
