"""Rows of lanes as hardware vectors: four operations that LLVM cannot vectorise by itself.

Two Numba arrays may overlap for all the compiler knows, so it keeps a loop over lanes scalar (measured: five times
slower). These intrinsics say what is meant: a row of `LANES` contiguous float64 is loaded, combined and stored as
vectors of `WIDTH`; LLVM splits them to whatever the processor has. Arrays are C-contiguous (rows, LANES); row numbers
are not checked.
"""

# ruff: noqa: ARG001  (an intrinsic names its arguments for the caller; the generated code takes them by position)

from __future__ import annotations

from typing import Any

from llvmlite import ir
from numba import types
from numba.extending import intrinsic

from gammasky.engine.kernels.nptf.plan import LANES

WIDTH = 8
_DOUBLE, _INDEX = ir.DoubleType(), ir.IntType(64)
_VECTOR = ir.VectorType(_DOUBLE, WIDTH)
_ZERO = ir.Constant(_VECTOR, [0.0] * WIDTH)
_FUSE = ("contract",)  # a multiply and an add may become one instruction; nothing else is relaxed


class _Rows:
    """Access to the rows of a Numba array argument inside generated code."""

    def __init__(self, context: Any, builder: Any, array_type: Any, array: Any) -> None:
        self.builder = builder
        self.data = context.make_array(array_type)(context, builder, array).data

    def _pointers(self, row: Any) -> list[Any]:
        start = self.builder.mul(row, ir.Constant(_INDEX, LANES))
        offsets = [self.builder.add(start, ir.Constant(_INDEX, at)) for at in range(0, LANES, WIDTH)]
        return [self.builder.bitcast(self.builder.gep(self.data, [at]), _VECTOR.as_pointer()) for at in offsets]

    def load(self, row: Any) -> list[Any]:
        return [self.builder.load(pointer, align=8) for pointer in self._pointers(row)]

    def store(self, row: Any, vectors: list[Any]) -> None:
        for pointer, vector in zip(self._pointers(row), vectors, strict=True):
            self.builder.store(vector, pointer, align=8)


def _multiply_add(builder: Any, a: list[Any], b: list[Any], c: list[Any]) -> list[Any]:
    products = [builder.fmul(x, y, flags=_FUSE) for x, y in zip(a, b, strict=True)]
    return [builder.fadd(x, y, flags=_FUSE) for x, y in zip(products, c, strict=True)]


def _spread(builder: Any, scalar: Any) -> list[Any]:
    """`scalar` in every lane."""
    undefined = ir.Constant(_VECTOR, ir.Undefined)
    first = builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
    mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
    return [builder.shuffle_vector(first, undefined, mask)] * (LANES // WIDTH)


@intrinsic
def convolve(_typing: Any, target: Any, y: Any, q: Any, n: Any, factor: Any) -> Any:
    """target[n] = factor * sum_{m=1..n} y[m] q[n - m], row by row; n >= 1. `target` may be `q`."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _Rows(context, builder, signature.args[0], arguments[0])
        rows_y = _Rows(context, builder, signature.args[1], arguments[1])
        rows_q = _Rows(context, builder, signature.args[2], arguments[2])
        n, one = arguments[3], ir.Constant(_INDEX, 1)
        before, loop, after = (
            builder.block,
            builder.append_basic_block("convolve"),
            builder.append_basic_block("convolved"),
        )
        builder.branch(loop)
        builder.position_at_end(loop)
        m = builder.phi(_INDEX)
        sums = [builder.phi(_VECTOR) for _ in range(LANES // WIDTH)]
        added = _multiply_add(builder, rows_y.load(m), rows_q.load(builder.sub(n, m)), sums)
        following = builder.add(m, one)
        for value, start, step in [(m, one, following), *((s, _ZERO, a) for s, a in zip(sums, added, strict=True))]:
            value.add_incoming(start, before)
            value.add_incoming(step, loop)
        builder.cbranch(builder.icmp_signed("<=", following, n), loop, after)
        builder.position_at_end(after)
        factors = _spread(builder, arguments[4])
        rows.store(n, [builder.fmul(a, f) for a, f in zip(added, factors, strict=True)])
        return context.get_dummy_value()

    return types.void(target, y, q, types.int64, types.float64), generate


@intrinsic
def add_scaled(_typing: Any, target: Any, row: Any, factor: Any, source: Any, source_row: Any) -> Any:
    """target[row] += factor * source[source_row]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        rows = _Rows(context, builder, signature.args[0], arguments[0])
        others = _Rows(context, builder, signature.args[3], arguments[3])
        factor = _spread(builder, arguments[2])
        added = _multiply_add(builder, factor, others.load(arguments[4]), rows.load(arguments[1]))
        rows.store(arguments[1], added)
        return context.get_dummy_value()

    return types.void(target, types.int64, types.float64, source, types.int64), generate


@intrinsic
def dot(_typing: Any, a: Any, a_row: Any, b: Any, b_row: Any) -> Any:
    """sum over lanes of a[a_row] * b[b_row]."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        left = _Rows(context, builder, signature.args[0], arguments[0]).load(arguments[1])
        right = _Rows(context, builder, signature.args[2], arguments[2]).load(arguments[3])
        parts = [builder.fmul(x, y, flags=_FUSE) for x, y in zip(left, right, strict=True)]
        while len(parts) > 1:
            parts = [builder.fadd(parts[i], parts[i + 1], flags=_FUSE) for i in range(0, len(parts), 2)]
        total: Any = ir.Constant(_DOUBLE, 0.0)
        for lane in range(WIDTH):
            total = builder.fadd(total, builder.extract_element(parts[0], ir.Constant(ir.IntType(32), lane)))
        return total

    return types.float64(a, types.int64, b, types.int64), generate


@intrinsic
def all_between(_typing: Any, array: Any, row: Any, low: Any, high: Any) -> Any:
    """Whether every lane of array[row] lies in [low, high]; False for NaN."""

    def generate(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        vectors = _Rows(context, builder, signature.args[0], arguments[0]).load(arguments[1])
        low, high = _spread(builder, arguments[2])[0], _spread(builder, arguments[3])[0]
        inside: Any = ir.Constant(ir.VectorType(ir.IntType(1), WIDTH), [True] * WIDTH)
        for vector in vectors:
            inside = builder.and_(inside, builder.fcmp_ordered(">=", vector, low))
            inside = builder.and_(inside, builder.fcmp_ordered("<=", vector, high))
        bits = builder.bitcast(inside, ir.IntType(WIDTH))
        return builder.icmp_unsigned("==", bits, ir.Constant(ir.IntType(WIDTH), 2**WIDTH - 1))

    return types.boolean(array, types.int64, types.float64, types.float64), generate
