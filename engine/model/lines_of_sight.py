"""Lines of sight through a density in space: which pixels share one, and how pixels follow from a few of them."""

from __future__ import annotations

import math
from collections.abc import Iterator
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.model.templates.in_space import Symmetry

Floats = NDArray[np.float64]

MIN_PSI_RAD = math.radians(1e-3)  # as close to the centre as templates look
INTERPOLATION_ERROR = 1e-11
_DIGITS = 9  # of degrees, to which angles that are alike by symmetry agree


class Lines(NamedTuple):
    """K lines of sight that stand for N pixels.

    Attributes:
        directions (3, K): unit vectors towards the Galactic Centre, longitude 90 deg, and the north.
        inverse (N,): the row that belongs to each pixel.
        table (U, K): logarithms on the lines to those of the U rows; None where rows are lines.
    """

    directions: Floats
    inverse: NDArray[np.int64]
    table: Floats | None = None

    @classmethod
    def of_sphere(cls, lon_deg: Floats, lat_deg: Floats) -> Lines:
        """The lines of a sphere: at Chebyshev angles in log psi, for pixels (N,) [deg].

        An integral along the line of sight, of what does not depend on psi times a density of the radius, is analytic
        in log psi in a strip of half-width pi / 2: the number of angles follows from the error that is allowed.
        """
        psi = np.rad2deg(angles_to_centre(lon_deg, lat_deg))
        rows, inverse = np.unique(np.round(psi, _DIGITS), return_inverse=True)
        log_psi = np.log(np.maximum(np.deg2rad(rows), MIN_PSI_RAD))
        strip = 0.5 * math.pi / max(0.5 * float(np.ptp(log_psi)), 1e-3)
        count = max(math.ceil(-math.log(INTERPOLATION_ERROR) / math.asinh(strip)), 4)
        at, table = _polynomial(log_psi, count)
        return cls(directions_of(np.rad2deg(np.exp(at)), np.zeros(count)), inverse.astype(np.int64), table)

    @classmethod
    def each(cls, lon_deg: Floats, lat_deg: Floats, symmetry: Symmetry) -> Lines:
        """One line for all pixels (N,) [deg] that see the same."""
        lon = np.abs(lon_deg) if symmetry == "quarters" else lon_deg
        lat = lat_deg if symmetry == "none" else np.abs(lat_deg)
        rows, inverse = np.unique(np.round(np.stack([lon, lat], axis=1), _DIGITS), axis=0, return_inverse=True)
        return cls(directions_of(*rows.T), inverse.ravel().astype(np.int64))

    def fewer(self, symmetry: Symmetry) -> Iterator[Lines]:
        """The same pixels by polynomials between fewer lines of sight, of rising degree; none for a bar."""
        if symmetry == "quarters":
            yield from (self.by_angles(8), self.by_distance(12, 12), self.by_angles(12), self.by_angles(16))
        elif symmetry == "none":
            yield from (self.by_distance(12, 36), self.by_distance(16, 48))

    def by_angles(self, count: int) -> Lines:
        """Polynomials of degree `count` - 1 in the roots of longitude and latitude, both positive: what a disk shows
        changes fastest close to the axes."""
        x, y, z = self.directions
        lon, lat = (np.sqrt(np.rad2deg(angle)) for angle in (np.arctan2(y, x), np.arctan2(z, np.hypot(x, y))))
        (at_lon, of_lon), (at_lat, of_lat) = _polynomial(lon, count), _polynomial(lat, count)
        grid = [part.ravel() for part in np.meshgrid(at_lon**2, at_lat**2, indexing="ij")]
        return Lines(directions_of(*grid), self.inverse, _product(of_lon, of_lat))

    def by_distance(self, count: int, around: int) -> Lines:
        """Polynomials in the logarithm of the angle psi to the Galactic Centre and in the direction from there, as what
        a spheroid shows is smooth in."""
        x, y, z = self.directions
        psi = np.maximum(np.arctan2(np.hypot(y, z), x), MIN_PSI_RAD)
        (at_psi, of_psi), (at, of) = _polynomial(np.log(psi), count), _polynomial(np.arctan2(z, y), around)
        psi, turn = (part.ravel() for part in np.meshgrid(np.exp(at_psi), at, indexing="ij"))
        directions = np.stack([np.cos(psi), np.sin(psi) * np.cos(turn), np.sin(psi) * np.sin(turn)])
        return Lines(directions, self.inverse, _product(of_psi, of))


def directions_of(lon_deg: Floats, lat_deg: Floats) -> Floats:
    """Unit vectors (3, N) towards longitudes and latitudes (N,) [deg]."""
    lon, lat = np.deg2rad(lon_deg), np.deg2rad(lat_deg)
    return np.stack([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])


def angles_to_centre(lon_deg: Floats, lat_deg: Floats) -> Floats:
    """Angles (N,) [rad] to the Galactic Centre."""
    x, y, z = directions_of(lon_deg, lat_deg)
    return np.asarray(np.arctan2(np.hypot(y, z), x))


def _product(first: Floats, second: Floats) -> Floats:
    """The table (U, A B) of the products of two polynomials (U, A) and (U, B)."""
    return np.asarray((first[:, :, None] * second[:, None, :]).reshape(len(first), -1))


def _polynomial(x: Floats, count: int) -> tuple[Floats, Floats]:
    """Chebyshev nodes (K,) over the range of x (U,), and the table (U, K) of the polynomial through them at x."""
    middle, half = 0.5 * float(x.max() + x.min()), max(0.5 * float(np.ptp(x)), 1e-9)
    at = np.pi * (np.arange(count) + 0.5) / count
    place = np.arccos(np.clip((x - middle) / half, -1.0, 1.0))
    degrees = np.arange(count)
    factors = np.where(degrees == 0, 1.0, 2.0) / count
    table = (np.cos(np.outer(place, degrees)) * factors) @ np.cos(np.outer(degrees, at))
    return middle + half * np.cos(at), table
