"""The table of an axis: a range of numbers, or choices with a condition."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Annotated, Any

import numpy as np
from pydantic import Field

from gammasky.engine.errors import InputError
from gammasky.engine.sky.schema import Schema, validated

DIGITS = 5  # significant, of a number between two limits: it is what its label says
_MOST = 100_000  # numbers of a grid
RANGE = ("low", "high", "step", "integer", "log", "count")


class AxisTable(Schema):
    """What the table of an axis may hold.

    Args:
        low, high: limits of a range, both included.
        step: distance between its numbers; integer: whether they are whole; log: whether the range is logarithmic.
        count: how many of its numbers a campaign fits, evenly spaced, while a search takes any.
        values: choices, in place of a range.
        sets: the numbers of the model or fit that an axis of one's own sets, as paths (`parameters.S_gce.high`).
        when: axis -> choices of it; the axis exists only with these.
    """

    low: float | None = None
    high: float | None = None
    step: Annotated[float, Field(gt=0)] | None = None
    integer: bool = False
    log: bool = False
    count: Annotated[int, Field(ge=2, le=_MOST)] | None = None
    values: list[Any] | None = None
    sets: str | list[str] | None = None
    when: dict[str, Any] = Field(default_factory=dict)


def is_axis_table(content: dict[str, Any]) -> bool:
    """Whether a table is that of an axis, and not one of choices by name, each of which is a table."""
    keys = set(AxisTable.model_fields) - {"when"}
    return any(name in keys and not isinstance(value, dict) for name, value in content.items())


@dataclass(frozen=True)
class Numbers:
    """A range of numbers, checked; see `AxisTable`."""

    low: float
    high: float
    step: float | None = None
    integer: bool = False
    log: bool = False
    count: int | None = None

    @property
    def grid(self) -> list[float] | None:
        """The numbers that a campaign fits; None where the file does not say which."""
        if self.count is not None:
            spaced = np.geomspace if self.log else np.linspace
            numbers = spaced(self.low, self.high, self.count)
            return list(dict.fromkeys(self.nearest(float(number)) for number in numbers))
        if self.step is None:
            return None
        return [self.nearest(self.low + number * self.step) for number in range(self.n_steps + 1)]

    @property
    def n_steps(self) -> int:
        """How many steps lead from low to high."""
        return round((self.high - self.low) / (self.step or math.inf))

    def nearest(self, number: float) -> float:
        """A number of the range near this one: of DIGITS digits, so that its label says all of it."""
        if self.integer:
            step = int(self.step or 1)
            return int(self.low) + step * round((number - self.low) / step)
        if self.step is not None:
            number = self.low + self.step * round((number - self.low) / self.step)
            return float(f"{number:.12g}")
        return min(max(float(f"{number:.{DIGITS}g}"), self.low), self.high)

    def __contains__(self, number: object) -> bool:
        whole = not self.integer or number == round(number)  # type: ignore[call-overload]
        return bool(whole and self.low <= number <= self.high)  # type: ignore[operator]

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


def read_axis_table(where: str, content: dict[str, Any]) -> AxisTable:
    """The table of an axis.

    Raises:
        InputError: an unknown key, with the nearest match; a range and values at once, or neither.
    """
    table = validated(AxisTable, content, where)
    given = [name for name in RANGE if name in table.model_fields_set]
    if table.values is not None and given:
        raise InputError(f"{where}: has `values` and `{given[0]}`; give a range or values")
    if table.values is None:
        for end in ("low", "high"):
            if getattr(table, end) is None:
                raise InputError(f"{where}: field '{end}' is missing; a range has `low` and `high`, or give `values`")
    return table


def read_numbers(where: str, table: AxisTable, *, whole: bool = False) -> Numbers:
    """The range of a table.

    Args:
        where: for messages.
        table: with a range.
        whole: the axis takes whole numbers only, whatever the table says.

    Raises:
        InputError: limits out of order, a logarithmic range from zero or below, a fraction where whole numbers are
            taken, a step that does not lead from low to high.
    """
    assert table.low is not None
    assert table.high is not None
    integer = whole or table.integer
    if not table.low < table.high:
        raise InputError(f"{where}: low must be below high, got low={table.low:g}, high={table.high:g}")
    if table.log and table.low <= 0:
        raise InputError(f"{where}: a logarithmic range begins above zero, got low={table.low:g}; raise it")
    if table.log and table.step is not None:
        raise InputError(f"{where}: a logarithmic range has no `step`; leave one of them out, or give `count`")
    if table.step is not None and table.count is not None:
        raise InputError(f"{where}: `step` and `count` both say which numbers a campaign fits; give one of them")
    for name in ("low", "high", "step") if integer else ():
        number = getattr(table, name)
        if number is not None and number != round(number):
            raise InputError(f"{where}: {name}: expected a whole number, got {number:g}")
    numbers = Numbers(table.low, table.high, table.step, integer, table.log, table.count)
    if integer and table.step is None and table.count is None and not table.log:
        numbers = Numbers(table.low, table.high, 1.0, integer)
    if numbers.step is not None and not math.isclose(numbers.low + numbers.n_steps * numbers.step, numbers.high):
        raise InputError(
            f"{where}: steps of {numbers.step:g} from low={numbers.low:g} do not end at high={numbers.high:g}; change"
            " one of them"
        )
    if numbers.n_steps > _MOST:
        raise InputError(f"{where}: has {numbers.n_steps + 1} numbers, more than {_MOST}; raise `step`")
    return numbers
