"""Method nuts: Markov chains from dispersed starts; many minutes, and the arbiter of the other methods."""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.checkpoint import Arrays, Checkpoint, leaves
from gammasky.engine.infer.convergence import Convergence, chain_diagnostics, convergence
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.methods.nuts import Nuts
from gammasky.engine.infer.nuts import MAX_CHUNK, Chains, ChainSettings, Chunk, State
from gammasky.engine.infer.optimise import Laplace, dispersed_starts
from gammasky.engine.infer.result import Fit, log_prior, marginals, quoted
from gammasky.engine.infer.stages.stage import Note, Stage, next_piece

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]


class NutsStage(Stage):
    """Warm-up and draws of all chains; pieces of work end where `stop_every` more draws are kept."""

    name = Nuts.name

    def __init__(
        self,
        model: Density,
        settings: Settings,
        n_draws: int,
        start: Laplace | None = None,
        *,
        stop_every: int = MAX_CHUNK,
    ) -> None:
        super().__init__(model, settings, n_draws, start)
        self._stop_every = stop_every
        self.chains = Chains(model, ChainSettings(settings.chains, settings.warmup, seed=settings.seed))
        self._state: State | None = None
        self._kept = Chunk.joined([], settings.chains, model.n_latent)
        self._leapfrogs = 0.0  # of warm-up and draws, over all chains
        self._piece = 1

    @property
    def state(self) -> State:
        """The state of the chains after the latest iteration."""
        assert self._state is not None
        return self._state

    @property
    def iteration(self) -> int:
        """Number of iterations done, warm-up included."""
        return int(self.state["iteration"])

    def begin(self, note: Note) -> None:
        super().begin(note)
        with self.timed():
            if self._state is None:
                starts = dispersed_starts(self.model, self.settings.seed, self.settings.chains)
                self._state = self.chains.start(starts, self.laplace)
        note("compiling")

    def done(self) -> bool:
        return self.iteration >= self.settings.warmup + self.settings.draws

    def advance(self) -> None:
        before, n_done = self.seconds, self.iteration
        with self.timed():
            most = self.settings.draws - self.n_kept if self.n_kept else self._piece
            most = min(most, self._stop_every - self.n_kept % self._stop_every)
            self._state, chunk = self.chains.advance(self.state, min(self._piece, most))
        self._leapfrogs += chunk.leapfrogs.sum()
        if n_done >= self.settings.warmup:
            self._kept = Chunk.joined([self._kept, chunk], self.settings.chains, self.model.n_latent)
        self._piece = next_piece(len(chunk.z), self.seconds - before, MAX_CHUNK)

    def progress(self) -> tuple[int, int, str]:
        text = "warm-up" if self.iteration < self.settings.warmup else f"{self.divergent:.1%} divergent"
        return self.iteration, self.settings.warmup + self.settings.draws, text

    @property
    def divergent(self) -> float:
        """Share of divergent trajectories among those kept."""
        return float(self._kept.divergent.mean()) if self._kept.divergent.size else 0.0

    @property
    def z(self) -> Floats:
        """Draws so far (chains * draws, D), chain after chain."""
        return self._kept.z.swapaxes(0, 1).reshape(-1, self.model.n_latent)

    @property
    def n_kept(self) -> int:
        """Number of draws kept so far of each chain."""
        return len(self._kept.z)

    def convergence(self, values: dict[str, Floats]) -> dict[str, Convergence]:
        """Measure how well the chains agree so far about numbers (chains * draws,), by name."""
        return {name: convergence(draws.reshape(self.settings.chains, -1)) for name, draws in values.items()}

    def arrays(self) -> Arrays:
        kept = {f"nuts_kept_{name}": values for name, values in vars(self._kept).items()}
        return {**super().arrays(), **leaves("nuts_state", self.state), **kept,
                "nuts_leapfrogs": np.asarray(self._leapfrogs)}  # fmt: skip

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        self._state = checkpoint.tree("nuts_state", self.chains.blank())
        self._kept = Chunk(*(checkpoint[f"nuts_kept_{name}"] for name in vars(self._kept)))
        self._leapfrogs = float(checkpoint["nuts_leapfrogs"])

    def finish(self) -> Fit:
        with self.timed():
            derived = derive(self.model, self.z)
            found = self.convergence(marginals(self.model, derived))
        found = quoted(self.model, found)
        log_density = self._kept.log_density.swapaxes(0, 1).ravel()
        return Fit(
            method=self.name,
            status="finished",
            z=self.z,
            log_likelihood=log_density - log_prior(self.z),
            log_guide=None,
            derived=derived,
            elbo=np.zeros(0),
            verdict=Nuts.verdict(found, self.divergent, self.settings.resolved()),
            diagnostics={
                "method": self.name,
                **chain_diagnostics(found),
                "divergent": self.divergent,
                "gradients": int(self._leapfrogs),
                "leapfrogs": float(self._kept.leapfrogs.mean()),
                "step_size": self.chains.step_size(self.state),
            },
            laplace=self.laplace,
            chains=self.settings.chains,
            seconds=self.seconds,
        )
