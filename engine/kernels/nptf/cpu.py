"""Numba kernel of the NPTF pixel likelihood: value and gradient in one pass.

For a pixel with count k the generating function of its count is log G(t) = x_0 + sum_{m>=1} x_m t^m with

    x_0 = -mean + sum_i T_i X_{i,0},      x_m = sum_i T_i X_{i,m} + mean [m = 1]

(X_{i,0} = - sum over all m >= 1), and log p_k = x_0 + log q_k with the q_n of `recursion`. Since G = exp(...),
d log p_k / d x_m = q_{k-m} / q_k: the history of the recursion IS the gradient.

The groups of a plan are taken in strips of `WIDTH` pixels, one vector of the processor, whose rows fit its first-level
cache. d/dX sums over pixels: lane by lane, then over the lanes at the end of a region's groups in a chunk, then over
the chunks. A strip whose q_n leave the safe range is run again pixel by pixel in `scaled`, by powers of 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from gammasky.engine.kernels.elementary import logarithm
from gammasky.engine.kernels.nptf.lanes import add_scaled, collect
from gammasky.engine.kernels.nptf.plan import CHUNKS, LANES, PixelPlan
from gammasky.engine.kernels.nptf.recursion import Floats, Rows, Whole, recursion, rows_for
from gammasky.engine.kernels.nptf.scaled import ZERO_POWER, add_product, scaled_gradient, scaled_pixel
from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.threads import run_tasks, thread_count
from gammasky.engine.kernels.vectors import WIDTH

TASKS_PER_THREAD = 4


class Place(NamedTuple):
    """Where x of the strip's region begins in X with its axes joined, from population to population; and how many."""

    row: int
    stride: int
    populations: int


@njit(**COMPILE)
def _load(strips: Whole, strip: int, mean: Floats, templates: Floats, work: Floats, at: Rows) -> None:
    """Gather the means and templates of a strip; a lane that is not used repeats the first pixel."""
    for lane in range(WIDTH):
        pixel = strips[strip, lane] if strips[strip, lane] >= 0 else strips[strip, 0]
        work[at.mean, lane] = mean[pixel]
        for i in range(templates.shape[0]):
            work[at.template + i, lane] = templates[i, pixel]


@njit(**COMPILE)
def _no_photon(x: Floats, place: Place, work: Floats, at: Rows) -> None:
    """Row `total`: x_0 = log p of no photon."""
    for lane in range(WIDTH):
        work[at.total, lane] = -work[at.mean, lane]
    for i in range(place.populations):
        add_scaled(work, at.total, x[place.row + i * place.stride], at.template + i)


@njit(**COMPILE)
def _values(
    strips: Whole, strip: int, counts: Whole, x: Floats, place: Place, log_p: Floats, work: Floats, at: Rows
) -> None:
    """log p of a strip whose recursion stayed in the safe range."""
    _no_photon(x, place, work, at)
    for lane in range(WIDTH):
        pixel = strips[strip, lane]
        work[at.scale, lane] = work[at.q + (counts[pixel] if pixel >= 0 else 0), lane]
    for lane in range(WIDTH):
        work[at.scale, lane] = logarithm(work[at.scale, lane])
    for lane in range(WIDTH):
        if strips[strip, lane] >= 0:
            log_p[strips[strip, lane]] = work[at.total, lane] + work[at.scale, lane]


@njit(**COMPILE)
def _gradient(
    strips: Whole, strip: int, counts: Whole, x: Floats, place: Place, cotangent: Floats,
    d_mean: Floats, d_templates: Floats, work: Floats, at: Rows,
) -> None:  # fmt: skip
    """Gradient of a strip from the history q of its recursion: the pixels of like count together, others at zero."""
    for i in range(place.populations):
        for lane in range(WIDTH):
            work[at.slope + i, lane] = 0.0
    first = 0
    while first < WIDTH and strips[strip, first] >= 0:
        k, last = counts[strips[strip, first]], first
        for lane in range(WIDTH):
            pixel = strips[strip, lane]
            work[at.scale, lane] = 0.0
            if pixel >= 0 and counts[pixel] == k:
                factor = cotangent[pixel]
                work[at.scale, lane] = factor / work[at.q + k, lane]
                d_mean[pixel] = (work[at.scale, lane] * work[at.q + k - 1, lane] if k > 0 else 0.0) - factor
                last = lane
        for i in range(place.populations):
            begin = place.row + i * place.stride
            collect(work, at.d_x + i * at.step, at.slope + i, at.q, k, at.scale, x, begin, at.template + i)
        first = last + 1
    for lane in range(WIDTH):
        pixel = strips[strip, lane]
        if pixel >= 0:
            for i in range(place.populations):
                d_templates[i, pixel] = work[at.slope + i, lane]


@njit(**COMPILE)
def _one_by_one(
    strips: Whole, strip: int, counts: Whole, x: Floats, place: Place, cotangent: Floats, log_p: Floats,
    d_mean: Floats, d_templates: Floats, work: Floats, at: Rows, want_gradient: bool,
) -> None:  # fmt: skip
    """The pixels of a strip one by one, in the whole range of float64 and beyond; y of the strip is filled."""
    _no_photon(x, place, work, at)
    for lane in range(WIDTH):
        pixel = strips[strip, lane]
        if pixel < 0:
            continue
        k = counts[pixel]
        # x_1 = y_1: no distribution of counts has a negative one
        log_p[pixel] = work[at.total, lane] if work[at.y + 1, lane] >= 0.0 else math.nan
        weight, power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
        if k > 0:
            y, y_power = np.zeros(k + 1), np.full(k + 1, ZERO_POWER)
            add_product(y, y_power, 1, 1.0, work[at.mean, lane])
            for i in range(place.populations):
                for m in range(1, k + 1):
                    add_product(y, y_power, m, m * x[place.row + i * place.stride + m], work[at.template + i, lane])
            log_p[pixel] += scaled_pixel(k, y, y_power, weight, power)
        if want_gradient:
            factor = cotangent[pixel]
            d_mean[pixel] = factor * ((math.ldexp(weight[1], power[1]) if k > 0 else 0.0) - 1.0)
            for i in range(place.populations):
                begin, row = place.row + i * place.stride, at.d_x + i * at.step
                scale, d_x = factor * work[at.template + i, lane], work[row : row + k + 1, lane]
                total = scaled_gradient(k, scale, weight, power, x[begin : begin + k + 1], d_x)
                d_templates[i, pixel] = factor * total


@njit(**COMPILE)
def _sum_lanes(largest: int, populations: int, work: Floats, at: Rows, found: Floats) -> None:
    """Write the sums over lanes of d/dX up to the largest count to found (I, M + 1), and make it zero again."""
    for i in range(populations):
        for m in range(largest + 1):
            total = 0.0
            for lane in range(WIDTH):
                total += work[at.d_x + i * at.step + m, lane]
                work[at.d_x + i * at.step + m, lane] = 0.0
            found[i, m] = total


@njit(**COMPILE)
def _groups(
    first: int, last: int, strips: Whole, region: Whole, largest: Whole, counts: Whole,
    mean: Floats, templates: Floats, x: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, d_x: Floats, want_gradient: bool,
) -> None:  # fmt: skip
    """The groups first .. last - 1 at one parameter point; x has its axes joined, d_x is (I, R, M + 1)."""
    populations, regions, terms = d_x.shape
    most = 0
    for group in range(first, last):
        most = max(most, largest[group])
    work, at = rows_for(most, populations)
    most = 0
    for group in range(first, last):
        place = Place(region[group] * terms, regions * terms, populations)
        for strip in range(group * (LANES // WIDTH), (group + 1) * (LANES // WIDTH)):
            if strips[strip, 0] < 0:
                break
            k_max = 0
            for lane in range(WIDTH):
                if strips[strip, lane] >= 0:
                    k_max = max(k_max, counts[strips[strip, lane]])
            _load(strips, strip, mean, templates, work, at)
            if not recursion(k_max, x, place.row, place.stride, populations, work, at):
                _one_by_one(
                    strips, strip, counts, x, place, cotangent, log_p, d_mean, d_templates, work, at, want_gradient
                )
                continue
            _values(strips, strip, counts, x, place, log_p, work, at)
            if want_gradient:
                _gradient(strips, strip, counts, x, place, cotangent, d_mean, d_templates, work, at)
        most = max(most, largest[group])
        if want_gradient and (group + 1 == last or region[group + 1] != region[group]):
            _sum_lanes(most, populations, work, at, d_x[:, region[group]])
            most = 0


@njit(**COMPILE)
def _chunk(
    chunk: int, first: int, last: int, plan: PixelPlan, strips: Whole,
    mean: Floats, templates: Floats, x: Floats, cotangent: Floats,
    log_p: Floats, d_mean: Floats, d_templates: Floats, partial: Floats, want_gradient: bool,
) -> None:  # fmt: skip
    """The groups of one chunk at the parameter points first .. last - 1.

    Args:
        strips (1 or B, strips, WIDTH): the lanes of the plan.
        x (B, all others): its other axes joined; mean, templates, cotangent, log_p, d_mean, d_templates: of B points.
        partial (CHUNKS, B, I, R, M + 1): receives d/dX, up to the largest count of each region in the chunk.
    """
    for b in range(first, last):
        own = b * len(plan.counts) // len(mean)
        _groups(
            plan.chunks[own, chunk], plan.chunks[own, chunk + 1], strips[own], plan.group_region[own],
            plan.group_counts[own], plan.counts[own], mean[b], templates[b], x[b], cotangent[b],
            log_p[b], d_mean[b], d_templates[b], partial[chunk, b], want_gradient,
        )  # fmt: skip


def evaluate(
    plan: PixelPlan, log_p: Floats, mean: Floats, templates: Floats, x: Floats,
    cotangent: Floats | None = None, gradient: tuple[Floats, Floats, Floats] | None = None,
) -> None:  # fmt: skip
    """Fill `log_p` and, if given, `gradient`, for B parameter points on all threads.

    Args:
        plan: layout of the P pixels, each array with one more leading axis of length 1 or B.
        log_p (B, P): receives log p of each pixel's count.
        mean (B, P), templates (B, I, P), x (B, I, R, M + 1): smooth mean, point-source templates, response times dN/dS;
            M is at least 1 and at least the largest count.
        cotangent (B, P), gradient: what to multiply d log p with, and where the results go, in the shapes of mean,
            templates and x (d/dx is summed over pixels).
    """
    batch = mean.shape[0]
    if plan.group_counts.max(initial=0) >= x.shape[-1]:
        raise ValueError(f"a count of {plan.group_counts.max()} is beyond x, which ends at {x.shape[-1] - 1}")
    d_mean, d_templates, d_x = gradient or (np.empty_like(log_p), np.empty_like(templates), np.empty_like(x))
    partial = np.zeros((CHUNKS, *x.shape))
    strips = plan.lanes.reshape(len(plan.lanes), -1, WIDTH)
    joined = x.reshape(batch, math.prod(x.shape[1:]))
    slices = min(batch, -(-TASKS_PER_THREAD * thread_count() // CHUNKS))

    def task(ticket: int) -> None:
        chunk, part = divmod(ticket, slices)
        first, last = part * batch // slices, (part + 1) * batch // slices
        _chunk(
            chunk, first, last, plan, strips, mean, templates, joined, mean if cotangent is None else cotangent,
            log_p, d_mean, d_templates, partial, gradient is not None,
        )  # fmt: skip

    run_tasks(task, CHUNKS * slices)
    partial.sum(axis=0, out=d_x)  # in the order of the chunks, whichever thread did them
