"""Power-scaling sensitivity: how much a posterior moves when a prior, or the likelihood, is raised to a power near 1.

Kallioinen et al., arXiv:2107.14054: the derivative, by log2 of the power, of the cumulative Jensen-Shannon distance
between the posterior and the power-scaled one, whose draws are the same under other, Pareto-smoothed weights. Above
0.05 the factor moves the number. Draws with importance weights are resampled first (`Importance.resampled`): the
distance is relative to the range of the draws.

Priors are scaled on the latent space, where each is N(0, 1): the power a makes it N(0, 1 / a), which draws a parameter
towards its prior's median or lets it go to the ends. A uniform density raised to a power would be itself.
"""

from __future__ import annotations

from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.infer.importance import psis

Floats = NDArray[np.float64]
SENSITIVE = 0.05  # arXiv:2107.14054, section 3.3
POWERS = (0.99, 1.01)
FEWEST_DRAWS = 100


def power_scaling(values: Mapping[str, Floats], log_factor: Floats) -> dict[str, float]:
    """Measure how sensitive each number is to one factor of the posterior density.

    Args:
        values: name -> draws (n,) of equal weight.
        log_factor (n,): log of the factor at each draw: the likelihood, or the prior density of some parameters.

    Returns:
        name -> sensitivity; 0 for a number that does not vary, NaN where a draw or the factor is not finite.

    Raises:
        InputError: fewer than 100 draws.
    """
    n = log_factor.size
    if n < FEWEST_DRAWS:
        raise InputError(f"power scaling: expected at least {FEWEST_DRAWS} draws, got {n}")
    from arviz_stats.base import array_stats

    known = bool(np.isfinite(log_factor).all())
    weights = [np.exp(psis((power - 1.0) * log_factor)[0])[None] for power in POWERS] if known else []

    def sensitivity(draws: Floats) -> float:
        if not known or not np.isfinite(draws).all():
            return np.nan
        if np.ptp(draws) == 0:
            return 0.0
        return float(array_stats.power_scale_sense(draws[None], weights[0], weights[1], *POWERS))

    return {name: sensitivity(draws) for name, draws in values.items()}
