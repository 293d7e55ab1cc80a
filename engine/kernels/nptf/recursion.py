"""The recursion of the NPTF likelihood in plain floating point, and the rows that it works on.

With x_m = sum_i T_i X_{i,m} + mean [m = 1] for m >= 1 the Taylor coefficients of exp(sum_m x_m t^m) are

    q_0 = 1,      q_n = (1/n) sum_{m=1..n} m x_m q_{n-m}.

All x_m are non-negative, so nothing cancels; only the range needs care. `recursion` runs `WIDTH` pixels side by side in
plain floating point and says whether they stayed in a safe range; `scaled` is for the others.
"""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.nptf.lanes import add_scaled, add_terms, all_between, convolve, convolve_four
from gammasky.engine.kernels.policy import COMPILE, SAFE_HIGH, SAFE_LOW
from gammasky.engine.kernels.vectors import WIDTH, rows_of

Floats = NDArray[np.float64]
Whole = NDArray[np.int64]
LOOK = 256  # q_n between two looks at whether they have left the range


class Rows(NamedTuple):
    """Where in the array `work` (rows, WIDTH) the numbers of a strip of `WIDTH` pixels begin; k is its largest count.

    Attributes:
        y, q: y_m = m x_m and q_n; `step` rows each, as many as the largest count asks for, at least 2.
        inverse: 1 / n, `step` rows.
        d_x: d/dX of the region, lane by lane, `step` rows for each population; zero between regions.
        template, slope: of the pixels, and d log p / d template; one row for each population.
        mean, total, scale: one row each.
    """

    y: int
    q: int
    inverse: int
    d_x: int
    template: int
    slope: int
    mean: int
    total: int
    scale: int
    step: int


@njit(**COMPILE)
def rows_for(largest: int, populations: int) -> tuple[Floats, Rows]:
    """`work` for counts up to `largest`, each row of which begins where a line of the cache does; and its rows."""
    step = max(largest, 1) + 1
    template = (3 + populations) * step
    slope, mean = template + populations, template + 2 * populations
    at = Rows(0, step, 2 * step, 3 * step, template, slope, mean, mean + 1, mean + 2, step)
    work = rows_of(at.scale + 1)
    for n in range(1, step):
        work[at.inverse + n] = 1.0 / n
    return work, at


@njit(**COMPILE)
def recursion(k: int, x: Floats, row: int, stride: int, populations: int, work: Floats, at: Rows) -> bool:
    """Fill y and q up to k; False where a y is negative, a q not in the safe range, or NaN. y_1 is there for k = 0 too.

    Args:
        k: largest count of the strip.
        x: response times dN/dS of one point, all axes joined into one; x_m of population i at row + i stride + m.
        work, at: means and templates of the strip are filled in.
    """
    top = max(k, 1)
    for m in range(1, top + 1):
        for lane in range(WIDTH):
            work[at.y + m, lane] = 0.0
    add_scaled(work, at.y + 1, 1.0, at.mean)
    for i in range(populations):
        add_terms(work, at.y, top, x, row + i * stride, at.template + i)
    if not all_between(work, at.y + 1, at.y + top, 0.0, math.inf):
        return False
    for lane in range(WIDTH):
        work[at.q, lane] = 1.0
    single = (k + 3) % 4 + 1 if k > 0 else 0  # 1 to 4, then whole fours
    for n in range(1, single + 1):
        convolve(work, at.q, at.y, at.inverse, n)
    for n in range(single + 1, k, 4):
        convolve_four(work, at.q, at.y, at.inverse, n)
        if n % LOOK < 4 and not all_between(work, at.q + n, at.q + n + 3, SAFE_LOW, SAFE_HIGH):
            return False  # the rest would be for nothing
    # a NaN or an infinity anywhere makes the last q one, or leaves the range
    return bool(all_between(work, at.q, at.q + k, SAFE_LOW, SAFE_HIGH))
