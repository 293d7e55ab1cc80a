"""Poisson pixel likelihood in plain JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln


def log_likelihood(counts: jax.Array, mean: jax.Array) -> jax.Array:
    """log Poisson(counts | mean), shape (..., P); NaN where the mean is negative."""
    log_mean = jnp.log(jnp.where(counts > 0, mean, 1.0))  # 0 log 0 = 0, with derivative 0
    return jnp.where(mean >= 0.0, counts * log_mean - mean - gammaln(counts + 1.0), jnp.nan)
