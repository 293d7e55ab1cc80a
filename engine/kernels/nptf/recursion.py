"""The recursion of the NPTF likelihood, in plain and in scaled floating point.

With x_m = sum_i T_i X_{i,m} + mean [m = 1] for m >= 1 the Taylor coefficients of exp(sum_m x_m t^m) are

    q_0 = 1,      q_n = (1/n) sum_{m=1..n} m x_m q_{n-m}.

All x_m are non-negative, so nothing cancels; only the range needs care. `recursion` runs `LANES` pixels side by side in
plain floating point and says whether they stayed in a safe range; `scaled_recursion` takes one pixel whose numbers each
carry their own power of 2.
"""

from __future__ import annotations

import math
from typing import Any

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.nptf.lanes import add_scaled, all_between, convolve
from gammasky.engine.kernels.nptf.plan import LANES
from gammasky.engine.kernels.policy import COMPILE

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
ZERO_POWER = -(10**9)  # power of 2 that stands for zero: below any that occurs, and twice it still fits 32 bits
_POWERS = np.append(0.5 ** np.arange(256), 0.0)  # a term below 2^-255 of the largest one adds nothing


@njit(**COMPILE)
def load(pixels: Whole, point: Any, work: Any) -> None:
    """Gather the means and templates of a group; an unused lane repeats the first pixel.

    Args:
        pixels (LANES,): the pixels, -1 where a lane is not used.
        point: has `mean` (P,) and `templates` (I, P).
        work: has `mean` (1, LANES) and `template` (I, LANES), which are filled.
    """
    for lane in range(LANES):
        pixel = pixels[lane] if pixels[lane] >= 0 else pixels[0]
        work.mean[0, lane] = point.mean[pixel]
        for i in range(point.templates.shape[0]):
            work.template[i, lane] = point.templates[i, pixel]


@njit(**COMPILE)
def recursion(k_max: int, x: Floats, work: Any, low: float, high: float) -> bool:
    """Fill y[m] = m x_m and q[n] of a group; False where a y is not in [0, high], a q not in [low, high], or NaN.

    Args:
        k_max: largest count of the group.
        x (I, M + 1): response times dN/dS of the group's region.
        work: has `mean`, `template` (see `load`), and `y`, `q` (at least k_max + 1, LANES), which are filled.
        low, high: the range that is safe.
    """
    safe = True
    for m in range(1, k_max + 1):
        work.y[m] = 0.0
        for i in range(x.shape[0]):
            add_scaled(work.y, m, m * x[i, m], work.template, i)
        if m == 1:
            add_scaled(work.y, 1, 1.0, work.mean, 0)
        safe = safe and all_between(work.y, m, 0.0, high)
    work.q[0] = 1.0
    for n in range(1, k_max + 1):
        convolve(work.q, work.y, work.q, n, 1.0 / n)
        safe = safe and all_between(work.q, n, low, high)
    return safe


@njit(**COMPILE)
def scaled(value: float, power: int) -> tuple[float, int]:
    """value * 2^power as a mantissa in [0.5, 1) and a power of 2."""
    mantissa, shift = math.frexp(value)
    return mantissa, power + shift if mantissa != 0.0 else ZERO_POWER


@njit(**COMPILE)
def scaled_dot(n: int, a: Floats, a_power: Whole, q: Floats, q_power: Whole, divisor: float) -> tuple[float, int]:
    """(1 / divisor) sum_{m=1..n} a[m] q[n - m] for numbers that are each a mantissa times a power of 2."""
    top = 2 * ZERO_POWER
    for m in range(1, n + 1):
        top = max(top, a_power[m] + q_power[n - m])
    total = 0.0
    if top > ZERO_POWER:
        for m in range(1, n + 1):
            total += a[m] * q[n - m] * _POWERS[min(top - a_power[m] - q_power[n - m], _POWERS.size - 1)]
    return scaled(total / divisor, top)


@njit(**COMPILE)
def scaled_recursion(k: int, y: Floats, q: Floats, q_power: Whole) -> bool:
    """Fill q_n = q[n] * 2^q_power[n] (k + 1,) from y (k + 1,) = m x_m; False where a y is negative, infinite or NaN."""
    mantissa, y_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    for m in range(1, k + 1):
        if not (y[m] >= 0.0 and y[m] < math.inf):  # NaN too
            return False
        mantissa[m], y_power[m] = scaled(y[m], 0)
    q[0], q_power[0] = 0.5, 1
    for n in range(1, k + 1):
        q[n], q_power[n] = scaled_dot(n, mantissa, y_power, q, q_power, n)
    return True
