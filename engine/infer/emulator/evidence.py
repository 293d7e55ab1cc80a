"""log Z of the posterior, from that of the copy and draws of both."""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.emulator.emulation import SKIPPED, Emulation
from gammasky.engine.infer.emulator.sampling import CHAINS
from gammasky.engine.infer.evidence import Evidence, bridge_sampling

Floats = NDArray[np.float64]


def evidence(emulation: Emulation) -> Evidence:
    """log Z and its error: by the weights of the copy's draws, or by a bridge where chains went where it does not."""
    if emulation.chains.on_likelihood:
        return bridge(emulation, emulation.chains.flat("log_weights", SKIPPED).reshape(CHAINS, -1))
    weights = emulation.weights
    return _with_copy(emulation, Evidence(weights.log_z, weights.log_z_error))


def bridge(emulation: Emulation, log_weights: Floats) -> Evidence:
    """log Z and its error by a bridge between draws of the posterior and those of the copy.

    Args:
        emulation: with its pool.
        log_weights (chains, draws): log of truth over copy at draws of the posterior.
    """
    at_copy = emulation.pool["log_weights"].reshape(-1, CHAINS).T  # as it was drawn: by so many chains
    return _with_copy(emulation, bridge_sampling(log_weights, at_copy))


def _with_copy(emulation: Emulation, over_copy: Evidence) -> Evidence:
    """What is known of log Z over the copy's, and the latter."""
    of_copy = emulation.log_z
    return Evidence(over_copy.log_z + of_copy.log_z, float(np.hypot(over_copy.log_z_error, of_copy.log_z_error)))
