"""Replicated skies beside the one that was seen: count histogram, residual map, p-values by band."""

from __future__ import annotations

from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.maps import LARGEST_RESIDUAL, Window, colour_bar, residual_scale
from gammasky.engine.infer.figures.style import COLOURS, GREY
from gammasky.engine.infer.predictive import Band, PredictiveCheck
from gammasky.engine.model import SkyModel

RESIDUAL = "(counts $-$ mean of replicas) / their sd"


def draw(model: SkyModel, check: PredictiveCheck) -> Figure:
    """Draw three panels: the histogram of counts, the map of residuals and the p-values of bands.

    Args:
        model: the model; energy bins are added up in the map.
        check: replicas and p-values.
    """
    figure = Figure(figsize=(15, 5.4), layout="constrained")
    histogram, residual, p_values = figure.subplots(1, 3)
    _draw_histogram(histogram, check)
    pixels = model.pixels
    sky = np.nansum(pixels.to_map(check.residual), axis=0) / np.sqrt(pixels.n_energy)
    sky[np.isnan(pixels.to_map(check.residual)).all(axis=0)] = np.nan
    Window(pixels).show(residual, sky, residual_scale(), "RdBu_r")
    residual.set_xlabel(r"Galactic longitude $\ell$ [deg]")
    residual.set_ylabel(r"Galactic latitude $b$ [deg]")
    residual.set_title(f"Residual, beyond {LARGEST_RESIDUAL:g} sd: {int((np.abs(check.residual) > 5).sum())} pixels")
    colour_bar(figure, [residual], residual_scale(), "RdBu_r", RESIDUAL, shrink=0.9, extend="both")
    _draw_p_values(p_values, check.bands)
    return figure


def _draw_histogram(axis: Axes, check: PredictiveCheck) -> None:
    """Number of pixels with k photons, in bins that hold the tail together."""
    k, seen, replicas = check.histogram()
    edges = np.unique(np.concatenate([np.arange(min(21, k.size)), np.geomspace(20, k.size, 25).astype(int), [k.size]]))
    edges = edges[edges <= k.size]
    starts, widths = edges[:-1], np.diff(edges)
    counted, replicated = (np.add.reduceat(values, starts, axis=-1) / widths for values in (seen, replicas))
    low, middle, high = np.quantile(replicated, [0.05, 0.5, 0.95], axis=0)
    options: dict[str, Any] = {"step": "post", "color": COLOURS[0], "linewidth": 0}
    last = lambda values: np.append(values, values[-1])  # noqa: E731  (steps need the right edge)
    axis.fill_between(edges, last(low), last(high), alpha=0.3, label="replicas, 90 %", **options)
    axis.step(edges, last(middle), where="post", color=COLOURS[0], linewidth=1.2, label="replicas, median")
    axis.plot(starts + 0.5 * widths, counted, "o", color="black", markersize=3, label="counts")
    axis.set_yscale("symlog", linthresh=1.0)
    axis.set_ylim(bottom=0)
    axis.set_xlabel("photons in a pixel")
    axis.set_ylabel("pixels per unit")
    axis.set_title("Histogram of counts")
    axis.legend()


def _draw_p_values(axis: Axes, bands: tuple[Band, ...]) -> None:
    """Draw the p-values, one row for each band."""
    rows = np.arange(len(bands))[::-1]
    for values, marker, colour, label in (
        ([band.p_counts for band in bands], "o", COLOURS[0], "counts (two-sided)"),
        ([band.p_dispersion for band in bands], "s", COLOURS[1], "dispersion (one-sided)"),
    ):
        axis.plot(values, rows, marker, color=colour, label=label, markersize=6)
    axis.axvspan(0.0, 0.05, color=GREY, alpha=0.15, linewidth=0)
    axis.axvspan(0.95, 1.0, color=GREY, alpha=0.07, linewidth=0)
    axis.set_yticks(rows, [_name(band, whole=row == rows[0]) for row, band in zip(rows, bands, strict=True)])
    axis.set_xlim(0, 1)
    axis.set_ylim(-1.6, len(bands) - 0.4)
    axis.set_xlabel("posterior predictive p-value")
    axis.set_title("Bands of radius and latitude")
    axis.legend(loc="lower center", ncols=2)


def _name(band: Band, whole: bool) -> str:
    if whole:
        return "whole region"
    return f"${band.low:.0f} < {'r' if band.coordinate == 'radius' else 'b'} < {band.high:.0f}$ deg"
