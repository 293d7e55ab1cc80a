"""JAX operations of the two line-of-sight profiles.

J(psi; gamma) = int rho^2 ds depends on gamma only through rho^2 = x^(-2 gamma) (1 + x)^(2 gamma - 6), x = r / r_s, so

    dJ/dgamma = int -2 log(x / (1 + x)) rho^2 ds,

and for the disk D = int (R / R0)^B exp(-C (R - R0) / R0) exp(-|z| / z_s) ds, likewise under the integral sign,

    dD/dz_s = int |z| / z_s^2 ..., dD/dC = int -(R - R0) / R0 ..., dD/dB = int log(R / R0) ...

The kernel returns these next to the template; the reverse pass is sum_p cotangent_p * derivative_p.
Sources: generalised NFW squared as in arXiv:2604.08648; disk of Lorimer et al. 2006 (astro-ph/0607640) as in eq. 6 of
arXiv:1805.11097.

| | backends "numba", "cuda" | backend "reference" |
| --- | --- | --- |
| reverse (grad, vjp) | works | works |
| forward (jvp, jacfwd, hessian) | raises TypeError | works |
| second order | raises TypeError | works |
| vmap | works: batched axes go into one kernel call | works |
| jit, scan | works | works |
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from typing import TypeAlias

import jax
import jax.numpy as jnp
import numpy as np
from jax.typing import ArrayLike
from numpy.typing import NDArray

from gammasky.engine.kernels import callbacks, threads
from gammasky.engine.kernels.derivatives import reverse_only
from gammasky.engine.kernels.profiles import cpu, cuda, reference
from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky

Floats = NDArray[np.float64]
Sky: TypeAlias = NFWSky | DiskSky

NFW_CHUNK = 4096  # different angles per task
DISK_CHUNK = 8  # blocks of lines of sight per task; each serves all batch entries while its nodes are in cache


@partial(reverse_only, "nfw_squared")
def nfw_squared(gamma: ArrayLike, sky: NFWSky, *, backend: str = "auto") -> jax.Array:
    """Line-of-sight integral of the squared generalised-NFW density.

    J(psi; gamma) = int rho^2 ds, rho = (r / r_s)^-gamma (1 + r / r_s)^(gamma - 3), not normalised.

    Args:
        gamma (...): inner slope, float64. Relative error below 1e-8 for gamma in [0, 2] and psi >= 0.1 deg.
        sky: pixels and lengths, from `NFWSky.build`.
        backend: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.

    Returns:
        (..., N) [kpc]: J at every pixel; NaN where gamma is not finite.

    Raises:
        TypeError: gamma is not float64.
        InputError: unknown backend.
    """
    (value,) = _double("nfw_squared", gamma=gamma)
    if (chosen := _chosen(backend, sky)) == "reference":
        return reference.nfw_squared(value, sky)
    return _integral(chosen, "nfw_squared", sky, value)


@partial(reverse_only, "lorimer_disk")
def lorimer_disk(
    scale_height: ArrayLike, C: ArrayLike, B: ArrayLike, sky: DiskSky, *, backend: str = "auto"
) -> jax.Array:
    """Line-of-sight integral of the Lorimer disk.

    D(l, b) = int (R / R0)^B exp(-C (R - R0) / R0) exp(-|z| / z_s) ds, not normalised.

    Args:
        scale_height (...) [kpc]: z_s > 0, float64.
        C, B (...): shape of the radial profile, float64; the three broadcast against each other. Relative error below
            1e-7 for z_s in [0.1, 2.5], C in [0.05, 8] and B in [0, 3].
        sky: pixels and lengths, from `DiskSky.build`.
        backend: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.

    Returns:
        (..., N) [kpc]: D at every pixel; NaN where z_s <= 0 or a parameter is not finite.

    Raises:
        TypeError: a parameter is not float64.
        InputError: unknown backend.
    """
    height, shape, power = jnp.broadcast_arrays(*_double("lorimer_disk", scale_height=scale_height, C=C, B=B))
    if (chosen := _chosen(backend, sky)) == "reference":
        return reference.lorimer_disk(height, shape, power, sky)
    return _integral(chosen, "lorimer_disk", sky, height, shape, power)


def _chosen(backend: str, sky: Sky) -> str:
    """The backend, ready to run."""
    chosen = callbacks.choose(backend)
    if chosen == "cuda":
        callbacks.prepare(cuda.prepare, sky)
    return chosen


def _double(operation: str, **parameters: ArrayLike) -> list[jax.Array]:
    """Parameters as JAX arrays: Python numbers become float64, arrays must be so already."""
    converted = {
        name: jnp.asarray(value, dtype=float) if isinstance(value, int | float) else value
        for name, value in parameters.items()
    }
    callbacks.require_float64(operation, **converted)
    return [jnp.asarray(value) for value in converted.values()]


def _fill_nfw(kernel: Callable[..., None], sky: NFWSky, outputs: tuple[Floats, ...], gamma: Floats) -> None:
    """What `kernel` gives for every batch entry; tasks are batch entries x chunks of angles."""
    slopes = gamma.reshape(-1)
    results = [out.reshape(slopes.size, sky.n_pixels) for out in outputs]
    lines = sky.psi_rad.size
    chunks = -(-lines // NFW_CHUNK)

    def task(number: int) -> None:
        entry = slice(number // chunks, number // chunks + 1)
        first = number % chunks * NFW_CHUNK
        last = min(first + NFW_CHUNK, lines)
        geometry = (sky.log_shape, sky.weight, sky.cardinal, sky.groups)
        kernel(slopes[entry], *geometry, first, last, *(out[entry] for out in results))

    threads.run_tasks(task, slopes.size * chunks)


def _fill_disk(kernel: Callable[..., None], sky: DiskSky, outputs: tuple[Floats, ...], *parameters: Floats) -> None:
    """What `kernel` gives for every batch entry; tasks are chunks of lines of sight."""
    flat = [values.reshape(-1) for values in parameters]
    results = tuple(out.reshape(flat[0].size, sky.n_pixels) for out in outputs)
    blocks = sky.nodes.block_starts.size - 1

    def task(number: int) -> None:
        first, last = number * DISK_CHUNK, min((number + 1) * DISK_CHUNK, blocks)
        kernel(*flat, sky.nodes, sky.groups, first, last, results)

    threads.run_tasks(task, -(-blocks // DISK_CHUNK))


_FIRST: dict[str, Callable[..., None]] = {
    "nfw_squared": partial(_fill_nfw, cpu.nfw_chunk),
    "lorimer_disk": partial(_fill_disk, cpu.disk_chunk),
}
_ON_DEVICE: dict[str, Callable[..., None]] = {"nfw_squared": cuda.nfw_squared, "lorimer_disk": cuda.lorimer_disk}


def _template_and_derivatives(backend: str, operation: str, sky: Sky, *parameters: jax.Array) -> tuple[jax.Array, ...]:
    """Template and its derivative by each parameter, each (..., N)."""
    shape = parameters[0].shape
    result = [jax.ShapeDtypeStruct((*shape, sky.n_pixels), jnp.float64)] * (1 + len(parameters))
    if backend == "numba":
        return callbacks.call(operation, partial(_FIRST[operation], sky), result, *parameters)
    room = [jax.ShapeDtypeStruct(shape + own, jnp.float64) for own in cuda.scratch_shapes(sky)]
    return callbacks.launch(operation, partial(_ON_DEVICE[operation], sky), result, *parameters, scratch=room)


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2))
def _integral(backend: str, operation: str, sky: Sky, *parameters: jax.Array) -> jax.Array:
    """The template (..., N) of one operation, differentiable in reverse mode."""
    return _template_and_derivatives(backend, operation, sky, *parameters)[0]


def _integral_fwd(
    backend: str, operation: str, sky: Sky, *parameters: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The template; its derivatives are all that the reverse pass needs."""
    template, *derivatives = _template_and_derivatives(backend, operation, sky, *parameters)
    return template, tuple(derivatives)


def _integral_rev(
    _backend: str, _operation: str, _sky: Sky, derivatives: tuple[jax.Array, ...], cotangent: jax.Array
) -> tuple[jax.Array, ...]:
    """sum_p cotangent_p derivative_p for each parameter."""
    return tuple(jnp.sum(cotangent * derivative, axis=-1) for derivative in derivatives)


_integral.defvjp(_integral_fwd, _integral_rev)
