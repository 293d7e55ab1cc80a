"""The length of a gradient, and a limit on it, the same to the last bit on any number of threads."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import optax


def norm_of(tree: Any) -> jax.Array:
    """The Euclidean norm of all numbers of a tree of arrays.

    XLA cuts a long sum into as many parts as it has threads, so that its last bit hangs on them; not so the sums within
    a product of matrices. A fit amplifies that bit: with `optax.tree.norm` draws differed from machine to machine.
    """
    return jnp.sqrt(sum(jnp.sum(_sums_of_squares(jnp.asarray(leaf))) for leaf in jax.tree.leaves(tree)))


def _sums_of_squares(values: jax.Array) -> jax.Array:
    rows = values.reshape(-1, values.shape[-1]) if values.ndim else values.reshape(1, 1)
    return jnp.ones(len(rows), values.dtype) @ (rows * rows)


def clip_by_norm(largest: float) -> optax.GradientTransformation:
    """Scale gradients that are longer than `largest` down to that, as `optax.clip_by_global_norm` does."""

    def update(gradient: Any, state: Any, parameters: Any = None) -> tuple[Any, Any]:
        del parameters
        factor = largest / jnp.maximum(norm_of(gradient), largest)
        return jax.tree.map(lambda part: factor.astype(part.dtype) * part, gradient), state

    return optax.GradientTransformation(lambda _: optax.EmptyState(), update)
