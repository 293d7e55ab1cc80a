"""The figure of a profile."""

from __future__ import annotations

import numpy as np
from matplotlib.figure import Figure
from numpy.typing import NDArray
from scipy.stats import chi2

from gammasky.analyses.profiles.limits import Limits
from gammasky.engine.infer.figures.style import COLOURS, GREY, styled
from gammasky.engine.infer.maximum.profile import DEEP, Profile

BANDS = ("#C2C2C2", "#E6E6E6")  # 68 and 95 % of the expected limits


def draw(found: Profile, grid: NDArray[np.float64], limits: Limits | None, level: float) -> Figure:
    """TS = 2 (ln L_max - ln L) along the number; what simulated skies say of it, where there are any."""
    with styled():
        figure = Figure(figsize=(6.4, 4.4), layout="constrained")
        panel = figure.subplots()
        deep = found.below < DEEP
        low, high = float(found.values[deep].min()), float(found.values[deep].max())
        fine = np.linspace(low, high, 400)
        panel.plot(fine, found.ts(fine), color=COLOURS[0], label="observed")
        panel.plot(found.values[deep], 2 * found.below[deep], ".", color=COLOURS[0], markersize=4)
        for one in (0.68, 0.95):
            panel.axhline(float(chi2.ppf(one, 1)), color=GREY, linestyle=":", linewidth=0.8)
            panel.text(high, float(chi2.ppf(one, 1)), f"{100 * one:g} %", ha="right", va="bottom", size=8, color=GREY)
        if limits is not None:
            label = f"Feldman-Cousins, {100 * level:g} %"
            panel.plot(grid, limits.critical, color=COLOURS[1], linestyle="--", marker="o", markersize=3, label=label)
            if found.quantity.scale:
                _expected(panel, limits, level)
        unit = f" [{found.quantity.unit}]" if found.quantity.unit else ""
        panel.set(xlim=(low, high), ylim=(0, 2 * DEEP), xlabel=f"{found.quantity.name}{unit}", ylabel="TS = 2 Δ ln L")
        panel.legend(loc="upper center")
    return figure


def _expected(panel: object, limits: Limits, level: float) -> None:
    """The CLs limit, and those that skies without a signal give."""
    from matplotlib.axes import Axes

    assert isinstance(panel, Axes)
    expected = limits.expected or {}
    for share, colour in zip(("95", "68"), reversed(BANDS), strict=True):
        low, high = expected.get(f"low_{share}"), expected.get(f"high_{share}")
        if low is not None and high is not None:
            panel.axvspan(low, high, color=colour, zorder=0, label=f"expected limits, {share} % of skies")
    if limits.upper is not None:
        panel.axvline(limits.upper, color=COLOURS[2], label=f"CLs upper limit, {100 * level:g} %")
