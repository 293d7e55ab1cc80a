"""How the density of a bar falls with its radius, on LANES lines of sight side by side."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray
from scipy.special import kve

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.bar.lines import DENSITY, LOG_R, RADIUS, SLOPE, WEIGHT
from gammasky.engine.kernels.bar.quadrature import LANES
from gammasky.engine.kernels.elementary import exponential

Floats = NDArray[np.float64]


@njit(**policy.COMPILE)
def fill_falloff(falloff: int, rows: Floats) -> None:
    """Rows DENSITY (with the weight) and SLOPE = d log f / d log r_s."""
    if falloff == 0:  # sech^2 r
        for lane in range(LANES):
            r = rows[RADIUS + lane]
            e = exponential(-2.0 * r)
            tanh = (1.0 - e) / (1.0 + e)
            rows[DENSITY + lane] = rows[WEIGHT + lane] * (4.0 * e / ((1.0 + e) * (1.0 + e)))
            rows[SLOPE + lane] = -2.0 * r * tanh
    elif falloff == 1:  # exp(-r)
        for lane in range(LANES):
            r = rows[RADIUS + lane]
            rows[DENSITY + lane] = rows[WEIGHT + lane] * exponential(-r)
            rows[SLOPE + lane] = -r
    elif falloff == 2:  # exp(-r^2 / 2)
        for lane in range(LANES):
            square = rows[RADIUS + lane] * rows[RADIUS + lane]
            rows[DENSITY + lane] = rows[WEIGHT + lane] * exponential(-0.5 * square)
            rows[SLOPE + lane] = -square
    else:  # K_0(r): r K_0' = -r K_1
        for lane in range(LANES):
            r = rows[RADIUS + lane]
            k0, k1 = _bessel(r, rows[LOG_R + lane])
            rows[DENSITY + lane] = rows[WEIGHT + lane] * k0 * exponential(-r)
            rows[SLOPE + lane] = -r * k1 / k0


_EULER, _LOG_2 = 0.5772156649015329, 0.6931471805599453
_TERMS = 14  # of the power series up to r = 2
_K = np.arange(_TERMS, dtype=np.float64)
_FACTORIAL = np.cumprod(np.maximum(_K, 1.0))
_HARMONIC = np.concatenate([[0.0], np.cumsum(1.0 / _K[1:])])
_I0 = 1.0 / _FACTORIAL**2
_I1 = _I0 / (_K + 1.0)
_K0_REST = _HARMONIC * _I0
_K1_REST = (_HARMONIC + 0.5 / (_K + 1.0)) * _I1
_DEGREE = 24  # of the Chebyshev series in 4 / r - 1 beyond


def _far_series(order: int) -> Floats:
    """Chebyshev coefficients (_DEGREE + 1,) of sqrt(r) exp(r) K_order(r)."""
    return np.polynomial.chebyshev.chebinterpolate(
        lambda t: np.sqrt(4.0 / (t + 1.0)) * kve(order, 4.0 / (t + 1.0)), _DEGREE
    )


FAR_SERIES = np.stack([_far_series(0), _far_series(1)])


@njit(**policy.COMPILE)
def _bessel(r: float, log_r: float) -> tuple[float, float]:
    """exp(r) K_0(r) and exp(r) K_1(r): power series up to r = 2 (DLMF 10.31), Chebyshev series beyond."""
    if r <= 2.0:
        square = 0.25 * r * r
        i0 = i1 = rest0 = rest1 = 0.0
        for k in range(_TERMS - 1, -1, -1):
            i0, i1 = i0 * square + _I0[k], i1 * square + _I1[k]
            rest0, rest1 = rest0 * square + _K0_REST[k], rest1 * square + _K1_REST[k]
        log_half = log_r - _LOG_2 + _EULER
        scale = exponential(r)
        return scale * (rest0 - log_half * i0), scale * (1.0 / r + 0.5 * r * (log_half * i1 - rest1))
    t = 4.0 / r - 1.0
    a0 = b0 = a1 = b1 = 0.0
    for k in range(_DEGREE, 0, -1):
        a0, b0 = 2.0 * t * a0 - b0 + FAR_SERIES[0, k], a0
        a1, b1 = 2.0 * t * a1 - b1 + FAR_SERIES[1, k], a1
    root = 1.0 / np.sqrt(r)
    return root * (t * a0 - b0 + FAR_SERIES[0, 0]), root * (t * a1 - b1 + FAR_SERIES[1, 0])
