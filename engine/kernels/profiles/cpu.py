"""Line-of-sight kernels for one core: template and parameter derivatives in one pass, one exponential per node.

Lines of sight lie side by side as vector lanes, so nothing is reduced across a register and every line's sum is taken
in one fixed order. What is found for the lines goes to the pixels that share them at the end, all of it over its mean
where one is asked for.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.profiles.geometry import LANES, DiskNodes, PixelGroups
from gammasky.engine.kernels.profiles.lanes import disk_moments, nfw_between, nfw_moments
from gammasky.engine.kernels.vectors import WIDTH, rows_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


@njit(**policy.AS_WRITTEN)
def nfw_lines(gamma: float, log_shape: Floats, weight: Floats, cardinal: Floats, lines: Floats) -> None:
    """J and dJ/dgamma on all lines of sight.

    Args:
        gamma: inner slope.
        log_shape, weight, cardinal: see `NFWSky`; the lines are filled up to whole rows of lanes.
        lines (2, U'): J and its derivative; U' is that of `cardinal`, a multiple of WIDTH.
    """
    nodes, angles = log_shape.shape
    log_j, slope = np.empty(angles), np.empty(angles)
    shape_nodes, weight_nodes, work = log_shape.reshape(-1), weight.reshape(-1), rows_of(2)
    for first in range(0, angles, WIDTH):
        nfw_moments(work, 0, -2.0 * gamma, shape_nodes, weight_nodes, first, angles, nodes)
        for lane in range(WIDTH):
            log_j[first + lane] = np.log(work[0, lane])
            slope[first + lane] = -2.0 * work[1, lane] / work[0, lane]
    if not np.isfinite(gamma):
        log_j[:] = np.nan
    rows = lines.shape[1] // WIDTH
    joined, work = cardinal.reshape(-1), lines.reshape(-1, WIDTH)
    for row in range(rows):
        nfw_between(work, row, rows, log_j, slope, joined, row * WIDTH, rows * WIDTH, angles)


@njit(**policy.AS_WRITTEN)
def disk_lines(
    scale_height: Floats, C: Floats, B: Floats, nodes: DiskNodes, first: int, last: int, lines: Floats
) -> None:
    """The integral and its derivatives on the lines of sight of the blocks first..last, for every batch entry.

    Args:
        scale_height, C, B (batch,): parameters.
        nodes: along the lines of sight, in blocks of LANES.
        first, last: the blocks of this task.
        lines (batch, 4, blocks * LANES): the integral and its derivatives by scale height, C and B; NaN off domain.
    """
    excess, log_radius = nodes.excess.reshape(-1), nodes.log_radius.reshape(-1)
    height, weight = nodes.height.reshape(-1), nodes.weight.reshape(-1)
    slopes = np.empty(3)
    for block in range(first, last):
        for entry in range(scale_height.size):
            zs, own = scale_height[entry], lines[entry]
            if not (zs > 0.0 and np.isfinite(zs) and np.isfinite(C[entry]) and np.isfinite(B[entry])):
                own[:, block * LANES : (block + 1) * LANES] = np.nan
                continue
            slopes[0], slopes[1], slopes[2] = B[entry], -C[entry], -1.0 / zs
            disk_moments(
                own.reshape(-1, WIDTH), block, lines.shape[2] // WIDTH, excess, log_radius, height, weight,
                nodes.block_starts[block] * LANES, nodes.block_starts[block + 1] * LANES, slopes,
            )  # fmt: skip
            for line in range(block * LANES, (block + 1) * LANES):
                own[1, line] *= slopes[2] * slopes[2]


@njit(**policy.COMPILE)
def over_mean(lines: Floats, weight: Floats) -> None:
    """Divide a template (row 0) by its mean and give its derivatives (the rows after) those of the quotient.

    Args:
        lines (kinds, U'): on the lines of sight, in place.
        weight (U): of each line in the mean.
    """
    means = np.zeros(lines.shape[0])
    for kind in range(lines.shape[0]):
        for line in range(weight.size):
            means[kind] += weight[line] * lines[kind, line]
    per_mean = 1.0 / means[0]
    for line in range(weight.size):
        lines[0, line] *= per_mean
    for kind in range(1, lines.shape[0]):
        for line in range(weight.size):
            lines[kind, line] = (lines[kind, line] - lines[0, line] * means[kind]) * per_mean


@njit(**policy.COMPILE)
def to_pixels(line: Floats, inverse: Integers, pixels: Floats) -> None:
    """Give the first pixels, as many as there is room for, the value of their line of sight."""
    for pixel in range(pixels.size):
        pixels[pixel] = line[inverse[pixel]]


@njit(**policy.COMPILE)
def scatter(values: Floats, groups: PixelGroups, first: int, last: int, pixels: Floats) -> None:
    """Give every pixel of the integrals first..last its value."""
    for line in range(first, last):
        for position in range(groups.starts[line], groups.starts[line + 1]):
            pixels[groups.order[position]] = values[line - first]
