"""log Z of a preset by nested sampling with dynesty, in the latent unit cube: a number that shares nothing with ours.

    pip install dynesty && python benchmarks/evidence.py [PRESET] [DATASET] [--live N] [--sample METHOD] [--seed N]

Prints log Z, its error, likelihood calls and seconds. For about a dozen parameters; 37 take days.
"""

from __future__ import annotations

import argparse
import time

import jax
import numpy as np
from scipy.special import ndtri

from gammasky import Dataset, SkyModel, configure


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
        f"{int(np.sum(found['ncall']))} likelihoods, {time.perf_counter() - began:.0f} s"
    )


if __name__ == "__main__":
    main()
