"""The photon-level simulation in plain NumPy.

All sources and photons of a sky at once. It shares only its input tables with the Numba kernel: other random numbers,
displacement by vectors, radii by interpolation.
"""

from __future__ import annotations

from typing import Any

import numpy as np

from gammasky.engine.kernels.simulate.tables import LARGEST_W, PixelTable, SourceTable


def draw_sky(mean: Any, pixels: PixelTable, tables: list[SourceTable], radii: Any, generator: Any) -> Any:
    """Counts (P,) of one sky.

    Args:
        mean (P,): smooth mean of the counted pixels.
        pixels, tables: pixels and populations.
        radii (E, K) [rad]: of each energy bin from `tables.radius_table`, or zeros for photons that stay in the pixel
            of their source.
        generator: `np.random.default_rng(seed)`; skies that follow each other take it along.
    """
    counts = generator.poisson(mean).astype(np.int64)
    for table in tables:
        pixel, z, sine, phi, s = draw_sources(pixels, table, generator)
        for e, share in enumerate(table.shares):
            source = np.repeat(np.arange(pixel.size), generator.poisson(s * share * pixels.exposure[e, pixel]))
            found = pixels.pixel[pixel[source]]
            if radii[e, -1] > 0:
                found = _arrivals(pixels.nside, z[source], sine[source], phi[source], radii[e], generator)
            # entry 0 is the lost photons
            counts += np.bincount(pixels.position[e, found] + 1, minlength=counts.size + 1)[1:]
    return counts


def draw_sources(pixels: PixelTable, table: SourceTable, generator: Any) -> tuple[Any, ...]:
    """Place in the pixels, z, sine, phi and S of the sources of one population, each (n,)."""
    n = int(generator.poisson(table.expected))
    if n == 0:
        return np.zeros(0, dtype=np.int64), *(np.zeros(0) for _ in range(4))
    pixel = np.searchsorted(table.running_sources, generator.random(n) * table.running_sources[-1], side="right")
    cell = np.searchsorted(table.running_cells, generator.random(n) * table.running_cells[-1], side="right")
    decay, u = table.decay[cell], generator.random(n)
    flat = decay < 1e-300
    t = np.where(flat, u, -np.log1p(u * np.expm1(-decay)) / np.where(flat, 1.0, decay))
    x, y = ((corner[pixel] + generator.random(n)) / pixels.nside for corner in (pixels.x, pixels.y))
    return pixel, *_on_face(pixels.face[pixel], x, y), table.origin[cell] * np.exp(table.step[cell] * t)


def _on_face(face: Any, x: Any, y: Any) -> tuple[Any, Any, Any]:
    """z, sine of the colatitude and longitude [rad] at face coordinates (Gorski et al. 2005, section 5)."""
    row = face // 4
    down = row + 2.0 - x - y
    width = np.minimum(np.minimum(down, 4.0 - down), 1.0)
    cap = 1.0 - width**2 / 3.0
    z = np.where(down < 1.0, cap, np.where(down > 3.0, -cap, (2.0 - down) * 2.0 / 3.0))
    sine = np.where(width < 1.0, width * np.sqrt((2.0 - width**2 / 3.0) / 3.0), np.sqrt((1.0 - z) * (1.0 + z)))
    turns = 2 * (face % 4) + np.where(row == 1, 0, 1)
    return z, sine, 0.25 * np.pi * (turns + (x - y) / np.where(width > 0.0, width, 1.0))


def _arrivals(nside: int, z: Any, sine: Any, phi: Any, radii: Any, generator: Any) -> Any:
    """Pixel (RING) that each photon is found in, given the direction of its source."""
    w = np.sqrt(generator.standard_exponential(z.size))
    r = np.interp(w, np.linspace(0.0, LARGEST_W, radii.size), radii)
    angle = 2.0 * np.pi * generator.random(z.size)
    cosine, sin_phi = np.cos(phi), np.sin(phi)
    north = (-z * cosine, -z * sin_phi, sine)
    east = (-sin_phi, cosine, np.zeros_like(z))
    centre = (sine * cosine, sine * sin_phi, z)
    along, aside, ahead = np.sin(r) * np.cos(angle), np.sin(r) * np.sin(angle), np.cos(r)
    vx, vy, vz = (ahead * c + along * n + aside * e for c, n, e in zip(centre, north, east, strict=True))
    return ring_pixels(nside, vx, vy, vz)


def ring_pixels(nside: int, vx: Any, vy: Any, vz: Any) -> Any:
    """HEALPix pixels (RING) of unit vectors (Gorski et al. 2005, section 4)."""
    quarters = np.mod(np.arctan2(vy, vx) * (2.0 / np.pi), 4.0)
    quarters = np.where(quarters >= 4.0, 0.0, quarters)
    height = np.abs(vz)
    polar = height > 2.0 / 3.0
    distance = nside * np.minimum(np.hypot(vx, vy) * np.sqrt(3.0 / (1.0 + height)), 1.0)
    inside = quarters - np.floor(quarters)
    ring = 1 + np.floor(distance * inside) + np.floor(distance * (1.0 - inside))
    ring = np.minimum(ring, nside).astype(np.int64)
    number = np.minimum(np.floor(quarters * ring).astype(np.int64), 4 * ring - 1)
    cap = np.where(vz > 0, 2 * ring * (ring - 1) + number, 12 * nside**2 - 2 * ring * (ring + 1) + number)
    rising = np.floor(nside * (0.5 + quarters - 0.75 * vz)).astype(np.int64)
    falling = np.floor(nside * (0.5 + quarters + 0.75 * vz)).astype(np.int64)
    row = np.clip(nside + rising - falling, 0, 2 * nside)
    number = ((rising + falling - nside + 1 + row % 2) // 2) % (4 * nside)
    return np.where(polar, cap, 2 * nside * (nside - 1) + 4 * nside * row + number)
