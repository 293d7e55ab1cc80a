"""Second parameter derivatives of the line-of-sight integrals; the nodes, lanes and pixels are those of `cpu`.

Both integrands are exponentials of something linear in gamma, in C and B, and in 1 / z_s, so second derivatives are
second moments under the integral sign. They run only where second derivatives are asked for.
"""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.profiles.cpu import BLOCK, exponential, scatter
from gammasky.engine.kernels.profiles.geometry import LANES, DiskNodes, PixelGroups

Floats = NDArray[np.float64]


@njit(**policy.COMPILE)
def nfw_chunk(
    gamma: Floats,
    log_shape: Floats,
    weight: Floats,
    cardinal: Floats,
    groups: PixelGroups,
    first: int,
    last: int,
    d2_gamma: Floats,
) -> None:
    """Fill the pixels of integrals first..last for every batch entry.

    Args:
        gamma (batch,): inner slopes.
        log_shape, weight, cardinal: see `NFWSky`.
        groups: the pixels of each integral.
        first, last: the integrals of this chunk.
        d2_gamma (batch, N): d2J/dgamma2, written at the pixels of the chunk.
    """
    log_j = np.empty((3, log_shape.shape[1]))
    at_pixels = np.empty((3, BLOCK))
    for entry in range(gamma.size):
        _nfw_at_nodes(gamma[entry], log_shape, weight, log_j)
        for block in range(first, last, BLOCK):
            end = min(block + BLOCK, last)
            _interpolate(log_j, cardinal[:, block:end], at_pixels)
            scatter(at_pixels[2], groups, block, end, d2_gamma[entry])


@njit(**policy.COMPILE)
def _nfw_at_nodes(gamma: float, log_shape: Floats, weight: Floats, log_j: Floats) -> None:
    """log J and its two derivatives by gamma at the Chebyshev angles (3, K): -2 mean(s) and 4 var(s) of log_shape."""
    log_j[0] = 0.0 if np.isfinite(gamma) else np.nan
    log_j[1:] = 0.0
    for q in range(log_shape.shape[0]):
        for k in range(log_j.shape[1]):
            density = weight[q, k] * exponential(-2.0 * gamma * log_shape[q, k])
            log_j[0, k] += density
            log_j[1, k] += log_shape[q, k] * density
            log_j[2, k] += log_shape[q, k] ** 2 * density
    for k in range(log_j.shape[1]):
        mean = log_j[1, k] / log_j[0, k]
        log_j[2, k] = 4.0 * (log_j[2, k] / log_j[0, k] - mean * mean)
        log_j[1, k] = -2.0 * mean
        log_j[0, k] = np.log(log_j[0, k])


@njit(**policy.COMPILE)
def _interpolate(log_j: Floats, cardinal: Floats, at_pixels: Floats) -> None:
    """From log J and its derivatives at the Chebyshev angles to those of one block; row 2 becomes d2J/dgamma2."""
    at_pixels[:] = 0.0
    for order in range(3):
        for k in range(log_j.shape[1]):
            for i in range(cardinal.shape[1]):
                at_pixels[order, i] += log_j[order, k] * cardinal[k, i]
    for i in range(cardinal.shape[1]):
        at_pixels[2, i] = exponential(at_pixels[0, i]) * (at_pixels[1, i] ** 2 + at_pixels[2, i])


@njit(**policy.COMPILE)
def disk_chunk(
    scale_height: Floats,
    C: Floats,
    B: Floats,
    nodes: DiskNodes,
    groups: PixelGroups,
    first: int,
    last: int,
    results: tuple[Floats, Floats, Floats, Floats, Floats, Floats],
) -> None:
    """Fill the pixels of the blocks first..last, LANES integrals each, for every batch entry.

    Args:
        scale_height, C, B (batch,): parameters.
        nodes, groups: the lines of sight and the pixels of each.
        first, last: the blocks of this chunk.
        results (batch, N) each: the second derivatives by (z_s, z_s), (z_s, C), (z_s, B), (C, C), (C, B), (B, B).
    """
    sums = np.empty((7, LANES))
    for block in range(first, last):
        rows = slice(nodes.block_starts[block], nodes.block_starts[block + 1])
        excess, log_radius = nodes.excess[rows], nodes.log_radius[rows]
        height, weight = nodes.height[rows], nodes.weight[rows]
        line, end = block * LANES, min((block + 1) * LANES, groups.starts.size - 1)
        for entry in range(scale_height.size):
            _disk_moments(scale_height[entry], C[entry], B[entry], excess, log_radius, height, weight, sums)
            for kind in range(6):
                scatter(sums[kind], groups, line, end, results[kind][entry])


@njit(**policy.COMPILE)
def _disk_moments(
    zs: float,
    shape: float,
    power: float,
    excess: Floats,
    log_radius: Floats,
    height: Floats,
    weight: Floats,
    sums: Floats,
) -> None:
    """Density along the lines of one block times the products of |z|, -(R / R0 - 1), log(R / R0); NaN off domain.

    By z_s twice it is z^2 / zs^4 - 2 |z| / zs^3; the sum of |z| stays behind in the last row.
    """
    if not (zs > 0.0 and np.isfinite(zs) and np.isfinite(shape) and np.isfinite(power)):
        sums[:] = np.nan
        return
    sums[:] = 0.0
    inverse = 1.0 / zs
    for node in range(excess.shape[0]):
        for lane in range(LANES):
            z, e, log_r = height[node, lane], excess[node, lane], log_radius[node, lane]
            density = weight[node, lane] * exponential(power * log_r - shape * e - z * inverse)
            sums[0, lane] += density * z * z
            sums[1, lane] -= density * z * e
            sums[2, lane] += density * z * log_r
            sums[3, lane] += density * e * e
            sums[4, lane] -= density * e * log_r
            sums[5, lane] += density * log_r * log_r
            sums[6, lane] += density * z
    for lane in range(LANES):
        sums[0, lane] = (sums[0, lane] * inverse - 2.0 * sums[6, lane]) * inverse**3
    sums[1:3] *= inverse * inverse
