"""A variational fit that stops at given steps, to be measured there, and goes on from its checkpoint."""

from __future__ import annotations

import time
from pathlib import Path
from typing import TYPE_CHECKING

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.checkpoint import leaves, load_checkpoint, save_checkpoint
from gammasky.engine.infer.importance import Importance, importance
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.result import log_likelihoods, log_prior
from gammasky.engine.infer.run import fit_identity
from gammasky.engine.infer.stages.stage import next_piece
from gammasky.engine.infer.svi import MAX_CHUNK, VariationalFit, check_diverged

if TYPE_CHECKING:
    from collections.abc import Callable

    from gammasky.engine.infer.optimise import Laplace
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
N_DRAWS = 1000  # of a guide, to measure it: the least that k-hat is good with


class Climb:
    """Steps of one fit, with the time that they took: without imports, compilation and measurements.

    Attributes:
        elbo (steps,): bound of each step.
        seconds: that the steps took over all runs: of the processor where that is what works, so that other programs
            on the machine do not change what a search finds; else on the clock.
    """

    def __init__(self, model: Density, settings: Settings, start: Laplace) -> None:
        self.svi = VariationalFit(model, settings)
        self.elbo: Floats = np.zeros(0)
        self.seconds = 0.0
        self._start, self._state = start, self.svi.start(start)

    def save(self, folder: Path) -> None:
        """Write the checkpoint, whole or not at all."""
        arrays = {**leaves("state", self._state), "elbo": self.elbo, "seconds": np.asarray(self.seconds)}
        save_checkpoint(folder / CHECKPOINT, arrays, self._identity())

    def restore(self, folder: Path) -> None:
        """Go on from a checkpoint, if a whole one of this fit is there; else from the beginning."""
        path = folder / CHECKPOINT
        if not path.is_file():
            return
        try:
            stored = load_checkpoint(path, self._identity())
            state, elbo, seconds = stored.tree("state", self._state), stored["elbo"], float(stored["seconds"])
        except InputError:
            path.unlink()  # cut by a machine that went down: the same steps are done again
            return
        self._state, self.elbo, self.seconds = state, elbo, seconds

    def _identity(self) -> dict[str, object]:
        return {"climb": 1, **fit_identity(self.svi.model, self.svi.settings)}

    def to(self, steps: int, seconds: float, watch: Callable[[int], None]) -> None:
        """Do steps until there are so many, or until they have taken so long.

        Raises:
            DivergedFitError: the fit ran away.
            NonFiniteLikelihoodError: a draw had a likelihood that is not finite.
        """
        if self.elbo.size >= steps or self.seconds >= seconds:
            return
        self._compile()
        clock = time.process_time if jax.default_backend() == "cpu" else time.perf_counter
        piece = 1
        while self.elbo.size < steps and self.seconds < seconds:
            began = clock()
            self._state, part = self.svi.advance(self._state, min(piece, steps - self.elbo.size))
            self.elbo = np.concatenate([self.elbo, part])
            check_diverged(self.svi, self._state, self._start, self.elbo)
            took = clock() - began
            self.seconds += took
            piece = next_piece(len(part), took, MAX_CHUNK)
            watch(self.elbo.size)

    def _compile(self) -> None:
        """Two steps that are thrown away: the first state's numbers have weak types, those of later ones do not."""
        state, _ = self.svi.advance(self._state, 1)
        state, _ = self.svi.advance(state, 1)
        self.svi.draw(state, 1)

    def measure(self, n_draws: int = N_DRAWS) -> Importance:
        """ELBO, log Z and k-hat of the guide as it is, from so many draws, always the same random numbers."""
        return weigh(self.svi.model, *self.svi.draw(self._state, n_draws))


def weigh(model: Density, z: Floats, log_guide: Floats) -> Importance:
    """Importance weights of draws z (n, D) of log density log_guide (n,)."""
    return importance(log_likelihoods(model, z) + log_prior(z), log_guide)


def start_elbo(model: Density, start: Laplace, seed: int) -> float:
    """ELBO of the Laplace approximation [nat], from which every guide begins."""
    normal = np.random.default_rng(seed).standard_normal((N_DRAWS, model.n_latent))
    log_density = log_prior(normal) - np.log(np.diag(start.scale_tril)).sum()
    return weigh(model, start.mode + normal @ start.scale_tril.T, log_density).elbo
