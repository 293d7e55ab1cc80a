"""The rows that the joint kernel works on, and how they are filled."""

from __future__ import annotations

import math
from typing import NamedTuple

from numba import njit

from gammasky.engine.kernels.elementary import logarithm
from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.vectors import WIDTH, rows_of

PAD = 4  # zeros around coefficients, which are worked out four at a time


class Rows(NamedTuple):
    """Where in the array `work` (rows, WIDTH) the numbers of a strip begin; K is the largest total count of a chunk.

    Attributes:
        y, q: y_m = m x_m and q_n; `step` rows each, as many as K asks for.
        inverse: 1 / n; weight: n! (e / K)^n of the strip.
        d_x: d/dX of the region, lane by lane, `step` rows for each population; zero between regions.
        template, slope: of the pixels, and d log p / d template; one row for each population.
        product: coefficients of the product of the bins before each, and of all; `wide` = `step` + 2 `PAD` rows for
            each, of which the first `PAD` are zero.
        factor: coefficients b_j, `step` rows for each bin. mean_power, phi_power: mu^n / n!, phi^n / n! of one bin.
        back, next: dS/dc and dS/da. h: n! c_n; w: dS/dx_m, the last first; d_factor: dS/db_j. `wide` rows each.
        mean, phi, photons: of each bin, in their units; found: two sums of each.
        units, total, scale: lambda; the logarithm of what the units leave out; S, then cotangent / S. One row each.
    """

    y: int
    q: int
    inverse: int
    weight: int
    d_x: int
    template: int
    slope: int
    product: int
    factor: int
    mean_power: int
    phi_power: int
    back: int
    next: int
    h: int
    w: int
    d_factor: int
    mean: int
    phi: int
    photons: int
    found: int
    units: int
    total: int
    scale: int
    step: int
    wide: int


@njit(**COMPILE)
def rows_for(largest: int, populations: int, bins: int) -> tuple[Floats, Rows]:
    """`work` for total counts up to `largest`, and its rows."""
    step = max(largest, 1) + 1
    wide = step + 2 * PAD
    template = (4 + populations) * step
    product = template + 2 * populations + PAD
    factor = product + (bins + 1) * wide
    back = factor + (bins + 2) * step + PAD
    mean = back + 5 * wide
    units = mean + 5 * bins
    at = Rows(
        0, step, 2 * step, 3 * step, 4 * step, template, template + populations, product, factor,
        factor + bins * step, factor + (bins + 1) * step, back, back + wide, back + 2 * wide, back + 3 * wide,
        back + 4 * wide, mean, mean + bins, mean + 2 * bins, mean + 3 * bins, units, units + 1, units + 2, step, wide,
    )  # fmt: skip
    work = rows_of(units + 3)
    for n in range(1, step):
        work[at.inverse + n] = 1.0 / n
    return work, at


@njit(**COMPILE)
def load(
    strips: Whole, strip: int, counts: Whole, bins: Whole, mean: Floats, templates: Floats, shares: Floats, unit: float,
    work: Floats, at: Rows,
) -> None:  # fmt: skip
    """Gather what a strip needs, in its units; a lane that is not used repeats the first pixel."""
    for lane in range(WIDTH):
        pixel = strips[strip, lane] if strips[strip, lane] >= 0 else strips[strip, 0]
        for i in range(templates.shape[0]):
            work[at.template + i, lane] = templates[i, pixel]
        total = 0.0
        for e in range(len(bins)):
            work[at.photons + e, lane], work[at.mean + e, lane] = bins[e, pixel], mean[e, pixel]
            total += mean[e, pixel]
        work[at.scale, lane], work[at.total, lane] = counts[pixel], total
        work[at.units, lane] = math.e * (total + unit) / counts[pixel] if counts[pixel] > 0 else 1.0
    for lane in range(WIDTH):
        work[at.total, lane] = work[at.scale, lane] * logarithm(work[at.units, lane]) - work[at.total, lane]
    for e in range(len(bins)):
        for lane in range(WIDTH):
            work[at.mean + e, lane] /= work[at.units, lane]
            work[at.phi + e, lane] = unit * shares[e] / work[at.units, lane]
