"""Times of models side by side, taken in turn, so that other work on the machine meets all of them."""

from __future__ import annotations

import statistics
import time
from collections.abc import Mapping

import jax
import numpy as np

from gammasky import SkyModel

PARTICLES, ROUNDS = 8, 9


def milliseconds(models: Mapping[str, SkyModel], calls: int) -> dict[str, float]:
    """Value and gradient of each model [ms per point], the median of rounds of `calls`; the first one compiles."""
    rng = np.random.default_rng
    points = {name: 0.5 * rng(1).standard_normal((PARTICLES, model.n_latent)) for name, model in models.items()}
    seconds: dict[str, list[float]] = {name: [] for name in models}
    for round_ in range(ROUNDS + 1):
        for name, model in models.items():
            start = time.perf_counter()
            for _ in range(calls):
                jax.block_until_ready(model.value_and_gradient(points[name]))
            if round_:
                seconds[name].append(1e3 * (time.perf_counter() - start) / calls / PARTICLES)
    return {name: statistics.median(found) for name, found in seconds.items()}
