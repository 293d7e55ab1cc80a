"""Lines of sight through a spherical profile at fixed angles, laid out once with NumPy.

Along a line of sight at the angle psi from the centre, radius = closest cosh(u) and ds = radius du, with the closest
approach R0 sin psi: smooth in u whatever the profile does at its centre. Two panels of Gauss-Legendre nodes meet at the
closest point. The angles are Chebyshev nodes in log psi, between which log J is a polynomial.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import ArrayLike, NDArray

from gammasky.engine.errors import InputError

Floats = NDArray[np.float64]

MIN_PSI_DEG = 1e-3  # the profile is flat inside: the square of a density may diverge at the centre
OUTER, INNER = 7, 8  # of the polynomials T_i(T_8(x)) T_j(x) that log J is a sum of
ANGLES = OUTER * INNER  # Chebyshev nodes in log psi
NODES = 64  # in each panel


@dataclass(frozen=True, eq=False)
class SpheroidSky:
    """Fixed geometry of `line_integral` for N pixels.

    Args:
        directions (3, N): unit vectors of the pixels: towards longitude 0, 90 deg, and the north pole.
        radius (Q, K) [kpc]: distance from the centre at Q nodes along the lines of sight at K angles.
        log_weight (Q, K): log ds [kpc].
        transform (K, K): from values at the angles to the coefficients of `polynomial`.
        middle, half: log psi [rad] of the middle of the range, and half its width.
        sun_kpc [kpc]: distance of the Sun from the centre.
    """

    directions: Floats
    radius: Floats
    log_weight: Floats
    transform: Floats
    middle: float
    half: float
    sun_kpc: float

    @classmethod
    def build(
        cls, lon_deg: ArrayLike, lat_deg: ArrayLike, *, sun_kpc: float = 8.224, max_distance_kpc: float = 100.0
    ) -> SpheroidSky:
        """Lay out the nodes for pixels at Galactic longitude and latitude.

        Args:
            lon_deg, lat_deg (N,) [deg]: pixel centres.
            sun_kpc [kpc]: distance of the Sun from the centre.
            max_distance_kpc [kpc]: where the lines of sight end.

        Raises:
            InputError: a direction or a length that cannot be used.
        """
        lon, lat = (np.deg2rad(np.asarray(angle, dtype=np.float64)) for angle in (lon_deg, lat_deg))
        if lon.ndim != 1 or lon.shape != lat.shape or not (np.isfinite(lon) & np.isfinite(lat)).all():
            raise InputError(
                f"SpheroidSky: lon_deg and lat_deg must be lists of equal length of finite numbers, got shapes "
                f"{lon.shape} and {lat.shape}"
            )
        if not 0 < sun_kpc < max_distance_kpc < np.inf:
            raise InputError(
                f"SpheroidSky: sun_kpc must be positive and below max_distance_kpc = {max_distance_kpc:g}, got "
                f"{sun_kpc:g}; give lengths in kpc"
            )
        directions = np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
        low, high = np.log(np.deg2rad(MIN_PSI_DEG)), np.log(np.pi)
        at = np.pi * (np.arange(ANGLES) + 0.5) / ANGLES
        middle, half = 0.5 * (low + high), 0.5 * (high - low)
        psi = np.exp(middle + half * np.cos(at))
        radius, log_weight = _nodes(psi, sun_kpc, max_distance_kpc)
        products = np.cos(np.arange(OUTER)[:, None, None] * INNER * at) * np.cos(np.arange(INNER)[:, None] * at)
        transform = np.linalg.inv(products.reshape(ANGLES, ANGLES).T)
        return cls(directions, radius, log_weight, transform, middle, half, sun_kpc)


def _nodes(psi: Floats, sun_kpc: float, end_kpc: float) -> tuple[Floats, Floats]:
    """Radii [kpc] and log ds at the nodes of lines of sight at the angles psi (K,), each (Q, K)."""
    tangent = sun_kpc * np.cos(psi)
    closest = sun_kpc * np.maximum(np.sin(psi), 1e-9)  # as it enters squared, less changes no digit
    start, end = np.arcsinh(-tangent / closest), np.arcsinh((end_kpc - tangent) / closest)
    split = np.clip(0.0, start, end)
    nodes, weights = np.polynomial.legendre.leggauss(NODES)
    parts = []
    for low, high in ((start, split), (split, end)):
        length = np.maximum(high - low, 1e-300)
        parts.append((low + 0.5 * (nodes[:, None] + 1.0) * length, 0.5 * weights[:, None] * length))
    u, du = (np.concatenate(pair) for pair in zip(*parts, strict=True))
    radius = closest * np.cosh(u)
    return radius, np.log(du * radius)
