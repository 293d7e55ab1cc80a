"""Numba kernel of the NPTF pixel likelihood's second derivatives: the reverse pass of its gradient.

The gradient kernel gives, with g_m = d log p_k / d x_m = q_{k-m} / q_k (g_0 = 1) and a factor c for each pixel,

    log p,    d_mean = c (g_1 - g_0),    d_T_i = c sum_m g_m X_{i,m},    d_X_{i,m} = sum_pixels c T_i g_m.

Its reverse pass gets a cotangent of each (log_p, d_mean, d_templates, d_x: l, b, e_i, f_{i,m}). They make a direction

    u_m = b ([m = 1] - [m = 0]) + sum_i (e_i X_{i,m} + T_i f_{i,m})

in which the x_m of a pixel move, and what is to be differentiated is sum_pixels l log p + c sum_m g_m u_m. From
d2 log p_k / (dx_m dx_n) = q_{k-m-n} / q_k - g_m g_n the Hessian times u needs one more convolution,

    r_j = sum_{n=1..j} u_n q_{j-n},    D = sum_{m>=1} g_m u_m = r_k / q_k,    h_m = r_{k-m} / q_k - g_m D    (h_0 = 0),

and with w_m = l g_m + c h_m the results are

    by mean: w_1 - w_0,    by T_i: sum_m (w_m X_{i,m} + c g_m f_{i,m}),    by X_{i,m}: sum_pixels (T_i w_m + c e_i g_m),
    by c: u_0 + D.

As in `cpu`, `LANES` pixels run side by side; a group that leaves the safe range runs again one pixel at a time. The
range is narrower than there, because products of two g_m must be float64 as well.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from gammasky.engine.kernels.nptf.lanes import add_scaled, all_between, convolve, dot
from gammasky.engine.kernels.nptf.plan import CHUNKS, LANES, PixelPlan
from gammasky.engine.kernels.nptf.recursion import (
    ZERO_POWER,
    Floats,
    Whole,
    load,
    recursion,
    scaled,
    scaled_add,
    scaled_dot,
    scaled_recursion,
)  # fmt: skip
from gammasky.engine.kernels.policy import COMPILE, SAFE_DIRECTION, SAFE_HIGH_SECOND, SAFE_LOW_SECOND
from gammasky.engine.kernels.threads import run_tasks


class Point(NamedTuple):
    """One parameter point: mean (P,), templates (I, P), x (I, R, M + 1), factor (P,): the gradient's cotangent c."""

    mean: Floats
    templates: Floats
    x: Floats
    factor: Floats


class Cotangent(NamedTuple):
    """Cotangents of what the gradient kernel gives: log_p (P,), d_mean (P,), d_templates (I, P), d_x (I, R, M + 1)."""

    log_p: Floats
    d_mean: Floats
    d_templates: Floats
    d_x: Floats


class Result(NamedTuple):
    """Derivatives in the shapes of a `Point`; those by x are added to."""

    mean: Floats
    templates: Floats
    x: Floats
    factor: Floats


class Scratch(NamedTuple):
    """Working rows of one task: y, q, u, r, weight (w_m), slope (c g_m) (rows, LANES); template, d_template (I, LANES);
    mean, d_mean, total (1, LANES); and by lane (LANES,) photons, 1 / q_k, D, log_p, factor (0 where it is not used)."""

    y: Floats
    q: Floats
    u: Floats
    r: Floats
    weight: Floats
    slope: Floats
    template: Floats
    d_template: Floats
    mean: Floats
    d_mean: Floats
    total: Floats
    photons: Whole
    inverse: Floats
    along: Floats
    log_p: Floats
    factor: Floats


@njit(**COMPILE)
def _direction(k_max: int, pixels: Whole, x: Floats, d_x: Floats, given: Cotangent, work: Scratch) -> bool:
    """Fill the direction u[0 .. k_max] of a group; False where one of u[1], ... is not in the safe range, or NaN."""
    for lane in range(LANES):
        pixel = pixels[lane]
        work.d_mean[0, lane] = given.d_mean[pixel] if pixel >= 0 else 0.0
        for i in range(x.shape[0]):
            work.d_template[i, lane] = given.d_templates[i, pixel] if pixel >= 0 else 0.0
    safe = True
    for m in range(k_max + 1):
        work.u[m] = 0.0
        for i in range(x.shape[0]):
            add_scaled(work.u, m, x[i, m], work.d_template, i)
            add_scaled(work.u, m, d_x[i, m], work.template, i)
        if m <= 1:
            add_scaled(work.u, m, 1.0 if m == 1 else -1.0, work.d_mean, 0)
        if m >= 1:
            safe = safe and all_between(work.u, m, -SAFE_DIRECTION, SAFE_DIRECTION)
    return safe


@njit(**COMPILE)
def _fast_group(
    k_max: int, pixels: Whole, counts: Whole, region: int, point: Point, given: Cotangent, result: Result,
    work: Scratch,
) -> None:  # fmt: skip
    """A group whose recursion and direction are in the safe range."""
    work.r[0] = 0.0
    for n in range(1, k_max + 1):
        convolve(work.r, work.u, work.q, n, 1.0)
    _fast_weights(k_max, pixels, counts, point, given, result, work)
    for i in range(point.x.shape[0]):
        work.total[0] = 0.0
        for m in range(k_max + 1):
            add_scaled(work.total, 0, point.x[i, region, m], work.weight, m)
            add_scaled(work.total, 0, given.d_x[i, region, m], work.slope, m)
            by_x = dot(work.template, i, work.weight, m) + dot(work.d_template, i, work.slope, m)
            result.x[i, region, m] += by_x
        for lane in range(LANES):
            if pixels[lane] >= 0:
                result.templates[i, pixels[lane]] = work.total[0, lane]


@njit(**COMPILE)
def _fast_weights(
    k_max: int, pixels: Whole, counts: Whole, point: Point, given: Cotangent, result: Result, work: Scratch
) -> None:
    """w_m and c g_m of a group, zero beyond the count of a pixel, and what follows from them alone."""
    for lane in range(LANES):
        pixel = pixels[lane]
        k = counts[pixel] if pixel >= 0 else 0
        work.photons[lane], work.inverse[lane] = k, 1.0 / work.q[k, lane]
        work.along[lane] = work.r[k, lane] / work.q[k, lane]
        work.log_p[lane] = work.weight[0, lane] = given.log_p[pixel] if pixel >= 0 else 0.0
        work.factor[lane] = work.slope[0, lane] = point.factor[pixel] if pixel >= 0 else 0.0
    for m in range(1, max(k_max, 1) + 1):
        for lane in range(LANES):
            k, inverse, factor = work.photons[lane], work.inverse[lane], work.factor[lane]
            g = work.q[k - m, lane] * inverse if m <= k else 0.0
            h = work.r[k - m, lane] * inverse - g * work.along[lane] if m <= k else 0.0
            work.slope[m, lane] = factor * g
            work.weight[m, lane] = work.log_p[lane] * g + factor * h
    for lane in range(LANES):
        if pixels[lane] >= 0:
            result.mean[pixels[lane]] = work.weight[1, lane] - work.weight[0, lane]
            result.factor[pixels[lane]] = work.u[0, lane] + work.along[lane]


@njit(**COMPILE)
def _scaled_hessian(
    k: int, y: Floats, u: Floats, g: Floats, g_power: Whole, h: Floats, h_power: Whole
) -> tuple[float, int]:
    """Fill g_m and h_m (k + 1,), m >= 1, of one pixel as mantissas and powers of 2, from y and u (k + 1,); return D.

    Everything is NaN for a direction that is not finite, a y that no distribution has, or an impossible count.
    """
    q, q_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    r, r_power = np.zeros(k + 1), np.full(k + 1, ZERO_POWER)
    n, n_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    valid = scaled_recursion(k, y, q, q_power) and q[k] > 0.0
    for m in range(1, k + 1):
        valid = valid and math.isfinite(u[m])
    if not valid:
        g[:] = math.nan
        h[:] = math.nan
        return math.nan, 0
    for m in range(1, k + 1):
        n[m], n_power[m] = scaled(u[m], 0)
    for j in range(1, k + 1):
        r[j], r_power[j] = scaled_dot(j, n, n_power, q, q_power, 1.0)
    along, along_power = scaled(r[k] / q[k], r_power[k] - q_power[k])
    for m in range(1, k + 1):
        g[m], g_power[m] = scaled(q[k - m] / q[k], q_power[k - m] - q_power[k])
        first, first_power = scaled(r[k - m] / q[k], r_power[k - m] - q_power[k])
        h[m], h_power[m] = scaled_add(first, first_power, -g[m] * along, g_power[m] + along_power)
    return along, along_power


@njit(**COMPILE)
def _scaled_sum(a: float, g: float, g_power: int, b: float, h: float, h_power: int) -> tuple[float, int]:
    """a g + b h, where neither factor alone needs to be in range."""
    a_mantissa, a_power = scaled(a, 0)
    b_mantissa, b_power = scaled(b, 0)
    return scaled_add(a_mantissa * g, a_power + g_power, b_mantissa * h, b_power + h_power)


@njit(**COMPILE)
def _scaled_pixel(
    pixel: int, lane: int, k: int, region: int, point: Point, given: Cotangent, result: Result, work: Scratch
) -> None:
    """One pixel in the whole range of float64 and beyond, from its y and u."""
    g, g_power = np.zeros(k + 1), np.full(k + 1, ZERO_POWER)
    h, h_power = np.zeros(k + 1), np.full(k + 1, ZERO_POWER)
    log_p, factor = given.log_p[pixel], point.factor[pixel]
    along, along_power = 0.0, ZERO_POWER
    single = 0.0
    if k > 0:
        y, u = work.y[: k + 1, lane], work.u[: k + 1, lane]
        along, along_power = _scaled_hessian(k, y, u, g, g_power, h, h_power)
        single, power = _scaled_sum(log_p, g[1], g_power[1], factor, h[1], h_power[1])
        single = math.ldexp(single, power)
    result.mean[pixel] = single - log_p
    result.factor[pixel] = work.u[0, lane] + math.ldexp(along, along_power)
    for i in range(point.x.shape[0]):
        template, d_template = work.template[i, lane], given.d_templates[i, pixel]
        x, d_x = point.x[i, region], given.d_x[i, region]
        total, power = scaled(log_p * x[0] + factor * d_x[0], 0)
        result.x[i, region, 0] += template * log_p + d_template * factor
        for m in range(1, k + 1):
            on_g, on_h = log_p * template + factor * d_template, factor * template
            term, term_power = _scaled_sum(on_g, g[m], g_power[m], on_h, h[m], h_power[m])
            result.x[i, region, m] += math.ldexp(term, term_power)
            on_g, on_h = log_p * x[m] + factor * d_x[m], factor * x[m]
            term, term_power = _scaled_sum(on_g, g[m], g_power[m], on_h, h[m], h_power[m])
            total, power = scaled_add(total, power, term, term_power)
        result.templates[i, pixel] = math.ldexp(total, power)


@njit(**COMPILE)
def _groups(
    first: int, last: int, lanes: Whole, group_region: Whole, group_counts: Whole, counts: Whole,
    point: Point, given: Cotangent, result: Result,
) -> None:  # fmt: skip
    """Groups first .. last - 1 of one parameter point."""
    rows = 2
    for group in range(first, last):
        rows = max(rows, group_counts[group] + 1)
    deep, populations = (rows, LANES), (point.templates.shape[0], LANES)
    work = Scratch(
        np.zeros(deep), np.zeros(deep), np.zeros(deep), np.zeros(deep), np.zeros(deep), np.zeros(deep),
        np.zeros(populations), np.zeros(populations), np.zeros((1, LANES)), np.zeros((1, LANES)), np.zeros((1, LANES)),
        np.zeros(LANES, dtype=np.int64), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES), np.zeros(LANES),
    )  # fmt: skip
    for group in range(first, last):
        pixels, k_max, region = lanes[group], group_counts[group], group_region[group]
        x, d_x = point.x[:, region], given.d_x[:, region]
        load(pixels, point, work)
        safe = recursion(k_max, x, work, SAFE_LOW_SECOND, SAFE_HIGH_SECOND)
        if _direction(k_max, pixels, x, d_x, given, work) and safe:
            _fast_group(k_max, pixels, counts, region, point, given, result, work)
        else:
            for lane in range(LANES):
                if pixels[lane] >= 0:
                    k = counts[pixels[lane]]
                    _scaled_pixel(pixels[lane], lane, k, region, point, given, result, work)


def evaluate(plan: PixelPlan, point: Point, given: Cotangent, result: Result) -> None:
    """Fill `result` for B parameter points on all threads.

    Args:
        plan: layout of the P pixels, each array with one more leading axis of length 1 or B.
        point, given, result: as said there, each array with one more leading axis of length B; M is at least 1 and at
            least the largest count.
    """
    batch = point.mean.shape[0]
    if plan.group_counts.max(initial=0) >= point.x.shape[-1]:
        raise ValueError(f"a count of {plan.group_counts.max()} is beyond x, which ends at {point.x.shape[-1] - 1}")
    partial = np.zeros((CHUNKS, *result.x.shape))

    def task(ticket: int) -> None:
        chunk, b = divmod(ticket, batch)
        own = b * len(plan.counts) // batch
        _groups(
            plan.chunks[own, chunk], plan.chunks[own, chunk + 1], plan.lanes[own], plan.group_region[own],
            plan.group_counts[own], plan.counts[own],
            Point(*(array[b] for array in point)), Cotangent(*(array[b] for array in given)),
            Result(result.mean[b], result.templates[b], partial[chunk, b], result.factor[b]),
        )  # fmt: skip

    run_tasks(task, CHUNKS * batch)
    partial.sum(axis=0, out=result.x)  # in the order of the chunks, whichever thread did them
