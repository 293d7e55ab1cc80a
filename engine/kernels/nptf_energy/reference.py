"""The joint likelihood in plain JAX: slow, obviously right, differentiated by JAX.

    P(k_1 .. k_E) = exp(x_0 - sum_e mu_e) / prod_e k_e!  sum_n n! q_n c_n
    sum_n c_n t^n = prod_e (mu_e + phi_e t)^k_e

with the q_n of `nptf.reference` for sources alone. The polynomial is multiplied out factor by factor; its coefficients
are divided by the largest one after each, whose logarithm is kept.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln

from gammasky.engine.kernels.nptf.reference import log_dot, log_q
from gammasky.engine.kernels.nptf_energy.plan import JointPlan


def log_likelihood(
    plan: JointPlan, mean: jax.Array, templates: jax.Array, x: jax.Array, spectrum: jax.Array
) -> jax.Array:
    """Log-likelihood of each pixel's counts, for one parameter point.

    Args:
        plan: counts and regions of the P pixels.
        mean (E, P), templates (I, P), x (I, R, M + 1), spectrum (R, E): see `op`.

    Returns:
        log p (P,); NaN where a mean, an entry of the spectrum or an x_m that is needed is negative or NaN.
    """
    top = x.shape[-1] - 1
    terms = jnp.einsum("ip,ipm->pm", templates, x[:, plan.totals.region])
    constant, terms = terms[:, 0] - mean.sum(axis=0), terms[:, 1:]
    shares = spectrum[plan.totals.region].T  # (E, P)
    involved = jnp.arange(1, top + 1) <= plan.totals.counts[:, None]
    valid = (~involved | (terms >= 0.0)).all(axis=1)
    valid &= (mean >= 0.0).all(axis=0) & (shares >= 0.0).all(axis=0)
    sources = log_q(jnp.where(involved, terms, 0.0))  # (M + 1, P)
    unit, n = top / jnp.e, jnp.arange(top + 1)  # of t: n! / unit^n stays near one, so no coefficient gets lost
    coefficients, scale = _polynomial(plan, mean, unit * shares, top)
    weights = sources.T + gammaln(n + 1.0) - n * jnp.log(unit)
    found = constant + log_dot(coefficients, weights) + scale - plan.log_factorial
    return jnp.where(valid, found, jnp.nan)


def _polynomial(plan: JointPlan, mean: jax.Array, shares: jax.Array, top: int) -> tuple[jax.Array, jax.Array]:
    """Coefficients (P, top + 1) of prod_e (mu_e + phi_e t)^k_e, and the logarithm (P,) of their common scale."""

    def factor(state: tuple[jax.Array, jax.Array], number: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        """One more factor of a bin, in the pixels that have as many photons there."""
        c, scale = state
        e, j = number // top, number % top
        shifted = jnp.concatenate([jnp.zeros_like(c[:, :1]), c[:, :-1]], axis=1)
        product = mean[e][:, None] * c + shares[e][:, None] * shifted
        largest = jax.lax.stop_gradient(product.max(axis=1))
        usable = (largest > 0.0) & jnp.isfinite(largest)
        largest = jnp.where(usable, largest, 1.0)
        more = j < jnp.asarray(plan.bins)[e]
        c = jnp.where(more[:, None], product / largest[:, None], c)
        return (c, scale + jnp.where(more, jnp.log(largest), 0.0)), None

    start = jnp.zeros((plan.n_pixels, top + 1)).at[:, 0].set(1.0)
    numbers = jnp.arange(plan.n_bins * top)
    return jax.lax.scan(factor, (start, jnp.zeros(plan.n_pixels)), numbers)[0]
