"""The copy's function: a quadratic form plus a perceptron, in single precision.

    f(psi) = a + b psi + psi A psi / 2 + net(psi)

The quadratic form holds what a Laplace approximation knows; the perceptron (two hidden layers, silu) learns the rest.
"""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray

Floats = NDArray[np.float64]
Network = dict[str, Any]  # arrays of JAX or NumPy
WIDTH, NARROW, FEW = 256, 96, 32  # of the layers; of those of few inputs, and how many these are
_LAST = 0.01  # of the last layer's weights at the start: the function begins as its quadratic form


def start(key: jax.Array, constant: float, slope: Floats, curvature: Floats) -> Network:
    """The network that is the quadratic form with `constant`, `slope` (K,) and `curvature` (K, K)."""
    size = len(slope)
    width = NARROW if size <= FEW else WIDTH
    first, second, third, biases = jax.random.split(key, 4)

    def normal(key: jax.Array, *shape: int) -> jax.Array:
        return jax.random.normal(key, shape, jnp.float32)

    return {
        "a": jnp.float32(constant),
        "b": jnp.asarray(slope, jnp.float32),
        "A": jnp.asarray(curvature, jnp.float32),
        "weights_1": normal(first, size, width) / np.float32(np.sqrt(size)),
        "biases_1": 0.5 * normal(biases, width),
        "weights_2": normal(second, width, width) / np.float32(np.sqrt(width)),
        "biases_2": jnp.zeros(width, jnp.float32),
        "weights_3": np.float32(_LAST) * normal(third, width),
    }


def value(network: Network, psi: jax.Array) -> jax.Array:
    """f of one psi (K,), a scalar."""
    hidden = jax.nn.silu(psi @ network["weights_1"] + network["biases_1"])
    hidden = jax.nn.silu(hidden @ network["weights_2"] + network["biases_2"])
    form = network["a"] + network["b"] @ psi + 0.5 * psi @ (network["A"] @ psi)
    return form + network["weights_3"] @ hidden


def moved(network: Network, matrix: ArrayLike, shift: ArrayLike) -> Network:
    """The same function of new inputs: psi = matrix @ new + shift."""
    matrix, shift = jnp.asarray(matrix, jnp.float32), jnp.asarray(shift, jnp.float32)
    curvature, slope = network["A"], network["b"]
    return {
        **network,
        "a": network["a"] + slope @ shift + 0.5 * shift @ (curvature @ shift),
        "b": matrix.T @ (slope + curvature @ shift),
        "A": matrix.T @ curvature @ matrix,
        "weights_1": matrix.T @ network["weights_1"],
        "biases_1": network["biases_1"] + shift @ network["weights_1"],
    }
