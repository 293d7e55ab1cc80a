"""Whether Markov chains agree: R-hat and effective sample sizes (Vehtari et al., arXiv:1903.08008), by ArviZ."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from importlib import import_module

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
LARGEST_R_HAT = 1.01
SMALLEST_ESS = 400.0
MOST_DIVERGENT = 0.005


@dataclass(frozen=True)
class Convergence:
    """Of one number over all chains: rank-normalised R-hat, and effective sample sizes of bulk and tails (5, 95 %)."""

    r_hat: float
    ess_bulk: float
    ess_tail: float

    @property
    def smallest_ess(self) -> float:
        """The smaller of the effective sample sizes."""
        return min(self.ess_bulk, self.ess_tail)

    @property
    def good(self) -> bool:
        """Whether quantiles of these draws can be quoted."""
        return self.r_hat < LARGEST_R_HAT and self.smallest_ess >= SMALLEST_ESS


def convergence(draws: Floats) -> Convergence:
    """Of the draws (chains, draws) of one number; one that never varies has converged.

    Raises:
        ValueError: fewer than two chains or four draws.
    """
    chains, length = draws.shape
    if chains < 2 or length < 4:
        raise ValueError(f"convergence: expected at least 2 chains of 4 draws, got {chains} of {length}")
    if np.ptp(draws) == 0:
        return Convergence(1.0, float(draws.size), float(draws.size))
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", FutureWarning)  # ArviZ before 1.0 announces its own future when imported
        arviz = import_module("arviz")
    if int(arviz.__version__.partition(".")[0]) < 1:
        r_hat, bulk, tail = arviz.rhat(draws), arviz.ess(draws, method="bulk"), arviz.ess(draws, method="tail")
    else:
        stats = import_module("arviz_stats.base").array_stats
        axes = {"chain_axis": 0, "draw_axis": 1}
        r_hat, bulk = stats.rhat(draws, **axes), stats.ess(draws, method="bulk", **axes)
        tail = stats.ess(draws, method="tail", prob=(0.05, 0.95), **axes)
    return Convergence(float(r_hat), float(bulk), float(tail))
