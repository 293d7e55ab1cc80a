"""The fixed functions that a field is a sum of, and how much of each its prior asks for.

A stationary Gaussian process on the plane with kernel k is, in a box with sides 2 L_x and 2 L_y,

    g(x, y) = sum_ij z_ij sqrt(S(w_ij)) phi_ij(x, y),    phi_ij = s_i(x; L_x) s_j(y; L_y),
    s_i(x; L) = sin(i pi (x + L) / 2 L) / sqrt(L),    w_ij^2 = (i pi / 2 L_x)^2 + (j pi / 2 L_y)^2,

with z ~ N(0, 1) and the spectral density S of k (Solin & Saerkkae 2020, Stat. Comput. 30, 419, equations 17 and 20):
the functions stay the same whatever amplitude and length are. All of them vanish at the sides of the box, which must
therefore lie away from the region, and they hold the kernel only as far as its waves are no shorter than theirs. How
far is told by Riutort-Mayol et al. 2023 (Stat. Comput. 33, 17, section 4.2) for functions of one variable; here both
limits are set by the share of the variance of g that may be missing, a tenth, in two dimensions.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
from numpy.typing import NDArray

from gammasky.engine.sky.pixels.frames import vectors_of

Floats = NDArray[np.float64]
MISSING = 0.1  # share of the variance of g that the basis may leave out
FARTHEST_DEG = 60.0  # of a pixel from the middle of the region, beyond which the plane is none

#: nu of each kernel of the Matern family; the squared exponential is its limit.
SMOOTHNESS = {"matern32": 1.5, "matern52": 2.5, "squared_exponential": math.inf}
#: Distance of the sides of the box from the region in units of the length: k(2 d) = `MISSING`.
MARGIN = {"matern32": 1.123, "matern52": 1.107, "squared_exponential": 1.073}


def root_density(kernel: str, scaled: jax.Array) -> jax.Array:
    """sqrt(S / (2 pi l^2)) of a kernel of unit variance in two dimensions, at w l.

    S(w) = 2 pi l^2 (1 + (w l)^2 / 2 nu)^-(nu + 1); of the squared exponential 2 pi l^2 exp(-(w l)^2 / 2)
    (Rasmussen & Williams 2006, section 4.2).
    """
    nu = SMOOTHNESS[kernel]
    if math.isinf(nu):
        return jnp.exp(-0.25 * scaled**2)
    return (1.0 + scaled**2 / (2.0 * nu)) ** (-0.5 * (nu + 1.0))


def reach(kernel: str) -> float:
    """w l beyond which all waves together have the share `MISSING` of the variance: (1 + (w l)^2 / 2 nu)^-nu."""
    nu = SMOOTHNESS[kernel]
    if math.isinf(nu):
        return math.sqrt(-2.0 * math.log(MISSING))
    return math.sqrt(2.0 * nu * (MISSING ** (-1.0 / nu) - 1.0))


@dataclass(frozen=True)
class Box:
    """The box around a region, in the equal-area projection of Lambert about the middle of the region.

    Distances in the projection are those on the sky to 1 % within 16 deg of the middle, to 2.5 % within 25 deg.

    Attributes:
        lon_deg, lat_deg: the middle of the region.
        centre (2,) [deg]: the middle of the box in the projection.
        half (2,) [deg]: half the sides of the region.
        side (2,) [deg]: half the sides of the box, L_x and L_y.
    """

    lon_deg: float
    lat_deg: float
    centre: tuple[float, float]
    half: tuple[float, float]
    side: tuple[float, float]

    @classmethod
    def around(cls, lon_deg: Floats, lat_deg: Floats, margin_deg: float) -> Box:
        """The box whose sides are `margin_deg` away from all positions (N,)."""
        x, y, z = vectors_of(lon_deg, lat_deg).mean(axis=0)
        lon, lat = math.degrees(math.atan2(y, x)), math.degrees(math.atan2(z, math.hypot(x, y)))
        places = _projected(lon_deg, lat_deg, lon, lat)
        low, high = places.min(axis=1), places.max(axis=1)
        centre, half = 0.5 * (low + high), np.maximum(0.5 * (high - low), 1e-6)
        pairs = [(float(pair[0]), float(pair[1])) for pair in (centre, half, half + margin_deg)]
        return cls(lon, lat, *pairs)

    def farthest_deg(self, lon_deg: Floats, lat_deg: Floats) -> float:
        """The largest angle between the middle and any of the positions (N,) [deg]."""
        cosines = vectors_of(lon_deg, lat_deg) @ vectors_of(np.array(self.lon_deg), np.array(self.lat_deg))
        return math.degrees(math.acos(min(1.0, max(-1.0, float(cosines.min())))))

    def sines(self, modes: int, lon_deg: Floats, lat_deg: Floats) -> Floats:
        """phi_ij (modes^2, N) [1 / deg] at N positions, j running fastest; 0 beyond the box."""
        places = _projected(lon_deg, lat_deg, self.lon_deg, self.lat_deg) - np.array(self.centre)[:, None]
        number = np.arange(1, modes + 1)[:, None]
        along = [
            np.sin(0.5 * np.pi * number * (np.clip(place, -side, side) + side) / side) / math.sqrt(side)
            for place, side in zip(places, self.side, strict=True)
        ]
        return np.asarray((along[0][:, None] * along[1][None]).reshape(modes**2, -1))

    def frequencies(self, modes: int) -> Floats:
        """w_ij (modes^2,) [rad / deg], in the same order."""
        along = [0.5 * np.pi * np.arange(1, modes + 1) / side for side in self.side]
        return np.asarray(np.hypot(along[0][:, None], along[1][None]).ravel())

    def shortest_deg(self, kernel: str, modes: int) -> float:
        """The shortest length [deg] of which so many sines along each side hold all but a tenth of the variance."""
        return reach(kernel) * 2.0 * max(self.side) / (np.pi * modes)

    def modes_for(self, kernel: str, length_deg: float) -> int:
        """How many sines along each side a length needs."""
        return math.ceil(reach(kernel) * 2.0 * max(self.side) / (np.pi * length_deg))

    def most_modes(self, wavelength_deg: float) -> int | None:
        """How many sines along each side have waves no shorter than `wavelength_deg`; None: any number.

        The shortest waves of so many are those of the mode that has the last sine along both sides.
        """
        return (
            None
            if wavelength_deg <= 0
            else math.floor(4.0 / (math.hypot(*(1.0 / np.array(self.side))) * wavelength_deg))
        )


def _projected(lon_deg: Floats, lat_deg: Floats, middle_lon: float, middle_lat: float) -> Floats:
    """x to the east and y to the north (2, N) [deg] in Lambert's equal-area projection about the middle."""
    lon, lat, at = np.deg2rad(lon_deg - middle_lon), np.deg2rad(lat_deg), math.radians(middle_lat)
    east = np.cos(lat) * np.sin(lon)
    north = math.cos(at) * np.sin(lat) - math.sin(at) * np.cos(lat) * np.cos(lon)
    cosine = math.sin(at) * np.sin(lat) + math.cos(at) * np.cos(lat) * np.cos(lon)
    return np.asarray(np.rad2deg(np.sqrt(2.0 / np.maximum(1.0 + cosine, 1e-12)) * np.stack([east, north])))


def orders(l_max: int) -> list[tuple[int, int]]:
    """(l, m) of the real spherical harmonics of degree 1 to l_max: m = -l .. l, the sines negative."""
    return [(degree, order) for degree in range(1, l_max + 1) for order in range(-degree, degree + 1)]


def real_harmonics(l_max: int, lon_deg: Floats, lat_deg: Floats) -> Floats:
    """The real, orthonormal spherical harmonics (orders, N) of these orders at N positions."""
    from scipy.special import sph_harm_y

    polar, azimuth = np.deg2rad(90.0 - lat_deg), np.deg2rad(lon_deg)
    found = np.empty((len(orders(l_max)), len(lon_deg)))
    for row, (degree, order) in enumerate(orders(l_max)):
        value: Any = sph_harm_y(degree, abs(order), polar, azimuth)
        scale = (-1.0) ** order * math.sqrt(2.0) if order else 1.0
        found[row] = scale * (value.imag if order < 0 else value.real)
    return found


def root_power(degrees: jax.Array, slope: jax.Array, l_max: int) -> jax.Array:
    """sqrt(C_l) (orders,) of C_l ~ l^-slope, with which a field has unit variance: sum_l (2 l + 1) C_l = 4 pi."""
    every = jnp.arange(1.0, l_max + 1.0)
    total = jnp.sum((2.0 * every + 1.0) * every**-slope)
    return jnp.sqrt(4.0 * jnp.pi / total) * degrees ** (-0.5 * slope)
