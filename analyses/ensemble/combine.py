"""Which choices each member makes: the product of the axes, a sample of it, or a list."""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence
from itertools import islice
from typing import Any

import numpy as np

from gammasky.analyses.ensemble.axes import BUILT_IN, Choice, Known, ordered, read_choice, unknown_axis
from gammasky.analyses.ensemble.axis import Axis
from gammasky.analyses.ensemble.file import EnsembleFile
from gammasky.engine.errors import InputError, unknown_name

AS_IN_THE_MODEL = "base"  # the choice of an axis that a listed member leaves out
MOST_MEMBERS = 100_000
MOST_COUNTED = 2**63 - 1  # what NumPy's integers hold
Choices = dict[str, Choice]


def combinations(ensemble: EnsembleFile, axes: Mapping[str, Axis], known: Known) -> Iterator[Choices]:
    """The choices of each member; an axis that does not exist beside the others has none.

    Raises:
        InputError: an axis or choice that cannot be used, no member, or more than there are.
    """
    if ensemble.combine == "list":
        yield from _listed(ensemble.listed, axes, known)
        return
    grids = {name: axis.grid() for name, axis in axes.items()}
    free = not any(axis.when for axis in axes.values())
    # with conditions there are fewer than the product has, and they are counted by making them
    every = [] if free else list(islice(_beside(grids, axes, {}), MOST_MEMBERS + 1))
    sizes = [len(choices) for choices in grids.values()]
    total = math.prod(sizes) if free else len(every)
    wanted = total if ensemble.combine == "product" else ensemble.combine.sample
    if wanted > min(total, MOST_MEMBERS):
        limit = f"the product of the axes has {total}" if wanted > total else f"at most {MOST_MEMBERS} are made"
        raise InputError(f"ensemble: {wanted} members asked for, but {limit}; ask for fewer")
    numbers: Any = range(total)
    if ensemble.combine != "product":
        if total > MOST_COUNTED:
            raise InputError("ensemble: a sample is drawn of at most 2^63 members; the axes have more, shorten some")
        numbers = _sample(total, wanted, ensemble.seed)
    for number in numbers:
        if not free:
            yield every[number]
            continue
        places = np.unravel_index(number, sizes) if sizes else ()
        yield {name: grids[name][place] for name, place in zip(grids, places, strict=True)}


def _beside(grids: Mapping[str, Sequence[Choice]], axes: Mapping[str, Axis], chosen: Choices) -> Iterator[Choices]:
    """All choices of the axes that are left, beside those that are made, in the order of the product."""
    name = next((name for name in grids if name not in chosen), None)
    if name is None:
        yield chosen
        return
    left = {other: grid for other, grid in grids.items() if other != name}
    if not axes[name].exists({axis: choice.label for axis, choice in chosen.items()}):
        yield from _beside(left, axes, chosen)
        return
    for choice in grids[name]:
        yield from _beside(left, axes, {**chosen, name: choice})


def _sample(total: int, wanted: int, seed: int) -> list[int]:
    """Different numbers below `total`, in order; a larger sample of the same seed holds the smaller ones."""
    stream, chosen = np.random.default_rng(seed), dict[int, None]()
    while len(chosen) < wanted:
        chosen[int(stream.integers(total))] = None
    return sorted(chosen)


def _listed(entries: list[dict[str, Any]], axes: Mapping[str, Axis], known: Known) -> Iterator[Choices]:
    """The choices of the members of a list, in the order of the file; those left out are the base model's."""
    if not entries:
        raise InputError("ensemble: combine = 'list' needs [[members]], tables of axis and choice; got none")
    names = ordered(list(dict.fromkeys([*axes, *(name for entry in entries for name in entry)])))
    base = Choice(AS_IN_THE_MODEL, lambda plan: plan)
    for entry in entries:
        yield {name: _choice(name, entry[name], axes, known) if name in entry else base for name in names}


def _choice(axis: str, value: Any, axes: Mapping[str, Axis], known: Known) -> Choice:
    """One of the axis's choices by its label, or one of a built-in axis on the spot."""
    if axis in axes and axes[axis].numbers is not None:
        return axes[axis].choice(value)
    declared = {choice.label: choice for choice in axes[axis].choices} if axis in axes else {}
    if isinstance(value, str) and value in declared:
        return declared[value]
    if axis in BUILT_IN:
        return read_choice(axis, value, known)
    if axis not in axes:
        raise unknown_axis(axis)
    raise unknown_name(f"choice of axis {axis}", str(value), declared)
