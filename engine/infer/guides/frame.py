"""Where a guide starts: x = centre + L u, u ~ N(0, 1)^D."""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.infer.guides.guide import Frame


def frame_of(centre: NDArray[np.float64], covariance: NDArray[np.float64]) -> Frame:
    """The frame of a centre (D,) and a covariance (D, D)."""
    return {"centre": jnp.asarray(centre), "scale_tril": jnp.asarray(np.linalg.cholesky(covariance))}


def log_normal(u: jax.Array) -> jax.Array:
    """Log density of N(0, 1)^D at u (D,)."""
    return -0.5 * jnp.sum(u**2) - 0.5 * u.size * jnp.log(2 * jnp.pi)
