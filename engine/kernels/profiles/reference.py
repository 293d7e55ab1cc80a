"""The two profiles in plain JAX: dense composite Gauss-Legendre along every line of sight, derivatives by autodiff.

Slow and simple. Panels double in size away from the Sun and away from the point closest to the Galactic Centre, in
distance itself, so the quadrature shares nothing with the one in `geometry.py`.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky

Floats = NDArray[np.float64]

POINTS = 16  # Gauss-Legendre points per panel
DOUBLINGS = 22  # panels on each side of the closest point and from the Sun outwards

FARTHEST_KPC = 1e4  # end of lines of sight towards the Galactic poles, far above any disk


def nfw_squared(gamma: jax.Array, sky: NFWSky) -> jax.Array:
    """J(psi; gamma) = int rho^2 ds, rho = (r / r_s)^-gamma (1 + r / r_s)^(gamma - 3); (...) to (..., N)."""
    closest, tangent = sky.sun_kpc * np.sin(sky.psi_rad), sky.sun_kpc * np.cos(sky.psi_rad)
    distance, weight = _line_nodes(tangent, closest, np.full_like(tangent, sky.max_distance_kpc))
    x = np.hypot(distance - tangent[:, None], closest[:, None]) / sky.scale_radius_kpc
    slope = jnp.asarray(gamma)[..., None, None]
    outside = 0.0 * gamma  # NaN where gamma is NaN or infinite, else 0
    density = x**-slope * (1.0 + x) ** (slope - 3.0)
    per_line = jnp.sum(weight * density**2, axis=-1) * (1.0 + outside[..., None])
    return per_line[..., sky.groups.inverse]


def lorimer_disk(scale_height: jax.Array, C: jax.Array, B: jax.Array, sky: DiskSky) -> jax.Array:
    """int (R / R0)^B exp(-C (R - R0) / R0) exp(-|z| / z_s) ds; broadcast shapes (...) to (..., N)."""
    lon, lat = sky.lon_rad[:, None], sky.lat_rad[:, None]
    end = np.minimum(sky.max_distance_kpc / np.cos(sky.lat_rad), FARTHEST_KPC)
    tangent = sky.sun_kpc * np.cos(sky.lon_rad) / np.cos(sky.lat_rad)
    closest = sky.sun_kpc * np.abs(np.sin(sky.lon_rad)) / np.cos(sky.lat_rad)
    distance, weight = _line_nodes(tangent, closest, end)
    ratio = np.hypot(distance * np.cos(lat) / sky.sun_kpc - np.cos(lon), np.sin(lon))
    height = distance * np.sin(lat)
    scale_height, C, B = jnp.broadcast_arrays(scale_height, C, B)
    outside = 0.0 * (jnp.log(scale_height) + C + B)  # NaN outside the domain, else 0
    zs, shape, power = (value[..., None, None] for value in (scale_height, C, B))
    density = ratio**power * jnp.exp(-shape * (ratio - 1.0) - height / zs)
    per_line = jnp.sum(weight * density, axis=-1) * (1.0 + outside[..., None])
    return per_line[..., sky.groups.inverse]


def _line_nodes(tangent: Floats, closest: Floats, end: Floats) -> tuple[Floats, Floats]:
    """Distances and weights (U, nodes) of the composite rule from 0 to `end`.

    Args:
        tangent (U,) [kpc]: distance of the point closest to the Galactic Centre, negative when behind the Sun.
        closest (U,) [kpc]: how close; sets the size of the smallest panels there.
        end (U,) [kpc]: end of the line of sight.
    """
    doubling = 2.0 ** np.arange(DOUBLINGS)
    around = np.maximum(closest, 1e-7 * end)[:, None] * doubling
    from_sun = end[:, None] * 2.0 ** -np.arange(DOUBLINGS)
    edges = np.concatenate(
        [np.zeros_like(end)[:, None], from_sun, tangent[:, None], tangent[:, None] - around, tangent[:, None] + around],
        axis=1,
    )
    edges = np.sort(np.clip(edges, 0.0, end[:, None]), axis=1)
    nodes, weights = np.polynomial.legendre.leggauss(POINTS)
    half = 0.5 * np.diff(edges, axis=1)[..., None]
    distance = edges[:, :-1, None] + half * (1.0 + nodes)
    return distance.reshape(end.size, -1), (half * weights).reshape(end.size, -1)
