"""Prior against posterior, one small drawing for each number: SVG that follows the colours of the page around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.model.priors import LogUniform, Prior

Floats = NDArray[np.float64]
BINS = 32  # of the posterior
PRIOR_BINS = 160  # of the prior's line: its mass in a bin is finite even where its density is not
DECADES = 2.0  # a number whose prior holds 90 % within more of them is shown by its logarithm
WIDTH, HEIGHT, FOOT = 200, 84, 14


@dataclass(frozen=True, eq=False)
class Panel:
    """One number's posterior histogram and prior density, on one axis.

    Attributes:
        name, unit: what it is.
        log10: whether the axis is log10 of it (a log-uniform prior).
        limits: of the axis.
        edges (b + 1,), histogram (b,): posterior density.
        prior_edges (c + 1,), prior (c,): mean prior density in each bin.
        truth: on the same axis, where it is known.
    """

    name: str
    unit: str
    log10: bool
    limits: tuple[float, float]
    edges: Floats
    histogram: Floats
    prior_edges: Floats
    prior: Floats
    truth: float | None


def panel(
    name: str, prior: Prior, draws: Floats, truth: float | None = None, element: int = 0, n_elements: int = 1
) -> Panel:
    """Make the panel of one number.

    Args:
        name: as shown.
        prior: of the parameter.
        draws (n,): of this number.
        truth: what simulated counts were drawn with.
        element, n_elements: which element of a vector, and of how many (for a Dirichlet prior).
    """
    log10 = isinstance(prior, LogUniform)
    shown = np.log10(draws) if log10 else draws
    low, high = prior.shown(element, n_elements)
    low, high = min(low, float(draws.min())), max(high, float(draws.max()))
    limits = (math.log10(low), math.log10(high)) if log10 else (low, high)
    if truth is not None:
        truth = math.log10(truth) if log10 and truth > 0 else truth
    edges = _posterior_edges(shown, limits)
    counts = np.histogram(shown, edges)[0]
    prior_edges = np.linspace(*limits, PRIOR_BINS + 1)
    mass = np.diff(prior.cumulative(10**prior_edges if log10 else prior_edges, element, n_elements))
    return Panel(
        name, prior.unit, log10, limits, edges, counts / (counts.sum() * np.diff(edges)), prior_edges,
        mass / np.diff(prior_edges), truth,
    )  # fmt: skip


def panel_of_draws(
    name: str, unit: str, prior: Floats, draws: Floats, truth: float | None = None,
    limits: tuple[float, float] | None = None,
) -> Panel:  # fmt: skip
    """Make the panel of a number whose prior is known by draws.

    Args:
        name, unit: as shown.
        prior (m,), draws (n,): from the prior and the posterior. Draws from the prior that are not finite are left out
            of its line, and of its mass.
        truth: what simulated counts were drawn with.
        limits: of the number, which is then not shown by its logarithm; None: as far as the prior goes but for 1 % of
            it, and the posterior.
    """
    prior = prior[np.isfinite(prior)]
    least, low, high = np.quantile(prior, (0.0, 0.05, 0.95)) if len(prior) else (0.0, 0.0, 0.0)
    log10 = bool(limits is None and min(least, draws.min()) > 0 and high > 10**DECADES * low)
    if log10:
        prior, draws = np.log10(prior), np.log10(draws)
        truth = math.log10(truth) if truth is not None and truth > 0 else None
    if limits is None:
        ends = [*(np.quantile(prior, (0.005, 0.995)) if len(prior) else []), draws.min(), draws.max()]
        limits = float(min(ends)), float(max(ends))
    limits = limits if limits[1] > limits[0] else (limits[0] - 0.5, limits[0] + 0.5)
    edges, prior_edges = _posterior_edges(draws, limits), np.linspace(*limits, BINS + 1)
    counts = np.histogram(draws, edges)[0]
    mass = np.histogram(prior, prior_edges)[0] / max(len(prior), 1)
    return Panel(
        name, unit, log10, limits, edges, counts / (counts.sum() * np.diff(edges)), prior_edges,
        mass / np.diff(prior_edges), truth,
    )  # fmt: skip


def _posterior_edges(draws: Floats, limits: tuple[float, float]) -> Floats:
    """Bins over the draws, within the limits; draws that do not vary get one narrow bin."""
    low, high = float(draws.min()), float(draws.max())
    if not high - low > 1e-9 * (limits[1] - limits[0]):
        half = 0.005 * (limits[1] - limits[0])
        return np.array([low - half, low + half])
    return np.linspace(low, high, BINS + 1)


def drawing(shown: Panel) -> dict[str, Any]:
    """The lines and labels of a panel as SVG, for `panel.svg` of the report's templates."""
    inside = shown.prior[3:-3]  # the ends of a Dirichlet's density may be infinite
    top = 1.08 * max(float(shown.histogram.max()), min(float(inside.max()), 3 * float(shown.histogram.max())))
    (low, high), base = shown.limits, HEIGHT - FOOT

    def x(value: Floats | float) -> Floats:
        return 1 + (np.asarray(value) - low) / (high - low) * (WIDTH - 2)

    def y(value: Floats) -> Floats:
        return base - np.minimum(value / top, 1.0) * (base - 4)

    posterior = _steps(x(shown.edges), y(shown.histogram))
    known = shown.truth is not None and low <= shown.truth <= high
    return {
        "name": shown.name,
        "unit": shown.unit,
        "log10": shown.log10,
        "width": WIDTH,
        "height": HEIGHT,
        "base": base,
        "posterior": f"M{x(shown.edges[0]):.1f} {base}L{posterior}L{x(shown.edges[-1]):.1f} {base}Z",
        "prior": f"M{_steps(x(shown.prior_edges), y(shown.prior))}",
        "truth": f"M{x(shown.truth or 0.0):.1f} 2V{base}" if known else "",
        "low": _tick(low),
        "high": _tick(high),
    }


def _steps(x: Floats, y: Floats) -> str:
    """Corners of a step line through bins with edges x (b + 1,) and heights y (b,); equal heights are one step."""
    corners = []
    for number, height in enumerate(y):
        if number == 0 or abs(height - y[number - 1]) > 0.05:
            corners += [f"{x[number]:.1f} {y[number - 1]:.1f}"] if number else []
            corners.append(f"{x[number]:.1f} {height:.1f}")
    return "L".join([*corners, f"{x[-1]:.1f} {y[-1]:.1f}"])


def _tick(value: float) -> str:
    return f"{value:.3g}".replace("e-0", "e-").replace("-", "−")
