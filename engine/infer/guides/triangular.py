"""The inverse of an autoregressive map, which is cheap in one direction only."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp

Forward = Callable[[Any, jax.Array], tuple[jax.Array, jax.Array]]
_DIGITS = 30.0  # what is left, in units of the last digit


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def inverse(forward: Forward, parameters: Any, v: jax.Array) -> jax.Array:
    """u (D,) with forward(parameters, u) = v (D,) and the log of the slopes dv_i / du_i.

    v_i depends on u_1 ... u_i only, and is linear in u_i. So u <- u + (v - forward(u)) / slopes, which mends at least
    one more entry at every step, is exact after D steps; where the map is near the identity a few do. The derivative is
    that of the equation: its system of the transposed, triangular matrix is solved in the same way.
    """

    def better(u: jax.Array) -> tuple[jax.Array, jax.Array]:
        reached, log_slopes = forward(parameters, u)
        return (v - reached) * jnp.exp(-log_slopes), v

    return _solved(better, jnp.zeros_like(v))


def _solved(change: Callable[[jax.Array], tuple[jax.Array, jax.Array]], start: jax.Array) -> jax.Array:
    """The point at which the change is rounding, of the size of what it returns besides."""
    size, digit = start.size, _DIGITS * jnp.finfo(start.dtype).eps

    def unfinished(carry: tuple[jax.Array, jax.Array, jax.Array]) -> jax.Array:
        number, _, left = carry
        return (number <= size) & (left > digit)

    def step(carry: tuple[jax.Array, jax.Array, jax.Array]) -> tuple[jax.Array, jax.Array, jax.Array]:
        number, point, _ = carry
        moved, scale = change(point)
        return number + 1, point + moved, jnp.abs(moved).max() / (1 + jnp.abs(scale).max())

    return jax.lax.while_loop(unfinished, step, (jnp.asarray(0), start, jnp.asarray(jnp.inf, start.dtype)))[1]


def _found(forward: Forward, parameters: Any, v: jax.Array) -> tuple[jax.Array, tuple[Any, jax.Array]]:
    u = inverse(forward, parameters, v)
    return u, (parameters, u)


def _pulled(forward: Forward, kept: tuple[Any, jax.Array], slope: jax.Array) -> tuple[Any, jax.Array]:
    parameters, u = kept
    (_, log_slopes), pull = jax.vjp(forward, parameters, u)
    transposed = lambda at: pull((at, jnp.zeros_like(at)))  # noqa: E731

    def better(at: jax.Array) -> tuple[jax.Array, jax.Array]:
        return (slope - transposed(at)[1]) * jnp.exp(-log_slopes), slope

    solved = _solved(better, jnp.zeros_like(slope))
    return jax.tree.map(jnp.negative, transposed(solved)[0]), solved


inverse.defvjp(_found, _pulled)
