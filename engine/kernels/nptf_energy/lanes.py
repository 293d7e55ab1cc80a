"""The loops of the joint kernel over rows of lanes; see `vectors`."""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gammasky.engine.kernels.vectors import WIDTH, ZERO, Builder, constant, writes

_FLAGS = ir.VectorType(ir.IntType(1), WIDTH)
_HALF, _ONE = (ir.Constant(ZERO.type, [value] * WIDTH) for value in (0.5, 1.0))


@intrinsic
def multiply_four(_typing: Any, work: Any, out: Any, n: Any, a: Any, b: Any, first: Any, last: Any) -> Any:
    """out_n = sum_{j=first..last} b_j a_{n-j} for n, n + 1, n + 2, n + 3; a has zeros before its first entry and three
    after its last one. out_n is work[out + n], and so on."""

    def generate(code: Builder, given: Any) -> None:
        _, out, n, a, b, first, last = given
        top = code.sum(a, n)

        def step(j: Any, sums: list[Any]) -> list[Any]:
            factor, row = code.load(code.sum(b, j)), code.builder.sub(top, j)
            return [code.multiply_add(factor, code.load(code.sum(row, i)), sums[i]) for i in range(4)]

        for i, total in enumerate(code.loop(first, last, [ZERO] * 4, step)):
            code.store(code.sum(code.sum(out, n), i), total)

    return types.void(work, *[types.int64] * 6), writes(generate)


@intrinsic
def correlate_four(_typing: Any, work: Any, end: Any, m: Any, h: Any, q: Any, last: Any) -> Any:
    """work[end - m] = sum_{j=0..last} h_{m+j} q_j for m, m + 1, m + 2, m + 3; h has three zeros after its last entry."""

    def generate(code: Builder, given: Any) -> None:
        _, end, m, h, q, last = given
        first = code.sum(h, m)

        def step(j: Any, sums: list[Any]) -> list[Any]:
            factor, row = code.load(code.sum(q, j)), code.sum(first, j)
            return [code.multiply_add(factor, code.load(code.sum(row, i)), sums[i]) for i in range(4)]

        for i, total in enumerate(code.loop(constant(0), last, [ZERO] * 4, step)):
            code.store(code.builder.sub(end, code.sum(m, i)), total)

    return types.void(work, *[types.int64] * 5), writes(generate)


@intrinsic
def times_rows(_typing: Any, work: Any, out: Any, a: Any, b: Any, last: Any) -> Any:
    """out_n = a_n b_n for n = 0 .. last."""

    def generate(code: Builder, given: Any) -> None:
        _, out, a, b, last = given

        def step(n: Any, _values: list[Any]) -> list[Any]:
            code.store(code.sum(out, n), code.times(code.load(code.sum(a, n)), code.load(code.sum(b, n))))
            return []

        code.loop(constant(0), last, [], step)

    return types.void(work, *[types.int64] * 4), writes(generate)


@intrinsic
def dot_rows(_typing: Any, work: Any, out: Any, a: Any, b: Any, last: Any) -> Any:
    """work[out] = sum_{n=0..last} a_n b_n."""

    def generate(code: Builder, given: Any) -> None:
        _, out, a, b, last = given

        def step(n: Any, sums: list[Any]) -> list[Any]:
            return [code.multiply_add(code.load(code.sum(a, n)), code.load(code.sum(b, n)), sums[0])]

        code.store(out, code.loop(constant(0), last, [ZERO], step)[0])

    return types.void(work, *[types.int64] * 4), writes(generate)


@intrinsic
def powers(_typing: Any, work: Any, out: Any, factor: Any, inverse: Any, last: Any) -> Any:
    """out_n = work[factor]^n / n! for n = 0 .. last, last >= 1; inverse_n = 1 / n."""

    def generate(code: Builder, given: Any) -> None:
        _, out, factor, inverse, last = given
        base = code.load(factor)
        code.store(out, _ONE)

        def step(n: Any, values: list[Any]) -> list[Any]:
            value = code.times(code.times(values[0], base), code.load(code.sum(inverse, n)))
            code.store(code.sum(out, n), value)
            return [value]

        code.loop(constant(1), last, [_ONE], step)

    return types.void(work, *[types.int64] * 4), writes(generate)


@intrinsic
def divide(
    _typing: Any, work: Any, low: Any, c: Any, z: Any, top: Any, count: Any, mean: Any, phi: Any, by_mean: Any,
    by_phi: Any, found: Any,
) -> Any:  # fmt: skip
    """Divide c(t) by (mean + phi t) / count: d(t) of degree top - 1 >= 0, and its sums with z.

    k c_n = mean d_n + phi d_{n-1} is solved from the lowest power up while phi d_{n-1} is the smaller part of it, and
    from the highest power down for the rest: the coefficients of a product of positive linear factors are log-concave,
    so there is one such place, and on neither side do errors grow. `by_mean` and `by_phi` hold 1 / mean and 1 / phi, 0
    where these are 0.

    work[found] = sum_n z_n d_n, work[found + 1] = sum_n z_{n+1} d_n.
    """

    def generate(code: Builder, given: Any) -> None:
        _, low, c, z, top, count, mean, phi, by_mean, by_phi, found = given
        builder = code.builder
        k, up, down, from_mean, from_phi = (code.load(row) for row in (count, phi, mean, by_mean, by_phi))
        last = code.sum(top, -1)

        def upwards(n: Any, values: list[Any]) -> list[Any]:
            before, active, reached = values
            target, carried = code.times(k, code.load(code.sum(c, n))), code.times(up, before)
            smaller = builder.fcmp_ordered("<=", carried, code.times(target, _HALF))
            active = builder.and_(active, smaller)
            value = builder.select(active, code.times(builder.fsub(target, carried), from_mean), ZERO)
            code.store(code.sum(low, n), value)
            return [value, active, builder.select(active, builder.fadd(reached, _ONE), reached)]

        has_mean = builder.fcmp_ordered(">", from_mean, ZERO)
        _, _, reached = code.loop(constant(0), last, [ZERO, has_mean, ZERO], upwards)

        def downwards(step: Any, values: list[Any]) -> list[Any]:
            after, total, shifted = values
            n = builder.sub(top, step)  # top .. 1: d_{n-1} from d_n
            target = code.times(k, code.load(code.sum(c, n)))
            high = code.times(builder.fsub(target, code.times(down, after)), from_phi)
            place = code.spread(builder.sitofp(code.sum(n, -1), ir.DoubleType()))
            below = builder.fcmp_ordered("<", place, reached)
            value = builder.select(below, code.load(code.sum(low, code.sum(n, -1))), high)
            total = code.multiply_add(code.load(code.sum(z, code.sum(n, -1))), value, total)
            shifted = code.multiply_add(code.load(code.sum(z, n)), value, shifted)
            return [value, total, shifted]

        _, total, shifted = code.loop(constant(0), last, [ZERO] * 3, downwards)
        code.store(found, total)
        code.store(code.sum(found, 1), shifted)

    return types.void(work, *[types.int64] * 10), writes(generate)
