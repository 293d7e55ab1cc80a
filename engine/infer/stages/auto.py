"""Method auto: a guide, checked by chains that know nothing of it; the chains decide where they disagree.

1. Laplace, then svi: the guide and its importance weights.
2. nuts, from dispersed starts, until the chains have mixed well enough to judge. If guide and chains agree in every
   number that is quoted, the weighted draws of the guide are the result.
3. If not, the chains go on until their quantiles can be quoted, and are the result.

Either way log Z is that of a bridge between guide and chains, which counts mass that the guide misses.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING, Any, Literal

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.agreement import Disagreement, disagreements
from gammasky.engine.infer.checkpoint import Arrays, Checkpoint
from gammasky.engine.infer.convergence import Convergence
from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.evidence import Evidence, bridge_sampling
from gammasky.engine.infer.importance import Importance
from gammasky.engine.infer.methods.auto import Auto
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.result import Fit, log_prior, marginals, quoted
from gammasky.engine.infer.stages.nuts import NutsStage
from gammasky.engine.infer.stages.stage import Note, Stage
from gammasky.engine.infer.stages.svi import SviStage
from gammasky.engine.infer.summary import described

if TYPE_CHECKING:
    from gammasky.engine.infer.settings import Settings
    from gammasky.engine.model import Density

Floats = NDArray[np.float64]
Phase = Literal["svi", "nuts", "done"]
LOOK_EVERY = 250  # kept iterations between looks at the chains: a fixed number, so that resuming changes nothing
_FEWEST, _LARGEST = 200.0, 1.02  # effective size and R-hat of chains that can judge a guide


class AutoStage(Stage):
    """The stages in order, and what they found."""

    name = Auto.name

    def __init__(self, model: Density, settings: Settings, n_draws: int, start: Laplace | None = None) -> None:
        super().__init__(model, settings, n_draws, start)
        self._svi = SviStage(model, settings, n_draws)
        self._nuts = NutsStage(model, settings, n_draws, stop_every=LOOK_EVERY)
        self._phase: Phase = "svi"
        self._guide: Fit | None = None  # of svi, once it is done
        self._chains: dict[str, Floats] = {}  # quoted numbers of the chains' draws, at the latest look
        self._found: dict[str, Convergence] = {}
        self._different: list[Disagreement] = []
        self._note: Note = lambda _text: None

    def begin(self, note: Note) -> None:
        super().begin(note)
        self._note = note
        self._svi.start = self._nuts.start = self.start
        self._svi.begin(note)
        self._nuts.begin(lambda _text: None)
        if self._phase != "svi":
            self._guide = self._svi.finish()
        if self._phase == "done":
            self._look()

    def done(self) -> bool:
        return self._phase == "done"

    def advance(self) -> None:
        with self.timed():
            if self._phase == "svi":
                self._svi.advance()
                if self._svi.done():
                    self._note("drawing from the guide")
                    self._guide = self._svi.finish()
                    self._note("running chains to check it")
                    self._phase = "nuts"
            elif self._phase == "nuts":
                self._nuts.advance()
                if self._nuts.done() or (self._nuts.n_kept and self._nuts.n_kept % LOOK_EVERY == 0):
                    self._look()
                    self._judge()

    def _look(self) -> None:
        """Compare the chains so far with the guide."""
        guide = self._svi_fit
        self._chains = quoted(self.model, marginals(self.model, derive(self.model, self._nuts.z)))
        self._found = self._nuts.convergence(self._chains)
        values = quoted(self.model, marginals(self.model, guide.derived))
        self._different = disagreements(values, _weights(guide), self._chains, self._found)

    def _judge(self) -> None:
        """Whether the chains have said enough, after a look."""
        can_judge = self._can_judge()
        if self._nuts.done() or (can_judge and (not self._different or all(of.good for of in self._found.values()))):
            self._phase = "done"
        elif can_judge:
            self._note(f"guide and chains disagree ({self._different[0]}); the chains go on")

    def _can_judge(self) -> bool:
        """Whether the chains have mixed well enough to find a fault."""
        return all(of.r_hat < _LARGEST and of.smallest_ess >= _FEWEST for of in self._found.values())

    def progress(self) -> tuple[int, int, str]:
        if self._phase == "svi":
            return self._svi.progress()
        done, total, text = self._nuts.progress()
        return done, total, f"chains, {text}"

    def arrays(self) -> Arrays:
        kept = {**super().arrays(), **self._svi.arrays(), "auto_phase": np.array(self._phase)}
        if self._phase != "svi":
            kept |= self._nuts.arrays()
        return kept

    def restore(self, checkpoint: Checkpoint) -> None:
        super().restore(checkpoint)
        self._phase = str(checkpoint["auto_phase"])  # type: ignore[assignment]
        self._svi.restore(checkpoint)
        if self._phase != "svi":
            self._nuts.restore(checkpoint)

    @property
    def _svi_fit(self) -> Fit:
        assert self._guide is not None
        return self._guide

    def finish(self) -> Fit:
        guide = self._svi_fit
        with self.timed():
            chains = self._nuts.finish()
            bridged = self._bridge(guide, chains)
            result = chains if self._different else self._by_guide(guide)
        kept = ("r_hat_max", "ess_bulk_min", "ess_tail_min", "slowest", "divergent")
        weights = _weights(guide)
        verdict = Auto.verdict(
            self._different,
            weights,
            guide.status,
            chains.verdict,
            n_numbers=len(self._chains),
            can_judge=self._can_judge(),
            log_z=bridged.log_z,
        )
        diagnostics = {
            "method": self.name,
            "result": result.method,
            "log_z": bridged.log_z,
            "log_z_error": bridged.log_z_error,
            "log_z_by_method": {
                "svi, importance weights": [weights.log_z, weights.log_z_error],
                "bridge between svi and nuts": [bridged.log_z, bridged.log_z_error],
            },
            "elbo": weights.elbo,
            "elbo_error": weights.elbo_error,
            "k_hat": weights.k_hat,
            **{name: chains.diagnostics[name] for name in kept},
            "gradients": guide.diagnostics["gradients"] + chains.diagnostics["gradients"],
        }
        return replace(
            result,
            method=self.name,
            verdict=verdict,
            diagnostics=diagnostics,
            stages=self._stages(guide, chains, bridged),
            laplace=self.laplace,
            elbo=guide.elbo,
            seconds=self.seconds,
        )

    def _bridge(self, guide: Fit, chains: Fit) -> Evidence:
        """Estimate log Z from the draws of guide and chains together."""
        assert guide.log_guide is not None
        at_chains = chains.log_likelihood + log_prior(chains.z)
        at_chains -= self._svi.svi.log_density(self._svi.state, chains.z)
        at_guide = guide.log_likelihood + log_prior(guide.z) - guide.log_guide
        return bridge_sampling(at_chains.reshape(chains.chains, -1), at_guide)

    def _by_guide(self, guide: Fit) -> Fit:
        """The result where guide and chains agree: the guide's draws, drawn again by their weights."""
        chosen = _weights(guide).resampled(len(guide.z), self.settings.seed)
        return replace(
            guide,
            method="svi, reweighted",
            z=guide.z[chosen],
            log_likelihood=guide.log_likelihood[chosen],
            log_guide=None,
            derived={name: values[chosen] for name, values in guide.derived.items()},
            weights=None,
        )

    def _stages(self, guide: Fit, chains: Fit, bridged: Evidence) -> tuple[dict[str, Any], ...]:
        """Diagnostics and marginals of each method, for tables that put them side by side."""
        of_guide = quoted(self.model, marginals(self.model, guide.derived))
        of_chains = {**chains.diagnostics, "log_z": bridged.log_z, "log_z_error": bridged.log_z_error}
        return (
            _stage("svi", of_guide, guide.diagnostics, guide.seconds),
            _stage("svi, reweighted", of_guide, guide.diagnostics, guide.seconds, _weights(guide).weights),
            _stage("nuts", self._chains, of_chains, chains.seconds),
        )


def _weights(guide: Fit) -> Importance:
    assert guide.weights is not None
    return guide.weights


def _stage(
    method: str, values: dict[str, Floats], diagnostics: dict[str, Any], seconds: float, weights: Floats | None = None
) -> dict[str, Any]:
    """Put what one method found into a row of a table."""
    return {
        **diagnostics,
        "method": method,
        "seconds": round(seconds, 1),
        "marginals": {name: described(draws, weights) for name, draws in values.items()},
    }
