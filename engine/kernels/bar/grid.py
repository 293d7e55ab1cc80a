"""A grid of lines of sight between which the bar's map is interpolated, where pixels are many and the Sun in the plane.

log B is smooth in longitude but for two places: l = 0, where lines of sight pass the bar's axis, and |l| = l_cut =
asin(R_end / R0), where they touch the cylinder at which the cut-off begins; there it goes like |l - l_cut|^(5/2). So
longitudes are laid out between these places for every parameter point anew, closer towards them: uniform in
arccos(1 - 2 |l| / l_cut) within, and in l beyond. Latitudes are fixed, and uniform in |b|^(1/3). Between them runs the
Lagrange polynomial through the POINTS nearest nodes in either direction, for log B and for each of its derivatives.
"""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.bar.quadrature import LANES, smooth_step

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

POINTS = 8
LONGITUDES, WITHIN = 4 * LANES, 3 * LANES  # in all, and up to l_cut where some lie beyond
STEP_LAT = 0.075  # of |b|^(1/3) in degrees
NODES = 28, 16  # on panels where the bar is not cut off, and where it is
LARGEST_DEG = 40.0  # of |l| and |b|
LEAST_BEND = 0.4  # of the largest |l|: the least l_cut

_DENOMINATOR = np.array([np.prod([j - m for m in range(POINTS) if m != j]) for j in range(POINTS)], dtype=np.float64)


class Grid(NamedTuple):
    """Latitudes of the grid, and where U lines of sight lie on it.

    Args:
        lon_end [rad]: the largest |l|.
        log_tan, cosine (blocks, LANES): of the latitudes b.
        lon (U,) [rad]: of the lines.
        first (U,): the first of the POINTS latitudes between which a line lies.
        weight (U, POINTS): their weights.
        step, step_outside (2, nodes): p(t) and its quadrature weight as in `BarSky`, on the panels of a line of sight
            and on the first and the last, which lie where the cut-off is at work.
    """

    lon_end: float
    log_tan: Floats
    cosine: Floats
    lon: Floats
    first: Integers
    weight: Floats
    step: Floats
    step_outside: Floats

    @classmethod
    def of(cls, lon_rad: Floats, lat_rad: Floats) -> Grid | None:
        """The grid for these lines, b >= 0; None where it has more of them, or they lie too far out."""
        t = np.cbrt(np.degrees(lat_rad))
        end, low, high = float(np.abs(lon_rad).max()), float(t.min()), float(t.max())
        blocks = int(np.ceil((high - low) / (STEP_LAT * LANES)))
        too_far = max(end, float(lat_rad.max())) > np.radians(LARGEST_DEG)
        if too_far or blocks * LANES * LONGITUDES > lon_rad.size or end == 0.0 or low == high:
            return None
        lat = np.radians(np.linspace(low, high, blocks * LANES) ** 3).reshape(blocks, LANES)
        first, weight = _stencils((t - low) / (high - low) * (lat.size - 1), lat.size)
        return cls(
            end, np.log(np.maximum(np.tan(lat), 1e-30)), np.cos(lat), lon_rad, first, weight, *map(smooth_step, NODES)
        )

    @property
    def n_latitudes(self) -> int:
        return self.log_tan.size


def _stencils(places: Floats, nodes: int) -> tuple[Integers, Floats]:
    """First nodes (U,) and weights (U, POINTS) at places (U,) among nodes 0, 1, ..., nodes - 1."""
    first, weight = np.empty(places.size, dtype=np.int64), np.empty((places.size, POINTS))
    for i, place in enumerate(places):
        first[i] = stencil(place, nodes, weight[i])
    return first, weight


@njit(**policy.COMPILE)
def stencil(place: float, nodes: int, weight: Floats) -> int:
    """First of the POINTS of the nodes 0, 1, ..., nodes - 1 around `place`; their weights (POINTS,) are written."""
    first = min(max(int(np.floor(place)) - POINTS // 2 + 1, 0), nodes - POINTS)
    for j in range(POINTS):
        product = 1.0
        for m in range(POINTS):
            if m != j:
                product *= place - first - m
        weight[j] = product / _DENOMINATOR[j]
    return first


@njit(**policy.COMPILE)
def bend(cut_radius: float, sun: float, lon_end: float) -> float:
    """l_cut [rad], kept within the grid."""
    return float(min(max(np.arcsin(min(cut_radius / sun, 1.0)), LEAST_BEND * lon_end), lon_end))


@njit(**policy.COMPILE)
def within(l_cut: float, lon_end: float) -> int:
    """How many of the nodes lie from -l_cut to l_cut; the last of them stands there twice."""
    return WITHIN if l_cut < lon_end else LONGITUDES


@njit(**policy.COMPILE)
def longitude(node: int, l_cut: float, lon_end: float) -> float:
    """Longitude [rad] of a node: first those to l_cut, then half of the others on from there, and half from -l_cut."""
    inner = within(l_cut, lon_end)
    if node < inner:
        middle = inner // 2 - 1
        place = min(node - middle, middle)
        size = 0.5 * l_cut * (1.0 - np.cos(np.pi * abs(place) / middle))
        return float(size if place > 0 else -size)
    count = (LONGITUDES - inner) // 2
    place = (node - inner) % count
    size = l_cut + (lon_end - l_cut) * place / (count - 1)
    return float(size if node - inner < count else -size)


@njit(**policy.COMPILE)
def longitude_stencil(lon: float, l_cut: float, lon_end: float, weight: Floats) -> tuple[int, int]:
    """The nodes around a longitude: number of the first and the step to the next; their weights are written."""
    size, inner = abs(lon), within(l_cut, lon_end)
    if size <= l_cut:
        middle = inner // 2 - 1
        first = stencil(np.arccos(1.0 - 2.0 * size / l_cut) / np.pi * middle, middle + 1, weight)
        return (middle + first, 1) if lon > 0.0 else (middle - first, -1)
    count = (LONGITUDES - inner) // 2
    first = stencil((size - l_cut) / (lon_end - l_cut) * (count - 1), count, weight)
    return (inner + first if lon > 0.0 else inner + count + first), 1
