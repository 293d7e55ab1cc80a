"""What a search may choose from: named settings, each with choices or a range."""

from __future__ import annotations

import math
from collections.abc import Mapping
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from optuna.distributions import BaseDistribution

Value = float | int | str | bool
Params = dict[str, Any]


@dataclass(frozen=True)
class Choice:
    """One of these values.

    Raises:
        InputError: none, or one of them twice.
    """

    values: tuple[Value, ...]

    def __post_init__(self) -> None:
        if not self.values or len(set(self.values)) < len(self.values):
            raise InputError(f"choices: expected values that differ, at least one, got {list(self.values)}")

    def holds(self, value: Any) -> bool:
        """Whether it may be chosen."""
        return value in self.values

    def distribution(self) -> BaseDistribution:
        """The same, as Optuna has it."""
        from optuna.distributions import CategoricalDistribution

        return CategoricalDistribution(self.values)

    def __str__(self) -> str:
        return ", ".join(map(str, self.values))


@dataclass(frozen=True)
class Range:
    """A number from `low` to `high`, both included; log: evenly in its logarithm; whole numbers where both ends are.

    Raises:
        InputError: ends that are no numbers, not in order, or not above 0 in a logarithm.
    """

    low: float
    high: float
    log: bool = False

    def __post_init__(self) -> None:
        if not (math.isfinite(self.low) and math.isfinite(self.high) and self.low < self.high):
            raise InputError(f"range: expected finite numbers, the lower first, got {self.low:g} to {self.high:g}")
        if self.log and self.low <= 0:
            raise InputError(f"range: expected numbers above 0 for a logarithm, got {self.low:g} to {self.high:g}")

    @property
    def whole(self) -> bool:
        """Whether it is one of whole numbers."""
        return isinstance(self.low, int) and isinstance(self.high, int)

    def holds(self, value: Any) -> bool:
        """Whether it may be chosen."""
        number = isinstance(value, int if self.whole else int | float) and not isinstance(value, bool)
        return number and self.low <= value <= self.high

    def distribution(self) -> BaseDistribution:
        """The same, as Optuna has it."""
        from optuna.distributions import FloatDistribution, IntDistribution

        kind = IntDistribution if self.whole else FloatDistribution
        return kind(self.low, self.high, log=self.log)  # type: ignore[arg-type]

    def __str__(self) -> str:
        return f"{self.low:g} to {self.high:g}"


Space = Mapping[str, Choice | Range]


def check_params(space: Space, params: Params) -> None:
    """Refuse settings that are not of the space.

    Raises:
        InputError: names the setting that is missing, unknown or out of range.
    """
    for name in params:
        if name not in space:
            raise unknown_name("setting", name, space)
    for name, choice in space.items():
        if name not in params:
            raise InputError(f"setting '{name}': no value given; expected {choice}")
        if not choice.holds(params[name]):
            raise InputError(f"setting '{name}': expected {choice}, got {params[name]!r}")


def space_as_json(space: Space) -> dict[str, Any]:
    """The space as plain JSON."""
    return {name: {key: _plain(part) for key, part in asdict(choice).items()} for name, choice in space.items()}


def _plain(part: Any) -> Any:
    return list(part) if isinstance(part, tuple) else part
