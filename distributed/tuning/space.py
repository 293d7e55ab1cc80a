"""What a search may choose from: named settings, each with a distribution of Optuna's."""

from __future__ import annotations

import itertools
import math
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, Any

from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

Params = dict[str, Any]
Space = Mapping[str, "Distribution"]


def holds(distribution: Distribution, value: Any) -> bool:
    """Whether a value may be chosen."""
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return value in distribution.choices
    kind = int if isinstance(distribution, IntDistribution) else int | float
    number = isinstance(value, kind) and not isinstance(value, bool)
    return number and distribution.low <= value <= distribution.high


def shown(distribution: Distribution) -> str:
    """What may be chosen, in words."""
    parts = _parts(distribution)
    return ", ".join(map(str, parts["values"])) if "values" in parts else f"{parts['low']:g} to {parts['high']:g}"


def _parts(distribution: Distribution) -> dict[str, Any]:
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return {"values": list(distribution.choices)}
    return {"low": distribution.low, "high": distribution.high, "log": distribution.log}


def everything(space: Space, most: int) -> list[Params] | None:
    """All that may be chosen; None where that is more than `most`, or has no end."""
    from optuna.distributions import CategoricalDistribution, FloatDistribution

    lists: dict[str, Sequence[Any]] = {}
    for name, distribution in space.items():
        if isinstance(distribution, FloatDistribution):
            return None
        if isinstance(distribution, CategoricalDistribution):
            lists[name] = distribution.choices
        else:
            lists[name] = range(distribution.low, distribution.high + 1, distribution.step)
    if math.prod(map(len, lists.values())) > most:
        return None
    return [dict(zip(lists, values, strict=True)) for values in itertools.product(*lists.values())]


def check_params(space: Space, params: Params) -> None:
    """Refuse settings that are not of the space.

    Raises:
        InputError: names the setting that is missing, unknown or out of range.
    """
    for name in params:
        if name not in space:
            raise unknown_name("setting", name, space)
    for name, distribution in space.items():
        if name not in params:
            raise InputError(f"setting '{name}': no value given; expected {shown(distribution)}")
        if not holds(distribution, params[name]):
            raise InputError(f"setting '{name}': expected {shown(distribution)}, got {params[name]!r}")


def space_as_json(space: Space) -> dict[str, Any]:
    """The space as plain JSON."""
    return {name: _parts(distribution) for name, distribution in space.items()}
