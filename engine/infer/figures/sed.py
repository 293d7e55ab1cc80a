"""Energy spectra of the components, and point-source fractions by energy."""

from __future__ import annotations

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.energy_spectra import EnergySpectra
from gammasky.engine.infer.figures.style import COLOURS

BANDS = ((0.025, 0.975, 0.18), (0.16, 0.84, 0.4))  # quantiles and opacity
DECADES = 3.0  # shown below the brightest component


def draw(spectra: EnergySpectra) -> Figure:
    """E^2 dN/dE of each component with 68 % and 95 % bands in every bin; below, the point-source fraction of groups."""
    fractions = spectra.fractions
    rows = 2 if fractions else 1
    figure = Figure(figsize=(7.4, 5.2 + 2.4 * (rows - 1)), layout="constrained")
    axes = figure.subplots(rows, 1, sharex=True, squeeze=False, height_ratios=[2.2, 1.0][:rows])[:, 0]
    top = 0.0
    for number, component in enumerate(spectra.components):
        kind = "--" if component.source_counts is not None else "-"
        colour = COLOURS[number % len(COLOURS)]
        _bands(axes[0], spectra, spectra.sed[:, number], component.name, colour, kind)
        top = max(top, float(np.quantile(spectra.sed[:, number], 0.975, axis=0).max()))
    axes[0].set(xscale="log", yscale="log", ylim=(top * 10**-DECADES, top * 4))
    axes[0].set_ylabel(r"$E^2\, \mathrm{d}N/\mathrm{d}E$ [GeV cm$^{-2}$ s$^{-1}$ sr$^{-1}$]")
    axes[0].legend(title="median, 68 % and 95 %; dashed: point sources", ncols=3, loc="upper right", alignment="left")
    for number, (group, draws) in enumerate(fractions.items()):
        _bands(axes[1], spectra, draws, group, COLOURS[number % len(COLOURS)], "-")
        axes[1].set(ylim=(0, 1), ylabel="point-source fraction")
        axes[1].legend(loc="upper right")
    axes[-1].set_xlabel("energy [GeV]")
    return figure


def _bands(axis: Axes, spectra: EnergySpectra, draws: np.ndarray, name: str, colour: str, kind: str) -> None:
    """One step for each bin: boxes of the intervals of draws (n, E), and the median."""
    edges = spectra.edges_gev
    for low, high, opacity in BANDS:
        lower, upper = np.quantile(draws, (low, high), axis=0)
        for e in range(len(edges) - 1):
            axis.fill_between(edges[e : e + 2], lower[e], upper[e], color=colour, alpha=opacity, linewidth=0)
    middle = np.median(draws, axis=0)
    axis.hlines(middle, edges[:-1], edges[1:], color=colour, linestyle=kind, linewidth=1.8)
    axis.plot([], [], color=colour, linestyle=kind, label=name)
