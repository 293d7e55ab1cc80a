"""The axes of an ensemble: what can be chosen, and what a choice changes.

A choice is a label and a pure function from a plan (model, seed, sky) to another; no choice sees which others were
made, but they are made in the order of `ORDER`: the diffuse maps before their modulation, priors last.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass, field, replace
from functools import partial
from typing import Any

from gammasky.analyses.ensemble.diffuse import DIFFUSE, with_diffuse, with_modulation
from gammasky.analyses.ensemble.morphology import SHAPES, with_morphology
from gammasky.analyses.ensemble.patch import patched, with_priors
from gammasky.analyses.ensemble.tables import Table
from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.settings import MAX_SEED, Settings

_LABEL = re.compile(r"[A-Za-z0-9_.+-]+")
_HIGHEST_L = 16


@dataclass(frozen=True)
class Plan:
    """A member before it is checked: model and settings of the fit as tables, the seed of its fit, its sky's name."""

    model: Table
    seed: int
    sky: str
    fit: dict[str, Any] = field(default_factory=dict)


@dataclass(frozen=True)
class Choice:
    """One choice of an axis."""

    label: str
    change: Callable[[Plan], Plan]


@dataclass(frozen=True)
class Known:
    """Names that choices may use: masks and maps of the dataset, parameters of the base model."""

    masks: Sequence[str]
    maps: Sequence[str]
    parameters: Sequence[str]


def _of_model(change: Callable[[Table], Table]) -> Callable[[Plan], Plan]:
    return lambda plan: replace(plan, model=change(plan.model))


def _of_region(**settings: Any) -> Callable[[Plan], Plan]:
    def change(table: Table) -> Table:
        table = deepcopy(table)
        table["region"] |= settings
        return table

    return _of_model(change)


def _mask(value: Any, known: Known) -> Choice:
    """`none`, a mask of the dataset, or a list of masks, all of which take pixels away."""
    names = value if isinstance(value, list) else [value]
    if not names:
        raise InputError("expected a mask, a list of masks, or 'none', got an empty list")
    if value == "none":
        return Choice("none", _of_region(mask=None))
    for name in names:
        if name not in known.masks:
            raise unknown_name("mask", str(name), ["none", *known.masks])
    return Choice("+".join(names), _of_region(mask=list(names) if len(names) > 1 else names[0]))


def _angle(setting: str, value: Any, _known: Known) -> Choice:
    """A number of degrees; the region of interest checks its range."""
    if not is_number(value):
        raise InputError(f"expected a number [deg], got {value!r:.60}")
    return Choice(f"{value:.12g}", _of_region(**{setting: float(value)}))


def _hemisphere(value: Any, _known: Known) -> Choice:
    return Choice(_one_of("hemisphere", value, ("all", "north", "south")), _of_region(hemisphere=value))


def _morphology(value: Any, known: Known) -> Choice:
    shape = _one_of("morphology", value, (*SHAPES, *known.maps))
    return Choice(shape, _of_model(partial(with_morphology, shape=shape)))


def _diffuse(value: Any, _known: Known) -> Choice:
    name = _one_of("diffuse model", value, DIFFUSE)
    return Choice(name, _of_model(partial(with_diffuse, choice=name)))


def _fit(value: Any, _known: Known) -> Choice:
    """`default`, a method, or a table with a `name` and settings; with a `method` it takes the place of all others."""
    if value == "default":
        return Choice("default", lambda plan: plan)
    if isinstance(value, str):
        value = {"name": value, "method": value}
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise InputError(f"expected 'default', a method, or a table with a name and settings, got {value!r:.60}")
    if "seed" in value:
        raise InputError(f"'{value['name']}': the seed is that of the ensemble, or of the axis `seed`; leave it out")
    settings = {name: setting for name, setting in value.items() if name != "name"}
    if "method" in settings:
        Settings(**settings)
    return Choice(
        value["name"], lambda plan: replace(plan, fit=settings if "method" in settings else plan.fit | settings)
    )


def _l_max(value: Any, _known: Known) -> Choice:
    degree = _whole(value, 0, _HIGHEST_L)
    return Choice(str(degree), _of_model(partial(with_modulation, l_max=degree)))


def _priors(value: Any, known: Known) -> Choice:
    """`default`, or a table with a `name` and priors by parameter."""
    if value == "default":
        return Choice("default", lambda plan: plan)
    if not isinstance(value, Mapping) or not isinstance(value.get("name"), str):
        raise InputError(f"expected 'default' or a table with a name and priors by parameter, got {value!r:.60}")
    priors = {name: prior for name, prior in value.items() if name != "name"}
    for name in priors:
        if name not in known.parameters:
            raise unknown_name("parameter", name, known.parameters)
    return Choice(value["name"], _of_model(partial(with_priors, priors=priors)))


def _sky(value: Any, _known: Known) -> Choice:
    """A dataset, or a table with its `name` here and the dataset as `data`."""
    name, data = (value.get("name"), value.get("data")) if isinstance(value, Mapping) else (value, value)
    known = not isinstance(value, Mapping) or set(value) == {"name", "data"}
    if not (known and isinstance(name, str) and isinstance(data, str)):
        raise InputError(f"expected a dataset or a table with name and data, got {value!r:.60}")
    return Choice(name, lambda plan: replace(plan, sky=name))


def _seed(value: Any, _known: Known) -> Choice:
    seed = _whole(value, 0, MAX_SEED)
    return Choice(str(seed), lambda plan: replace(plan, seed=seed))


def _one_of(kind: str, value: Any, choices: Sequence[str]) -> str:
    if value not in choices:
        raise unknown_name(kind, str(value), choices)
    return str(value)


def is_number(value: Any) -> bool:
    """Whether a value is a finite number that double precision can hold; TOML has whole numbers of any length."""
    if isinstance(value, bool) or not isinstance(value, int | float):
        return False
    try:
        return math.isfinite(value)
    except OverflowError:
        return False


def _whole(value: Any, low: int, high: int) -> int:
    if isinstance(value, bool) or not isinstance(value, int) or not low <= value <= high:
        raise InputError(f"expected a whole number from {low} to {high}, got {value!r:.60}")
    return value


#: How the choices of each axis are read. Members in a row differ in the last axes first: those leave programs as they
#: are compiled, so a worker compiles once for all of them.
BUILT_IN: dict[str, Callable[[Any, Known], Choice]] = {
    "mask": _mask,
    "radius_max": partial(_angle, "radius_max"),
    "latitude_min": partial(_angle, "latitude_min"),
    "hemisphere": _hemisphere,
    "morphology": _morphology,
    "diffuse": _diffuse,
    "l_max": _l_max,
    "fit": _fit,
    "sky": _sky,
    "priors": _priors,
    "seed": _seed,
}
_LAST = ("sky", "priors", "seed")
#: Those that may have a range of numbers, and of what kind.
NUMBERS: dict[str, type] = {"radius_max": float, "latitude_min": float, "l_max": int, "seed": int}


def ordered(names: Sequence[str]) -> list[str]:
    """Axes in the order in which their choices are made: built-in ones, the user's own, then sky, priors and seed."""
    first = [name for name in BUILT_IN if name in names and name not in _LAST]
    own = [name for name in names if name not in BUILT_IN]
    return [*first, *own, *(name for name in _LAST if name in names)]


def read_choice(axis: str, value: Any, known: Known) -> Choice:
    """One choice of a built-in axis.

    Raises:
        InputError: what the axis does not offer; names it.
    """
    if axis not in BUILT_IN:
        raise unknown_axis(axis)
    try:
        choice = BUILT_IN[axis](value, known)
    except InputError as error:
        raise InputError(f"axis {axis}: {error}") from None
    return labelled(axis, choice)


def own_choice(axis: str, name: str, changes: Any) -> Choice:
    """One choice of an axis of the user's own: a table of changes of the model, see `patched`."""
    where = f"axis {axis}, choice {name}"
    if not isinstance(changes, Mapping):
        raise InputError(f"{where}: expected a table of changes of the model, got {changes!r:.60}")
    return labelled(axis, Choice(name, _of_model(partial(patched, changes=changes, where=where))))


def labelled(axis: str, choice: Choice) -> Choice:
    """A choice with a label that names of members can hold.

    Raises:
        InputError: its label has other characters.
    """
    if not _LABEL.fullmatch(choice.label):
        raise InputError(f"axis {axis}: name {choice.label!r}: expected letters, digits and _ . + - only; rename it")
    return choice


def unknown_axis(name: str) -> InputError:
    """The error for a list of choices under a name that is no built-in axis."""
    return InputError(f"{unknown_name('axis', name, BUILT_IN)}; an axis of your own is a table of named choices")
