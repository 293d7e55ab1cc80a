"""Which settings of a variational fit are searched, and how a user names others."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from gammasky.distributed.tuning.space import Choice, Params, Range, Space, Value
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.settings import Settings

SEARCHABLE = {name: option for name, option in Svi.options.items() if option.tunable}
#: Settings of arXiv:2604.08648.
PAPER: Params = {"guide": "iaf", "learning_rate": 3e-4, "particles": 8, "schedule": "constant"}
FEWEST_STEPS = 8


def settings_space(steps: int, objective: str, asked: Sequence[str] = ()) -> dict[str, Choice | Range]:
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
    space: dict[str, Choice | Range] = {
        "guide": Choice(("flow", "iaf", "mvn")),
        "learning_rate": Range(1e-4, 3e-2, log=True),
        "particles": Choice((1, 2, 4, 8, 16, 32)),
        "schedule": Choice(("constant", "cosine")),
    }
    if objective != "elbo_per_second":
        space["steps"] = Choice((steps // 4, steps // 2, steps))
    space |= dict(map(read_setting, asked))
    paper = paper_params(space, steps)
    for name, choice in space.items():
        if not choice.holds(paper[name]):
            raise InputError(
                f"search {name}: expected to hold the paper's {paper[name]}, which the others are compared with,"
                f" got {choice}; add it"
            )
    return space


def paper_params(space: Space, steps: int) -> Params:
    """The paper's settings, as far as they are searched."""
    whole = {**Settings(method="svi", guide="iaf").resolved(), **PAPER, "steps": steps}
    return {name: whole[name] for name in space}


def default_params(space: Space, steps: int) -> Params | None:
    """The settings that a fit has unless it is told otherwise; None where they are not searched."""
    whole = {**Settings(method="svi").resolved(), "steps": steps}
    params = {name: whole[name] for name in space}
    return params if all(choice.holds(params[name]) for name, choice in space.items()) else None


def read_setting(text: str) -> tuple[str, Choice | Range]:
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
        choice = _range(name, values) if ":" in values else Choice(tuple(_value(name, v) for v in values.split(",")))
    except ValueError as error:
        raise InputError(f"search {name}: {error}") from None
    for value in choice.values if isinstance(choice, Choice) else (choice.low, choice.high):
        _check(name, value)
    return name, choice


def _range(name: str, values: str) -> Range:
    low, high, *more = values.split(":")
    words = SEARCHABLE[name].kind is str
    if words or more not in ([], ["log"]):
        raise ValueError(f"expected {'names' if words else 'LOW:HIGH or LOW:HIGH:log'}, got '{values}'")
    return Range(_value(name, low), _value(name, high), log=bool(more))


def _value(name: str, text: str) -> Any:
    text = text.strip()
    try:
        return SEARCHABLE[name].kind(text)
    except ValueError:
        kind = "a whole number" if SEARCHABLE[name].kind is int else "a number"
        raise ValueError(f"expected {kind}, got '{text}'") from None


def _check(name: str, value: Value) -> None:
    SEARCHABLE[name].checked(name, value)


def fit_options(params: Params, steps: int) -> str:
    """Options of `gammasky fit` for the settings of a trial, whose fits have so many steps unless it says otherwise."""
    names = {"learning_rate": "lr"}
    return " ".join(f"--{names.get(name, name)} {value}" for name, value in {"steps": steps, **params}.items())
