"""Intensities of Galactic emission: line-of-sight integrals on a coarse (l, b) grid, brought to HEALPix by splines."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np

from gammasky.engine.sky.demo import SUN_KPC
from gammasky.engine.sky.pixels import HealpixPixels

#: density at Galactocentric x (from the centre to the Sun), y (towards l = 90 deg), z [kpc]
Density = Callable[[np.ndarray, np.ndarray, np.ndarray], np.ndarray]

FARTHEST_KPC = 40.0
NODES = 72  # on each side of the point closest to the Galactic Centre
# fine towards the plane and the centre, where the emission is steep [deg]
LONGITUDES = np.concatenate([np.arange(0, 10, 0.5), np.arange(10, 40, 1.0), np.arange(40, 180.1, 4.0)])
LATITUDES = np.concatenate([np.arange(0, 3, 0.15), np.arange(3, 15, 0.5), np.arange(15, 90.1, 2.5)])


def line_of_sight_map(density: Density, nside: int, *, axisymmetric: bool = True) -> np.ndarray:
    """int density ds (npix,) at the pixel centres, RING order.

    Args:
        density: positive, and the same at z and -z; returns [1/kpc], say.
        nside: of the map.
        axisymmetric: the same at l and -l too.
    """
    from scipy.interpolate import RectBivariateSpline

    lon, lat = HealpixPixels(nside).galactic
    nodes = LONGITUDES if axisymmetric else np.concatenate([-LONGITUDES[:0:-1], LONGITUDES])
    log_intensity = np.log(_integrals(density, nodes, LATITUDES))
    spline = RectBivariateSpline(nodes, LATITUDES, log_intensity)
    return np.exp(spline.ev(np.abs(lon) if axisymmetric else lon, np.abs(lat)))


def _integrals(density: Density, lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
    """int_0^40 kpc density ds (L, B) for every longitude (L,) and latitude (B,) [deg].

    Tanh-sinh quadrature from the Sun to the point closest to the centre and on from there: its nodes crowd at the ends
    of an interval, which is where a thin disk (near the Sun) and a bulge (near the closest point) need them.
    """
    lon, lat = np.deg2rad(lon_deg)[:, None, None], np.deg2rad(lat_deg)[None, :, None]
    closest = np.clip(SUN_KPC * np.cos(lon) * np.cos(lat), 0.0, FARTHEST_KPC)
    share, weight = _tanh_sinh(NODES)
    total = np.zeros(closest.shape[:2])
    for start, length in ((np.zeros_like(closest), closest), (closest, FARTHEST_KPC - closest)):
        s = start + length * share
        in_plane = s * np.cos(lat)
        values = density(SUN_KPC - in_plane * np.cos(lon), in_plane * np.sin(lon), s * np.sin(lat))
        total += length[..., 0] * (values @ weight)
    return total


def _tanh_sinh(count: int) -> tuple[np.ndarray, np.ndarray]:
    """Nodes and weights (count,) on [0, 1] of the double exponential rule (Takahasi & Mori 1974)."""
    t, step = np.linspace(-3.0, 3.0, count, retstep=True)
    inner = 0.5 * np.pi * np.sinh(t)
    share = 1.0 / (1.0 + np.exp(-2.0 * inner))  # (1 + tanh) / 2 without cancellation at 0
    return share, step * 0.25 * np.pi * np.cosh(t) / np.cosh(inner) ** 2
