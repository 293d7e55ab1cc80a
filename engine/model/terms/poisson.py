"""The Poisson likelihood of the counts, for models without point sources."""

from __future__ import annotations

from typing import TYPE_CHECKING

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.kernels.poisson import op as poisson
from gammasky.engine.model.terms.counts import CountsTerm
from gammasky.engine.model.values import Arrays

if TYPE_CHECKING:
    from gammasky.engine.model.expected_sky import Sky


class PoissonTerm(CountsTerm):
    """sum_p log Pois(k_p | mu_p), with the smooth mean mu_p; expected counts k_p may have fractions."""

    name = "poisson"
    fractions = True

    def per_pixel(self, sky: Sky, arrays: Arrays) -> jax.Array:
        mean = self.expectation.smooth_mean(sky, self.pixels.n_fit)
        looks = [poisson.pixel_log_likelihood(plan, mean, backend=self.backend) for plan in arrays["plans"]]
        return jnp.sum(jnp.stack(looks), axis=0)

    def bunches(self, sky: Sky) -> np.ndarray:
        del sky
        return np.zeros((0, self.pixels.exposure_ratios.size, 2))
