"""Random variates from uniform numbers: Poisson, positions in a table, source counts, radii."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.simulate.philox import uniforms

Floats = NDArray[np.float64]

LARGEST_MEAN = 1e9  # of a Poisson variate: log p is exact to 1e-11 up to here
SMALL_MEAN = 10.0  # below: inversion; from here on: transformed rejection
_UNRESOLVED = 1e-17  # a probability that 53 bits of a uniform number cannot see
_HALF_LOG_2PI = 0.9189385332046727
_LOG_FACTORIAL = np.array([math.lgamma(k + 1.0) for k in range(10)])


@njit(**COMPILE)
def poisson(mean: float, index: int, stream: int, sky: int, seed: np.uint64) -> int:
    """A Poisson number; 0 where the mean is not positive. The caller sees to it that 0 <= mean <= `LARGEST_MEAN`."""
    if not mean > 0.0:
        return 0
    if mean < SMALL_MEAN:
        return _by_inversion(mean, uniforms(0, index, stream, sky, seed)[0])
    return _by_rejection(mean, index, stream, sky, seed)


@njit(**COMPILE)
def _by_inversion(mean: float, u: float) -> int:
    """The smallest k whose cumulative probability reaches u."""
    k, probability = 0, math.exp(-mean)
    while u > probability:
        u -= probability
        k += 1
        probability *= mean / k
        if probability < _UNRESOLVED and k > mean:
            break
    return k


@njit(**COMPILE)
def _by_rejection(mean: float, index: int, stream: int, sky: int, seed: np.uint64) -> int:
    """Transformed rejection with squeeze, algorithm PTRS of Hoermann 1993 (Insurance: Math. Econ. 12, 39); mean >= 10.

    Each attempt takes the two uniform numbers of one block.
    """
    b = 0.931 + 2.53 * math.sqrt(mean)
    a = -0.059 + 0.02483 * b
    inverse_alpha = 1.1239 + 1.1328 / (b - 3.4)
    squeeze = 0.9277 - 3.6224 / (b - 2.0)
    block = 0
    while True:
        u, v = uniforms(block, index, stream, sky, seed)
        block += 1
        u -= 0.5
        edge = 0.5 - abs(u)
        k = np.floor((2.0 * a / edge + b) * u + mean + 0.43)  # a float: far out it exceeds any integer
        if edge >= 0.07 and v <= squeeze:
            return int(k)
        if k < 0.0 or (edge < 0.013 and v > edge):
            continue
        if math.log(v * inverse_alpha / (a / (edge * edge) + b)) <= log_probability(k, mean):
            return int(k)


@njit(**COMPILE)
def log_probability(k: float, mean: float) -> float:
    """log(mean^k exp(-mean) / k!), without differences of large numbers where k is near a large mean.

    k log(mean / k) + k - mean = k (log(1 + d) - d), d = (mean - k) / k, and Stirling's series for the rest.
    """
    if k < 10.0:
        return k * math.log(mean) - mean - _LOG_FACTORIAL[np.int64(k)]
    d = (mean - k) / k
    square = 1.0 / (k * k)
    series = (1.0 / 12.0 - square * (1.0 / 360.0 - square * (1.0 / 1260.0 - square / 1680.0))) / k
    return k * (math.log1p(d) - d) - _HALF_LOG_2PI - 0.5 * math.log(k) - series


@njit(**COMPILE)
def entry(running_sum: Floats, u: float) -> int:
    """The entry that holds the fraction u of the total: the first whose running sum is above it.

    An entry of weight 0 shares its running sum with the one before, so it is never found.
    """
    target = u * running_sum[-1]
    low, high = 0, running_sum.size - 1
    while low < high:
        middle = (low + high) >> 1
        if running_sum[middle] > target:
            high = middle
        else:
            low = middle + 1
    return low


@njit(**COMPILE)
def in_cell(origin: float, step: float, decay: float, u: float) -> float:
    """S = origin exp(step t) in a power-law cell, t in (0, 1) with the density ~ exp(-decay t)."""
    t = -math.log1p(u * math.expm1(-decay)) / decay if decay > 1e-300 else u
    return origin * math.exp(step * t)


@njit(**COMPILE)
def radius(radii: Floats, largest: float, u: float) -> float:
    """Radius outside which the fraction u of the photons is found.

    Args:
        radii (K,): radii at equal steps of w = sqrt(-log u) from 0 to `largest`.
        u: fraction; its smallest value 2^-53 must be in the table.
    """
    at = math.sqrt(-math.log(u)) * ((radii.size - 1) / largest)
    node = min(int(at), radii.size - 2)
    return radii[node] + (at - node) * (radii[node + 1] - radii[node])
