"""NPTF pixel likelihood in plain JAX: slow, obviously right, differentiated by JAX.

The recursion q_n = (1/n) sum_{m=1..n} m x_m q_{n-m} is written with logarithms, so that nothing leaves the range of
float64 at any count or mean; every pixel runs up to the largest count.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import logsumexp

from gammasky.engine.kernels.nptf.plan import PixelPlan


def log_likelihood(plan: PixelPlan, mean: jax.Array, templates: jax.Array, x: jax.Array) -> jax.Array:
    """Log-likelihood of each pixel's count, for one parameter point.

    Args:
        plan: counts and regions of the P pixels.
        mean (P,), templates (I, P), x (I, R, M + 1): smooth mean, point-source templates, response times dN/dS.

    Returns:
        log p (P,); NaN where an x_m is negative or NaN.
    """
    top = max(plan.max_count, 1)
    terms = jnp.einsum("ip,ipm->pm", templates, x[:, plan.region, : top + 1])
    constant, terms = terms[:, 0] - mean, terms.at[:, 1].add(mean)[:, 1:]
    positive = terms > 0.0
    log_y = jnp.where(positive, jnp.log(jnp.where(positive, terms * jnp.arange(1, top + 1), 1.0)), -jnp.inf)

    def step(log_q: jax.Array, n: jax.Array) -> tuple[jax.Array, None]:
        # latest first: column m - 1 of the history holds log q_{n-m}
        total = logsumexp(jnp.maximum(log_y + log_q, -1e300), axis=1) - jnp.log(n)
        total = jnp.where(total < -1e299, -jnp.inf, total)
        return jnp.concatenate([total[:, None], log_q[:, :-1]], axis=1), total

    nothing = jnp.full((plan.n_pixels, top - 1), -jnp.inf)
    start = jnp.concatenate([jnp.zeros((plan.n_pixels, 1)), nothing], axis=1)
    _, history = jax.lax.scan(step, start, jnp.arange(1.0, top + 1))
    history = jnp.concatenate([jnp.zeros((1, plan.n_pixels)), history])
    valid = (terms >= 0.0).all(axis=1) if plan.n_pixels else jnp.ones(0, dtype=bool)
    return jnp.where(valid, constant + history[plan.counts, jnp.arange(plan.n_pixels)], jnp.nan)
