"""Line-of-sight integrals of spheroids as operations of JAX.

Let the squared scaled radius be m^2 = x^2 + y^2 + (z / q)^2 about the centre, with the axis z at right angles to the
line from the Sun to the centre. Along a line of sight n it is a quadratic function of the distance s,

    m^2 = a s^2 - 2 R0 s cos psi + R0^2,        a = cos^2 psi + v^2 + (w / q)^2,

where cos psi, v and w are the components of n towards the centre, along the equator of the spheroid, and along its
axis. With t = sqrt(a) s this is a line of sight past a sphere at the distance R0, so that

    J = int f(m) ds = J_sphere(psi') / sqrt(a),        tan psi' = sqrt(v^2 + (w / q)^2) / cos psi.

J_sphere hangs on one angle alone: log J is worked out at Chebyshev nodes in log psi by quadrature, and the polynomial
between them is evaluated at the angle of every pixel. Lines of sight end at t = `max_distance_kpc`.

Everything is plain JAX, on CPU and GPU alike: reverse and forward mode, second order, vmap and jit work.
"""

from __future__ import annotations

from collections.abc import Callable

import jax
import jax.numpy as jnp
import numpy as np
from jax.scipy.special import logsumexp
from jax.typing import ArrayLike

from gammasky.engine.kernels.spheroid.geometry import INNER, MIN_PSI_DEG, OUTER, SpheroidSky


def line_integral(
    log_emissivity: Callable[[jax.Array], jax.Array],
    axis_ratio: ArrayLike,
    tilt_deg: ArrayLike,
    centre_lon_deg: ArrayLike,
    centre_lat_deg: ArrayLike,
    sky: SpheroidSky,
) -> jax.Array:
    """Integral of a spheroid's emissivity along the line of sight of every pixel.

    Args:
        log_emissivity: log f of the scaled radius (...) [kpc], smooth above 0.
        axis_ratio: q, the length of the axis over that of the equator's radius, a scalar above 0.
        tilt_deg [deg]: position angle of the axis on the sky, from Galactic north towards positive longitudes.
        centre_lon_deg, centre_lat_deg [deg]: the centre.
        sky: pixels and nodes.

    Returns:
        (N,) [kpc times the unit of f]: the integral; within 0.001 deg of the centre, that at 0.001 deg.
    """
    at_angles = logsumexp(sky.log_weight + log_emissivity(jnp.asarray(sky.radius)), axis=0)
    x, y, z = sky.directions
    towards, equator, axis = in_frame(x, y, z, tilt_deg, centre_lon_deg, centre_lat_deg)
    across = jnp.maximum(equator**2 + (axis / axis_ratio) ** 2, np.deg2rad(MIN_PSI_DEG) ** 2)
    angle = jnp.arctan2(jnp.sqrt(across), towards)
    place = (jnp.log(angle) - sky.middle) / sky.half
    coefficients = (jnp.asarray(sky.transform) @ at_angles).reshape(OUTER, INNER)
    return jnp.exp(polynomial(coefficients, place)) / jnp.sqrt(towards**2 + across)


def in_frame(
    x: jax.Array, y: jax.Array, z: jax.Array, tilt_deg: ArrayLike, centre_lon_deg: ArrayLike, centre_lat_deg: ArrayLike
) -> tuple[jax.Array, jax.Array, jax.Array]:
    """Components of vectors from the Sun towards the centre of a spheroid, along its equator, and along its axis.

    Args:
        x, y, z (...): components towards longitude 0, towards longitude 90 deg, and towards the north pole.
        tilt_deg, centre_lon_deg, centre_lat_deg [deg]: as of `line_integral`.
    """
    lon, lat, tilt = (jnp.deg2rad(jnp.asarray(angle)) for angle in (centre_lon_deg, centre_lat_deg, tilt_deg))
    forward, east = x * jnp.cos(lon) + y * jnp.sin(lon), y * jnp.cos(lon) - x * jnp.sin(lon)
    towards, north = forward * jnp.cos(lat) + z * jnp.sin(lat), z * jnp.cos(lat) - forward * jnp.sin(lat)
    equator, axis = east * jnp.cos(tilt) - north * jnp.sin(tilt), north * jnp.cos(tilt) + east * jnp.sin(tilt)
    return towards, equator, axis


def polynomial(coefficients: jax.Array, x: jax.Array) -> jax.Array:
    """sum_ij coefficients_ij T_i(T_J(x)) T_j(x) for coefficients (I, J) and x (N,) from -1 to 1.

    These products span the polynomials of degree below I J, and it takes I + J of them to know all.
    """
    outer, inner = coefficients.shape
    fine = _chebyshev(x, inner + 1)
    coarse = _chebyshev(fine[inner], outer)
    total = jnp.zeros_like(x)
    for i in range(outer):  # one pass over x for all: faster than a product of matrices
        total += coarse[i] * sum((coefficients[i, j] * fine[j] for j in range(1, inner)), coefficients[i, 0] * fine[0])
    return total


def _chebyshev(x: jax.Array, count: int) -> list[jax.Array]:
    """T_0 .. T_{count - 1} at x."""
    found = [jnp.ones_like(x), x]
    while len(found) < count:
        found.append(2.0 * x * found[-1] - found[-2])
    return found[:count]


def log_nfw_squared(radius: jax.Array, gamma: jax.Array | float, scale_radius_kpc: jax.Array | float) -> jax.Array:
    """log rho^2 of the generalised NFW density, rho = (r / r_s)^-gamma (1 + r / r_s)^(gamma - 3)."""
    x = radius / scale_radius_kpc
    return 2.0 * gamma * jnp.log1p(1.0 / x) - 6.0 * jnp.log1p(x)


def log_einasto_squared(radius: jax.Array, alpha: jax.Array | float, scale_radius_kpc: jax.Array | float) -> jax.Array:
    """log rho^2 of the Einasto density, rho = exp(-(2 / alpha) ((r / r_s)^alpha - 1)); astro-ph/0509417, eq. 6."""
    return -4.0 / alpha * ((radius / scale_radius_kpc) ** alpha - 1.0)
