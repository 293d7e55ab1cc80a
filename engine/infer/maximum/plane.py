"""The flat part of a model's parameter space that a null hypothesis leaves: some coordinates fixed, some set equal."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
AT_THE_END = 1e-6  # of the width of a support: nearer to its end than that is at the end


@dataclass(frozen=True, eq=False)
class Plane:
    """Points x = offset + matrix y of the box of a model's priors, for y within limits; see `PriorKind.box`.

    All planes of a model have as many coordinates y as x, of which some are fixed: so climbs in several planes may be
    side by side, and all of them evaluate one compiled program, that of the whole model.

    Attributes:
        limits (D, 2): of y; both are the same where y is fixed.
        matrix (D, D), offset (D,): from y to x.
    """

    limits: Floats
    matrix: Floats
    offset: Floats

    @classmethod
    def whole(cls, limits: Floats) -> Plane:
        """The whole box (D, 2)."""
        return cls(limits, np.eye(len(limits)), np.zeros(len(limits)))

    def fixed(self, values: Mapping[int, float]) -> Plane:
        """The part in which these coordinates have these values."""
        limits = self.limits.copy()
        for axis, value in values.items():
            limits[axis] = value
        return replace(self, limits=limits)

    def tied(self, axis: int, to: int, offset: float, slope: float) -> Plane:
        """The part in which x[axis] = offset + slope x[to], both within their limits."""
        limits, matrix, offsets = self.limits.copy(), self.matrix.copy(), self.offset.copy()
        ends = np.sort((self.limits[axis] - offset) / slope)
        limits[to] = max(limits[to, 0], ends[0]), min(limits[to, 1], ends[1])
        limits[axis] = 0.0
        matrix[axis], offsets[axis] = 0.0, offset
        matrix[axis, to] = slope
        return Plane(limits, matrix, offsets)

    def opened(self, values: Mapping[int, float]) -> Plane:
        """The same, with limits that reach down to these values of some coordinates."""
        limits = self.limits.copy()
        for axis, value in values.items():
            limits[axis, 0] = min(limits[axis, 0], value)
        return replace(self, limits=limits)

    @property
    def free(self) -> NDArray[np.bool_]:
        """Which coordinates y (D,) are free."""
        return np.asarray(self.limits[:, 0] < self.limits[:, 1])

    def points(self, y: Floats) -> Floats:
        """The points x (..., D) at y (..., D)."""
        return self.offset + y @ self.matrix.T

    def slopes(self, gradient: Floats) -> Floats:
        """The derivative by y (..., D) of what has the derivative `gradient` (..., D) by x."""
        return gradient @ self.matrix

    def nearest(self, x: Floats) -> Floats:
        """The coordinates y (..., D) of a point in the plane that has the free coordinates of x (..., D)."""
        return np.clip(x, *self.limits.T)

    def random(self, n: int, seed: Sequence[int]) -> Floats:
        """Random coordinates y (n, D): uniform between two limits, normal where there is none."""
        generator = np.random.default_rng(list(seed))
        low, high = self.limits.T
        within, beyond = generator.uniform(size=(n, len(low))), generator.standard_normal((n, len(low)))
        finite = np.isfinite(low) & np.isfinite(high)
        start, width = np.where(finite, low, 0.0), np.where(finite, high, 1.0) - np.where(finite, low, 0.0)
        return np.where(finite, start + width * within, np.where(np.isfinite(low), low + abs(beyond), beyond))

    def at_ends(self, y: Floats) -> tuple[NDArray[np.bool_], NDArray[np.bool_]]:
        """Which free coordinates of y (D,) lie at their lower, and which at their upper limit."""
        low, high = self.limits.T
        width = np.where(np.isfinite(high - low), high - low, 1.0)
        return self.free & (y - low < AT_THE_END * width), self.free & (high - y < AT_THE_END * width)
