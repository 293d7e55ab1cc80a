"""log Z of a preset by nested sampling with dynesty, in the latent unit cube: a number that shares nothing with ours.

    pip install dynesty && python benchmarks/evidence.py [PRESET] [DATASET] [--live N] [--sample METHOD] [--seed N]

Prints log Z, its error, likelihood calls and seconds; and log Z by a bridge (Meng and Wong 1996) between the posterior
draws that it found and a normal distribution of their mean and covariance, which needs no estimate of prior volumes: if
the two disagree the constrained walks were not independent. For about a dozen parameters; 37 take days.
"""

from __future__ import annotations

import argparse
import time
from collections.abc import Callable
from typing import Any

import jax
import numpy as np
from scipy.special import ndtri
from scipy.stats import multivariate_normal

from gammasky import Dataset, SkyModel, configure
from gammasky.engine.infer.evidence import Evidence, bridge_sampling

N_BRIDGE = 4000  # draws of each kind


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])
    parser.add_argument("preset", nargs="?", default="nptfit_galactic_centre")
    parser.add_argument("dataset", nargs="?", default="fermi")
    parser.add_argument("--live", type=int, default=300)
    parser.add_argument("--sample", default="auto", help="how dynesty moves: rwalk, rslice, ... (auto: its own choice)")
    parser.add_argument("--seed", type=int, default=0)
    options = parser.parse_args()
    import dynesty

    configure()
    model = SkyModel(options.preset, Dataset.open(options.dataset))
    evaluate = jax.jit(lambda arrays, z: model.log_likelihood(model.parameters(z, arrays), arrays))

    def log_likelihood(cube: np.ndarray) -> float:
        return float(evaluate(model.arrays, ndtri(cube)))

    began = time.perf_counter()
    sampler = dynesty.NestedSampler(
        log_likelihood,
        lambda cube: cube,
        model.n_latent,
        nlive=options.live,
        sample=options.sample,
        rstate=np.random.default_rng(options.seed),
    )
    sampler.run_nested(dlogz=0.1, print_progress=False)
    found = sampler.results
    print(
        f"{options.preset}: log Z {found['logz'][-1]:.3f} +- {found['logzerr'][-1]:.3f}, "
        f"{int(np.sum(found['ncall']))} likelihoods, {time.perf_counter() - began:.0f} s",
        flush=True,
    )
    rng = np.random.default_rng(options.seed)
    weights = np.exp(found["logwt"] - found["logz"][-1])
    chosen = rng.choice(len(weights), N_BRIDGE, p=weights / weights.sum())
    log_density = jax.jit(model.log_density)
    bridged = bridged_evidence(
        ndtri(found["samples"][chosen]), lambda z: np.array([float(log_density(one, model.arrays)) for one in z]), rng
    )
    print(f"by a bridge from its draws: log Z {bridged.log_z:.3f} +- {bridged.log_z_error:.3f}")


def bridged_evidence(draws: np.ndarray, log_density: Callable[[np.ndarray], np.ndarray], rng: Any) -> Evidence:
    """log Z by a bridge between posterior draws (n, D) and a normal distribution like them."""
    normal = multivariate_normal(draws.mean(axis=0), np.cov(draws.T))
    others = normal.rvs(len(draws), random_state=rng)
    of_draws = log_density(draws) - normal.logpdf(draws)
    return bridge_sampling(of_draws.reshape(4, -1), log_density(others) - normal.logpdf(others))


if __name__ == "__main__":
    main()
