"""One number of a model or of the settings of its fit, named by a path: `parameters.S_gce.high`, `fit.width`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from copy import deepcopy
from dataclasses import replace
from typing import TYPE_CHECKING, Any

from gammasky.engine.errors import InputError, unknown_name

if TYPE_CHECKING:
    from gammasky.analyses.ensemble.axes import Plan

FIT = "fit"
_SECTIONS = (FIT, "components", "parameters", "region", "source_grid")


def with_number(plan: Plan, path: str, number: float, where: str) -> Plan:
    """The plan with another number at a path.

    Args:
        plan: a member.
        path: names with dots between them: a section of the model or `fit`, components by their names, entries of
            lists by their places from 0.
        number: that stands there then, also in place of the name of a parameter, which it fixes.
        where: how errors name the axis.

    Raises:
        InputError: nothing is there, with the nearest match, or no number.
    """
    section, *steps = path.split(".")
    if section not in _SECTIONS or not steps:
        raise InputError(f"{where}: sets '{path}': {unknown_name('section', section, _SECTIONS)}")
    if section == FIT:
        if len(steps) > 1:
            raise InputError(
                f"{where}: sets '{path}': expected 'fit.' and a setting of the method, such as 'fit.steps'"
            )
        return replace(plan, fit={**plan.fit, steps[0]: number})
    model = deepcopy(plan.model)
    here: Any = model[section]
    at = section
    for step in steps[:-1]:
        here = _entry(here, step, f"{where}: sets '{path}'", at)
        at = f"{at}.{step}"
    told = f"{where}: sets '{path}'"
    before = _entry(here, steps[-1], told, at)
    if isinstance(before, Mapping | Sequence) and not isinstance(before, str):
        raise InputError(f"{told}: expected one number there, got a table or list; go on with a dot and a name in it")
    if isinstance(before, bool):
        raise InputError(f"{told}: expected a number there, got {before}")
    here[_place(here, steps[-1])] = number
    return replace(plan, model=model)


def _entry(here: Any, step: str, told: str, at: str) -> Any:
    """What a step leads to."""
    place = _place(here, step)
    known = here if isinstance(here, Mapping) else range(len(here)) if isinstance(here, list) else ()
    if place is None or place not in known:
        names = (
            [entry["name"] for entry in here if isinstance(entry, dict) and "name" in entry]
            if isinstance(here, list)
            else []
        )
        raise InputError(f"{told}: {unknown_name(f'entry of {at}', step, names or map(str, known))}")
    return here[place]


def _place(here: Any, step: str) -> Any:
    """The key or place of a step: entries of a list by their names, or counted from 0."""
    if not isinstance(here, list):
        return step
    named = [n for n, entry in enumerate(here) if isinstance(entry, dict) and entry.get("name") == step]
    return named[0] if named else int(step) if step.isdecimal() else None
