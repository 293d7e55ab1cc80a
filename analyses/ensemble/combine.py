"""Which choices each member makes: the product of the axes, a sample of it, or a list."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import Any

import numpy as np

from gammasky.analyses.ensemble.axes import BUILT_IN, Choice, Known, ordered, own_choice, read_choice, unknown_axis
from gammasky.analyses.ensemble.file import Axes, EnsembleFile
from gammasky.engine.errors import InputError, unknown_name

AS_IN_THE_MODEL = "base"  # the choice of an axis that a listed member leaves out
MOST_MEMBERS = 100_000
Choices = dict[str, Choice]


def read_axes(given: Axes, known: Known) -> dict[str, list[Choice]]:
    """The choices of each axis, in the order in which they are made.

    Raises:
        InputError: an axis or choice that cannot be used; names it.
    """
    return {name: _read_axis(name, given[name], known) for name in ordered(list(given))}


def _read_axis(name: str, content: Any, known: Known) -> list[Choice]:
    """The choices of one axis: a list for a built-in one, a table for the user's own."""
    if isinstance(content, list) and name not in BUILT_IN:
        raise unknown_axis(name)
    if isinstance(content, list):
        choices = [read_choice(name, value, known) for value in content]
    elif name in BUILT_IN:
        raise InputError(f"axis {name}: expected a list of choices, got a table; give an axis of your own another name")
    else:
        choices = [own_choice(name, choice, changes) for choice, changes in content.items()]
    labels = [choice.label for choice in choices]
    if not labels:
        raise InputError(f"axis {name}: no choice, so the ensemble has no member; give one, or remove the axis")
    if len(set(labels)) < len(labels):
        raise InputError(f"axis {name}: choices must differ, got {', '.join(labels)}")
    return choices


def combinations(ensemble: EnsembleFile, known: Known) -> Iterator[Choices]:
    """The choices of each member.

    Raises:
        InputError: an axis or choice that cannot be used, no member, or more than there are.
    """
    axes = read_axes(ensemble.axes, known)
    if ensemble.combine == "list":
        yield from _listed(ensemble.listed, axes, known)
        return
    sizes = [len(choices) for choices in axes.values()]
    total = math.prod(sizes)
    wanted = total if ensemble.combine == "product" else ensemble.combine.sample
    if wanted > min(total, MOST_MEMBERS):
        limit = f"the product of the axes has {total}" if wanted > total else f"at most {MOST_MEMBERS} are made"
        raise InputError(f"ensemble: {wanted} members asked for, but {limit}; ask for fewer")
    numbers: Any = range(total)
    if ensemble.combine != "product":
        numbers = _sample(total, wanted, ensemble.seed)
    for number in numbers:
        places = np.unravel_index(number, sizes) if sizes else ()
        yield {name: axes[name][place] for name, place in zip(axes, places, strict=True)}


def _sample(total: int, wanted: int, seed: int) -> list[int]:
    """Different numbers below `total`, in order; a larger sample of the same seed holds the smaller ones."""
    stream, chosen = np.random.default_rng(seed), dict[int, None]()
    while len(chosen) < wanted:
        chosen[int(stream.integers(total))] = None
    return sorted(chosen)


def _listed(entries: list[dict[str, Any]], axes: dict[str, list[Choice]], known: Known) -> Iterator[Choices]:
    """The choices of the members of a list, in the order of the file; those left out are the base model's."""
    if not entries:
        raise InputError("ensemble: combine = 'list' needs [[members]], tables of axis and choice; got none")
    names = ordered(list(dict.fromkeys([*axes, *(name for entry in entries for name in entry)])))
    base = Choice(AS_IN_THE_MODEL, lambda plan: plan)
    for entry in entries:
        yield {name: _choice(name, entry[name], axes, known) if name in entry else base for name in names}


def _choice(axis: str, value: Any, axes: dict[str, list[Choice]], known: Known) -> Choice:
    """One of the axis's choices by its label, or one of a built-in axis on the spot."""
    declared = {choice.label: choice for choice in axes.get(axis, ())}
    if isinstance(value, str) and value in declared:
        return declared[value]
    if axis in BUILT_IN:
        return read_choice(axis, value, known)
    if axis not in axes:
        raise unknown_axis(axis)
    raise unknown_name(f"choice of axis {axis}", str(value), declared)
