"""Method auto: the emulator; where its own checks fail, chains that know nothing of it.

1. emulator. If its verdict is *reliable*, its fit is the result.
2. nuts, from dispersed starts, until quantiles can be quoted. The chains are the result; the verdict says what the
   emulator's trouble was, and whether its draws were right all the same. log Z is that of a bridge between the chains
   and the copy, which counts mass that the copy misses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal, cast, get_args

import numpy as np
from numpy.typing import NDArray

from gammasky.engine import interrupt
from gammasky.engine.errors import DivergedFitError
from gammasky.engine.infer.agreement import Disagreement, disagreements
from gammasky.engine.infer.checkpoint import Arrays, Checkpoint
from gammasky.engine.infer.convergence import Convergence
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.emulator.copy import white
from gammasky.engine.infer.emulator.evidence import bridge
from gammasky.engine.infer.evidence import Evidence
from gammasky.engine.infer.methods.auto import Auto
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.result import Fit, marginals, quoted
from gammasky.engine.infer.stages.emulator import EmulatorStage
from gammasky.engine.infer.stages.nuts import NutsStage
from gammasky.engine.infer.stages.stage import Note, Stage
from gammasky.engine.infer.summary import described

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
Phase = Literal["emulator", "nuts", "done"]
LOOK_EVERY = 250  # kept iterations between looks at the chains: a fixed number, so that resuming changes nothing


class AutoStage(Stage):
    """The emulator, then chains if they are needed."""

    name = Auto.name

    def __init__(self, model: Density, settings: Settings, n_draws: int, start: Laplace | None = None) -> None:
        super().__init__(model, settings, n_draws, start)
        self._emulator = EmulatorStage(model, settings, n_draws, start)
        self._nuts = NutsStage(model, settings, n_draws, stop_every=LOOK_EVERY)
        self._phase: Phase = "emulator"
        self._learnt: Fit | None = None  # of the emulator, once it is done
        self._failure = ""  # why it never will be
        self._ran_chains = False
        self._note: Note = lambda _text: None

    def begin(self, note: Note) -> None:
        self._note = note
        with self.timed():
            self._emulator.begin(note)
            self.start = self._emulator.start
            if self._phase != "emulator":
                self._turn_to_chains()

    def done(self) -> bool:
        return self._phase == "done"

    def advance(self) -> None:
        with self.timed():
            if self._phase == "emulator":
                self._learn()
            else:
                self._nuts.advance()
                kept = self._nuts.n_kept
                if self._nuts.done() or (kept and kept % LOOK_EVERY == 0 and self._can_be_quoted()):
                    self._phase = "done"

    def _learn(self) -> None:
        """A piece of the emulator's work; once it has ended, or cannot go on, what comes next."""
        try:
            self._emulator.advance()
        except DivergedFitError as error:
            self._failure = str(error).partition(";")[0]
        if not (self._failure or self._emulator.done()):
            return
        try:
            self._turn_to_chains()
        except KeyboardInterrupt:
            if not interrupt.pending():
                raise
            # who has asked for the signal acts on it, and saves the emulator

    def _turn_to_chains(self) -> None:
        """Look at what the emulator has found, and begin with the chains if they are needed."""
        if not self._failure:
            self._learnt = self._emulator.finish()
        if self._learnt is not None and self._learnt.verdict.level == "reliable":
            self._phase = "done"
            return
        self._note(f"the emulator would not do ({self._trouble}); running chains")
        self._nuts.start = self.start
        self._nuts.begin(lambda _text: None)
        self._ran_chains = True
        if self._phase == "emulator":
            self._phase = "nuts"

    @property
    def _trouble(self) -> str:
        """What is wrong with the emulator."""
        return self._failure if self._learnt is None else self._learnt.verdict.reasons[0]

    def _numbers(self) -> dict[str, Floats]:
        """Quoted numbers of the chains' draws so far."""
        return quoted(self.model, marginals(self.model, derive(self.model, self._nuts.z)))

    def _can_be_quoted(self) -> bool:
        return all(of.good for of in self._nuts.convergence(self._numbers()).values())

    def progress(self) -> tuple[int, int, str]:
        if not self._ran_chains:
            return self._emulator.progress()
        done, total, text = self._nuts.progress()
        return done, total, f"chains, {text}"

    def arrays(self) -> Arrays:
        own = {"auto_phase": np.array(self._phase), "auto_failure": np.array(self._failure),
               "auto_seconds": np.asarray(self.seconds)}  # fmt: skip
        return own | self._emulator.arrays() | (self._nuts.arrays() if self._ran_chains else {})

    def restore(self, checkpoint: Checkpoint) -> None:
        phase = checkpoint.one_of("auto_phase", str(checkpoint["auto_phase"]), get_args(Phase))
        self._phase = cast(Phase, phase)
        self._failure, self.seconds = str(checkpoint["auto_failure"]), float(checkpoint["auto_seconds"])
        self._emulator.restore(checkpoint)
        if "nuts_seconds" in checkpoint:
            self._nuts.restore(checkpoint)

    def finish(self) -> Fit:
        if not self._ran_chains:
            assert self._learnt is not None
            told = {**self._learnt.diagnostics, "method": self.name, "result": "emulator"}
            return replace(self._learnt, method=self.name, diagnostics=told, seconds=self.seconds)
        with self.timed():
            chains, numbers = self._nuts.finish(), self._numbers()
            found = self._nuts.convergence(numbers)
            log_z = self._bridge(chains) if self._learnt is not None else None
        different = self._different(numbers, found)
        evidence = {} if log_z is None else {"log_z": log_z.log_z, "log_z_error": log_z.log_z_error}
        diagnostics = {
            **chains.diagnostics,
            "method": self.name,
            "result": "nuts",
            **evidence,
            "gradients": self._emulator.emulation.cost + chains.diagnostics["gradients"],
        }
        return replace(
            chains,
            method=self.name,
            verdict=Auto.verdict(chains.verdict, self._trouble, different, log_z, len(numbers), self.settings.seed),
            diagnostics=diagnostics,
            stages=self._stages(numbers, {**chains.diagnostics, **evidence}, chains.seconds),
            laplace=self.laplace,
            seconds=self.seconds,
        )

    def _different(self, numbers: dict[str, Floats], found: dict[str, Convergence]) -> list[Disagreement] | None:
        """The numbers for which emulator and chains disagree, the worst first."""
        if self._learnt is None:
            return None
        learnt = quoted(self.model, marginals(self.model, self._learnt.derived))
        return disagreements(learnt, self._emulator.emulation.found, numbers, found)

    def _bridge(self, chains: Fit) -> Evidence | None:
        """Estimate log Z from the draws of chains and copy together; None where they do not tell it."""
        emulation = self._emulator.emulation
        x = emulation.target.from_latent(chains.z)
        at_chains = chains.log_likelihood + emulation.target.prior(x)[0]
        at_chains -= emulation.sampler.log_density(emulation.copy, white(emulation.copy, x))
        total = bridge(emulation, at_chains.reshape(chains.chains, -1))
        return total if np.isfinite([total.log_z, total.log_z_error]).all() else None

    def _stages(
        self, numbers: dict[str, Floats], of_chains: dict[str, Any], seconds: float
    ) -> tuple[dict[str, Any], ...]:
        """Diagnostics and marginals of each method, for tables that put them side by side."""
        if self._learnt is None:
            return ()
        learnt = quoted(self.model, marginals(self.model, self._learnt.derived))
        return (
            _stage("emulator", learnt, self._learnt.diagnostics, self._learnt.seconds),
            _stage("nuts", numbers, of_chains, seconds),
        )


def _stage(method: str, values: dict[str, Floats], diagnostics: dict[str, Any], seconds: float) -> dict[str, Any]:
    """Put what one method found into a row of a table."""
    marginal = {name: described(draws) for name, draws in values.items()}
    return {**diagnostics, "method": method, "seconds": round(seconds, 1), "marginals": marginal}
