"""The loops of the NPTF kernel over rows of lanes; see `vectors`."""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gammasky.engine.kernels.vectors import DOUBLE, WIDTH, ZERO, Builder, constant, writes


@intrinsic
def add_scaled(_typing: Any, work: Any, row: Any, factor: Any, source: Any) -> Any:
    """work[row] += factor * work[source]."""

    def generate(code: Builder, given: Any) -> None:
        _, row, factor, source = given
        code.store(row, code.multiply_add(code.spread(factor), code.load(source), code.load(row)))

    return types.void(work, types.int64, types.float64, types.int64), writes(generate)


@intrinsic
def add_terms(_typing: Any, work: Any, y: Any, last: Any, x: Any, start: Any, template: Any) -> Any:
    """work[y + m] += m * x[start + m] * work[template] for m = 1 .. last; x has one axis."""

    def generate(code: Builder, given: Any) -> None:
        _, y, last, _, start, template = given
        factor = code.load(template)

        def step(m: Any, _values: list[Any]) -> list[Any]:
            term = code.times(code.spread(code.builder.sitofp(m, DOUBLE)), code.number(3, code.sum(start, m)))
            code.store(code.sum(y, m), code.multiply_add(term, factor, code.load(code.sum(y, m))))
            return []

        code.loop(constant(1), last, [], step)

    return types.void(work, types.int64, types.int64, x, types.int64, types.int64), writes(generate)


@intrinsic
def convolve(_typing: Any, work: Any, q: Any, y: Any, inverse: Any, n: Any) -> Any:
    """q_n = inverse_n sum_{m=1..n} y_m q_{n-m}, where q_n is work[q + n], and so on."""

    def generate(code: Builder, given: Any) -> None:
        _, q, y, inverse, n = given

        def step(j: Any, sums: list[Any]) -> list[Any]:
            y_m = code.load(code.sum(y, code.builder.sub(n, j)))
            return [code.multiply_add(y_m, code.load(code.sum(q, j)), sums[0])]

        (total,) = code.loop(constant(0), code.sum(n, -1), [ZERO], step)
        code.store(code.sum(q, n), code.times(total, code.load(code.sum(inverse, n))))

    return types.void(work, *[types.int64] * 4), writes(generate)


@intrinsic
def convolve_four(_typing: Any, work: Any, q: Any, y: Any, inverse: Any, n: Any) -> Any:
    """The same for n, n + 1, n + 2 and n + 3 with n >= 2, summed side by side: two q at a time share the loads of y."""

    def generate(code: Builder, given: Any) -> None:
        _, q, y, inverse, n = given
        odd = code.builder.and_(n, constant(1))
        one = code.builder.icmp_signed("==", odd, constant(1))
        row = code.sum(y, n)
        start = [code.builder.select(one, code.load(code.sum(row, i)), ZERO) for i in range(4)]  # q_0 = 1

        def step(j: Any, sums: list[Any]) -> list[Any]:
            even, uneven = code.load(code.sum(q, j)), code.load(code.sum(code.sum(q, j), 1))
            m = code.builder.sub(row, j)
            terms = [code.load(code.sum(m, i)) for i in range(-1, 4)]
            sums = [code.multiply_add(terms[i + 1], even, sums[i]) for i in range(4)]
            return [code.multiply_add(terms[i], uneven, sums[i]) for i in range(4)]

        sums = code.loop(odd, code.sum(n, -2), start, step, 2)
        small = [code.load(code.sum(y, m)) for m in (1, 2, 3)]
        found: list[Any] = []
        for i in range(4):
            total, place = sums[i], code.sum(n, i)
            for m in range(i, 0, -1):  # the latest q last
                total = code.multiply_add(small[m - 1], found[i - m], total)
            found.append(code.times(total, code.load(code.sum(inverse, place))))
            code.store(code.sum(q, place), found[i])

    return types.void(work, *[types.int64] * 4), writes(generate)


@intrinsic
def collect(
    _typing: Any, work: Any, d_x: Any, total: Any, q: Any, k: Any, scale: Any, x: Any, start: Any, template: Any
) -> Any:
    """With w_m = work[scale] * work[q + k - m], m = 0 .. k: work[d_x + m] += work[template] * w_m, and
    work[total] += sum_m x[start + m] w_m; x has one axis."""

    def generate(code: Builder, given: Any) -> None:
        _, d_x, total, q, k, scale, _, start, template = given
        factor, weight, end = code.load(template), code.load(scale), code.sum(q, k)

        def step(m: Any, sums: list[Any]) -> list[Any]:
            w, row = code.times(weight, code.load(code.builder.sub(end, m))), code.sum(d_x, m)
            code.store(row, code.multiply_add(factor, w, code.load(row)))
            return [code.multiply_add(code.number(6, code.sum(start, m)), w, sums[0])]

        code.store(total, code.loop(constant(0), k, [code.load(total)], step)[0])

    return types.void(work, *[types.int64] * 5, x, types.int64, types.int64), writes(generate)


@intrinsic
def all_between(_typing: Any, work: Any, first: Any, last: Any, low: Any, high: Any) -> Any:
    """Whether work[first] .. work[last] lie in [low, high], NaN left out, and the last row is no NaN either."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = Builder(context, builder, signature, arguments)
        _, first, last, low, high = arguments
        low, high = code.spread(low), code.spread(high)

        def step(m: Any, extremes: list[Any]) -> list[Any]:
            row, (least, most) = code.load(m), extremes
            less, more = builder.fcmp_ordered("<", row, least), builder.fcmp_ordered(">", row, most)
            return [builder.select(less, row, least), builder.select(more, row, most)]

        # from the limits themselves: they stay unless a row is beyond
        least, most = code.loop(first, last, [low, high], step)
        inside = builder.and_(builder.fcmp_ordered("==", least, low), builder.fcmp_ordered("==", most, high))
        inside = builder.and_(inside, builder.fcmp_ordered("ord", code.load(last), ZERO))
        bits = builder.bitcast(inside, ir.IntType(WIDTH))
        return builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(WIDTH), 2**WIDTH - 1))

    return types.boolean(work, types.int64, types.int64, types.float64, types.float64), generate
