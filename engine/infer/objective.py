"""What a variational fit maximises: the Renyi bound on log Z, between the ELBO and the importance-weighted bound.

For K draws z_k from the guide q, with weights w_k = p(data, z_k) / q(z_k), the bound of order alpha
(Li & Turner, arXiv:1602.02311) is the mean over draws of

    L_alpha = 1 / (1 - alpha) log (1/K) sum_k w_k^(1 - alpha)

alpha = 1 (the limit) is the ELBO, mean_k log w_k; alpha = 0 the importance-weighted bound (Burda et al.,
arXiv:1509.00519). The lower alpha, the nearer the bound is to log Z, and the more a guide is punished for mass that it
lacks; the gradient's scatter grows.

Its gradient in q's parameters phi, through the draws z_k(phi), is sum_k v_k d log w_k / d phi with
v_k = w_k^(1 - alpha) / sum_j w_j^(1 - alpha). Where log q can be differentiated through the draws alone, it is in
expectation the same as the doubly reparametrised (Tucker et al., arXiv:1810.04152, here for any alpha)

    sum_k c_k (d log w_k / d z_k) (d z_k / d phi),   c_k = alpha v_k + (1 - alpha) v_k^2

whose scatter vanishes as the guide approaches the posterior. At alpha = 1 that is "sticking the landing"
(Roeder et al., arXiv:1703.09194).
"""

from __future__ import annotations

from dataclasses import dataclass

import jax
import jax.numpy as jnp

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError

BOUND = Citation(
    "the bound on log Z that lies nearer to it than the ELBO",
    r"""
    @misc{Li2016,
      author        = {Li, Yingzhen and Turner, Richard E.},
      title         = {R{\'e}nyi Divergence Variational Inference},
      year          = {2016},
      eprint        = {1602.02311},
      archivePrefix = {arXiv}
    }
    """,
)
DOUBLY = Citation(
    "gradients of that bound",
    r"""
    @misc{Tucker2018,
      author        = {Tucker, George and Lawson, Dieterich and Gu, Shixiang and Maddison, Chris J.},
      title         = {Doubly Reparameterized Gradient Estimators for {Monte} {Carlo} Objectives},
      year          = {2018},
      eprint        = {1810.04152},
      archivePrefix = {arXiv}
    }
    """,
)
CITATIONS = (BOUND, DOUBLY)


@dataclass(frozen=True)
class Objective:
    """A bound on log Z.

    Attributes:
        alpha: order of the bound, from 0 (importance-weighted) to 1 (ELBO).
    """

    alpha: float = 1.0

    def __post_init__(self) -> None:
        if not 0.0 <= self.alpha <= 1.0:
            raise InputError(f"alpha: expected a number from 0 to 1, got {self.alpha}")

    def loss(self, log_weights: jax.Array, *, doubly: bool) -> jax.Array:
        """Minus the bound, to be differentiated in the guide's parameters.

        Args:
            log_weights (K,): log w of each draw; one that is not finite makes the loss so.
            doubly: log q depends on the parameters through the draws alone: the gradient is then doubly
                reparametrised.
        """
        if self.alpha == 1.0:
            return jnp.mean(-log_weights)
        order = 1.0 - self.alpha
        bound = (jax.nn.logsumexp(order * log_weights) - jnp.log(log_weights.size)) / order
        if doubly:
            share = jax.nn.softmax(order * log_weights)
            factors = self.alpha * share + order * share**2
            surrogate = jnp.sum(jax.lax.stop_gradient(factors) * log_weights)
            # the value is the bound, the gradient that of the surrogate
            bound = jax.lax.stop_gradient(bound) + surrogate - jax.lax.stop_gradient(surrogate)
        # a draw without a density would only lose its share: it must not go unnoticed
        return jnp.where(jnp.isfinite(log_weights).all(), -bound, jnp.nan)
