"""The axes of an ensemble as they are declared: choices or a range each, and what an axis hangs on."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, replace
from typing import Any

from gammasky.analyses.ensemble.axes import (
    BUILT_IN,
    NUMBERS,
    Choice,
    Known,
    is_number,
    labelled,
    ordered,
    own_choice,
    read_choice,
    unknown_axis,
)
from gammasky.analyses.ensemble.file import Axes
from gammasky.analyses.ensemble.numbers import Numbers, is_axis_table, read_axis_table, read_numbers
from gammasky.analyses.ensemble.paths import with_number
from gammasky.engine.errors import InputError, unknown_name

WHEN = "when"
#: What a plan tells of each member beside its choices; no axis is called so.
COLUMNS = ("name", "n_pixels", "n_photons", "n_parameters", "seconds")


@dataclass(frozen=True)
class Axis:
    """An axis.

    Attributes:
        name: of the axis.
        choices: of it; empty for a range.
        numbers: the range; None for choices.
        choose: the choice of a number of the range.
        when: axis -> labels of its choices; this axis exists only with one of them for each.
    """

    name: str
    choices: tuple[Choice, ...] = ()
    numbers: Numbers | None = None
    choose: Callable[[float], Choice] | None = None
    when: Mapping[str, tuple[str, ...]] | None = None

    def choice(self, number: float) -> Choice:
        """The choice of a number of the range.

        Raises:
            InputError: it is not in the range.
        """
        assert self.numbers is not None
        assert self.choose is not None
        if not is_number(number) or number not in self.numbers:
            kind = "a whole number" if self.numbers.integer else "a number"
            raise InputError(f"axis {self.name}: expected {kind} from {self.numbers}, got {number!r:.60}")
        return self.choose(int(number) if self.numbers.integer else float(number))

    def grid(self) -> tuple[Choice, ...]:
        """The choices that a campaign fits.

        Raises:
            InputError: a range that does not say which.
        """
        if self.numbers is None:
            return self.choices
        if self.numbers.grid is None:
            raise InputError(
                f"axis {self.name}: a campaign fits a grid of the range {self.numbers}: say which by `count = 5`, by a"
                " `step` or by `values`; `gammasky tune` searches the range"
            )
        return tuple(map(self.choice, self.numbers.grid))

    def exists(self, labels: Mapping[str, str]) -> bool:
        """Whether it exists beside choices with these labels; an axis that is not among them does not exist."""
        return all(labels.get(parent) in allowed for parent, allowed in (self.when or {}).items())


def read_axes(given: Axes, known: Known) -> dict[str, Axis]:
    """The axes, each after those that it hangs on.

    Raises:
        InputError: an axis, choice, range or condition that cannot be used; names it.
    """
    axes = {name: _read_axis(name, given[name], known) for name in ordered(list(given))}
    conditions = {name: condition(f"axis {name}: when", axis.when, axes) for name, axis in axes.items()}
    axes = {name: replace(axis, when=conditions[name]) for name, axis in axes.items()}
    return {name: axes[name] for name in _parents_first(axes)}


def _read_axis(name: str, content: Any, known: Known) -> Axis:
    """One axis; its condition as the file has it."""
    where = f"axis {name}"
    if name in COLUMNS:
        raise InputError(
            f"{where}: the table of an ensemble's members has a column of that name; give the axis another"
        )
    if isinstance(content, list):
        if name not in BUILT_IN:
            raise unknown_axis(name)
        return _of_choices(name, [read_choice(name, value, known) for value in content])
    if is_axis_table(content):
        return _of_table(name, content, known)
    if name in BUILT_IN:
        raise InputError(
            f"{where}: expected a list of choices, got a table of tables; give an axis of your own another name"
        )
    choices = [own_choice(name, choice, changes) for choice, changes in content.items() if choice != WHEN]
    return replace(_of_choices(name, choices), when=content.get(WHEN))


def _of_table(name: str, content: dict[str, Any], known: Known) -> Axis:
    """An axis by a table with a range, or with values."""
    where = f"axis {name}"
    table = read_axis_table(where, content)
    if name in BUILT_IN and table.sets is not None:
        raise InputError(f"{where}: is built in, so it has no `sets`; give an axis of your own another name")
    if name not in BUILT_IN and table.sets is None:
        raise InputError(f"{unknown_axis(name)}; or it says by `sets` which number of the model it is")
    if name in BUILT_IN and table.values is not None:
        axis = _of_choices(name, [read_choice(name, value, known) for value in table.values])
    elif name in BUILT_IN:
        if name not in NUMBERS:
            raise InputError(f"{where}: takes names, so it has no range; list its `values`")
        numbers = read_numbers(where, table, whole=NUMBERS[name] is int)
        axis = Axis(name, numbers=numbers, choose=lambda number: read_choice(name, number, known))
    else:
        paths = [table.sets] if isinstance(table.sets, str) else list(table.sets or ())
        if not paths:
            raise InputError(f"{where}: `sets` names nothing; give a path such as 'parameters.S_gce.high'")
        choose = lambda number: _number(name, paths, number)  # noqa: E731
        if table.values is not None:
            axis = _of_choices(name, [choose(_checked_number(where, value)) for value in table.values])
        else:
            axis = Axis(name, numbers=read_numbers(where, table), choose=choose)
    return replace(axis, when=table.when)


def _of_choices(name: str, choices: list[Choice]) -> Axis:
    labels = [choice.label for choice in choices]
    if not labels:
        raise InputError(f"axis {name}: no choice, so the ensemble has no member; give one, or remove the axis")
    if len(set(labels)) < len(labels):
        raise InputError(f"axis {name}: choices must differ, got {', '.join(labels)}")
    return Axis(name, tuple(choices))


def _number(name: str, paths: Iterable[str], number: float) -> Choice:
    """The choice of a number of an axis of the user's own."""

    def change(plan: Any) -> Any:
        for path in paths:
            plan = with_number(plan, path, number, f"axis {name}")
        return plan

    return labelled(name, Choice(_label(number), change))


def _checked_number(where: str, value: Any) -> float:
    if not is_number(value):
        raise InputError(f"{where}: values: expected finite numbers, got {value!r:.60}")
    return value


def condition(where: str, wanted: Any, axes: Mapping[str, Axis]) -> dict[str, tuple[str, ...]]:
    """A condition, a table of axes and their choices, by the labels of these.

    Raises:
        InputError: an axis or choice that is not there; begins with `where`.
    """
    found = dict[str, tuple[str, ...]]()
    if not isinstance(wanted or {}, Mapping):
        raise InputError(f"{where}: expected a table of axes and their choices, got {wanted!r:.60}")
    for parent, choices in (wanted or {}).items():
        if parent not in axes:
            raise InputError(f"{where}: {unknown_name('axis', parent, axes)}")
        labels = [_label(value) for value in (choices if isinstance(choices, list | tuple) else [choices])]
        if not labels:
            raise InputError(f"{where}: no choice of '{parent}', so it never holds; give one, or remove it")
        numbers = axes[parent].numbers
        if numbers is not None and numbers.grid is None:
            raise InputError(
                f"{where}: '{parent}' may be any number of a range; a condition is of choices, whole numbers or steps"
            )
        offered = [choice.label for choice in axes[parent].grid()]
        for label in labels:
            if label not in offered:
                raise InputError(f"{where}: {unknown_name(f'choice of axis {parent}', label, offered)}")
        found[parent] = tuple(labels)
    return found


def _label(value: Any) -> str:
    return f"{value:.12g}" if is_number(value) else str(value)


def _parents_first(axes: Mapping[str, Axis]) -> list[str]:
    """The names of axes, each after those that it hangs on, else as they are.

    Raises:
        InputError: conditions that go round in a circle.
    """
    found: list[str] = []

    def visit(name: str, path: tuple[str, ...]) -> None:
        if name in path:
            circle = " -> ".join([*path[path.index(name) :], name])
            raise InputError(f"axes: conditions go round in a circle: {circle}; remove one `when`")
        if name in found:
            return
        for parent in axes[name].when or ():
            visit(parent, (*path, name))
        found.append(name)

    for name in axes:
        visit(name, ())
    return found
