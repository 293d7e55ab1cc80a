"""Method svi without a copy: a guide fitted to the likelihood itself by variational inference; minutes."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.checkpoint import Arrays, Checkpoint, leaves
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.importance import importance
from gammasky.engine.infer.methods.svi import Svi
from gammasky.engine.infer.optimise import Laplace, laplace_at
from gammasky.engine.infer.result import Fit, log_likelihoods, log_prior
from gammasky.engine.infer.stages.stage import Note, Stage, next_piece
from gammasky.engine.infer.svi import FLAT_EVERY, MAX_CHUNK, State, VariationalFit, check_diverged, is_flat, status_of
from gammasky.engine.infer.verdict import shifts

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
_TRIAL = 0.1  # share of the steps after which the best of several starts is chosen
_WINDOW = 100  # steps over which the ELBO is averaged for the progress line


class SviStage(Stage):
    """Steps of a guide. Of several starts each does a tenth of the steps, and the one of the best ELBO goes on.

    The starts are the different optima that were found, the best first; more starts than optima are the same optima
    with other random numbers in the guide's first parameters.
    """

    name = Svi.name

    def __init__(self, model: Density, settings: Settings, n_draws: int, start: Laplace | None = None) -> None:
        super().__init__(model, settings, n_draws, start)
        self.svi = VariationalFit(model, settings)
        self._n_steps = settings.resolved()["steps"]
        self._elbos: list[Floats] = [np.zeros(0)] * settings.starts
        self._states: list[State] = []
        self._starts: list[Laplace] = []
        self._piece = 1

    def begin(self, note: Note) -> None:
        with self.timed():
            self.svi.require_memory()
        super().begin(note)
        with self.timed():
            n_starts = self.settings.starts
            optima = self.laplace.distinct() if n_starts > 1 else []
            other = [laplace_at(self.model, self.laplace, optimum) for optimum in optima[1:n_starts]]
            places = [self.laplace, *other]
            self._starts = [places[number % len(places)] for number in range(n_starts)]
            if not self._states:
                self._states = [self.svi.start(place, number) for number, place in enumerate(self._starts)]
        note("compiling")

    @property
    def _current(self) -> int:
        """The start that goes on: the first with steps of its trial left, else the best of the trials."""
        trial = self._trial_steps
        left = [number for number, elbo in enumerate(self._elbos) if elbo.size < trial]
        if len(self._elbos) == 1 or left:
            return left[0] if left else 0
        return int(np.argmax([elbo[trial // 2 : trial].mean() for elbo in self._elbos]))

    @property
    def _trial_steps(self) -> int:
        return max(1, int(_TRIAL * self._n_steps))

    @property
    def elbo(self) -> Floats:
        """ELBO of every step of the start that goes on."""
        return self._elbos[self._current]

    @property
    def state(self) -> State:
        """Guide and optimiser of the start that goes on."""
        return self._states[self._current]

    @property
    def frame(self) -> Laplace:
        """The frame on which the start that goes on began."""
        return self._starts[self._current]

    def done(self) -> bool:
        elbo = self.elbo
        if self.settings.early_stop and elbo.size and elbo.size % FLAT_EVERY == 0 and is_flat(elbo, FLAT_EVERY):
            return True
        return elbo.size >= self._n_steps

    def advance(self) -> None:
        """Steps that end where the flatness of the ELBO is looked at, and where a trial does."""
        before, number, n_done = self.seconds, self._current, self.elbo.size
        with self.timed():
            end = self._trial_steps if len(self._elbos) > 1 and n_done < self._trial_steps else self._n_steps
            n_steps = min(self._piece, end - n_done, FLAT_EVERY - n_done % FLAT_EVERY)
            state, elbo = self.svi.advance(self._states[number], n_steps)
            elbo = np.concatenate([self._elbos[number], elbo])
            check_diverged(self.svi, state, self._starts[number], elbo)
            self._states[number], self._elbos[number] = state, elbo
        self._piece = next_piece(n_steps, self.seconds - before, MAX_CHUNK)

    def progress(self) -> tuple[int, int, str]:
        trials = (len(self._elbos) - 1) * self._trial_steps
        done = sum(elbo.size for elbo in self._elbos)
        text = f"ELBO {self.elbo[-_WINDOW:].mean():.2f}" if self.elbo.size else ""
        return done, trials + self._n_steps, text

    def arrays(self) -> Arrays:
        kept = super().arrays()
        for number, (state, elbo) in enumerate(zip(self._states, self._elbos, strict=True)):
            kept |= {**leaves(f"svi_{number}_state", state), f"svi_{number}_elbo": elbo}
        return kept

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        numbers = range(self.settings.starts)
        like = self.svi.start(self.laplace)
        self._states = [checkpoint.tree(f"svi_{number}_state", like) for number in numbers]
        self._elbos = [checkpoint[f"svi_{number}_elbo"] for number in numbers]

    def finish(self) -> Fit:
        with self.timed():
            model, elbo = self.model, self.elbo
            z, log_guide = self.svi.draw(self.state, self.n_draws)
            log_likelihood = log_likelihoods(model, z)
            weights, derived = importance(log_likelihood + log_prior(z), log_guide), derive(model, z)
        status = status_of(elbo)
        return Fit(
            method=self.name,
            status=status,
            z=z,
            log_likelihood=log_likelihood,
            log_guide=log_guide,
            guide=self.svi.fitted(self.state),
            derived=derived,
            elbo=elbo,
            verdict=Svi.verdict(weights, shifts(model, derived, weights), status),
            diagnostics={
                "method": self.name,
                **weights.diagnostics(),
                "gradients": sum(trace.size for trace in self._elbos) * self.settings.resolved()["particles"],
            },
            laplace=self.laplace,
            weights=weights,
            seconds=self.seconds,
        )
