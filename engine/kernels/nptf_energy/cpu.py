"""Numba kernel of the joint likelihood: value and gradient in one pass.

With q_n of `nptf.recursion` for the sources alone (their photons in all bins), and for a pixel with counts k_e, K in
all, and means mu_e, M in all,

    P = exp(x_0 - M) / prod_e k_e!  S,     S = sum_{n=0..K} n! q_n c_n,     sum_n c_n t^n = prod_e (mu_e + phi_e t)^k_e

Every term is positive. The gradient, of the same order of cost:

    dS/dx_m = sum_{n>=m} n! c_n q_{n-m},      dS/dc_n = n! q_n

and from dS/dc back through the products of the factors b_e(t) = (mu_e + phi_e t)^k_e / k_e!: with c = a b,
dS/da_n = sum_j b_j dS/dc_{n+j} and dS/db_j = sum_n a_n dS/dc_{n+j}; a factor's own are
mu_e dS/dmu_e = sum_j (k_e - j) b_j dS/db_j and phi_e dS/dphi_e = sum_j j b_j dS/db_j.

Strips of `WIDTH` pixels run side by side as in `nptf.cpu`. So that nothing leaves the range of float64, t is measured
in units of K / e, where n! (e / K)^n stays near one, and means in units of lambda = e (M + K / e) / K, where the
product of all factors does. What leaves the range all the same is done again pixel by pixel in `scaled`.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.elementary import logarithm
from gammasky.engine.kernels.nptf.lanes import add_scaled, add_terms, all_between, collect, convolve, convolve_four
from gammasky.engine.kernels.nptf.plan import CHUNKS, LANES
from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf_energy.lanes import (
    binomials,
    clear,
    correlate_four,
    dot_rows,
    moments,
    multiply_four,
    powers,
    times_rows,
)
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.nptf_energy.rows import PAD, Rows, load, rows_for
from gammasky.engine.kernels.nptf_energy.scaled import scaled_pixel
from gammasky.engine.kernels.policy import COMPILE, SAFE_HIGH
from gammasky.engine.kernels.threads import run_tasks, thread_count
from gammasky.engine.kernels.vectors import WIDTH

TASKS_PER_THREAD = 4
SMALLEST = 1e-90  # of S: what underflowed among its terms is less than 1e-108
VANISHING = 1e-290  # a mean or share whose inverse might not be a float64: all but one term of its derivative vanish


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
    """The coefficients of (mu + phi t)^k / k! up to the largest count of the strip in the bin."""
    factor, mean, phi, count = at.factor + e * at.step, at.mean + e, at.phi + e, at.photons + e
    powers(work, at.mean_power, mean, at.inverse, most)
    least = math.inf
    for lane in range(WIDTH):
        first = work[at.mean_power + int(work[count, lane]), lane]
        work[factor, lane] = first
        least = min(least, first)
    if least >= SMALLEST:
        binomials(work, factor, mean, phi, count, at.inverse, most)
        return
    powers(work, at.phi_power, phi, at.inverse, most)
    for lane in range(WIDTH):
        k = int(work[count, lane])
        for j in range(most + 1):
            product = work[at.phi_power + j, lane] * work[at.mean_power + max(k - j, 0), lane]
            work[factor + j, lane] = product if j <= k else 0.0


@njit(**COMPILE)
def _polynomial(bins: int, k: int, work: Floats, at: Rows, most: Whole, degree: Whole) -> None:
    """Fill factors and products of a strip, and the degree of each product; no lane has more photons than k."""
    degree[0] = 0
    clear(work, at.product + 1)
    for lane in range(WIDTH):
        work[at.product, lane] = 1.0
    for e in range(bins):
        largest = 0.0
        for lane in range(WIDTH):
            largest = max(largest, work[at.photons + e, lane])
        most[e], before, after = int(largest), at.product + e * at.wide, at.product + (e + 1) * at.wide
        degree[e + 1] = min(degree[e] + most[e], k)
        if most[e] == 0:
            work[after : after + degree[e] + 1 + PAD] = work[before : before + degree[e] + 1 + PAD]
            continue
        _one_bin(e, most[e], work, at)
        for n in range(0, degree[e + 1] + 1, 4):
            first, last = max(n - degree[e], 0), min(most[e], n + 3)
            multiply_four(work, after, n, before, at.factor + e * at.step, first, last)
        clear(work, after + degree[e + 1] + 1)


@njit(**COMPILE)
def _weights(k: int, work: Floats, at: Rows) -> None:
    """n! (e / k)^n for n = 0 .. k."""
    weight = 1.0
    for n in range(k + 1):
        for lane in range(WIDTH):
            work[at.weight + n, lane] = weight
        weight *= (n + 1.0) * math.e / max(k, 1)


@njit(**COMPILE)
def _value(k: int, c: int, work: Floats, at: Rows) -> bool:
    """Fill `back` with dS/dc and `scale` with S; whether that is in the safe range in every lane."""
    times_rows(work, at.back, at.weight, at.q, k)
    dot_rows(work, at.scale, at.back, c, k)
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
def _by_bins(bins: int, k: int, most: Whole, degree: Whole, work: Floats, at: Rows) -> None:
    """Fill `found` with dS/dmu_e and dS/dphi_e of every bin, from the last one back."""
    back, following, above = at.back, at.next, k
    clear(work, back + k + 1)
    for e in range(bins - 1, -1, -1):
        before, factor, found = at.product + e * at.wide, at.factor + e * at.step, at.found + 2 * e
        if most[e] == 0:
            work[found : found + 2] = 0.0
            continue
        for j in range(0, most[e] + 1, 4):
            correlate_four(work, at.d_factor, 1, j, back, before, min(degree[e], above - j))
        moments(work, found, at.d_factor, factor, at.photons + e, most[e])
        _derivatives(e, work, at)
        if degree[e] > 0:
            for n in range(0, degree[e] + 1, 4):
                correlate_four(work, following, 1, n, back, factor, min(most[e], above - n))
            clear(work, following + degree[e] + 1)
            back, following, above = following, back, degree[e]


@njit(**COMPILE)
def _derivatives(e: int, work: Floats, at: Rows) -> None:
    """From mu dS/dmu and phi dS/dphi of a bin to the derivatives."""
    found = at.found + 2 * e
    for lane in range(WIDTH):
        k, mu, phi = int(work[at.photons + e, lane]), work[at.mean + e, lane], work[at.phi + e, lane]
        if k == 0:
            work[found, lane], work[found + 1, lane] = 0.0, 0.0
            continue
        work[found, lane] /= mu
        work[found + 1, lane] /= phi
        if mu < VANISHING or phi < VANISHING:
            by_mean, by_phi = work[at.d_factor + k - 1, lane], work[at.d_factor + 1, lane]
            for n in range(1, k):
                by_mean, by_phi = by_mean * phi / n, by_phi * mu / n
            work[found, lane] = by_mean if mu < VANISHING else work[found, lane]
            work[found + 1, lane] = by_phi if phi < VANISHING else work[found + 1, lane]


@njit(**COMPILE)
def _gradient(
    strips: Whole, strip: int, k: int, unit: float, most: Whole, degree: Whole, x: Floats, row: int, stride: int,
    cotangent: Floats, d_mean: Floats, d_templates: Floats, d_shares: Floats, work: Floats, at: Rows,
) -> None:  # fmt: skip
    """Gradient of a strip; d/dX and d/dphi are added to those of its region."""
    populations, bins = len(d_templates), len(d_mean)
    times_rows(work, at.h, at.weight, at.product + bins * at.wide, k)
    clear(work, at.h + k + 1)
    for m in range(0, k + 1, 4):
        correlate_four(work, at.w + k, -1, m, at.h, at.q, k - m)
    _by_bins(bins, k, most, degree, work, at)
    for lane in range(WIDTH):
        pixel = strips[strip, lane]
        factor = cotangent[pixel] if pixel >= 0 else 0.0
        work[at.scale, lane] = factor / work[at.scale, lane]
        scale = work[at.scale, lane] / work[at.units, lane]
        for e in range(bins):
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
    first: int, last: int, strips: Whole, region: Whole, counts: Whole, bins: Whole,
    mean: Floats, templates: Floats, x: Floats, spectrum: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, d_x: Floats, d_spectrum: Floats, work: Floats, at: Rows,
    want_gradient: bool,
) -> None:  # fmt: skip
    """The groups first .. last - 1 at one parameter point; x has its axes joined, d_x is (I, R, M + 1)."""
    regions, terms = d_x.shape[1:]
    tops, degree, weighted = np.zeros(len(bins), dtype=np.int64), np.zeros(len(bins) + 1, dtype=np.int64), -1
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
            load(strips, strip, counts, bins, mean, templates, shares, unit, work, at)
            good = all_between(work, at.mean, at.phi + len(bins) - 1, 0.0, math.inf)
            good = good and _sources(k, x, row, stride, len(templates), work, at)
            _polynomial(len(bins), k, work, at, tops, degree)
            if k != weighted:
                _weights(k, work, at)
                weighted = k
            if not (good and _value(k, at.product + len(bins) * at.wide, work, at)):
                _one_by_one(
                    strips, strip, bins, mean, templates, x, row, stride, shares, cotangent, log_p, d_mean,
                    d_templates, d_shares, work, at, want_gradient,
                )  # fmt: skip
                continue
            _log_p(strips, strip, x, row, stride, len(templates), log_p, work, at)
            if want_gradient:
                _gradient(
                    strips, strip, k, unit, tops, degree, x, row, stride, cotangent, d_mean, d_templates, d_shares,
                    work, at,
                )  # fmt: skip
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
    totals, most = plan.totals, 0
    for own in range(len(totals.counts)):
        for group in range(totals.chunks[own, chunk], totals.chunks[own, chunk + 1]):
            most = max(most, totals.group_counts[own, group])
    work, at = rows_for(most, templates.shape[1], plan.bins.shape[1])
    for b in range(first, last):
        own = b * len(totals.counts) // len(mean)
        _groups(
            totals.chunks[own, chunk], totals.chunks[own, chunk + 1], strips[own], totals.group_region[own],
            totals.counts[own], plan.bins[own], mean[b], templates[b], x[b], spectrum[b],
            cotangent[b], log_p[b], d_mean[b], d_templates[b], partial[chunk, b], partial_spectrum[chunk, b],
            work, at, want_gradient,
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
