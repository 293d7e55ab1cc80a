"""The bar on a grid of longitudes and latitudes, and between: see `grid`.

Lines of sight of one longitude and different latitudes b form a fan. With q = s cos b all of them share X', Y' and the
cut-off at the same q, and |Z'| = q tan b. So the axes are filled in once for the line at 45 degrees (|Z'| = q), LANES
longitudes side by side, and for each of these only r_s and its falloff, LANES latitudes side by side.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.bar import lines
from gammasky.engine.kernels.bar.falloff import fill_falloff
from gammasky.engine.kernels.bar.grid import LONGITUDES, POINTS, Grid, bend, longitude, longitude_stencil
from gammasky.engine.kernels.bar.quadrature import LANES, PANELS
from gammasky.engine.kernels.elementary import exponential
from gammasky.engine.kernels.profiles.geometry import PixelGroups

Floats = NDArray[np.float64]

N_SUMS = 9  # the integral, and its derivative by each of the eight parameters
BLOCKS = LONGITUDES // LANES  # of longitudes


@njit(**policy.COMPILE)
def fan_block(point: Floats, grid: Grid, frame: Floats, falloff: int, block: int, nodes: Floats) -> None:
    """Fill log B and its derivatives at the longitudes of one block and all latitudes, for one point.

    Args:
        point (8,): parameters in the order of `geometry.PARAMETERS`.
        grid, frame, falloff: see `BarSky`.
        nodes (longitudes, latitudes, 9): written at LANES longitudes.
    """
    l_cut = bend(point[6], frame[0], grid.lon_end)
    if not lines.inside_domain(point):
        return
    directions, lat_blocks = np.ones(4 * LANES), grid.log_tan.shape[0]
    for lane in range(LANES):
        lon = longitude(block * LANES + lane, l_cut, grid.lon_end)
        directions[lines.COS_LON + lane], directions[lines.SIN_LON + lane] = np.cos(lon), np.sin(lon)
    rows, fan, edges = np.empty(lines.WORK), np.empty(lines.WORK), np.empty((PANELS + 1, LANES))
    power_tan, sums = np.empty((lat_blocks, LANES)), np.zeros((LANES, lat_blocks, N_SUMS * LANES))
    for i in range(lat_blocks):
        for j in range(LANES):
            power_tan[i, j] = exponential(point[5] * grid.log_tan[i, j])
    lines.fill_edges(point, directions, frame, edges)
    for panel in range(PANELS):
        if lines.longest(edges, panel) > 0.0:
            step = grid.step_outside if panel == 0 or panel == PANELS - 1 else grid.step
            for node in range(step.shape[1]):
                ends, at = (edges[panel], edges[panel + 1]), (step[0, node], step[1, node])
                lines.fill_axes(point, directions, frame, *ends, *at, rows)
                for lane in range(LANES):
                    if rows[lines.WEIGHT + lane] > 0.0:
                        for i in range(lat_blocks):
                            _fill_heights(rows, lane, power_tan[i], fan)
                            lines.fill_radius(point[5], fan)
                            fill_falloff(falloff, fan)
                            _add(point, rows, lane, grid.log_tan[i], fan, sums[lane, i])
    for lane in range(LANES):
        for i in range(lat_blocks):
            _finish(point, sums[lane, i], grid.cosine[i], nodes[block * LANES + lane, i * LANES : (i + 1) * LANES])


@njit(**policy.COMPILE)
def _fill_heights(rows: Floats, lane: int, power_tan: Floats, fan: Floats) -> None:
    """The powers and the weight of one line at 45 degrees, turned to other latitudes."""
    perp, height, weight = rows[lines.POWER_PERP + lane], rows[lines.POWER_Z + lane], rows[lines.WEIGHT + lane]
    for j in range(LANES):
        fan[lines.POWER_PERP + j], fan[lines.POWER_Z + j] = perp, height * power_tan[j]
        fan[lines.WEIGHT + j] = weight


@njit(**policy.COMPILE)
def _add(point: Floats, rows: Floats, lane: int, log_tan: Floats, fan: Floats, sums: Floats) -> None:
    """Add what `cpu._add` does, at one node of the lines of a fan; the angle does not turn their heights."""
    per_perp, per_par = 1.0 / point[4], 1.0 / point[5]
    share, excess, log_z = rows[lines.SHARE_X + lane], rows[lines.EXCESS + lane], rows[lines.LOG_Z + lane]
    lp = rows[lines.LOG_PERP + lane]
    turn = share * rows[lines.TURN_X + lane] + (1.0 - share) * rows[lines.TURN_Y + lane]
    by_perp = (share * rows[lines.LOG_X + lane] + (1.0 - share) * rows[lines.LOG_Y + lane] - lp) * per_perp
    for j in range(LANES):
        density, inner = fan[lines.DENSITY + j], fan[lines.SHARE_PERP + j]
        steep = density * fan[lines.SLOPE + j]
        within = steep * inner
        sums[0 * LANES + j] += density
        sums[1 * LANES + j] += within * turn
        sums[2 * LANES + j] -= within * share
        sums[3 * LANES + j] -= within * (1.0 - share)
        sums[4 * LANES + j] -= steep - within
        sums[5 * LANES + j] += within * by_perp
        sums[6 * LANES + j] += (
            steep * (inner * lp + (1.0 - inner) * (log_z + log_tan[j]) - fan[lines.LOG_R + j]) * per_par
        )
        sums[7 * LANES + j] += density * excess
        sums[8 * LANES + j] += density * excess * excess


@njit(**policy.COMPILE)
def _finish(point: Floats, sums: Floats, cosine: Floats, nodes: Floats) -> None:
    """From the sums to log B and its derivatives (LANES, 9); where nothing is left of the bar B is TINY."""
    per_width = 2.0 / point[7]
    for j in range(LANES):
        total = sums[j]
        nodes[j, 0] = np.log(max(total / cosine[j], lines.TINY))
        for kind in range(1, N_SUMS):
            scale = per_width if kind >= 7 else 1.0
            nodes[j, kind] = scale * sums[kind * LANES + j] / total if total > lines.TINY else 0.0


@njit(**policy.COMPILE)
def between_chunk(
    point: Floats, grid: Grid, frame: Floats, nodes: Floats, groups: PixelGroups, first: int, last: int,
    template: Floats, derivatives: Floats,
) -> None:  # fmt: skip
    """Fill the pixels of the lines first..last for one point, from the nodes of `fan_block`.

    Args:
        template (N,), derivatives (8, N): written at the pixels of these lines; NaN off domain.
    """
    inside, l_cut = lines.inside_domain(point), bend(point[6], frame[0], grid.lon_end)
    weight, found, at_latitudes = np.empty(POINTS), np.empty(N_SUMS), np.empty(POINTS * N_SUMS)
    flat = nodes.reshape(nodes.shape[0], -1)
    for line in range(first, last):
        found[:] = 0.0 if inside else np.nan
        if inside:
            node, onward = longitude_stencil(grid.lon[line], l_cut, grid.lon_end, weight)
            low = grid.first[line]
            at_latitudes[:] = 0.0
            for i in range(POINTS):
                row, share = flat[node + i * onward, low * N_SUMS :], weight[i]
                for j in range(at_latitudes.size):
                    at_latitudes[j] += share * row[j]
            for j in range(POINTS):
                for kind in range(N_SUMS):
                    found[kind] += grid.weight[line, j] * at_latitudes[j * N_SUMS + kind]
        value = np.exp(found[0])
        for position in range(groups.starts[line], groups.starts[line + 1]):
            pixel = groups.order[position]
            template[pixel] = value
            for kind in range(1, N_SUMS):
                derivatives[kind - 1, pixel] = value * found[kind]
