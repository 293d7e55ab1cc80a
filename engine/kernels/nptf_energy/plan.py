"""How the pixels of several energy bins are laid out: as those of `nptf.plan`, by the sum of their counts."""

from __future__ import annotations

from typing import NamedTuple

import numpy as np
from numpy.typing import ArrayLike, NDArray
from scipy.special import gammaln

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf.plan import PixelPlan


class JointPlan(NamedTuple):
    """Layout of P pixels seen in E bins.

    Attributes:
        bins (E, P): photon counts by bin.
        log_factorial (P,): sum over bins of log k_e!.
        others: the layout by total counts, `PixelPlan`'s arrays.
    """

    bins: NDArray[np.int64]
    log_factorial: NDArray[np.float64]
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
        return cls(bins, gammaln(bins + 1.0).sum(axis=0), totals)
