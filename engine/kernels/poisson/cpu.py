"""Numba kernel of the Poisson pixel likelihood: value and slope in one pass."""

from __future__ import annotations

import math

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.threads import run_tasks

Floats = NDArray[np.float64]


@njit(**COMPILE)
def _pixels(counts: Floats, constant: Floats, mean: Floats, log_p: Floats, slope: Floats) -> None:
    """log p = k log(mean) - mean - log k!, and its slope k / mean - 1, for the P pixels of one parameter point."""
    for pixel in range(counts.size):
        k, value = counts[pixel], mean[pixel]
        if not value >= 0.0:
            log_p[pixel] = math.nan
            slope[pixel] = math.nan
        elif k == 0:  # 0 log 0 = 0
            log_p[pixel] = -value
            slope[pixel] = -1.0
        else:
            log_p[pixel] = k * math.log(value) - value - constant[pixel]
            slope[pixel] = k / value - 1.0


def evaluate(counts: Floats, constant: Floats, mean: Floats, log_p: Floats, slope: Floats) -> None:
    """Fill `log_p` and `slope` = d log p / d mean (B, P) for B parameter points on all threads.

    Args:
        counts (1 or B, P): photon counts, whole or not; constant (1 or B, P): their log k!.
        mean (B, P): mean counts.
    """

    def task(b: int) -> None:
        own = b * len(counts) // len(mean)
        _pixels(counts[own], constant[own], mean[b], log_p[b], slope[b])

    run_tasks(task, mean.shape[0])
