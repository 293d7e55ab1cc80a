"""JAX operation of the Poisson pixel likelihood.

    log p_k = k log(mean) - mean - log k!,    d log p_k / d mean = k / mean - 1,    d2 log p_k / d mean2 = -k / mean^2

The curvature needs no kernel; JAX differentiates it further. A plan whose counts are not whole has log Gamma(k + 1) in
place of log k!: the likelihood of expected counts (Asimov data, arXiv:1007.1727).

| transformation | |
| --- | --- |
| reverse mode, jit, scan | works |
| vmap | works; mapped axes go into the kernel as its leading axis |
| forward mode, `jax.hessian` | raises TypeError that names the operation (inside jit of jvp, JAX's own TypeError) |
| second order | raises TypeError that names the operation |
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from gammasky.engine.errors import InputError
from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.derivatives import reverse_only
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.poisson import cpu, cuda, reference

_NAME = "poisson_log_likelihood"


def poisson_log_likelihood(counts: ArrayLike, mean: jax.Array, *, backend: str = "auto") -> jax.Array:
    """Poisson log-likelihood of the count in each pixel.

    Args:
        counts (P,) int: photon counts; fixed data, not traced.
        mean (..., P) [counts]: expected counts.
        backend: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.

    Returns:
        log p (..., P); NaN where the mean is negative or NaN, -inf where it is 0 and the count is not.

    Raises:
        InputError: negative or non-integer counts (names the pixel), a mean for other pixels, an unknown backend.
        TypeError: `mean` is not float64.
    """
    counts = np.asarray(counts)
    plan = PixelPlan.build(counts, np.zeros(counts.shape, dtype=np.int64), 1)
    return pixel_log_likelihood(plan, mean, backend=backend)


@partial(reverse_only, _NAME)
def pixel_log_likelihood(plan: PixelPlan, mean: jax.Array, *, backend: str = "auto") -> jax.Array:
    """Log p (..., P) of every pixel of `plan`; see `poisson_log_likelihood`."""
    mean = jnp.asarray(mean)
    callbacks.require_float64(_NAME, mean=mean)
    if mean.shape[-1:] != (plan.n_pixels,):
        raise InputError(f"{_NAME}: 'mean' must end in the axes {(plan.n_pixels,)}, got shape {mean.shape}")
    chosen = callbacks.choose(backend)
    if chosen == "reference":
        return reference.log_likelihood(jnp.asarray(plan.counts), mean)
    if chosen == "cuda":
        callbacks.prepare(cuda.prepare)
    return _pixels(chosen, plan, mean)


def _kernel(outputs: tuple[np.ndarray, ...], *inputs: np.ndarray) -> None:
    *data, mean = inputs
    cpu.evaluate(*data, *(_flat(array) for array in (mean, *outputs)))


def _device_kernel(outputs: Sequence[Any], _scratch: Sequence[Any], *inputs: Any) -> None:
    *data, mean = inputs
    cuda.evaluate(*data, *(_flat(array) for array in (mean, *outputs)))


def _flat(array: Any) -> Any:
    """`array` with all but its last axis joined into one (-1 would not do: an axis may be empty)."""
    return array.reshape(math.prod(array.shape[:-1]), array.shape[-1])


def _value_and_slope(backend: str, plan: PixelPlan, mean: jax.Array) -> Any:
    """log p and d log p / d mean of every pixel, both (..., P)."""
    result = [jax.ShapeDtypeStruct(mean.shape, mean.dtype)] * 2
    constants = [jnp.asarray(plan.counts, jnp.float64), plan.log_factorial]
    if backend == "numba":
        return callbacks.call(_NAME, _kernel, result, mean, constants=constants)
    return callbacks.launch(_NAME, _device_kernel, result, mean, constants=constants)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pixels(backend: str, plan: PixelPlan, mean: jax.Array) -> jax.Array:
    return _value_and_slope(backend, plan, mean)[0]


def _pixels_fwd(backend: str, plan: PixelPlan, mean: jax.Array) -> tuple[jax.Array, jax.Array]:
    return _value_and_slope(backend, plan, mean)


def _pixels_rev(_backend: str, slope: jax.Array, cotangent: jax.Array) -> tuple[None, jax.Array]:
    return None, cotangent * slope


_pixels.defvjp(_pixels_fwd, _pixels_rev)
