"""How much each member counts: evidence among fits to the same pixels, stacking across fits to different ones."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gammasky.engine.errors import InputError

Floats = NDArray[np.float64]
_MOST = 5000  # iterations of stacking
_ROUNDING = 1e-12  # relative scatter of means that are the same
_ENOUGH = 1e-3  # nat that the best weights may still be better, summed over the pixels


def evidence_weights(log_z: Floats) -> Floats:
    """Posterior probability (K,) of members that are equally likely beforehand: Z_k / sum Z.

    Only members that fit the same counts in the same pixels have evidences of the same data.
    """
    return np.asarray(np.exp(log_z - logsumexp(log_z)))


@dataclass(frozen=True)
class Average:
    """A quantity averaged over members.

    Attributes:
        mean, sd: of the mixture of the members' posteriors.
        within: what the sd would be if all members had the same mean; between: sd of their means.
        share: of the weight that is with members which have the quantity; the average is over those.
    """

    mean: float
    sd: float
    within: float
    between: float
    share: float


def average(weights: Floats, means: Floats, sds: Floats) -> Average | None:
    """Mix the posteriors of the members that have a quantity; None where they have no weight.

    Args:
        weights (K,): of these members, among all.
        means, sds (K,): of the quantity. One that is not finite makes the average so.
    """
    share = float(weights.sum())
    if share <= 0:
        return None
    w = weights / share
    mean = float(w @ means)
    apart = np.where(np.abs(means - mean) <= _ROUNDING * np.abs(means).max(), 0.0, means - mean)
    within, between = float(w @ sds**2), float(w @ apart**2)
    return Average(mean, float(np.sqrt(within + between)), float(np.sqrt(within)), float(np.sqrt(between)), share)


@dataclass(frozen=True, eq=False)
class Stack:
    """Stacking weights.

    Attributes:
        weights (K,): of the members, adding up to 1.
        score: sum over the pixels of the log density of the mixture; gap: at most that much better could it be [nat].
        single: score of the best single member.
        n_pixels: that were compared.
    """

    weights: Floats
    score: float
    gap: float
    single: float
    n_pixels: int


def stacking(elpd: Floats) -> Stack:
    """Weights of the mixture sum_k w_k p_k that predicts the pixels best (Yao et al., arXiv:1704.02030, eq. 4).

    The score sum_i log sum_k w_k exp(elpd_ki) is concave; w_k is multiplied by a power of the mean over the pixels of
    p_k / sum_j w_j p_j, which is expectation-maximisation for a power of 1, and as large a power as still climbs is
    taken. The largest of these means tells how much better any weights could be.

    Args:
        elpd (K, P): log predictive density of each member in each pixel.

    Raises:
        InputError: no pixel.
    """
    n_members, n_pixels = elpd.shape
    if not n_pixels:
        raise InputError("stacking: the members have no pixel in common")
    highest = elpd.max(axis=0)
    density = np.exp(elpd - highest)

    def score(weights: Floats) -> float:
        return float(np.log(np.maximum(weights @ density, np.finfo(float).tiny)).sum())

    weights, power = np.full(n_members, 1.0 / n_members), 1.0
    now = score(weights)
    for _ in range(_MOST):
        ratio = density @ (1.0 / (weights @ density)) / n_pixels
        gap = n_pixels * (float(ratio.max()) - 1.0)
        if gap < _ENOUGH:
            break
        proposed = _tilted(weights, ratio, power)
        if (then := score(proposed)) >= now:
            weights, now, power = proposed, then, 2.0 * power
        elif power > 1.0:
            power = max(1.0, 0.25 * power)
        else:
            break  # expectation-maximisation itself climbs no further: rounding
    base = float(highest.sum())
    return Stack(weights, now + base, gap, float(elpd.sum(axis=1).max()), n_pixels)


def _tilted(weights: Floats, ratio: Floats, power: float) -> Floats:
    """weights * ratio^power, adding up to 1; a weight that has become 0 stays."""
    with np.errstate(divide="ignore"):
        logs = np.log(weights) + power * np.log(np.maximum(ratio, np.finfo(float).tiny))
    return np.asarray(np.exp(logs - logsumexp(logs)))
