"""Numerical policy of the kernels: accumulation type, fast-math flags, ranges. One place, no exceptions.

All kernels work in float64. The compiler may reorder and fuse sums (`reassoc`, `contract`, `nsz`); it may never assume
that NaN or infinity do not occur (`nnan`, `ninf` are not among the flags), because a non-finite number must come out
as such.
"""

from __future__ import annotations

from typing import Any

from numba import njit

FAST_MATH = frozenset({"reassoc", "contract", "nsz"})


def _nothing() -> None:
    """What is compiled to see whether it would be kept."""


def _can_cache() -> bool:
    """Whether Numba finds a folder for compiled kernels: beside their source, or the user's own.

    A read-only installation and a home that is not there leave it none: then every process compiles anew.
    """
    try:
        njit(cache=True)(_nothing)
    except RuntimeError as error:
        if "no locator available" not in str(error):
            raise
        return False
    return True


CACHE = _can_cache()

#: Options of every compiled kernel: no Python lock, cached on disk, IEEE results of division by zero.
COMPILE: dict[str, Any] = {
    "nogil": True,
    "cache": CACHE,
    "fastmath": set(FAST_MATH),
    "error_model": "numpy",
}

#: The same for kernels with sums that must be taken as they are written: adding a large number rounds.
AS_WRITTEN: dict[str, Any] = {**COMPILE, "fastmath": {"contract"}}

#: A recursion whose terms leave this range is run again with scaling. Any two numbers in it have a ratio that is a
#: float64 too: ratios of terms are the gradient.
SAFE_LOW = 1e-100
SAFE_HIGH = 1e200
