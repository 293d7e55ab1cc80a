"""The loops of the line-of-sight kernels over rows of lanes; see `vectors`."""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from typing import Any

from numba import types
from numba.extending import intrinsic

from gammasky.engine.kernels.vectors import WIDTH, ZERO, Builder, constant, writes


@intrinsic
def nfw_moments(
    _typing: Any, work: Any, row: Any, factor: Any, log_shape: Any, weight: Any, first: Any, step: Any, nodes: Any
) -> Any:
    """With d_q = weight_q exp(factor log_shape_q): work[row] = sum_q d_q and work[row + 1] = sum_q log_shape_q d_q.

    Both arrays have one axis; node q of the row's lanes begins at first + q step.
    """

    def generate(code: Builder, given: Any) -> None:
        _, row, factor, _, _, first, step, nodes = given
        factor = code.spread(factor)

        def each(q: Any, sums: list[Any]) -> list[Any]:
            at = code.sum(first, code.builder.mul(q, step))
            shape = code.vector(3, at)
            density = code.times(code.vector(4, at), code.exponential(code.times(factor, shape)))
            return [code.builder.fadd(sums[0], density), code.multiply_add(shape, density, sums[1])]

        for i, total in enumerate(code.loop(constant(0), code.sum(nodes, -1), [ZERO] * 2, each)):
            code.store(code.sum(row, i), total)

    return (
        types.void(work, types.int64, types.float64, log_shape, weight, types.int64, types.int64, types.int64),
        writes(generate),
    )


@intrinsic
def nfw_between(
    _typing: Any, work: Any, row: Any, to_slope: Any, log_j: Any, slope: Any, cardinal: Any, first: Any, step: Any,
    angles: Any,
) -> Any:  # fmt: skip
    """work[row] = J = exp(sum_k log_j_k cardinal_k) and work[row + to_slope] = J sum_k slope_k cardinal_k.

    All arrays have one axis; cardinal_k of the row's lanes begins at first + k step.
    """

    def generate(code: Builder, given: Any) -> None:
        _, row, to_slope, _, _, _, first, step, angles = given

        def each(k: Any, sums: list[Any]) -> list[Any]:
            share = code.vector(5, code.sum(first, code.builder.mul(k, step)))
            return [code.multiply_add(code.number(i, k), share, total) for i, total in zip((3, 4), sums, strict=True)]

        log_value, rate = code.loop(constant(0), code.sum(angles, -1), [ZERO] * 2, each)
        value = code.exponential(log_value)
        code.store(row, value)
        code.store(code.sum(row, to_slope), code.times(rate, value))

    return (
        types.void(work, *[types.int64] * 2, log_j, slope, cardinal, *[types.int64] * 3),
        writes(generate),
    )


@intrinsic
def disk_moments(
    _typing: Any, work: Any, row: Any, to_next: Any, excess: Any, log_radius: Any, height: Any, weight: Any,
    first: Any, end: Any, slopes: Any,
) -> Any:  # fmt: skip
    """Sums over the nodes q of the density d_q alone, and times height, -excess and log_radius, `to_next` rows apart.

    d_q = weight_q exp(slopes_0 log_radius_q + slopes_1 excess_q + slopes_2 height_q); all arrays have one axis, and
    the nodes of the lanes lie one behind the other from first to end.
    """

    def generate(code: Builder, given: Any) -> None:
        _, row, to_next, _, _, _, _, first, end, _ = given
        power, shape, inverse = (code.number(9, constant(i)) for i in range(3))

        def each(at: Any, sums: list[Any]) -> list[Any]:
            e, log_r, z = (code.vector(i, at) for i in (3, 4, 5))
            exponent = code.multiply_add(shape, e, code.times(inverse, z))
            density = code.times(code.vector(6, at), code.exponential(code.multiply_add(power, log_r, exponent)))
            moments = [code.multiply_add(x, density, total) for x, total in zip((z, e, log_r), sums[1:], strict=True)]
            return [code.builder.fadd(sums[0], density), *moments]

        total, by_height, by_shape, by_power = code.loop(first, code.sum(end, -1), [ZERO] * 4, each, WIDTH)
        for i, found in enumerate((total, by_height, code.builder.fneg(by_shape), by_power)):
            code.store(code.sum(row, code.builder.mul(to_next, constant(i))), found)

    return (
        types.void(work, *[types.int64] * 2, excess, log_radius, height, weight, *[types.int64] * 2, slopes),
        writes(generate),
    )
