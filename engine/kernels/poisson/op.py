"""JAX operation of the Poisson pixel likelihood.

    log p_k = k log(mean) - mean - log k!,      d log p_k / d mean = k / mean - 1

| transformation | |
| --- | --- |
| reverse mode, jit, scan | works |
| vmap | works; mapped axes go into the kernel as its leading axis |
| forward mode | raises TypeError (JAX: forward mode of a custom_vjp) |
| second order | raises TypeError that names the operation |
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike
from scipy.special import gammaln

from gammasky.engine.errors import InputError, unknown_name
from gammasky.engine.kernels import bridge
from gammasky.engine.kernels.derivatives import first_order_only
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.poisson import cpu, reference

_NAME = "poisson_log_likelihood"


def poisson_log_likelihood(counts: ArrayLike, mean: jax.Array, *, backend: str = "numba") -> jax.Array:
    """Poisson log-likelihood of the count in each pixel.

    Args:
        counts (P,) int: photon counts; fixed data, not traced.
        mean (..., P) [counts]: expected counts.
        backend: "numba", or "reference" (plain JAX).

    Returns:
        log p (..., P); NaN where the mean is negative or NaN, -inf where it is 0 and the count is not.

    Raises:
        InputError: negative or non-integer counts (names the pixel), a mean for other pixels, an unknown backend.
        TypeError: `mean` is not float64.
    """
    counts = np.asarray(counts)
    plan = PixelPlan.build(counts, np.zeros(counts.shape, dtype=np.int64), 1)
    return pixel_log_likelihood(plan, mean, backend=backend)


def pixel_log_likelihood(plan: PixelPlan, mean: jax.Array, *, backend: str = "numba") -> jax.Array:
    """Log p (..., P) of every pixel of `plan`; see `poisson_log_likelihood`."""
    mean = jnp.asarray(mean)
    bridge.require_float64(_NAME, mean=mean)
    if mean.shape[-1:] != (plan.n_pixels,):
        raise InputError(f"{_NAME}: 'mean' must end in the axes {(plan.n_pixels,)}, got shape {mean.shape}")
    if backend == "reference":
        return reference.log_likelihood(jnp.asarray(plan.counts), mean)
    if backend != "numba":
        raise unknown_name("backend", backend, bridge.BACKENDS)
    return _pixels(plan, mean)


def _kernel(plan: PixelPlan, outputs: tuple[np.ndarray, ...], mean: np.ndarray, cotangent: np.ndarray) -> None:
    shape = math.prod(mean.shape[:-1]), plan.n_pixels
    rows = [array.reshape(shape) for array in (mean, cotangent, *outputs)]
    cpu.evaluate(plan.counts, gammaln(plan.counts + 1.0), *rows)


@partial(first_order_only, _NAME)
def _gradient(plan: PixelPlan, mean: jax.Array, cotangent: jax.Array) -> Any:
    """log p and the gradient of sum(cotangent * log p), both (..., P)."""
    result = jax.ShapeDtypeStruct(mean.shape, mean.dtype)
    return bridge.call(partial(_kernel, plan), [result, result], mean, cotangent)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pixels(plan: PixelPlan, mean: jax.Array) -> jax.Array:
    return _gradient(plan, mean, jnp.ones_like(mean))[0]


def _pixels_fwd(plan: PixelPlan, mean: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _gradient(plan, mean, jnp.ones_like(mean))


def _pixels_rev(_plan: PixelPlan, slope: jax.Array, cotangent: jax.Array) -> tuple[jax.Array]:
    return (cotangent * slope,)


_pixels.defvjp(_pixels_fwd, _pixels_rev)
