"""Line-of-sight kernels for one core: template and parameter derivatives in one pass, one exponential per node.

Lines of sight lie side by side as vector lanes, so nothing is reduced across a register and every pixel's sum is
taken in one fixed order.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.elementary import exponential
from gammasky.engine.kernels.profiles.geometry import LANES, DiskNodes, PixelGroups

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

BLOCK = 64  # pixels interpolated side by side


@njit(**policy.COMPILE)
def nfw_chunk(
    gamma: Floats,
    log_shape: Floats,
    weight: Floats,
    cardinal: Floats,
    groups: PixelGroups,
    first: int,
    last: int,
    template: Floats,
    d_gamma: Floats,
) -> None:
    """Fill the pixels of integrals first..last for every batch entry.

    Args:
        gamma (batch,): inner slopes.
        log_shape, weight, cardinal: see `NFWSky`.
        groups: the pixels of each integral.
        first, last: the integrals of this chunk.
        template, d_gamma (batch, N): J and dJ/dgamma, written at the pixels of the chunk.
    """
    log_j, slope = np.empty(log_shape.shape[1]), np.empty(log_shape.shape[1])
    value, derivative = np.empty(BLOCK), np.empty(BLOCK)
    for entry in range(gamma.size):
        _nfw_at_nodes(gamma[entry], log_shape, weight, log_j, slope)
        for block in range(first, last, BLOCK):
            end = min(block + BLOCK, last)
            _interpolate(log_j, slope, cardinal[:, block:end], value, derivative)
            scatter(value, groups, block, end, template[entry])
            scatter(derivative, groups, block, end, d_gamma[entry])


@njit(**policy.COMPILE)
def _nfw_at_nodes(gamma: float, log_shape: Floats, weight: Floats, log_j: Floats, slope: Floats) -> None:
    """log J and d log J / d gamma at the Chebyshev angles: J = sum weight exp(-2 gamma log_shape)."""
    n_angles = log_j.size
    log_j[:] = 0.0 if np.isfinite(gamma) else np.nan
    slope[:] = 0.0
    for q in range(log_shape.shape[0]):
        for k in range(n_angles):
            density = weight[q, k] * exponential(-2.0 * gamma * log_shape[q, k])
            log_j[k] += density
            slope[k] += log_shape[q, k] * density
    for k in range(n_angles):
        slope[k] *= -2.0 / log_j[k]
        log_j[k] = np.log(log_j[k])


@njit(**policy.COMPILE)
def _interpolate(log_j: Floats, slope: Floats, cardinal: Floats, value: Floats, derivative: Floats) -> None:
    """J and dJ/dgamma at the angles of one block, from log J and its slope at the Chebyshev angles."""
    n_angles = cardinal.shape[1]
    value[:] = 0.0
    derivative[:] = 0.0
    for k in range(log_j.size):
        for i in range(n_angles):
            value[i] += log_j[k] * cardinal[k, i]
            derivative[i] += slope[k] * cardinal[k, i]
    for i in range(n_angles):
        value[i] = exponential(value[i])
        derivative[i] *= value[i]


@njit(**policy.COMPILE)
def scatter(values: Floats, groups: PixelGroups, first: int, last: int, pixels: Floats) -> None:
    """Give every pixel of the integrals first..last its value."""
    for line in range(first, last):
        for position in range(groups.starts[line], groups.starts[line + 1]):
            pixels[groups.order[position]] = values[line - first]


@njit(**policy.COMPILE)
def disk_chunk(
    scale_height: Floats,
    C: Floats,
    B: Floats,
    nodes: DiskNodes,
    groups: PixelGroups,
    first: int,
    last: int,
    results: tuple[Floats, Floats, Floats, Floats],
) -> None:
    """Fill the pixels of the blocks first..last, LANES integrals each, for every batch entry.

    Args:
        scale_height, C, B (batch,): parameters.
        nodes, groups: the lines of sight and the pixels of each.
        first, last: the blocks of this chunk.
        results (batch, N) each: the integral and its derivatives by scale height, C and B.
    """
    sums = np.empty((4, LANES))
    for block in range(first, last):
        rows = slice(nodes.block_starts[block], nodes.block_starts[block + 1])
        excess, log_radius = nodes.excess[rows], nodes.log_radius[rows]
        height, weight = nodes.height[rows], nodes.weight[rows]
        line, end = block * LANES, min((block + 1) * LANES, groups.starts.size - 1)
        for entry in range(scale_height.size):
            _disk_sums(scale_height[entry], C[entry], B[entry], excess, log_radius, height, weight, sums)
            for kind in range(4):
                scatter(sums[kind], groups, line, end, results[kind][entry])


@njit(**policy.COMPILE)
def _disk_sums(
    zs: float,
    shape: float,
    power: float,
    excess: Floats,
    log_radius: Floats,
    height: Floats,
    weight: Floats,
    sums: Floats,
) -> None:
    """Density along the lines of one block, alone and times |z| / zs^2, -(R / R0 - 1), log(R / R0); NaN off domain."""
    if not (zs > 0.0 and np.isfinite(zs) and np.isfinite(shape) and np.isfinite(power)):
        sums[:] = np.nan
        return
    sums[:] = 0.0
    inverse = 1.0 / zs
    for node in range(excess.shape[0]):
        for lane in range(LANES):
            exponent = power * log_radius[node, lane] - shape * excess[node, lane] - height[node, lane] * inverse
            density = weight[node, lane] * exponential(exponent)
            sums[0, lane] += density
            sums[1, lane] += density * height[node, lane]
            sums[2, lane] -= density * excess[node, lane]
            sums[3, lane] += density * log_radius[node, lane]
    sums[1] /= zs * zs
