"""Method laplace: the best points and the normal distribution about the highest; seconds."""

from __future__ import annotations

import numpy as np

from gammasky.engine.infer.derived import derive
from gammasky.engine.infer.importance import importance
from gammasky.engine.infer.methods.laplace import Laplace
from gammasky.engine.infer.result import Fit, log_likelihoods, log_prior
from gammasky.engine.infer.stages.stage import Stage
from gammasky.engine.infer.verdict import shifts


class LaplaceStage(Stage):
    """The Laplace approximation, all of which is done by `begin`."""

    name = Laplace.name

    def done(self) -> bool:
        return True

    def advance(self) -> None:
        raise AssertionError("a Laplace approximation is done when it has begun")

    def progress(self) -> tuple[int, int, str]:
        return 1, 1, f"log density {self.laplace.log_density:.2f}"

    def finish(self) -> Fit:
        with self.timed():
            model, start = self.model, self.laplace
            u = np.random.default_rng(self.settings.seed).standard_normal((self.n_draws, model.n_latent))
            z = start.mode + u @ start.scale_tril.T
            log_guide = log_prior(u) - np.log(np.diag(start.scale_tril)).sum()
            log_likelihood = log_likelihoods(model, z)
            weights, derived = importance(log_likelihood + log_prior(z), log_guide), derive(model, z)
        optima = [{"log_density": optimum.log_density, "starts": optimum.n_starts} for optimum in start.distinct()]
        return Fit(
            method=self.name,
            status="finished",
            z=z,
            log_likelihood=log_likelihood,
            log_guide=log_guide,
            derived=derived,
            elbo=np.zeros(0),
            verdict=Laplace.verdict(weights, shifts(model, derived, weights)),
            diagnostics={
                "method": self.name,
                **weights.diagnostics(),
                "laplace_log_evidence": start.log_evidence,
                "optima": optima,
            },
            laplace=start,
            weights=weights,
            seconds=self.seconds,
        )
