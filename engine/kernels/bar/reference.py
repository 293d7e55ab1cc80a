"""The bar in plain JAX: tanh-sinh quadrature between the kinks of every line of sight, derivatives by autodiff.

Slow and simple. The density is written down as in the paper, with powers instead of logarithms, and the quadrature is
not that of `lines`; both cut the line where the density has kinks.
"""

from __future__ import annotations

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.kernels.bar.geometry import FALLOFFS, BarSky

Floats = NDArray[np.float64]

STEP, REACH = 0.07, 3.0  # of the tanh-sinh rule: 87 nodes on a panel
FARTHEST_KPC, BEYOND_CUT = 60.0, 7.0


def bar(point: jax.Array, sky: BarSky) -> jax.Array:
    """int f(r_s) cut(R) ds; point (..., 8) in the order of `geometry.PARAMETERS` to (..., N)."""
    flat = point.reshape(-1, point.shape[-1])
    per_line = jax.lax.map(lambda one: _lines(one, sky), flat)
    outside = jnp.where(_inside(flat), 0.0, jnp.nan)[:, None] + 0.0 * flat.sum(axis=-1, keepdims=True)
    return (per_line + outside).reshape(*point.shape[:-1], -1)[..., sky.groups.inverse]


def _inside(point: jax.Array) -> jax.Array:
    """Whether these are the parameters of a bar."""
    positive = (point[..., 4] > 0) & (point[..., 5] > 0) & (point[..., 6] >= 0) & (point[..., 7] > 0)
    return positive & jnp.isfinite(point).all(axis=-1)


def _lines(point: jax.Array, sky: BarSky) -> jax.Array:
    """The integral (U,) on every line."""
    angle, log_x, log_y, log_z, perp, par, begin, width = point
    sun, height, cos_pitch, sin_pitch = sky.frame
    lon, lat = sky.lon_rad[:, None], sky.lat_rad[:, None]
    s, weight = _nodes(_edges(jax.lax.stop_gradient(point), sky))
    x, y = sun - s * jnp.cos(lat) * jnp.cos(lon), s * jnp.cos(lat) * jnp.sin(lon)
    z = s * jnp.sin(lat) + height
    in_plane, across = x * jnp.cos(angle) + y * jnp.sin(angle), y * jnp.cos(angle) - x * jnp.sin(angle)
    along, above = in_plane * cos_pitch + z * sin_pitch, z * cos_pitch - in_plane * sin_pitch
    in_units = [jnp.maximum(jnp.abs(v), 1e-60) / jnp.exp(length) for v, length in
                ((along, log_x), (across, log_y), (above, log_z))]  # fmt: skip
    perpendicular = (in_units[0] ** perp + in_units[1] ** perp) ** (1.0 / perp)
    radius = (perpendicular**par + in_units[2] ** par) ** (1.0 / par)
    excess = jnp.maximum(jnp.hypot(x, y) - begin, 0.0) / width
    return jnp.sum(weight * falloff(radius, FALLOFFS[sky.falloff]) * jnp.exp(-(excess**2)), axis=-1)


def falloff(r: jax.Array, name: str) -> jax.Array:
    """The density at radius r in units of the scale lengths."""
    if name == "sech2":
        return 4.0 * jnp.exp(-2.0 * r) / (1.0 + jnp.exp(-2.0 * r)) ** 2
    if name == "exponential":
        return jnp.exp(-r)
    if name == "gaussian":
        return jnp.exp(-0.5 * r**2)
    # K_0(r) = int exp(-r cosh t) dt by the trapezoidal rule, to 1e-12 for r above 1e-3
    t = jnp.linspace(0.0, 11.0, 111)[:, None, None]
    return 0.1 * (jnp.sum(jnp.exp(-r * jnp.cosh(t)), axis=0) - 0.5 * jnp.exp(-r))


def _edges(point: jax.Array, sky: BarSky) -> jax.Array:
    """Where each line begins, has kinks and ends (U, 7) [kpc]."""
    angle, begin, width = point[0], point[6], point[7]
    sun, height, cos_pitch, sin_pitch = sky.frame
    cl, sl, cb, sb = jnp.cos(sky.lon_rad), jnp.sin(sky.lon_rad), jnp.cos(sky.lat_rad), jnp.sin(sky.lat_rad)
    closest = jnp.where(cl > 0, sun * jnp.abs(sl), sun)
    end = jnp.hypot(jnp.maximum(closest - begin, 0.0), BEYOND_CUT * width) + begin
    kinks = []
    for radius in (end, begin):
        chord = jnp.sqrt(jnp.maximum(radius**2 - (sun * sl) ** 2, 0.0))
        kinks += [(sun * cl - chord) / cb, (sun * cl + chord) / cb]
    in_plane = (sun * jnp.cos(angle), cb * (sl * jnp.sin(angle) - cl * jnp.cos(angle)))
    kinks.append(-(in_plane[0] * cos_pitch + height * sin_pitch) / (in_plane[1] * cos_pitch + sb * sin_pitch))
    kinks.append(sun * jnp.sin(angle) / (cb * (sl * jnp.cos(angle) + cl * jnp.sin(angle))))
    vertical = sb * cos_pitch - in_plane[1] * sin_pitch
    kinks.append(jnp.where(vertical == 0, 0.0, (in_plane[0] * sin_pitch - height * cos_pitch) / vertical))
    start, stop = (jnp.clip(kinks[i], 0.0, FARTHEST_KPC) for i in (0, 1))
    return jnp.sort(jnp.stack([start, stop, *(jnp.clip(kink, start, stop) for kink in kinks[2:])], axis=-1), axis=-1)


def _nodes(edges: jax.Array) -> tuple[jax.Array, jax.Array]:
    """Distances and weights (U, nodes) of the tanh-sinh rule on every panel."""
    t = np.arange(-REACH, REACH + STEP / 2, STEP)
    place = 1.0 / (1.0 + np.exp(-np.pi * np.sinh(t)))
    weight = STEP * np.pi * np.cosh(t) * place * (1.0 - place)
    low, length = edges[:, :-1, None], jnp.diff(edges, axis=1)[..., None]
    distance = low + length * place
    return distance.reshape(edges.shape[0], -1), (length * weight).reshape(edges.shape[0], -1)
