"""The profile likelihood of a number: the highest likelihood for each value of it.

A parameter is held at each value, exactly. A number that is a function of several parameters, such as a point-source
fraction, is drawn to each value by a penalty,

    maximise  ln L(x) - ((g(x) - target) / width)^2 / 2,

whose maximum has the highest likelihood of all points with its own value of g: so each point of the profile is exact
for the value that it reaches, which is near the target, and that value is the one that is kept.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.stats import chi2

from gammasky.engine.infer.climb import BATCH, climb
from gammasky.engine.infer.maximum.climbs import Maximum, Start, climb_all, highest, random_starts
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.infer.maximum.quantity import Quantity
from gammasky.engine.model import SkyModel

Floats = NDArray[np.float64]
DEEP = 5.0  # nat below the maximum: how far a profile goes
_TIGHT = 1 / 30  # width of the penalty, of the step between two points
_ROUNDS = 12  # of steps outwards, at most
_SAME = 0.01  # of the step between two points: nearer values are one


@dataclass(frozen=True, eq=False)
class Profile:
    """The profile likelihood of a number.

    Attributes:
        quantity: the number.
        plane: the box of the model; a norm that is profiled may be 0.
        best: the maximum of the likelihood; value: the number there.
        values (n,): of the number, rising, that of the maximum among them.
        log_likelihood (n,): the highest for each; y (n, D): where.
    """

    quantity: Quantity
    plane: Plane
    best: Maximum
    value: float
    values: Floats
    log_likelihood: Floats
    y: Floats

    @property
    def below(self) -> Floats:
        """How far each point lies below the maximum (n,) [nat]."""
        return np.maximum(self.best.log_likelihood - self.log_likelihood, 0.0)

    def ts(self, value: float | Floats) -> Floats:
        """2 (ln L_max - ln L(value)), between the points along a straight line of its signed root."""
        return np.asarray(np.interp(value, self.values, self._roots)) ** 2

    def interval(self, level: float) -> tuple[float | None, float | None]:
        """Where the profile has fallen by half the quantile of chi-square with one degree; None where it nowhere does.

        Source: Wilks 1938; Rolke, Lopez & Conrad 2005 (physics/0403059). At the end of a support it covers too much.
        """
        root = float(np.sqrt(chi2.ppf(level, 1)))
        return self._crossing(-root), self._crossing(root)

    def upper_limit(self, level: float) -> float | None:
        """The value above the maximum at which a one-sided test of it has the p-value 1 - level."""
        return self._crossing(float(np.sqrt(chi2.ppf(2.0 * level - 1.0, 1))))

    @property
    def _roots(self) -> Floats:
        """The signed root of the statistic (n,), nearly a straight line."""
        return np.sign(self.values - self.value) * np.sqrt(2.0 * self.below)

    def _crossing(self, root: float) -> float | None:
        """Where the signed root passes `root` for the last time on the way outwards; None where it nowhere does.

        A dip on the way, between two maxima, ends nothing: what lies beyond it is not excluded.
        """
        outwards = slice(None) if root > 0 else slice(None, None, -1)
        values, roots = self.values[outwards], abs(self._roots[outwards])
        side = np.sign(root) * (values - self.value) >= 0
        values, roots, root = values[side], roots[side], abs(root)
        at = int(np.flatnonzero(roots < root)[-1])  # that of the maximum is 0
        if at == len(values) - 1:
            return None
        step = (root - roots[at]) / (roots[at + 1] - roots[at])
        return float(values[at] + (values[at + 1] - values[at]) * step)


def profile(model: SkyModel, quantity: Quantity, seed: int = 0, points: int = 24) -> Profile:
    """Find the profile likelihood of a number, from its maximum outwards to DEEP nat below it.

    Args:
        model: the model on its data.
        quantity: the number.
        seed: of the starts.
        points: of the profile within that depth, about.

    Raises:
        NonFiniteLikelihoodError: the likelihood exists at no start, or not where it would be highest.
    """
    search = _Search(model, quantity, seed)
    search.outwards()
    while search.deep().sum() < points and search.refine():
        pass
    search.sweep()
    return search.found()


def held_at(model: SkyModel, found: Profile, values: Sequence[float]) -> tuple[Floats, Floats]:
    """The highest log-likelihood (k,) with a parameter at each of some values, and the places y (k, D).

    Each climbs from the points of the profile on both sides.
    """
    quantity = found.quantity
    assert quantity.axis is not None  # who asks has seen to it
    assert quantity.to_box is not None
    starts = []
    for value in values:
        above = min(int(np.searchsorted(found.values, value)), len(found.values) - 1)
        plane = found.plane.fixed({quantity.axis: quantity.to_box(value)})
        starts += [Start(plane, found.y[max(above - 1, 0)]), Start(plane, found.y[above])]
    heights, y = climb_all(model, starts)
    best = 2 * np.arange(len(values)) + np.argmax(heights.reshape(-1, 2), axis=1)
    return heights[best], y[best]


def whole_plane(model: SkyModel, quantity: Quantity) -> Plane:
    """The box of a model, in which the number may go down to its lowest value."""
    plane = Plane.whole(model.latent.box())
    if quantity.axis is None or quantity.to_box is None or not quantity.scale:
        return plane
    return plane.opened({quantity.axis: quantity.to_box(quantity.low)})


class _Search:
    """The points of a profile that are known so far."""

    def __init__(self, model: SkyModel, quantity: Quantity, seed: int) -> None:
        self.model, self.quantity = model, quantity
        self.plane = whole_plane(model, quantity)
        starts = random_starts(model, self.plane, BATCH, (seed, 0))
        self.best = highest(self.plane, *climb_all(model, starts))
        self.value = self._value_at(self.best.y)
        self.values, self.heights, self.y = (
            np.array([self.value]),
            np.array([self.best.log_likelihood]),
            self.best.y[None],
        )

    def outwards(self) -> None:
        """Steps away from the maximum on both sides, doubled four at a time, until they are deep enough."""
        low, high = self.quantity.low, self.quantity.high
        width = high - low if np.isfinite(high - low) else max(abs(self.value), 1e-3)
        step = 0.01 * width
        for _ in range(_ROUNDS):
            targets = [self.value + side * step * 2.0**power for side in (-1, 1) for power in range(4)]
            self.add([(float(np.clip(target, low, high)), self.y[self._nearest(target)]) for target in targets], step)
            ends = [self._reached(side) for side in (-1, 1)]
            if all(ends) and self.deep().sum() > 2:
                return
            step = step * 8.0 if not all(ends) else step / 16.0

    def refine(self) -> bool:
        """Points in the middle of the widest gaps, each from both neighbours; whether there is a new one."""
        order = np.argsort(self.values)
        values, roots = self.values[order], np.sqrt(2.0 * np.maximum(self.best.log_likelihood - self.heights[order], 0))
        signed = np.sign(values - self.value) * roots
        gaps = np.diff(signed)
        deep = np.minimum(roots[:-1], roots[1:]) < np.sqrt(2.0 * DEEP)
        apart = np.diff(values) > 1e-4 * max(float(np.ptp(values)), 1e-300)
        widest = np.argsort(-np.where(deep & apart, gaps, -1.0))[: BATCH // 2]
        wide = [gap for gap in widest if deep[gap] and apart[gap]]
        if not wide:
            return False
        asked = []
        for gap in wide:
            middle = 0.5 * (values[gap] + values[gap + 1])
            asked += [(middle, self.y[order[gap]]), (middle, self.y[order[gap + 1]])]
        before = len(self.values)
        self.add(asked, float(np.diff(values)[wide].min()))
        return len(self.values) > before

    def sweep(self) -> None:
        """Every point once more, from the points beside it: one may have found what another has missed."""
        order = np.argsort(self.values)
        places = self.y[order]
        steps = np.diff(self.values[order])
        step = float(steps[steps > 0].min()) if (steps > 0).any() else 1.0
        asked = [
            (self.values[order[at]], places[other])
            for at in range(len(order))
            for other in (at - 1, at + 1)
            if 0 <= other < len(order)
        ]
        self.add(asked, step)

    def add(self, asked: Sequence[tuple[float, Floats]], step: float) -> None:
        """Climb to the highest points of these values, each from a place y, and keep what is higher than before."""
        for value, height, place in zip(*self._climbed(asked, step), strict=True):
            if not np.isfinite(height):
                continue
            same = np.flatnonzero(np.abs(self.values - value) <= _SAME * step)
            if not same.size:
                self.values = np.append(self.values, value)
                self.heights, self.y = np.append(self.heights, height), np.concatenate([self.y, place[None]])
            elif height > self.heights[same[0]]:
                self.values[same[0]], self.heights[same[0]], self.y[same[0]] = value, height, place
        top = int(np.argmax(self.heights))
        if self.heights[top] > self.best.log_likelihood + 1e-6:
            self._higher(self.y[top])

    def _higher(self, y: Floats) -> None:
        """A higher point than the maximum so far: climb on from there."""
        heights, places = climb_all(self.model, [Start(self.plane, y)])
        self.best = highest(self.plane, heights, places)
        self.value = self._value_at(self.best.y)
        self.values, self.heights = np.append(self.values, self.value), np.append(self.heights, heights[0])
        self.y = np.concatenate([self.y, places])

    def _climbed(self, asked: Sequence[tuple[float, Floats]], step: float) -> tuple[Floats, Floats, Floats]:
        """Value, height and place that each climb reaches."""
        targets, quantity = np.array([target for target, _ in asked]), self.quantity
        if quantity.axis is not None and quantity.to_box is not None:
            held = [self.plane.fixed({quantity.axis: quantity.to_box(target)}) for target in targets]
            starts = [Start(plane, start) for plane, (_, start) in zip(held, asked, strict=True)]
            return targets, *climb_all(self.model, starts)
        width = _TIGHT * step

        def rise(y: Floats) -> tuple[Floats, Floats]:
            log_likelihood, slope, value, value_slope = quantity.evaluate(self.model, self.plane.points(y))
            off = (value - targets) / width
            return log_likelihood - 0.5 * off**2, self.plane.slopes(slope - (off / width)[:, None] * value_slope)

        begin = np.stack([self.plane.nearest(start) for _, start in asked])
        _, y = climb(rise, begin, limits=np.broadcast_to(self.plane.limits, (len(asked), *self.plane.limits.shape)))
        stuck = np.isnan(y).any(axis=1)
        places = np.where(np.isfinite(y), y, begin)
        log_likelihood, _, value, _ = quantity.evaluate(self.model, self.plane.points(places))
        return value, np.where(stuck, -np.inf, log_likelihood), places

    def deep(self) -> NDArray[np.bool_]:
        """Which points are within DEEP of the maximum."""
        return np.asarray(self.best.log_likelihood - self.heights < DEEP)

    def found(self) -> Profile:
        """The profile."""
        order = np.lexsort((-self.heights, self.values))  # of equal values the highest comes first, and is kept
        kept = order[np.append(True, np.diff(self.values[order]) > 0)]
        points = self.values[kept], self.heights[kept], self.y[kept]
        return Profile(self.quantity, self.plane, self.best, self.value, *points)

    def _reached(self, side: int) -> bool:
        """Whether one side is as deep as the profile shall go, or at the end of what the number can be."""
        there = self.values[np.argmin(self.values) if side < 0 else np.argmax(self.values)]
        end = self.quantity.low if side < 0 else self.quantity.high
        outer = self.heights[np.argmin(self.values) if side < 0 else np.argmax(self.values)]
        at_end = np.isfinite(end) and abs(there - end) <= 1e-6 * max(abs(end), 1e-3)
        return bool(self.best.log_likelihood - outer > DEEP or at_end)

    def _nearest(self, target: float) -> int:
        return int(np.argmin(np.abs(self.values - target)))

    def _value_at(self, y: Floats) -> float:
        return float(self.quantity.evaluate(self.model, self.plane.points(y)[None])[2][0])
