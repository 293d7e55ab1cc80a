"""The joint likelihood with two spectra in plain JAX: slow, obviously right, differentiated by JAX.

    P(k_1 .. k_E) = exp(x_0 + x'_0 - sum_e mu_e) / prod_e k_e!  sum_{n, n'} n! q_n n'! q'_n' c_{n n'}
    sum_{n, n'} c_{n n'} t^n t'^n' = prod_e (mu_e + phi_e t + phi'_e t')^k_e

The polynomial is multiplied out factor by factor; its coefficients are divided by the largest one after each, whose
logarithm is kept.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jax.scipy.special import gammaln, logsumexp

from gammasky.engine.kernels.nptf.reference import log_q
from gammasky.engine.kernels.nptf_energy.plan import JointPlan


def log_likelihood(
    plan: JointPlan, kinds: Sequence[int], mean: jax.Array, templates: jax.Array, x: jax.Array, spectra: jax.Array
) -> jax.Array:
    """Log-likelihood of each pixel's counts, for one parameter point.

    Args:
        plan: counts and regions of the P pixels.
        kinds (I,): which of the two spectra each population has.
        mean (E, P), templates (I, P), x (I, R, M + 1), spectra (2, R, E): see `op`.

    Returns:
        log p (P,); NaN where a mean, a share or an x_m that is needed is negative or NaN.
    """
    top, region = x.shape[-1] - 1, plan.totals.region
    involved = jnp.arange(1, top + 1) <= plan.totals.counts[:, None]
    n, unit = jnp.arange(top + 1), top / jnp.e  # of t: n! / unit^n stays near one, so no coefficient gets lost
    constant, valid = -mean.sum(axis=0), (mean >= 0.0).all(axis=0)
    weights, shares = [], []
    for kind in (0, 1):
        own = jnp.array([number for number, of in enumerate(kinds) if of == kind], dtype=int)
        terms = jnp.einsum("ip,ipm->pm", templates[own], x[own][:, region])
        constant, terms = constant + terms[:, 0], terms[:, 1:]
        share = spectra[kind][region].T  # (E, P)
        valid &= (~involved | (terms >= 0.0)).all(axis=1) & (share >= 0.0).all(axis=0)
        sources = log_q(jnp.where(involved, terms, 0.0))  # (M + 1, P)
        weights.append(sources.T + gammaln(n + 1.0) - n * jnp.log(unit))
        shares.append(unit * share)
    coefficients, scale = _polynomial(plan, mean, shares, top)
    seen = coefficients > 0.0
    each = jnp.where(seen, jnp.log(jnp.where(seen, coefficients, 1.0)), -jnp.inf)
    each = each + weights[0][:, :, None] + weights[1][:, None, :]
    found = constant + logsumexp(each, axis=(1, 2)) + scale - plan.log_factorial
    return jnp.where(valid, found, jnp.nan)


def _polynomial(plan: JointPlan, mean: jax.Array, shares: list[jax.Array], top: int) -> tuple[jax.Array, jax.Array]:
    """The coefficients (P, top + 1, top + 1), and the logarithm (P,) of their common scale."""

    def factor(state: tuple[jax.Array, jax.Array], number: jax.Array) -> tuple[tuple[jax.Array, jax.Array], None]:
        """One more factor of a bin, in the pixels that have as many photons there."""
        c, scale = state
        e, j = number // top, number % top
        first = jnp.pad(c, ((0, 0), (1, 0), (0, 0)))[:, :-1]
        second = jnp.pad(c, ((0, 0), (0, 0), (1, 0)))[:, :, :-1]
        mu, phi, other = (of[e][:, None, None] for of in (mean, *shares))
        product = mu * c + phi * first + other * second
        largest = jax.lax.stop_gradient(product.max(axis=(1, 2)))
        usable = (largest > 0.0) & jnp.isfinite(largest)
        largest = jnp.where(usable, largest, 1.0)
        more = j < jnp.asarray(plan.bins)[e]
        c = jnp.where(more[:, None, None], product / largest[:, None, None], c)
        return (c, scale + jnp.where(more, jnp.log(largest), 0.0)), None

    start = jnp.zeros((plan.n_pixels, top + 1, top + 1)).at[:, 0, 0].set(1.0)
    numbers = jnp.arange(plan.n_bins * top)
    return jax.lax.scan(factor, (start, jnp.zeros(plan.n_pixels)), numbers)[0]
