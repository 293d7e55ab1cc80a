"""Figures of simulation-based calibration: rank histograms and P-P curves, one small panel per parameter.

Draw and save within `styled()`, or let `save_figures` do it.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from math import ceil
from pathlib import Path

import numpy as np
from matplotlib.artist import Artist
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D
from matplotlib.patches import Patch

from gammasky.analyses.calibration.statistics import (
    CONFIDENCE,
    default_bins,
    ecdf_band,
    histogram_band,
    pit,
    pp_curve,
    rank_histogram,
)
from gammasky.engine.errors import InputError
from gammasky.engine.infer.figures.style import COLOURS, GREY, look, save, styled

PANEL_INCHES = 1.75
MOST_COLUMNS = 8
BAND = "#DDDDDD"
LEVELS = np.linspace(0.01, 0.99, 99)


def save_figures(
    runs: Mapping[str, np.ndarray], n_draws: int, names: Sequence[str], folder: Path | str, seed: int = 0
) -> list[Path]:
    """Write `pp.png` with all runs, and the rank histograms of each run as `ranks_LABEL.png`.

    Args:
        runs: label of each run and its ranks (J, K).
        n_draws: L, posterior draws per sky.
        names (K,): labels of the parameters.
        folder: where the figures go.
        seed: of the PIT.
    """
    stems = {label: "ranks_" + re.sub(r"[^a-z0-9]+", "_", label.lower()).strip("_") for label in runs}
    if len(set(stems.values())) < len(stems):
        raise InputError(f"labels of runs: expected ones that differ in letters or digits, got {', '.join(runs)}")
    Path(folder).mkdir(parents=True, exist_ok=True)
    with styled():
        u = {label: pit(rank, n_draws, seed) for label, rank in runs.items()}
        written = [save(draw_pp(u, names), Path(folder) / "pp.png")]
        for label, rank in runs.items():
            figure = draw_ranks(rank, n_draws, names, title=label)
            written.append(save(figure, Path(folder) / f"{stems[label]}.png"))
    return written


def draw_ranks(
    rank: np.ndarray, n_draws: int, names: Sequence[str], bins: int | None = None, title: str = ""
) -> Figure:
    """Rank histogram of each parameter with its simultaneous band; bins outside it are coloured.

    Args:
        rank (J, K): ranks from 0 to L.
        n_draws: L.
        names (K,): labels of the parameters.
        bins: number of bins; by default about ten counts in each.
        title: of the figure.
    """
    n_skies = len(rank)
    figure, panels = _panels(rank, names)
    top = 0.0
    for panel, column in zip(panels, rank.T, strict=True):
        top = max(top, _histogram(panel, column, n_draws, bins or default_bins(n_skies, n_draws)))
    for panel in panels:
        panel.set_ylim(0, 1.22 * top)  # room for the p-value
        panel.set_xlim(0, 1)
    handles: list[Artist] = [
        Patch(color=COLOURS[0], alpha=0.75, label="skies per bin"),
        Patch(color=COLOURS[1], alpha=0.9, label="outside the band"),
        Patch(color=BAND, label=f"{100 * CONFIDENCE:g} % band, all bins of a panel at once"),
        Line2D([], [], color=GREY, linewidth=1, label="uniform"),
    ]
    note = f"{n_skies} skies, {n_draws} draws each; p: chi-square test of uniform ranks"
    _frame(figure, panels, handles, f"{title}: {note}" if title else note)
    figure.supxlabel("rank of the truth among the draws (0: below all, 1: above all)", fontsize=11)
    figure.supylabel("skies", fontsize=11)
    return figure


def draw_pp(runs: Mapping[str, np.ndarray], names: Sequence[str]) -> Figure:
    """P-P curves of each parameter: share of the truths inside the central credible interval of each level.

    Curves below the diagonal under-cover (posteriors too narrow or biased), curves above it over-cover. The grey band
    contains the whole curve of a calibrated parameter with 95 % probability; it is that of the run with the fewest
    skies.

    Args:
        runs: label of each run and the PIT (J, K) of its truths.
        names (K,): labels of the parameters.
    """
    if not runs:
        raise InputError("runs of the P-P figure: expected at least one, got none")
    if len(runs) > len(COLOURS):
        raise InputError(f"runs of the P-P figure: expected at most {len(COLOURS)}, got {len(runs)}")
    fewest = min(len(u) for u in runs.values())
    band = ecdf_band(fewest, LEVELS)
    figure, panels = _panels(next(iter(runs.values())), names)
    for panel in panels:
        panel.fill_between(LEVELS, band.low / fewest, band.high / fewest, color=BAND, linewidth=0)
        panel.plot([0, 1], [0, 1], color=GREY, linewidth=0.8)
        panel.set(xlim=(0, 1), ylim=(0, 1), aspect="equal")
        panel.set_yticks([0, 0.5, 1], ["0", "0.5", "1"])
    handles: list[Artist] = []
    for number, (label, u) in enumerate(runs.items()):
        if u.shape[1] != len(names):
            raise InputError(f"run '{label}': expected {len(names)} parameters as in the names, got {u.shape[1]}")
        handles.append(Line2D([], [], **look(number), label=f"{label} ({len(u)} skies)"))
        for panel, column in zip(panels, u.T, strict=True):
            coverage = pp_curve(column, LEVELS)
            panel.plot([0, *LEVELS, 1], [0, *coverage, 1], linewidth=1.5, **look(number))
    handles.append(Patch(color=BAND, label=f"{100 * CONFIDENCE:g} % band of a whole curve, {fewest} skies"))
    _frame(figure, panels, handles, "P-P curves: below the diagonal, intervals are too narrow or biased")
    figure.supxlabel("posterior mass of the central interval", fontsize=11)
    figure.supylabel("share of the truths inside", fontsize=11)
    return figure


def _histogram(panel: Axes, rank: np.ndarray, n_draws: int, bins: int) -> float:
    """One rank histogram; returns the highest thing in it."""
    histogram = rank_histogram(rank, n_draws, bins)
    band = histogram_band(histogram)
    edges = histogram.edges / (n_draws + 1)
    middles = 0.5 * (edges[1:] + edges[:-1])
    # steps at band +- 1/2: a bar that ends at a permitted count ends inside the grey
    panel.stairs(band.high + 0.5, edges, baseline=np.maximum(band.low - 0.5, 0), fill=True, color=BAND)
    outside = (histogram.counts < band.low) | (histogram.counts > band.high)
    for chosen, colour, alpha in ((~outside, COLOURS[0], 0.75), (outside, COLOURS[1], 0.9)):
        width = 0.8 * np.diff(edges)[chosen]
        panel.bar(middles[chosen], histogram.counts[chosen], width, color=colour, alpha=alpha)
    low = histogram.counts < band.low  # bars of little height or none: dots show them
    (dots,) = panel.plot(middles[low], histogram.counts[low], "o", color=COLOURS[1], markersize=3, clip_on=False)
    dots.set_in_layout(False)  # without points, they have no extent to lay the figure out by
    panel.stairs(histogram.expected, edges, color=GREY, linewidth=1, baseline=None)
    panel.text(0.5, 0.97, f"p = {histogram.p_value():.2g}", transform=panel.transAxes, ha="center", va="top", size=8)
    return float(max(histogram.counts.max(), band.high.max() + 0.5))


def _panels(values: np.ndarray, names: Sequence[str]) -> tuple[Figure, list[Axes]]:
    """A figure with one panel per parameter, in rows."""
    if np.ndim(values) != 2 or not len(names) or np.shape(values)[1] != len(names):
        raise InputError(
            f"names: expected one for each column of an array (skies, parameters), got {len(names)} names"
            f" and an array {np.shape(values)}"
        )
    n = len(names)
    widths = range(min(ceil(np.sqrt(n)), MOST_COLUMNS), min(ceil(np.sqrt(1.7 * n)), MOST_COLUMNS) + 1)
    columns = min(widths, key=lambda width: -n % width)  # the fewest empty places
    rows = ceil(n / columns)
    size = (max(PANEL_INCHES * columns + 0.7, 6.5), max(PANEL_INCHES * rows + 1.9, 4.5))
    figure = Figure(figsize=size, layout="constrained")
    grid = figure.subplots(rows, columns, sharex=True, sharey=True, squeeze=False).ravel()
    for unused in grid[n:]:
        unused.remove()
    for panel, name in zip(grid, names, strict=False):
        panel.set_title(name, fontsize=9 if len(name) < 20 else 7)
        panel.tick_params(labelsize=8)
    return figure, list(grid[:n])


def _frame(figure: Figure, panels: Sequence[Axes], handles: Sequence[Artist], title: str) -> None:
    """Ticks under the lowest panel of each column; title and legend above the panels."""
    columns = panels[0].get_subplotspec().get_gridspec().ncols  # type: ignore[union-attr]
    for panel in panels:
        panel.set_xticks([0, 0.5, 1], ["0", "0.5", "1"])
    for panel in panels[-columns:]:
        panel.tick_params(labelbottom=True)
    in_one_row = figure.get_size_inches()[0] > 12
    figure.legend(
        handles=handles,
        loc="outside upper center",
        ncols=len(handles) if in_one_row else 2,
        title=title,
        title_fontsize=11,
        fontsize=9,
    )
