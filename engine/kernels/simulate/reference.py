"""The photon-level simulation written with an array module: NumPy as the reference, CuPy on a GPU.

All sources and photons of a sky at once. It shares only its input tables with the Numba kernel: other random numbers,
displacement by vectors, radii by `xp.interp`. Only functions that both modules have are used.
"""

from __future__ import annotations

from types import ModuleType
from typing import Any

import numpy as np

from gammasky.engine.kernels.simulate.tables import LARGEST_W, PixelTable, SourceTable


def draw_sky(
    mean: Any, pixels: PixelTable, tables: list[SourceTable], radii: Any, generator: Any, xp: ModuleType = np
) -> Any:
    """Counts (P,) of one sky.

    Args:
        mean (P,): smooth mean of the counted pixels.
        pixels, tables: pixels and populations; arrays of `xp` (see `on_device`).
        radii (K,) [rad]: from `tables.radius_table`, or (0,) for photons that stay in the pixel of their source.
        generator: `xp.random.default_rng(seed)`; skies that follow each other take it along.
        xp: `numpy` or `cupy`.
    """
    counts = generator.poisson(mean).astype(xp.int64)
    for table in tables:
        pixel, z, sine, phi, s = draw_sources(pixels, table, generator, xp)
        running = xp.cumsum(generator.poisson(s * pixels.exposure[pixel]))
        photons = int(running[-1]) if pixel.size else 0
        if photons == 0:
            continue
        source = xp.searchsorted(running, xp.arange(photons), side="right")
        if radii.size:
            found = _arrivals(pixels.nside, z[source], sine[source], phi[source], radii, generator, xp)
            place = pixels.position[pixels.offset[pixel[source]] + found]
        else:
            place = xp.where(pixel[source] < pixels.n_counted, pixel[source], -1)
        counts += xp.bincount(place + 1, minlength=pixels.n_counted + 1)[1:]  # entry 0 is the lost photons
    return counts


def on_device(table: Any, xp: ModuleType) -> Any:
    """A named tuple with its arrays as arrays of `xp`."""
    return type(table)(*(xp.asarray(value) if isinstance(value, np.ndarray) else value for value in table))


def draw_sources(pixels: PixelTable, table: SourceTable, generator: Any, xp: ModuleType = np) -> tuple[Any, ...]:
    """Place in the pixels, z, sine, phi and S of the sources of one population, each (n,)."""
    n = int(generator.poisson(table.expected))
    if n == 0:
        return xp.zeros(0, dtype=xp.int64), *(xp.zeros(0) for _ in range(4))
    pixel = xp.searchsorted(table.running_sources, generator.random(n) * table.running_sources[-1], side="right")
    cell = xp.searchsorted(table.running_cells, generator.random(n) * table.running_cells[-1], side="right")
    decay, u = table.decay[cell], generator.random(n)
    flat = decay < 1e-300
    t = xp.where(flat, u, -xp.log1p(u * xp.expm1(-decay)) / xp.where(flat, 1.0, decay))
    x, y = ((corner[pixel] + generator.random(n)) / pixels.nside for corner in (pixels.x, pixels.y))
    return pixel, *_on_face(pixels.face[pixel], x, y, xp), table.origin[cell] * xp.exp(table.step[cell] * t)


def _on_face(face: Any, x: Any, y: Any, xp: ModuleType) -> tuple[Any, Any, Any]:
    """z, sine of the colatitude and longitude [rad] at face coordinates (Gorski et al. 2005, section 5)."""
    row = face // 4
    down = row + 2.0 - x - y
    width = xp.minimum(xp.minimum(down, 4.0 - down), 1.0)
    cap = 1.0 - width**2 / 3.0
    z = xp.where(down < 1.0, cap, xp.where(down > 3.0, -cap, (2.0 - down) * 2.0 / 3.0))
    sine = xp.where(width < 1.0, width * xp.sqrt((2.0 - width**2 / 3.0) / 3.0), xp.sqrt((1.0 - z) * (1.0 + z)))
    turns = 2 * (face % 4) + xp.where(row == 1, 0, 1)
    return z, sine, 0.25 * np.pi * (turns + (x - y) / xp.where(width > 0.0, width, 1.0))


def _arrivals(nside: int, z: Any, sine: Any, phi: Any, radii: Any, generator: Any, xp: ModuleType) -> Any:
    """Pixel (RING) that each photon is found in, given the direction of its source."""
    w = xp.sqrt(generator.standard_exponential(z.size))
    r = xp.interp(w, xp.linspace(0.0, LARGEST_W, radii.size), radii)
    angle = 2.0 * np.pi * generator.random(z.size)
    cosine, sin_phi = xp.cos(phi), xp.sin(phi)
    north = (-z * cosine, -z * sin_phi, sine)
    east = (-sin_phi, cosine, xp.zeros_like(z))
    centre = (sine * cosine, sine * sin_phi, z)
    along, aside, ahead = xp.sin(r) * xp.cos(angle), xp.sin(r) * xp.sin(angle), xp.cos(r)
    vx, vy, vz = (ahead * c + along * n + aside * e for c, n, e in zip(centre, north, east, strict=True))
    return ring_pixels(nside, vx, vy, vz, xp)


def ring_pixels(nside: int, vx: Any, vy: Any, vz: Any, xp: ModuleType = np) -> Any:
    """HEALPix pixels (RING) of unit vectors (Gorski et al. 2005, section 4)."""
    quarters = xp.mod(xp.arctan2(vy, vx) * (2.0 / np.pi), 4.0)
    quarters = xp.where(quarters >= 4.0, 0.0, quarters)
    height = xp.abs(vz)
    polar = height > 2.0 / 3.0
    distance = nside * xp.minimum(xp.hypot(vx, vy) * xp.sqrt(3.0 / (1.0 + height)), 1.0)
    inside = quarters - xp.floor(quarters)
    ring = 1 + xp.floor(distance * inside) + xp.floor(distance * (1.0 - inside))
    ring = xp.minimum(ring, nside).astype(xp.int64)
    number = xp.minimum(xp.floor(quarters * ring).astype(xp.int64), 4 * ring - 1)
    cap = xp.where(vz > 0, 2 * ring * (ring - 1) + number, 12 * nside**2 - 2 * ring * (ring + 1) + number)
    rising = xp.floor(nside * (0.5 + quarters - 0.75 * vz)).astype(xp.int64)
    falling = xp.floor(nside * (0.5 + quarters + 0.75 * vz)).astype(xp.int64)
    row = xp.clip(nside + rising - falling, 0, 2 * nside)
    number = ((rising + falling - nside + 1 + row % 2) // 2) % (4 * nside)
    return xp.where(polar, cap, 2 * nside * (nside - 1) + 4 * nside * row + number)
