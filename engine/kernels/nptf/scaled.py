"""The recursion of `recursion` for one pixel whose numbers leave the range of float64.

The q_n rise and fall by hundreds of powers of ten, but neighbours are alike: blocks of them share one power of 2
(`_by_blocks`), and all but a multiplication for each pair of blocks is plain floating point. Where even neighbours
are too far apart, as next to sources of exactly one hundred photons, each number carries a power of its own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.policy import COMPILE

LOWEST = -2000  # power of 2 of which no mantissa is a float64
ZERO_POWER = -(10**9)  # power of 2 that stands for zero: below any that occurs, and twice it still fits 32 bits
POWERS = np.append(0.5 ** np.arange(256), 0.0)  # a term below 2^-255 of the largest one adds nothing
USUAL = 900  # powers of 2 up to which a weight is a number by itself
TWO_TO = np.ldexp(1.0, np.arange(-USUAL, USUAL + 1))
LOG_2 = math.log(2.0)
BLOCK = 16  # q_n that share a power of 2
#: Range of q_n in units of their block, and largest y_m and ratio of the units of two blocks: what is lost to underflow
#: is then below 2^-100 of any q_n.
NARROW, LARGEST = 2.0**300, 2.0**200


@njit(**COMPILE)
def scaled(value: float, power: int) -> tuple[float, int]:
    """value * 2^power as a mantissa in [0.5, 1) and a power of 2."""
    mantissa, shift = math.frexp(value)
    return mantissa, power + shift if mantissa != 0.0 else ZERO_POWER


@njit(**COMPILE)
def add_product(y: Floats, y_power: Whole, m: int, a: float, b: float) -> None:
    """Add a * b to y[m] * 2^y_power[m]; neither the product nor the sum needs to be in the range of float64."""
    of_a, a_power = math.frexp(a)
    of_b, b_power = math.frexp(b)
    product, power = scaled(of_a * of_b, a_power + b_power)
    top = max(power, y_power[m])
    here, more = min(top - y_power[m], POWERS.size - 1), min(top - power, POWERS.size - 1)
    y[m], y_power[m] = scaled(y[m] * POWERS[here] + product * POWERS[more], top)


@njit(**COMPILE)
def _scaled_dot(n: int, a: Floats, a_power: Whole, q: Floats, q_power: Whole, divisor: float) -> tuple[float, int]:
    """(1 / divisor) sum_{m=1..n} a[m] q[n - m] for numbers that are each a mantissa times a power of 2."""
    top = 2 * ZERO_POWER
    for m in range(1, n + 1):
        top = max(top, a_power[m] + q_power[n - m])
    total = 0.0
    if top > ZERO_POWER:
        for m in range(1, n + 1):
            total += a[m] * q[n - m] * POWERS[min(top - a_power[m] - q_power[n - m], POWERS.size - 1)]
    return scaled(total / divisor, top)


@njit(**COMPILE)
def _by_blocks(k: int, y: Floats, q: Floats, q_power: Whole) -> bool:
    """Fill q_n = q[n] * 2^q_power[n] from y (k + 1,); False where the q_n of a block are too far apart."""
    power = np.zeros(k // BLOCK + 1, dtype=np.int64)
    falling = y[::-1].copy()  # y_{n-i} is falling[k - n + i]
    own = np.zeros(k + 1)  # the q_n so far in units of the latest block: one long sum for each n
    for m in range(1, k + 1):
        if y[m] > LARGEST:
            return False
    q[0] = own[0] = 1.0
    for n in range(1, k + 1):
        place, total = falling[k - n :], 0.0
        for i in range(n):
            total += own[i] * place[i]
        total /= n
        block = n // BLOCK
        if n == block * BLOCK:  # the first of a block chooses its power
            if not (total > 0.0 and total < math.inf):
                return False
            total, shift = math.frexp(total)
            power[block] = power[block - 1] + shift
            for other in range(block):
                factor = math.ldexp(1.0, power[other] - power[block])
                if factor > NARROW:
                    return False
                for i in range(other * BLOCK, (other + 1) * BLOCK):
                    own[i] = factor * q[i]
        if not (total >= 1.0 / NARROW and total <= NARROW):
            return False
        q[n] = own[n] = total
    for n in range(k + 1):
        q[n], q_power[n] = scaled(q[n], power[n // BLOCK])
    return True


@njit(**COMPILE)
def scaled_recursion(k: int, y: Floats, y_power: Whole, q: Floats, q_power: Whole) -> bool:
    """Fill q_n = q[n] * 2^q_power[n] (k + 1,); False where a y is negative, infinite or NaN.

    Args:
        k: the last n. y, y_power (k + 1,): m x_m = y[m] * 2^y_power[m], as `add_product` leaves them.
    """
    plain = np.zeros(k + 1)  # what underflows here is nothing beside blocks that are narrow
    for m in range(1, k + 1):
        plain[m] = math.ldexp(y[m], max(y_power[m], LOWEST))
        if not (y[m] >= 0.0 and plain[m] < math.inf):  # NaN too
            return False
    if _by_blocks(k, plain, q, q_power):
        return True
    q[0], q_power[0] = 0.5, 1
    for n in range(1, k + 1):
        q[n], q_power[n] = _scaled_dot(n, y, y_power, q, q_power, n)
    return True


@njit(**COMPILE)
def scaled_pixel(k: int, y: Floats, y_power: Whole, weight: Floats, weight_power: Whole) -> float:
    """log q_k of one pixel in the whole range of float64 and beyond, from m x_m = y[m] * 2^y_power[m] (k + 1,), k >= 1.

    Fills d log p_k / d x_m = weight[m] * 2^weight_power[m] for m >= 1.
    """
    q, q_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    if not scaled_recursion(k, y, y_power, q, q_power):
        weight[:] = math.nan
        return math.nan
    for m in range(1, k + 1):
        weight[m] = q[k - m] / q[k] if q[k] > 0.0 else math.nan
        weight_power[m] = q_power[k - m] - q_power[k]
    return math.log(q[k]) + q_power[k] * LOG_2 if q[k] > 0.0 else -math.inf


@njit(**COMPILE)
def scaled_gradient(k: int, scale: float, weight: Floats, weight_power: Whole, x: Floats, d_x: Floats) -> float:
    """Add scale d log p_k / d x_m to d_x[m], from the weights of `scaled_pixel`; return sum_m x_m d log p_k / d x_m."""
    total = x[0]
    d_x[0] += scale
    for m in range(1, k + 1):
        power = weight_power[m]
        if -USUAL <= power <= USUAL:
            there = weight[m] * TWO_TO[power + USUAL]
            d_x[m] += scale * there
            total += x[m] * there
        else:  # neither factor alone needs to be in range
            d_x[m] += math.ldexp(scale * weight[m], power)
            mantissa, own = math.frexp(x[m])
            total += math.ldexp(mantissa * weight[m], own + power)
    return total
