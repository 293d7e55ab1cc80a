"""One node on LANES lines of sight through a bar: where panels meet, and the bar's own radius.

With axes X', Y', Z' of the bar, power means M_c(u, v) = log(e^(c u) + e^(c v)) / c of logarithms give the radius

    log R_perp = M_cperp(log |X'| / x, log |Y'| / y),      log r_s = M_cpar(log R_perp, log |Z'| / z)

(Freudenreich 1998, ApJ 492, 495, eqs. 5-6), and with w = e^(c u) / (e^(c u) + e^(c v)) all derivatives:

    dM/du = w,   dM/dv = 1 - w,   dM/dc = (w u + (1 - w) v - M) / c.
"""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.bar.quadrature import CUT_WIDTHS, LANES, MAX_DISTANCE_KPC, PANELS
from gammasky.engine.kernels.elementary import exponential, logarithm

Floats = NDArray[np.float64]

TINY = 1e-290

#: Where in the work array the LANES numbers of each kind begin. It is one flat array with these fixed offsets, because
#: only then does LLVM see that its rows do not overlap; and what is taken to the logarithm or exponentiated lies in a
#: row of its own, because loops with several of these calls are not inlined, and so not vectorised.
(LOG_X, LOG_Y, LOG_Z, LOG_PERP, LOG_R, RADIUS) = (LANES * row for row in range(6))
(POWER_X, POWER_Y, WEIGHT, POWER_PERP, POWER_Z, SHARE_X, SHARE_PERP) = (LANES * row for row in range(6, 13))
(TURN_X, TURN_Y, TURN_Z, EXCESS, DENSITY, SLOPE) = (LANES * row for row in range(13, 19))
WORK = 19 * LANES
COS_LON, SIN_LON, COS_LAT, SIN_LAT = (LANES * row for row in range(4))  # the same of the directions of one block


@njit(**policy.COMPILE)
def inside_domain(point: Floats) -> bool:
    """Whether a bar has these parameters: all finite, exponents and cut-off positive."""
    finite = True
    for value in point:
        finite &= bool(np.isfinite(value))
    return finite and point[4] > 0.0 and point[5] > 0.0 and point[6] >= 0.0 and point[7] > 0.0


@njit(**policy.COMPILE)
def fill_edges(point: Floats, directions: Floats, frame: Floats, edges: Floats) -> None:
    """Ends of the panels (PANELS + 1, LANES) [kpc] on the lines of one block, in order; some may be empty."""
    sun, height, cos_pitch, sin_pitch = frame
    cos_a, sin_a = np.cos(point[0]), np.sin(point[0])
    begin, width = point[6], point[7]
    for lane in range(LANES):
        cl, sl = directions[COS_LON + lane], directions[SIN_LON + lane]
        cb, sb = directions[COS_LAT + lane], directions[SIN_LAT + lane]
        closest = sun * abs(sl) if cl > 0.0 else sun
        # beyond, the cut-off is below exp(-CUT_WIDTHS^2) of the largest that this line meets
        beyond = max(closest - begin, 0.0)
        last = begin + np.sqrt(beyond * beyond + (CUT_WIDTHS * width) ** 2)
        middle, reach = sun * cl, np.sqrt(max(last * last - (sun * sl) ** 2, 0.0))
        start = min(max((middle - reach) / cb, 0.0), MAX_DISTANCE_KPC)
        stop = min(max((middle + reach) / cb, start), MAX_DISTANCE_KPC)
        chord = np.sqrt(max(begin * begin - (sun * sl) ** 2, 0.0))
        edges[0, lane], edges[PANELS, lane] = start, stop
        edges[1, lane], edges[2, lane] = (middle - chord) / cb, (middle + chord) / cb
        edges[3, lane] = _zero(sun * cos_a * cos_pitch + height * sin_pitch,
                               cb * cos_pitch * (sl * sin_a - cl * cos_a) + sb * sin_pitch)  # fmt: skip
        edges[4, lane] = _zero(-sun * sin_a, cb * (sl * cos_a + cl * sin_a))
        edges[5, lane] = _zero(height * cos_pitch - sun * cos_a * sin_pitch,
                               sb * cos_pitch - cb * sin_pitch * (sl * sin_a - cl * cos_a))  # fmt: skip
        for panel in range(1, PANELS):
            edges[panel, lane] = min(max(edges[panel, lane], start), stop)
        for panel in range(2, PANELS):  # insertion: five numbers
            value, place = edges[panel, lane], panel
            while place > 1 and edges[place - 1, lane] > value:
                edges[place, lane] = edges[place - 1, lane]
                place -= 1
            edges[place, lane] = value


@njit(**policy.COMPILE)
def _zero(start: float, slope: float) -> float:
    """Where start + slope s is 0; beyond everything if nowhere."""
    return -start / slope if slope != 0.0 else MAX_DISTANCE_KPC


@njit(**policy.COMPILE)
def longest(edges: Floats, panel: int) -> float:
    """Length of the longest of the panels side by side [kpc]."""
    found = 0.0
    for lane in range(LANES):
        found = max(found, edges[panel + 1, lane] - edges[panel, lane])
    return found


@njit(**policy.COMPILE)
def fill_axes(
    point: Floats, directions: Floats, frame: Floats, low: Floats, high: Floats, place: float, weight: float,
    rows: Floats,
) -> None:  # fmt: skip
    """What r_s is made of at one node: ds times the cut-off, logarithms and powers of the axes, the shares w of X', and
    how the angle turns the axes (d X' / X')."""
    sun, height, cos_pitch, sin_pitch = frame
    cos_a, sin_a = np.cos(point[0]), np.sin(point[0])
    log_x, log_y, log_z, perp, par, begin, width = point[1:]
    per_perp, per_width = 1.0 / perp, 1.0 / width
    for lane in range(LANES):
        cl, sl = directions[COS_LON + lane], directions[SIN_LON + lane]
        cb, sb = directions[COS_LAT + lane], directions[SIN_LAT + lane]
        s = low[lane] + (high[lane] - low[lane]) * place
        x, y, z = sun - s * cb * cl, s * cb * sl, s * sb + height
        in_plane, across = x * cos_a + y * sin_a, y * cos_a - x * sin_a
        along, above = in_plane * cos_pitch + z * sin_pitch, z * cos_pitch - in_plane * sin_pitch
        along, across = (along if abs(along) > TINY else TINY), (across if abs(across) > TINY else TINY)
        above = above if abs(above) > TINY else TINY
        rows[TURN_X + lane] = across * cos_pitch / along
        rows[TURN_Y + lane] = -in_plane / across
        rows[TURN_Z + lane] = -across * sin_pitch / above
        rows[LOG_X + lane], rows[LOG_Y + lane], rows[LOG_Z + lane] = abs(along), abs(across), abs(above)
        excess = math.sqrt(x * x + y * y) - begin
        rows[EXCESS + lane] = (excess if excess > 0.0 else 0.0) * per_width
    _logarithms(rows[LOG_X : LOG_Z + LANES])
    for lane in range(LANES):
        rows[LOG_X + lane] -= log_x
        rows[LOG_Y + lane] -= log_y
        rows[LOG_Z + lane] -= log_z
        rows[POWER_X + lane], rows[POWER_Y + lane] = perp * rows[LOG_X + lane], perp * rows[LOG_Y + lane]
        rows[WEIGHT + lane] = -rows[EXCESS + lane] * rows[EXCESS + lane]
    _exponentials(rows[POWER_X : WEIGHT + LANES])
    for lane in range(LANES):
        both = rows[POWER_X + lane] + rows[POWER_Y + lane]
        both = both if both > TINY else TINY
        rows[LOG_PERP + lane], rows[SHARE_X + lane] = both, rows[POWER_X + lane] / both
        rows[WEIGHT + lane] *= weight * (high[lane] - low[lane])
    _logarithms(rows[LOG_PERP : LOG_PERP + LANES])
    for lane in range(LANES):
        rows[LOG_PERP + lane] *= per_perp
        rows[POWER_PERP + lane], rows[POWER_Z + lane] = par * rows[LOG_PERP + lane], par * rows[LOG_Z + lane]
    _exponentials(rows[POWER_PERP : POWER_Z + LANES])


@njit(**policy.COMPILE)
def fill_radius(par: float, rows: Floats) -> None:
    """Rows LOG_R, SHARE_PERP and RADIUS from the powers of R_perp and of Z'."""
    per_par = 1.0 / par
    for lane in range(LANES):
        both = rows[POWER_PERP + lane] + rows[POWER_Z + lane]
        both = both if both > TINY else TINY
        rows[LOG_R + lane], rows[SHARE_PERP + lane] = both, rows[POWER_PERP + lane] / both
    _logarithms(rows[LOG_R : LOG_R + LANES])
    for lane in range(LANES):
        rows[LOG_R + lane] *= per_par
        rows[RADIUS + lane] = rows[LOG_R + lane]
    _exponentials(rows[RADIUS : RADIUS + LANES])


@njit(**policy.COMPILE)
def _logarithms(values: Floats) -> None:
    """Every value to its logarithm."""
    for i in range(values.size):
        values[i] = logarithm(values[i])


@njit(**policy.COMPILE)
def _exponentials(values: Floats) -> None:
    """Every value to its exponential."""
    for i in range(values.size):
        values[i] = exponential(values[i])
