"""Numba kernel of the photon-level simulation: one sky at a time, every random number at its own address.

The number of sources of a population is Poisson, each source has its pixel by weight, its position uniform inside, its
S from dN/dS and in each energy bin a Poisson number of photons, and each photon its own displacement by the PSF of its
bin.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.simulate.philox import (
    NUMBER,
    PHOTON,
    PHOTON_NUMBER,
    SMOOTH,
    SOURCE,
    stream_of,
    uniforms,
)
from gammasky.engine.kernels.simulate.sphere import displaced, on_face, ring_pixel
from gammasky.engine.kernels.simulate.tables import LARGEST_W, PixelTable, SourceTable
from gammasky.engine.kernels.simulate.variates import entry, in_cell, poisson, radius

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


class Sources(NamedTuple):
    """The n sources of one population in one sky: place in the pixels, direction, S, photons by energy bin (n, E)."""

    pixel: Integers
    z: Floats
    sine: Floats
    phi: Floats
    s: Floats
    photons: Integers

    @classmethod
    def empty(cls, n: int, n_energy: int) -> Sources:
        """Room for n sources."""
        z, sine, phi, s = np.empty((4, n))
        return cls(np.empty(n, dtype=np.int64), z, sine, phi, s, np.empty((n, n_energy), dtype=np.int64))


@njit(**COMPILE)
def add_smooth(mean: Floats, sky: int, seed: np.uint64, counts: Integers) -> None:
    """Add the Poisson counts with the means `mean` to `counts`, both (P,)."""
    stream = stream_of(SMOOTH, 0)
    for pixel in range(mean.size):
        counts[pixel] += poisson(mean[pixel], pixel, stream, sky, seed)


@njit(**COMPILE)
def source_number(table: SourceTable, population: int, sky: int, seed: np.uint64) -> int:
    """The number of sources of a population in one sky."""
    return poisson(table.running_sources[-1], 0, stream_of(NUMBER, population), sky, seed)


@njit(**COMPILE)
def add_sources(
    pixels: PixelTable,
    table: SourceTable,
    radii: Floats,
    population: int,
    sky: int,
    seed: np.uint64,
    counts: Integers,
    sources: Sources,
) -> None:
    """Add the photons of every source of a population to `counts` (P,).

    Args:
        radii (E, K) [rad]: of each energy bin from `tables.radius_table`, or zeros for photons that stay in the pixel
            of their source.
        sources: receives the sources if it has room for any.
    """
    stream = stream_of(SOURCE, population)
    for source in range(source_number(table, population, sky, seed)):
        u, v = uniforms(0, source, stream, sky, seed)
        pixel, cell = entry(table.running_sources, u), entry(table.running_cells, v)
        u, v = uniforms(1, source, stream, sky, seed)
        x, y = (pixels.x[pixel] + u) / pixels.nside, (pixels.y[pixel] + v) / pixels.nside
        direction = on_face(pixels.face[pixel], x, y)
        u, v = uniforms(2, source, stream, sky, seed)
        s = in_cell(table.origin[cell], table.step[cell], table.decay[cell], u)
        if sources.pixel.size > 0:
            sources.pixel[source], sources.s[source] = pixel, s
            sources.z[source], sources.sine[source], sources.phi[source] = direction
        for e in range(len(table.shares)):
            expected = s * table.shares[e] * pixels.exposure[e, pixel]
            photons = poisson(expected, source, stream_of(PHOTON_NUMBER, population, e), sky, seed)
            if sources.pixel.size > 0:
                sources.photons[source, e] = photons
            if radii[e, -1] > 0.0:
                photon_stream = stream_of(PHOTON, population, e)
                _scatter(
                    pixels.nside, pixels.position[e], radii[e], direction, photons, source, photon_stream, sky, seed,
                    counts,
                )  # fmt: skip
            elif pixels.position[e, pixels.pixel[pixel]] >= 0:
                counts[pixels.position[e, pixels.pixel[pixel]]] += photons


@njit(**COMPILE)
def _scatter(
    nside: int,
    position: NDArray[np.int32],
    radii: Floats,
    direction: tuple[float, float, float],
    photons: int,
    source: int,
    stream: int,
    sky: int,
    seed: np.uint64,
    counts: Integers,
) -> None:
    """Displace the photons of one source in one bin by the PSF, and count those that arrive in a counted pixel."""
    z, sine, phi = direction
    for photon in range(photons):
        u, v = uniforms(photon, source, stream, sky, seed)
        z1, sine1, phi1 = displaced(z, sine, phi, radius(radii, LARGEST_W, u), 2.0 * math.pi * v)
        place = position[ring_pixel(nside, z1, sine1, phi1)]
        if place >= 0:
            counts[place] += 1
