"""What each choice does to the answer: main effects of the axes of an ensemble."""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
_ROUNDING = 1e-12  # variance relative to the square of the values that is none


@dataclass(frozen=True)
class Effect:
    """One choice of one axis.

    Attributes:
        axis, choice: which.
        shift: from the mean over all choices of the axis, at the mean over the other axes; NaN where the members cannot
            tell this axis from another.
        error: standard error of that, from how much the shift depends on the other axes and on the seeds of the fits;
            NaN with too few members.
        n: members with the choice.
        moves: |shift| is larger than the posterior's own error, and than twice the error of the shift.
    """

    axis: str
    choice: str
    shift: float
    error: float
    n: int
    moves: bool


@dataclass(frozen=True)
class Effects:
    """Main effects on one quantity.

    Attributes:
        grand_mean: of the members, every choice of an axis counting alike, and repeats of a fit as one.
        sd: posterior sd of a member, root mean square: the error of the answer of one fit.
        spread: sd of the members' answers.
        repeats: sd of answers of the same choices, which is what another seed does; NaN where none was repeated.
        effects: of every choice.
        explained: share of the variance between members that is due to each axis; rest: to interactions of several.
        n: members.
    """

    grand_mean: float
    sd: float
    spread: float
    repeats: float
    effects: tuple[Effect, ...]
    explained: dict[str, float]
    rest: float
    n: int


def main_effects(labels: Sequence[Mapping[str, str]], means: Floats, sds: Floats) -> Effects | None:
    """Least-squares fit of y = mean + sum_axes shift(axis, choice), shifts adding up to zero over each axis.

    For a full product the shifts are means over the other axes minus the grand mean; with members missing they are
    what such means would estimate. The posteriors of the members share their data, so their own errors do not average
    out and are not in the error of a shift; they are what a shift is compared with. Members of the same choices are one
    value, their mean: that each choice was made with more seeds says nothing more of how the axes depend on each other.

    Axes that the members cannot tell apart, as in a list in which each member changes another one, count as one axis:
    its name is all of theirs, its choices are those combinations that there are.

    Args:
        labels: choice of each axis, of each member (K).
        means, sds (K,): of the quantity; NaN for members that do not have it, which are left out.

    Returns:
        the effects; None where no axis has two choices.
    """
    has = np.isfinite(means)
    chosen = [entry for entry, kept in zip(labels, has, strict=True) if kept]
    axes = {axis: list(dict.fromkeys(entry[axis] for entry in chosen)) for axis in (chosen[0] if chosen else ())}
    axes = {axis: choices for axis, choices in axes.items() if len(choices) > 1}
    if not axes:
        return None
    cells = _cells(chosen, means[has])
    fit = _Fit(chosen, axes, cells)
    if (alike := [axis for axis in axes if not fit.apart(axis)])[1:]:
        chosen, axes = _joined(chosen, alike)
        cells = _cells(chosen, means[has])
        fit = _Fit(chosen, axes, cells)
    error = float(np.sqrt(np.mean(sds[has] ** 2)))
    return Effects(
        grand_mean=fit.grand_mean,
        sd=error,
        spread=float(means[has].std(ddof=1)),
        repeats=_within(cells),
        effects=tuple(effect for axis in axes for effect in fit.effects(axis, error)),
        explained={axis: fit.explained(axis) for axis in axes},
        rest=fit.rest,
        n=len(chosen),
    )


def _joined(
    labels: Sequence[Mapping[str, str]], alike: Sequence[str]
) -> tuple[list[Mapping[str, str]], dict[str, list[str]]]:
    """Labels in which these axes are one, and the choices of every axis that has two."""
    name = ", ".join(alike)
    joined: list[Mapping[str, str]] = [
        {axis: choice for axis, choice in entry.items() if axis not in alike}
        | {name: ", ".join(entry[axis] for axis in alike)}
        for entry in labels
    ]
    choices = {axis: list(dict.fromkeys(entry[axis] for entry in joined)) for axis in joined[0]}
    return joined, {axis: found for axis, found in choices.items() if len(found) > 1}


_Cell = tuple[Mapping[str, str], Floats]  # choices, and the values of all members that made them


def _cells(labels: Sequence[Mapping[str, str]], y: Floats) -> list[_Cell]:
    """The values (K,) by the choices of their members."""
    found: dict[tuple[str, ...], tuple[Mapping[str, str], list[float]]] = {}
    for entry, value in zip(labels, y, strict=True):
        found.setdefault(tuple(entry.values()), (entry, []))[1].append(value)
    return [(entry, np.array(values)) for entry, values in found.values()]


def _within(cells: Sequence[_Cell]) -> float:
    """Pooled sd of the values of members with the same choices."""
    left = sum(float(((values - values.mean()) ** 2).sum()) for _, values in cells)
    free = sum(len(values) - 1 for _, values in cells)
    return float(np.sqrt(left / free)) if free else np.nan


class _Fit:
    """The least-squares fit of the mean values of cells; `labels` are of all members."""

    def __init__(
        self, labels: Sequence[Mapping[str, str]], axes: Mapping[str, list[str]], cells: Sequence[_Cell]
    ) -> None:
        self._labels, self._axes = labels, axes
        self._y = y = np.array([values.mean() for _, values in cells])
        self._blocks = {axis: _contrasts([entry[axis] for entry, _ in cells], axes[axis]) for axis in axes}
        self._design = self._design_of(axes)
        self._solution = np.linalg.lstsq(self._design, y, rcond=None)[0]
        self._left = _residual(self._design, y)
        # variance of such a mean from the seeds alone; NaN where nothing was repeated
        self._of_seeds = _within(cells) ** 2 * float(np.mean([1.0 / len(values) for _, values in cells]))
        self._total = float(((y - y.mean()) ** 2).sum())
        self._varies = self._total > _ROUNDING * len(y) * float(np.abs(y).max()) ** 2
        self._rank = int(np.linalg.matrix_rank(self._design))
        self.grand_mean = float(self._solution[0])
        self.rest = self._left / self._total if self._varies else 0.0

    def _design_of(self, axes: Iterable[str]) -> Floats:
        return np.hstack([np.ones((len(self._y), 1)), *(self._blocks[axis] for axis in axes)])

    def _without(self, axis: str) -> Floats:
        return self._design_of(name for name in self._axes if name != axis)

    def apart(self, axis: str) -> bool:
        """Whether the members can tell this axis from the others."""
        return self._rank - int(np.linalg.matrix_rank(self._without(axis))) == len(self._axes[axis]) - 1

    def explained(self, axis: str) -> float:
        """Share of the variance that the fit loses without an axis."""
        if not self.apart(axis):
            return np.nan
        return (_residual(self._without(axis), self._y) - self._left) / self._total if self._varies else 0.0

    def effects(self, axis: str, error: float) -> Iterator[Effect]:
        """The shifts of an axis, compared with the posterior's own error."""
        shifts, scatters = self._shifts(axis)
        for choice, shift, scatter in zip(self._axes[axis], shifts, scatters, strict=True):
            n = sum(entry[axis] == choice for entry in self._labels)
            moves = bool(abs(shift) > max(error, 2.0 * np.nan_to_num(scatter)))  # never for NaN
            yield Effect(axis, choice, float(shift), float(scatter), n, moves)

    def _shifts(self, axis: str) -> tuple[Floats, Floats]:
        """Shift of each choice of an axis, and its standard error."""
        width = len(self._axes[axis]) - 1
        if not self.apart(axis):
            return np.full(width + 1, np.nan), np.full(width + 1, np.nan)
        if not self._varies:
            return np.zeros(width + 1), np.zeros(width + 1)
        first = 1 + sum(self._blocks[name].shape[1] for name in list(self._axes)[: list(self._axes).index(axis)])
        at = slice(first, first + width)
        weights = np.vstack([np.eye(width), -np.ones(width)])  # the last shift is minus the sum of the others
        free = len(self._y) - self._rank
        noise = np.fmax(self._left / free if free else np.nan, self._of_seeds)  # the one that is known, or the larger
        covariance = np.linalg.pinv(self._design.T @ self._design)[at, at] * noise
        variances = np.einsum("ij,jk,ik->i", weights, covariance, weights)
        return weights @ self._solution[at], np.sqrt(variances.clip(min=0.0))


def _contrasts(labels: Sequence[str], choices: Sequence[str]) -> Floats:
    """Columns (K, choices - 1) whose coefficients add up to zero with that of the last choice, which is minus their
    sum."""
    one_hot = np.array([[label == choice for choice in choices] for label in labels], dtype=np.float64)
    return one_hot[:, :-1] - one_hot[:, -1:]


def _residual(design: Floats, y: Floats) -> float:
    """Sum of squares that is left after the fit."""
    solution = np.linalg.lstsq(design, y, rcond=None)[0]
    return float(((y - design @ solution) ** 2).sum())
