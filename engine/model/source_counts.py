"""Source-count functions dN/dS on a fixed grid of S: broken power laws with any number of breaks, and free ones."""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import ArrayLike, NDArray


def absolute_breaks(breaks: Sequence[jax.Array], relative: bool) -> list[jax.Array]:
    """Breaks [counts], the highest first; with `relative`, each but the first is a factor of the one before."""
    if not relative:
        return list(breaks)
    absolute = [breaks[0]]
    for factor in breaks[1:]:
        absolute.append(absolute[-1] * factor)
    return absolute


def broken_power_law(s: jax.Array, slopes: Sequence[jax.Array], breaks: Sequence[jax.Array]) -> jax.Array:
    """Continuous broken power law, 1 at the highest break.

        dN/dS ~ S^-n1 above b1, S^-n2 between b2 and b1, ..., S^-n_{k+1} below b_k

    Args:
        s (S,) [counts]: where to evaluate.
        slopes: n1 .. n_{k+1}, from above the highest break to below the lowest.
        breaks: b1 > b2 > ... > b_k [counts].

    Returns:
        dN/dS (S,) relative to its value at b1.

    Source: arXiv:2604.08648; for k = 1 NPTFit (arXiv:1612.03173), eq. 2.
    """
    log_s, knots = jnp.log(s), [jnp.log(b) for b in breaks]
    ends = [*knots[1:], jnp.asarray(-jnp.inf)]
    total = -slopes[0] * jnp.maximum(log_s - knots[0], 0.0)
    for slope, upper, lower in zip(slopes[1:], knots, ends, strict=True):
        total = total + slope * (upper - jnp.clip(log_s, lower, upper))
    return jnp.exp(total)


def spline_matrix(s: ArrayLike, nodes: ArrayLike, degree: int) -> NDArray[np.float64]:
    """Values at s (S,) of the spline in log s through nodes (n,), as a matrix (S, n) for the values there.

    Degree 1 joins the nodes by straight lines, degree 3 is the natural cubic spline; beyond the nodes both go on
    straight.
    """
    from scipy.interpolate import CubicSpline, make_interp_spline

    x, knots = np.log(np.asarray(s, dtype=np.float64)), np.log(np.asarray(nodes, dtype=np.float64))
    unit = np.eye(knots.size)
    spline = make_interp_spline(knots, unit, k=1) if degree == 1 else CubicSpline(knots, unit, bc_type="natural")
    inside = np.clip(x, knots[0], knots[-1])
    # at the last knot the slope is that from the left
    ends = np.where(x < knots[0], knots[0], np.nextafter(knots[-1], knots[0]))
    slope = spline.derivative()(ends)
    return np.asarray(spline(inside) + slope * (x - inside)[:, None])


def free_form(s: jax.Array, matrix: jax.Array, values: jax.Array) -> jax.Array:
    """dN/dS (S,) of which log10(S^2 dN/dS) has these values (n,) at the nodes of `matrix` (S, n)."""
    return 10.0 ** (matrix @ values) / s**2
