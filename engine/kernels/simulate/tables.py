"""What the simulators take: pixels, populations and PSF as plain arrays."""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import NamedTuple

import numpy as np
from numpy.typing import NDArray

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]

RADIUS_NODES = 8193
LARGEST_W = math.sqrt(53.0 * math.log(2.0))  # w = sqrt(-log u) of the smallest uniform number, u = 2^-53


class PixelTable(NamedTuple):
    """The N pixels of the sky that sources lie in, and where photons of each of E energy bins are counted.

    Attributes:
        nside: HEALPix resolution.
        pixel (N,): number of the pixel (RING).
        face, x, y (N,): HEALPix face, and position of the pixel's south corner on it in pixels.
        exposure (E, N): exposure over that at which S times the share of the bin is the expected number of photons.
        position (E, 12 nside^2): place in the counts of each bin and pixel, -1 where photons are lost.
    """

    nside: int
    pixel: Integers
    face: Integers
    x: Integers
    y: Integers
    exposure: Floats
    position: NDArray[np.int32]


class SourceTable(NamedTuple):
    """One population, ready for drawing by inversion.

    Attributes:
        running_sources (N,): running sum of the expected numbers of sources in the pixels.
        running_cells (C,): running sum of the integrals of dN/dS over the cells of the S grid that are not empty.
        origin, step, decay (C,): in a cell S = origin exp(step t), with t in (0, 1) of density ~ exp(-decay t).
        shares (E,): expected photons in each energy bin of a source with S = 1, at the reference exposures.
    """

    running_sources: Floats
    running_cells: Floats
    origin: Floats
    step: Floats
    decay: Floats
    shares: Floats

    @property
    def expected(self) -> float:
        """Expected number of sources."""
        return float(self.running_sources[-1])

    @property
    def integral(self) -> float:
        """Integral of dN/dS over S."""
        return float(self.running_cells[-1]) if self.running_cells.size else 0.0

    @classmethod
    def build(cls, expected: Floats, s_grid: Floats, dnds: Floats, shares: Floats) -> SourceTable:
        """Table for dN/dS as a power law between neighbouring nodes.

        With h = log(S1 / S0) and a = h + log(g1 / g0) a cell holds S0 g0 h expm1(a) / a. Where a > 0 it is written from
        its upper end, S1 g1 h expm1(-a) / (-a), so that nothing overflows. A cell with a zero at either end is empty:
        a power law cannot reach zero, and steep functions have underflowed there.

        Args:
            expected (N,): expected number of sources in each pixel.
            s_grid (S,) [counts]: rising nodes; dnds (S,): values there.
            shares (E,): expected photons in each energy bin, for S = 1.
        """
        filled = (dnds[:-1] > 0) & (dnds[1:] > 0)
        log_s = np.log(s_grid)
        lower, h = s_grid[:-1][filled], np.diff(log_s)[filled]
        a = h + np.log(dnds[1:][filled]) - np.log(dnds[:-1][filled])
        rising = a > 0
        origin = np.where(rising, s_grid[1:][filled], lower)
        top = np.where(rising, dnds[1:][filled], dnds[:-1][filled])
        decay = np.abs(a)
        mean = np.ones_like(decay)  # of exp(-decay t) over t
        np.divide(-np.expm1(-decay), decay, out=mean, where=decay > 1e-300)
        integrals = origin * top * h * mean
        return cls(np.cumsum(expected), np.cumsum(integrals), origin, np.where(rising, -h, h), decay, shares)


def radius_table(radius: Callable[[Floats], Floats]) -> Floats:
    """Radii (K,) at equal steps of w = sqrt(-log u), from w = 0 to that of the smallest uniform number.

    u is the fraction of the photons outside. In w both the core (r ~ w for a Gaussian) and a power-law tail
    (r ~ exp(w^2 / (2 g - 2))) are smooth, so linear interpolation is accurate to 2e-6 of the radius.

    Args:
        radius: from the fraction of the photons inside to the radius [rad].
    """
    w = np.linspace(0.0, LARGEST_W, RADIUS_NODES)
    return np.ascontiguousarray(radius(-np.expm1(-(w**2))), dtype=np.float64)
