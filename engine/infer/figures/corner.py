"""Corner plot of the main parameters."""

from __future__ import annotations

import warnings
from collections.abc import Mapping

import numpy as np
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.style import COLOURS, parameter_label
from gammasky.engine.infer.summary import main_parameters
from gammasky.engine.model import SkyModel

PANEL_INCHES = (1.45, 2.8)  # with many and with few parameters
SPAN = (0.002, 0.998)  # quantiles between which the axes run
MASSES = (0.68, 0.95)  # posterior mass within the contours


def draw(model: SkyModel, derived: Mapping[str, np.ndarray]) -> Figure:
    """Marginals with median and 68 % interval, and 68 / 95 % contours of every pair.

    Args:
        model: the model.
        derived: draws (n,) of each parameter, from `derive`.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # corner imports ArviZ, which announces its own future there
        from corner import corner

    names = main_parameters(model)
    draws = np.stack([derived[name] for name in names], axis=1)
    labels = [parameter_label(model, name, "\n") for name in names]
    longest = max(len(line) for label in labels for line in label.split("\n"))
    side = float(np.clip(8.0 / len(names), *PANEL_INCHES)) * len(names) + 1.2
    figure = Figure(figsize=(side, side))
    corner(
        draws,
        fig=figure,
        bins=25,
        range=[_span(column) for column in draws.T],
        labels=labels,
        levels=MASSES,
        color=COLOURS[0],
        smooth=1.2,
        plot_datapoints=False,
        fill_contours=True,
        max_n_ticks=3,
        labelpad=0.12,
        label_kwargs={"fontsize": 11 if longest < 16 else 8.5},
        quiet=True,
    )
    _titles(figure, model, names, draws)
    return figure


def _span(draws: np.ndarray) -> tuple[float, float]:
    """Limits of an axis; a parameter that does not vary gets some room."""
    low, high = np.quantile(draws, SPAN)
    room = 0.04 * (high - low) if high > low else max(abs(high), 1.0) * 1e-3
    return float(low - room), float(high + room)


def _titles(figure: Figure, model: SkyModel, names: list[str], draws: np.ndarray) -> None:
    """Name, median and 68 % interval above each marginal, and the same as lines in it."""
    diagonal = figure.axes[:: len(names) + 1]
    for axis, name, column in zip(diagonal, names, draws.T, strict=True):
        low, middle, high = np.quantile(column, (0.16, 0.50, 0.84))
        digits = _digits(min(middle - low, high - middle))
        interval = rf"${middle:.{digits}f}_{{-{middle - low:.{digits}f}}}^{{+{high - middle:.{digits}f}}}$"
        axis.set_title(f"{model.spec.parameters[name].label or name}\n{interval}", fontsize=11)
        axis.axvline(middle, color=COLOURS[1])
        axis.axvspan(low, high, color=COLOURS[1], alpha=0.15, linewidth=0)


def _digits(error: float) -> int:
    """Decimals that show an error with two digits."""
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 6)) if error > 0 else 3
