"""The loops of the joint kernel over rows of lanes; see `vectors`."""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

import math
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gammasky.engine.kernels.vectors import DOUBLE, WIDTH, ZERO, Builder, constant, writes

_ONE, _HALF, _E = (ir.Constant(ZERO.type, [number] * WIDTH) for number in (1.0, 0.5, math.e))
_NOT_KNOWN = ir.Constant(ZERO.type, [-1.0] * WIDTH)
#: A mean or share below which its inverse might not be a float64.
VANISHING = 1e-290
_VANISHING = ir.Constant(ZERO.type, [VANISHING] * WIDTH)


@intrinsic
def multiply_four(_typing: Any, work: Any, out: Any, n: Any, a: Any, b: Any, first: Any, last: Any) -> Any:
    """out_n = sum_{j=first..last} b_j a_{n-j} for n, n + 1, n + 2, n + 3; out_n is work[out + n], and so on.

    Two b at a time share the loads of a: a has four zeros before its first entry and after its last one, b one zero
    after its last one, and `last` is that or n + 3.
    """

    def generate(code: Builder, given: Any) -> None:
        _, out, n, a, b, first, last = given
        top = code.sum(a, n)

        def step(j: Any, sums: list[Any]) -> list[Any]:
            even, odd = code.load(code.sum(b, j)), code.load(code.sum(code.sum(b, j), 1))
            row = code.builder.sub(top, j)
            terms = [code.load(code.sum(row, i)) for i in range(-1, 4)]
            sums = [code.multiply_add(even, terms[i + 1], sums[i]) for i in range(4)]
            return [code.multiply_add(odd, terms[i], sums[i]) for i in range(4)]

        for i, total in enumerate(code.loop(first, last, [ZERO] * 4, step, 2)):
            code.store(code.sum(code.sum(out, n), i), total)

    return types.void(work, *[types.int64] * 6), writes(generate)


@intrinsic
def correlate_four(_typing: Any, work: Any, out: Any, m: Any, h: Any, q: Any, last: Any) -> Any:
    """work[out - m] = sum_{j=0..last} h_{m+j} q_j for m, m + 1, m + 2, m + 3.

    Two q at a time share the loads of h, which has four zeros after its last entry, h_{m+last}; q has one.
    """

    def generate(code: Builder, given: Any) -> None:
        _, out, m, h, q, last = given
        first = code.sum(h, m)

        def step(j: Any, sums: list[Any]) -> list[Any]:
            even, odd = code.load(code.sum(q, j)), code.load(code.sum(code.sum(q, j), 1))
            row = code.sum(first, j)
            terms = [code.load(code.sum(row, i)) for i in range(5)]
            sums = [code.multiply_add(even, terms[i], sums[i]) for i in range(4)]
            return [code.multiply_add(odd, terms[i + 1], sums[i]) for i in range(4)]

        for i, total in enumerate(code.loop(constant(0), last, [ZERO] * 4, step, 2)):
            code.store(code.builder.sub(code.builder.sub(out, m), constant(i)), total)

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
def weigh(_typing: Any, work: Any, total: Any, z: Any, weight: Any, q: Any, c: Any, last: Any) -> Any:
    """z_n = weight_n q_n for n = 0 .. last, and work[total] = sum_n z_n c_n."""

    def generate(code: Builder, given: Any) -> None:
        _, total, z, weight, q, c, last = given

        def step(n: Any, sums: list[Any]) -> list[Any]:
            value = code.times(code.load(code.sum(weight, n)), code.load(code.sum(q, n)))
            code.store(code.sum(z, n), value)
            return [code.multiply_add(value, code.load(code.sum(c, n)), sums[0])]

        code.store(total, code.loop(constant(0), last, [ZERO], step)[0])

    return types.void(work, *[types.int64] * 6), writes(generate)


@intrinsic
def power_two(_typing: Any, work: Any, out: Any, factor: Any, count: Any, inverse: Any, last: Any) -> Any:
    """work[out] = work[factor]^k / k! with k = work[count] of each lane, at most last >= 1, and the same of the rows
    that follow; inverse_n = 1 / n."""

    def generate(code: Builder, given: Any) -> None:
        _, out, factor, count, inverse, last = given
        bases, numbers = ([code.load(code.sum(row, i)) for i in range(2)] for row in (factor, count))

        def step(n: Any, values: list[Any]) -> list[Any]:
            place, part = code.spread(code.builder.sitofp(n, DOUBLE)), code.load(code.sum(inverse, n))
            more = [code.builder.fcmp_ordered("<=", place, number) for number in numbers]
            by = [code.builder.select(more[i], code.times(bases[i], part), _ONE) for i in range(2)]
            return [code.times(values[i], by[i]) for i in range(2)]

        for i, value in enumerate(code.loop(constant(1), last, [_ONE] * 2, step)):
            code.store(code.sum(out, i), value)

    return types.void(work, *[types.int64] * 5), writes(generate)


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
def binomials_two(
    _typing: Any, work: Any, a: Any, b: Any, start: Any, mean: Any, phi: Any, count: Any, inverse: Any, last: Any
) -> Any:
    """a_j of (mean + phi t)^k / k! for j = 0 .. last, from a_0 = work[start]; k = work[count], beyond which it is zero.

    The same for b, from the rows after those of a.
    """

    def generate(code: Builder, given: Any) -> None:
        _, a, b, start, mean, phi, count, inverse, last = given
        shares, means, numbers, values = (
            [code.load(code.sum(row, i)) for i in range(2)] for row in (phi, mean, count, start)
        )
        ratios = [code.builder.fdiv(share, mu) for share, mu in zip(shares, means, strict=True)]
        for row, value in zip((a, b), values, strict=True):
            code.store(row, value)

        def step(j: Any, values: list[Any]) -> list[Any]:
            before, part = code.spread(code.builder.sitofp(code.sum(j, -1), DOUBLE)), code.load(code.sum(inverse, j))
            found = []
            for row, number, ratio, value in zip((a, b), numbers, ratios, values, strict=True):
                left = code.builder.fsub(number, before)
                left = code.builder.select(code.builder.fcmp_ordered(">", left, ZERO), left, ZERO)
                found.append(code.times(value, code.times(code.times(ratio, part), left)))
                code.store(code.sum(row, j), found[-1])
            return found

        code.loop(constant(1), last, values, step)

    return types.void(work, *[types.int64] * 8), writes(generate)


@intrinsic
def clear(_typing: Any, work: Any, first: Any) -> Any:
    """work[first] .. work[first + 3] = 0."""

    def generate(code: Builder, given: Any) -> None:
        for i in range(4):
            code.store(code.sum(given[1], i), ZERO)

    return types.void(work, types.int64), writes(generate)


@intrinsic
def divide_up_two(_typing: Any, work: Any, d: Any, other: Any, c: Any, mean: Any, phi: Any, last: Any) -> Any:
    """d_n of c(t) / (mean + phi t) for n = 0 .. last, from the lowest power up, as long as that is well-conditioned; -1
    from then on. The same for the mean and phi of the rows after those, in `other`.

    That is as long as mean d_n is the larger part of c_n = mean d_n + phi d_{n-1}: the ratio of d_n to d_{n-1} falls
    with n, c being a product of such factors, so there is one end to it.
    """

    def generate(code: Builder, given: Any) -> None:
        _, d, other, c, mean, phi, last = given
        builder = code.builder
        means, shares = ([code.load(code.sum(row, i)) for i in range(2)] for row in (mean, phi))
        inverses = [builder.fdiv(_ONE, mu) for mu in means]
        ratios = [builder.fneg(code.times(share, inverse)) for share, inverse in zip(shares, inverses, strict=True)]
        always = [builder.fcmp_ordered("<", share, _VANISHING) for share in shares]
        start = [builder.fcmp_ordered(">=", mu, _VANISHING) for mu in means]

        def step(n: Any, values: list[Any]) -> list[Any]:
            row, parts, known = code.load(code.sum(c, n)), [], []
            for i, out in enumerate((d, other)):
                whole = code.times(row, inverses[i])
                parts.append(code.multiply_add(ratios[i], values[i], whole))
                larger = builder.fcmp_ordered(">=", parts[i], code.times(_HALF, whole))
                known.append(builder.and_(values[2 + i], builder.or_(larger, always[i])))
                code.store(code.sum(out, n), builder.select(known[i], parts[i], _NOT_KNOWN))
            return [*parts, *known]

        code.loop(constant(0), last, [ZERO, ZERO, *start], step)

    return types.void(work, *[types.int64] * 6), writes(generate)


@intrinsic
def divide_down_two(
    _typing: Any, work: Any, found: Any, d: Any, other: Any, c: Any, z: Any, mean: Any, phi: Any, last: Any
) -> Any:
    """work[found] = sum_{n=0..last} z_n d_n and work[found + 1] = sum_n z_{n+1} d_n, with the d_n that `divide_up_two`
    has left open worked out from the highest power down; work[found + 2] and the next are those of `other`."""

    def generate(code: Builder, given: Any) -> None:
        _, found, d, other, c, z, mean, phi, last = given
        builder = code.builder
        inverses = [builder.fdiv(_ONE, code.load(code.sum(phi, i))) for i in range(2)]
        ratios = [builder.fneg(code.times(code.load(code.sum(mean, i)), inverses[i])) for i in range(2)]

        def step(m: Any, values: list[Any]) -> list[Any]:
            n = builder.sub(last, m)
            following, weights = code.sum(n, 1), [code.load(code.sum(code.sum(z, n), i)) for i in range(2)]
            row, parts, sums = code.load(code.sum(c, following)), [], []
            for i, up in enumerate((d, other)):
                parts.append(code.multiply_add(ratios[i], values[i], code.times(row, inverses[i])))
                value = code.load(code.sum(up, n))
                value = builder.select(builder.fcmp_ordered(">=", value, ZERO), value, parts[i])
                sums += [code.multiply_add(weights[j], value, values[2 + 2 * i + j]) for j in range(2)]
            return [*parts, *sums]

        for i, total in enumerate(code.loop(constant(0), last, [ZERO] * 6, step)[2:]):
            code.store(code.sum(found, i), total)

    return types.void(work, *[types.int64] * 8), writes(generate)


@intrinsic
def units_of(_typing: Any, work: Any, units: Any, counts: Any, total: Any, unit: Any) -> Any:
    """work[units] = 1 / lambda = K / (e (M + U)), K = work[counts], M = work[total], U = work[unit]; 1 where K is 0."""

    def generate(code: Builder, given: Any) -> None:
        _, units, counts, total, unit = given
        k = code.load(counts)
        whole = code.times(_E, code.builder.fadd(code.load(total), code.load(unit)))
        found = code.builder.fdiv(k, whole)
        code.store(units, code.builder.select(code.builder.fcmp_ordered(">", k, ZERO), found, _ONE))

    return types.void(work, *[types.int64] * 4), writes(generate)


@intrinsic
def in_units(_typing: Any, work: Any, mean: Any, phi: Any, count: Any, units: Any, unit: Any) -> Any:
    """work[mean] and work[phi] of one slot in their units; 1 and 0 where work[count] is 0."""

    def generate(code: Builder, given: Any) -> None:
        _, mean, phi, count, units, unit = given
        some, factor = code.builder.fcmp_ordered(">", code.load(count), ZERO), code.load(units)
        code.store(mean, code.builder.select(some, code.times(code.load(mean), factor), _ONE))
        by = code.times(factor, code.load(unit))
        code.store(phi, code.builder.select(some, code.times(code.load(phi), by), ZERO))

    return types.void(work, *[types.int64] * 5), writes(generate)


@intrinsic
def take_lanes(_typing: Any, work: Any, row: Any, values: Any, place: Any, total: Any) -> Any:
    """work[row] = the `WIDTH` values from `place` on, which are added to work[total]; values has one axis."""

    def generate(code: Builder, given: Any) -> None:
        _, row, _, place, total = given
        found = code.vector(2, place)
        code.store(row, found)
        code.store(total, code.builder.fadd(code.load(total), found))

    return types.void(work, types.int64, values, types.int64, types.int64), writes(generate)
