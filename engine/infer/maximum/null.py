"""Null hypotheses as one writes them: which numbers of a model are fixed, set equal, or taken away."""

from __future__ import annotations

import json
import re
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass
from functools import cached_property
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.model import SkyModel
from gammasky.engine.model.expressions import is_name
from gammasky.engine.model.intervals import Interval
from gammasky.engine.model.priors import (
    Dirichlet,
    HalfNormal,
    LogUniform,
    Normal,
    PriorKind,
    ScalarPrior,
    Slot,
    Uniform,
)
from gammasky.engine.model.spec import Component, ModelSpec
from gammasky.engine.model.templates import MixTemplate, Template
from gammasky.engine.model.values import limits_of

_WITHOUT = re.compile(r"without\s+(\S+)")
_EQUATION = re.compile(r"([^=]+?)\s*=\s*([^=].*)")
# kinds whose box does not hang on their numbers (sticks), or does so along straight lines
_STRAIGHT = (Dirichlet, Uniform, LogUniform, Normal, HalfNormal)
FORMS = "'NAME = NUMBER', 'NAME = NAME' or 'without COMPONENT'"


@dataclass(frozen=True, eq=False)
class Null:
    """A model that is nested in another one.

    Attributes:
        texts: its conditions, which hold together, in one way of writing them.
        fixed: the values of parameters, by name.
        tied: a parameter to the one that it equals.
        plane: where it lies in the box of the model's priors.
        full: the box of the model, in which a norm may be 0 where the null has it so.
        degrees: how many numbers it fixes.
        loose: parameters that mean nothing under it.
    """

    texts: tuple[str, ...]
    fixed: dict[str, Any]
    tied: dict[str, str]
    plane: Plane
    full: Plane
    degrees: int
    loose: tuple[str, ...]
    slots: Mapping[str, Slot]

    @cached_property
    def loose_axes(self) -> list[int]:
        """Their axes."""
        return [axis for name in self.loose for axis in axes_of(self.slots[name])]


def read_null(texts: Sequence[str], model: SkyModel) -> Null:
    """The null hypothesis of conditions such as "S_gce = 0", "f_ps = f_smooth" or "without gce_ps".

    A value lies in the support of its parameter's prior. A norm that scales components and nothing else may be 0, too,
    and its component is then not there: the model that the null is compared with reaches down to 0 as well.

    Raises:
        InputError: no condition, one that cannot be read, a null that is not nested in the model, or a model with
            fields; names it.
    """
    if not texts:
        raise InputError(f"null: expected a condition at least, {FORMS}; got none")
    require_maximum(model)
    slots, fixed, tied = model.latent.slots, dict[str, Any](), dict[str, str]()
    written: list[str] = []
    full = plane = Plane.whole(model.latent.box())
    opened: dict[int, float] = {}
    for text in texts:
        name, value = _condition(text, model)
        where = f"null '{text}'"
        taken = name if name in fixed or name in tied else None
        if isinstance(value, str) and taken is None:
            taken = value if value in fixed or value in tied else None
        if taken or name in tied.values():
            raise InputError(f"{where}: '{taken or name}' is in another condition already; say it once")
        if isinstance(value, str):
            plane = _tied(plane, slots[name], slots[value], where)
            tied[name] = value
        else:
            number = _value(slots[name], value, where)
            norm = not number.any() and scales_only(model.spec, name)
            if not norm:
                _require_inside(slots[name], number, where)
            at = dict(zip(axes_of(slots[name]), slots[name].prior.to_box(number), strict=True))
            plane = plane.fixed(at)
            if norm and not isinstance(slots[name].prior, LogUniform):
                opened |= at
            fixed[name] = number.tolist()
        written.append(f"{name} = {tied.get(name) or _text(fixed[name])}")
    degrees = sum(slots[name].n_latent for name in (*fixed, *tied))
    loose = without_meaning(model.spec, fixed)
    return Null(tuple(sorted(written)), fixed, tied, plane, full.opened(opened), degrees, loose, slots)


def require_maximum(model: SkyModel) -> None:
    """Refuse a model whose likelihood alone has no maximum that means anything.

    Raises:
        InputError: a field, whose many coefficients only their prior holds together.
    """
    blocks = [name for name, slot in model.latent.slots.items() if slot.block]
    if blocks:
        raise InputError(
            f"field '{blocks[0]}': its prior holds its {model.latent.slots[blocks[0]].n_latent} coefficients together, "
            "the likelihood alone does not, and maxima of it mean nothing; compare log Z of two fits instead"
        )


def axes_of(slot: Slot) -> range:
    """The axes of a parameter in the latent space, and in the box."""
    return range(slot.start, slot.start + slot.n_latent)


def _condition(text: str, model: SkyModel) -> tuple[str, Any]:
    """The parameter of a condition, and its value or the name of another one."""
    slots = model.latent.slots
    if found := _WITHOUT.fullmatch(text.strip()):
        return _norm_to_remove(found[1], model.spec, f"null '{text}'"), 0.0
    found = _EQUATION.fullmatch(text.strip())
    if found is None:
        raise InputError(f"null '{text}': expected {FORMS}")
    name, right = found[1].strip(), found[2].strip()
    if name not in slots:
        raise _unknown(name, model, text)
    for read in (json.loads, float):  # 1. and .5 are no JSON
        with suppress(ValueError):
            value = read(right)
            if not isinstance(value, str | bool):  # a name in quotes is none, and true is no number
                return name, value
    if right not in slots:
        raise _unknown(right, model, text)
    return name, right


def _text(value: Any) -> str:
    return f"[{', '.join(map(_text, value))}]" if isinstance(value, list) else f"{value:.12g}"


def _unknown(name: str, model: SkyModel, text: str) -> InputError:
    names = [component.name for component in model.spec.components]
    if name in names:
        return InputError(f"null '{text}': '{name}' is a component, not a parameter; say 'without {name}'")
    return InputError(f"null '{text}': {unknown_name('parameter', name, model.latent.slots)}")


def _norm_to_remove(name: str, spec: ModelSpec, where: str) -> str:
    """The norm of a component that is to be taken away, which must be a parameter of its own."""
    components = {component.name: component for component in spec.components}
    if name not in components:
        raise InputError(f"{where}: {unknown_name('component', name, components)}")
    norm = norm_of(components[name])
    if not is_name(norm):
        if isinstance(norm, str):
            what = f"its norm is the expression '{norm}': give its parameters values that make it 0, or"
            raise InputError(f"{where}: {what} give '{name}' a norm that is a parameter, from 0 or near it")
        what = "its dN/dS is free" if norm is None else f"its norm is the number {norm:g}"
        raise InputError(f"{where}: not nested, {what}; give '{name}' a norm that is a parameter, from 0 or near it")
    others = [other for other in spec.components if other.name != name and norm in words_in(other.model_dump())]
    if others or not scales_only(spec, norm):
        users = ", ".join(f"'{other.name}'" for other in others) or f"its template, too, in '{name}'"
        raise InputError(f"{where}: its norm '{norm}' is also that of {users}; give '{name}' a norm of its own")
    return norm


def norm_of(component: Component) -> Any:
    """The norm of a component or, of a population that has none, its amplitude."""
    return component.amplitude if component.norm is None else component.norm


def scales_only(spec: ModelSpec, name: str) -> bool:
    """Whether a parameter stands where components are scaled and nowhere else."""
    uses = [use for component in spec.components for use in component.uses()] + [
        use for term in spec.terms for use in term.uses()
    ]
    count = sum(use.parameter == name for use in uses)
    return count == sum(norm_of(component) == name for component in spec.components) > 0


def absent(spec: ModelSpec, fixed: Mapping[str, Any]) -> set[str]:
    """The components that are not there where these parameters have these values: their norm is then 0."""
    zero = {name for name, value in fixed.items() if not np.any(value) and scales_only(spec, name)}
    supports = _supports(spec, fixed)
    gone = set()
    for component in spec.components:
        norm = norm_of(component)
        if isinstance(norm, str) and not is_name(norm):
            gone |= {component.name} if limits_of(component.name, norm, supports) == (0.0, 0.0) else set()
        elif is_name(norm):
            gone |= {component.name} if norm in zero else set()
    return gone


def without_meaning(spec: ModelSpec, fixed: Mapping[str, Any]) -> tuple[str, ...]:
    """The parameters that mean nothing where these parameters have these values.

    They stand in components that are not there, in parts of mixtures whose share is 0, and nowhere else.
    """
    gone = absent(spec, fixed)
    there = [component for component in spec.components if component.name not in gone]
    used = Counter(use.parameter for component in there for use in component.uses())
    used += Counter(use.parameter for term in spec.terms for use in term.uses())
    supports = _supports(spec, fixed)
    empty = [part for component in there for part in _without_share(component.template, fixed, supports)]
    used -= Counter(use.parameter for part in empty for use in part.uses(""))
    return tuple(name for name in spec.parameters if name not in used and name not in fixed)


def _supports(spec: ModelSpec, fixed: Mapping[str, Any]) -> dict[str, Interval]:
    """Between which values each parameter can be, of which some are fixed."""
    numbers = {name: (float(value), float(value)) for name, value in fixed.items() if np.ndim(value) == 0}
    return {name: prior.support() for name, prior in spec.parameters.items()} | numbers


def _without_share(
    template: Template, fixed: Mapping[str, Any], supports: Mapping[str, Interval]
) -> Iterator[Template]:
    """The parts of a mixture, and of the mixtures in it, whose share is 0 where these parameters have these values."""
    if not isinstance(template, MixTemplate):
        return
    given: Any = template.fractions
    if isinstance(given, str) and not is_name(given):
        low, high = limits_of("mix fractions", given, supports)
        given = low if low == high else None
    elif isinstance(given, str):
        given = fixed.get(given)
    shares = [1.0] * len(template.mix)  # of a share that is free: not 0 everywhere
    if given is not None:
        shares = list(given) if np.ndim(given) else [given, 1.0 - given]
    for share, member in zip(shares, template.mix, strict=True):
        if share == 0.0:
            yield member
        else:
            yield from _without_share(member, fixed, supports)


def _value(slot: Slot, value: Any, where: str) -> np.ndarray:
    """A value in the shape of its parameter; one number may stand for all elements."""
    try:
        numbers = np.asarray(value, dtype=np.float64)
    except (TypeError, ValueError):
        numbers = np.array(np.nan)
    if numbers.shape not in ((), slot.shape) or not np.isfinite(numbers).all():
        expected = f"a number or a list of {slot.shape[0]}" if slot.shape else "a number"
        raise InputError(f"{where}: '{slot.name}' is {expected}, got {json.dumps(value)}")
    return np.broadcast_to(numbers, slot.shape).copy()


def _require_inside(slot: Slot, value: np.ndarray, where: str) -> None:
    try:
        slot.prior.require_possible(slot.name, value)
        slot.prior.require_inside(slot.name, value)
    except InputError as error:
        low, high = slot.prior.support()
        if isinstance(slot.prior, ScalarPrior):
            raise InputError(
                f"{where}: not nested, the prior of '{slot.name}' goes from {low:g} to {high:g}; choose a value "
                "there, or change the prior in the model file"
            ) from None
        raise InputError(f"{where}: not nested, {error}") from None


def _tied(plane: Plane, slot: Slot, to: Slot, where: str) -> Plane:
    """The part of a plane in which two parameters are equal."""
    if slot.name == to.name:
        raise InputError(f"{where}: one parameter is always equal to itself; name two")
    if (slot.labels and to.labels and len(slot.labels) != len(to.labels)) or bool(slot.labels) != bool(to.labels):
        raise InputError(
            f"{where}: '{slot.name}' has {len(slot.labels) or 1} numbers, '{to.name}' {len(to.labels) or 1}"
        )
    if type(slot.prior) is not type(to.prior):
        raise InputError(
            f"{where}: their priors are of two kinds, '{slot.prior.prior}' and '{to.prior.prior}'; give both one kind"
        )
    if not isinstance(slot.prior, _STRAIGHT) and _numbers_of(slot.prior) != _numbers_of(to.prior):
        raise InputError(f"{where}: their '{slot.prior.prior}' priors differ; give both the same numbers")
    (low, high), (low_to, high_to) = slot.prior.support(), to.prior.support()
    if max(low, low_to) >= min(high, high_to):
        raise InputError(f"{where}: not nested, the supports of their priors, {low:g} to {high:g} and {low_to:g} to "
                         f"{high_to:g}, have nothing in common")  # fmt: skip
    for axis, other in zip(axes_of(slot), axes_of(to), strict=True):
        offset, slope = _line(slot, to)
        plane = plane.tied(axis, other, offset, slope)
    return plane


def _numbers_of(prior: PriorKind) -> dict[str, Any]:
    return prior.model_dump(exclude={"unit", "label"})


def _line(slot: Slot, to: Slot) -> tuple[float, float]:
    """Offset and slope with which the coordinate of one parameter follows from that of another of the same value."""
    if not isinstance(slot.prior, _STRAIGHT[1:]):
        return 0.0, 1.0
    low, high = to.prior.support()
    ends = [value for value in (low, high) if np.isfinite(value)] or [0.0]
    values = np.array([ends[0], ends[-1] if len(ends) > 1 else ends[0] + 1.0])
    here, there = (np.concatenate([of.prior.to_box(value) for value in values]) for of in (slot, to))
    slope = float((here[1] - here[0]) / (there[1] - there[0]))
    return float(here[0] - slope * there[0]), slope


def words_in(part: Any) -> set[str]:
    """Every text in a table."""
    if isinstance(part, dict):
        return set().union(*(words_in(entry) for entry in part.values()))
    if isinstance(part, list | tuple):
        return set().union(*(words_in(entry) for entry in part))
    return {part} if isinstance(part, str) else set()
