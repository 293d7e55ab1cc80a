"""Mean counts per pixel of each component, and the share of point sources in each group."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.lines import Line2D

from gammasky.engine.infer.derived import FLUX, POINT_SOURCE_FRACTION
from gammasky.engine.infer.figures.style import COLOURS, MARKERS
from gammasky.engine.model import SkyModel


def draw(model: SkyModel, derived: Mapping[str, np.ndarray]) -> Figure:
    """Violins with median, 68 % and 95 % intervals.

    Args:
        model: the model.
        derived: "flux" (n, components) and "point_source_fraction" (n, groups), from `derive`.
    """
    components, groups = model.spec.components, model.expectation.groups
    rows = [len(components), len(groups)] if groups else [len(components)]
    figure = Figure(figsize=(7.4, 1.8 + 0.5 * sum(rows) + 0.8 * len(rows)), layout="constrained")
    axes = figure.subplots(len(rows), 1, height_ratios=[count + 0.5 for count in rows], squeeze=False)[:, 0]
    kinds = [int(c.of_sources) for c in components]
    _violins(axes[0], derived[FLUX], [c.name for c in components], kinds)
    axes[0].set_xlabel("mean counts per pixel")
    axes[0].set_xlim(left=min(0.0, float(np.quantile(derived[FLUX], 0.001))))
    _kinds(axes[0], ["smooth", "point sources"])
    if groups:
        _violins(axes[1], derived[POINT_SOURCE_FRACTION], groups, [2] * len(groups))
        axes[1].set_xlabel("point-source fraction of the group's flux")
        axes[1].set_xlim(0, 1)
    return figure


def _violins(axis: Axes, draws: np.ndarray, names: list[str], kinds: list[int]) -> None:
    """Draw one row of violins for each column of draws (n, rows), the first on top."""
    for row, (column, kind) in enumerate(zip(draws.T, kinds, strict=True)):
        colour = COLOURS[kind]
        low2, low, middle, high, high2 = np.quantile(column, (0.025, 0.16, 0.5, 0.84, 0.975))
        if low2 < high2:  # a fixed norm has no density
            inner = np.clip(column, *np.quantile(column, (0.001, 0.999)))
            violin: Any = axis.violinplot(inner, [row], orientation="horizontal", widths=0.8, showextrema=False)
            for body in violin["bodies"]:
                body.set(facecolor=colour, alpha=0.3, linewidth=0)
        axis.hlines(row, low2, high2, color=colour, linewidth=1.2)
        axis.hlines(row, low, high, color=colour, linewidth=4)
        axis.plot(middle, row, MARKERS[kind], color="white", markeredgecolor=colour, markersize=6)
    axis.set_yticks(range(len(names)), names)
    axis.set_ylim(len(names) - 0.4, -0.6)
    axis.tick_params(axis="y", length=0)
    axis.grid(axis="x", alpha=0.3)


def _kinds(axis: Axes, names: list[str]) -> None:
    handles = [
        Line2D([], [], color=colour, linewidth=4, marker=marker, markerfacecolor="white", label=name)
        for colour, marker, name in zip(COLOURS, MARKERS, names, strict=False)
    ]
    axis.legend(handles=handles, loc="lower right", bbox_to_anchor=(1.0, 1.0), ncols=len(names))
