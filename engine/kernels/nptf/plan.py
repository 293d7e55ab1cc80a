"""How the pixels of a dataset are laid out for the kernel: lanes of like pixels, chunks of like work.

Pixels are sorted by region, then by count, and taken `LANES` at a time: the pixels of a group share their response
and have nearly equal counts, so one recursion serves all of them as vector lanes. Groups are cut into chunks of equal
work, which threads share. The layout depends on the data alone, never on the number of threads.

A plan is a tuple of arrays whose shapes follow from the number of pixels in each region: programs take it as an
argument, so one compiled program serves every counts map of a region.
"""

from __future__ import annotations

import math
from typing import Any, NamedTuple

import numpy as np
from numpy.typing import NDArray
from scipy.special import gammaln

from gammasky.engine.errors import InputError

LANES = 32
CHUNKS = 8


class PixelPlan(NamedTuple):
    """Layout of P pixels as G groups of `LANES` lanes in `CHUNKS` chunks.

    Attributes:
        counts (P,): photon counts; float64 where they are not whole, see `build`.
        log_factorial (P,): log k! of the counts.
        region (P,): index of the exposure region.
        region_sizes (R,): number of pixels in each region.
        lanes (G, LANES): pixel of each lane, -1 for a lane that is not used.
        group_region (G,): region of each group.
        group_counts (G,): largest count of each group.
        chunks (CHUNKS + 1,): first group of each chunk, and G.
        order (G,): groups by falling largest count; a device begins with the longest.
    """

    counts: NDArray[np.int64]
    log_factorial: NDArray[np.float64]
    region: NDArray[np.int64]
    region_sizes: NDArray[np.int64]
    lanes: NDArray[np.int64]
    group_region: NDArray[np.int64]
    group_counts: NDArray[np.int64]
    chunks: NDArray[np.int64]
    order: NDArray[np.int64]

    @property
    def n_pixels(self) -> int:
        return self.counts.shape[-1]

    @property
    def n_regions(self) -> int:
        return self.region_sizes.shape[-1]

    @property
    def max_count(self) -> int:
        """The largest count, 0 where there is no pixel."""
        return math.ceil(self.counts.max(initial=0))

    @classmethod
    def build(
        cls, counts: NDArray[Any], region: NDArray[np.int64], n_regions: int, *, fractions: bool = False
    ) -> PixelPlan:
        """Lay out `counts (P,)` with `region (P,)` in 0 .. n_regions - 1.

        Args:
            counts: photon counts.
            region: of each pixel.
            n_regions: number of regions.
            fractions: counts need not be whole, as of expected counts; for a Poisson likelihood, where log k! is
                log Gamma(k + 1).

        Raises:
            InputError: wrong shapes, negative or non-integer counts, a region out of range; names the pixel.
        """
        counts, region = _any(counts) if fractions else _whole("counts", counts), _whole("region", region)
        if counts.shape != region.shape:
            raise InputError(f"counts and region must have one shape (P,), got {counts.shape} and {region.shape}")
        _require("counts", counts, counts >= 0, "at least 0")
        _require("region", region, (region >= 0) & (region < n_regions), f"0 to {n_regions - 1}")
        order = np.lexsort((counts, region))
        groups = [_rows(order[region[order] == r]) for r in range(n_regions)]
        lanes = np.concatenate([*groups, np.empty((0, LANES), dtype=np.int64)])
        largest = np.ceil(counts).astype(np.int64)
        group_counts = np.where(lanes >= 0, largest[lanes] if counts.size else 0, 0).max(axis=1, initial=0)
        group_region = np.repeat(np.arange(n_regions), [len(g) for g in groups])
        sizes = np.bincount(region, minlength=n_regions)
        chunks, order = _equal_work(group_counts), np.argsort(-group_counts, kind="stable")
        return cls(counts, gammaln(counts + 1.0), region, sizes, lanes, group_region, group_counts, chunks, order)


def _any(values: NDArray[Any]) -> NDArray[Any]:
    """Counts (P,) as float64 or, where they are whole numbers, as int64."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"counts must have shape (P,), got {array.shape}")
    _require("counts", array, np.isfinite(array), "a finite number")
    if (array == np.floor(array)).all():
        return _whole("counts", array)
    return np.ascontiguousarray(array, dtype=np.float64)


def _whole(name: str, values: NDArray[np.int64]) -> NDArray[np.int64]:
    """`values` as int64 (P,), refusing what is not a whole number."""
    array = np.asarray(values)
    if array.ndim != 1:
        raise InputError(f"{name} must have shape (P,), got {array.shape}")
    if not np.issubdtype(array.dtype, np.integer):
        _require(name, array, np.isfinite(array) & (array == np.floor(array)), "a whole number")
    return np.ascontiguousarray(array, dtype=np.int64)


def _require(name: str, values: NDArray[np.int64], good: NDArray[np.bool_], expected: str) -> None:
    """Raise for the first pixel that is not `good`."""
    if not good.all():
        pixel = int(np.argmin(good))
        raise InputError(f"{name} of pixel {pixel}: expected {expected}, got {values[pixel]}")


def _rows(pixels: NDArray[np.int64]) -> NDArray[np.int64]:
    """`pixels` cut into rows of `LANES`, the last one filled up with -1."""
    padding = -pixels.size % LANES
    return np.concatenate([pixels, np.full(padding, -1, dtype=np.int64)]).reshape(-1, LANES)


def _equal_work(group_counts: NDArray[np.int64]) -> NDArray[np.int64]:
    """Chunk limits that give each chunk about the same work: a group of count k costs about k^2 / 2 + 8 k + 20."""
    work = np.cumsum(group_counts**2 / 2 + 8.0 * group_counts + 20.0)
    total = work[-1] if work.size else 0.0
    limits = np.searchsorted(work, total * np.arange(1, CHUNKS) / CHUNKS)
    return np.concatenate([[0], limits, [group_counts.size]]).astype(np.int64)
