"""Rows of lanes as hardware vectors: the loops of the kernel that LLVM cannot vectorise by itself.

Two Numba arrays may overlap for all the compiler knows, so it keeps a loop over lanes scalar (measured: five times
slower). These intrinsics say what is meant: a row of `WIDTH` contiguous float64 is loaded, combined and stored as one
vector, which LLVM splits to whatever the processor has; sums stay in registers over a loop. The rows are those of one
C-contiguous array `work` (rows, WIDTH): more arrays would cost more to hand over than to work on. Row numbers are not
checked, and a loop runs at least once.
"""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from collections.abc import Callable
from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

WIDTH = 8
_DOUBLE, _INDEX = ir.DoubleType(), ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, WIDTH)
_ZERO = ir.Constant(_VECTOR, [0.0] * WIDTH)
_FUSE = ("contract",)  # a multiply and an add may become one instruction; nothing else is relaxed


class _Builder:
    """Generated code of one intrinsic: vectors in and out of the rows of its first argument."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.signature, self.arguments = signature, arguments

    def _pointer(self, argument: int, index: Any) -> Any:
        array = self.context.make_array(self.signature.args[argument])
        data = array(self.context, self.builder, self.arguments[argument]).data
        return self.builder.gep(data, [index])

    def _row(self, row: Any) -> Any:
        start = self.builder.mul(row, _constant(WIDTH))
        return self.builder.bitcast(self._pointer(0, start), _VECTOR.as_pointer())

    def load(self, row: Any) -> Any:
        return self.builder.load(self._row(row), align=8)

    def store(self, row: Any, vector: Any) -> None:
        self.builder.store(vector, self._row(row), align=8)

    def number(self, argument: int, index: Any) -> Any:
        """Entry `index` of an argument that is an array of one axis, in every lane."""
        return self.spread(self.builder.load(self._pointer(argument, index), align=8))

    def spread(self, scalar: Any) -> Any:
        """`scalar` in every lane."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return self.builder.shuffle_vector(first, undefined, mask)

    def sum(self, a: Any, b: Any) -> Any:
        """Sum of two row numbers; either may be a Python number."""
        return self.builder.add(*(_constant(x) if isinstance(x, int) else x for x in (a, b)))

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=_FUSE)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.times(a, b), c, flags=_FUSE)

    def loop(
        self, first: Any, last: Any, start: list[Any], step: Callable[[Any, list[Any]], list[Any]], by: int = 1
    ) -> list[Any]:
        """What `step(m, values)` makes of `start` for m = first, first + by, .. last, one after the other."""
        builder = self.builder
        before, body = builder.block, builder.append_basic_block("rows")
        after = builder.append_basic_block("rows_done")
        builder.branch(body)
        builder.position_at_end(body)
        m, values = builder.phi(_INDEX), [builder.phi(value.type) for value in start]
        made, following = step(m, values), self.sum(m, by)
        for phi, initial, next_value in zip([m, *values], [first, *start], [following, *made], strict=True):
            phi.add_incoming(initial, before)
            phi.add_incoming(next_value, body)
        builder.cbranch(builder.icmp_signed("<=", following, last), body, after)
        builder.position_at_end(after)
        return made


def _constant(number: int) -> Any:
    return ir.Constant(_INDEX, number)


def _writes(generate: Callable[[_Builder, Any], None]) -> Callable[..., Any]:
    """The code generator of an intrinsic that returns nothing."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        generate(_Builder(context, builder, signature, arguments), arguments)
        return context.get_dummy_value()

    return code


@intrinsic
def add_scaled(_typing: Any, work: Any, row: Any, factor: Any, source: Any) -> Any:
    """work[row] += factor * work[source]."""

    def generate(code: _Builder, given: Any) -> None:
        _, row, factor, source = given
        code.store(row, code.multiply_add(code.spread(factor), code.load(source), code.load(row)))

    return types.void(work, types.int64, types.float64, types.int64), _writes(generate)


@intrinsic
def add_terms(_typing: Any, work: Any, y: Any, last: Any, x: Any, start: Any, template: Any) -> Any:
    """work[y + m] += m * x[start + m] * work[template] for m = 1 .. last; x has one axis."""

    def generate(code: _Builder, given: Any) -> None:
        _, y, last, _, start, template = given
        factor = code.load(template)

        def step(m: Any, _values: list[Any]) -> list[Any]:
            term = code.times(code.spread(code.builder.sitofp(m, _DOUBLE)), code.number(3, code.sum(start, m)))
            code.store(code.sum(y, m), code.multiply_add(term, factor, code.load(code.sum(y, m))))
            return []

        code.loop(_constant(1), last, [], step)

    return types.void(work, types.int64, types.int64, x, types.int64, types.int64), _writes(generate)


@intrinsic
def convolve(_typing: Any, work: Any, q: Any, y: Any, inverse: Any, n: Any) -> Any:
    """q_n = inverse_n sum_{m=1..n} y_m q_{n-m}, where q_n is work[q + n], and so on."""

    def generate(code: _Builder, given: Any) -> None:
        _, q, y, inverse, n = given

        def step(j: Any, sums: list[Any]) -> list[Any]:
            y_m = code.load(code.sum(y, code.builder.sub(n, j)))
            return [code.multiply_add(y_m, code.load(code.sum(q, j)), sums[0])]

        (total,) = code.loop(_constant(0), code.sum(n, -1), [_ZERO], step)
        code.store(code.sum(q, n), code.times(total, code.load(code.sum(inverse, n))))

    return types.void(work, *[types.int64] * 4), _writes(generate)


@intrinsic
def convolve_four(_typing: Any, work: Any, q: Any, y: Any, inverse: Any, n: Any) -> Any:
    """The same for n, n + 1, n + 2 and n + 3 with n >= 2, summed side by side: two q at a time share the loads of y."""

    def generate(code: _Builder, given: Any) -> None:
        _, q, y, inverse, n = given
        odd = code.builder.and_(n, _constant(1))
        one = code.builder.icmp_signed("==", odd, _constant(1))
        row = code.sum(y, n)
        start = [code.builder.select(one, code.load(code.sum(row, i)), _ZERO) for i in range(4)]  # q_0 = 1

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

    return types.void(work, *[types.int64] * 4), _writes(generate)


@intrinsic
def collect(
    _typing: Any, work: Any, d_x: Any, total: Any, q: Any, k: Any, scale: Any, x: Any, start: Any, template: Any
) -> Any:
    """With w_m = work[scale] * work[q + k - m], m = 0 .. k: work[d_x + m] += work[template] * w_m, and
    work[total] += sum_m x[start + m] w_m; x has one axis."""

    def generate(code: _Builder, given: Any) -> None:
        _, d_x, total, q, k, scale, _, start, template = given
        factor, weight, end = code.load(template), code.load(scale), code.sum(q, k)

        def step(m: Any, sums: list[Any]) -> list[Any]:
            w, row = code.times(weight, code.load(code.builder.sub(end, m))), code.sum(d_x, m)
            code.store(row, code.multiply_add(factor, w, code.load(row)))
            return [code.multiply_add(code.number(6, code.sum(start, m)), w, sums[0])]

        code.store(total, code.loop(_constant(0), k, [code.load(total)], step)[0])

    return types.void(work, *[types.int64] * 5, x, types.int64, types.int64), _writes(generate)


@intrinsic
def all_between(_typing: Any, work: Any, first: Any, last: Any, low: Any, high: Any) -> Any:
    """Whether work[first] .. work[last] lie in [low, high], NaN left out, and the last row is no NaN either."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        code = _Builder(context, builder, signature, arguments)
        _, first, last, low, high = arguments
        low, high = code.spread(low), code.spread(high)

        def step(m: Any, extremes: list[Any]) -> list[Any]:
            row, (least, most) = code.load(m), extremes
            less, more = builder.fcmp_ordered("<", row, least), builder.fcmp_ordered(">", row, most)
            return [builder.select(less, row, least), builder.select(more, row, most)]

        # from the limits themselves: they stay unless a row is beyond
        least, most = code.loop(first, last, [low, high], step)
        inside = builder.and_(builder.fcmp_ordered("==", least, low), builder.fcmp_ordered("==", most, high))
        inside = builder.and_(inside, builder.fcmp_ordered("ord", code.load(last), _ZERO))
        bits = builder.bitcast(inside, ir.IntType(WIDTH))
        return builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(WIDTH), 2**WIDTH - 1))

    return types.boolean(work, types.int64, types.int64, types.float64, types.float64), generate
