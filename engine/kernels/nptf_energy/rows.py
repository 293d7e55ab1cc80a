"""The rows that the joint kernel works on, and how they are filled."""

from __future__ import annotations

import math
from typing import NamedTuple

import numpy as np
from numba import njit
from numpy.typing import NDArray

from gammasky.engine.kernels.elementary import logarithm
from gammasky.engine.kernels.nptf.plan import LANES
from gammasky.engine.kernels.nptf.recursion import Floats, Whole
from gammasky.engine.kernels.nptf_energy.lanes import in_units, take_lanes, units_of
from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.vectors import WIDTH, rows_of

PAD = 4  # zeros around coefficients, which are worked out four at a time

Short = NDArray[np.int32]


class Rows(NamedTuple):
    """Where in the array `work` (rows, WIDTH) the numbers of a strip begin; K is the largest total count of a chunk.

    A slot is a bin that has photons, of each lane its own: the one with the most photons first.

    Attributes:
        y, q: y_m = m x_m and q_n; `step` rows each, as many as K asks for.
        inverse: 1 / n; weight: n! (e / K)^n of the strip.
        d_x, d_phi: d/dX and d/dphi of the region, lane by lane, `step` rows for each population and a row for each bin;
            zero between regions.
        template, slope: of the pixels, and d log p / d template; one row for each population.
        product, other: coefficients of products of the factors of slots, by turns. factor, second: b_j of two slots.
        mean_power, phi_power: mu^n / n!, phi^n / n! of one slot.
        z, h: n! q_n and n! c_n; w: dS/dx_m, the last first; quotient,
            following: of c and the factors of two slots.
        mean, phi, photons: of each slot, in their units, one of which may be without photons; found: sums of two.
        units, total, scale: 1 / lambda; the logarithm of what the units leave out; S, then cotangent / S. One row each.
    """

    y: int
    q: int
    inverse: int
    weight: int
    d_x: int
    d_phi: int
    template: int
    slope: int
    product: int
    other: int
    factor: int
    second: int
    mean_power: int
    phi_power: int
    z: int
    h: int
    w: int
    quotient: int
    following: int
    mean: int
    phi: int
    photons: int
    found: int
    units: int
    total: int
    scale: int
    step: int


@njit(**COMPILE)
def rows_for(largest: int, populations: int, bins: int) -> tuple[Floats, Rows]:
    """`work` for total counts up to `largest`, and its rows."""
    step = max(largest, 1) + 1
    wide = step + 2 * PAD
    d_phi = (4 + populations) * step + PAD
    template = d_phi + bins
    product = template + 2 * populations + PAD
    mean = product + 11 * wide
    slots = bins + 1
    units = mean + 3 * slots + 4
    at = Rows(
        0, step, 2 * step + PAD, 3 * step + PAD, 4 * step + PAD, d_phi, template, template + populations, product,
        product + wide, product + 2 * wide, product + 3 * wide, product + 4 * wide, product + 5 * wide,
        product + 6 * wide, product + 7 * wide, product + 8 * wide, product + 9 * wide, product + 10 * wide, mean,
        mean + slots, mean + 2 * slots, mean + 3 * slots, units, units + 1, units + 2, step,
    )  # fmt: skip
    work = rows_of(units + 3)
    for n in range(1, step):
        work[at.inverse + n] = 1.0 / n
    return work, at


@njit(**COMPILE)
def load(
    pixels: Whole, bins: Short, photons: Floats, place: int, most: Whole, mean: Floats, total: Floats,
    templates: Floats, shares: Floats, work: Floats, at: Rows,
) -> int:  # fmt: skip
    """Gather what a strip needs, in its units; how many slots it has, and one more without photons if that is odd.

    Args:
        pixels (WIDTH,): pixel of each lane.
        bins, photons (G E LANES,): of the plan; `place`: where those of the strip's first slot begin.
        most (E + 1,): the largest total count, and that of each slot.
        mean (E, P), total (P,): means, and their sums over bins. templates (I, P), shares (E,): of the region.
    """
    slots, unit = 0, max(most[0], 1) / math.e
    while slots + 1 < len(most) and most[slots + 1] > 0:
        slots += 1
    for lane in range(WIDTH):
        pixel = pixels[lane]
        work[at.total, lane], work[at.scale, lane] = total[pixel], 0.0
        for i in range(len(templates)):
            work[at.template + i, lane] = templates[i, pixel]
    for slot in range(slots):
        first = place + slot * LANES
        take_lanes(work, at.photons + slot, photons, first, at.scale)
        for lane in range(WIDTH):
            e = bins[first + lane]
            work[at.mean + slot, lane], work[at.phi + slot, lane] = mean[e, pixels[lane]], shares[e]
    units_of(work, at.units, at.scale, at.total, unit)
    for slot in range(slots):
        in_units(work, at.mean + slot, at.phi + slot, at.photons + slot, at.units, unit)
    for lane in range(WIDTH):
        work[at.total, lane] = -work[at.scale, lane] * logarithm(work[at.units, lane]) - work[at.total, lane]
    if slots % 2 == 1:
        for lane in range(WIDTH):
            work[at.mean + slots, lane], work[at.phi + slots, lane], work[at.photons + slots, lane] = 1.0, 0.0, 0.0
        slots += 1
    return slots
