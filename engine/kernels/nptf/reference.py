"""NPTF pixel likelihood in plain JAX: slow, obviously right, differentiated by JAX.

The recursion q_n = (1/n) sum_{m=1..n} m x_m q_{n-m} keeps log q, so that nothing leaves the range of float64 at any
count or mean; every pixel runs up to the end of the response. The x_m themselves stay linear: their derivative is right
where they are 0 too (a template that vanishes in a pixel), except where x_1 = 0 makes a count below k impossible.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp

from gammasky.engine.kernels.nptf.plan import PixelPlan


def log_likelihood(plan: PixelPlan, mean: jax.Array, templates: jax.Array, x: jax.Array) -> jax.Array:
    """Log-likelihood of each pixel's count, for one parameter point.

    Args:
        plan: counts and regions of the P pixels.
        mean (P,), templates (I, P), x (I, R, M + 1): smooth mean, point-source templates, response times dN/dS.

    Returns:
        log p (P,); NaN where an x_m that the count k involves (m <= max(k, 1)) is negative or NaN.
    """
    top = x.shape[-1] - 1
    terms = jnp.einsum("ip,ipm->pm", templates, x[:, plan.region])
    constant, terms = terms[:, 0] - mean, terms.at[:, 1].add(mean)[:, 1:]
    m = jnp.arange(1, top + 1)
    involved = m <= jnp.maximum(plan.counts, 1)[:, None]
    valid = (~involved | (terms >= 0.0)).all(axis=1)
    history = log_q(jnp.where(involved, terms, 0.0))
    return jnp.where(valid, constant + history[plan.counts, jnp.arange(plan.n_pixels)], jnp.nan)


def log_q(x: jax.Array) -> jax.Array:
    """log q_n (M + 1, P), n = 0 .. M, from x_m (P, M), m = 1 .. M."""
    pixels, top = x.shape
    y = jnp.arange(1, top + 1) * x

    def step(history: jax.Array, n: jax.Array) -> tuple[jax.Array, jax.Array]:
        # latest first: column m - 1 of the history holds log q_{n-m}
        total = log_dot(y, history) - jnp.log(n)
        return jnp.concatenate([total[:, None], history[:, :-1]], axis=1), total

    nothing = jnp.full((pixels, top - 1), -jnp.inf)
    start = jnp.concatenate([jnp.zeros((pixels, 1)), nothing], axis=1)
    _, history = jax.lax.scan(step, start, jnp.arange(1.0, top + 1))
    return jnp.concatenate([jnp.zeros((1, pixels)), history])


def log_dot(y: jax.Array, logs: jax.Array) -> jax.Array:
    """log sum_m y_m exp(logs_m) over the last axis; -inf where the sum is 0, with derivative 0 there."""
    terms = jnp.where(y > 0.0, jnp.log(jnp.where(y > 0.0, y, 1.0)) + logs, -jnp.inf)
    largest = jax.lax.stop_gradient(terms.max(axis=-1, keepdims=True))
    largest = jnp.where(jnp.isfinite(largest), largest, 0.0)
    total = (y * jnp.exp(jnp.minimum(logs - largest, 700.0))).sum(axis=-1)
    return jnp.where(total > 0.0, jnp.log(jnp.where(total > 0.0, total, 1.0)) + largest[..., 0], -jnp.inf)
