"""Prior against posterior, one small drawing for each number: SVG that follows the colours of the page around it."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy.special import betainc, erf, ndtr

from gammasky.engine.model.priors import Dirichlet, HalfNormal, LogUniform, Normal, Prior, Smooth, Uniform

Floats = NDArray[np.float64]
BINS = 32  # of the posterior
PRIOR_BINS = 160  # of the prior's line: its mass in a bin is finite even where its density is not
WIDTH, HEIGHT, FOOT = 200, 84, 14
REACH = 3.0  # an unbounded prior is shown to that many standard deviations


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
    unit, prior = prior.unit, prior.marginal(element, n_elements) if isinstance(prior, Smooth) else prior
    shown = np.log10(draws) if log10 else draws
    low, high = _support(prior, draws)
    limits = (math.log10(low), math.log10(high)) if log10 else (low, high)
    if truth is not None:
        truth = math.log10(truth) if log10 and truth > 0 else truth
    edges = _posterior_edges(shown, limits)
    counts = np.histogram(shown, edges)[0]
    prior_edges = np.linspace(*limits, PRIOR_BINS + 1)
    mass = np.diff(cumulative(prior, 10**prior_edges if log10 else prior_edges, element, n_elements))
    return Panel(
        name, unit, log10, limits, edges, counts / (counts.sum() * np.diff(edges)), prior_edges,
        mass / np.diff(prior_edges), truth,
    )  # fmt: skip


def cumulative(prior: Prior, x: Floats, element: int = 0, n_elements: int = 1) -> Floats:
    """Evaluate the prior's distribution function at x. An element i of a Dirichlet has that of
    Beta(alpha_i, sum_{j != i} alpha_j).

    Raises:
        TypeError: a kind of prior that is not known here.
    """
    if isinstance(prior, Uniform):
        return np.clip((x - prior.low) / (prior.high - prior.low), 0.0, 1.0)
    if isinstance(prior, LogUniform):
        return np.clip(np.log(x / prior.low) / np.log(prior.high / prior.low), 0.0, 1.0)
    if isinstance(prior, Normal):
        return np.asarray(ndtr((x - prior.mean) / prior.sd))
    if isinstance(prior, HalfNormal):
        return np.asarray(erf(np.maximum(x - prior.low, 0.0) / (prior.sd * math.sqrt(2))))
    if isinstance(prior, Dirichlet):
        alphas = prior.alphas(n_elements)
        others = float(alphas.sum() - alphas[element])
        return np.asarray(betainc(alphas[element], others, x)) if others else np.where(x < 1, 0.0, 1.0)
    raise TypeError(f"cumulative: unknown prior {type(prior).__name__}")


def _support(prior: Prior, draws: Floats) -> tuple[float, float]:
    """Limits of the axis: the prior's own, or as far as it or the draws reach."""
    low, high = prior.support()
    if isinstance(prior, Normal):
        low, high = prior.mean - REACH * prior.sd, prior.mean + REACH * prior.sd
    elif isinstance(prior, HalfNormal):
        high = prior.low + REACH * prior.sd
    return min(low, float(draws.min())), max(high, float(draws.max()))


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
