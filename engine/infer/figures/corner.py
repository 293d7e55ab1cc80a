"""Corner plot of the main parameters, of one posterior or of several."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
from matplotlib.figure import Figure

from gammasky.engine.infer.figures.style import COLOURS, look
from gammasky.engine.infer.summary import true_values
from gammasky.engine.model import SkyModel
from gammasky.engine.model.priors import LogUniform, Prior

PANEL_INCHES = (1.45, 2.8)  # with many and with few parameters
BINS = 25
SPAN = (0.002, 0.998)  # quantiles between which the axes run
MASSES = (0.68, 0.95)  # posterior mass within the contours


def draw(model: SkyModel, derived: Mapping[str, np.ndarray]) -> Figure:
    """Marginals with median and 68 % interval, and 68 / 95 % contours of every pair; the truth where it is known.

    Parameters with a log-uniform prior are shown as their log10.

    Args:
        model: the model.
        derived: draws (n,) of each parameter, from `derive`.
    """
    names, truth, priors = model.main_parameters(), true_values(model), model.spec.parameters
    draws = np.stack([shown(priors[name], derived[name]) for name in names], axis=1)
    truths = [float(shown(priors[name], truth[name])) if name in truth else None for name in names]
    figure = overlay([draws], [axis_label(priors[name], name, "\n") for name in names], truths)
    _titles(figure, [axis_label(priors[name], name, unit=False) for name in names], draws)
    return figure


def shown(prior: Prior, values: np.ndarray) -> np.ndarray:
    """Values as they are drawn: log10 for a log-uniform prior, whose draws span decades."""
    return np.log10(values) if isinstance(prior, LogUniform) else np.asarray(values)


def axis_label(prior: Prior, name: str, separator: str = " ", *, unit: bool = True) -> str:
    """Label of a parameter's axis: log10 where that is drawn, with the unit in brackets."""
    label = rf"$\log_{{10}}$ {prior.label or name}" if isinstance(prior, LogUniform) else prior.label or name
    return label + (f"{separator}[{prior.unit}]" if unit and prior.unit else "")


def overlay(posteriors: Sequence[np.ndarray], labels: Sequence[str], truths: Sequence[float | None]) -> Figure:
    """Marginals and contours of posteriors, each (n, k), over each other; the first is filled.

    Args:
        posteriors: draws on the axes as they are shown.
        labels: of the k axes; a line break parts name and unit.
        truths: of each axis, None where it is not known.
    """
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # of ArviZ, which corner imports where it is installed
        from corner import corner

    longest = max(len(line) for label in labels for line in label.split("\n"))
    side = float(np.clip(8.0 / len(labels), *PANEL_INCHES)) * len(labels) + 1.2
    figure = Figure(figsize=(side, side))
    spans = [_span([draws[:, axis] for draws in posteriors]) for axis in range(len(labels))]
    for number, draws in enumerate(posteriors):
        line = look(number)
        options: dict[str, Any] = {"weights": np.full(len(draws), 1 / len(draws))} if len(posteriors) > 1 else {}
        corner(
            draws,
            fig=figure,
            bins=BINS,
            range=spans,
            labels=list(labels),
            levels=MASSES,
            color=line["color"],
            contour_kwargs={"linestyles": [line["linestyle"]]},
            hist_kwargs={"linestyle": line["linestyle"]},
            smooth=1.2,
            plot_datapoints=False,
            plot_density=number == 0,
            no_fill_contours=number > 0,
            fill_contours=number == 0,
            max_n_ticks=3,
            labelpad=0.12,
            label_kwargs={"fontsize": 11 if longest < 16 else 8.5},
            truths=list(truths),
            truth_color=COLOURS[6],
            quiet=True,
            **options,
        )
    if len(posteriors) > 1:
        _fit_heights(figure, posteriors, spans)
    return figure


def _fit_heights(figure: Figure, posteriors: Sequence[np.ndarray], spans: Sequence[tuple[float, float]]) -> None:
    """Marginals as high as the highest of them; corner leaves room for the last alone."""
    for number, span in enumerate(spans):
        columns = [draws[:, number] for draws in posteriors]
        highest = max(np.histogram(column, BINS, span)[0].max() / len(column) for column in columns)
        figure.axes[number * (len(spans) + 1)].set_ylim(0, 1.1 * highest)


def _span(columns: Sequence[np.ndarray]) -> tuple[float, float]:
    """Limits of an axis; a parameter that does not vary gets some room."""
    ends = np.array([np.quantile(draws, SPAN) for draws in columns])
    low, high = ends[:, 0].min(), ends[:, 1].max()
    room = 0.04 * (high - low) if high > low else max(abs(high), 1.0) * 1e-3
    return float(low - room), float(high + room)


def _titles(figure: Figure, labels: Sequence[str], draws: np.ndarray) -> None:
    """Name, median and 68 % interval above each marginal, and the same as lines in it."""
    diagonal = figure.axes[:: len(labels) + 1]
    for axis, label, column in zip(diagonal, labels, draws.T, strict=True):
        low, middle, high = np.quantile(column, (0.16, 0.50, 0.84))
        digits = _digits(min(middle - low, high - middle))
        interval = rf"${middle:.{digits}f}_{{-{middle - low:.{digits}f}}}^{{+{high - middle:.{digits}f}}}$"
        axis.set_title(f"{label}\n{interval}", fontsize=11)
        axis.axvline(middle, color=COLOURS[1])
        axis.axvspan(low, high, color=COLOURS[1], alpha=0.15, linewidth=0)


def _digits(error: float) -> int:
    """Decimals that show an error with two digits."""
    return int(np.clip(1 - np.floor(np.log10(error)), 0, 6)) if error > 0 else 3
