"""Simulated skies on a GPU: the draws of `cpu`, by their addresses, so that a sky is the same sky there."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import numpy as np
from numpy.typing import NDArray

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.simulate.philox import NUMBER, PHOTON, PHOTON_NUMBER, SMOOTH, SOURCE, stream_of
from gammasky.engine.kernels.simulate.reference import on_device
from gammasky.engine.kernels.simulate.tables import LARGEST_W, PixelTable, SourceTable

SKIES = 256  # at a time
PER_PROCESSOR = 8


def draw_skies(
    mean: NDArray[np.float64], pixels: PixelTable, tables: Mapping[int, SourceTable], radii: NDArray[np.float64],
    *, n: int, seed: int, first: int,
) -> NDArray[np.int64]:  # fmt: skip
    """Counts (n, P) of the skies first .. first + n - 1.

    Args:
        mean (P,): smooth mean of the counted pixels.
        pixels, tables: pixels, and the populations by their index.
        radii (K,) [rad]: from `tables.radius_table`, or (0,) for photons that stay in the pixel of their source.
        seed: 0 to 2^63 - 1.
    """
    cupy = gpu.array_library()
    counts = np.zeros((n, mean.size), dtype=np.int64)
    fixed = cupy.asarray(mean), on_device(pixels, cupy), cupy.asarray(radii)
    populations = {i: on_device(table, cupy) for i, table in tables.items()}
    for start in range(0, n, SKIES):
        size = min(SKIES, n - start)
        counts[start : start + size] = cupy.asnumpy(_some(cupy, *fixed, populations, size, seed, first + start))
    return counts


def _some(
    cupy: Any, mean: Any, pixels: PixelTable, radii: Any, tables: Mapping[int, SourceTable],
    skies: int, seed: int, first: int,
) -> Any:  # fmt: skip
    """Counts (skies, P) on the device."""
    counts = cupy.empty((skies, mean.size), dtype=np.int64)
    numbers = cupy.empty(skies, dtype=np.int64)
    address = first, seed
    _launch("smooth_counts", counts.size, skies, *address, stream_of(SMOOTH, 0), mean.size, mean, counts)
    for i, table in tables.items():
        sources, number, photon_number, photons = (
            stream_of(kind, i) for kind in (SOURCE, NUMBER, PHOTON_NUMBER, PHOTON)
        )
        _launch("source_numbers", skies, skies, *address, number, table.expected, numbers)
        most = int(numbers.max())
        _launch(
            "scatter_photons", skies * most, skies, most, *address, sources, photon_number, photons, pixels.nside,
            table.running_sources.size, table.running_cells.size, radii.size, mean.size, LARGEST_W, numbers,
            pixels.face, pixels.x, pixels.y, pixels.offset, pixels.exposure, pixels.position,
            table.running_sources, table.running_cells, table.origin, table.step, table.decay, radii, counts,
        )  # fmt: skip
    return counts


def _launch(name: str, entries: int, *arguments: Any) -> None:
    blocks = gpu.blocks_for(entries, gpu.THREADS, PER_PROCESSOR)
    gpu.launch("simulate", name, blocks, gpu.THREADS, *arguments)
