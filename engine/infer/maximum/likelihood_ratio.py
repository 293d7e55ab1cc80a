"""The test statistic of two nested models: twice the difference of the maxima of their log-likelihoods."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.climb import BATCH
from gammasky.engine.infer.maximum.climbs import Maximum, Start, climb_all, highest, random_starts
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.model import Density

Floats = NDArray[np.float64]
RESOLUTION = 1e-3  # of a test statistic: what two climbs to one maximum may leave between them, and more


@dataclass(frozen=True, eq=False)
class LikelihoodRatio:
    """The maxima of a model and of one that is nested in it.

    Attributes:
        null, full: the maxima.
        ts: 2 (ln L_full - ln L_null), not below 0; what is below RESOLUTION counts as 0.
    """

    null: Maximum
    full: Maximum

    @property
    def ts(self) -> float:
        difference = 2.0 * (self.full.log_likelihood - self.null.log_likelihood)
        return difference if difference >= RESOLUTION else 0.0


def likelihood_ratio(
    model: Density, null: Plane, full: Plane, seed: int, near: Floats | None = None, loose: Sequence[int] = ()
) -> LikelihoodRatio:
    """Find the highest likelihood in a plane and in the larger one that holds it.

    Half of the first eight climbs, all side by side, are in each plane, from the best of random points. Then each of
    the two best points is a start in the other plane, with what the null frees as it is and drawn anew: the larger
    model is never below the smaller one, and what one of them has found helps the other.

    Args:
        model: the density, whose likelihood is climbed.
        null, full: the planes.
        seed: of the starts.
        near (D,): coordinates of `null` that are close to its maximum, such as the truth of a simulated sky.
        loose: axes that mean nothing under the null, drawn anew with those that it fixes.

    Raises:
        NonFiniteLikelihoodError: the likelihood exists at no start, or not where it would be highest.
    """
    half, anew = BATCH // 2, full.free & ~null.free
    anew[list(loose)] = True
    starts = random_starts(model, null, half, (seed, 0))
    if near is not None:
        starts[0] = Start(null, near)
    n_null = len(starts)
    starts += random_starts(model, full, half, (seed, 1))
    if near is not None:
        starts[n_null] = Start(full, _drawn_anew(full, null.points(near), anew, 1, (seed, 2))[0])
    heights, y = climb_all(model, starts)
    low, high = highest(null, heights[:n_null], y[:n_null]), highest(full, heights[n_null:], y[n_null:])

    more = _drawn_anew(full, low.x, anew, BATCH - 2, (seed, 3))
    again = [Start(null, null.nearest(high.x)), Start(full, full.nearest(low.x)), *(Start(full, row) for row in more)]
    further, places = climb_all(model, again)
    low = highest(null, np.append(heights[:n_null], further[:1]), np.concatenate([y[:n_null], places[:1]]))
    high = highest(full, np.append(heights[n_null:], further[1:]), np.concatenate([y[n_null:], places[1:]]))
    if low.log_likelihood > high.log_likelihood:  # the null is part of the model, also where it is its far end
        high = replace(high, log_likelihood=low.log_likelihood, y=full.nearest(low.x), x=low.x)
    return LikelihoodRatio(low, high)


def _drawn_anew(plane: Plane, x: Floats, axes: NDArray[np.bool_], n: int, seed: Sequence[int]) -> Floats:
    """Coordinates (n, D) of a plane: those of the point x (D,), but for random ones on some axes (D,)."""
    return np.where(axes & plane.free, plane.random(n, seed), plane.nearest(x))
