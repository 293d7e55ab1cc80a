"""Figures of an ensemble: a forest of its members, and what each choice does."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gammasky.analyses.ensemble.answer import Answer, column
from gammasky.analyses.ensemble.quantities import QUANTITIES
from gammasky.engine.infer.figures.style import COLOURS, GREY, HATCHES, look, save, styled

MOST_ROWS = 80  # of a forest that can be read; of more members every n-th in the order of the quantity
_MARKERS = {"reliable": "o", "preview": "D", "unreliable": "x"}


def save_figures(answer: Answer, folder: Path) -> dict[str, Path]:
    """Write forest_<quantity>.png of every quantity, effects_<quantity>.png and variance.png where there are effects.

    Returns:
        the files by name.
    """
    folder.mkdir(exist_ok=True)
    drawings: dict[str, Callable[[], Figure]] = {}
    for name in answer.quantities:
        drawings[f"forest_{name}"] = lambda name=name: forest(answer, name)  # type: ignore[misc]
        if name in answer.effects:
            drawings[f"effects_{name}"] = lambda name=name: effects(answer, name)  # type: ignore[misc]
    if answer.effects:
        drawings["variance"] = lambda: variance(answer)
    with styled():
        return {name: save(draw(), folder / f"{name}.png") for name, draw in drawings.items()}


def axis_title(quantity: str) -> str:
    """What a quantity is, and its unit."""
    text, unit = QUANTITIES[quantity]
    return f"{text} [{unit}]" if unit else text


def forest(answer: Answer, quantity: str) -> Figure:
    """Median and 90 % interval of every member, sorted; the line shows the choice of the axis that matters most."""
    rows = [row for row in answer.rows if f"{quantity}_q50" in row]
    rows.sort(key=lambda row: row[f"{quantity}_q50"])
    rows = [rows[i] for i in np.unique(np.linspace(0, len(rows) - 1, min(len(rows), MOST_ROWS)).astype(int))]
    axis, lines = _lines(answer, quantity)
    figure = Figure(figsize=(8.0, 0.8 + 0.19 * max(len(rows), 6)), layout="constrained")
    panel = figure.add_subplot()
    low, middle, high = (column(rows, f"{quantity}_{q}") for q in ("q05", "q50", "q95"))
    for place, row in enumerate(rows):
        line = lines.get(row["labels"].get(axis, ""), look(0))
        panel.plot([low[place], high[place]], [place, place], lw=1.6, **line)
        panel.plot(middle[place], place, _MARKERS.get(row["verdict"], "o"), color=line["color"], ms=4.5)
    panel.set_yticks(range(len(rows)), [row["name"] for row in rows], fontsize=7)
    panel.set_ylim(-0.8, len(rows) - 0.2)
    panel.set_xlabel(axis_title(quantity))
    for choice, line in lines.items():
        panel.plot([], [], marker="o", ms=4.5, **line, label=f"{axis} = {choice}")
    if lines:
        panel.legend(loc="upper center", bbox_to_anchor=(0.5, -0.6 / figure.get_figheight()), ncols=4, fontsize=8)
    return figure


def _lines(answer: Answer, quantity: str) -> tuple[str, dict[str, dict[str, Any]]]:
    """The axis that explains most of the variance of a quantity, and the look of each of its choices."""
    entry = answer.effects.get(quantity)
    shares = {axis: share for axis, share in entry.explained.items() if np.isfinite(share)} if entry else {}
    shares = {axis: share for axis, share in shares.items() if axis in answer.axes}  # several that count as one are not
    if not shares:
        return "", {}
    axis = max(shares, key=lambda name: shares[name])
    choices = answer.axes[axis][: len(COLOURS)]
    return axis, {choice: look(number) for number, choice in enumerate(choices)}


def effects(answer: Answer, quantity: str) -> Figure:
    """Shift by every choice with its error, over the posterior's own error."""
    entry = answer.effects[quantity]
    figure = Figure(figsize=(7.0, 0.9 + 0.26 * len(entry.effects)), layout="constrained")
    panel = figure.add_subplot()
    panel.axvspan(-entry.sd, entry.sd, color="#E8E8E8", lw=0, label="posterior sd of one fit")
    panel.axvline(0.0, color=GREY, lw=0.8)
    axes = list(dict.fromkeys(effect.axis for effect in entry.effects))
    for place, effect in enumerate(reversed(entry.effects)):
        colour = COLOURS[axes.index(effect.axis) % len(COLOURS)]
        error = effect.error if np.isfinite(effect.error) else 0.0
        panel.errorbar(effect.shift, place, xerr=error, fmt="s" if effect.moves else "o", color=colour, ms=5, lw=1.4)
    names = [f"{effect.axis} = {effect.choice}" for effect in reversed(entry.effects)]
    panel.set_yticks(range(len(names)), names, fontsize=9)
    panel.set_xlabel(f"shift of the {axis_title(quantity)}")
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.45 / figure.get_figheight()), fontsize=9)
    return figure


def variance(answer: Answer) -> Figure:
    """Share of the variance between members that each axis explains, for every quantity."""
    names = list(answer.effects)
    axes = list(dict.fromkeys(axis for entry in answer.effects.values() for axis in entry.explained))
    figure = Figure(figsize=(7.5, 1.2 + 0.34 * len(names)), layout="constrained")
    panel = figure.add_subplot()
    start = np.zeros(len(names))
    shares = {axis: [answer.effects[name].explained.get(axis, 0.0) for name in names] for axis in axes}
    shares["interactions"] = [answer.effects[name].rest for name in names]
    for number, (axis, values) in enumerate(shares.items()):
        widths = np.nan_to_num(np.array(values, dtype=np.float64)).clip(min=0)
        colour = "#BBBBBB" if axis == "interactions" else COLOURS[number % len(COLOURS)]
        hatch: dict[str, Any] = {"hatch": HATCHES[number % len(HATCHES)], "edgecolor": "white", "linewidth": 0.8}
        panel.barh(range(len(names)), widths, left=start, color=colour, label=axis, height=0.65, **hatch)
        start += widths
    panel.set_yticks(range(len(names)), [QUANTITIES[name][0] for name in names], fontsize=9)
    panel.invert_yaxis()
    panel.set_xlim(0.0, max(1.0, float(start.max())))
    panel.set_xlabel("share of the variance between members")
    panel.legend(loc="upper center", bbox_to_anchor=(0.5, 1.0 + 0.45 / figure.get_figheight()), ncols=5, fontsize=9)
    return figure
