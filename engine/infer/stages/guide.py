"""Method svi: a guide fitted to a copy of the likelihood, which is learnt first; a minute or two."""

from __future__ import annotations

import time
from dataclasses import asdict
from typing import TYPE_CHECKING, Any

import jax
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.checkpoint import Arrays, Checkpoint, leaves
from gammasky.engine.infer.copy_fit import MAX_CHUNK, CopyFit, State
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.emulator.copy import placed, white
from gammasky.engine.infer.emulator.optima import low_at_optima
from gammasky.engine.infer.emulator.sampling import CHAINS
from gammasky.engine.infer.emulator.scouts import Forward
from gammasky.engine.infer.fitted_guide import FittedGuide
from gammasky.engine.infer.importance import importance
from gammasky.engine.infer.methods.emulator import Emulator, joined
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.result import Fit, log_likelihoods, log_prior
from gammasky.engine.infer.settings import Settings
from gammasky.engine.infer.stages.emulator import EmulatorStage
from gammasky.engine.infer.stages.stage import Note, Stage, next_piece
from gammasky.engine.infer.svi import status_of
from gammasky.engine.infer.verdict import shifts

if TYPE_CHECKING:
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
Singles = NDArray[np.float32]
ROUNDS = 480  # of draws of the copy, one from each of CHAINS chains
SETTLING, THINNING, LEAPFROGS = 10, 2, 14  # rounds that are left out; transitions between two rounds, and their length
_ROUNDS_PER_PIECE, _STEPS_PER_PIECE = 4, 10  # that take as long as a piece of the emulation
_WINDOW = 100  # steps over which the ELBO is averaged for the progress line
_SALT = 2**30  # apart from the keys of the emulation


class GuideStage(Stage):
    """The phases of an emulation up to a tested copy, rounds of draws of the copy, steps of the guide.

    Attributes:
        emulator: learns the copy.
        elbo (steps,): of the copy, in every step of the guide.
    """

    name = Svi.name

    def __init__(self, model: Density, settings: Settings, n_draws: int, start: Laplace | None = None) -> None:
        super().__init__(model, settings, n_draws, start)
        learns = Settings(method=Emulator.name, seed=settings.seed)
        self.emulator = EmulatorStage(model, learns, n_draws, start, until="run_chains")
        self.fit = CopyFit(self.emulator.emulation.target, settings)
        self.elbo: Floats = np.zeros(0)
        self._state: State = {}
        self._n_steps = settings.resolved()["steps"]
        self._rounds: list[Singles] = []  # draws x (CHAINS, D) of the copy
        self._walkers: Floats = np.zeros((0, model.n_latent))
        self._spent = {"draws of the copy": 0.0, "guide": 0.0}  # seconds
        self._piece = 1

    def begin(self, note: Note) -> None:
        with self.timed():
            self.emulator.begin(note)
        self.start = self.emulator.start

    def done(self) -> bool:
        return self.elbo.size >= self._n_steps

    def advance(self) -> None:
        with self.timed():
            if not self.emulator.done():
                self.emulator.advance()
            elif len(self._rounds) < SETTLING + ROUNDS:
                self._draw()
            else:
                self._step()

    def _draw(self) -> None:
        """One more round of draws of the copy."""
        began, emulation, number = time.perf_counter(), self.emulator.emulation, len(self._rounds)
        walkers = self._walkers if number else emulation.walkers["cold"]
        key = jax.random.fold_in(jax.random.key(self.settings.seed), _SALT + number)
        u, _, _ = emulation.sampler.move(
            emulation.copy, white(emulation.copy, walkers), key, emulation.step, THINNING, LEAPFROGS, tuning=0.0
        )
        self._walkers = placed(emulation.copy, u)
        self._rounds.append(self._walkers.astype(np.float32))
        if len(self._rounds) == SETTLING + ROUNDS:
            self._state = self.fit.start(self._draws)
        self._spent["draws of the copy"] += time.perf_counter() - began

    @property
    def _draws(self) -> Singles:
        return np.concatenate(self._rounds[SETTLING:])

    def _step(self) -> None:
        """Steps of the guide."""
        began = time.perf_counter()
        n_steps = min(self._piece, self._n_steps - self.elbo.size)
        self._state, elbo = self.fit.advance(self.emulator.emulation.copy, self._state, self._draws, n_steps)
        self.elbo = np.concatenate([self.elbo, elbo])
        took = time.perf_counter() - began
        self._spent["guide"] += took
        self._piece = next_piece(n_steps, took, MAX_CHUNK)

    def progress(self) -> tuple[int, int, str]:
        done, total, text = self.emulator.progress()
        if self.emulator.done():
            text = f"draws of the copy, {len(self._rounds)} of {SETTLING + ROUNDS} rounds"
        if self.elbo.size:
            text = f"guide on the copy, ELBO {self.elbo[-_WINDOW:].mean():.2f}"
        done += len(self._rounds) // _ROUNDS_PER_PIECE + self.elbo.size // _STEPS_PER_PIECE
        return done, total + (SETTLING + ROUNDS) // _ROUNDS_PER_PIECE + self._n_steps // _STEPS_PER_PIECE, text

    def arrays(self) -> Arrays:
        return {
            **super().arrays(), **self.emulator.arrays(),
            "svi_draws": np.array(self._rounds, dtype=np.float32), "svi_walkers": self._walkers, "svi_elbo": self.elbo,
            "svi_spent": np.array(list(self._spent.values())), **leaves("svi_state", self._state),
        }  # fmt: skip

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        self.emulator.restore(checkpoint)
        self._rounds, self._walkers = list(checkpoint["svi_draws"]), checkpoint["svi_walkers"]
        self.elbo = checkpoint["svi_elbo"]
        self._spent = dict(zip(self._spent, checkpoint["svi_spent"].tolist(), strict=True))
        if len(self._rounds) == SETTLING + ROUNDS:
            self._state = checkpoint.tree("svi_state", self.fit.start(self._draws))

    def finish(self) -> Fit:
        model, emulation = self.model, self.emulator.emulation
        fitted = self.fit.fitted(self._state)
        with self.timed():
            z, log_guide, _ = self.fit.draws.draw(*fitted, self.n_draws)
            log_likelihood = log_likelihoods(model, z)
            weights, derived = importance(log_likelihood + log_prior(z), log_guide), derive(model, z)
            covers = self._coverage(fitted, weights.log_z)
        test, mixed, low = emulation.tests[-1], emulation.mixed, low_at_optima(emulation, self.laplace)
        return Fit(
            method=self.name,
            status=status_of(self.elbo),
            z=z,
            log_likelihood=log_likelihood,
            log_guide=log_guide,
            guide=FittedGuide.of(model, self.settings.resolved(), "flux", self._state["guide"], self._state["frame"]),
            derived=derived,
            elbo=self.elbo,
            verdict=Svi.verdict_on_copy(
                weights,
                shifts(model, derived, weights),
                covers,
                joined(Emulator.on_copy(emulation.weights, test), Emulator.on_draws(emulation.weights, mixed, low)),
                {"the coverage by the copy": test.coverage, **Emulator.numbers_of_draws(mixed, low)},
            ),
            diagnostics={
                "method": self.name,
                **weights.diagnostics(),
                **_of_guide(covers),
                "coverage": test.coverage,
                "coverage_error": test.error,
                "missed": test.missed,
                "gradients": emulation.cost,
                "rounds": emulation.rounds,
                "tests": [asdict(of) for of in emulation.tests],
                "spent": {kind: round(spent, 1) for kind, spent in {**emulation.seconds, **self._spent}.items()},
            },
            laplace=self.laplace,
            weights=weights,
            seconds=self.seconds,
        )

    def _coverage(self, fitted: tuple[Any, Any], log_z: float) -> Forward | None:
        """How the guide covers draws of the posterior: those of the copy, drawn again by their weights."""
        emulation = self.emulator.emulation
        pool, size = emulation.pool, len(emulation.pool["x"]) // CHAINS * CHAINS
        rows = emulation.weights.resampled(size, self.settings.seed)
        z = emulation.target.latent(pool["x"][rows])
        log_guide = self.fit.draws.log_density(*fitted, z)
        if log_guide is None:
            return None
        ratios = pool["log_likelihood"][rows] + log_prior(z) - log_guide - log_z
        return Forward.of(ratios.reshape(-1, CHAINS))


def _of_guide(covers: Forward | None) -> dict[str, float]:
    """How the guide covers the posterior, as diagnostics; none where that is not known."""
    if covers is None:
        return {}
    return {
        "guide_coverage": covers.coverage,
        "guide_coverage_error": covers.error,
        "guide_missed": covers.missed,
    }
