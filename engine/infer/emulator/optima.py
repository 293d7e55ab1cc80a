"""Whether the copy has the optima that the climbs found.

Chains on the likelihood look for mass that the copy misses, but they begin at draws of the copy, and do not go from one
mode of the posterior to another far away. The climbs did not begin there: they know modes that the copy may lack.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.emulator.copy import white
from gammasky.engine.infer.emulator.emulation import HIGH, SKIPPED, Emulation
from gammasky.engine.infer.optimise import Laplace
from gammasky.engine.infer.result import log_prior

Floats = NDArray[np.float64]


def low_at_optima(emulation: Emulation, start: Laplace) -> float:
    """Log(truth / copy), both normalised, at the optimum where the copy is lowest [nat].

    Optima far below the best point do not count, nor do those that chains on the likelihood have visited: draws of
    theirs are nearer to it, in the frame of the copy, than to any other. No likelihood is evaluated: the climbs did.
    With fields it is 0: the highest density of z is where no draw of the posterior is.

    Args:
        emulation: with its pool.
        start: with the optima that the climbs found.
    """
    if emulation.target.has_fields:
        return 0.0
    optima = [optimum for optimum in start.distinct() if optimum.log_density > start.log_density - HIGH]
    z, heights = np.array([optimum.z for optimum in optima]), np.array([optimum.log_density for optimum in optima])
    x = emulation.target.from_latent(z)
    u = white(emulation.copy, x)
    truth = heights - log_prior(z) + emulation.target.prior(x)[0]
    low = truth - emulation.sampler.log_density(emulation.copy, u) - emulation.weights.log_z
    if emulation.chains.on_likelihood and emulation.chains.kept:
        draws = white(emulation.copy, emulation.chains.flat("x", SKIPPED))
        distances = np.stack([((draws - at) ** 2).sum(axis=1) for at in u])
        low = np.delete(low, distances.argmin(axis=0))
    return float(np.max(low, initial=0.0))
