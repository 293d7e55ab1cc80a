"""JAX operation of the joint NPTF likelihood of several energy bins, for point sources of two different spectra.

Sources of the first spectrum phi send n photons to the pixel, those of the second, phi', n'; both are compound Poisson,
p_n = exp(x_0) q_n as in `nptf.op`, and are shared out among the bins on their own. With smooth means mu_e, M in all,

    P(k_1 .. k_E) = exp(x_0 + x'_0 - M) / prod_e k_e!  S,      S = sum_{n, n'} n! q_n n'! q'_n' c_{n n'}
    sum_{n, n'} c_{n n'} t^n t'^n' = prod_e (mu_e + phi_e t + phi'_e t')^k_e

which is exact, has only positive terms, and costs the cube of the photons in a pixel, where one spectrum
(`nptf_energy.op`) costs the square. `cpu` says how its gradient is found. It runs on the CPU; on a GPU, the arrays are
copied to the host and back.

| transformation | |
| --- | --- |
| reverse mode, jit, scan | works |
| vmap | works; mapped axes go into the kernel as its leading axis |
| forward mode, `jax.hessian` | raises TypeError that names the operation |
| second order | raises TypeError that names the operation |
"""

from __future__ import annotations

from functools import partial
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.derivatives import reverse_only
from gammasky.engine.kernels.nptf.calls import flat
from gammasky.engine.kernels.nptf_energy.op import plan_axes
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.kernels.nptf_two_spectra import cpu, reference

_NAME = "two_spectra_log_likelihood"
Kinds = tuple[int, ...]
Point = tuple[jax.Array, jax.Array, jax.Array, jax.Array]


@partial(reverse_only, _NAME)
def two_spectra_log_likelihood(
    plan: JointPlan, kinds: Kinds, mean: jax.Array, templates: jax.Array, x: jax.Array, spectra: jax.Array,
    *, backend: str = "auto",
) -> jax.Array:  # fmt: skip
    """Log-likelihood of the counts of each pixel in all energy bins together.

    Args:
        plan: counts (E, P) and exposure regions (P,) of the pixels.
        kinds (I,): which spectrum each population has, 0 or 1.
        mean (..., E, P) [counts]: smooth emission.
        templates (..., I, P): point-source templates; sources per pixel relative to the pixel that dN/dS refers to.
        x (..., I, R, M + 1): response times dN/dS, S being the expected counts of a source in all bins together; M is
            at least the largest sum of counts of a pixel.
        spectra (..., 2, R, E): the share of a source's expected counts in each bin, in each region; nothing is
            normalised here.
        backend: "numba", "cuda" (which runs this one on the host), "reference" (plain JAX, slow), or "auto": see
            `callbacks.choose`.

    Returns:
        log p (..., P). A negative mean, share or x_m, or NaN anywhere, gives NaN for that pixel; impossible counts give
        -inf.

    Raises:
        InputError: arrays whose shapes do not fit together, counts beyond x or above `cpu.MOST_PHOTONS`.
        TypeError: an array is not float64.

    Source: the generating function of Malyshev & Hogg, ApJ 738 (2011) 181, in several variables; the factorisation and
    its gradient are ours.
    """
    require_few_photons(plan)
    point = _common_axes(plan, kinds, mean, templates, x, spectra)
    if callbacks.choose(backend) != "reference":
        return _pixels(kinds, plan, *point)
    terms = partial(reference.log_likelihood, plan, kinds)
    for _ in range(point[0].ndim - 2):
        terms = jax.vmap(terms)
    return terms(*point)


def require_few_photons(plan: JointPlan) -> None:
    """Refuse counts whose likelihood would take too long.

    Raises:
        InputError: names the largest count, and the remedies.
    """
    if isinstance(plan.totals.counts, np.ndarray) and plan.totals.max_count > cpu.MOST_PHOTONS:
        raise InputError(
            f"point sources of two different spectra: a pixel has {plan.totals.max_count} photons in all energy bins, "
            f"expected at most {cpu.MOST_PHOTONS}, since the likelihood costs the cube of them; give the sources one "
            "spectrum, mask the pixel, or use smaller pixels"
        )


def _common_axes(plan: JointPlan, kinds: Kinds, *arrays: jax.Array) -> Point:
    """The four arrays with the same leading axes, refused if the kernel would read beyond them."""
    given = dict(zip(("mean", "templates", "x", "spectra"), arrays, strict=True))
    expected = plan_axes(plan, len(kinds)) | {"spectra": (2, plan.totals.n_regions, plan.n_bins)}
    mean, templates, x, spectra = callbacks.common_axes(_NAME, given, expected)
    return mean, templates, x, spectra


def _host(kinds: Kinds, outputs: tuple[np.ndarray, ...], *inputs: np.ndarray) -> None:
    """Fill log p and, where there are outputs for it, the gradient."""
    *plan, mean, templates, x, spectra = inputs if len(outputs) == 1 else inputs[:-1]
    point = (flat(mean, 2), flat(templates, 2), flat(x, 3), flat(spectra, 3))
    log_p, of_populations = flat(outputs[0], 1), np.array(kinds, dtype=np.int64)
    bins, region, log_factorial = plan
    if len(outputs) == 1:
        cpu.evaluate(bins, region, log_factorial, of_populations, log_p, *point)
        return
    gradient = (flat(outputs[1], 2), flat(outputs[2], 2), flat(outputs[3], 3), flat(outputs[4], 3))
    cpu.evaluate(bins, region, log_factorial, of_populations, log_p, *point, flat(inputs[-1], 1), gradient)


def _call(kinds: Kinds, result: list[jax.ShapeDtypeStruct], plan: JointPlan, *point: jax.Array) -> Any:
    constants = plan.bins, plan.totals.region, plan.log_factorial
    return callbacks.call(_NAME, partial(_host, kinds), result, *point, constants=constants)


def _log_p(mean: jax.Array) -> jax.ShapeDtypeStruct:
    """The shape of log p, from that of the means."""
    return jax.ShapeDtypeStruct(mean.shape[:-2] + mean.shape[-1:], mean.dtype)


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _pixels(kinds: Kinds, plan: JointPlan, *point: jax.Array) -> jax.Array:
    return _call(kinds, [_log_p(point[0])], plan, *point)[0]


def _pixels_fwd(kinds: Kinds, plan: JointPlan, *point: jax.Array) -> tuple[jax.Array, tuple[Any, ...]]:
    """The gradient of each pixel's log p comes from the pass of its value, except what is summed over pixels."""
    return _pixels(kinds, plan, *point), (plan, *point)


def _pixels_rev(kinds: Kinds, kept: tuple[Any, ...], cotangent: jax.Array) -> tuple[None, *Point]:
    plan, *point = kept
    result = [_log_p(point[0]), *(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in point)]
    _, mean, templates, x, spectra = _call(kinds, result, plan, *point, cotangent)
    return None, mean, templates, x, spectra


_pixels.defvjp(_pixels_fwd, _pixels_rev)


@partial(reverse_only, _NAME)
def total_two_spectra_log_likelihood(
    plan: JointPlan, kinds: Kinds, mean: jax.Array, templates: jax.Array, x: jax.Array, spectra: jax.Array,
    *, backend: str = "auto",
) -> jax.Array:  # fmt: skip
    """Sum over pixels (...) of `two_spectra_log_likelihood`; value and gradient come from ONE pass of the kernel."""
    if callbacks.choose(backend) == "reference":
        return two_spectra_log_likelihood(plan, kinds, mean, templates, x, spectra, backend=backend).sum(axis=-1)
    require_few_photons(plan)
    return _total(kinds, plan, *_common_axes(plan, kinds, mean, templates, x, spectra))


@partial(jax.custom_vjp, nondiff_argnums=(0,))
def _total(kinds: Kinds, plan: JointPlan, *point: jax.Array) -> jax.Array:
    return _call(kinds, [_log_p(point[0])], plan, *point)[0].sum(axis=-1)


def _total_fwd(kinds: Kinds, plan: JointPlan, *point: jax.Array) -> tuple[jax.Array, Point]:
    log_p = _log_p(point[0])
    result = [log_p, *(jax.ShapeDtypeStruct(array.shape, array.dtype) for array in point)]
    found, *gradient = _call(kinds, result, plan, *point, jnp.ones(log_p.shape, log_p.dtype))
    return found.sum(axis=-1), tuple(gradient)


def _total_rev(_kinds: Kinds, gradient: Point, cotangent: jax.Array) -> tuple[None, *Point]:
    mean, templates, x, spectra = gradient
    by_two, by_three = cotangent[..., None, None], cotangent[..., None, None, None]
    return None, by_two * mean, by_two * templates, by_three * x, by_three * spectra


_total.defvjp(_total_fwd, _total_rev)
