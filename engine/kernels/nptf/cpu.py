"""Numba kernel of the NPTF pixel likelihood: value and gradient in one pass.

For a pixel with count k the generating function of its count is log G(t) = x_0 + sum_{m>=1} x_m t^m with

    x_0 = -mean + sum_i T_i X_{i,0},      x_m = sum_i T_i X_{i,m} + mean [m = 1]

(X_{i,0} = - sum over all m >= 1), and log p_k = x_0 + log q_k with the q_n of `recursion`. Since G = exp(...),
d log p_k / d x_m = q_{k-m} / q_k: the history of the recursion IS the gradient. A group whose q_n leave the safe range
is run again pixel by pixel in `_scaled_pixel`, where every number carries its own power of 2.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit

from gammasky.engine.kernels.nptf.lanes import add_scaled, dot
from gammasky.engine.kernels.nptf.plan import CHUNKS, LANES, PixelPlan
from gammasky.engine.kernels.nptf.recursion import Floats, Whole, load, recursion, scaled_recursion
from gammasky.engine.kernels.policy import COMPILE, SAFE_HIGH, SAFE_LOW
from gammasky.engine.kernels.threads import run_tasks

_LOG_2 = math.log(2.0)


class Point(NamedTuple):
    """One parameter point: mean (P,), templates (I, P), x (I, R, M + 1) with M >= 1, cotangent (P,)."""

    mean: Floats
    templates: Floats
    x: Floats
    cotangent: Floats


class Result(NamedTuple):
    """What a point gives: log_p (P,), and the gradient in the shapes of mean, templates and x (d_x is added to)."""

    log_p: Floats
    d_mean: Floats
    d_templates: Floats
    d_x: Floats


class Scratch(NamedTuple):
    """Working rows of one task: y, q, weight (rows, LANES); template (I, LANES), mean (1, LANES), total (1, LANES)."""

    y: Floats
    q: Floats
    weight: Floats
    template: Floats
    mean: Floats
    total: Floats


@njit(**COMPILE)
def _no_photon(lane: int, x: Floats, work: Scratch) -> float:
    """x_0 = log p of no photon; NaN where x_1 < 0, which no distribution of counts has."""
    constant = -work.mean[0, lane]
    single = work.mean[0, lane]
    for i in range(x.shape[0]):
        constant += work.template[i, lane] * x[i, 0]
        single += work.template[i, lane] * x[i, 1]
    return constant if single >= 0.0 else math.nan


@njit(**COMPILE)
def _gradient(
    k_max: int, pixels: Whole, counts: Whole, x: Floats, d_x: Floats, point: Point, result: Result, work: Scratch
) -> None:
    """Gradient of a group from the history q of its recursion: weight[m] = cotangent q_{k-m} / q_k."""
    for lane in range(LANES):
        pixel = pixels[lane]
        k = counts[pixel] if pixel >= 0 else 0
        cotangent = point.cotangent[pixel] if pixel >= 0 else 0.0
        work.weight[0, lane] = cotangent
        cotangent /= work.q[k, lane]
        for m in range(1, k + 1):
            work.weight[m, lane] = cotangent * work.q[k - m, lane]
        for m in range(k + 1, max(k_max, 1) + 1):
            work.weight[m, lane] = 0.0
        if pixel >= 0:
            result.d_mean[pixel] = work.weight[1, lane] - work.weight[0, lane]
    for i in range(x.shape[0]):
        work.total[0] = 0.0
        for m in range(k_max + 1):
            add_scaled(work.total, 0, x[i, m], work.weight, m)
            d_x[i, m] += dot(work.template, i, work.weight, m)
        for lane in range(LANES):
            if pixels[lane] >= 0:
                result.d_templates[i, pixels[lane]] = work.total[0, lane]


@njit(**COMPILE)
def _scaled_pixel(k: int, y: Floats, weight: Floats, weight_power: Whole) -> float:
    """log q_k of one pixel in the whole range of float64 and beyond, from y (k + 1,) = m x_m and k >= 1.

    Fills d log p_k / d x_m = weight[m] * 2^weight_power[m] for m >= 1.
    """
    q, q_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
    if not scaled_recursion(k, y, q, q_power):
        weight[:] = math.nan
        return math.nan
    for m in range(1, k + 1):
        weight[m] = q[k - m] / q[k] if q[k] > 0.0 else math.nan
        weight_power[m] = q_power[k - m] - q_power[k]
    return math.log(q[k]) + q_power[k] * _LOG_2 if q[k] > 0.0 else -math.inf


@njit(**COMPILE)
def _scaled_gradient(
    k: int, pixel: int, lane: int, x: Floats, d_x: Floats, weight: Floats, weight_power: Whole,
    point: Point, result: Result, work: Scratch,
) -> None:  # fmt: skip
    """Gradient of one pixel from the weights of `_scaled_pixel` (none are used for k = 0)."""
    cotangent = point.cotangent[pixel]
    result.d_mean[pixel] = cotangent * ((math.ldexp(weight[1], weight_power[1]) if k > 0 else 0.0) - 1.0)
    for i in range(x.shape[0]):
        scale = cotangent * work.template[i, lane]
        total = x[i, 0]
        d_x[i, 0] += scale
        for m in range(1, k + 1):
            d_x[i, m] += math.ldexp(scale * weight[m], weight_power[m])
            mantissa, power = math.frexp(x[i, m])  # neither factor alone needs to be in range
            total += math.ldexp(mantissa * weight[m], power + weight_power[m])
        result.d_templates[i, pixel] = cotangent * total


@njit(**COMPILE)
def _fast_values(pixels: Whole, counts: Whole, x: Floats, result: Result, work: Scratch) -> None:
    """log p of a group whose recursion stayed in the safe range."""
    for lane in range(LANES):
        if pixels[lane] >= 0:
            q_k = work.q[counts[pixels[lane]], lane]
            result.log_p[pixels[lane]] = _no_photon(lane, x, work) + math.log(q_k)


@njit(**COMPILE)
def _scaled_group(
    pixels: Whole, counts: Whole, x: Floats, d_x: Floats, point: Point, result: Result, work: Scratch,
    want_gradient: bool,
) -> None:  # fmt: skip
    """The pixels of a group one by one, in the whole range of float64 and beyond; y of the group is filled."""
    for lane in range(LANES):
        pixel = pixels[lane]
        if pixel < 0:
            continue
        k = counts[pixel]
        weight, weight_power = np.zeros(k + 1), np.zeros(k + 1, dtype=np.int64)
        result.log_p[pixel] = _no_photon(lane, x, work)
        if k > 0:
            result.log_p[pixel] += _scaled_pixel(k, work.y[: k + 1, lane], weight, weight_power)
        if want_gradient:
            _scaled_gradient(k, pixel, lane, x, d_x, weight, weight_power, point, result, work)


@njit(**COMPILE)
def _groups(
    first: int, last: int, lanes: Whole, group_region: Whole, group_counts: Whole, counts: Whole,
    point: Point, result: Result, want_gradient: bool,
) -> None:  # fmt: skip
    """Groups first .. last - 1 of one parameter point."""
    rows = 2
    for group in range(first, last):
        rows = max(rows, group_counts[group] + 1)
    work = Scratch(
        np.zeros((rows, LANES)), np.zeros((rows, LANES)), np.zeros((rows, LANES)),
        np.zeros((point.templates.shape[0], LANES)), np.zeros((1, LANES)), np.zeros((1, LANES)),
    )  # fmt: skip
    for group in range(first, last):
        pixels, k_max = lanes[group], group_counts[group]
        x, d_x = point.x[:, group_region[group]], result.d_x[:, group_region[group]]
        load(pixels, point, work)
        if recursion(k_max, x, work, SAFE_LOW, SAFE_HIGH):
            _fast_values(pixels, counts, x, result, work)
            if want_gradient:
                _gradient(k_max, pixels, counts, x, d_x, point, result, work)
        else:
            _scaled_group(pixels, counts, x, d_x, point, result, work, want_gradient)


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
        cotangent (B, P): factor of each pixel in the gradient; given with `gradient`.
        gradient: arrays like mean, templates and x, which receive d (sum_p cotangent_p log p_p) / d(...).
    """
    batch = mean.shape[0]
    if gradient is None or cotangent is None:
        no_gradient = np.zeros_like(mean), np.zeros_like(templates[:, :, :0]), np.zeros_like(x[:, :, :, :0])
        cotangent, (d_mean, d_templates, d_x) = no_gradient[0], no_gradient
    else:
        d_mean, d_templates, d_x = gradient
    if plan.group_counts.max(initial=0) >= x.shape[-1]:
        raise ValueError(f"a count of {plan.group_counts.max()} is beyond x, which ends at {x.shape[-1] - 1}")
    partial = np.zeros((CHUNKS, *d_x.shape))

    def task(ticket: int) -> None:
        chunk, b = divmod(ticket, batch)
        own = b * len(plan.counts) // batch
        _groups(
            plan.chunks[own, chunk], plan.chunks[own, chunk + 1], plan.lanes[own], plan.group_region[own],
            plan.group_counts[own], plan.counts[own],
            Point(mean[b], templates[b], x[b], cotangent[b]),
            Result(log_p[b], d_mean[b], d_templates[b], partial[chunk, b]), gradient is not None,
        )  # fmt: skip

    run_tasks(task, CHUNKS * batch)
    partial.sum(axis=0, out=d_x)  # in the order of the chunks, whichever thread did them
