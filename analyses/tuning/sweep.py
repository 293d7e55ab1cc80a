"""Sweeps over model space: the axes of an ensemble as what a search may choose from, and the columns that judge it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

from gammasky.analyses.ensemble.axes import Choice
from gammasky.analyses.ensemble.axis import Axis
from gammasky.analyses.ensemble.expansion import Expansion
from gammasky.analyses.ensemble.file import Sweep
from gammasky.analyses.tuning.columns import NOTED, OF_DATA, WORDS, column_of, error_of
from gammasky.analyses.tuning.search import early_models
from gammasky.distributed.member import Member
from gammasky.distributed.runners.base import Runner
from gammasky.distributed.store import Store
from gammasky.distributed.tuning.goals import BEST_OF_DATA, Goal, read_constraint
from gammasky.distributed.tuning.sampling import NO_PRUNER
from gammasky.distributed.tuning.search import Found
from gammasky.distributed.tuning.space import Params, SearchSpace
from gammasky.distributed.tuning.sweep import Swept, sweep
from gammasky.distributed.tuning.sweep_driver import Sought
from gammasky.engine.errors import InputError

if TYPE_CHECKING:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    Distribution = CategoricalDistribution | FloatDistribution | IntDistribution

FORMAT = "gammasky sweep 1"  # another number for what means another result


def sweep_models(folder: Path, expansion: Expansion, asked: Sweep, runner: Runner, **options: Any) -> Swept | Found:
    """Search along the axes of an ensemble.

    Args:
        folder: of the sweep.
        expansion: of the ensemble.
        asked: what for.
        runner: where the fits run.
        options: `seed`, `resources` and those of `sweep`.

    Returns:
        what was found; of a search with a pruner, as `tune` tells it.

    Raises:
        InputError: anything that cannot be used, before anything starts.
    """
    ensemble = expansion.ensemble
    if ensemble.combine != "product":
        raise InputError("ensemble: a search chooses along axes; expected combine = 'product'")
    sought = _sought(expansion, asked, options.pop("seed", ensemble.seed))
    corners = corners_of(expansion)
    _check_comparable(expansion, corners, sought)
    fits = [member for members in corners.values() for member in members]
    # one of them whole, which says what has changed since
    about: dict[str, Any] = {"base": fits[0].spec} if fits else {}
    about |= {"format": FORMAT, "members": sorted({Store.key(member.spec) for member in fits})}
    options.setdefault("resources", ensemble.resources)
    if asked.pruner != NO_PRUNER:
        return early_models(folder, expansion, asked, sought, about, runner, **options)
    own = [member.resources for member in fits if member.resources]
    # those of choices that no corner makes, such as a number within a range
    own += [replace(ensemble.resources, **override.changes) for override in ensemble.overrides]
    return sweep(folder, expansion.task, sought, asked.trials, runner, about=about, others=own, **options)


def _sought(expansion: Expansion, asked: Sweep, seed: int) -> Sought:
    """What is sought, its names and texts read."""
    goals = [Goal(column_of(name), "minimize") for name in asked.minimise]
    goals += [Goal(column_of(name), "maximize") for name in asked.maximise]
    if not goals:
        goals = [Goal("log_z", "maximize")]
    columns = [goal.column for goal in goals]
    for column in columns:
        if columns.count(column) > 1:
            raise InputError(f"sweep: '{column}' is an objective twice; leave one of them out")
    constraints = [read_constraint(text, WORDS) for text in asked.constraints]
    space = search_space(expansion.axes)
    member_of = lambda params: expansion.member(choices_of(expansion.axes, params))  # noqa: E731
    return Sought(space, member_of, goals, constraints, asked.sampler, seed, asked.at_once, error_of, NOTED)


def search_space(axes: Mapping[str, Axis]) -> SearchSpace:
    """The axes that have more than one choice, as distributions of Optuna's."""
    free = {name: axis for name, axis in axes.items() if axis.numbers or len(axis.choices) > 1}

    def exists(name: str, params: Params) -> bool:
        return axes[name].exists({axis: choice.label for axis, choice in choices_of(axes, params).items()})

    def nearest(name: str, value: Any) -> Any:
        numbers = axes[name].numbers
        return numbers.nearest(value) if numbers else value

    return SearchSpace({name: _distribution(axis) for name, axis in free.items()}, exists, nearest)


def _distribution(axis: Axis) -> Distribution:
    from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

    numbers = axis.numbers
    if numbers is None:
        return CategoricalDistribution([choice.label for choice in axis.choices])
    if numbers.integer:
        return IntDistribution(int(numbers.low), int(numbers.high), step=int(numbers.step or 1), log=numbers.log)
    return FloatDistribution(numbers.low, numbers.high, step=numbers.step, log=numbers.log)


def choices_of(axes: Mapping[str, Axis], params: Params) -> dict[str, Choice]:
    """The choices that parameters say, and those of axes that have only one, as far as they exist."""
    found: dict[str, Choice] = {}
    for name, axis in axes.items():
        labels = {axis: choice.label for axis, choice in found.items()}
        if axis.numbers is None and len(axis.choices) == 1 and axis.exists(labels):
            found[name] = axis.choices[0]
        elif name in params:
            label = params[name]
            found[name] = (
                axis.choice(label) if axis.numbers else next(choice for choice in axis.choices if choice.label == label)
            )
    return found


def _ends(axis: Axis) -> list[Choice]:
    """All choices of an axis, or the two ends of its range."""
    numbers = axis.numbers
    return list(axis.choices) if numbers is None else [axis.choice(numbers.low), axis.choice(numbers.high)]


def corners_of(expansion: Expansion) -> dict[str, list[Member]]:
    """By axis, members that differ in it alone: with each of its choices, or the two ends of its range; all checked.

    The other axes have their first choices, or those with which the axis exists.

    Raises:
        InputError: a model, fit or region that cannot be; names the member.
    """
    return {name: _corners(expansion, name) for name in expansion.axes}


def _corners(expansion: Expansion, name: str) -> list[Member]:
    axes, needed = expansion.axes, _needs(expansion.axes, name)
    found = []
    for choice in _ends(axes[name]):
        chosen: dict[str, Choice] = {}
        for other, axis in axes.items():
            if not axis.exists({made: of.label for made, of in chosen.items()}):
                continue
            if other == name:
                chosen[other] = choice
            elif other in needed:
                chosen[other] = next(option for option in axis.grid() if option.label in needed[other])
            else:
                chosen[other] = _ends(axis)[0]
        found.append(expansion.member(chosen))
    return found


def _needs(axes: Mapping[str, Axis], name: str) -> dict[str, tuple[str, ...]]:
    """What an axis, and those that it hangs on, hang on."""
    found: dict[str, tuple[str, ...]] = {}
    for parent, allowed in (axes[name].when or {}).items():
        found |= {parent: allowed, **_needs(axes, parent)}
    return found


def _check_comparable(expansion: Expansion, corners: Mapping[str, Sequence[Member]], sought: Sought) -> None:
    """Refuse to compare what is of other counts or pixels.

    Raises:
        InputError: names the axis that changes the data, and what compares them.
    """
    changing = [name for name, members in corners.items() if len({data_of(expansion, m) for m in members}) > 1]
    if not changing:
        return
    told = f"axis {' or '.join(changing)} changes the data, and values of '{{}}' for other data cannot be compared"
    for goal in sought.goals:
        if goal.column in OF_DATA:
            raise InputError(f"ensemble: {told.format(goal.column)}; give one choice there, or another objective")
    ranges = [name for name in changing if (n := expansion.axes[name].numbers) is not None and n.grid is None]
    for constraint in sought.constraints:
        where = f"constraint '{constraint.text}'"
        of_data = [column for column in constraint.columns if column in OF_DATA]
        if of_data and constraint.relative != BEST_OF_DATA:
            remedy = "say `best_of_data` for the best on the same data, or give one choice there"
            raise InputError(f"{where}: {told.format(of_data[0])}; {remedy}")
        if of_data and ranges:
            remedy = "give it a `step` or `values`"
            raise InputError(f"{where}: axis {ranges[0]} is a range, so that no two fits have the same data; {remedy}")


def data_of(expansion: Expansion, member: Member) -> str:
    """What identifies the counts and pixels of a member before it is fitted."""
    known = [counts for counts, _ in expansion.task.places]
    counts = [checksum for checksum in member.spec["data"]["sha256"].values() if checksum in known]
    return Store.key([member.spec["model"]["region"], counts])
