"""Figures of a sweep: every objective along every axis, and one objective against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure

from gammasky.analyses.ensemble.axis import Axis
from gammasky.distributed.tuning.sweep import SweepTrial, Swept
from gammasky.engine.infer.figures.style import COLOURS, GREY, save, styled

_MOST_PANELS = 12  # axes in a figure
_FITS, _BEST = COLOURS[0], COLOURS[1]
_COLUMNS = 3


def save_figures(found: Swept, axes: dict[str, Axis], folder: Path) -> dict[str, Path]:
    """Write along_<column>.png of every objective, and front_<column>.png of the others against the first.

    Returns:
        the files by name.
    """
    if not any(trial.values for trial in found.trials):
        return {}
    folder.mkdir(exist_ok=True)
    drawings: dict[str, Callable[[], Figure]] = {}
    for place, goal in enumerate(found.goals):
        drawings[f"along_{goal.column}"] = lambda place=place: along(found, axes, place)  # type: ignore[misc]
        if place:
            drawings[f"front_{goal.column}"] = lambda place=place: against(found, place)  # type: ignore[misc]
    with styled():
        return {name: save(draw(), folder / f"{name}.png") for name, draw in drawings.items()}


def along(found: Swept, axes: dict[str, Axis], place: int) -> Figure:
    """One objective of all trials along each axis; trials that an axis does not exist for are left out of its panel."""
    names = [name for name in axes if any(name in trial.params for trial in found.trials)][:_MOST_PANELS]
    columns = min(len(names), _COLUMNS)
    rows = math.ceil(len(names) / columns)
    figure = Figure(figsize=(max(3.4 * columns, 5.0), 2.9 * rows + 0.4), layout="constrained")
    panels = figure.subplots(rows, columns, squeeze=False, sharey=True).ravel()
    for panel, name in zip(panels, names, strict=False):
        _along(panel, found, axes[name], place)
    for panel in panels[len(names) :]:
        panel.set_visible(False)
    for row in range(rows):
        panels[row * columns].set_ylabel(found.goals[place].column)
    handles, labels = panels[0].get_legend_handles_labels()
    by_label = dict(zip(labels, handles, strict=True))
    figure.legend(list(by_label.values()), list(by_label), loc="outside upper center", ncols=3, fontsize=9)
    return figure


def _along(panel: Axes, found: Swept, axis: Axis, place: int) -> None:
    choices = [choice.label for choice in axis.choices]
    where: Callable[[SweepTrial], float] = lambda trial: (  # noqa: E731
        float(choices.index(trial.params[axis.name])) if choices else float(trial.params[axis.name])
    )
    points(panel, [trial for trial in found.trials if axis.name in trial.params], where, place)
    panel.set_xlabel(axis.name)
    if choices:
        turned = sum(map(len, choices)) > 24
        panel.set_xticks(range(len(choices)), choices, fontsize=9, rotation=30 if turned else 0,
                         ha="right" if turned else "center")  # fmt: skip
        panel.set_xlim(-0.5, len(choices) - 0.5)
    elif axis.numbers and axis.numbers.log:
        panel.set_xscale("log")


def points(panel: Axes, trials: Sequence[SweepTrial], where: Callable[[SweepTrial], float], place: int) -> None:
    """Trials with values: those that meet all constraints, those that do not, and the best."""
    kinds: list[tuple[str, Callable[[SweepTrial], bool], dict[str, Any]]] = [
        ("misses a constraint", lambda t: bool(t.violated), {"fmt": "x", "color": GREY, "alpha": 0.7}),
        ("meets all", lambda t: t.meets and not t.best, {"fmt": "o", "color": _FITS}),
        ("best", lambda t: t.best, {"fmt": "D", "color": _BEST}),
    ]
    for label, test, style in kinds:
        chosen = [trial for trial in trials if trial.values and test(trial)]
        errors = [trial.errors[place] if trial.errors[place] > 0 else 0.0 for trial in chosen]
        values = [trial.values[place] for trial in chosen]
        # an empty series too: each panel has all labels
        panel.errorbar([where(trial) for trial in chosen], values, yerr=errors, label=label, ms=5, lw=1.0, **style)


def against(found: Swept, place: int) -> Figure:
    """Another objective against the first, with the front."""
    figure = Figure(figsize=(5.6, 4.2), layout="constrained")
    panel = figure.add_subplot()
    points(panel, found.trials, lambda trial: trial.values[0], place)
    front = found.front
    panel.plot([t.values[0] for t in front], [t.values[place] for t in front], color=_BEST, lw=1.0, alpha=0.6)
    panel.set_xlabel(found.goals[0].column)
    panel.set_ylabel(found.goals[place].column)
    figure.legend(*panel.get_legend_handles_labels(), loc="outside upper center", ncols=3, fontsize=9)
    return figure
