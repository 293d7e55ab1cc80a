"""JAX operation of the expected sources, X = R dN/dS: linear, so its reverse pass is the product with R itself.

| transformation | |
| --- | --- |
| reverse mode, jit, scan | works |
| vmap | works; mapped axes go into the kernel as its leading axis |
| forward mode, second order | backend "numba": raises TypeError that names the operation; the others: works |
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import numpy as np

from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.derivatives import reverse_only
from gammasky.engine.kernels.response import cpu

_NAME = "expected_sources"


@partial(reverse_only, _NAME)
def expected_sources(matrix: jax.Array, dnds: jax.Array, *, backend: str = "auto") -> jax.Array:
    """Expected number of sources by region and photons in a pixel.

    Args:
        matrix (rows, S): fixed, the regions and numbers of photons of a response joined into one axis.
        dnds (..., I, S): source-count functions.
        backend: "numba", or "cuda" and "reference", which leave the product to XLA; "auto": see `callbacks.choose`.

    Returns:
        X (..., I, rows) = R dN/dS.
    """
    callbacks.require_float64(_NAME, matrix=matrix, dnds=dnds)
    return _product(matrix, dnds) if callbacks.choose(backend) == "numba" else dnds @ matrix.T


def _kernel(evaluate: Any, outputs: tuple[np.ndarray, ...], matrix: np.ndarray, given: np.ndarray) -> None:
    entries = len(matrix)  # 1, or where vmap maps the matrix too, as many as there are
    flat = [
        array.reshape(entries, math.prod(array.shape[:-1]) // entries, array.shape[-1]) for array in (given, *outputs)
    ]
    for entry, own in enumerate(matrix):
        evaluate(own, *(array[entry] for array in flat))


@jax.custom_vjp
def _product(matrix: jax.Array, dnds: jax.Array) -> jax.Array:
    result = jax.ShapeDtypeStruct((*dnds.shape[:-1], matrix.shape[0]), dnds.dtype)
    return callbacks.call(_NAME, partial(_kernel, cpu.expected_sources), [result], dnds, constants=[matrix])[0]


def _product_fwd(matrix: jax.Array, dnds: jax.Array) -> tuple[jax.Array, jax.Array]:
    result = jax.ShapeDtypeStruct((*dnds.shape[:-1], matrix.shape[0]), dnds.dtype)
    kernel = partial(_kernel, cpu.expected_sources)
    return callbacks.call(_NAME, kernel, [result], dnds, constants=[matrix])[0], matrix


def _product_rev(matrix: jax.Array, d_x: jax.Array) -> tuple[None, jax.Array]:
    result = jax.ShapeDtypeStruct((*d_x.shape[:-1], matrix.shape[1]), d_x.dtype)
    kernel = partial(_kernel, cpu.expected_sources_rev)
    return None, callbacks.call(_NAME, kernel, [result], d_x, constants=[matrix])[0]


_product.defvjp(_product_fwd, _product_rev)
