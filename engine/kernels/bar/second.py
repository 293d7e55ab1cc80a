"""Second parameter derivatives of the bar, on the same nodes; they run only where second derivatives are asked for.

With G = log density, d2 rho = rho (G_i G_j + G_ij). The power means M of `lines` add to dM's chain rule

    d2M = w d2u + (1 - w) d2v + c w (1 - w) (du - dv)(du - dv),      d2M / dc dtheta = w (1 - w) (u - v)(du - dv),
    d2M / dc^2 = (w (1 - w) (u - v)^2 - 2 dM/dc) / c.

By the angle twice the integrand goes like |X'|^(c_perp - 2): accurate for c_perp >= 1.4, integrable above 1.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.bar import lines
from gammasky.engine.kernels.bar.falloff import fill_falloff
from gammasky.engine.kernels.bar.quadrature import LANES, PANELS
from gammasky.engine.kernels.profiles.cpu import scatter
from gammasky.engine.kernels.profiles.geometry import PixelGroups

Floats = NDArray[np.float64]


@njit(**policy.COMPILE)
def bar_chunk(
    points: Floats,
    directions: Floats,
    step: Floats,
    frame: Floats,
    falloff: int,
    groups: PixelGroups,
    first: int,
    last: int,
    curvature: Floats,
) -> None:
    """Fill the pixels of the blocks first..last for every batch entry; see `cpu.bar_chunk`.

    Args:
        curvature (batch, 8, 8, N): the second derivatives, written at the pixels of the chunk.
    """
    rows, edges = np.empty(lines.WORK), np.empty((PANELS + 1, LANES))
    sums, slope, bend = np.empty((8, 8, LANES)), np.empty(8), np.empty((8, 8))
    n_lines = groups.starts.size - 1
    for block in range(first, last):
        line, end = block * LANES, min((block + 1) * LANES, n_lines)
        for entry in range(points.shape[0]):
            point = points[entry]
            sums[:] = 0.0 if lines.inside_domain(point) else np.nan
            if lines.inside_domain(point):
                lines.fill_edges(point, directions[block], frame, edges)
                for panel in range(PANELS):
                    if lines.longest(edges, panel) > 0.0:
                        for node in range(step.shape[1]):
                            ends, at = (edges[panel], edges[panel + 1]), (step[0, node], step[1, node])
                            lines.fill_axes(point, directions[block], frame, *ends, *at, rows)
                            lines.fill_radius(point[5], rows)
                            fill_falloff(falloff, rows)
                            _add(point, rows, slope, bend, sums)
            for i in range(8):
                for j in range(8):
                    scatter(sums[max(i, j), min(i, j)], groups, line, end, curvature[entry, i, j])


@njit(**policy.COMPILE)
def _add(point: Floats, rows: Floats, slope: Floats, bend: Floats, sums: Floats) -> None:
    """Add density times (G_i G_j + G_ij) at one node, the lower triangle."""
    per_width = 1.0 / point[7]
    for lane in range(LANES):
        density = rows[lines.DENSITY + lane]
        if density == 0.0:
            continue
        _radius_derivatives(point, rows, lane, slope, bend)
        steep, curved = rows[lines.SLOPE + lane], rows[lines.CURVATURE + lane]
        for i in range(6):
            for j in range(i + 1):
                bend[i, j] = curved * slope[i] * slope[j] + steep * bend[i, j]
        slope[:6] *= steep
        excess = rows[lines.EXCESS + lane]
        slope[6], slope[7] = 2.0 * excess * per_width, 2.0 * excess * excess * per_width
        bend[6:] = 0.0
        if excess > 0.0:
            bend[6, 6] = -2.0 * per_width * per_width
            bend[7, 6] = -4.0 * excess * per_width * per_width
            bend[7, 7] = -6.0 * excess * excess * per_width * per_width
        for i in range(8):
            for j in range(i + 1):
                sums[i, j, lane] += density * (slope[i] * slope[j] + bend[i, j])


@njit(**policy.COMPILE)
def _radius_derivatives(point: Floats, rows: Floats, lane: int, slope: Floats, bend: Floats) -> None:
    """d log r_s (6,) and d2 log r_s (6, 6), lower triangle, by angle, log x, log y, log z, c_perp, c_par."""
    perp, par = point[4], point[5]
    share, inner = rows[lines.SHARE_X + lane], rows[lines.SHARE_PERP + lane]
    lx, ly, lz = rows[lines.LOG_X + lane], rows[lines.LOG_Y + lane], rows[lines.LOG_Z + lane]
    lp, lr = rows[lines.LOG_PERP + lane], rows[lines.LOG_R + lane]
    turn_x, turn_y, turn_z = rows[lines.TURN_X + lane], rows[lines.TURN_Y + lane], rows[lines.TURN_Z + lane]
    rest, outer = 1.0 - share, 1.0 - inner
    by_perp = (share * lx + rest * ly - lp) / perp
    # first derivatives of log R_perp (p) and log |Z'| / z (q), by angle, log x, log y, log z, c_perp
    p = (share * turn_x + rest * turn_y, -share, -rest, 0.0, by_perp)
    q = (turn_z, 0.0, 0.0, -1.0, 0.0)
    apart = (turn_x - turn_y, -1.0, 1.0)  # of (log |X'| / x) - (log |Y'| / y)
    mixed = perp * share * rest
    bend[:6, :6] = 0.0
    for i in range(3):
        for j in range(i + 1):
            bend[i, j] = mixed * apart[i] * apart[j]
        bend[4, i] = share * rest * (lx - ly) * apart[i]
    bend[4, 4] = (share * rest * (lx - ly) ** 2 - 2.0 * by_perp) / perp
    bend[0, 0] += share * (rows[lines.BEND_X + lane] - turn_x * turn_x)  # d2 log X' = d2 X' / X' - (d log X')^2
    bend[0, 0] += rest * (-1.0 - turn_y * turn_y)
    between = par * inner * outer
    for i in range(5):
        for j in range(i + 1):
            bend[i, j] = inner * bend[i, j] + between * (p[i] - q[i]) * (p[j] - q[j])
        slope[i] = inner * p[i] + outer * q[i]
        bend[5, i] = inner * outer * (lp - lz) * (p[i] - q[i])
    bend[0, 0] += outer * (rows[lines.BEND_Z + lane] - turn_z * turn_z)
    slope[5] = (inner * lp + outer * lz - lr) / par
    bend[5, 5] = (inner * outer * (lp - lz) ** 2 - 2.0 * slope[5]) / par
