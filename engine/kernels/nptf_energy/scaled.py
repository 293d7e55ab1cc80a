"""The joint likelihood of one pixel whose numbers leave the range of float64: they carry powers of 2."""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf.scaled import LOG_2, POWERS, ZERO_POWER, scaled, scaled_recursion
from gammasky.engine.kernels.policy import COMPILE


@njit(**COMPILE)
def dot(
    a: Floats, a_power: Whole, first: int, step: int, b: Floats, b_power: Whole, begin: int, number: int
) -> tuple[float, int]:
    """sum_{j < number} a[first + step j] b[begin + j] for numbers that are each a mantissa times a power of 2."""
    top = 2 * ZERO_POWER
    for j in range(number):
        top = max(top, a_power[first + step * j] + b_power[begin + j])
    total = 0.0
    if top > ZERO_POWER:
        for j in range(number):
            down = top - a_power[first + step * j] - b_power[begin + j]
            total += a[first + step * j] * b[begin + j] * POWERS[min(down, POWERS.size - 1)]
    return scaled(total, top)


@njit(**COMPILE)
def _powers(base: float, last: int, values: Floats, power: Whole) -> None:
    """base^n / n! for n = 0 .. last."""
    mantissa, shift = scaled(base, 0)
    values[0], power[0] = 0.5, 1
    for n in range(1, last + 1):
        values[n], power[n] = scaled(values[n - 1] * mantissa / n, power[n - 1] + max(shift, ZERO_POWER // 4))
        power[n] = max(power[n], ZERO_POWER)


@njit(**COMPILE)
def _polynomial(bins: Whole, mean: Floats, shares: Floats, c: Floats, c_power: Whole) -> int:
    """Fill the coefficients of prod_e (mu_e + phi_e t)^k_e / k_e!; returns their largest power, the sum of the k_e."""
    most = bins.sum()
    old, old_power = np.zeros(most + 1), np.full(most + 1, ZERO_POWER)
    low, low_power = np.zeros(most + 1), np.zeros(most + 1, dtype=np.int64)
    high, high_power = np.zeros(most + 1), np.zeros(most + 1, dtype=np.int64)
    c[0], c_power[0], degree = 0.5, 1, 0
    for e in range(len(bins)):
        k = bins[e]
        if k == 0:
            continue
        _powers(mean[e], k, low, low_power)
        _powers(shares[e], k, high, high_power)
        for j in range(k + 1):  # `high` becomes the factor of the bin
            high[j], high_power[j] = scaled(high[j] * low[k - j], max(high_power[j] + low_power[k - j], ZERO_POWER))
        old[: degree + 1], old_power[: degree + 1] = c[: degree + 1], c_power[: degree + 1]
        for n in range(degree + k + 1):
            first, last = max(0, n - degree), min(k, n)
            c[n], c_power[n] = dot(old, old_power, n - first, -1, high, high_power, first, last - first + 1)
        degree += k
    return degree


@njit(**COMPILE)
def scaled_pixel(
    bins: Whole, y: Floats, y_power: Whole, mean: Floats, shares: Floats, weight: Floats, weight_power: Whole,
    by_mean: Floats, by_share: Floats,
) -> float:  # fmt: skip
    """log S of one pixel, the sum of n! q_n c_n with the k_e! in c, in the whole range of float64 and beyond.

    Args:
        bins (E,): counts, K in all. mean, shares (E,): as they are.
        y, y_power (K + 1,): m x_m, as mantissas and powers of 2.
        weight, weight_power (K + 1,): receive d log S / d x_m, as mantissas and powers of 2; 1 for m = 0.
        by_mean, by_share (E,): receive d log S / d mu_e and d log S / d phi_e.
    """
    k = bins.sum()
    q, q_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    good = scaled_recursion(k, y, y_power, q, q_power)
    for e in range(len(bins)):
        good = good and mean[e] >= 0.0 and shares[e] >= 0.0 and mean[e] < math.inf and shares[e] < math.inf
    if not good:
        weight[:], by_mean[:], by_share[:] = math.nan, math.nan, math.nan
        return math.nan
    c, c_power = np.zeros(k + 1), np.full(k + 1, ZERO_POWER)
    _polynomial(bins, mean, shares, c, c_power)
    z, z_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    h, h_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    factorial, power = 0.5, 1
    for n in range(k + 1):
        if n > 0:
            factorial, power = scaled(factorial * n, power)
        z[n], z_power[n] = scaled(factorial * q[n], max(power + q_power[n], ZERO_POWER))
        h[n], h_power[n] = scaled(factorial * c[n], max(power + c_power[n], ZERO_POWER))
    total, top = dot(z, z_power, 0, 1, c, c_power, 0, k + 1)
    possible = total > 0.0
    for m in range(k + 1):
        found, found_power = dot(h, h_power, m, 1, q, q_power, 0, k - m + 1)
        weight[m] = found / total if possible else math.nan
        weight_power[m] = found_power - top if possible else 0
    weight[0], weight_power[0] = 1.0, 0
    fewer = bins.copy()
    for e in range(len(bins)):
        by_mean[e], by_share[e] = 0.0, 0.0
        if bins[e] == 0:
            continue
        fewer[e] = bins[e] - 1
        c[:], c_power[:] = 0.0, ZERO_POWER
        _polynomial(fewer, mean, shares, c, c_power)
        fewer[e] = bins[e]
        found, found_power = dot(z, z_power, 0, 1, c, c_power, 0, k)
        by_mean[e] = math.ldexp(found / total, found_power - top) if possible else math.nan
        found, found_power = dot(z, z_power, 1, 1, c, c_power, 0, k)
        by_share[e] = math.ldexp(found / total, found_power - top) if possible else math.nan
    return math.log(total) + top * LOG_2 if possible else -math.inf
