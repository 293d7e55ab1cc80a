"""The response matrix: Poisson probabilities summed over pixel fractions. Numbers in, numbers out."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.policy import CACHE

EXPONENT_LIMIT = 700.0  # exp(-lambda) is a normal number below this
# Stirling's series: log n! - log sqrt(2 pi n) (n/e)^n for n = 0 to 15 (n = 0 is not used)
_SMALL = np.array(
    [0.0] + [math.lgamma(n + 1) - (0.5 * math.log(2 * math.pi * n) + n * math.log(n) - n) for n in range(1, 16)]
)


@njit(nogil=True, cache=CACHE)
def _stirling_error(n: int) -> float:
    """log n! minus Stirling's formula."""
    if n <= 15:
        return _SMALL[n]
    square = 1.0 / (n * n)
    return (1 / 12.0 - (1 / 360.0 - (1 / 1260.0 - (1 / 1680.0 - square / 1188.0) * square) * square) * square) / n


@njit(nogil=True, cache=CACHE)
def _deviance(n: float, mean: float) -> float:
    """n log(n / mean) + mean - n without cancellation where n is near the mean."""
    difference, total = n - mean, n + mean
    if abs(difference) >= 0.1 * total:
        return n * math.log(n / mean) + mean - n
    v = difference / total
    result, term, order = difference * v, 2 * n * v, 1
    while True:
        term *= v * v
        order += 2
        following = result + term / order
        if following == result:
            return result
        result = following


@njit(nogil=True, cache=CACHE)
def _add_poisson(weight: float, mean: float, out: np.ndarray) -> None:
    """out[m] += weight Pois(m | mean) for m >= 1, by the recursion p_m = p_{m-1} mean / m.

    It starts from p_0 = exp(-mean), or, where that underflows, from the largest p_m in range in its saddle-point form
    (Loader 2000), exp(-stirling - deviance) / sqrt(2 pi m), and runs both ways.
    """
    top = len(out) - 1
    if mean <= EXPONENT_LIMIT:
        p = weight * math.exp(-mean)
        for m in range(1, top + 1):
            p *= mean / m
            out[m] += p
        return
    start = min(top, int(mean))
    if start < 1:
        return
    peak = weight * math.exp(-_stirling_error(start) - _deviance(float(start), mean)) / math.sqrt(2 * math.pi * start)
    p = peak
    for m in range(start, 0, -1):
        out[m] += p
        p *= m / mean
    p = peak
    for m in range(start + 1, top + 1):
        p *= mean / m
        out[m] += p


@njit(nogil=True, cache=CACHE)
def fill_response(
    s_grid: np.ndarray,
    quadrature: np.ndarray,
    fractions: np.ndarray,
    weights: np.ndarray,
    ratios: np.ndarray,
    matrix: np.ndarray,
) -> None:
    """matrix[r, m, s] = quadrature_s sum_f weight_f Pois(m | f ratio_r s), m >= 1; row 0 is minus the sum over them.

    Args:
        s_grid, quadrature (S,): expected counts and quadrature weights.
        fractions, weights (F,): pixel fractions.
        ratios (R,): exposure of each region over the mean.
        matrix (R, M + 1, S): filled in place.
    """
    column = np.empty(matrix.shape[1])
    for r in range(len(ratios)):
        for s in range(len(s_grid)):
            column[:] = 0.0
            for f in range(len(fractions)):
                mean = fractions[f] * ratios[r] * s_grid[s]
                column[0] += weights[f] * math.expm1(-mean)
                _add_poisson(weights[f], mean, column)
            matrix[r, :, s] = quadrature[s] * column
