"""The task of one simulated sky: the test statistic of a value, or of all values on a sky without a signal."""

from __future__ import annotations

import threading
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.analyses.profiles.study import ProfileStudy
from gammasky.analyses.programs import share_programs
from gammasky.analyses.sky_study import SkyTask
from gammasky.distributed.member import Desk, Result, Row
from gammasky.engine.infer.maximum.climbs import theta_of
from gammasky.engine.infer.maximum.profile import whole_plane
from gammasky.engine.infer.maximum.quantity import Quantity
from gammasky.engine.infer.maximum.scan import Scan, scan
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import LikelihoodSimulator, PhotonSimulator, build_simulator
from gammasky.engine.runtime import configure

Floats = NDArray[np.float64]
_making = threading.Lock()
_APART = 1_000_000_000  # between the numbers of the skies of two values


@dataclass(frozen=True, eq=False)
class Simulated:
    """What the skies of a study are made with."""

    model: SkyModel
    quantity: Quantity
    simulator: PhotonSimulator | LikelihoodSimulator


@dataclass(frozen=True)
class ScanSky(SkyTask):
    """Scan sky `sky` of value `value`; the model and its compiled programs are kept for the next.

    Attributes:
        study: what it is a part of.
        values (k,): of the number. places (k, D): of the maximum at each, which skies are drawn from.
    """

    study: ProfileStudy
    values: tuple[float, ...]
    places: tuple[tuple[float, ...], ...]
    _kept: dict[str, Simulated] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        """Array ts: of the value of the sky or, on a sky of the first value, of all; a row with the best value
        and the digest of the sky."""
        at, number, study = spec["value"], spec["sky"], self.study
        desk.report(0.0)
        with _making:  # of lanes, the first makes the model for all
            if not self._kept:
                configure()
                model, quantity = study.opened()
                self._kept["all"] = Simulated(model, quantity, build_simulator(study.simulator, model))
            kept = self._kept["all"]
            theta = theta_of(kept.model, whole_plane(kept.model, kept.quantity).points(np.array(self.places[at])))
            counts = kept.simulator.draw(theta, seed=study.seed, first=at * _APART + number)[0]
            model = kept.model.with_counts(counts[: kept.model.pixels.n_fit])
        share_programs(model, Settings(), desk.lanes)
        places = [np.array(place) for place in self.places]
        tested = range(len(places)) if at == 0 else [at]
        seed = study.seed + at * _APART + number
        found, best = scanned(
            model, kept.quantity, [self.values[one] for one in tested], [places[one] for one in tested], seed
        )
        row: Row = {"best": best, "log_likelihood": found.log_likelihood, "observation": model.pixels.digest}
        return Result({"ts": found.ts}, row)


def scanned(
    model: SkyModel, quantity: Quantity, values: Sequence[float], places: Sequence[Floats], seed: int
) -> tuple[Scan, float]:
    """Scan a sky at some values of a parameter; and the best value.

    Args:
        model: on the counts of the sky.
        quantity: the number, which is a parameter.
        values (k,): of it. places k x (D,): y that may be close to the maximum at each.
        seed: of the starts.

    Raises:
        NonFiniteLikelihoodError: see `scan`.
    """
    axis, to_box = quantity.axis, quantity.to_box
    assert axis is not None  # the study has seen to it
    assert to_box is not None
    plane = whole_plane(model, quantity)
    found = scan(model, plane, axis, [to_box(value) for value in values], seed, places)
    point = _with(plane.points(places[0]), axis, found.best)
    return found, float(quantity.value(theta_of(model, point), model.arrays))


def _with(x: Floats, axis: int, value: float) -> Floats:
    """The point with another coordinate on one axis."""
    changed = x.copy()
    changed[axis] = value
    return changed
