"""A map of any pixels: the whole sky in Mollweide's projection, a part of it as a window."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize, PowerNorm
from matplotlib.figure import Figure

from gammasky.engine.sky.pixels import Pixels
from gammasky.engine.sky.pixels.frames import vectors_of

ROWS = 500  # of the picture
Picture = tuple[tuple[np.ndarray, np.ndarray], tuple[float, float, float, float]]
PART = 0.25  # of the sphere: maps of less are shown as a window


def draw(sky: np.ndarray, pixels: Pixels, title: str, unit: str) -> Figure:
    """The map in Galactic coordinates, longitude rising to the left.

    Args:
        sky (pixels,): values; NaN where there is none.
        pixels: that they are of.
        title: above the map.
        unit: beside the colours.
    """
    lon, lat = pixels.galactic
    seen = np.isfinite(sky) & np.isfinite(lon)
    share = float(np.nansum(pixels.solid_angle_sr[seen]) / (4 * np.pi))
    whole = share >= PART or not seen.any()
    directions, extent = _mollweide() if whole else _window(lon[seen], lat[seen])
    inside = np.isfinite(directions[1])
    found = pixels.find(vectors_of(directions[0][inside], directions[1][inside]))
    shown = np.full(inside.shape, np.nan)
    shown[inside] = np.where(found >= 0, np.asarray(sky, dtype=np.float64)[found], np.nan)
    figure = Figure(figsize=(9, 5) if whole else (7, 6), layout="constrained")
    axis = figure.subplots()
    low, high = (float(np.nanmin(sky)), float(np.nanmax(sky))) if seen.any() else (0.0, 1.0)
    norm = PowerNorm(0.5, vmin=0.0, vmax=max(high, np.finfo(float).tiny)) if low >= 0 else Normalize(low, high)
    drawn = axis.imshow(shown, origin="lower", extent=extent, norm=norm, cmap="viridis", interpolation="nearest")
    axis.set_title(title)
    if whole:
        axis.set_axis_off()
    else:
        axis.set_xlabel(r"Galactic longitude $\ell$ [deg]")
        axis.set_ylabel(r"Galactic latitude $b$ [deg]")
    figure.colorbar(drawn, ax=axis, label=unit, location="bottom", aspect=40, shrink=0.7)
    return figure


def _mollweide() -> Picture:
    """Directions (rows, columns) [deg] of the picture, NaN outside the ellipse; and its edges."""
    y = (np.arange(ROWS) + 0.5) / ROWS * 2 - 1
    x = (np.arange(2 * ROWS) + 0.5) / ROWS * 2 - 2
    across, up = np.meshgrid(x, y)
    angle = np.arcsin(up)
    with np.errstate(invalid="ignore"):
        lat = np.rad2deg(np.arcsin(np.clip((2 * angle + np.sin(2 * angle)) / np.pi, -1, 1)))
        lon = -90.0 * across / np.cos(angle)
    outside = (across / 2) ** 2 + up**2 >= 1
    return (np.where(outside, np.nan, lon), np.where(outside, np.nan, lat)), (-2.0, 2.0, -1.0, 1.0)


def _window(
    lon: np.ndarray, lat: np.ndarray
) -> tuple[tuple[np.ndarray, np.ndarray], tuple[float, float, float, float]]:
    """Directions (rows, columns) [deg] around these positions, and the edges of the picture."""
    lon = lon % 360 if np.abs(lon).min() > 90 else lon
    left, right, low, high = lon.max(), lon.min(), lat.min(), lat.max()
    step = max(left - right, high - low) / ROWS or 1.0
    columns = np.linspace(left, right, max(int((left - right) / step), 2))
    rows = np.linspace(low, high, max(int((high - low) / step), 2))
    grid_lon, grid_lat = np.meshgrid(columns, rows)
    return (grid_lon, grid_lat), (float(left), float(right), float(low), float(high))
