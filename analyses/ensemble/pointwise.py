"""How well a fit predicts each pixel: the expected log predictive density, pixel by pixel.

Evidence compares fits to the same pixels only. Fits with different masks are compared on the pixels that all of them
fit, by the density that each would have given to a pixel it has not seen (Yao et al., arXiv:1704.02030).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import logsumexp

from gammasky.engine.model import SkyModel
from gammasky.engine.model.values import Arrays

Floats = NDArray[np.float64]
MOST_DRAWS = 1000
UNSURE = 0.4  # variance of a pixel's log-likelihood above which WAIC is no longer leave-one-out
_BATCH = 50  # draws that are evaluated side by side


@dataclass(frozen=True, eq=False)
class Pointwise:
    """Predictive density of the P fitted pixels.

    Attributes:
        elpd (P,): log mean_s p(k_p | theta_s) - penalty, by WAIC (Vehtari, Gelman & Gabry, arXiv:1507.04544, eq. 12).
        penalty (P,): var_s log p(k_p | theta_s); their sum is the effective number of parameters.
    """

    elpd: Floats
    penalty: Floats

    @property
    def n_unsure(self) -> int:
        """Pixels whose penalty says that one of them moves the fit: WAIC is rough there."""
        return int((self.penalty > UNSURE).sum())


def pointwise(model: SkyModel, z: Floats) -> Pointwise:
    """Predictive density of each fitted pixel, from draws z (n, D) of equal weight; at most 1,000 of them are used."""
    chosen = np.linspace(0, len(z) - 1, min(MOST_DRAWS, len(z))).astype(int)

    def evaluate(arrays: Arrays, points: jax.Array) -> jax.Array:
        one = lambda point: model.pixel_log_likelihood(model.parameters(point, arrays), arrays)  # noqa: E731
        return jnp.asarray(jax.lax.map(one, points, batch_size=_BATCH))

    program = model.program("pixel log-likelihoods", lambda: jax.jit(evaluate))
    return waic(np.asarray(program(model.arrays, jnp.asarray(z[chosen]))))


def waic(log_likelihood: Floats) -> Pointwise:
    """Predictive density of each pixel by WAIC, from its log-likelihood in each draw (n, P)."""
    mean = logsumexp(log_likelihood, axis=0) - np.log(len(log_likelihood))
    penalty = log_likelihood.var(axis=0, ddof=1)
    return Pointwise(mean - penalty, penalty)
