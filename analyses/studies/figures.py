"""What the skies of a study say together, drawn: how much of a signal is found, or how many sources not there."""

from __future__ import annotations

import math
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.style import COLOURS, GREY, MARKERS, styled

FLUX, SMOOTH, FRACTION = "excess_flux", "smooth_flux", "ps_fraction"
Line = dict[str, Any]  # of study.csv


def recovered(groups: Iterable[Line], line: Line, flux: str = FLUX) -> float:
    """A flux above that in the data without a signal, under the same choices; NaN without such a fit."""
    zero = [other for other in groups if other["choices"] == line["choices"] and float(other["truth"]) == 0.0]
    return float(line[flux] - zero[0][flux]) if zero and flux in line and flux in zero[0] else math.nan


def drawn(groups: Sequence[Line], rows: Sequence[Line], *, injected: bool) -> Figure:
    """Injected against found, or the point-source fraction that is found in each sky.

    Args:
        groups: all skies of a truth under the same choices; rows: each by itself, with its `truth` and `choices`.
        injected: which of both.
    """
    with styled():
        figure = Figure(figsize=(7.0, 4.5), layout="constrained")
        panel = figure.add_subplot()
        if injected:
            _draw_recovery(panel, groups)
        else:
            _draw_fractions(panel, rows)
        panel.legend()
    return figure


def _draw_recovery(panel: Axes, groups: Sequence[Line]) -> None:
    """What is found of an injected signal, in all and smooth."""
    for number, choices in enumerate(dict.fromkeys(line["choices"] for line in groups)):
        colour, marker = COLOURS[number % len(COLOURS)], MARKERS[number % len(MARKERS)]
        for flux, style, what in ((FLUX, "-", "in all"), (SMOOTH, "--", "smooth")):
            lines = [line for line in groups if line["choices"] == choices and flux in line]
            x, y = [float(line["truth"]) for line in lines], [recovered(groups, line, flux) for line in lines]
            error = [line[f"{flux}_sd"] for line in lines]
            label = ", ".join(part for part in (choices, what) if part)
            panel.errorbar(x, y, error, fmt=marker + style, ms=5, lw=1.2, capsize=2, color=colour, label=label)
    ends = [0.0, max(float(line["truth"]) for line in groups)]
    panel.plot(ends, ends, ":", color=GREY, label="all of it")
    panel.set_xlabel("injected signal [counts/pixel]")
    panel.set_ylabel("found above the data alone [counts/pixel]")


def _draw_fractions(panel: Axes, rows: Sequence[Line]) -> None:
    """The point-source fraction of every sky without sources: median and 5 to 95 %, side by side."""
    rows = [row for row in rows if f"{FRACTION}_q50" in row]  # a fit without any excess has none
    truths = list(dict.fromkeys(row["truth"] for row in rows))
    fits = list(dict.fromkeys(row["choices"] for row in rows))
    for number, choices in enumerate(fits):
        colour, label = COLOURS[number % len(COLOURS)], choices or "the model"
        for place, truth in enumerate(truths):
            skies = [row for row in rows if (row["truth"], row["choices"]) == (truth, choices)]
            low, middle, high = (np.array([row[f"{FRACTION}_{at}"] for row in skies]) for at in ("q05", "q50", "q95"))
            across = (np.arange(len(skies)) + 0.5) / max(len(skies), 1)  # of the width that these choices have
            panel.errorbar(
                place - 0.4 + 0.8 * (number + 0.9 * across) / len(fits), middle, [middle - low, high - middle],
                fmt=MARKERS[number % len(MARKERS)], ms=4, lw=1.0, color=colour, label=None if place else label,
            )  # fmt: skip
    panel.set_xticks(range(len(truths)), truths)
    panel.set_ylim(bottom=0.0)
    panel.set_xlabel("truth: smooth emission only")
    panel.set_ylabel("point-source fraction of the excess")
