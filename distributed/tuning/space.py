"""What a search may choose from: named settings, each with a distribution of Optuna's."""

from __future__ import annotations

import itertools
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution
    from optuna.trial import Trial

    Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

Params = dict[str, Any]
Space = Mapping[str, "Distribution"]


@dataclass(frozen=True)
class SearchSpace:
    """What a search may choose from where some of it exists only beside some choices of the rest.

    Attributes:
        distributions: of Optuna's, by name; each after those that it hangs on.
        exists: (name, the parameters before it) -> whether it is there.
        nearest: (name, value) -> the value that is taken for it.
    """

    distributions: Space
    exists: Callable[[str, Params], bool]
    nearest: Callable[[str, Any], Any]

    def suggested(self, trial: Trial) -> Params:
        """The parameters of a trial of Optuna's."""
        params: Params = {}
        for name, distribution in self.distributions.items():
            if self.exists(name, params):
                params[name] = self.nearest(name, _suggested(trial, name, distribution))
        return params

    def everything(self, most: int) -> list[Params] | None:
        """All that may be chosen; None where that is more than `most`, or has no end."""
        if any(number_of(distribution) is None for distribution in self.distributions.values()):
            return None
        found = list(itertools.islice(self._beside({}, tuple(self.distributions)), most + 1))
        return found if len(found) <= most else None

    def _beside(self, params: Params, left: tuple[str, ...]) -> Iterator[Params]:
        if not left:
            yield params
            return
        name, *others = left
        if not self.exists(name, params):
            yield from self._beside(params, tuple(others))
            return
        for value in values_of(self.distributions[name]):
            yield from self._beside({**params, name: self.nearest(name, value)}, tuple(others))


def _suggested(trial: Trial, name: str, distribution: Distribution) -> Any:
    from optuna.distributions import CategoricalDistribution, IntDistribution

    if isinstance(distribution, CategoricalDistribution):
        return trial.suggest_categorical(name, distribution.choices)
    if isinstance(distribution, IntDistribution):
        ends = distribution.low, distribution.high
        return trial.suggest_int(name, *ends, step=distribution.step, log=distribution.log)
    return trial.suggest_float(name, distribution.low, distribution.high, step=distribution.step, log=distribution.log)


def number_of(distribution: Distribution) -> int | None:
    """How many values there are; None: without end."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return len(distribution.choices)
    if distribution.step is None:
        return None
    return round((distribution.high - distribution.low) / distribution.step) + 1


def values_of(distribution: Distribution) -> Sequence[Any]:
    """All values of a distribution that has not too many."""
    from optuna.distributions import CategoricalDistribution

    if isinstance(distribution, CategoricalDistribution):
        return distribution.choices
    assert distribution.step is not None
    return [distribution.low + number * distribution.step for number in range(number_of(distribution) or 0)]


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
    step = {} if distribution.step in (None, 1) else {"step": distribution.step}
    return {"low": distribution.low, "high": distribution.high, "log": distribution.log, **step}


def whole(space: Space) -> SearchSpace:
    """A space all of which is always there, and taken as it is."""
    return SearchSpace(space, lambda _name, _params: True, lambda _name, value: value)


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
