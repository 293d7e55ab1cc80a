"""Importance weights of draws from an approximation. They tell how good it is, give log Z, and correct the posterior.

Weights w = p(data, z) / q(z) are smoothed in their tail by a generalised Pareto distribution (PSIS, Vehtari et al.,
arXiv:1507.02646); its shape k-hat says whether the largest of them can be trusted: below 0.7 they can. A low k-hat is
necessary, not sufficient: it cannot see mass where q never goes.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError

Floats = NDArray[np.float64]
CITATIONS = (
    Citation(
        "importance weights and k-hat",
        r"""
        @misc{Vehtari2015,
          author        = {Vehtari, Aki and Simpson, Daniel and Gelman, Andrew and Yao, Yuling and Gabry, Jonah},
          title         = {Pareto Smoothed Importance Sampling},
          year          = {2015},
          eprint        = {1507.02646},
          archivePrefix = {arXiv}
        }
        """,
    ),
    Citation(
        "what k-hat says of a variational fit",
        r"""
        @misc{Yao2018,
          author        = {Yao, Yuling and Vehtari, Aki and Simpson, Daniel and Gelman, Andrew},
          title         = {Yes, but Did It Work?: Evaluating Variational Inference},
          year          = {2018},
          eprint        = {1802.02538},
          archivePrefix = {arXiv}
        }
        """,
    ),
)
RELIABLE_K_HAT = 0.7
FEWEST_DRAWS = 100  # that have a tail to judge
BOUNDED = -1.0  # k-hat of weights that have an upper limit
_LARGE = 4.0  # weight of a draw, in units of the mean, from which on the tail of weights matters
EQUAL = 1e-9  # relative difference between weights that is no more than rounding of log-likelihoods of 10^5


@dataclass(frozen=True, eq=False)
class Importance:
    """The weights of n draws and what follows from them.

    Attributes:
        weights (n,): smoothed, adding up to 1.
        k_hat: Pareto shape of the largest weights.
        ess: effective sample size 1 / sum w^2; efficiency: the same per draw.
        log_z: log of the evidence, from the unsmoothed weights; log_z_error: its standard error.
        elbo: mean log weight, at most log Z; elbo_error: its standard error.
    """

    weights: Floats
    k_hat: float
    ess: float
    efficiency: float
    log_z: float
    log_z_error: float
    elbo: float
    elbo_error: float

    @property
    def heavy(self) -> bool:
        """Whether a few draws may carry it all; where no weight is large, the shape of their tail means nothing."""
        return bool(self.k_hat > RELIABLE_K_HAT and self.weights.max() * self.weights.size > _LARGE)

    def diagnostics(self) -> dict[str, float]:
        """The diagnostics as plain numbers by name, without the weights themselves."""
        names = ("elbo", "elbo_error", "log_z", "log_z_error", "k_hat", "ess", "efficiency")
        return {name: getattr(self, name) for name in names}

    def shift(self, values: Floats) -> Floats:
        """Weighted mean minus plain mean of values (n, ...), in plain standard deviations; 0 where they do not vary."""
        mean, sd = values.mean(axis=0), values.std(axis=0)
        moved = np.tensordot(self.weights, values, axes=1) - mean
        return np.divide(moved, sd, out=np.zeros_like(mean), where=sd != 0)

    def resampled(self, n: int, seed: int) -> NDArray[np.int64]:
        """Indices (n,) of draws, each as often as its weight says."""
        return systematic(self.weights, n, seed)


def systematic(weights: Floats, n: int, seed: int) -> NDArray[np.int64]:
    """Indices (n,), each as often as its weight says; weights add up to 1. Systematic: the least scatter."""
    points = (np.random.default_rng(seed).uniform() + np.arange(n)) / n
    return np.minimum(np.searchsorted(np.cumsum(weights), points), len(weights) - 1)


def tempered(log_weights: Floats, least: float) -> Floats:
    """Weights (n,), adding up to 1, to a power at which their effective size is at least `least` of n.

    The power goes down from 1 by a fifth at a time, and no farther than 0.02.
    """
    known = np.where(np.isfinite(log_weights), log_weights, -np.inf)
    known, power = known - known.max(), 1.0
    while True:
        weights = np.exp(np.maximum(power * known, -700.0))
        weights /= weights.sum()
        if 1 / (weights**2).sum() >= least * len(weights) or power < 0.02:
            return weights
        power *= 0.8


def weighted_quantiles(draws: Floats, weights: Floats, at: Sequence[float]) -> Floats:
    """Quantiles (len(at),) of weighted draws (n,); NaN where a draw or a weight is not finite."""
    if not (np.isfinite(draws).all() and np.isfinite(weights).all()):
        return np.full(len(at), np.nan)
    order = np.argsort(draws)
    below = np.cumsum(weights[order]) - 0.5 * weights[order]
    return np.asarray(np.interp(at, below, draws[order]))


def importance(log_density: Floats, log_guide: Floats) -> Importance:
    """Weight the draws of a guide by the posterior.

    Args:
        log_density (n,): log p(data, z) of each draw, unnormalised.
        log_guide (n,): log density of the guide there.

    Raises:
        InputError: fewer than FEWEST_DRAWS draws, or a log weight that is not finite (-inf, a draw of no posterior
            density, is allowed).
    """
    log_weights = np.asarray(log_density - log_guide, dtype=np.float64)
    if log_weights.size < FEWEST_DRAWS:
        raise InputError(f"importance weights: expected at least {FEWEST_DRAWS} draws, got {log_weights.size}")
    if np.isnan(log_weights).any() or (log_weights == np.inf).any():
        draw = int(np.argmax(np.isnan(log_weights) | (log_weights == np.inf)))
        raise InputError(f"importance weights: draw {draw} has log weight {log_weights[draw]}, expected a finite one")
    smoothed, k_hat = psis(log_weights)
    weights = np.exp(smoothed)
    n, log_z = log_weights.size, float(logsumexp(log_weights) - np.log(log_weights.size))
    relative = np.exp(log_weights - log_z)
    ess = float(1.0 / np.sum(weights**2))
    finite = log_weights[np.isfinite(log_weights)]
    return Importance(
        weights=weights,
        k_hat=k_hat,
        ess=ess,
        efficiency=ess / n,
        log_z=log_z,
        log_z_error=float(relative.std(ddof=1) / np.sqrt(n)),
        elbo=float(finite.mean()) if finite.size == n else -np.inf,
        elbo_error=float(finite.std(ddof=1) / np.sqrt(finite.size)),
    )


def psis(log_weights: Floats) -> tuple[Floats, float]:
    """Smooth the tail of log weights by a generalised Pareto distribution.

    `psislw` of arviz-stats is made for leave-one-out cross-validation and takes MINUS the log weights. The tail that it
    smooths holds 3 sqrt(n) weights, rounded down. Where a quarter of that tail does not exceed the weight below it
    (weights that underflow beside the largest one, draws without posterior density, ties) its k-hat comes out near
    0.05, which would praise the worst of guides: such a tail is not fitted.

    Args:
        log_weights (n,): finite, or -inf.

    Returns:
        the smoothed log weights, whose exponentials add up to 1, and k-hat: `BOUNDED` where the largest weights are all
        equal, and infinite where the tail cannot be fitted; the weights then stay as they are.
    """
    from arviz_stats.base import array_stats

    plain, n = log_weights - logsumexp(log_weights), log_weights.size
    size = int(3 * np.sqrt(n)) if n > 225 else n // 5
    tail = np.sort(plain)[-size - 1 :]
    if tail[-1] - tail[0] < EQUAL:
        return plain, BOUNDED
    excess = np.exp(tail[1:] - tail[-1]) - np.exp(tail[0] - tail[-1])
    if not excess[size // 4] > 0:
        return plain, np.inf
    with np.errstate(over="ignore"):  # a smoothed weight beyond the largest one becomes that one
        smoothed, k_hat = array_stats.psislw(-log_weights)
    return np.asarray(smoothed, dtype=np.float64), float(k_hat)
