"""Directions on the sphere and HEALPix pixels (RING order), one at a time.

A direction is (z, sine, phi): cosine and sine of the colatitude, both kept because near a pole z alone has no digits
left, and the longitude in radians, of any branch.
Source of the pixelisation: Gorski et al. 2005 (astro-ph/0409513), sections 4 and 5.
"""

from __future__ import annotations

import math

from numba import njit

from gammasky.engine.kernels.policy import COMPILE

_POLAR_CAP = 2.0 / 3.0  # |z| above which rings have fewer than 4 nside pixels


@njit(**COMPILE)
def on_face(face: int, x: float, y: float) -> tuple[float, float, float]:
    """The direction at the face coordinates x (towards north-east) and y (north-west), each in [0, 1].

    The map is equal-area: uniform in (x, y) is uniform on the sphere.
    """
    row, column = face // 4, face % 4
    turns = 2 * column + (0 if row == 1 else 1)  # longitude of the middle of the face, in units of pi / 4
    down = row + 2 - x - y  # distance from the north pole: 1 and 3 are the edges of the caps
    if down < 1.0:
        z, sine, width = _cap(down)
    elif down > 3.0:
        z, sine, width = _cap(4.0 - down)
        z = -z
    else:
        z, width = (2.0 - down) * _POLAR_CAP, 1.0
        sine = math.sqrt((1.0 - z) * (1.0 + z))
    across = (x - y) / width if width > 0.0 else 0.0
    return z, sine, 0.25 * math.pi * (turns + across)


@njit(**COMPILE)
def _cap(distance: float) -> tuple[float, float, float]:
    """z, sine and width of a face at a distance below 1 from the pole: 1 - z = distance^2 / 3."""
    depth = distance * distance / 3.0
    return 1.0 - depth, math.sqrt(depth * (2.0 - depth)), distance


@njit(**COMPILE)
def displaced(z: float, sine: float, phi: float, radius: float, angle: float) -> tuple[float, float, float]:
    """The direction at `radius` [rad] from another one, `angle` [rad] east of north of it."""
    along, aside = math.sin(radius) * math.cos(angle), math.sin(radius) * math.sin(angle)
    ahead = math.cos(radius)
    out = ahead * sine - along * z  # component in the meridian plane of the first direction, in the equator
    return ahead * z + along * sine, math.sqrt(out * out + aside * aside), phi + math.atan2(aside, out)


@njit(**COMPILE)
def ring_pixel(nside: int, z: float, sine: float, phi: float) -> int:
    """The HEALPix pixel (RING) of a direction; 0 to 12 nside^2 - 1 for every finite direction."""
    quarters = phi * (2.0 / math.pi)
    quarters -= 4.0 * math.floor(0.25 * quarters)
    if quarters >= 4.0:  # what rounding makes of a tiny negative longitude
        quarters = 0.0
    height = abs(z)
    if height <= _POLAR_CAP:
        return _belt_pixel(nside, z, quarters)
    # sqrt(3 (1 - |z|)), by way of the sine
    distance = min(sine * math.sqrt(3.0 / (1.0 + height)), 1.0)
    ring, number = _cap_pixel(nside, nside * distance, quarters)
    if z > 0.0:
        return 2 * ring * (ring - 1) + number
    return 12 * nside * nside - 2 * ring * (ring + 1) + number


@njit(**COMPILE)
def _belt_pixel(nside: int, z: float, quarters: float) -> int:
    """Between the caps, the rings are 4 nside pixels long; pixels are bounded by rising and falling straight lines."""
    east, north = nside * (0.5 + quarters), 0.75 * nside * z
    rising, falling = math.floor(east - north), math.floor(east + north)
    ring = nside + rising - falling  # 0 at z = 2/3, 2 nside at z = -2/3
    ring = min(max(ring, 0), 2 * nside)
    number = ((rising + falling - nside + 1 + (ring & 1)) >> 1) % (4 * nside)  # every other ring is shifted by half
    return 2 * nside * (nside - 1) + 4 * nside * ring + number


@njit(**COMPILE)
def _cap_pixel(nside: int, distance: float, quarters: float) -> tuple[int, int]:
    """Ring, from 1 at the pole, and pixel in it, at a distance from the pole given in rings."""
    quarter = min(int(quarters), 3)
    inside = quarters - quarter
    ring = int(distance * inside) + int(distance * (1.0 - inside)) + 1
    ring = min(ring, nside)
    number = min(int(quarters * ring), 4 * ring - 1)
    return ring, number
