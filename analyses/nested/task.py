"""The task of one simulated sky: fit the model and the null, and give the test statistic."""

from __future__ import annotations

import threading
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from gammasky.analyses.nested.study import NestedStudy
from gammasky.analyses.programs import share_programs
from gammasky.analyses.sky_study import SkyTask
from gammasky.distributed.member import Desk, Result, Row
from gammasky.engine.infer.maximum.climbs import theta_of
from gammasky.engine.infer.maximum.likelihood_ratio import likelihood_ratio
from gammasky.engine.infer.maximum.null import Null
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel
from gammasky.engine.model.simulate import LikelihoodSimulator, PhotonSimulator, build_simulator
from gammasky.engine.runtime import configure

_making = threading.Lock()


@dataclass(frozen=True, eq=False)
class Simulated:
    """What the skies of a test are made with."""

    model: SkyModel
    null: Null
    simulator: PhotonSimulator | LikelihoodSimulator


@dataclass(frozen=True)
class CompareSky(SkyTask):
    """Fit sky `sky` of the null; the model and its compiled programs are kept for the next.

    Attributes:
        study: the test.
        truth (D,): coordinates of the fitted null, which skies are drawn from.
        signal (D,): where skies have a signal, the point in the box that they are drawn from instead. Climbs begin
            where they do on skies of the null all the same: nobody knows the signal of an observed sky.
    """

    study: NestedStudy
    truth: tuple[float, ...]
    signal: tuple[float, ...] | None = None
    _kept: dict[str, Simulated] = field(default_factory=dict, compare=False, repr=False)

    def __call__(self, spec: dict[str, Any], desk: Desk) -> Result:
        """Arrays null and full (D,), the coordinates of both maxima; a row of ts, both log-likelihoods and
        the digest of the sky."""
        number, study = spec["sky"], self.study
        desk.report(0.0)
        with _making:  # of lanes, the first makes the model for all
            if not self._kept:
                configure()
                model, null = study.opened()
                self._kept["all"] = Simulated(model, null, build_simulator(study.simulator, model))
            kept = self._kept["all"]
            truth = np.array(self.truth)
            point = kept.null.plane.points(truth) if self.signal is None else np.array(self.signal)
            theta = theta_of(kept.model, point)
            counts = kept.simulator.draw(theta, seed=study.seed, first=number)[0, : kept.model.pixels.n_fit]
            model = kept.model.with_counts(counts)
        share_programs(model, Settings(), desk.lanes)
        seed, null = study.seed + number, kept.null
        found = likelihood_ratio(model, null.plane, null.full, seed, near=truth, loose=null.loose_axes)
        row: Row = {
            "ts": found.ts,
            "log_likelihood_null": found.null.log_likelihood,
            "log_likelihood": found.full.log_likelihood,
            "starts_at_maximum": found.full.n_reached,
            "observation": model.pixels.digest,
        }
        return Result({"null": found.null.x, "full": found.full.x}, row)
