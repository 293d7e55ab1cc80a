"""Arithmetic of intervals: the limits of a number, from the limits of those that it is made of.

Each operation gives limits that hold for all values of its parts. A number that stands in two parts counts as two
numbers here, so that limits may be wider than the truth, never narrower: f - f of f in 0 to 1 has limits -1 to 1
(Moore, Kearfott and Cloud 2009, Introduction to Interval Analysis, section 2). An operation that some values do not
have raises `Undefined`.
"""

from __future__ import annotations

from collections.abc import Callable
from itertools import product

import numpy as np

#: The lowest and the highest value; either may be infinite.
Interval = tuple[float, float]


class Undefined(ArithmeticError):
    """Some values have no such result.

    Args:
        part: which of the parts of the operation is to blame, by its number.
        why: what it may be, and must not.
    """

    def __init__(self, part: int, why: str) -> None:
        super().__init__(why)
        self.part, self.why = part, why


def add(a: Interval, b: Interval) -> Interval:
    """a + b."""
    return a[0] + b[0], a[1] + b[1]


def subtract(a: Interval, b: Interval) -> Interval:
    """a - b."""
    return a[0] - b[1], a[1] - b[0]


def negative(a: Interval) -> Interval:
    """-a."""
    return -a[1], -a[0]


def multiply(a: Interval, b: Interval) -> Interval:
    """a b; zero times a limit that is infinite is zero."""
    corners = [0.0 if 0.0 in pair else pair[0] * pair[1] for pair in product(a, b)]
    return min(corners), max(corners)


def divide(a: Interval, b: Interval) -> Interval:
    """a / b.

    Raises:
        Undefined: b may be zero.
    """
    if b[0] <= 0.0 <= b[1]:
        raise Undefined(1, "a divisor that may be zero")
    return multiply(a, (1.0 / b[1], 1.0 / b[0]))


def power(a: Interval, b: Interval) -> Interval:
    """a to the power of b: a whole number that is fixed or, of a that is nowhere negative, anything.

    Raises:
        Undefined: a may be negative, or zero under a power that may be negative.
    """
    low, high = a
    whole = b[0] == b[1] and float(b[0]).is_integer()  # which infinity is not
    if low < 0.0 and not whole:
        raise Undefined(0, "a number that may be negative, under a power that is no fixed whole number")
    if low <= 0.0 <= high and b[0] < 0.0:
        raise Undefined(0, "a number that may be zero, under a power that may be negative")
    with np.errstate(over="ignore"):
        corners = [float(np.float64(x) ** y) for x, y in product(a, b)]
    # an even power of a number of both signs is least at zero
    return (0.0 if low < 0.0 < high and b[0] % 2 == 0 and b[0] != 0 else min(corners)), max(corners)


def exponential(a: Interval) -> Interval:
    """exp a."""
    with np.errstate(over="ignore"):
        return float(np.exp(a[0])), float(np.exp(a[1]))


def logarithm(a: Interval) -> Interval:
    """log a.

    Raises:
        Undefined: a may be zero or less.
    """
    if a[0] <= 0.0:
        raise Undefined(0, "the logarithm of a number that may be zero or less")
    return float(np.log(a[0])), float(np.log(a[1]))


def root(a: Interval) -> Interval:
    """The square root of a.

    Raises:
        Undefined: a may be negative.
    """
    if a[0] < 0.0:
        raise Undefined(0, "the square root of a number that may be negative")
    return float(np.sqrt(a[0])), float(np.sqrt(a[1]))


def least(*parts: Interval) -> Interval:
    """The least of some numbers."""
    return min(part[0] for part in parts), min(part[1] for part in parts)


def largest(*parts: Interval) -> Interval:
    """The largest of some numbers."""
    return max(part[0] for part in parts), max(part[1] for part in parts)


#: By the word or sign of the operation.
OPERATIONS: dict[str, Callable[..., Interval]] = {
    "+": add, "-": subtract, "*": multiply, "/": divide, "**": power, "minus": negative,
    "exp": exponential, "log": logarithm, "sqrt": root, "min": least, "max": largest,
}  # fmt: skip
