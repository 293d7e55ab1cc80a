"""The figure of a test: how often the null gives a test statistic as large as any."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import ArrayLike
from scipy.stats import beta, chi2

from gammasky.analyses.nested.statistics import CONFIDENCE
from gammasky.engine.infer.figures.style import COLOURS, GREY, styled

BAND = "#DDDDDD"


def survival(observed: float, simulated: ArrayLike, degrees: int) -> Figure:
    """Share of the skies of the null with a test statistic of at least so much, its band, chi-square, the observed.

    Args:
        observed: test statistic of the observed sky.
        simulated (n,): those of the skies.
        degrees: of chi-square.
    """
    values = np.sort(np.asarray(simulated, dtype=np.float64))
    n, most = values.size, 1.12 * max(float(values.max(initial=1.0)), observed)
    grid = np.linspace(0.0, most, 600)
    k = n - np.searchsorted(values, grid, side="left")
    tail = 0.5 * (1.0 - CONFIDENCE)
    low = np.where(k > 0, beta.ppf(tail, np.maximum(k, 1), n - k + 1), 0.0)
    high = np.where(k < n, beta.isf(tail, k + 1, np.maximum(n - k, 1)), 1.0)
    with styled():
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        panel = figure.subplots()
        panel.fill_between(grid, low, high, color=BAND, linewidth=0, label="68 % interval")
        panel.step(grid, k / n, where="post", color=COLOURS[0], label=f"{n} skies of the null")
        theory = chi2.sf(grid, degrees)
        label = f"chi-square, {degrees} degree{'s' if degrees > 1 else ''} (for comparison)"
        panel.plot(grid, theory, color=GREY, linestyle="--", linewidth=1, label=label)
        panel.axvline(observed, color=COLOURS[1], label=f"observed: TS = {observed:.2f}")
        panel.set_yscale("log")
        panel.set(xlim=(0, most), ylim=(0.3 / n, 1.3), xlabel="TS = 2 Δ ln L", ylabel="share of skies with TS or more")
        panel.legend(loc="upper right", frameon=True, facecolor="white", edgecolor="none", framealpha=1.0)
    return figure
