"""Numba kernel of the joint likelihood: value and gradient in one pass.

With q_n of `nptf.recursion` for the sources alone (their photons in all bins), and for a pixel with counts k_e, K in all,

    P = exp(x_0 - M) / prod_e k_e!  S,     S = sum_{n=0..K} n! q_n c_n,     sum_n c_n t^n = prod_e (mu_e + phi_e t)^k_e

(M the sum of the means mu_e). Every term is positive. The gradient, of the same order of cost:

    dS/dx_m = sum_{n>=m} n! c_n q_{n-m}
    dS/dmu_e = k_e sum_n n! q_n d_n,   dS/dphi_e = k_e sum_n (n + 1)! q_{n+1} d_n,   d(t) = c(t) / (mu_e + phi_e t)

Strips of `WIDTH` pixels run side by side as in `nptf.cpu`. So that nothing leaves the range of float64, t is measured in
units of K / e, where n! (e / K)^n stays near one, and each factor in units in which its power is of order k_e!. What
leaves the range all the same is done again pixel by pixel in `scaled`.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from gammasky.engine.kernels.elementary import logarithm
from gammasky.engine.kernels.nptf.lanes import add_scaled, add_terms, all_between, collect, convolve, convolve_four
from gammasky.engine.kernels.nptf.plan import CHUNKS, LANES
from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf_energy.lanes import (
    correlate_four,
    divide,
    dot_rows,
    multiply_four,
    powers,
    times_rows,
)
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.nptf_energy.scaled import scaled_pixel
from gammasky.engine.kernels.policy import COMPILE, SAFE_HIGH
from gammasky.engine.kernels.threads import run_tasks, thread_count
from gammasky.engine.kernels.vectors import WIDTH, rows_of

TASKS_PER_THREAD = 4
SMALLEST = 1e-90  # of S: what underflowed among its terms is less than 1e-108
VANISHING = 1e-150  # a mean or share, in its own units, that adds nothing to any coefficient


class Rows(NamedTuple):
    """Where in the array `work` (rows, WIDTH) the numbers of a strip begin; K is the largest total count of a chunk.

    Attributes:
        y, q: y_m = m x_m and q_n; `step` rows each, as many as K asks for.
        inverse: 1 / n; weight: n! (e / K)^n of the strip.
        d_x: d/dX of the region, lane by lane, `step` rows for each population; zero between regions.
        template, slope: of the pixels, and d log p / d template; one row for each population.
        c, other: coefficients of the polynomial and room for the next; `step` zeros before, 4 rows after.
        factor, mean_power, phi_power: coefficients of one bin; mean^n / n! and phi^n / n!.
        z, h: weight q and weight c, which has 4 rows after; w: dS/dx_m, the last first, 4 rows before.
        quotient: c(t) / (mean + phi t).
        mean, phi, by_mean, by_phi, count, units: of each bin; found: two sums of each.
        total, scale: one row each.
    """

    y: int
    q: int
    inverse: int
    weight: int
    d_x: int
    template: int
    slope: int
    c: int
    other: int
    factor: int
    mean_power: int
    phi_power: int
    z: int
    h: int
    w: int
    quotient: int
    mean: int
    phi: int
    by_mean: int
    by_phi: int
    count: int
    units: int
    found: int
    total: int
    scale: int
    step: int


@njit(**COMPILE)
def rows_for(largest: int, populations: int, bins: int) -> tuple[Floats, Rows]:
    """`work` for total counts up to `largest`, and its rows."""
    step = max(largest, 1) + 1
    template = (4 + populations) * step
    slope = template + populations
    c = slope + populations + step
    other = c + step + 4 + step
    factor = other + step + 4
    z = factor + 3 * step
    h = z + step
    w = h + step + 4 + 4
    quotient = w + step
    mean = quotient + step
    total = mean + 8 * bins
    at = Rows(
        0, step, 2 * step, 3 * step, 4 * step, template, slope, c, other, factor, factor + step, factor + 2 * step,
        z, h, w, quotient, mean, mean + bins, mean + 2 * bins, mean + 3 * bins, mean + 4 * bins, mean + 5 * bins,
        mean + 6 * bins, total, total + 1, step,
    )  # fmt: skip
    work = rows_of(total + 2)
    for n in range(1, step):
        work[at.inverse + n] = 1.0 / n
    return work, at


@njit(**COMPILE)
def _load(
    strips: Whole, strip: int, bins: Whole, mean: Floats, templates: Floats, shares: Floats, unit: float, work: Floats,
    at: Rows,
) -> None:  # fmt: skip
    """Gather what a strip needs; each bin in units lambda = e (mu + unit phi) / k. `total` receives the logarithm of
    what these leave out, - M + sum_e k_e log lambda_e. A lane that is not used repeats the first pixel."""
    for lane in range(WIDTH):
        pixel = strips[strip, lane] if strips[strip, lane] >= 0 else strips[strip, 0]
        for i in range(templates.shape[0]):
            work[at.template + i, lane] = templates[i, pixel]
        work[at.total, lane] = 0.0
        for e in range(len(bins)):
            k, mu, phi = bins[e, pixel], mean[e, pixel], unit * shares[e]
            size = mu + phi
            units = math.e * size / k if k > 0 and size > 0.0 else 1.0
            work[at.total, lane] += (k * logarithm(units) if k > 0 else 0.0) - mu
            mu, phi = mu / units, phi / units
            work[at.mean + e, lane], work[at.phi + e, lane], work[at.count + e, lane] = mu, phi, k
            work[at.by_mean + e, lane] = 1.0 / mu if mu > VANISHING else 0.0
            work[at.by_phi + e, lane] = 1.0 / phi if phi > VANISHING else 0.0
            work[at.units + e, lane] = units


@njit(**COMPILE)
def _sources(k: int, x: Floats, row: int, stride: int, populations: int, work: Floats, at: Rows) -> bool:
    """Fill q up to k for the sources alone; False where a y is negative, a q too large, or NaN."""
    for m in range(1, k + 1):
        for lane in range(WIDTH):
            work[at.y + m, lane] = 0.0
    for lane in range(WIDTH):
        work[at.q, lane] = 1.0
    if k == 0:
        return True
    for i in range(populations):
        add_terms(work, at.y, k, x, row + i * stride, at.template + i)
    if not all_between(work, at.y + 1, at.y + k, 0.0, math.inf):
        return False
    single = (k + 3) % 4 + 1  # 1 to 4, then whole fours
    for n in range(1, single + 1):
        convolve(work, at.q, at.y, at.inverse, n)
    for n in range(single + 1, k, 4):
        convolve_four(work, at.q, at.y, at.inverse, n)
    return bool(all_between(work, at.q, at.q + k, 0.0, SAFE_HIGH))


@njit(**COMPILE)
def _one_bin(e: int, most: int, work: Floats, at: Rows) -> None:
    """`factor` receives the coefficients of (mu + phi t)^k / k! up to the largest count of the strip in the bin."""
    powers(work, at.mean_power, at.mean + e, at.inverse, most)
    powers(work, at.phi_power, at.phi + e, at.inverse, most)
    for lane in range(WIDTH):
        k = int(work[at.count + e, lane])
        for j in range(k + 1):
            work[at.factor + j, lane] = work[at.phi_power + j, lane] * work[at.mean_power + k - j, lane]
        for j in range(k + 1, most + 1):
            work[at.factor + j, lane] = 0.0


@njit(**COMPILE)
def _most(e: int, work: Floats, at: Rows) -> int:
    """The largest count of the strip in a bin."""
    most = 0.0
    for lane in range(WIDTH):
        most = max(most, work[at.count + e, lane])
    return int(most)


@njit(**COMPILE)
def _polynomial(bins: int, k: int, work: Floats, at: Rows) -> int:
    """Multiply the factors of all bins; where the coefficients 0 .. k begin."""
    c, other, degree = at.c, at.other, 0
    work[c : c + 5] = 0.0
    work[c] = 1.0
    for e in range(bins):
        most = _most(e, work, at)
        if most == 0:
            continue
        _one_bin(e, most, work, at)
        product = min(degree + most, k)  # no lane has more photons than k
        for n in range(0, product + 1, 4):
            multiply_four(work, other, n, c, at.factor, max(n - degree, 0), min(most, n + 3))
        work[other + product + 1 : other + product + 5] = 0.0
        c, other, degree = other, c, product
    return c


@njit(**COMPILE)
def _value(k: int, unit: float, c: int, work: Floats, at: Rows) -> bool:
    """Fill z and `scale` with S; whether that is in the safe range in every lane."""
    weight = 1.0
    for n in range(k + 1):
        work[at.weight + n] = weight
        weight *= (n + 1.0) / unit
    times_rows(work, at.z, at.weight, at.q, k)
    dot_rows(work, at.scale, at.z, c, k)
    return bool(all_between(work, at.scale, at.scale, SMALLEST, math.inf))


@njit(**COMPILE)
def _log_p(
    strips: Whole, strip: int, x: Floats, row: int, stride: int, populations: int, log_p: Floats, work: Floats,
    at: Rows,
) -> None:  # fmt: skip
    """log p of a strip whose S is in the safe range."""
    for i in range(populations):
        add_scaled(work, at.total, x[row + i * stride], at.template + i)
    for lane in range(WIDTH):
        if strips[strip, lane] >= 0:
            log_p[strips[strip, lane]] = work[at.total, lane] + logarithm(work[at.scale, lane])


@njit(**COMPILE)
def _gradient(
    strips: Whole, strip: int, k: int, unit: float, c: int, x: Floats, row: int, stride: int, cotangent: Floats,
    d_mean: Floats, d_templates: Floats, d_shares: Floats, work: Floats, at: Rows,
) -> None:  # fmt: skip
    """Gradient of a strip; d/dX and d/dphi are added to those of its region."""
    populations, bins = len(d_templates), len(d_mean)
    times_rows(work, at.h, at.weight, c, k)
    work[at.h + k + 1 : at.h + k + 5] = 0.0
    for m in range(0, k + 1, 4):
        correlate_four(work, at.w + k, m, at.h, at.q, k - m)
    for e in range(bins):
        if _most(e, work, at) > 0:
            divide(work, at.quotient, c, at.z, k, at.count + e, at.mean + e, at.phi + e, at.by_mean + e,
                   at.by_phi + e, at.found + 2 * e)  # fmt: skip
        else:
            work[at.found + 2 * e : at.found + 2 * e + 2] = 0.0
    for lane in range(WIDTH):
        pixel = strips[strip, lane]
        factor = cotangent[pixel] if pixel >= 0 else 0.0
        work[at.scale, lane] = factor / work[at.scale, lane]
        for e in range(bins):
            scale = work[at.scale, lane] / work[at.units + e, lane]
            d_shares[e] += unit * scale * work[at.found + 2 * e + 1, lane]
            if pixel >= 0:
                d_mean[e, pixel] = scale * work[at.found + 2 * e, lane] - factor
    work[at.slope : at.slope + populations] = 0.0
    for i in range(populations):
        begin = row + i * stride
        collect(work, at.d_x + i * at.step, at.slope + i, at.w, k, at.scale, x, begin, at.template + i)
    for lane in range(WIDTH):
        if strips[strip, lane] >= 0:
            for i in range(populations):
                d_templates[i, strips[strip, lane]] = work[at.slope + i, lane]


@njit(**COMPILE)
def _one_by_one(
    strips: Whole, strip: int, bins: Whole, mean: Floats, templates: Floats, x: Floats, row: int, stride: int,
    shares: Floats, cotangent: Floats, log_p: Floats, d_mean: Floats, d_templates: Floats, d_shares: Floats,
    work: Floats, at: Rows, want_gradient: bool,
) -> None:  # fmt: skip
    """The pixels of a strip one by one, in the whole range of float64 and beyond."""
    populations = len(templates)
    for lane in range(WIDTH):
        pixel = strips[strip, lane]
        if pixel < 0:
            continue
        k = bins[:, pixel].sum()
        y, constant = np.zeros(k + 1), -mean[:, pixel].sum()
        for i in range(populations):
            begin = row + i * stride
            constant += templates[i, pixel] * x[begin]
            for m in range(1, k + 1):
                y[m] += m * x[begin + m] * templates[i, pixel]
        weight, power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
        by_mean, by_share = np.zeros(len(bins)), np.zeros(len(bins))
        log_s = scaled_pixel(bins[:, pixel], y, mean[:, pixel], shares, weight, power, by_mean, by_share)
        log_p[pixel] = constant + log_s
        if want_gradient:
            factor = cotangent[pixel]
            d_mean[:, pixel] = factor * (by_mean - 1.0)
            d_shares += factor * by_share
            for i in range(populations):
                begin, first = row + i * stride, at.d_x + i * at.step
                total = 0.0
                for m in range(k + 1):
                    slope = math.ldexp(factor * weight[m], power[m])
                    work[first + m, lane] += templates[i, pixel] * slope
                    total += x[begin + m] * slope
                d_templates[i, pixel] = total


@njit(**COMPILE)
def _groups(
    first: int, last: int, strips: Whole, region: Whole, largest: Whole, counts: Whole, bins: Whole,
    mean: Floats, templates: Floats, x: Floats, spectrum: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, d_x: Floats, d_spectrum: Floats, want_gradient: bool,
) -> None:  # fmt: skip
    """The groups first .. last - 1 at one parameter point; x has its axes joined, d_x is (I, R, M + 1)."""
    populations, regions, terms = d_x.shape
    most = 0
    for group in range(first, last):
        most = max(most, largest[group])
    work, at = rows_for(most, populations, len(bins))
    for group in range(first, last):
        row, stride = region[group] * terms, regions * terms
        shares, d_shares = spectrum[region[group]], d_spectrum[region[group]]
        for strip in range(group * (LANES // WIDTH), (group + 1) * (LANES // WIDTH)):
            if strips[strip, 0] < 0:
                break
            k = 0
            for lane in range(WIDTH):
                if strips[strip, lane] >= 0:
                    k = max(k, counts[strips[strip, lane]])
            unit = max(k, 1) / math.e
            _load(strips, strip, bins, mean, templates, shares, unit, work, at)
            good = _sources(k, x, row, stride, populations, work, at)
            c = _polynomial(len(bins), k, work, at)
            if not (good and _value(k, unit, c, work, at)):
                _one_by_one(
                    strips, strip, bins, mean, templates, x, row, stride, shares, cotangent, log_p, d_mean,
                    d_templates, d_shares, work, at, want_gradient,
                )  # fmt: skip
                continue
            _log_p(strips, strip, x, row, stride, populations, log_p, work, at)
            if want_gradient:
                _gradient(
                    strips, strip, k, unit, c, x, row, stride, cotangent, d_mean, d_templates, d_shares, work, at
                )
        if want_gradient and (group + 1 == last or region[group + 1] != region[group]):
            _sum_lanes(work, at, d_x[:, region[group]])


@njit(**COMPILE)
def _sum_lanes(work: Floats, at: Rows, found: Floats) -> None:
    """Write the sums over lanes of d/dX to found (I, M + 1), and make them zero again."""
    for i in range(len(found)):
        for m in range(at.step):
            if m >= found.shape[1]:
                break
            total = 0.0
            for lane in range(WIDTH):
                total += work[at.d_x + i * at.step + m, lane]
                work[at.d_x + i * at.step + m, lane] = 0.0
            found[i, m] = total


@njit(**COMPILE)
def _chunk(
    chunk: int, first: int, last: int, plan: JointPlan, strips: Whole,
    mean: Floats, templates: Floats, x: Floats, spectrum: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, partial: Floats, partial_spectrum: Floats,
    want_gradient: bool,
) -> None:  # fmt: skip
    """The groups of one chunk at the parameter points first .. last - 1.

    Args:
        strips (1 or B, strips, WIDTH): the lanes of the plan.
        x (B, all others): its other axes joined; the other arrays: of B points.
        partial (CHUNKS, B, I, R, M + 1), partial_spectrum (CHUNKS, B, R, E): receive d/dX and d/dphi.
    """
    totals = plan.totals
    for b in range(first, last):
        own = b * len(totals.counts) // len(mean)
        _groups(
            totals.chunks[own, chunk], totals.chunks[own, chunk + 1], strips[own], totals.group_region[own],
            totals.group_counts[own], totals.counts[own], plan.bins[own], mean[b], templates[b], x[b], spectrum[b],
            cotangent[b], log_p[b], d_mean[b], d_templates[b], partial[chunk, b], partial_spectrum[chunk, b],
            want_gradient,
        )  # fmt: skip


def evaluate(
    plan: JointPlan, log_p: Floats, mean: Floats, templates: Floats, x: Floats, spectrum: Floats,
    cotangent: Floats | None = None, gradient: tuple[Floats, Floats, Floats, Floats] | None = None,
) -> None:  # fmt: skip
    """Fill `log_p` and, if given, `gradient`, for B parameter points on all threads.

    Args:
        plan: layout of the P pixels, each array with one more leading axis of length 1 or B.
        log_p (B, P): receives log p of each pixel's counts.
        mean (B, E, P), templates (B, I, P), x (B, I, R, M + 1), spectrum (B, R, E): as of `op`; M is at least 1 and at
            least the largest total count.
        cotangent (B, P), gradient: what to multiply d log p with, and where the results go, in the shapes of mean,
            templates, x and spectrum (d/dx and d/dspectrum are summed over pixels).
    """
    batch = mean.shape[0]
    if plan.totals.group_counts.max(initial=0) >= x.shape[-1]:
        raise ValueError(f"a count of {plan.totals.group_counts.max()} is beyond x, which ends at {x.shape[-1] - 1}")
    d_mean, d_templates, d_x, d_spectrum = gradient or map(np.empty_like, (mean, templates, x, spectrum))
    partial, partial_spectrum = np.zeros((CHUNKS, *x.shape)), np.zeros((CHUNKS, *spectrum.shape))
    strips = plan.totals.lanes.reshape(len(plan.totals.lanes), -1, WIDTH)
    joined = x.reshape(batch, math.prod(x.shape[1:]))
    slices = min(batch, -(-TASKS_PER_THREAD * thread_count() // CHUNKS))

    def task(ticket: int) -> None:
        chunk, part = divmod(ticket, slices)
        first, last = part * batch // slices, (part + 1) * batch // slices
        _chunk(
            chunk, first, last, plan, strips, mean, templates, joined, spectrum,
            np.empty_like(log_p) if cotangent is None else cotangent,
            log_p, d_mean, d_templates, partial, partial_spectrum, gradient is not None,
        )  # fmt: skip

    run_tasks(task, CHUNKS * slices)
    partial.sum(axis=0, out=d_x)  # in the order of the chunks, whichever thread did them
    partial_spectrum.sum(axis=0, out=d_spectrum)
