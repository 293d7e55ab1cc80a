"""The likelihood's own draw: independent pixels, each Poisson plus compound Poisson. No sources, no PSF, no sphere."""

from __future__ import annotations

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.simulate.philox import COMPOUND, COMPOUND_NUMBER, SMOOTH, stream_of, uniforms
from gammasky.engine.kernels.simulate.variates import LARGEST_MEAN, entry, poisson
from gammasky.engine.kernels.threads import run_tasks

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]


def compound_counts(
    mean: Floats, templates: Floats, x: Floats, region: Integers, seed: int, n: int, first: int = 0
) -> Integers:
    """Counts from the distribution that the NPTF likelihood assigns to them.

    k_p = Poisson(mean_p) + sum_i (m_1 + ... + m_N),   N ~ Poisson(T_ip sum_m X_irm),   P(m) = X_irm / sum_m X_irm,

    with generating function log G_p(t) = mean_p (t - 1) + sum_i T_ip sum_{m=1..M} X_irm (t^m - 1).

    Args:
        mean (P,): smooth mean; templates (I, P): point-source templates.
        x (I, R, M + 1): response times dN/dS; entry m = 0 is not used.
        region (P,): region of each pixel.
        seed: 0 to 2^63 - 1.
        n: number of skies; first: number of the first of them.

    Returns:
        counts (n, P). Row j depends on seed and first + j alone.

    Raises:
        InputError: a value that is negative, not finite, or makes a Poisson mean above 1e9.
    """
    running = np.cumsum(x[..., 1:], axis=-1)
    number = templates * running[:, region, -1]
    for name, values in (("mean", mean), ("templates", templates), ("x", x[..., 1:]), ("templates times x", number)):
        if not np.all((values >= 0) & (values <= LARGEST_MEAN)):
            worst = values[~((values >= 0) & (values <= LARGEST_MEAN))][0]
            raise InputError(f"compound counts: {name} must be from 0 to {LARGEST_MEAN:g}, got {worst}")
    counts = np.zeros((n, mean.size), dtype=np.int64)

    def task(sky: int) -> None:
        _draw(mean, number, running, region, first + sky, np.uint64(seed), counts[sky])

    run_tasks(task, n)
    return counts


@njit(**COMPILE)
def _draw(
    mean: Floats, number: Floats, running: Floats, region: Integers, sky: int, seed: np.uint64, counts: Integers
) -> None:
    """One sky: fill `counts` (P,), given the mean numbers of bunches `number` (I, P) and running sums (I, R, M)."""
    smooth = stream_of(SMOOTH, 0)
    for pixel in range(mean.size):
        total = poisson(mean[pixel], pixel, smooth, sky, seed)
        for i in range(number.shape[0]):
            stream = stream_of(COMPOUND, i)
            bunches = poisson(number[i, pixel], pixel, stream_of(COMPOUND_NUMBER, i), sky, seed)
            for bunch in range(bunches):
                u, _ = uniforms(bunch, pixel, stream, sky, seed)
                total += 1 + entry(running[i, region[pixel]], u)
        counts[pixel] = total
