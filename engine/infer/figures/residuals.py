"""Where the counts are not what the fitted model expects: the PS map and residuals in counts, sigma and per cent."""

from __future__ import annotations

import numpy as np
from matplotlib.colors import Normalize
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.maps import Window, colour_bar
from gammasky.engine.infer.predictive import PredictiveCheck
from gammasky.engine.model import SkyModel

COLOURS = "RdBu_r"
LEAST_PS, LARGEST_SIGMA, LARGEST_PER_CENT = 4.0, 5.0, 50.0


def draw(model: SkyModel, check: PredictiveCheck) -> Figure:
    """Four maps of the counts in discs as wide as the PSF; energy bins added up.

    Args:
        model: the model.
        check: replicas and their PS map.
    """
    found = check.ps_map
    difference = found.counts - found.expected
    known = found.expected > 0
    ratio = lambda below: np.where(known, difference / np.where(known, below, 1.0), np.nan)  # noqa: E731
    panels = (
        (f"PS, global p = {found.global_p:.3g}", found.ps, max(LEAST_PS, _largest(found.ps)), r"signed $-\log_{10} p$"),
        ("Counts", difference, _largest(difference), "counts $-$ expected"),
        ("Sigma", ratio(found.sd), LARGEST_SIGMA, "(counts $-$ expected) / sd"),
        ("Per cent", 100 * ratio(found.expected), LARGEST_PER_CENT, "(counts $-$ expected) / expected [%]"),
    )
    figure = Figure(figsize=(12, 12.5), layout="constrained")
    axes = figure.subplots(2, 2, sharex=True, sharey=True)
    window, pixels = Window(model.pixels), model.pixels
    for axis, (title, values, largest, label) in zip(axes.ravel(), panels, strict=True):
        sky, scale = np.full(pixels.grid.n_pixels, np.nan), Normalize(-largest, largest)
        sky[found.discs.pixel] = values
        window.show(axis, sky, scale, COLOURS)
        axis.set_title(title)
        colour_bar(figure, [axis], scale, COLOURS, label, shrink=0.9, extend="both")
    for axis in axes[1]:
        axis.set_xlabel(r"Galactic longitude $\ell$ [deg]")
    for axis in axes[:, 0]:
        axis.set_ylabel(r"Galactic latitude $b$ [deg]")
    for spot in found.spots(1):
        axes[0, 0].plot(_turned(spot["lon"], window), spot["lat"], "o", markersize=14, fillstyle="none", color="black")
    figure.suptitle(f"Counts within {found.discs.radius_deg:.2f} deg of each pixel")
    return figure


def _largest(values: np.ndarray) -> float:
    finite = np.abs(values[np.isfinite(values)])
    return float(finite.max(initial=0.0)) or 1.0


def _turned(lon: float, window: Window) -> float:
    """A longitude as the window counts it."""
    left, right = window.extent[:2]
    return lon + 360 * round((0.5 * (left + right) - lon) / 360)
