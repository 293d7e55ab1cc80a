"""Measures whether Markov chains agree: R-hat and effective sample sizes (Vehtari et al., arXiv:1903.08008)."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.citation import Citation

Floats = NDArray[np.float64]
CITATIONS = (
    Citation(
        "diagnostics of chains",
        r"""
        @article{Vehtari2021,
          author        = {Vehtari, Aki and Gelman, Andrew and Simpson, Daniel and Carpenter, Bob and B{\"u}rkner, Paul-Christian},
          title         = {Rank-normalization, folding, and localization: An improved $\widehat{R}$ for assessing convergence of {MCMC}},
          journal       = {Bayesian Analysis},
          year          = {2021},
          eprint        = {1903.08008},
          archivePrefix = {arXiv}
        }
        """,  # noqa: E501
    ),
)
LARGEST_R_HAT = 1.01
SMALLEST_ESS = 400.0
MOST_DIVERGENT = 0.005


@dataclass(frozen=True)
class Convergence:
    """How well chains agree about one number.

    Attributes:
        r_hat: rank-normalised R-hat, the scatter of all chains over that of each.
        ess_bulk, ess_tail: effective sample sizes, for means and medians and for the 5 and 95 % quantiles.
    """

    r_hat: float
    ess_bulk: float
    ess_tail: float

    @property
    def smallest_ess(self) -> float:
        """The smaller of the effective sample sizes; NaN where one of them is."""
        return float(np.minimum(self.ess_bulk, self.ess_tail))

    @property
    def good(self) -> bool:
        """Whether quantiles of these draws can be quoted."""
        return self.r_hat < LARGEST_R_HAT and self.smallest_ess >= SMALLEST_ESS


def convergence(draws: Floats) -> Convergence:
    """Measure how well chains agree about one number.

    Args:
        draws (chains, draws): of the number.

    Returns:
        R-hat and effective sample sizes: those of converged chains for a number that never varies, and NaN where a
        draw is not finite.

    Raises:
        ValueError: fewer than two chains or four draws.
    """
    chains, length = draws.shape
    if chains < 2 or length < 4:
        raise ValueError(f"convergence: expected at least 2 chains of 4 draws, got {chains} of {length}")
    if not np.isfinite(draws).all():
        return Convergence(np.nan, np.nan, np.nan)
    if np.ptp(draws) == 0:
        return Convergence(1.0, float(draws.size), float(draws.size))
    from arviz_stats.base import array_stats as stats

    with np.errstate(divide="ignore", invalid="ignore"):  # chains that never move: their R-hat is infinite
        r_hat, bulk = stats.rhat(draws), stats.ess(draws, method="bulk")
        tail = stats.ess(draws, method="tail", prob=(0.05, 0.95))
    return Convergence(float(r_hat), float(bulk), float(tail))


def chain_diagnostics(found: dict[str, Convergence]) -> dict[str, float | str]:
    """The worst of all numbers; NaN where one of them is."""
    sizes = {name: of.smallest_ess for name, of in found.items()}
    return {
        "r_hat_max": float(np.max([of.r_hat for of in found.values()])),
        "ess_bulk_min": float(np.min([of.ess_bulk for of in found.values()])),
        "ess_tail_min": float(np.min([of.ess_tail for of in found.values()])),
        "slowest": list(sizes)[int(np.argmin(list(sizes.values())))],
    }
