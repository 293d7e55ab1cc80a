"""How loops and triangular systems are written in programs that a GPU is to record as one graph.

A CUDA graph takes in neither cuBLAS's triangular solves nor, but for XLA's command buffers of loops, anything that the
host decides on the way: every turn of a short loop costs a round trip, longer than what is in it. So where JAX runs on
a GPU, loops over layers are unrolled, and a triangular matrix is inverted by products. A CPU has no such costs, and
compiles loops sooner.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
from jax.scipy.linalg import solve_triangular

from gammasky.engine.kernels import callbacks


def recorded() -> bool:
    """Whether programs are recorded: JAX runs on a GPU."""
    return callbacks.platform() == "gpu"


def solve_lower(matrix: jax.Array, right: jax.Array, *, unit_diagonal: bool = False) -> jax.Array:
    """x with matrix x = right, for a lower triangular matrix (D, D) and right (D,) or (D, n)."""
    if recorded():
        return inverse_lower(matrix) @ right
    return solve_triangular(matrix, right, lower=True, unit_diagonal=unit_diagonal)


@jax.custom_vjp
def inverse_lower(matrix: jax.Array) -> jax.Array:
    """The inverse of a lower triangular matrix (D, D), by 2 log2(D) products.

    The inverses V of the blocks of size w on the diagonal are known: at first of w = 1. That of two blocks and what
    is below the first of them, B, has -V B V in the place of B; it is taken of all pairs at once, by masks.
    """
    place, diagonal = jnp.arange(len(matrix)), jnp.diag(matrix)
    unit, found, width = matrix / diagonal[:, None], jnp.eye(len(matrix), dtype=matrix.dtype), 1
    while width < len(matrix):
        block, pair = place // width, place // (2 * width)
        below = (pair[:, None] == pair) & (block[:, None] > block)
        between = jnp.where(below, unit, 0.0)
        found = found - (between if width == 1 else found @ between @ found)
        width *= 2
    return found / diagonal


def _inverted(matrix: jax.Array) -> tuple[jax.Array, jax.Array]:
    found = inverse_lower(matrix)
    return found, found


def _pulled(found: jax.Array, slope: jax.Array) -> tuple[jax.Array]:
    """d inverse = - inverse d matrix inverse."""
    return (-jnp.tril(found.T @ slope @ found.T),)


inverse_lower.defvjp(_inverted, _pulled)
