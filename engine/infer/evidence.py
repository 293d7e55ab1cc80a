"""Estimates log Z from draws of the posterior and of a guide, or a copy of the posterior, by bridge sampling.

Meng & Wong 1996, Statistica Sinica 6, 831.

Z = E_q[h p] / E_posterior[h q] for any h; the best is h = 1 / (s_1 p / Z + s_2 q), found by iteration. Mass that the
guide misses needs no weights: the posterior draws say how much of it there is. So a guide of the main mode and chains
that have been everywhere give the whole evidence, where importance weights give that of the main mode only.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gammasky.engine.citation import Citation
from gammasky.engine.infer.convergence import convergence

Floats = NDArray[np.float64]
CITATIONS = (
    Citation(
        "log Z from chains and a copy",
        r"""
        @article{Meng1996,
          author  = {Meng, Xiao-Li and Wong, Wing Hung},
          title   = {Simulating ratios of normalizing constants via a simple identity: a theoretical exploration},
          journal = {Statistica Sinica},
          volume  = {6},
          pages   = {831--860},
          year    = {1996}
        }
        """,
    ),
    Citation(
        "the error of that log Z",
        r"""
        @article{Fruehwirth2004,
          author  = {Fr{\"u}hwirth-Schnatter, Sylvia},
          title   = {Estimating marginal likelihoods for mixture and {Markov} switching models using bridge sampling techniques},
          journal = {The Econometrics Journal},
          volume  = {7},
          pages   = {143--167},
          year    = {2004}
        }
        """,  # noqa: E501
    ),
)
_MOST = 1000  # iterations
_SETTLED = 1e-10  # change of log Z that ends them


@dataclass(frozen=True)
class Evidence:
    """Log evidence, and its standard error (Fruehwirth-Schnatter 2004, Econometrics Journal 7, 143)."""

    log_z: float
    log_z_error: float


def bridge_sampling(chains: Floats, guide: Floats) -> Evidence:
    """Estimate log Z of a posterior.

    Args:
        chains (chains, draws): log p(data, z) - log q(z) at draws of the posterior.
        guide (n,): the same at independent draws of the guide q, or (chains, draws) at draws of chains that sample it.

    Returns:
        log Z and its error; NaN, which no verdict overlooks, where a log ratio is not finite (but -inf at draws of the
        guide, where there is no posterior, is allowed) or the iteration does not settle.
    """
    at_posterior, at_guide = chains.ravel(), guide.ravel()
    if not np.isfinite(at_posterior).all() or np.isnan(at_guide).any() or (at_guide == np.inf).any():
        return Evidence(np.nan, np.nan)
    size = convergence(chains).smallest_ess
    shares = np.log([size, at_guide.size]) - np.log(size + at_guide.size)
    log_z = float(np.median(at_posterior))
    for _ in range(_MOST):
        # r = p / (q Z): h p / Z is r / (s_1 r + s_2) at the guide's draws, h q is 1 / (s_1 r + s_2) at the posterior's
        there = at_guide - log_z
        up = there - np.logaddexp(shares[0] + there, shares[1])
        down = -np.logaddexp(shares[0] + at_posterior - log_z, shares[1])
        step = float(_log_mean(up) - _log_mean(down))
        log_z += step
        if abs(step) < _SETTLED:
            break
    else:
        return Evidence(np.nan, np.nan)
    f_guide, f_posterior = np.exp(up - _log_mean(up)), np.exp(down - _log_mean(down))
    of_chains = convergence(f_posterior.reshape(chains.shape)).ess_bulk
    of_guide = guide.size if guide.ndim == 1 else convergence(f_guide.reshape(guide.shape)).ess_bulk
    return Evidence(log_z, float(np.sqrt(f_guide.var() / of_guide + f_posterior.var() / of_chains)))


def _log_mean(logs: Floats) -> float:
    return float(logsumexp(logs) - np.log(logs.size))
