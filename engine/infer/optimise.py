"""The best point of a model and the curvature there: multi-start L-BFGS, then the Laplace approximation."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import NonFiniteLikelihoodError

if TYPE_CHECKING:
    from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]

_OUTSIDE = 1e30  # objective of a trial point where the likelihood does not exist: the line search turns back
_STEP = 1e-4  # of the central differences of the gradient, on the scale of the prior's standard deviation
_FLATTEST = 0.25  # smallest curvature: no direction is wider than twice the prior


@dataclass(frozen=True)
class Laplace:
    """Gaussian approximation of the posterior of z.

    Attributes:
        mode (D,): highest point of the log density that was found.
        scale_tril (D, D): lower triangular, covariance = scale_tril @ scale_tril.T.
        log_density: at the mode.
        optima (n_starts,): log density that each start reached.
        log_evidence: Laplace's estimate of log Z.
    """

    mode: Floats
    scale_tril: Floats
    log_density: float
    optima: Floats

    @property
    def log_evidence(self) -> float:
        log_volume = np.log(np.diag(self.scale_tril)).sum() + 0.5 * self.mode.size * np.log(2 * np.pi)
        return float(self.log_density + log_volume)


def laplace(model: SkyModel, seed: int, n_starts: int = 4) -> Laplace:
    """Climb from `n_starts` prior draws (from `seed`) with L-BFGS, keep the best, and measure its curvature.

    The curvature is the central difference of exact gradients; directions flatter than a quarter of the prior's
    curvature are taken as that.

    Raises:
        NonFiniteLikelihoodError: no prior draw has a finite likelihood (names the pixel and the parameters).
    """
    starts = _starts(model, seed, n_starts)
    found = [_climb(model, start) for start in starts]
    optima = np.array([value for value, _ in found])
    mode = found[int(np.argmax(optima))][1]
    values, vectors = np.linalg.eigh(_curvature(model, mode))
    covariance = (vectors / np.maximum(values, _FLATTEST)) @ vectors.T
    return Laplace(mode, np.linalg.cholesky(covariance), float(optima.max()), optima)


def _starts(model: SkyModel, seed: int, n_starts: int) -> list[Floats]:
    """Prior draws at which the likelihood is finite; up to 20 tries for each."""
    draws = np.random.default_rng(seed).standard_normal((20 * n_starts, model.n_latent))
    finite = []
    for draw in draws:
        value, gradient = model.value_and_gradient(draw)
        if np.isfinite(value) and np.isfinite(gradient).all():
            finite.append(draw)
        if len(finite) == n_starts:
            return finite
    if not finite:
        raise model.explain(model.parameters(jnp.asarray(draws[0])))
    return finite


def _climb(model: SkyModel, start: Floats) -> tuple[float, Floats]:
    """Log density and position of the optimum that L-BFGS reaches from `start`."""
    from scipy.optimize import minimize

    def objective(z: Floats) -> tuple[float, Floats]:
        value, gradient = model.value_and_gradient(z)
        if not np.isfinite(value) or not np.isfinite(gradient).all():
            return _OUTSIDE, np.zeros_like(z)
        return -float(value), -np.asarray(gradient)

    result = minimize(objective, start, jac=True, method="L-BFGS-B", options={"maxiter": 1000, "maxcor": 20})
    if not np.isfinite(result.fun) or result.fun >= _OUTSIDE:
        raise NonFiniteLikelihoodError("the optimiser left the region where the likelihood exists; narrow the priors")
    return -float(result.fun), np.asarray(result.x)


def _curvature(model: SkyModel, mode: Floats) -> Floats:
    """Minus the Hessian of the log density at `mode` (D, D).

    Raises:
        NonFiniteLikelihoodError: a gradient beside the mode is not finite.
    """
    rows = []
    for shift in _STEP * np.eye(mode.size):
        above, below = (np.asarray(model.value_and_gradient(mode + sign * shift)[1]) for sign in (1, -1))
        if not np.isfinite(above - below).all():
            raise model.explain(model.parameters(jnp.asarray(mode + shift)))
        rows.append((below - above) / (2 * _STEP))
    curvature = np.array(rows)
    return (curvature + curvature.T) / 2
