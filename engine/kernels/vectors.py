"""Rows of lanes as hardware vectors, for loops that LLVM cannot vectorise by itself.

Two Numba arrays may overlap for all the compiler knows, so it keeps a loop over lanes scalar (measured: five times
slower). Intrinsics made with `Builder` say what is meant: a row of `WIDTH` contiguous float64 is loaded, combined and
stored as one vector, which LLVM splits to whatever the processor has; sums stay in registers over a loop. The rows are
those of one C-contiguous array `work` (rows, WIDTH): more arrays would cost more to hand over than to work on. Row
numbers are not checked, and a loop runs at least once.
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import elementary
from gammasky.engine.kernels.policy import COMPILE

WIDTH = 8
DOUBLE, _INDEX = ir.DoubleType(), ir.IntType(64)
_VECTOR = ir.VectorType(DOUBLE, WIDTH)
ZERO = ir.Constant(_VECTOR, [0.0] * WIDTH)
_TAYLOR = 13  # degree of the series of exp(r), |r| <= ln(2) / 2
_FUSE = ("contract",)  # a multiply and an add may become one instruction; nothing else is relaxed


class Builder:
    """Generated code of one intrinsic: vectors in and out of the rows of its first argument."""

    def __init__(self, context: Any, builder: Any, signature: Any, arguments: Any) -> None:
        self.context, self.builder = context, builder
        self.signature, self.arguments = signature, arguments

    def _pointer(self, argument: int, index: Any) -> Any:
        array = self.context.make_array(self.signature.args[argument])
        data = array(self.context, self.builder, self.arguments[argument]).data
        return self.builder.gep(data, [index])

    def _row(self, row: Any) -> Any:
        start = self.builder.mul(row, constant(WIDTH))
        return self.builder.bitcast(self._pointer(0, start), _VECTOR.as_pointer())

    def load(self, row: Any) -> Any:
        return self.builder.load(self._row(row), align=8)

    def store(self, row: Any, vector: Any) -> None:
        self.builder.store(vector, self._row(row), align=8)

    def number(self, argument: int, index: Any) -> Any:
        """Entry `index` of an argument that is an array of one axis, in every lane."""
        return self.spread(self.builder.load(self._pointer(argument, index), align=8))

    def vector(self, argument: int, index: Any) -> Any:
        """The `WIDTH` entries from `index` on of an argument that is an array of one axis."""
        return self.builder.load(self.builder.bitcast(self._pointer(argument, index), _VECTOR.as_pointer()), align=8)

    def spread(self, scalar: Any) -> Any:
        """`scalar` in every lane."""
        undefined = ir.Constant(_VECTOR, ir.Undefined)
        first = self.builder.insert_element(undefined, scalar, ir.Constant(ir.IntType(32), 0))
        mask = ir.Constant(ir.VectorType(ir.IntType(32), WIDTH), [0] * WIDTH)
        return self.builder.shuffle_vector(first, undefined, mask)

    def sum(self, a: Any, b: Any) -> Any:
        """Sum of two row numbers; either may be a Python number."""
        return self.builder.add(*(constant(x) if isinstance(x, int) else x for x in (a, b)))

    def times(self, a: Any, b: Any) -> Any:
        return self.builder.fmul(a, b, flags=_FUSE)

    def multiply_add(self, a: Any, b: Any, c: Any) -> Any:
        return self.builder.fadd(self.times(a, b), c, flags=_FUSE)

    def exponential(self, x: Any) -> Any:
        """exp(x) in every lane, the steps and the limits of `elementary.exponential`.

        Only for kernels compiled with `policy.AS_WRITTEN`.
        """
        builder, whole_numbers = self.builder, ir.VectorType(_INDEX, WIDTH)
        shifted = self.multiply_add(x, _every(elementary.LOG2_E), _every(elementary.ROUNDER))
        whole = builder.fsub(shifted, _every(elementary.ROUNDER))
        r = self.multiply_add(whole, _every(-elementary.LN2_HIGH), x)
        r = self.multiply_add(whole, _every(-elementary.LN2_LOW), r)
        square, halves = self.times(r, r), []
        for last in (_TAYLOR - 1, _TAYLOR):  # even and odd powers side by side: neither waits for the other
            p = _every(1.0 / math.factorial(last))
            for n in range(last - 2, -1, -2):
                p = self.multiply_add(p, square, _every(1.0 / math.factorial(n)))
            halves.append(p)
        p = self.multiply_add(halves[1], r, halves[0])
        exponent = builder.add(builder.bitcast(shifted, whole_numbers), ir.Constant(whole_numbers, [1023] * WIDTH))
        power = builder.shl(exponent, ir.Constant(whole_numbers, [52] * WIDTH))
        result = self.times(p, builder.bitcast(power, _VECTOR))
        above = builder.fcmp_ordered(">", x, _every(elementary.EXP_MAX))
        below = builder.fcmp_ordered("<", x, _every(elementary.EXP_MIN))
        return builder.select(below, ZERO, builder.select(above, _every(math.inf), result))

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


def constant(number: int) -> Any:
    return ir.Constant(_INDEX, number)


def _every(number: float) -> Any:
    """The same number in every lane."""
    return ir.Constant(_VECTOR, [number] * WIDTH)


def writes(generate: Callable[[Builder, Any], None]) -> Callable[..., Any]:
    """The code generator of an intrinsic that returns nothing."""

    def code(context: Any, builder: Any, signature: Any, arguments: Any) -> Any:
        generate(Builder(context, builder, signature, arguments), arguments)
        return context.get_dummy_value()

    return code


@njit(**COMPILE)
def rows_of(number: int) -> NDArray[np.float64]:
    """Zeros (number, WIDTH), each row of which begins where a line of the cache does."""
    room = np.zeros((number + 1) * WIDTH)
    start = -(room.ctypes.data // 8) % WIDTH
    return room[start : start + number * WIDTH].reshape(number, WIDTH)
