"""Whether many short chains mix: those on the copy, which the pool is drawn by, and the exact ones."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.convergence import Convergence, convergence
from gammasky.engine.infer.emulator.sampling import CHAINS, GROUPS

Floats = NDArray[np.float64]
SLOW, MIXED = 1.05, 1.1  # R-hat from which on chains on the copy need excursions, and do not mix
ASTRAY, FAR = 0.02, 20.0  # share of a pool that is astray, and how far a log weight then is below the mean's [nat]
EVEN = 0.1  # effective size of the others, as a share of the pool, from which on it makes sense to say so
FARTHEST = 4.0  # widths from the middle up to which a value counts for R-hat


def r_hat(pool: Floats, counts: NDArray[np.bool_] | None = None) -> float:
    """Largest R-hat over all coordinates of chains whose draws (n, D) are a pool; NaN where one of the draws is.

    Args:
        pool (n, D): draws of all chains in turn.
        counts (CHAINS,): which of the chains count; None for all.
    """
    n = len(pool) // CHAINS * CHAINS
    chains = pool[:n].reshape(-1, CHAINS, pool.shape[1])[:, slice(None) if counts is None else counts].T
    if chains.shape[1] < 2:
        return np.inf
    # NumPy's maximum, which keeps a NaN: Python's drops one that does not come first
    return float(np.max([(convergence(of.copy()).r_hat, _of_values(of)) for of in chains]))


def _of_values(values: Floats) -> float:
    """R-hat of the values (chains, draws) themselves, in place of their ranks; as `convergence`, 1 for a number that
    never varies."""
    from arviz_stats.base import array_stats

    if np.isfinite(values).all() and np.ptp(values) == 0:
        return 1.0
    with np.errstate(divide="ignore", invalid="ignore"):  # chains that never move: their R-hat is infinite
        return float(array_stats.rhat(_clipped(values), method="split"))


def strays(log_weights: Floats) -> NDArray[np.int64]:
    """Find the draws of a copy that lie where the truth is not, the lightest last; if they are few, none.

    A copy may have a mode of its own, where it was never taught, and be right elsewhere: the weights of all other draws
    are even. Where they are not, the copy is right nowhere yet, and draws of little weight say nothing.
    """
    known = np.isfinite(log_weights)
    low = known & (log_weights < np.logaddexp.reduce(log_weights[known]) - np.log(len(log_weights)) - FAR)
    others = np.exp(log_weights[known & ~low] - log_weights[known & ~low].max())
    even = others.sum() ** 2 / (others**2).sum() > EVEN * len(log_weights)
    order = np.argsort(-log_weights, kind="stable")
    return order[low[order]] if low.mean() > ASTRAY and even else order[:0]


def of_short_chains(draws: Floats) -> Convergence:
    """Measure how well chains (CHAINS, n) agree about one number.

    R-hat is that of GROUPS of them, in order of time, since one alone is too short to have a mean of its own (nested
    R-hat, Margossian et al., arXiv:2110.13017). Effective sizes are those of the single chains: in groups the draws of
    one chain would stand far from each other, and look independent.
    """
    single = convergence(draws)
    groups = draws.reshape(GROUPS, -1, draws.shape[1]).swapaxes(1, 2).reshape(GROUPS, -1)
    return Convergence(convergence(groups).r_hat, single.ess_bulk, single.ess_tail)


def _clipped(values: Floats) -> Floats:
    """Values no farther than FARTHEST robust standard deviations from their median; as they are where more than half of
    them are equal, which leaves no such width."""
    middle, width = np.median(values), scatter(values.ravel())
    if width == 0:
        return values
    return np.clip(values, middle - FARTHEST * width, middle + FARTHEST * width)


def scatter(log_weights: Floats) -> float:
    """Scatter of log weights [nat] that outliers do not move: 1.48 times the median distance from the median."""
    known = log_weights[np.isfinite(log_weights)]
    return float(1.48 * np.median(np.abs(known - np.median(known)))) if known.size else np.inf
