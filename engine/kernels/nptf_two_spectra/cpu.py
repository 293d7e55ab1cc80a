"""Numba kernel of the joint likelihood with two spectra: value and gradient, pixel by pixel.

For a pixel with counts k_e, K in all,

    S = sum_{n, n'} z_n z'_n' c_{n n'},     sum c_{n n'} t^n t'^n' = prod_e (mu_e + phi_e t + phi'_e t')^k_e

with z_n = n! q_n of the photons of one kind of sources and z'_n of the other. The polynomial is multiplied out factor
by factor, K^3 / 6 terms. The gradient goes the same way back: with the derivative of S by the coefficients of a product
of some factors, that by those of the product with one factor less is a sum of three terms. All k_e factors of a bin
have the same part in the product, so the derivative by mu_e, phi_e and phi'_e is k_e times that by one of them, taken
where the last one is removed; the product before it is kept from the way forward.

Units: t is taken in units in which no z_n exceeds 1, and every factor is divided by the sum of its terms, so that the
coefficients are probabilities. S is then at most 1, but for a bright pixel it may be 1e-300: all three of its factors
are lifted by powers of 2 that make use of the whole range of float64, which does for all usual pixels up to a thousand
photons. What leaves the range all the same is done again in `scaled`, where each number carries a power of its own.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf.scaled import (
    LOG_2,
    LOWEST,
    ZERO_POWER,
    add_product,
    scaled,
    scaled_gradient,
    scaled_recursion,
)
from gammasky.engine.kernels.nptf_energy.scaled import dot
from gammasky.engine.kernels.nptf_two_spectra.scaled import scaled_pixel
from gammasky.engine.kernels.policy import COMPILE, SAFE_HIGH, SAFE_LOW
from gammasky.engine.kernels.threads import run_tasks

MOST_PHOTONS = 1000  # of all bins in a pixel
MODERATE = 300  # powers of 2 of numbers whose products with those of the safe range stay in that of float64
LIFT, LIFT_OF_SOURCES = 300, 350  # powers of 2 that coefficients, and z_n, are multiplied with
LIFT_OF_ALL = LIFT + 2 * LIFT_OF_SOURCES
#: Of S with its lifts, 2^-1130 without. The z_n and coefficients that underflow, below 2^-1322, add less than 2^-1280.
SMALLEST = 2.0**-130
PARTS = 16  # of the pixels, which threads share; results do not depend on the number of threads


@njit(**COMPILE)
def _recursion(k: int, y: Floats, q: Floats) -> bool:
    """Fill q_n (k + 1,) from y (k + 1,) = m x_m; False where one leaves the safe range, or a y is negative."""
    q[0] = 1.0
    for n in range(1, k + 1):
        if y[n] < 0.0:
            return False
        total = 0.0
        for m in range(1, n + 1):
            total += y[m] * q[n - m]
        q[n] = total / n
        if not SAFE_LOW < q[n] < SAFE_HIGH:
            return False
    return True


@njit(**COMPILE)
def _photons(
    k: int, y: Floats, y_power: Whole, q: Floats, q_power: Whole, r: Floats, r_power: Whole, z: Floats
) -> float:  # fmt: skip
    """The numbers of one kind of sources, from m x_m = y[m] * 2^y_power[m] (k + 1,).

    Fills q_n, r_n and z_n = q_n r_n (k + 1,), with r_n = n! / u^n, lifted, and the unit u for which the largest of
    n! q_n / u^n, n > 0, is about 1; without sources it is K / e, for which n! / u^n is. Returns log2 of the unit; NaN
    where a y is negative, infinite or NaN.
    """
    plain = np.zeros(k + 1)
    for m in range(1, k + 1):
        plain[m] = math.ldexp(y[m], max(y_power[m], LOWEST))
    if not _recursion(k, plain, q) and not scaled_recursion(k, y, y_power, q, q_power):
        return math.nan
    log_factorial, log_unit = 0.0, -1e300
    for n in range(1, k + 1):
        log_factorial += math.log2(n)
        if q[n] > 0.0:
            log_unit = max(log_unit, (math.log2(q[n]) + q_power[n] + log_factorial) / n)
    if log_unit < -1e299:  # no photon of these sources
        log_unit = math.log2(max(k, 1) / math.e)
    log_factorial = 0.0
    for n in range(k + 1):
        if n > 0:
            log_factorial += math.log2(n)
        exponent = log_factorial - n * log_unit + LIFT_OF_SOURCES
        whole = math.floor(exponent)
        r[n], r_power[n] = scaled(2.0 ** (exponent - whole), int(whole))
        z[n] = math.ldexp(q[n] * r[n], max(q_power[n] + r_power[n], -5000))
    return log_unit


@njit(**COMPILE)
def _multiply(c: Floats, degree: int, mu: float, phi: float, other: float) -> None:
    """Multiply the polynomial c, of that degree, by mu + phi t + other t', in place."""
    for n in range(degree + 1, -1, -1):
        row = c[n]
        if n > 0:
            before = c[n - 1]
            for j in range(degree + 1 - n, 0, -1):
                row[j] = mu * row[j] + other * row[j - 1] + phi * before[j]
            row[0] = mu * row[0] + phi * before[0]
        else:
            for j in range(degree + 1, 0, -1):
                row[j] = mu * row[j] + other * row[j - 1]
            row[0] = mu * row[0]


@njit(**COMPILE)
def _back(bar: Floats, degree: int, mu: float, phi: float, other: float) -> None:
    """From the derivatives by the coefficients of a product to those by its coefficients, of that degree, without the
    factor mu + phi t + other t', in place."""
    for n in range(degree + 1):
        row, after = bar[n], bar[n + 1]
        for j in range(degree + 1 - n):
            row[j] = mu * row[j] + other * row[j + 1] + phi * after[j]


@njit(**COMPILE)
def _by_factor(bar: Floats, before: Floats, degree: int) -> tuple[float, float, float]:
    """The derivatives of S by mu, phi and other of the last factor, from the product `before` it, of that degree."""
    by_mu = by_phi = by_other = 0.0
    for n in range(degree + 1):
        row, after, kept = bar[n], bar[n + 1], before[n]
        for j in range(degree + 1 - n):
            by_mu += row[j] * kept[j]
            by_other += row[j + 1] * kept[j]
            by_phi += after[j] * kept[j]
    return by_mu, by_phi, by_other


@njit(**COMPILE)
def _by_sources(
    k: int, h: Floats, r: Floats, r_power: Whole, q: Floats, q_power: Whole, total: float, found: Floats,
    found_power: Whole,
) -> None:  # fmt: skip
    """Fill found (k + 1,) with d log S / d x_m = sum_n h_n r_n q_{n - m} / S, of h_n = dS / dz_n, as mantissas and
    powers of 2; 1 for m = 0."""
    value, power, plain = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64), True
    for n in range(k + 1):
        value[n], power[n] = scaled(h[n] / total * r[n], r_power[n])
        plain = plain and q_power[n] == 0 and abs(power[n]) < MODERATE
    found[0], found_power[0] = 1.0, 0
    if plain:
        for n in range(k + 1):
            value[n] = math.ldexp(value[n], power[n])
        for m in range(1, k + 1):
            total_m = 0.0
            for n in range(m, k + 1):
                total_m += value[n] * q[n - m]
            found[m], found_power[m] = total_m, 0
        return
    for m in range(1, k + 1):
        found[m], found_power[m] = dot(value, power, m, 1, q, q_power, 0, k + 1 - m)


@njit(**COMPILE)
def _pixel(
    counts: Whole, y: Floats, y_power: Whole, mean: Floats, shares: Floats, by_x: Floats, by_x_power: Whole,
    by_mean: Floats, by_share: Floats, want_gradient: bool,
) -> float:  # fmt: skip
    """log S of one pixel.

    Args:
        counts (E,), mean (E,): of its bins. shares (2, E): the spectra.
        y, y_power (2, K + 1): m x_m of each kind, as mantissas and powers of 2.
        by_x, by_x_power (2, K + 1): receive d log S / d x_m, where it is wanted, as mantissas and powers of 2.
        by_mean (E,), by_share (2, E): receive the other derivatives.
    """
    k = counts.sum()
    q, q_power = np.zeros((2, k + 1)), np.zeros((2, k + 1), dtype=np.int64)
    r, r_power = np.zeros((2, k + 1)), np.zeros((2, k + 1), dtype=np.int64)
    z, unit = np.zeros((2, k + 1)), np.zeros(2)
    good = True
    for kind in range(2):
        unit[kind] = _photons(k, y[kind], y_power[kind], q[kind], q_power[kind], r[kind], r_power[kind], z[kind])
        good = good and not math.isnan(unit[kind])
    for e in range(len(counts)):
        good = good and 0.0 <= mean[e] < math.inf
        good = good and 0.0 <= shares[0, e] < math.inf and 0.0 <= shares[1, e] < math.inf
    if not good:
        by_x[:], by_mean[:], by_share[:] = math.nan, math.nan, math.nan
        return math.nan
    used = np.flatnonzero(counts)
    factor, log_scale = np.zeros((len(used), 3)), 0.0
    size = np.zeros(len(used))
    for slot in range(len(used)):
        # each of the three terms may leave the range of float64 in these units, their shares of the sum do not
        e, top = used[slot], -1e300
        for part in range(3):
            value = mean[e] if part == 0 else shares[part - 1, e]
            factor[slot, part] = math.log2(value) + (unit[part - 1] if part > 0 else 0.0) if value > 0.0 else -1e300
            top = max(top, factor[slot, part])
        for part in range(3):
            factor[slot, part] = 2.0 ** max(factor[slot, part] - top, -2000.0)
        total = factor[slot].sum()
        factor[slot] /= total
        size[slot] = top + math.log2(total)
        log_scale += counts[e] * size[slot]
    c, kept, degree = np.zeros((k + 2, k + 2)), np.zeros((len(used), k + 1, k + 1)), 0
    c[0, 0] = 2.0**LIFT
    for slot in range(len(used)):
        for number in range(counts[used[slot]]):
            if want_gradient and number + 1 == counts[used[slot]]:
                for n in range(degree + 1):
                    kept[slot, n, : degree + 1 - n] = c[n, : degree + 1 - n]
            _multiply(c, degree, factor[slot, 0], factor[slot, 1], factor[slot, 2])
            degree += 1
    h, total = np.zeros((2, k + 1)), 0.0
    for n in range(k + 1):
        for j in range(k + 1 - n):
            h[0, n] += c[n, j] * z[1, j]
            h[1, j] += c[n, j] * z[0, n]
        total += z[0, n] * h[0, n]
    if not (total > SMALLEST and log_scale > -1e299):  # a bin that nothing reaches has -1e300
        return scaled_pixel(counts, q, q_power, mean, shares, by_x, by_x_power, by_mean, by_share, want_gradient)
    if want_gradient:
        by_mean[:], by_share[:] = 0.0, 0.0
        for kind in range(2):
            _by_sources(k, h[kind], r[kind], r_power[kind], q[kind], q_power[kind], total, by_x[kind], by_x_power[kind])
        c[:] = 0.0  # from here on the derivatives of log S by the coefficients
        for n in range(k + 1):
            for j in range(k + 1 - n):
                c[n, j] = z[0, n] * z[1, j] / total
        for slot in range(len(used) - 1, -1, -1):
            e = used[slot]
            for number in range(counts[e]):
                degree -= 1
                if number == 0:
                    by_mu, by_phi, by_other = _by_factor(c, kept[slot], degree)
                    by_mean[e] = _unscaled(counts[e] * by_mu, -size[slot])
                    by_share[0, e] = _unscaled(counts[e] * by_phi, unit[0] - size[slot])
                    by_share[1, e] = _unscaled(counts[e] * by_other, unit[1] - size[slot])
                _back(c, degree, factor[slot, 0], factor[slot, 1], factor[slot, 2])
    return math.log(total) + (log_scale - LIFT_OF_ALL) * LOG_2


@njit(**COMPILE)
def _unscaled(value: float, log2: float) -> float:
    """value * 2^log2, neither of which needs to be in range alone."""
    whole = math.floor(log2)
    return math.ldexp(value * 2.0 ** (log2 - whole), int(min(max(whole, -5000.0), 5000.0)))


@njit(**COMPILE)
def _pixels(
    first: int, step: int, bins: Whole, region: Whole, log_factorial: Floats, kinds: Whole, mean: Floats,
    templates: Floats, x: Floats, spectra: Floats, cotangent: Floats, log_p: Floats, d_mean: Floats,
    d_templates: Floats, d_x: Floats, d_spectra: Floats, want_gradient: bool,
) -> None:  # fmt: skip
    """The pixels first, first + step, ... at one parameter point; d_x and d_spectra are added to."""
    n_bins, n_pixels = bins.shape
    by_mean, by_share = np.zeros(n_bins), np.zeros((2, n_bins))
    for pixel in range(first, n_pixels, step):
        counts, own, factor = bins[:, pixel].copy(), region[pixel], cotangent[pixel]
        k, constant = counts.sum(), -mean[:, pixel].sum()
        y, y_power = np.zeros((2, k + 1)), np.full((2, k + 1), ZERO_POWER)
        by_x, by_x_power = np.zeros((2, k + 1)), np.zeros((2, k + 1), dtype=np.int64)
        for i in range(len(kinds)):
            constant += templates[i, pixel] * x[i, own, 0]
            for m in range(1, k + 1):
                add_product(y[kinds[i]], y_power[kinds[i]], m, m * x[i, own, m], templates[i, pixel])
        log_s = _pixel(
            counts, y, y_power, mean[:, pixel], spectra[:, own], by_x, by_x_power, by_mean, by_share, want_gradient
        )
        log_p[pixel] = constant + log_s - log_factorial[pixel]
        if want_gradient:
            for e in range(n_bins):
                d_mean[e, pixel] = factor * (by_mean[e] - 1.0)
                d_spectra[0, own, e] += factor * by_share[0, e]
                d_spectra[1, own, e] += factor * by_share[1, e]
            for i in range(len(kinds)):
                weight, power = by_x[kinds[i]], by_x_power[kinds[i]]
                total = scaled_gradient(
                    k, factor * templates[i, pixel], weight, power, x[i, own, : k + 1], d_x[i, own, : k + 1]
                )
                d_templates[i, pixel] = factor * total


def evaluate(
    bins: Whole, region: Whole, log_factorial: Floats, kinds: Whole, log_p: Floats, mean: Floats, templates: Floats,
    x: Floats, spectra: Floats, cotangent: Floats | None = None,
    gradient: tuple[Floats, Floats, Floats, Floats] | None = None,
) -> None:  # fmt: skip
    """Fill `log_p` and, if given, `gradient`, for B parameter points on all threads.

    Args:
        bins (1 or B, E, P), region (1 or B, P), log_factorial (1 or B, P): of the P pixels. kinds (I,): 0 or 1.
        log_p (B, P): receives log p of each pixel's counts.
        mean (B, E, P), templates (B, I, P), x (B, I, R, M + 1), spectra (B, 2, R, E): as of `op`.
        cotangent (B, P), gradient: what to multiply d log p with, and where the results go, in the shapes of mean,
            templates, x and spectra (d/dx and d/dspectra are summed over pixels).
    """
    batch, want_gradient = mean.shape[0], gradient is not None
    totals = bins.sum(axis=1)
    most = int(totals.max(initial=0))
    if most >= x.shape[-1]:
        raise ValueError(f"a count of {most} is beyond x, which ends at {x.shape[-1] - 1}")
    d_mean, d_templates, d_x, d_spectra = gradient or map(np.empty_like, (mean, templates, x, spectra))
    by = log_p if cotangent is None else cotangent
    partial, partial_spectra = np.zeros((PARTS, *x.shape)), np.zeros((PARTS, *spectra.shape))

    def task(ticket: int) -> None:
        b, part = divmod(ticket, PARTS)
        own = b * len(bins) // batch
        _pixels(
            part, PARTS, bins[own], region[own], log_factorial[own], kinds, mean[b], templates[b], x[b], spectra[b],
            by[b], log_p[b], d_mean[b], d_templates[b], partial[part, b], partial_spectra[part, b], want_gradient,
        )  # fmt: skip

    run_tasks(task, batch * PARTS)
    partial.sum(axis=0, out=d_x)
    partial_spectra.sum(axis=0, out=d_spectra)
