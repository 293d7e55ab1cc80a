"""The bar for one core: template and parameter derivatives in one pass; lines of sight side by side as vector lanes."""

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

N_SUMS = 9  # the integral, and its derivative by each of the eight parameters


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
    template: Floats,
    derivatives: Floats,
) -> None:
    """Fill the pixels of the blocks first..last, LANES integrals each, for every batch entry.

    Args:
        points (batch, 8): parameters in the order of `geometry.PARAMETERS`.
        directions, step, frame, falloff, groups: see `BarSky`.
        first, last: the blocks of this chunk.
        template (batch, N), derivatives (batch, 8, N): written at the pixels of the chunk.
    """
    rows, edges = np.empty(lines.WORK), np.empty((PANELS + 1, LANES))
    sums = np.empty(N_SUMS * LANES)
    n_lines = groups.starts.size - 1
    for block in range(first, last):
        line, end = block * LANES, min((block + 1) * LANES, n_lines)
        for entry in range(points.shape[0]):
            _integrate(points[entry], directions[block], step, frame, falloff, edges, rows, sums)
            scatter(sums[:LANES], groups, line, end, template[entry])
            for kind in range(1, N_SUMS):
                scatter(sums[kind * LANES : (kind + 1) * LANES], groups, line, end, derivatives[entry, kind - 1])


@njit(**policy.COMPILE)
def _integrate(
    point: Floats, directions: Floats, step: Floats, frame: Floats, falloff: int,
    edges: Floats, rows: Floats, sums: Floats,
) -> None:  # fmt: skip
    """Integral and derivatives (9 LANES,) [kpc] on the lines of one block; NaN off domain."""
    if not lines.inside_domain(point):
        sums[:] = np.nan
        return
    sums[:] = 0.0
    lines.fill_edges(point, directions, frame, edges)
    for panel in range(PANELS):
        if lines.longest(edges, panel) > 0.0:
            for node in range(step.shape[1]):
                ends, at = (edges[panel], edges[panel + 1]), (step[0, node], step[1, node])
                lines.fill_axes(point, directions, frame, *ends, *at, rows)
                lines.fill_radius(point[5], rows)
                fill_falloff(falloff, rows)
                _add(point, rows, sums)
    sums[7 * LANES :] *= 2.0 / point[7]


@njit(**policy.COMPILE)
def _add(point: Floats, rows: Floats, sums: Floats) -> None:
    """Add density, and density times d log density / d parameter (cut-off: up to 2 / width), at one node."""
    per_perp, per_par = 1.0 / point[4], 1.0 / point[5]
    for lane in range(LANES):
        density = rows[lines.DENSITY + lane]
        steep = density * rows[lines.SLOPE + lane]
        share, inner = rows[lines.SHARE_X + lane], rows[lines.SHARE_PERP + lane]
        lx, ly, lz = rows[lines.LOG_X + lane], rows[lines.LOG_Y + lane], rows[lines.LOG_Z + lane]
        lp, lr, excess = rows[lines.LOG_PERP + lane], rows[lines.LOG_R + lane], rows[lines.EXCESS + lane]
        turn = share * rows[lines.TURN_X + lane] + (1.0 - share) * rows[lines.TURN_Y + lane]
        sums[0 * LANES + lane] += density
        sums[1 * LANES + lane] += steep * (inner * turn + (1.0 - inner) * rows[lines.TURN_Z + lane])
        sums[2 * LANES + lane] -= steep * inner * share
        sums[3 * LANES + lane] -= steep * inner * (1.0 - share)
        sums[4 * LANES + lane] -= steep * (1.0 - inner)
        sums[5 * LANES + lane] += steep * inner * (share * lx + (1.0 - share) * ly - lp) * per_perp
        sums[6 * LANES + lane] += steep * (inner * lp + (1.0 - inner) * lz - lr) * per_par
        sums[7 * LANES + lane] += density * excess
        sums[8 * LANES + lane] += density * excess * excess
