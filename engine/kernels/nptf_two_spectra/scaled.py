"""The joint likelihood with two spectra of one pixel whose numbers leave the range of float64: they carry powers of 2.

The formulae are those of `cpu`, without its units. Polynomials have a row and a column of zeros before their first.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf.scaled import LOG_2, POWERS, ZERO_POWER, scaled
from gammasky.engine.kernels.nptf_energy.scaled import dot
from gammasky.engine.kernels.policy import COMPILE


@njit(**COMPILE)
def _sum_of_three(
    a: float, a_power: int, b: float, b_power: int, c: float, c_power: int
) -> tuple[float, int]:  # fmt: skip
    """a + b + c, each a number times its power of 2."""
    top, last = max(a_power, max(b_power, c_power)), POWERS.size - 1
    total = a * POWERS[min(top - a_power, last)]
    total += b * POWERS[min(top - b_power, last)]
    total += c * POWERS[min(top - c_power, last)]
    return scaled(total, top)


@njit(**COMPILE)
def _multiply(c: Floats, c_power: Whole, degree: int, factor: Floats, power: Whole) -> None:
    """Multiply the polynomial c, of that degree, by factor[0] + factor[1] t + factor[2] t', in place."""
    for n in range(degree + 2, 0, -1):
        for j in range(degree + 3 - n, 0, -1):
            c[n, j], c_power[n, j] = _sum_of_three(
                factor[0] * c[n, j], power[0] + c_power[n, j], factor[1] * c[n - 1, j], power[1] + c_power[n - 1, j],
                factor[2] * c[n, j - 1], power[2] + c_power[n, j - 1],
            )  # fmt: skip


@njit(**COMPILE)
def _back(bar: Floats, bar_power: Whole, degree: int, factor: Floats, power: Whole) -> None:
    """From the derivatives by the coefficients of a product to those by its coefficients, of that degree, without the
    factor, in place."""
    for n in range(1, degree + 2):
        for j in range(1, degree + 3 - n):
            bar[n, j], bar_power[n, j] = _sum_of_three(
                factor[0] * bar[n, j], power[0] + bar_power[n, j],
                factor[1] * bar[n + 1, j], power[1] + bar_power[n + 1, j],
                factor[2] * bar[n, j + 1], power[2] + bar_power[n, j + 1],
            )  # fmt: skip


@njit(**COMPILE)
def _by_factor(
    bar: Floats, bar_power: Whole, before: Floats, power: Whole, degree: int, row: int, column: int
) -> float:
    """The derivative of log S by factor[0] of the last factor, from the product `before` it, of that degree; with row 1
    by factor[1], with column 1 by factor[2]."""
    rows, of_row, ones = np.zeros(degree + 1), np.full(degree + 1, ZERO_POWER), np.ones(degree + 1)
    for n in range(degree + 1):
        first, number = column + 1, degree + 1 - n
        rows[n], of_row[n] = dot(
            bar[n + 1 + row], bar_power[n + 1 + row], first, 1, before[n + 1], power[n + 1], 1, number
        )
    found, found_power = dot(rows, of_row, 0, 1, ones, np.zeros(degree + 1, dtype=np.int64), 0, degree + 1)
    return math.ldexp(found, found_power)


@njit(**COMPILE)
def _sources(q: Floats, q_power: Whole, z: Floats, z_power: Whole, factorial: Floats, power: Whole) -> None:
    """Fill n! and z_n = n! q_n of both kinds."""
    factorial[0], power[0] = 0.5, 1
    for n in range(len(factorial)):
        if n > 0:
            factorial[n], power[n] = scaled(factorial[n - 1] * n, power[n - 1])
        for kind in range(2):
            z[kind, n], z_power[kind, n] = scaled(factorial[n] * q[kind, n], power[n] + q_power[kind, n])


@njit(**COMPILE)
def scaled_pixel(
    counts: Whole, q: Floats, q_power: Whole, mean: Floats, shares: Floats, by_x: Floats, by_x_power: Whole,
    by_mean: Floats, by_share: Floats, want_gradient: bool,
) -> float:  # fmt: skip
    """log S of one pixel in the whole range of float64 and beyond; NaN derivatives where it is -inf.

    Args:
        counts (E,), mean (E,): of its bins. shares (2, E): the spectra.
        q, q_power (2, K + 1): q_n of the photons of each kind of sources, as mantissas and powers of 2.
        by_x, by_x_power, by_mean, by_share: as of `cpu`.
    """
    k, used = counts.sum(), np.flatnonzero(counts)
    factor, power = np.zeros((len(used), 3)), np.zeros((len(used), 3), dtype=np.int64)
    c, c_power = np.zeros((k + 3, k + 3)), np.full((k + 3, k + 3), ZERO_POWER, dtype=np.int32)
    slots = len(used) if want_gradient else 0
    kept, kept_power = np.zeros((slots, k + 1, k + 1)), np.zeros((slots, k + 1, k + 1), dtype=np.int32)
    c[1, 1], c_power[1, 1], degree = 0.5, 1, 0
    for slot in range(len(used)):
        e = used[slot]
        factor[slot, 0], power[slot, 0] = scaled(mean[e], 0)
        for kind in range(2):
            factor[slot, 1 + kind], power[slot, 1 + kind] = scaled(shares[kind, e], 0)
        for number in range(counts[e]):
            if want_gradient and number + 1 == counts[e]:  # the product before the last factor of the bin
                for n in range(1, degree + 2):
                    kept[slot, n, : degree + 3 - n] = c[n, : degree + 3 - n]
                    kept_power[slot, n, : degree + 3 - n] = c_power[n, : degree + 3 - n]
            _multiply(c, c_power, degree, factor[slot], power[slot])
            degree += 1
    z, z_power = np.zeros((2, k + 1)), np.zeros((2, k + 1), dtype=np.int64)
    h, h_power = np.zeros((2, k + 1)), np.zeros((2, k + 1), dtype=np.int64)
    factorial, factorial_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    _sources(q, q_power, z, z_power, factorial, factorial_power)
    for n in range(k + 1):
        h[0, n], h_power[0, n] = dot(c[n + 1], c_power[n + 1], 1, 1, z[1], z_power[1], 0, k + 1 - n)
        h[1, n], h_power[1, n] = dot(c[:, n + 1], c_power[:, n + 1], 1, 1, z[0], z_power[0], 0, k + 1 - n)
    total, top = dot(z[0], z_power[0], 0, 1, h[0], h_power[0], 0, k + 1)
    if not total > 0.0:
        by_x[:], by_mean[:], by_share[:] = math.nan, math.nan, math.nan
        return -math.inf
    if want_gradient:
        for kind in range(2):
            by_x[kind, 0], by_x_power[kind, 0] = 1.0, 0
            for n in range(k + 1):  # n! dS / dz_n / S
                value = factorial[n] * h[kind, n] / total
                h[kind, n], h_power[kind, n] = scaled(value, factorial_power[n] + h_power[kind, n] - top)
            for m in range(1, k + 1):
                by_x[kind, m], by_x_power[kind, m] = dot(
                    h[kind], h_power[kind], m, 1, q[kind], q_power[kind], 0, k + 1 - m
                )
        for n in range(k + 1):  # from here on c are the derivatives of log S by the coefficients
            for j in range(k + 1 - n):
                value, shift = z[0, n] * z[1, j] / total, z_power[0, n] + z_power[1, j] - top
                c[n + 1, j + 1], c_power[n + 1, j + 1] = scaled(value, shift)
        by_mean[:], by_share[:] = 0.0, 0.0
        for slot in range(len(used) - 1, -1, -1):
            e = used[slot]
            for number in range(counts[e]):
                degree -= 1
                if number == 0:
                    by_mean[e] = counts[e] * _by_factor(c, c_power, kept[slot], kept_power[slot], degree, 0, 0)
                    by_share[0, e] = counts[e] * _by_factor(c, c_power, kept[slot], kept_power[slot], degree, 1, 0)
                    by_share[1, e] = counts[e] * _by_factor(c, c_power, kept[slot], kept_power[slot], degree, 0, 1)
                _back(c, c_power, degree, factor[slot], power[slot])
    return math.log(total) + top * LOG_2
