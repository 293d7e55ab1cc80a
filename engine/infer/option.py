"""One setting of a method: its default, what it may be, and what it means. All who need to know read it here."""

from __future__ import annotations

import math
from collections.abc import Collection
from dataclasses import dataclass
from numbers import Integral, Real
from typing import Any

from gammasky.engine.errors import InputError, unknown_name

LARGEST = 2**31 - 1  # of whole numbers, which are counted in 32 bits


@dataclass(frozen=True)
class Option:
    """One setting of a method.

    Attributes:
        default: its value unless another is asked for; None where it follows from other settings, see `default_text`.
        help: what it means, in a few words.
        kind: int, float, bool or str.
        low, high: limits, inclusive; a number without `high` is finite, and a whole one at most LARGEST.
        above: an exclusive lower limit, in place of `low`.
        choices: of a word.
        default_text: what the default is, where `default` is None.
        tunable: a search for the best settings may vary it.
        searched: what such a search tries unless it is told otherwise, as "A,B,C" or "LOW:HIGH" or "LOW:HIGH:log"; ""
            leaves it at its default.
    """

    default: Any
    help: str
    kind: type
    low: float = -math.inf
    high: float = math.inf
    above: float | None = None
    choices: Collection[str] = ()
    default_text: str = ""
    tunable: bool = False
    searched: str = ""

    def checked(self, name: str, value: Any) -> Any:
        """Check a value and return it as a plain Python one.

        Raises:
            InputError: it is of another kind, or out of range; one line that begins with `name`.
        """
        if self.kind is str:
            if not isinstance(value, str) or value not in self.choices:
                raise unknown_name(name, str(value), self.choices)
            return value
        if self.kind is bool:
            if not isinstance(value, bool):
                raise InputError(f"{name}: expected true or false, got {value!r}")
            return value
        wanted = Integral if self.kind is int else Real
        if isinstance(value, bool) or not isinstance(value, wanted) or not self._inside(value):
            raise InputError(f"{name}: expected {self.expected}, got {_shown(value)}")
        number = self.kind(value)
        if self.kind is int and math.isinf(self.high) and number > LARGEST:
            raise InputError(f"{name}: expected a whole number of at most {LARGEST}, got {_shown(number)}")
        return number

    def _inside(self, value: Any) -> bool:
        """Whether a number is within the limits; a whole one may be larger than any float."""
        above = value >= self.low if self.above is None else value > self.above
        try:
            finite = math.isfinite(value)
        except OverflowError:  # beyond every float
            finite = self.kind is int
        return bool(above and value <= self.high and finite)

    @property
    def expected(self) -> str:
        """What a number may be, in words."""
        what = "a whole number" if self.kind is int else "a number"
        if self.above is not None:
            return f"a finite number above {self.above:g}"
        low, high = (int(end) if math.isfinite(end) else end for end in (self.low, self.high))
        return f"{what} of at least {low}" if math.isinf(high) else f"{what} from {low} to {high}"


def _shown(value: Any) -> str:
    """A value in a message: a whole number of very many digits by its size."""
    digits = int(math.log10(abs(value))) + 1 if isinstance(value, int) and value else 0
    return f"one of {digits} digits" if digits > 40 else repr(value)
