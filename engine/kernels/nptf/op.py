"""JAX operations of the NPTF pixel likelihood.

With x_m = sum_i T_i X_{i,m} + mean [m = 1], x_0 = -mean + sum_i T_i X_{i,0} and
q_n = (1/n) sum_{m=1..n} m x_m q_{n-m}:

    log p_k = x_0 + log q_k          (compound-Poisson recursion; Malyshev & Hogg 2011; Lee, Lisanti & Safdi 2015)
    d log p_k / d x_m = q_{k-m} / q_k,   d log p_k / d x_0 = 1       (from G = exp(sum x_m t^m))

| transformation | |
| --- | --- |
| reverse mode, jit, scan | works |
| vmap | works; mapped axes go into the kernel as its leading axis |
| forward mode, `jax.hessian` | raises TypeError that names the operation (inside jit of jvp, JAX's own TypeError) |
| second order | raises TypeError that names the operation; central differences of the gradient agree to 1e-8 |
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike

from gammasky.engine.errors import InputError
from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.derivatives import reverse_only
from gammasky.engine.kernels.nptf import calls, cuda, reference
from gammasky.engine.kernels.nptf.plan import PixelPlan

_NAME = "nptf_log_likelihood"
Gradient = tuple[jax.Array, jax.Array, jax.Array]


def nptf_log_likelihood(
    counts: ArrayLike,
    mean: jax.Array,
    templates: jax.Array,
    dnds: jax.Array,
    response: Any,
    *,
    region: ArrayLike,
    backend: str = "auto",
) -> jax.Array:
    """Log-likelihood of the count in each pixel under smooth emission plus populations of point sources.

        log p_k = [t^k] exp( mean (t - 1) + sum_i T_i sum_m X_{i,m} (t^m - 1) ),   X = response @ dN/dS

    Args:
        counts (P,) int: photon counts; fixed data, not traced.
        mean (..., P) [counts]: smooth emission.
        templates (..., I, P): point-source templates; sources per pixel relative to the pixel that dN/dS refers to.
        dnds (..., I, S) [sources per pixel per count]: source-count functions on `response.s_grid`.
        response: a `gammasky.engine.sky.Response`, or any object with `matrix` (R, M + 1, S), M >= max(counts).
        region (P,) int: exposure region of each pixel, 0 .. R - 1.
        backend: "numba", "cuda", "reference" (plain JAX, slow), or "auto": see `callbacks.choose`.

    Returns:
        log p (..., P). A mean that makes the one-photon term x_1 negative, or NaN anywhere, gives NaN for that pixel;
        an impossible count (all x_m zero, count > 0) gives -inf.

    Raises:
        InputError: bad counts or regions (names the pixel), a count beyond the response, arrays whose shapes do not fit
            together, an unknown backend.
        TypeError: an array is not float64.

    Source: the generating function of Malyshev & Hogg, ApJ 738 (2011) 181 and Lee, Lisanti & Safdi, JCAP 05 (2015) 056;
    the gradient without a reverse sweep follows from G = exp(...).
    """
    matrix = jnp.asarray(response.matrix)
    dnds = jnp.asarray(dnds)
    callbacks.require_float64(_NAME, dnds=dnds, response=matrix)
    if matrix.ndim != 3 or dnds.ndim < 2 or dnds.shape[-1] != matrix.shape[2]:
        raise InputError(
            f"{_NAME}: response.matrix (R, M + 1, S) and dnds (..., I, S) must share S, "
            f"got shapes {matrix.shape} and {dnds.shape}"
        )
    plan = PixelPlan.build(np.asarray(counts), np.asarray(region), matrix.shape[0])
    require_count_in_range(plan, matrix.shape[1] - 1)
    x = jnp.einsum("rms,...is->...irm", matrix, dnds)
    return pixel_log_likelihood(plan, mean, templates, x, backend=backend)


def require_count_in_range(plan: PixelPlan, max_count: int) -> None:
    """Refuse a count that the response does not reach.

    Raises:
        InputError: names the pixel, its count and the response's `max_count`.
    """
    if plan.max_count > max_count:
        pixel = int(np.argmax(plan.counts))
        raise InputError(
            f"count of pixel {pixel}: expected at most the response's max_count={max_count}, got {plan.max_count}; "
            "build the response with a larger max_count"
        )
    if max_count < 1:
        raise InputError(f"response: max_count must be at least 1, got {max_count}")


@partial(reverse_only, _NAME)
def pixel_log_likelihood(
    plan: PixelPlan, mean: jax.Array, templates: jax.Array, x: jax.Array, *, backend: str = "auto"
) -> jax.Array:
    """Log p (..., P) of every pixel from x (..., I, R, M + 1) = response @ dN/dS; see `nptf_log_likelihood`."""
    mean, templates, x = _common_axes(plan, mean, templates, x)
    if (chosen := _chosen(backend)) != "reference":
        return _pixels(chosen, plan, mean, templates, x)
    terms = partial(reference.log_likelihood, plan)
    for _ in range(mean.ndim - 1):
        terms = jax.vmap(terms)
    return terms(mean, templates, x)


@partial(reverse_only, _NAME)
def total_log_likelihood(
    plan: PixelPlan, mean: jax.Array, templates: jax.Array, x: jax.Array, *, backend: str = "auto"
) -> jax.Array:
    """Sum over pixels (...) of `pixel_log_likelihood`; its value and gradient come from ONE pass of the kernel."""
    if (chosen := _chosen(backend)) == "reference":
        return pixel_log_likelihood(plan, mean, templates, x, backend=backend).sum(axis=-1)
    return _total(chosen, plan, *_common_axes(plan, mean, templates, x))


def _chosen(backend: str) -> str:
    """The backend, ready to run."""
    chosen = callbacks.choose(backend)
    if chosen == "cuda":
        callbacks.prepare(cuda.prepare)
    return chosen


def _common_axes(plan: PixelPlan, mean: jax.Array, templates: jax.Array, x: jax.Array) -> Gradient:
    """The three arrays with the same leading axes, refused if a kernel would read beyond them."""
    populations = (1, 1, *jnp.shape(templates))[-2]
    top = plan.max_count if isinstance(plan.counts, np.ndarray) else 1  # a traced plan is checked by the kernel
    expected = {
        "mean": (plan.n_pixels,),
        "templates": (populations, plan.n_pixels),
        "x": (populations, plan.n_regions, max(top, 1) + 1),
    }
    mean, templates, x = callbacks.common_axes(_NAME, {"mean": mean, "templates": templates, "x": x}, expected)
    return mean, templates, x


def _like(*arrays: jax.Array) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]


def _room(plan: PixelPlan, x: jax.Array, parts: int) -> callbacks.Room:
    """Room to work in on a device: of the kernel, and for its partial sums."""

    def room(entries: int) -> tuple[jax.ShapeDtypeStruct, ...]:
        points = entries * math.prod(x.shape[:-3])
        shapes = cuda.Scratch.shapes(points, plan.group_region.shape[-1], x.shape[-3:])
        room = cuda.Scratch(*(jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes))
        return room._replace(left=jax.ShapeDtypeStruct(shapes.left, jnp.int32))[:parts]

    return room


def _gradient(backend: str, plan: PixelPlan, *point: jax.Array) -> Any:
    """log p (..., P), and the gradient of sum(cotangent * log p), from mean, templates, x and cotangent."""
    mean, templates, x, _cotangent = point
    result = _like(mean, mean, templates, x)
    if backend == "numba":
        return callbacks.call(_NAME, calls.gradient, result, *point, constants=plan)
    return callbacks.launch(_NAME, calls.device_gradient, result, *point, constants=cuda.Layout.of(plan),
                            scratch=_room(plan, x, 3), shared=mean.ndim - 1)  # fmt: skip


def _value(backend: str, plan: PixelPlan, *point: jax.Array) -> jax.Array:
    """log p (..., P) from mean, templates and x."""
    result = _like(point[0])
    if backend == "numba":
        return callbacks.call(_NAME, calls.value, result, *point, constants=plan)[0]
    return callbacks.launch(_NAME, calls.device_value, result, *point, constants=cuda.Layout.of(plan),
                            scratch=_room(plan, point[2], 2), shared=point[0].ndim - 1)[0]  # fmt: skip


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pixels(backend: str, plan: PixelPlan, *point: jax.Array) -> jax.Array:
    return _value(backend, plan, *point)


def _pixels_fwd(backend: str, plan: PixelPlan, *point: jax.Array) -> tuple[jax.Array, tuple[Any, ...]]:
    return _value(backend, plan, *point), (plan, *point)


def _pixels_rev(backend: str, point: tuple[Any, ...], cotangent: jax.Array) -> tuple[None, *Gradient]:
    return None, *_gradient(backend, *point, cotangent)[1:]


_pixels.defvjp(_pixels_fwd, _pixels_rev)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _total(backend: str, plan: PixelPlan, *point: jax.Array) -> jax.Array:
    """sum over pixels (...) of log p from mean, templates and x."""
    return _value(backend, plan, *point).sum(axis=-1)


def _total_fwd(backend: str, plan: PixelPlan, *point: jax.Array) -> tuple[jax.Array, Gradient]:
    log_p, *gradient = _gradient(backend, plan, *point, jnp.ones_like(point[0]))
    return log_p.sum(axis=-1), tuple(gradient)


def _total_rev(_backend: str, gradient: Gradient, cotangent: jax.Array) -> tuple[None, *Gradient]:
    mean, templates, x = gradient
    return (
        None,
        cotangent[..., None] * mean,
        cotangent[..., None, None] * templates,
        cotangent[..., None, None, None] * x,
    )


_total.defvjp(_total_fwd, _total_rev)
