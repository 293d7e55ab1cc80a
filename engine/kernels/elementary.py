"""exp and log written out, because LLVM does not vectorise the library's: a loop over lanes that calls them does.

Loops with several such calls are not inlined, and so not vectorised: one call to a loop.
"""

from __future__ import annotations

from typing import Any

import numpy as np
from llvmlite import ir
from numba import njit, types
from numba.extending import intrinsic

from gammasky.engine.kernels.policy import CACHE

LOG2_E = 1.4426950408889634
LN2_HIGH = 6.93147180369123816490e-01  # trailing zeros: products with whole numbers below 2^11 are exact
LN2_LOW = 1.90821492927058770002e-10
ROUNDER = 6755399441055744.0  # 1.5 * 2^52: adding it rounds to a whole number, held in the low bits
EXP_MAX = 709.43  # above, 2^k itself overflows
EXP_MIN = -708.0  # below, the result would be denormal: flushed to zero
_HALF_ROOT = 0x3FE6A09E667F3BCD  # bits of sqrt(1/2)
_ROUNDER_BITS = 0x4338000000000000  # bits of ROUNDER: whole numbers added to them are added to the number


@intrinsic
def _bits_of(_context: Any, _value: Any) -> Any:
    """The bit pattern of a float64 as int64."""

    def generate(_ctx: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.IntType(64))

    return types.int64(types.float64), generate


@intrinsic
def _float_of(_context: Any, _value: Any) -> Any:
    """The float64 with the bit pattern of an int64."""

    def generate(_ctx: Any, builder: Any, _signature: Any, arguments: Any) -> Any:
        return builder.bitcast(arguments[0], ir.DoubleType())

    return types.float64(types.int64), generate


@njit(nogil=True, cache=CACHE, fastmath={"contract"})
def exponential(x: float) -> float:
    """exp(x) to 1 unit in the last place, without branches: 2^k times the Taylor series of exp(r), |r| <= ln(2) / 2.

    Above 709.43 the result is inf, below -708 it is 0; NaN stays NaN.
    """
    shifted = x * LOG2_E + ROUNDER
    whole = shifted - ROUNDER
    r = (x - whole * LN2_HIGH) - whole * LN2_LOW
    p = 1.0 / 6227020800.0
    p = p * r + 1.0 / 479001600.0
    p = p * r + 1.0 / 39916800.0
    p = p * r + 1.0 / 3628800.0
    p = p * r + 1.0 / 362880.0
    p = p * r + 1.0 / 40320.0
    p = p * r + 1.0 / 5040.0
    p = p * r + 1.0 / 720.0
    p = p * r + 1.0 / 120.0
    p = p * r + 1.0 / 24.0
    p = p * r + 1.0 / 6.0
    p = p * r + 0.5
    p = p * r + 1.0
    p = p * r + 1.0
    # the shift by 52 keeps the low 12 bits: the exponent field
    result = p * _float_of((_bits_of(shifted) + 1023) << 52)
    result = np.inf if x > EXP_MAX else result
    return 0.0 if x < EXP_MIN else result


@njit(nogil=True, cache=CACHE, fastmath={"contract"}, error_model="numpy")
def logarithm(x: float) -> float:
    """log(x) of a normal x > 0 to 2 units in the last place, without branches: k log 2 + 2 artanh((m - 1) / (m + 1)).

    An argument that is not normal and positive gives nonsense, not NaN.
    """
    bits = _bits_of(x)
    power = (bits - _HALF_ROOT) >> 52
    whole = _float_of(power + _ROUNDER_BITS) - ROUNDER
    mantissa = _float_of(bits - (power << 52))  # in [sqrt(1/2), sqrt(2))
    f = (mantissa - 1.0) / (mantissa + 1.0)
    s = f * f
    p = 1.0 / 23.0
    p = p * s + 1.0 / 21.0
    p = p * s + 1.0 / 19.0
    p = p * s + 1.0 / 17.0
    p = p * s + 1.0 / 15.0
    p = p * s + 1.0 / 13.0
    p = p * s + 1.0 / 11.0
    p = p * s + 1.0 / 9.0
    p = p * s + 1.0 / 7.0
    p = p * s + 1.0 / 5.0
    p = p * s + 1.0 / 3.0
    return whole * LN2_HIGH + (2.0 * f + (2.0 * f * s * p + whole * LN2_LOW))
