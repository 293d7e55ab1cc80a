"""Power-scaling sensitivity: how much a posterior moves when a prior, or the likelihood, is raised to a power near 1.

Kallioinen et al., arXiv:2107.14054: the derivative, by log2 of the power, of the cumulative Jensen-Shannon distance
between the posterior and the power-scaled one, whose draws are the same under other, Pareto-smoothed weights. It is
what `psense` of ArviZ 1 gives, and works with ArviZ 0.23. Above 0.05 the factor moves the number. Draws with importance
weights are resampled first (`Importance.resampled`): the distance is relative to the range of the draws.

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
    """Sensitivity of each number to one factor of the posterior density.

    Args:
        values: name -> draws (n,) of equal weight.
        log_factor (n,): log of the factor at each draw: the likelihood, or the prior density of some parameters.

    Raises:
        InputError: fewer than 100 draws.
    """
    n = log_factor.size
    if n < FEWEST_DRAWS:
        raise InputError(f"power scaling: expected at least {FEWEST_DRAWS} draws, got {n}")
    base, found = np.full(n, 1.0 / n), dict.fromkeys(values, 0.0)
    for power in POWERS:
        ratio = np.exp(psis((power - 1.0) * (log_factor - log_factor.mean()))[0])
        scaled = ratio / ratio.sum()
        for name, draws in values.items():
            found[name] += _distance(draws, base, scaled) / abs(np.log2(power)) / len(POWERS)
    return found


def _distance(draws: Floats, p: Floats, q: Floats) -> float:
    """Cumulative Jensen-Shannon distance of the draws (n,) under weights p and q (n,), of the worse of both tails."""
    order = np.argsort(draws)
    widths = np.diff(draws[order])
    below = [np.cumsum(weights[order])[:-1] for weights in (p, q)]
    above = [np.cumsum(weights[order][::-1])[-2::-1] for weights in (p, q)]
    return max(_one_way(widths, *below), _one_way(widths, *above))


def _one_way(widths: Floats, p: Floats, q: Floats) -> float:
    """sqrt of int [p log2(p / m) + q log2(q / m)] / int (p + q) for distribution functions p, q and their mean m.

    The terms int (q - p) / (2 log 2) of both directions (arXiv:2107.14054, equation 6) cancel.
    """
    size = widths @ (p + q)
    if not size > 0:
        return 0.0  # all draws are the same
    mean = 0.5 * (p + q)
    both = float(widths @ (_relative(p, mean) + _relative(q, mean)))
    return float(np.sqrt(max(both, 0.0) / size))


def _relative(p: Floats, mean: Floats) -> Floats:
    """p log2(p / mean), 0 where p is."""
    return np.asarray(p * np.log2(p / mean, out=np.zeros_like(p), where=p > 0))
