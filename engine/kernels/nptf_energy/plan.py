"""How the pixels of several energy bins are laid out: as those of `nptf.plan`, by the sum of their counts."""

from __future__ import annotations

from typing import Any, NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf.plan import LANES, PixelPlan
from gammasky.engine.kernels.vectors import WIDTH


class JointPlan(NamedTuple):
    """Layout of P pixels seen in E bins.

    Attributes:
        bins (E, P): photon counts by bin.
        log_factorial (P,): sum over bins of log k_e!.
        lane_bins, lane_counts (G, E, LANES): of the pixel of each lane the bins by falling counts, and the counts; a
            lane that is not used repeats the first of its strip of `WIDTH`, if that is used.
        strip_counts (G LANES / WIDTH, E + 1): the largest total count of each strip, and the largest of `lane_counts`.
        others: the layout by total counts, `PixelPlan`'s arrays.
    """

    bins: NDArray[np.int64]
    log_factorial: NDArray[np.float64]
    lane_bins: NDArray[np.int32]
    lane_counts: NDArray[np.float64]
    strip_counts: NDArray[np.int64]
    totals: PixelPlan

    @property
    def counts(self) -> NDArray[np.int64]:
        """Photon counts (E, P) by bin."""
        return self.bins

    @property
    def n_pixels(self) -> int:
        return self.totals.n_pixels

    @property
    def n_bins(self) -> int:
        return self.bins.shape[-2]

    @classmethod
    def build(cls, counts: ArrayLike, region: ArrayLike, n_regions: int) -> JointPlan:
        """Lay out `counts (E, P)` with `region (P,)` in 0 .. n_regions - 1.

        Raises:
            InputError: wrong shapes, negative or non-integer counts, a region out of range; names the bin or the pixel.
        """
        array = np.asarray(counts)
        if array.ndim != 2 or not len(array):
            raise InputError(f"counts must have shape (E, P) with at least one bin, got {array.shape}")
        for number, row in enumerate(array):
            wrong = ~(np.isfinite(row) & (row == np.floor(row)) & (row >= 0))
            if wrong.any():
                pixel = int(np.argmax(wrong))
                raise InputError(
                    f"counts of bin {number}, pixel {pixel}: expected a whole number of at least 0, got {row[pixel]}"
                )
        bins = np.ascontiguousarray(array, dtype=np.int64)
        totals = PixelPlan.build(bins.sum(axis=0), np.asarray(region), n_regions)
        log_factorial = gammaln(bins + 1.0).sum(axis=0)
        return cls(bins, log_factorial, *_by_lanes(bins, totals), totals)


def _by_lanes(bins: NDArray[np.int64], totals: PixelPlan) -> tuple[Any, Any, Any]:
    """`lane_bins`, `lane_counts` and `strip_counts`."""
    strips = totals.lanes.reshape(-1, WIDTH)
    pixels = np.where(strips >= 0, strips, strips[:, :1]).reshape(totals.lanes.shape)
    order = np.argsort(-bins, axis=0, kind="stable")
    falling = np.take_along_axis(bins, order, axis=0)
    order, falling = (np.ascontiguousarray(part[:, pixels].transpose(1, 0, 2)) for part in (order, falling))
    by_strip = falling.reshape(*falling.shape[:2], LANES // WIDTH, WIDTH)
    largest = np.concatenate([by_strip.sum(axis=1, keepdims=True), by_strip], axis=1).max(axis=-1, initial=0)
    strip_counts = np.ascontiguousarray(largest.transpose(0, 2, 1).reshape(-1, len(bins) + 1))
    return order.astype(np.int32), falling.astype(np.float64), strip_counts
