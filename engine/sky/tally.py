"""Adding up a source's photons in pixels: the inner loop of the pixel fractions."""

from __future__ import annotations

import numpy as np
from numba import njit

from gammasky.engine.kernels.policy import CACHE


@njit(nogil=True, cache=CACHE)
def tally_sources(
    pixel: np.ndarray, weight: np.ndarray, edges: np.ndarray, scratch: np.ndarray, number: np.ndarray, total: np.ndarray
) -> None:
    """Bin the fractions that sources put in pixels.

    Args:
        pixel (sources, photons): pixel of each photon.
        weight (photons,): share of each photon.
        edges (F + 1,): rising edges of the bins of f, from 0.
        scratch (npix,): zeros, and zeros again on return.
        number, total (F,): incremented by the pixels and by the fractions in each bin.
    """
    last = len(edges) - 2
    for source in range(pixel.shape[0]):
        for photon in range(pixel.shape[1]):
            scratch[pixel[source, photon]] += weight[photon]
        for photon in range(pixel.shape[1]):
            fraction = scratch[pixel[source, photon]]
            if fraction > 0.0:
                place = min(max(np.searchsorted(edges, fraction, side="right") - 1, 0), last)
                number[place] += 1.0
                total[place] += fraction
                scratch[pixel[source, photon]] = 0.0
