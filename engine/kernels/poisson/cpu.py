"""Numba kernel of the Poisson pixel likelihood: value and gradient in one pass."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.threads import run_tasks

Floats = NDArray[np.float64]


@njit(**COMPILE)
def _pixels(
    counts: NDArray[np.int64], constant: Floats, mean: Floats, cotangent: Floats, log_p: Floats, d_mean: Floats
) -> None:
    """log p = k log(mean) - mean - log k!, and cotangent (k / mean - 1), for the P pixels of one parameter point."""
    for pixel in range(counts.size):
        k, value = counts[pixel], mean[pixel]
        if not value >= 0.0:
            log_p[pixel] = math.nan
            d_mean[pixel] = math.nan
        elif k == 0:  # 0 log 0 = 0
            log_p[pixel] = -value
            d_mean[pixel] = -cotangent[pixel]
        else:
            log_p[pixel] = k * math.log(value) - value - constant[pixel]
            d_mean[pixel] = cotangent[pixel] * (k / value - 1.0)


def evaluate(
    counts: NDArray[np.int64], constant: Floats, mean: Floats, cotangent: Floats, log_p: Floats, d_mean: Floats
) -> None:
    """Fill `log_p` and `d_mean` (B, P) for B parameter points on all threads.

    Args:
        counts (P,): photon counts; constant (P,): their log k!.
        mean (B, P), cotangent (B, P): mean counts; factor of each pixel in the gradient.
    """

    def task(b: int) -> None:
        _pixels(counts, constant, mean[b], cotangent[b], log_p[b], d_mean[b])

    run_tasks(task, mean.shape[0])
