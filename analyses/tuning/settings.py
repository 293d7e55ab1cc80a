"""Which settings of a variational fit are searched, and how a user names others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from gammasky.distributed.tuning.space import Params, Space, holds, shown
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.settings import Settings

Distribution = CategoricalDistribution | FloatDistribution | IntDistribution
SEARCHABLE = {name: option for name, option in Svi.options.items() if option.tunable}
#: Settings of arXiv:2604.08648.
PAPER: Params = {"guide": "iaf", "learning_rate": 3e-4, "particles": 8, "schedule": "constant"}
FEWEST_STEPS = 8


def settings_space(steps: int, objective: str, asked: Sequence[str] = ()) -> dict[str, Distribution]:
    """The settings that are searched.

    Args:
        steps: the most steps of a fit.
        objective: a rate is measured over the same number of steps for all fits.
        asked: "NAME=A,B,C" or "NAME=LOW:HIGH" or "NAME=LOW:HIGH:log", in place of or besides the usual ones.

    Raises:
        InputError: a name or value that no fit takes, or a space that the paper's settings are not in.
    """
    if steps < FEWEST_STEPS:
        raise InputError(f"steps: expected at least {FEWEST_STEPS}, got {steps}")
    usual = [f"{name}={option.searched}" for name, option in sorted(SEARCHABLE.items()) if option.searched]
    space = dict(map(read_setting, usual))
    if objective != "elbo_per_second":
        space["steps"] = CategoricalDistribution((steps // 4, steps // 2, steps))
    space |= dict(map(read_setting, asked))
    paper = paper_params(space, steps)
    for name, distribution in space.items():
        if not holds(distribution, paper[name]):
            raise InputError(
                f"search {name}: expected to hold the paper's {paper[name]}, which the others are compared with,"
                f" got {shown(distribution)}; add it"
            )
    return space


def paper_params(space: Space, steps: int) -> Params:
    """The paper's settings, as far as they are searched."""
    whole = {**Settings(method="svi", emulator=False, guide="iaf").resolved(), **PAPER, "steps": steps}
    return {name: whole[name] for name in space}


def default_params(space: Space, steps: int) -> Params | None:
    """The settings that a fit has unless it is told otherwise; None where they are not searched."""
    whole = {**Settings(method="svi", emulator=False).resolved(), "steps": steps}
    params = {name: whole[name] for name in space}
    return params if all(holds(distribution, params[name]) for name, distribution in space.items()) else None


def read_setting(text: str) -> tuple[str, Distribution]:
    """A setting and what it may be, from "NAME=A,B,C", "NAME=LOW:HIGH" or "NAME=LOW:HIGH:log".

    Raises:
        InputError: anything else; a name or value that no fit takes.
    """
    name, equals, values = (part.strip() for part in text.partition("="))
    name = "learning_rate" if name == "lr" else name
    if not equals or not values:
        raise InputError(f"search '{text}': expected NAME=A,B,C or NAME=LOW:HIGH[:log]")
    if name not in SEARCHABLE:
        raise unknown_name("setting", name, SEARCHABLE)
    try:
        return name, _range(name, values) if ":" in values else _choice(name, values)
    except InputError:  # of the setting, which it names
        raise
    except ValueError as error:
        raise InputError(f"search {name}: {error}") from None


def _choice(name: str, values: str) -> Distribution:
    chosen = [_value(name, value) for value in values.split(",")]
    if len(set(chosen)) < len(chosen):
        raise ValueError(f"expected values that differ, got {chosen}")
    return CategoricalDistribution(chosen)


def _range(name: str, values: str) -> Distribution:
    low, high, *more = values.split(":")
    kind = SEARCHABLE[name].kind
    if kind is str or more not in ([], ["log"]):
        raise ValueError(f"expected {'names' if kind is str else 'LOW:HIGH or LOW:HIGH:log'}, got '{values}'")
    ends = _value(name, low), _value(name, high)
    return (IntDistribution if kind is int else FloatDistribution)(*ends, log=bool(more))


def _value(name: str, text: str) -> Any:
    text = text.strip()
    try:
        value = SEARCHABLE[name].kind(text)
    except ValueError:
        kind = "a whole number" if SEARCHABLE[name].kind is int else "a number"
        raise ValueError(f"expected {kind}, got '{text}'") from None
    return SEARCHABLE[name].checked(name, value)
