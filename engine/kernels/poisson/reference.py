"""Poisson pixel likelihood in plain JAX."""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, xlogy


def log_likelihood(counts: jax.Array, mean: jax.Array) -> jax.Array:
    """log Poisson(counts | mean), shape (..., P); NaN where the mean is negative."""
    return jnp.where(mean >= 0.0, xlogy(counts, mean) - mean - gammaln(counts + 1.0), jnp.nan)
