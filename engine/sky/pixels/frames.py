"""Galactic and equatorial coordinates, and unit vectors between them.

Equatorial means ICRS; FK5 at J2000 differs from it by 0.023 arcseconds and is taken for the same.
"""

from __future__ import annotations

from functools import cache
from typing import Literal

import numpy as np

Frame = Literal["galactic", "equatorial"]


@cache
def _to_galactic() -> np.ndarray:
    """The matrix that takes an equatorial unit vector (3,) to a Galactic one."""
    from astropy.coordinates import SkyCoord

    axes = SkyCoord(*np.eye(3), representation_type="cartesian", frame="icrs").galactic.cartesian
    return np.stack([axes.x.value, axes.y.value, axes.z.value])


def rotated(vectors: np.ndarray, of: Frame, to: Frame) -> np.ndarray:
    """Unit vectors (..., 3) of the frame `of`, in the frame `to`."""
    if of == to:
        return np.asarray(vectors)
    matrix = _to_galactic() if to == "galactic" else _to_galactic().T
    return np.asarray(vectors) @ matrix.T


def vectors_of(lon_deg: np.ndarray, lat_deg: np.ndarray) -> np.ndarray:
    """Unit vectors (..., 3) of positions in degrees."""
    lon, lat = np.deg2rad(lon_deg), np.deg2rad(lat_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)], axis=-1)


def lonlat_of(vectors: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Longitude in (-180, 180] and latitude [deg] of vectors (..., 3)."""
    x, y, z = np.moveaxis(np.asarray(vectors), -1, 0)
    lon = np.rad2deg(np.arctan2(y, x))
    return np.where(lon <= -180.0, 180.0, lon), np.rad2deg(np.arctan2(z, np.hypot(x, y)))


def in_frame(lon_deg: np.ndarray, lat_deg: np.ndarray, of: Frame, to: Frame) -> tuple[np.ndarray, np.ndarray]:
    """Positions [deg] of the frame `of`, in the frame `to`; longitude in (-180, 180]."""
    if of == to:
        lon = np.asarray(lon_deg, dtype=np.float64)
        return lon - 360.0 * np.ceil((lon - 180.0) / 360.0), np.asarray(lat_deg, dtype=np.float64)
    return lonlat_of(rotated(vectors_of(lon_deg, lat_deg), of, to))
