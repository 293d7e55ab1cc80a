"""Source-count functions with credible bands."""

from __future__ import annotations

from collections.abc import Mapping
from functools import partial
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.derived import reference_exposure
from gammasky.engine.infer.figures.style import COLOURS, GREY
from gammasky.engine.model import SkyModel

BANDS = ((0.025, 0.975, 0.18), (0.16, 0.84, 0.35))  # quantiles and opacity
DECADES = 4.0  # shown below the highest band; above it is room for the legend


def draw(model: SkyModel, dnds: np.ndarray) -> Figure:
    """S^2 dN/dS of each population: median, 68 % and 95 % bands, against counts and flux.

    Args:
        model: the model.
        dnds (k, I, S) [sources per pixel per count]: draws, from `predict`.
    """
    counts = model.expectation.populations.s_grid
    figure = Figure(figsize=(7.4, 5.4), layout="constrained")
    axis = figure.subplots()
    top = 0.0
    for number, population in enumerate(model.spec.populations):
        values = counts**2 * dnds[:, number]
        top = max(top, _band(axis, counts, values, population.name, COLOURS[number % len(COLOURS)]))
    axis.set(xscale="log", yscale="log", xlim=(counts[0], counts[-1]), ylim=(top * 10**-DECADES, top * 12))
    axis.set_xlabel("source counts $S$ [photons at mean exposure]")
    axis.set_ylabel(r"$S^2\, \mathrm{d}N/\mathrm{d}S$ [photons per pixel]")
    if counts[0] < 1 < counts[-1]:
        axis.axvline(1.0, color=GREY, linestyle="--", linewidth=1)
        where: dict[str, Any] = {
            "xycoords": ("data", "axes fraction"),
            "textcoords": "offset points",
            "va": "top",
            "ha": "right",
        }
        axis.annotate("1 photon", (1, 0.98), (-3, 0), rotation=90, color=GREY, **where)
    exposure = reference_exposure(model.pixels)
    if exposure is not None:
        mark_thresholds(axis, model.dataset.manifest.thresholds_in_counts(exposure))
        _flux_axis(axis, exposure)
    axis.legend(title="median, 68 % and 95 %", loc="upper right", alignment="left")
    return figure


def _band(axis: Axes, counts: np.ndarray, values: np.ndarray, name: str, colour: str) -> float:
    """Draw the curve and bands of one population; return the highest value of its bands."""
    highest = 0.0
    for low, high, opacity in BANDS:
        lower, upper = np.quantile(values, (low, high), axis=0)
        axis.fill_between(counts, lower, upper, color=colour, alpha=opacity, linewidth=0)
        highest = max(highest, float(upper.max()))
    axis.plot(counts, np.median(values, axis=0), color=colour, linewidth=2, label=name)
    return highest


def mark_thresholds(axis: Axes, thresholds: Mapping[str, tuple[float, float]]) -> None:
    """Bands of source counts (low, high) between which the sources of a catalogue begin to be resolved, by its name."""
    first, last = axis.get_xlim()
    for name, (low, high) in thresholds.items():
        if first < high and low < last:
            axis.axvspan(low, high, color=GREY, alpha=0.25, linewidth=0)
            where: dict[str, Any] = {"xycoords": ("data", "axes fraction"), "textcoords": "offset points"}
            axis.annotate(
                f"{name} resolved", (high, 0.02), (3, 0), rotation=90, color=GREY, va="bottom", ha="left", **where
            )


def _flux_axis(axis: Axes, exposure: float) -> None:
    """Flux on the upper axis, by the exposure [cm^2 s]."""
    upper = axis.secondary_xaxis("top", functions=(partial(np.multiply, 1 / exposure), partial(np.multiply, exposure)))
    upper.set_xlabel(r"flux $F$ [photons cm$^{-2}$ s$^{-1}$]")
