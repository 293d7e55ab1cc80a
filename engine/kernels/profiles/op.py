"""JAX operations of the two line-of-sight profiles.

J(psi; gamma) = int rho^2 ds depends on gamma only through rho^2 = x^(-2 gamma) (1 + x)^(2 gamma - 6), x = r / r_s, so

    dJ/dgamma = int -2 log(x / (1 + x)) rho^2 ds,

and for the disk D = int (R / R0)^B exp(-C (R - R0) / R0) exp(-|z| / z_s) ds, likewise under the integral sign,

    dD/dz_s = int |z| / z_s^2 ..., dD/dC = int -(R - R0) / R0 ..., dD/dB = int log(R / R0) ...

The kernel returns these next to the template; the reverse pass is sum_p cotangent_p * derivative_p. Where a template
T = J / mean(J) of a given mean is wanted, its derivatives are dT = (dJ - T mean(dJ)) / mean(J). On a CPU they are found
on the lines of sight, before pixels that share one are told apart. On a device J and its derivatives are only summed
over pixels, all together: once for their means, once for sum_p cotangent_p dJ_p.
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

import math
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
from gammasky.engine.kernels.profiles.geometry import LANES, DiskSky, NFWSky, Normalisation

Floats = NDArray[np.float64]
Sky: TypeAlias = NFWSky | DiskSky

DISK_CHUNK = 32  # blocks of lines of sight per task; each serves all batch entries while its nodes are in cache


@partial(reverse_only, "nfw_squared")
def nfw_squared(
    gamma: ArrayLike,
    sky: NFWSky,
    *,
    over: Normalisation | None = None,
    times: ArrayLike = 1.0,
    backend: str = "auto",
) -> jax.Array:
    """Line-of-sight integral of the squared generalised-NFW density.

    J(psi; gamma) = int rho^2 ds, rho = (r / r_s)^-gamma (1 + r / r_s)^(gamma - 3), not normalised.

    Args:
        gamma (...): inner slope, float64. Relative error below 1e-8 for gamma in [0, 2] and psi >= 0.1 deg.
        sky: pixels and lengths, from `NFWSky.build`.
        over: what J is divided by, and of how many pixels it is wanted; None: as it is, of all.
        times (...): what it is multiplied by, float64; broadcast to gamma.
        backend: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.

    Returns:
        (..., N) [kpc]: J at every pixel; NaN where gamma is not finite. With `over` (..., size), of mean `times`.

    Raises:
        TypeError: gamma or times is not float64.
        InputError: unknown backend.
    """
    value, factor = _double("nfw_squared", gamma=gamma, times=times)
    if (chosen := _chosen(backend, sky)) == "reference":
        return _times(factor, _over_mean(over, reference.nfw_squared(value, sky)))
    return _integral(chosen, "nfw_squared", sky, over, jnp.broadcast_to(factor, value.shape), value)


@partial(reverse_only, "lorimer_disk")
def lorimer_disk(
    scale_height: ArrayLike,
    C: ArrayLike,
    B: ArrayLike,
    sky: DiskSky,
    *,
    over: Normalisation | None = None,
    times: ArrayLike = 1.0,
    backend: str = "auto",
) -> jax.Array:
    """Line-of-sight integral of the Lorimer disk.

    D(l, b) = int (R / R0)^B exp(-C (R - R0) / R0) exp(-|z| / z_s) ds, not normalised.

    Args:
        scale_height (...) [kpc]: z_s > 0, float64.
        C, B (...): shape of the radial profile, float64; the three broadcast against each other. Relative error below
            1e-7 for z_s in [0.1, 2.5], C in [0.05, 8] and B in [0, 3].
        sky: pixels and lengths, from `DiskSky.build`.
        over: what D is divided by, and of how many pixels it is wanted; None: as it is, of all.
        times (...): what it is multiplied by, float64; broadcast to the others.
        backend: "numba", "cuda", "reference" (plain JAX), or "auto": see `callbacks.choose`.

    Returns:
        (..., N) [kpc]: D at every pixel; NaN where z_s <= 0 or a parameter is not finite. With `over` (..., size), of
        mean `times`.

    Raises:
        TypeError: a parameter is not float64.
        InputError: unknown backend.
    """
    *given, factor = _double("lorimer_disk", scale_height=scale_height, C=C, B=B, times=times)
    height, shape, power = jnp.broadcast_arrays(*given)
    if (chosen := _chosen(backend, sky)) == "reference":
        return _times(factor, _over_mean(over, reference.lorimer_disk(height, shape, power, sky)))
    return _integral(chosen, "lorimer_disk", sky, over, jnp.broadcast_to(factor, height.shape), height, shape, power)


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


def _over_mean(over: Normalisation | None, template: jax.Array) -> jax.Array:
    """The template over its mean in the pixels that are wanted, from all pixels."""
    if over is None:
        return template
    return template[..., : over.size] / jnp.sum(template * over.weight, axis=-1, keepdims=True)


def _times(factor: jax.Array, template: jax.Array) -> jax.Array:
    """The template of each entry times its number (...)."""
    return factor[..., None] * template


def _nfw_lines(sky: NFWSky, gamma: Floats) -> Floats:
    """J and dJ/dgamma on the lines of sight (batch, 2, U'), U' filling whole rows of lanes; tasks are batch entries."""
    lines = np.empty((gamma.size, 2, sky.cardinal_rows.shape[1]))

    def task(entry: int) -> None:
        cpu.nfw_lines(gamma[entry], sky.log_shape, sky.weight, sky.cardinal_rows, lines[entry])

    threads.run_tasks(task, gamma.size)
    return lines


def _disk_lines(sky: DiskSky, *parameters: Floats) -> Floats:
    """D and its derivatives on the lines of sight (batch, 4, U'); tasks are chunks of lines."""
    blocks = sky.nodes.block_starts.size - 1
    lines = np.empty((parameters[0].size, 4, blocks * LANES))

    def task(number: int) -> None:
        first, last = number * DISK_CHUNK, min((number + 1) * DISK_CHUNK, blocks)
        cpu.disk_lines(*parameters, sky.nodes, first, last, lines)

    threads.run_tasks(task, -(-blocks // DISK_CHUNK))
    return lines


def _fill(
    on_lines: Callable[..., Floats], sky: Sky, over: Normalisation | None, outputs: tuple[Floats, ...], *given: Floats
) -> None:
    """Template and derivatives in the pixels for every batch entry, from what they are on lines of sight."""
    lines = on_lines(sky, *(values.reshape(-1) for values in given))
    results = [out.reshape(len(lines), out.shape[-1]) for out in outputs]

    def task(entry: int) -> None:
        if over is not None:
            cpu.over_mean(lines[entry], over.line_weight)
        for kind, pixels in enumerate(results):
            cpu.to_pixels(lines[entry, kind], sky.groups.inverse, pixels[entry])

    threads.run_tasks(task, len(lines))


_ON_LINES: dict[str, Callable[..., Floats]] = {"nfw_squared": _nfw_lines, "lorimer_disk": _disk_lines}
_ON_DEVICE: dict[str, Callable[..., None]] = {"nfw_squared": cuda.nfw_squared, "lorimer_disk": cuda.lorimer_disk}


def _on_host(operation: str, sky: Sky, over: Normalisation | None, *parameters: jax.Array) -> tuple[jax.Array, ...]:
    """Template and its derivative by each parameter, each (..., N) or, with `over`, (..., size), by Numba."""
    size = sky.n_pixels if over is None else over.size
    result = [jax.ShapeDtypeStruct((*parameters[0].shape, size), jnp.float64)] * (1 + len(parameters))
    return callbacks.call(operation, partial(_fill, _ON_LINES[operation], sky, over), result, *parameters)


def _on_device(operation: str, sky: Sky, *parameters: jax.Array) -> jax.Array:
    """J and its derivative by each parameter (..., 1 + parameters, N), on a GPU."""
    shape = parameters[0].shape
    result = [jax.ShapeDtypeStruct((*shape, 1 + len(parameters), sky.n_pixels), jnp.float64)]
    return callbacks.launch(operation, partial(_ON_DEVICE[operation], sky), result, jnp.stack(parameters, axis=-1),
                            scratch=partial(_room, sky, math.prod(shape)))[0]  # fmt: skip


def _room(sky: Sky, points: int, entries: int) -> list[jax.ShapeDtypeStruct]:
    """Room to work in on a device."""
    return [jax.ShapeDtypeStruct((entries * points, *own), jnp.float64) for own in cuda.scratch_shapes(sky)]


@partial(jax.custom_vjp, nondiff_argnums=(0, 1, 2, 3))
def _integral(
    backend: str, operation: str, sky: Sky, over: Normalisation | None, times: jax.Array, *parameters: jax.Array
) -> jax.Array:
    """The template of one operation times a number, differentiable in reverse mode."""
    return _integral_fwd(backend, operation, sky, over, times, *parameters)[0]


def _integral_fwd(
    backend: str, operation: str, sky: Sky, over: Normalisation | None, times: jax.Array, *parameters: jax.Array
) -> tuple[jax.Array, tuple[jax.Array, ...]]:
    """The result, and what the reverse pass needs: the number, and the template and its derivative by each parameter.

    Of a device J and its derivatives come in one array, and their means.
    """
    if backend == "numba":
        found = _on_host(operation, sky, over, *parameters)
        return _times(times, found[0]), (times, *found)
    together = _on_device(operation, sky, *parameters)
    if over is None:
        return _times(times, together[..., 0, :]), (times, together)
    means = jnp.sum(together * over.weight, axis=-1)
    return _times(times / means[..., 0], together[..., 0, : over.size]), (times, together, means)


def _integral_rev(
    backend: str,
    _operation: str,
    _sky: Sky,
    over: Normalisation | None,
    kept: tuple[jax.Array, ...],
    cotangent: jax.Array,
) -> tuple[jax.Array, ...]:
    """sum_p cotangent_p times the template, for the number, and times each derivative, for the parameters."""
    times, *found = kept
    if backend == "numba":
        value, *slopes = (jnp.sum(cotangent * part, axis=-1) for part in found)
        return value, *(times * slope for slope in slopes)
    along = jnp.sum(cotangent[..., None, :] * found[0][..., : cotangent.shape[-1]], axis=-1)
    value, *slopes = (along[..., number] for number in range(along.shape[-1]))
    if over is not None:
        mean, *by = (found[1][..., number] for number in range(along.shape[-1]))
        value = value / mean
        slopes = [(slope - value * one) / mean for slope, one in zip(slopes, by, strict=True)]
    return value, *(times * slope for slope in slopes)


_integral.defvjp(_integral_fwd, _integral_rev)
