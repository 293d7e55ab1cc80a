"""Dirichlet variables on the latent scale, by stick-breaking with tabulated Beta quantiles.

For Dirichlet(alpha_1..alpha_n) the sticks v_j ~ Beta(alpha_j, sum_{i>j} alpha_i) are independent, and
theta_j = v_j prod_{i<j} (1 - v_i). Each v_j = F^-1(Phi(z_j)) is kept as its logit g(z), a smooth function of z that is
tabulated with its exact slope

    dg/dz = phi(z) / (f(v) v (1 - v)),        f the Beta density,

and interpolated by cubic Hermite polynomials (relative error of v and 1 - v below 1e-9), so that fractions as small as
1e-100 keep their digits and gradients are those of the very function that is evaluated:

    d theta_j / d z_i = theta_j g'(z_i) (1 - v_i  if i = j,  -v_i  if i < j,  0 otherwise)

is found along with theta, so that a reverse pass has no more to do than a small product.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv, betaln, log_ndtr, ndtr

Floats = NDArray[np.float64]
LIMIT, STEP = 14.0, 1.0 / 128.0
NODES = np.arange(-LIMIT, LIMIT + STEP / 2, STEP)
_TINY = -40.0  # below this log v, F(v) = v^a / (a B(a, b)) to double precision


def stick_tables(alphas: Floats) -> Floats:
    """Values and slopes of the logits of the n - 1 sticks on `NODES`, (n - 1, 2, nodes), for alphas (n,)."""
    remaining = alphas[::-1].cumsum()[::-1]
    sticks = [_logit_table(a, rest) for a, rest in zip(alphas[:-1], remaining[1:], strict=True)]
    return np.array(sticks).reshape(alphas.size - 1, 2, NODES.size)


def _logit_table(a: float, b: float) -> Floats:
    """g(z) = logit of the Beta(a, b) quantile at Phi(z), and dg/dz, on `NODES` (2, nodes)."""
    log_v = np.where(NODES < 0, _log_quantile(a, b, NODES), 0.0)
    log_rest = np.where(NODES >= 0, _log_quantile(b, a, -NODES), 0.0)
    # each side is computed where it is the small one of its tail; the other follows from it
    log_rest = np.where(NODES < 0, _log1m(log_v), log_rest)
    log_v = np.where(NODES >= 0, _log1m(log_rest), log_v)
    log_density = -0.5 * NODES**2 - 0.5 * np.log(2 * np.pi)
    slope = np.exp(log_density - a * log_v - b * log_rest + betaln(a, b))
    return np.stack([log_v - log_rest, slope])


def _log_quantile(a: float, b: float, z: Floats) -> Floats:
    """log of the Beta(a, b) quantile at Phi(z), accurate in the lower tail."""
    tail = (log_ndtr(z) + np.log(a) + betaln(a, b)) / a
    exact = np.log(np.maximum(betaincinv(a, b, ndtr(z)), 1e-300))
    return np.where(tail < _TINY, tail, exact)


def _log1m(log_x: Floats) -> Floats:
    """log(1 - exp(log_x)) for log_x <= 0."""
    return np.log(-np.expm1(np.minimum(log_x, -1e-300)))


@jax.custom_jvp
def fractions(tables: jax.Array, z: jax.Array) -> jax.Array:
    """theta (n,) on the simplex from the latent z (n - 1,); `tables` from `stick_tables`, which are fixed."""
    return _with_jacobian(tables, z)[0]


@fractions.defjvp
def _fractions_jvp(given: tuple[jax.Array, jax.Array], steps: tuple[Any, jax.Array]) -> tuple[jax.Array, jax.Array]:
    # the barrier keeps XLA from working the derivatives out anew in the reverse pass, in one kernel with all others
    theta, jacobian = jax.lax.optimization_barrier(_with_jacobian(*given))
    return theta, jacobian @ steps[1]


def _with_jacobian(tables: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """theta (n,) and d theta_j / d z_i (n, n - 1)."""
    logit, slope = _logits(tables, z)
    log_v, log_rest = -jax.nn.softplus(-logit), -jax.nn.softplus(logit)
    n = logit.size + 1
    own, earlier = np.eye(n, n - 1, dtype=bool), np.tri(n, n - 1, -1, dtype=bool)
    # chosen, not multiplied by 0 or 1: at an infinite z a logarithm is infinite, too
    theta = jnp.exp(jnp.sum(jnp.where(own, log_v, jnp.where(earlier, log_rest, 0.0)), axis=1))
    by_logit = jnp.where(own, jnp.exp(log_rest), jnp.where(earlier, -jnp.exp(log_v), 0.0))
    return theta, theta[:, None] * slope * by_logit


def _logits(tables: jax.Array, z: jax.Array) -> tuple[jax.Array, jax.Array]:
    """g(z) and dg/dz (n - 1,) of all sticks; straight beyond the table."""
    cell = jnp.clip(jnp.floor((z + LIMIT) / STEP), 0, NODES.size - 2).astype(jnp.int32)
    t = (z + LIMIT) / STEP - cell
    nodes = tables[np.arange(z.size)[:, None], :, cell[:, None] + np.arange(2)]
    left, right = nodes[:, 0].T, nodes[:, 1].T
    inside = (
        (2 * t**3 - 3 * t**2 + 1) * left[0]
        + (3 * t**2 - 2 * t**3) * right[0]
        + STEP * ((t**3 - 2 * t**2 + t) * left[1] + (t**3 - t**2) * right[1])
    )
    slope = (
        6 * (t - t**2) / STEP * (right[0] - left[0]) + (3 * t**2 - 4 * t + 1) * left[1] + (3 * t**2 - 2 * t) * right[1]
    )
    below, above = t < 0, t > 1
    beyond = jnp.where(below, left[0] + STEP * t * left[1], right[0] + STEP * (t - 1) * right[1])
    outside = below | above
    return jnp.where(outside, beyond, inside), jnp.where(outside, jnp.where(below, left[1], right[1]), slope)
