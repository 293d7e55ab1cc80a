"""The test statistics of several values of a parameter on one sky, which limits from simulated skies are made of."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.climb import BATCH
from gammasky.engine.infer.maximum.climbs import Start, climb_all, highest, random_starts
from gammasky.engine.infer.maximum.likelihood_ratio import RESOLUTION
from gammasky.engine.infer.maximum.plane import Plane
from gammasky.engine.model import Density

Floats = NDArray[np.float64]


@dataclass(frozen=True, eq=False)
class Scan:
    """Values of a parameter on one sky.

    Attributes:
        best: the coordinate in the box at which the likelihood is highest; log_likelihood: there.
        ts (k,): 2 (ln L_max - ln L) of each value that was asked for, not below 0; below RESOLUTION it counts as 0.
    """

    best: float
    log_likelihood: float
    ts: Floats


def scan(
    model: Density, plane: Plane, axis: int, coordinates: Sequence[float], seed: int, near: Sequence[Floats]
) -> Scan:
    """Find the highest likelihood of a model, and with the coordinate of one axis held at each of some values.

    Args:
        model: the density, on the counts of the sky.
        plane: its box.
        axis: of the parameter.
        coordinates (k,): its values, as coordinates in the box.
        seed: of the starts.
        near: for each, a place y (D,) that may be close to the maximum there.

    Raises:
        NonFiniteLikelihoodError: the likelihood exists at no start, or not where it would be highest, with a value
            held or without.
    """
    known = [Start(plane, place) for place in near[: BATCH // 2]]
    heights, y = climb_all(model, known + random_starts(model, plane, BATCH - len(known), (seed, 0)))
    best = highest(plane, heights, y)
    held = [plane.fixed({axis: coordinate}) for coordinate in coordinates]
    starts = [Start(one, start) for one, place in zip(held, near, strict=True) for start in (best.y, place)]
    found, places = climb_all(model, starts)
    of_each = found.reshape(len(held), 2).max(axis=1)
    if not np.isfinite(of_each).all():
        raise NonFiniteLikelihoodError("the likelihood does not exist at a value that is tested; narrow the priors")
    order = np.argsort(-found)[:BATCH]
    again, further = climb_all(model, [Start(plane, places[row]) for row in order if np.isfinite(found[row])])
    best = highest(plane, np.append(heights, again), np.concatenate([y, further]))
    ts = np.maximum(2.0 * (best.log_likelihood - of_each), 0.0)
    return Scan(float(best.y[axis]), best.log_likelihood, np.where(ts < RESOLUTION, 0.0, ts))
