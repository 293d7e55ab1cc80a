"""Method emulator: the likelihood is learnt, its copy sampled, and its draws made exact; a minute or two."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import asdict
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.checkpoint import Arrays, Checkpoint
from gammasky.engine.infer.convergence import chain_diagnostics
from gammasky.engine.infer.emulator.ahead import compiled_ahead
from gammasky.engine.infer.emulator.emulation import Emulation
from gammasky.engine.infer.emulator.evidence import evidence
from gammasky.engine.infer.emulator.memory import recall, remembered
from gammasky.engine.infer.emulator.optima import low_at_optima
from gammasky.engine.infer.emulator.sampling import GROUPS
from gammasky.engine.infer.gradients import check_gradients
from gammasky.engine.infer.methods.emulator import Emulator
from gammasky.engine.infer.optimise import Laplace, Record, laplace
from gammasky.engine.infer.result import Fit
from gammasky.engine.infer.stages.stage import N_STARTS, Note, Stage

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
_PIECES, _MORE = 300, 100  # of a fit that learns in four rounds and two tests; others take more, or a few less
_OF_COPY = ("k_hat", "efficiency", "coverage", "coverage_error", "missed")  # what chains on the likelihood do not need


class EmulatorStage(Stage):
    """The phases of an `Emulation` in order; a checkpoint holds what is known between two of them.

    Args:
        until: the phase before which it stops.
    """

    name = Emulator.name

    def __init__(
        self, model: Density, settings: Settings, n_draws: int, start: Laplace | None = None, until: str = "done"
    ) -> None:
        super().__init__(model, settings, n_draws, start)
        self._until = until
        self.emulation = Emulation(model, settings.seed)
        self._work: Iterator[str] = iter(())
        self._text = ""
        self._known: Arrays = {}

    def begin(self, note: Note) -> None:
        if self._known:
            return
        recorded: list[tuple[Floats, Floats, Floats]] = []
        note("compiling")  # until the programs of the climbs are there
        with self.timed(), compiled_ahead(self.model):
            if self.start is None:
                note("finding the best point")
                record: Record = lambda z, values, gradients: recorded.append((z, values, gradients))  # noqa: E731
                self.start = laplace(self.model, self.settings.seed, N_STARTS, record)
                note("compiling")
        with self.timed():
            self.emulation.target.n_gradients += check_gradients(self.model, self.start, self.settings.seed)
            self.emulation.begin(self.start, recorded)
        self._known = self._state()

    def done(self) -> bool:
        return self.emulation.phase == self._until

    def advance(self) -> None:
        with self.timed():
            try:
                text = next(self._work, None)
                if text is None:  # a phase has ended, or none has begun
                    self._check()
                    self._known = self._state()
                    if self.done():
                        return
                    self._work = self.emulation.run_phase()
                    text = next(self._work)
                self._text = text
            except KeyboardInterrupt:
                if not interrupt.pending():
                    raise
                # who has asked for the signal acts on it, and saves what was known before this phase

    def _check(self) -> None:
        """Raise a DivergedFitError if the copy is not a function any more."""
        if not all(np.isfinite(part).all() for part in self.emulation.copy.network.values()):
            raise DivergedFitError("the copy ran away while the likelihood was learnt; use `method='nuts'`")

    def progress(self) -> tuple[int, int, str]:
        done = self.emulation.pieces_done
        more = 1 + max(0, done - _PIECES) // _MORE
        return done, _PIECES + more * _MORE if not self.done() else done, self._text

    def arrays(self) -> Arrays:
        return self._known

    def _state(self) -> Arrays:
        return {**super().arrays(), **remembered(self.emulation)}

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        recall(self.emulation, checkpoint)
        self._known = self._state()

    def finish(self) -> Fit:
        emulation = self.emulation
        with self.timed():
            z, log_likelihood, derived = emulation.posterior()
        weights, test = emulation.weights, emulation.tests[-1]
        log_z = evidence(emulation)
        return Fit(
            method=self.name,
            status="finished",
            z=z,
            log_likelihood=log_likelihood,
            log_guide=None,
            derived=derived,
            elbo=np.zeros(0),
            verdict=Emulator.verdict(
                weights,
                test,
                emulation.found,
                emulation.mixed,
                low_at_optima(emulation, self.laplace),
                log_z,
                on_likelihood=emulation.chains.on_likelihood,
            ),
            diagnostics={
                "method": self.name,
                "log_z": log_z.log_z,
                "log_z_error": log_z.log_z_error,
                "k_hat": weights.k_hat,
                "efficiency": weights.efficiency,
                **chain_diagnostics(emulation.found),
                "coverage": test.coverage,
                "coverage_error": test.error,
                "missed": test.missed,
                "gradients": emulation.cost,
                "rounds": emulation.rounds,
                "tests": [asdict(test) for test in emulation.tests],
                "accepted": [round(share, 4) for share in emulation.chains.accepted],
                "spent": {kind: round(seconds, 1) for kind, seconds in emulation.seconds.items()},
            },
            laplace=self.laplace,
            chains=GROUPS,
            seconds=self.seconds,
            told_only=_OF_COPY if emulation.chains.on_likelihood else (),
        )
