"""`--method smc`: a population of particles from the prior to the posterior, with a log Z of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from gammasky.engine.infer.checkpoint import Arrays, Checkpoint, leaves
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.methods.stage import Note, Stage
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.smc import SmcSettings, State, TemperedSmc
from gammasky.engine.infer.verdict import verdict_on_population

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import SkyModel


class SmcStage(Stage):
    """Temperatures, and the moves at each. It starts from the prior alone and needs no best point but to report it."""

    name = "smc"

    def __init__(self, model: SkyModel, settings: Settings, n_draws: int, start: Laplace | None = None) -> None:
        super().__init__(model, settings, n_draws, start)
        self.smc = TemperedSmc(model, SmcSettings(particles=settings.population, seed=settings.seed))
        self._state: State | None = None

    @property
    def state(self) -> State:
        """Of the particles, after the latest piece of work."""
        assert self._state is not None
        return self._state

    def begin(self, note: Note) -> None:
        super().begin(note)
        note("compiling")
        if self._state is None:
            with self.timed():
                self._state = self.smc.start()

    def done(self) -> bool:
        return self.smc.done(self.state)

    def advance(self) -> None:
        with self.timed():
            self._state = self.smc.advance(self.state)

    def progress(self) -> tuple[int, int, str]:
        return self.smc.progress(self.state)

    def arrays(self) -> Arrays:
        return {**super().arrays(), **leaves("smc_state", self.state)}

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        self._state = checkpoint.tree("smc_state", self.smc.blank())

    def finish(self) -> Fit:
        with self.timed():
            found = self.smc.result(self.state)
            derived = derive(self.model, found.z)
        return Fit(
            method=self.name,
            status="finished",
            z=found.z,
            log_likelihood=found.log_likelihood,
            log_guide=None,
            derived=derived,
            elbo=np.zeros(0),
            verdict=verdict_on_population(found.log_z_error),
            diagnostics={
                "method": self.name,
                "log_z": found.log_z,
                "log_z_error": found.log_z_error,
                "families": found.families,
                "temperatures": found.temperatures,
                "acceptance": float(found.acceptance.mean()),
                "slowest_jump": float(found.jump[-1]),
                "gradients": found.gradients,
            },
            laplace=self.laplace,
            seconds=self.seconds,
        )
