"""Maxima of the likelihood within the support of the priors, from several starts side by side.

It is the likelihood that is maximised, not the posterior: priors enter by the limits of their supports alone, in
coordinates in which a maximum may lie at such a limit.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.climb import climb, in_batches
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.model import Density
from gammasky.engine.model.values import Parameters

Floats = NDArray[np.float64]
SCREENED = 4  # random points for each start, of which the best are taken
SAME_HEIGHT = 0.05  # nat between two climbs to one maximum


@dataclass(frozen=True, eq=False)
class Start:
    """Where a climb begins: coordinates y (D,) of a plane."""

    plane: Plane
    y: Floats


@dataclass(frozen=True, eq=False)
class Maximum:
    """The highest point that climbs in a plane have reached.

    Attributes:
        log_likelihood: there.
        y (D,): coordinates in the plane; x (D,): in the box of the priors.
        n_starts: climbs that began in the plane; n_reached: those that came as high, to 0.05 nat.
    """

    log_likelihood: float
    y: Floats
    x: Floats
    n_starts: int
    n_reached: int


def evaluate(model: Density, x: Floats) -> tuple[Floats, Floats]:
    """Log-likelihood (n,) and its gradient (n, D) at points x (n, D) of the box; see `in_batches`."""
    return in_batches(model.likelihood_in_box, x)


def random_starts(model: Density, plane: Plane, n: int, seed: Sequence[int]) -> list[Start]:
    """The best `n` of SCREENED times as many random points of a plane.

    Raises:
        NonFiniteLikelihoodError: the likelihood exists at none of them; names the pixel and the parameters.
    """
    y = plane.random(SCREENED * n, seed)
    values, gradients = evaluate(model, plane.points(y))
    values = np.where(np.isfinite(values) & np.isfinite(gradients).all(axis=1), values, -np.inf)
    if not np.isfinite(values).any():
        raise model.explain(theta_of(model, plane.points(y[0])))
    order = [row for row in np.argsort(-values, kind="stable")[:n] if np.isfinite(values[row])]
    return [Start(plane, y[row]) for row in order]


def climb_all(model: Density, starts: Sequence[Start]) -> tuple[Floats, Floats]:
    """Climb from all starts side by side: log-likelihood (n,) and coordinates y (n, D) that each reaches.

    -inf and NaN where a climb gets stuck because the likelihood does not exist further on.
    """
    planes = [start.plane for start in starts]

    def rise(y: Floats) -> tuple[Floats, Floats]:
        x = np.stack([plane.points(row) for plane, row in zip(planes, y, strict=True)])
        values, gradients = evaluate(model, x)
        return values, np.stack([plane.slopes(row) for plane, row in zip(planes, gradients, strict=True)])

    limits = np.stack([plane.limits for plane in planes])
    inside = np.stack([np.clip(start.y, *start.plane.limits.T) for start in starts])
    return climb(rise, inside, limits=limits)


def highest(plane: Plane, heights: Floats, y: Floats) -> Maximum:
    """The highest of climbs in one plane, of log-likelihood (n,) and coordinates (n, D).

    Raises:
        NonFiniteLikelihoodError: every climb got stuck.
    """
    best = int(np.argmax(heights))
    if not np.isfinite(heights[best]):
        raise NonFiniteLikelihoodError("the optimiser left the region where the likelihood exists; narrow the priors")
    reached = int((heights > heights[best] - SAME_HEIGHT).sum())
    return Maximum(float(heights[best]), y[best], plane.points(y[best]), len(heights), reached)


def theta_of(model: Density, x: Floats) -> Parameters:
    """The parameters by name at a point x (D,) of the box."""
    return model.latent.in_box(model.arrays["priors"], jnp.asarray(x))
