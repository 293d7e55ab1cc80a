"""The best point of a density and the curvature there: L-BFGS from several starts, then the Laplace approximation.

All starts climb side by side, and so do the shifted points that the curvature is measured with: the density is only
ever evaluated at BATCH points at once, in one compiled program.
"""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from functools import partial
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.climb import BATCH, EvaluateAll, Record, climb, in_batches

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]

_LITTLE = 20  # iterations of a climb that shall not arrive
_SAME_HEIGHT = 0.05  # nat between two climbs to one optimum
_STEP = 1e-4  # of the central differences of the gradient, on the scale of the prior's standard deviation
_FLATTEST = 0.25  # smallest curvature: no direction is wider than twice the prior


@dataclass(frozen=True)
class Optimum:
    """A local maximum of the log density.

    Attributes:
        z (D,): where.
        log_density: there.
        n_starts: number of starts that reached it.
    """

    z: Floats
    log_density: float
    n_starts: int


@dataclass(frozen=True)
class Laplace:
    """Gaussian approximation of the posterior of z.

    Attributes:
        mode (D,): highest point of the log density that was found.
        scale_tril (D, D): lower triangular, covariance = scale_tril @ scale_tril.T.
        log_density: at the mode.
        optima (n_starts,): log density that each start reached; -inf for one that got stuck at the edge of the region
            where the likelihood exists.
        optima_z (n_starts, D): where; NaN for a start that got stuck.
        log_evidence: Laplace's estimate of log Z.
    """

    mode: Floats
    scale_tril: Floats
    log_density: float
    optima: Floats
    optima_z: Floats = field(default_factory=lambda: np.zeros((0, 0)))

    @property
    def log_evidence(self) -> float:
        log_volume = np.log(np.diag(self.scale_tril)).sum() + 0.5 * self.mode.size * np.log(2 * np.pi)
        return float(self.log_density + log_volume)

    def distinct(self, tolerance: float = 0.1) -> list[Optimum]:
        """The different optima, best first; starts that got stuck are in none.

        Two starts reached the same one if their log densities agree to 0.05 nat and their positions to `tolerance`
        posterior standard deviations: |scale_tril^-1 (z - z')|, in the curvature of the highest optimum.

        Raises:
            ValueError: the positions of the optima were not kept.
        """
        if len(self.optima_z) != len(self.optima):
            raise ValueError(f"optima_z: expected {len(self.optima)} positions, got {len(self.optima_z)}")
        order = np.argsort(-self.optima, kind="stable")[: np.isfinite(self.optima).sum()]
        heights, z = self.optima[order], self.optima_z[order]
        white = np.linalg.solve(self.scale_tril, z.T).T
        groups: list[list[int]] = []  # the first of each is its best
        for i in range(order.size):
            same = (
                group
                for group in groups
                if heights[group[0]] - heights[i] < _SAME_HEIGHT
                and np.linalg.norm(white[group[0]] - white[i]) < tolerance
            )
            group = next(same, None)
            if group is None:
                groups.append([i])
            else:
                group.append(i)
        return [Optimum(z[group[0]], float(heights[group[0]]), len(group)) for group in groups]


def laplace(model: Density, seed: int, n_starts: int = 8, record: Record | None = None) -> Laplace:
    """Climb from `n_starts` prior draws (from `seed`) with L-BFGS, keep the best, and measure its curvature.

    The curvature is the central difference of exact gradients. Directions flatter than a quarter of the prior's
    curvature are taken as that. `record` gets all points of the climbs, with the log density and its gradient there.

    Raises:
        NonFiniteLikelihoodError: no prior draw has a finite likelihood (names the pixel and the parameters); every
            start got stuck where the likelihood ends; the likelihood has no finite curvature at the best point.
    """
    heights, z = climb(partial(evaluate, model), _starts(model, seed, n_starts), record=record)
    if not np.isfinite(heights).any():
        raise NonFiniteLikelihoodError("the optimiser left the region where the likelihood exists; narrow the priors")
    mode = z[int(np.argmax(heights))]
    return Laplace(mode, _scale_tril(curvature(model, mode)), float(heights.max()), heights, z)


def laplace_at(model: Density, start: Laplace, optimum: Optimum) -> Laplace:
    """Make the Laplace approximation about another of the optima that the first one has found.

    Raises:
        NonFiniteLikelihoodError: the likelihood has no finite curvature there.
    """
    scale_tril = _scale_tril(curvature(model, optimum.z))
    return replace(start, mode=optimum.z, scale_tril=scale_tril, log_density=optimum.log_density)


def highest(model: Density, starts: Floats) -> Floats:
    """The highest point (D,) that climbs from at most BATCH places (n, D) reach.

    Raises:
        NonFiniteLikelihoodError: every climb got stuck where the likelihood ends.
    """
    heights, z = climb(partial(evaluate, model), starts)
    if not np.isfinite(heights).any():
        raise NonFiniteLikelihoodError("the optimiser left the region where the likelihood exists; narrow the priors")
    return np.asarray(z[int(np.argmax(heights))])


def dispersed_starts(model: Density, seed: int, n_starts: int) -> Floats:
    """Places (n_starts, D) far apart, for Markov chains: prior draws that have climbed a little.

    What the data fix at once is near its value then, and a chain need not find it in steps that are tiny out there;
    all else is still where the prior has put it.

    Raises:
        NonFiniteLikelihoodError: no prior draw has a finite likelihood (names the pixel and the parameters).
    """
    _, z = climb(partial(evaluate, model), _starts(model, seed, n_starts), most=_LITTLE)
    places = z[np.isfinite(z).all(axis=1)]
    if not len(places):
        raise NonFiniteLikelihoodError("the optimiser left the region where the likelihood exists; narrow the priors")
    return places[np.arange(n_starts) % len(places)]


def evaluate(model: Density, points: Floats) -> tuple[Floats, Floats]:
    """Log density (n,) and its gradient (n, D) at points (n, D), BATCH at a time; the last batch is filled up."""
    return in_batches(model.value_and_gradient, points)


def _starts(model: Density, seed: int, n_starts: int) -> Floats:
    """Prior draws (n, D) at which the likelihood is finite; up to 20 tries for each."""
    draws = np.random.default_rng(seed).standard_normal((20 * n_starts, model.n_latent))
    finite = np.zeros(len(draws), dtype=bool)
    for first in range(0, len(draws), BATCH):
        values, gradients = evaluate(model, draws[first : first + BATCH])
        finite[first : first + BATCH] = np.isfinite(values) & np.isfinite(gradients).all(axis=1)
        if finite.sum() >= n_starts:
            break
    if not finite.any():
        raise model.explain(model.parameters(jnp.asarray(draws[0])))
    return draws[finite][:n_starts]


def _scale_tril(curvature: Floats) -> Floats:
    """Cholesky factor of the covariance (D, D) that belongs to a curvature."""
    return np.asarray(np.linalg.cholesky(covariance_of(curvature)), dtype=np.float64)


def covariance_of(curvature: Floats) -> Floats:
    """The covariance (D, D) that belongs to a curvature, no direction wider than twice the prior."""
    values, vectors = np.linalg.eigh(curvature)
    return np.asarray((vectors / np.maximum(values, _FLATTEST)) @ vectors.T)


def curvature(model: Density, mode: Floats) -> Floats:
    """Minus the Hessian of the log density at `mode` (D, D).

    Raises:
        NonFiniteLikelihoodError: a gradient beside the mode is not finite.
    """

    def explained(points: Floats) -> tuple[Floats, Floats]:
        values, gradients = evaluate(model, points)
        bad = ~np.isfinite(gradients).all(axis=1)
        if bad.any():
            raise model.explain(model.parameters(jnp.asarray(points[int(np.argmax(bad))])))
        return values, gradients

    return differences(explained, mode)


def differences(evaluate: EvaluateAll, mode: Floats) -> Floats:
    """Minus the Hessian (D, D) at `mode`, by central differences of the gradients that `evaluate` gives."""
    shifts = _STEP * np.eye(mode.size)
    above, below = np.split(evaluate(np.concatenate([mode + shifts, mode - shifts]))[1], 2)
    slopes = (below - above) / (2 * _STEP)
    return np.asarray((slopes + slopes.T) / 2)
