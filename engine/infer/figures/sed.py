"""Energy spectra of the components, and point-source fractions by energy."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.patches import Patch

from gammasky.engine.infer.energy_spectra import EnergySpectra
from gammasky.engine.infer.figures.style import COLOURS, MASKED

BANDS = ((0.025, 0.975, 0.18), (0.16, 0.84, 0.4))  # quantiles and opacity
DECADES = 3.0  # shown below the brightest component


def draw(spectra: EnergySpectra) -> Figure:
    """E^2 dN/dE of each component with 68 % and 95 % bands in every bin; below, the point-source fraction of groups."""
    fractions = spectra.fractions
    rows = 2 if fractions else 1
    figure = Figure(figsize=(7.4, 5.2 + 2.4 * (rows - 1)), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[2.2, 1.0][:rows])[:, 0]
    keys, top = [], 0.0
    for number, component in enumerate(spectra.components):
        sources, colour = component.of_sources, COLOURS[number % len(COLOURS)]
        place = (number, len(spectra.components))
        keys.append(_bands(axes[0], spectra, spectra.sed[:, number], component.name, colour, place, sources=sources))
        top = max(top, float(np.quantile(spectra.sed[:, number], 0.975, axis=0).max()))
    axes[0].set(xscale="log", yscale="log", ylim=(top * 10**-DECADES, top * 4))
    axes[0].set_ylabel(r"$E^2\, \mathrm{d}N/\mathrm{d}E$ [GeV cm$^{-2}$ s$^{-1}$ sr$^{-1}$]")
    axes[0].legend(
        handles=keys,
        title="median, 68 % and 95 %, in each bin from left to right; hatched: point sources",
        ncols=3,
        loc="upper right",
        alignment="left",
    )
    keys = [
        _bands(axes[1], spectra, draws, group, COLOURS[number % len(COLOURS)], (number, len(fractions)))
        for number, (group, draws) in enumerate(fractions.items())
    ]
    if fractions:
        axes[1].set(ylim=(0, 1), ylabel="point-source fraction")
        axes[1].legend(handles=keys, loc="upper right")
    axes[-1].set_xlabel("energy [GeV]")
    return figure


def _bands(
    axis: Axes, spectra: EnergySpectra, draws: np.ndarray, name: str, colour: str, place: tuple[int, int],
    *, sources: bool = False,
) -> Patch:  # fmt: skip
    """Boxes of the intervals of draws (n, E) and their medians, in every bin beside those of the others; the key.

    Args:
        place: the how-manieth of how many share a bin.
    """
    edges = np.log(spectra.edges_gev)
    number, all_of_them = place
    step = np.diff(edges) / all_of_them
    left = np.exp(edges[:-1] + (number + 0.1) * step)
    right = np.exp(edges[:-1] + (number + 0.9) * step)
    middle = np.median(draws, axis=0)
    for low, high, opacity in BANDS:
        lower, upper = np.quantile(draws, (low, high), axis=0)
        boxes = axis.bar(left, upper - lower, right - left, lower, align="edge", color=colour, alpha=opacity)
        for box in boxes:
            box.set(linewidth=0, hatch="////" if sources else None)
    axis.hlines(middle, left, right, color=colour, linewidth=2.2)
    axis.plot(np.sqrt(left * right), middle, color=colour, linewidth=0.7, alpha=0.6)
    for edge in spectra.edges_gev:
        axis.axvline(edge, color=MASKED, linewidth=0.8, zorder=0)
    return Patch(color=colour, alpha=0.6, hatch="////" if sources else None, label=name)
