"""Numba kernel of the joint likelihood: value and gradient in one pass.

With q_n of `nptf.recursion` for the sources alone (their photons in all bins), and for a pixel with counts k_e, K in
all, and means mu_e, M in all,

    P = exp(x_0 - M) / prod_e k_e!  S,     S = sum_{n=0..K} n! q_n c_n,     sum_n c_n t^n = prod_e (mu_e + phi_e t)^k_e

Every term is positive. The gradient, of the same order of cost:

    dS/dx_m = sum_{n>=m} n! c_n q_{n-m}
    dS/dmu_e = k_e sum_n n! q_n d_n,    dS/dphi_e = k_e sum_n (n + 1)! q_{n+1} d_n

with d(t) = c(t) / (mu_e + phi_e t), the product without one photon of the bin. A division c_n = mu d_n + phi d_{n-1} is
a difference, which loses digits where it takes the smaller of the two parts from c_n. So the d_n are worked out from
the lowest power up as long as mu d_n is the larger part, and from the highest down where phi d_{n-1} is: all factors
of c have real roots, so d_n / d_{n-1} falls with n, and the one range begins where the other ends. Errors do not grow.
Where c has underflowed at the end that a range begins with, what is lost there falls like 1 / s! within s steps, in
which c may grow as fast as the larger part of a factor is above the smaller: this is too few steps for means or shares
far below the other, whose gradient is left to `scaled`.

Strips of `WIDTH` pixels run side by side as in `nptf.cpu`. A pixel's bins without photons only add their means, so that
the bins that matter are gathered in slots, of each pixel its own. So that nothing leaves the range of float64, t is
measured in units of K / e, where n! (e / K)^n stays near one, and means in units of lambda = e (M + K / e) / K, where
the product of all factors does; with many photons each factor is brought near one. What leaves the range all the same
is done again pixel by pixel in `scaled`, by powers of 2.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit

from gammasky.engine.kernels.elementary import logarithm
from gammasky.engine.kernels.nptf.lanes import add_scaled, add_terms, all_between, collect, convolve, convolve_four
from gammasky.engine.kernels.nptf.plan import CHUNKS, LANES
from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf.scaled import ZERO_POWER, add_product, scaled_gradient
from gammasky.engine.kernels.nptf_energy.lanes import (
    VANISHING,
    binomials_two,
    clear,
    correlate_four,
    divide_down_two,
    divide_up_two,
    multiply_four,
    power_two,
    powers,
    times_rows,
    weigh,
)
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.nptf_energy.rows import MANY, Rows, Short, load, rows_for, weights
from gammasky.engine.kernels.nptf_energy.scaled import scaled_pixel
from gammasky.engine.kernels.policy import COMPILE, SAFE_HIGH
from gammasky.engine.kernels.threads import run_tasks, thread_count
from gammasky.engine.kernels.vectors import WIDTH

TASKS_PER_THREAD = 4
SMALLEST = 1e-90  # of S: what underflowed among its terms is less than 1e-108
LOST = 1e-290  # a coefficient of c below this may have lost digits to underflow
FAR = 1e-6  # ratio of the parts of a factor from which on c may get from LOST to what matters within fifteen steps


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
def _two_factors(slot: int, most: int, first: int, work: Floats, at: Rows) -> None:
    """The coefficients of (mu + phi t)^k / k! of a slot and the next one, from the row `first` and from `second` on, up
    to the larger of their largest counts, and zeros after."""
    mean, phi, count = at.mean + slot, at.phi + slot, at.photons + slot
    power_two(work, at.found, mean, count, at.inverse, most)
    if all_between(work, at.found, at.found + 1, SMALLEST, math.inf):
        binomials_two(work, first, at.second, at.found, mean, phi, count, at.inverse, most)
    else:
        _by_powers(mean, phi, count, most, first, work, at)
        _by_powers(mean + 1, phi + 1, count + 1, most, at.second, work, at)
    clear(work, first + most + 1)
    clear(work, at.second + most + 1)


@njit(**COMPILE)
def _by_powers(mean: int, phi: int, count: int, most: int, factor: int, work: Floats, at: Rows) -> None:
    """The coefficients of one slot, whatever its mean."""
    powers(work, at.mean_power, mean, at.inverse, most)
    powers(work, at.phi_power, phi, at.inverse, most)
    for lane in range(WIDTH):
        k = int(work[count, lane])
        for j in range(most + 1):
            product = work[at.phi_power + j, lane] * work[at.mean_power + max(k - j, 0), lane]
            work[factor + j, lane] = product if j <= k else 0.0


@njit(**COMPILE)
def _polynomial(slots: int, most: Whole, work: Floats, at: Rows) -> int:
    """The row where the coefficients c begin; most (E + 1,) are the largest total count, and that of each slot."""
    product, other, degree = at.product, at.other, 0
    if slots == 0:
        for lane in range(WIDTH):
            work[product, lane] = 1.0
        clear(work, product + 1)
        return product
    for slot in range(slots):
        largest, factor = most[slot + 1] if slot + 1 < len(most) else 0, at.second
        if slot % 2 == 0:
            factor = product if slot == 0 else at.factor
            _two_factors(slot, largest, factor, work, at)
        if slot == 0:
            degree = largest
        elif largest > 0:
            reach = min(degree + largest, most[0])
            for n in range(0, reach + 1, 4):
                multiply_four(work, other, n, product, factor, max(n - degree, 0), min(largest, n + 3))
            clear(work, other + reach + 1)
            product, other, degree = other, product, reach
    return product


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
def _can_divide(k: int, slots: int, c: int, work: Floats, at: Rows) -> bool:
    """Whether quotients of c, of degree k or less in each lane, can be worked out from its ends."""
    if all_between(work, c, c, LOST, math.inf) and all_between(work, c + k, c + k, LOST, math.inf):
        return True
    for lane in range(WIDTH):
        degree, low, high = 0.0, False, False
        for slot in range(slots):
            if work[at.photons + slot, lane] > 0.0:
                mean, phi = work[at.mean + slot, lane], work[at.phi + slot, lane]
                degree += work[at.photons + slot, lane]
                low = low or VANISHING <= mean < FAR * phi
                high = high or VANISHING <= phi < FAR * mean
        if (low and work[c, lane] < LOST) or (high and work[c + int(degree), lane] < LOST):
            return False
    return True


@njit(**COMPILE)
def _by_bins(
    pixels: Whole, used: int, k: int, slots: int, c: int, bins: Short, place: int, cotangent: Floats, d_mean: Floats,
    work: Floats, at: Rows,
) -> None:  # fmt: skip
    """The derivatives by means and shares of the bins that have photons, two slots at a time."""
    for slot in range(0, slots, 2):
        mean, phi = at.mean + slot, at.phi + slot
        divide_up_two(work, at.quotient, at.following, c, mean, phi, k - 1)
        divide_down_two(work, at.found, at.quotient, at.following, c, at.z, mean, phi, k - 1)
        for i in range(2):
            for lane in range(used):
                number, pixel = work[at.photons + slot + i, lane], pixels[lane]
                if number > 0.0:
                    e = bins[place + (slot + i) * LANES + lane]
                    scale = number * work[at.scale, lane] * work[at.units, lane]
                    if k > MANY:
                        scale *= work[at.gain + slot + i, lane]
                    d_mean[e, pixel] = scale * work[at.found + 2 * i, lane] - cotangent[pixel]
                    work[at.d_phi + e, lane] += scale * work[at.unit, lane] * work[at.found + 2 * i + 1, lane]


@njit(**COMPILE)
def _gradient(
    pixels: Whole, used: int, k: int, slots: int, c: int, bins: Short, place: int, x: Floats, row: int, stride: int,
    cotangent: Floats, d_mean: Floats, d_templates: Floats, work: Floats, at: Rows,
) -> None:  # fmt: skip
    """Gradient of a strip, whose first `used` lanes count; d/dX and d/dphi are added to those of its region."""
    populations = len(d_templates)
    times_rows(work, at.h, at.weight, c, k)
    clear(work, at.h + k + 1)
    clear(work, at.q + k + 1)
    for m in range(0, k + 1, 4):
        correlate_four(work, at.w + k, m, at.h, at.q, k - m)
    for lane in range(WIDTH):
        factor = cotangent[pixels[lane]] if lane < used else 0.0
        work[at.scale, lane] = factor / work[at.scale, lane]
    _by_bins(pixels, used, k, slots, c, bins, place, cotangent, d_mean, work, at)
    for i in range(populations):
        for lane in range(WIDTH):
            work[at.slope + i, lane] = 0.0
        begin = row + i * stride
        collect(work, at.d_x + i * at.step, at.slope + i, at.w, k, at.scale, x, begin, at.template + i)
        for lane in range(used):
            d_templates[i, pixels[lane]] = work[at.slope + i, lane]


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
        y, y_power, constant = np.zeros(k + 1), np.full(k + 1, ZERO_POWER), -mean[:, pixel].sum()
        for i in range(populations):
            begin = row + i * stride
            constant += templates[i, pixel] * x[begin]
            for m in range(1, k + 1):
                add_product(y, y_power, m, m * x[begin + m], templates[i, pixel])
        weight, power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
        by_mean, by_share = np.zeros(len(bins)), np.zeros(len(bins))
        log_s = scaled_pixel(bins[:, pixel], y, y_power, mean[:, pixel], shares, weight, power, by_mean, by_share)
        log_p[pixel] = constant + log_s
        if want_gradient:
            factor = cotangent[pixel]
            d_mean[:, pixel] = factor * (by_mean - 1.0)
            d_shares += factor * by_share
            for i in range(populations):
                begin, first = row + i * stride, at.d_x + i * at.step
                scale, d_x = factor * templates[i, pixel], work[first : first + k + 1, lane]
                total = scaled_gradient(k, scale, weight, power, x[begin : begin + k + 1], d_x)
                d_templates[i, pixel] = factor * total


@njit(**COMPILE)
def _groups(
    first: int, last: int, strips: Whole, region: Whole, bins: Whole, lane_bins: Short, lane_counts: Floats,
    most: Whole, mean: Floats, total: Floats, templates: Floats, x: Floats, spectrum: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, d_x: Floats, d_spectrum: Floats, work: Floats, at: Rows,
    want_gradient: bool,
) -> None:  # fmt: skip
    """The groups first .. last - 1 at one parameter point; x has its axes joined, d_x is (I, R, M + 1)."""
    regions, terms = d_x.shape[1:]
    pixels, weighted = np.zeros(WIDTH, dtype=np.int64), -1
    for group in range(first, last):
        row, stride = region[group] * terms, regions * terms
        shares, d_shares = spectrum[region[group]], d_spectrum[region[group]]
        whole = True
        for e in range(len(bins)):
            whole = whole and shares[e] >= 0.0 and shares[e] < math.inf
        for part in range(LANES // WIDTH):
            strip, used, good = group * (LANES // WIDTH) + part, 0, whole
            if strips[strip, 0] < 0:
                break
            for lane in range(WIDTH):
                pixel = strips[strip, lane]
                used += pixel >= 0
                pixels[lane] = pixel if pixel >= 0 else strips[strip, 0]  # what is not used repeats the first
                good = good and total[pixels[lane]] < math.inf
            k, place = most[strip, 0], group * len(bins) * LANES + part * WIDTH
            slots = load(pixels, lane_bins, lane_counts, place, most[strip], mean, total, templates, shares, work, at)
            good = good and _sources(k, x, row, stride, len(templates), work, at)
            c = _polynomial(slots, most[strip], work, at)
            if k != weighted or k > MANY:
                weights(k, work, at)
                weighted = k
            weigh(work, at.scale, at.z, at.weight, at.q, c, k)
            good = good and all_between(work, at.scale, at.scale, SMALLEST, math.inf)
            if not (good and (not want_gradient or _can_divide(k, slots, c, work, at))):
                _one_by_one(
                    strips, strip, bins, mean, templates, x, row, stride, shares, cotangent, log_p, d_mean,
                    d_templates, d_shares, work, at, want_gradient,
                )  # fmt: skip
                continue
            _log_p(strips, strip, x, row, stride, len(templates), log_p, work, at)
            if want_gradient:
                _gradient(
                    pixels, used, k, slots, c, lane_bins, place, x, row, stride, cotangent, d_mean, d_templates, work,
                    at,
                )  # fmt: skip
        if want_gradient and (group + 1 == last or region[group + 1] != region[group]):
            _sum_lanes(work, at, d_x[:, region[group]], d_shares)


@njit(**COMPILE)
def _sum_lanes(work: Floats, at: Rows, found: Floats, d_shares: Floats) -> None:
    """Write the sums over lanes of d/dX to found (I, M + 1), add those of d/dphi, and make both zero again."""
    for i in range(len(found)):
        for m in range(at.step):
            if m >= found.shape[1]:
                break
            total = 0.0
            for lane in range(WIDTH):
                total += work[at.d_x + i * at.step + m, lane]
                work[at.d_x + i * at.step + m, lane] = 0.0
            found[i, m] = total
    for e in range(len(d_shares)):
        for lane in range(WIDTH):
            d_shares[e] += work[at.d_phi + e, lane]
            work[at.d_phi + e, lane] = 0.0


@njit(**COMPILE)
def _chunks(
    b: int, first: int, last: int, plan: JointPlan, strips: Whole, mean: Floats, total: Floats,
    templates: Floats, x: Floats, spectrum: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, partial: Floats, partial_spectrum: Floats,
    want_gradient: bool,
) -> None:  # fmt: skip
    """The groups of the chunks first .. last - 1 at the parameter point b.

    Args:
        strips (1 or B, strips, WIDTH): the lanes of the plan.
        total (B, P): sums of the means over bins.
        x (B, all others): its other axes joined; the other arrays: of B points.
        partial (CHUNKS, B, I, R, M + 1), partial_spectrum (CHUNKS, B, R, E): receive d/dX and d/dphi.
    """
    totals, most = plan.totals, 0
    own = b * len(totals.counts) // len(mean)
    for group in range(totals.chunks[own, first], totals.chunks[own, last]):
        most = max(most, totals.group_counts[own, group])
    work, at = rows_for(most, templates.shape[1], plan.bins.shape[1])
    lane_bins, lane_counts = plan.lane_bins[own].ravel(), plan.lane_counts[own].ravel()
    for chunk in range(first, last):
        _groups(
            totals.chunks[own, chunk], totals.chunks[own, chunk + 1], strips[own], totals.group_region[own],
            plan.bins[own], lane_bins, lane_counts, plan.strip_counts[own], mean[b], total[b], templates[b], x[b],
            spectrum[b], cotangent[b], log_p[b], d_mean[b], d_templates[b], partial[chunk, b],
            partial_spectrum[chunk, b], work, at, want_gradient,
        )  # fmt: skip


@njit(**COMPILE)
def _all_pixels(mean: Floats, cotangent: Floats, total: Floats, d_mean: Floats, want_gradient: bool) -> None:
    """Fill total (P,) with the sum of the means (E, P), NaN where one is negative, and d_mean as of bins without a
    photon."""
    total[:] = 0.0
    for e in range(len(mean)):
        for pixel in range(len(total)):
            total[pixel] += mean[e, pixel] if mean[e, pixel] >= 0.0 else math.nan
        if want_gradient:
            for pixel in range(len(total)):
                d_mean[e, pixel] = -cotangent[pixel]


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
    batch, want_gradient = mean.shape[0], gradient is not None
    if plan.totals.group_counts.max(initial=0) >= x.shape[-1]:
        raise ValueError(f"a count of {plan.totals.group_counts.max()} is beyond x, which ends at {x.shape[-1] - 1}")
    d_mean, d_templates, d_x, d_spectrum = gradient or map(np.empty_like, (mean, templates, x, spectrum))
    total, by = np.empty_like(log_p), log_p if cotangent is None else cotangent
    run_tasks(lambda b: _all_pixels(mean[b], by[b], total[b], d_mean[b], want_gradient), batch)
    partial, partial_spectrum = np.zeros((CHUNKS, *x.shape)), np.zeros((CHUNKS, *spectrum.shape))
    strips = plan.totals.lanes.reshape(len(plan.totals.lanes), -1, WIDTH)
    joined = x.reshape(batch, math.prod(x.shape[1:]))
    # with enough points each is one task, whose arrays then stay in the processor's cache
    parts = 1 if batch >= TASKS_PER_THREAD * thread_count() else CHUNKS

    def task(ticket: int) -> None:
        b, part = divmod(ticket, parts)
        _chunks(
            b, part * CHUNKS // parts, (part + 1) * CHUNKS // parts, plan, strips, mean, total, templates, joined,
            spectrum, by, log_p, d_mean, d_templates, partial, partial_spectrum, want_gradient,
        )  # fmt: skip

    run_tasks(task, batch * parts)
    partial.sum(axis=0, out=d_x)  # in the order of the chunks, whichever thread did them
    partial_spectrum.sum(axis=0, out=d_spectrum)
