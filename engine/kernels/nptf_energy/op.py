"""JAX operation of the joint NPTF likelihood of several energy bins.

A source has one brightness: its photons in all bins are compound Poisson, p_n = exp(x_0) q_n as in `nptf.op`, and are
then shared out with the fractions phi_e of the spectrum. With smooth means mu_e, their sum M and K = sum_e k_e,

    P(k_1 .. k_E) = exp(x_0 - M) / prod_e k_e!  S,      S = sum_{n=0..K} n! q_n c_n
    sum_n c_n t^n = prod_e (mu_e + phi_e t)^k_e

which is exact (bins are conditionally independent given n), costs O(K^2), and has only positive terms. Its gradient:

    d log P / d x_m = sum_{n>=m} n! c_n q_{n-m} / S,    d log P / d x_0 = 1
    d log P / d mu_e = k_e sum_n n! q_n d_n / S - 1,    d log P / d phi_e = k_e sum_n (n + 1)! q_{n+1} d_n / S

with d(t) = c(t) / (mu_e + phi_e t); `cpu` says how it gets these without a division. One bin with phi = 1 is `nptf.op`.

| transformation | |
| --- | --- |
| reverse mode, jit, scan | works |
| vmap | works; mapped axes go into the kernel as its leading axis |
| forward mode, `jax.hessian` | raises TypeError that names the operation |
| second order | raises TypeError that names the operation |
"""

from __future__ import annotations

import math
from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.derivatives import reverse_only
from gammasky.engine.kernels.nptf_energy import calls, cuda, reference
from gammasky.engine.kernels.nptf_energy.plan import JointPlan

_NAME = "joint_log_likelihood"
Point = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@partial(reverse_only, _NAME)
def joint_log_likelihood(
    plan: JointPlan, mean: jax.Array, templates: jax.Array, x: jax.Array, spectrum: jax.Array, *, backend: str = "auto"
) -> jax.Array:
    """Log-likelihood of the counts of each pixel in all energy bins together.

    Args:
        plan: counts (E, P) and exposure regions (P,) of the pixels.
        mean (..., E, P) [counts]: smooth emission.
        templates (..., I, P): point-source templates; sources per pixel relative to the pixel that dN/dS refers to.
        x (..., I, R, M + 1): response times dN/dS, S being the expected counts of a source in all bins together; M is
            at least the largest sum of counts of a pixel. Populations share the spectrum.
        spectrum (..., R, E): the share of a source's expected counts in each bin, in each region. It adds up to 1 over
            bins where the result is to be a probability; nothing is normalised here.
        backend: "numba", "cuda", "reference" (plain JAX, slow), or "auto": see `callbacks.choose`.

    Returns:
        log p (..., P). A negative mean, share or x_m, or NaN anywhere, gives NaN for that pixel; impossible counts give
        -inf.

    Raises:
        InputError: arrays whose shapes do not fit together, counts beyond x, an unknown backend.
        TypeError: an array is not float64.

    Source: the generating function of Malyshev & Hogg, ApJ 738 (2011) 181, in several variables; the factorisation and
    its gradient are ours.
    """
    point = _common_axes(plan, mean, templates, x, spectrum)
    if (chosen := _chosen(backend)) != "reference":
        return _pixels(chosen, plan, *point)
    terms = partial(reference.log_likelihood, plan)
    for _ in range(point[0].ndim - 2):
        terms = jax.vmap(terms)
    return terms(*point)


@partial(reverse_only, _NAME)
def total_joint_log_likelihood(
    plan: JointPlan, mean: jax.Array, templates: jax.Array, x: jax.Array, spectrum: jax.Array, *, backend: str = "auto"
) -> jax.Array:
    """Sum over pixels (...) of `joint_log_likelihood`; its value and gradient come from ONE pass of the kernel."""
    if (chosen := _chosen(backend)) == "reference":
        return joint_log_likelihood(plan, mean, templates, x, spectrum, backend=backend).sum(axis=-1)
    return _total(chosen, plan, *_common_axes(plan, mean, templates, x, spectrum))


def _chosen(backend: str) -> str:
    """The backend, ready to run."""
    chosen = callbacks.choose(backend)
    if chosen == "cuda":
        callbacks.prepare(cuda.prepare)
    return chosen


def _common_axes(plan: JointPlan, *arrays: jax.Array) -> Point:
    """The four arrays with the same leading axes, refused if a kernel would read beyond them."""
    given = dict(zip(("mean", "templates", "x", "spectrum"), arrays, strict=True))
    populations = (1, 1, *jnp.shape(given["templates"]))[-2]
    expected = plan_axes(plan, populations) | {"spectrum": (plan.totals.n_regions, plan.n_bins)}
    mean, templates, x, spectrum = callbacks.common_axes(_NAME, given, expected)
    return mean, templates, x, spectrum


def plan_axes(plan: JointPlan, populations: int) -> dict[str, tuple[int, ...]]:
    """The last axes of mean, templates and x, whatever the spectra."""
    totals = plan.totals
    top = totals.max_count if isinstance(totals.counts, np.ndarray) else 1  # a traced plan is checked by the kernel
    return {
        "mean": (plan.n_bins, plan.n_pixels),
        "templates": (populations, plan.n_pixels),
        "x": (populations, totals.n_regions, max(top, 1) + 1),
    }


def _like(*arrays: jax.Array) -> list[jax.ShapeDtypeStruct]:
    return [jax.ShapeDtypeStruct(array.shape, array.dtype) for array in arrays]


def _log_p(mean: jax.Array) -> jax.ShapeDtypeStruct:
    """The shape of log p, from that of the means."""
    return jax.ShapeDtypeStruct(mean.shape[:-2] + mean.shape[-1:], mean.dtype)


def _room(plan: JointPlan, x: jax.Array, spectrum: jax.Array, parts: int) -> callbacks.Room:
    """Room to work in on a device: of the kernel, and for its partial sums."""

    def room(entries: int) -> list[jax.ShapeDtypeStruct]:
        points, groups = entries * math.prod(x.shape[:-3]), plan.totals.group_region.shape[-1]
        shapes = cuda.scratch_shapes(points, groups, x.shape[-3:], spectrum.shape[-2:])
        return [jax.ShapeDtypeStruct(shape, x.dtype) for shape in shapes[:parts]]

    return room


def _gradient(backend: str, plan: JointPlan, *point: jax.Array) -> Any:
    """log p (..., P), and the gradient of sum(cotangent * log p), from mean, templates, x, spectrum and cotangent."""
    mean, templates, x, spectrum, _cotangent = point
    result = [_log_p(mean), *_like(mean, templates, x, spectrum)]
    if backend == "numba":
        return callbacks.call(_NAME, calls.gradient, result, *point, constants=calls.flat_plan(plan))
    return callbacks.launch(_NAME, calls.device_gradient, result, *point, constants=cuda.Layout.of(plan),
                            scratch=_room(plan, x, spectrum, 4), shared=mean.ndim - 2)  # fmt: skip


def _value(backend: str, plan: JointPlan, *point: jax.Array) -> jax.Array:
    """log p (..., P) from mean, templates, x and spectrum."""
    result = [_log_p(point[0])]
    if backend == "numba":
        return callbacks.call(_NAME, calls.value, result, *point, constants=calls.flat_plan(plan))[0]
    return callbacks.launch(_NAME, calls.device_value, result, *point, constants=cuda.Layout.of(plan),
                            scratch=_room(plan, point[2], point[3], 2), shared=point[0].ndim - 2)[0]  # fmt: skip


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pixels(backend: str, plan: JointPlan, *point: jax.Array) -> jax.Array:
    return _value(backend, plan, *point)


def _pixels_fwd(backend: str, plan: JointPlan, *point: jax.Array) -> tuple[jax.Array, tuple[Any, ...]]:
    return _value(backend, plan, *point), (plan, *point)


def _pixels_rev(backend: str, point: tuple[Any, ...], cotangent: jax.Array) -> tuple[None, *Point]:
    return None, *_gradient(backend, *point, cotangent)[1:]


_pixels.defvjp(_pixels_fwd, _pixels_rev)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _total(backend: str, plan: JointPlan, *point: jax.Array) -> jax.Array:
    """sum over pixels (...) of log p from mean, templates, x and spectrum."""
    return _value(backend, plan, *point).sum(axis=-1)


def _total_fwd(backend: str, plan: JointPlan, *point: jax.Array) -> tuple[jax.Array, Point]:
    log_p = _log_p(point[0])
    found, *gradient = _gradient(backend, plan, *point, jnp.ones(log_p.shape, log_p.dtype))
    return found.sum(axis=-1), tuple(gradient)


def _total_rev(_backend: str, gradient: Point, cotangent: jax.Array) -> tuple[None, *Point]:
    mean, templates, x, spectrum = gradient
    by_two = cotangent[..., None, None]
    return None, by_two * mean, by_two * templates, by_two[..., None] * x, by_two * spectrum


_total.defvjp(_total_fwd, _total_rev)
