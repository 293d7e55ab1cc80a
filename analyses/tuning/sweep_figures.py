"""Figures of a sweep: every objective along every axis, and one objective against another."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence
from pathlib import Path
from textwrap import wrap
from typing import Any

from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator, StrMethodFormatter

from gammasky.analyses.ensemble.axis import Axis
from gammasky.analyses.tuning.columns import title_of
from gammasky.distributed.tuning.sweep import SweepTrial, Swept
from gammasky.engine.infer.figures.style import COLOURS, GREY, save, styled

_MOST_PANELS = 12  # axes in a figure
_FITS, _BEST = COLOURS[0], COLOURS[1]
_COLUMNS = 3
_WIDTH = 32  # characters of a line beside an axis


#: Trials in a figure, told apart, and how they are drawn.
KINDS: dict[str, tuple[Callable[[SweepTrial], bool], dict[str, Any]]] = {
    "misses a constraint": (lambda trial: bool(trial.violated), {"fmt": "x", "color": GREY, "alpha": 0.7}),
    "meets all": (lambda trial: trial.meets and not trial.best, {"fmt": "o", "color": _FITS}),
    "best": (lambda trial: trial.best, {"fmt": "D", "color": _BEST}),
}


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
        panels[row * columns].set_ylabel(_title(found, place))
    _legend(figure, panels[0], found)
    return figure


def _title(found: Swept, place: int) -> str:
    return "\n".join(wrap(title_of(found.goals[place].column), _WIDTH))


def _legend(figure: Figure, panel: Axes, found: Swept) -> None:
    """The kinds of trials that there are."""
    labels = dict(zip(*reversed(panel.get_legend_handles_labels()), strict=True))
    shown = {name: labels[name] for name, (test, _) in KINDS.items() if any(map(test, found.trials))}
    figure.legend(list(shown.values()), list(shown), loc="outside upper center", ncols=3, fontsize=9)


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
        panel.xaxis.set_major_formatter(StrMethodFormatter("{x:g}"))
    elif axis.numbers and axis.numbers.integer:
        panel.xaxis.set_major_locator(MaxNLocator(integer=True))


def points(panel: Axes, trials: Sequence[SweepTrial], where: Callable[[SweepTrial], float], place: int) -> None:
    """Trials with values: those that meet all constraints, those that do not, and the best."""
    for label, (test, style) in KINDS.items():
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
    panel.set_xlabel(_title(found, 0))
    panel.set_ylabel(_title(found, place))
    _legend(figure, panel, found)
    return figure
