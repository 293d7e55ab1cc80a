"""The loops of the joint kernel over rows of lanes; see `vectors`."""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gammasky.engine.kernels.vectors import DOUBLE, WIDTH, ZERO, Builder, constant, writes

_ONE = ir.Constant(ZERO.type, [1.0] * WIDTH)


@intrinsic
def multiply_four(_typing: Any, work: Any, out: Any, n: Any, a: Any, b: Any, first: Any, last: Any) -> Any:
    """out_n = sum_{j=first..last} b_j a_{n-j} for n, n + 1, n + 2, n + 3; a has three zeros before its first entry and
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
def correlate_four(_typing: Any, work: Any, out: Any, by: Any, m: Any, h: Any, q: Any, last: Any) -> Any:
    """work[out + by m] = sum_{j=0..last} h_{m+j} q_j for m, m + 1, m + 2, m + 3; h has three zeros after its last
    entry."""

    def generate(code: Builder, given: Any) -> None:
        _, out, by, m, h, q, last = given
        first = code.sum(h, m)

        def step(j: Any, sums: list[Any]) -> list[Any]:
            factor, row = code.load(code.sum(q, j)), code.sum(first, j)
            return [code.multiply_add(factor, code.load(code.sum(row, i)), sums[i]) for i in range(4)]

        for i, total in enumerate(code.loop(constant(0), last, [ZERO] * 4, step)):
            code.store(code.sum(out, code.builder.mul(by, code.sum(m, i))), total)

    return types.void(work, *[types.int64] * 6), writes(generate)


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
def binomials(_typing: Any, work: Any, b: Any, mean: Any, phi: Any, count: Any, inverse: Any, last: Any) -> Any:
    """b_{j+1} = b_j (phi / mean) (k - j) / (j + 1) for j = 0 .. last - 1, from the b_0 that is there; k = work[count],
    beyond which zeros follow."""

    def generate(code: Builder, given: Any) -> None:
        _, b, mean, phi, count, inverse, last = given
        ratio, k = code.builder.fdiv(code.load(phi), code.load(mean)), code.load(count)

        def step(j: Any, values: list[Any]) -> list[Any]:
            left = code.builder.fsub(k, code.spread(code.builder.sitofp(code.sum(j, -1), DOUBLE)))
            factor = code.times(code.times(ratio, code.load(code.sum(inverse, j))), left)
            value = code.builder.select(code.builder.fcmp_ordered(">", left, ZERO), code.times(values[0], factor), ZERO)
            code.store(code.sum(b, j), value)
            return [value]

        code.loop(constant(1), last, [code.load(b)], step)

    return types.void(work, *[types.int64] * 6), writes(generate)


@intrinsic
def clear(_typing: Any, work: Any, first: Any) -> Any:
    """work[first] .. work[first + 3] = 0."""

    def generate(code: Builder, given: Any) -> None:
        for i in range(4):
            code.store(code.sum(given[1], i), ZERO)

    return types.void(work, types.int64), writes(generate)


@intrinsic
def moments(_typing: Any, work: Any, found: Any, a: Any, b: Any, count: Any, last: Any) -> Any:
    """work[found] = sum_{j=0..last} (k - j) a_j b_j and work[found + 1] = sum_j j a_j b_j, k = work[count]."""

    def generate(code: Builder, given: Any) -> None:
        _, found, a, b, count, last = given
        k = code.load(count)

        def step(j: Any, sums: list[Any]) -> list[Any]:
            place = code.spread(code.builder.sitofp(j, DOUBLE))
            term = code.times(code.load(code.sum(a, j)), code.load(code.sum(b, j)))
            left = code.builder.fsub(k, place)
            return [code.multiply_add(left, term, sums[0]), code.multiply_add(place, term, sums[1])]

        for i, total in enumerate(code.loop(constant(0), last, [ZERO] * 2, step)):
            code.store(code.sum(found, i), total)

    return types.void(work, *[types.int64] * 5), writes(generate)
