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
from gammasky.engine.kernels.nptf_energy.lanes import VANISHING, in_units, take_lanes, units_of
from gammasky.engine.kernels.policy import COMPILE
from gammasky.engine.kernels.vectors import WIDTH, rows_of

PAD = 4  # zeros around coefficients, which are worked out four at a time
MANY = 150  # photons of a strip from which on every lane and slot has units of its own

Short = NDArray[np.int32]


class Rows(NamedTuple):
    """Where in the array `work` (rows, WIDTH) the numbers of a strip begin; K is its largest total count.

    A slot is a bin that has photons, of each lane its own: the one with the most photons first.

    Attributes:
        y, q: y_m = m x_m and q_n; `step` rows each, as many as K asks for.
        inverse: 1 / n; weight: n! (e / K)^n.
        d_x, d_phi: d/dX and d/dphi of the region, lane by lane, `step` rows for each population and a row for each bin;
            zero between regions.
        template, slope: of the pixels, and d log p / d template; one row for each population.
        product, other: coefficients of products of the factors of slots, by turns. factor, second: b_j of two slots.
        mean_power, phi_power: mu^n / n!, phi^n / n! of one slot.
        z, h: n! q_n and n! c_n; w: dS/dx_m, the last first; quotient,
            following: of c and the factors of two slots.
        mean, phi, photons: of each slot, in their units, one of which may be without photons; found: sums of two.
        gain: of each slot of a strip with `MANY` photons, what its mean and phi are multiplied with besides.
        unit, units, total, scale: K / e; 1 / lambda; the logarithm of what the units leave out; S, then cotangent / S.
            One row each.
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
    gain: int
    unit: int
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
    units = mean + 4 * slots + 4
    at = Rows(
        0, step, 2 * step + PAD, 3 * step + PAD, 4 * step + PAD, d_phi, template, template + populations, product,
        product + wide, product + 2 * wide, product + 3 * wide, product + 4 * wide, product + 5 * wide,
        product + 6 * wide, product + 7 * wide, product + 8 * wide, product + 9 * wide, product + 10 * wide, mean,
        mean + slots, mean + 2 * slots, mean + 3 * slots, mean + 3 * slots + 4, units, units + 1, units + 2, units + 3,
        step,
    )  # fmt: skip
    work = rows_of(units + 4)
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
    slots = 0
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
    for lane in range(WIDTH):
        work[at.unit, lane] = max(work[at.scale, lane] if most[0] > MANY else most[0], 1.0) / math.e
    units_of(work, at.units, at.scale, at.total, at.unit)
    for slot in range(slots):
        in_units(work, at.mean + slot, at.phi + slot, at.photons + slot, at.units, at.unit)
    for lane in range(WIDTH):
        work[at.total, lane] = -work[at.scale, lane] * logarithm(work[at.units, lane]) - work[at.total, lane]
    if most[0] > MANY:
        _own_units(slots, work, at)
    if slots % 2 == 1:
        for lane in range(WIDTH):
            work[at.mean + slots, lane], work[at.phi + slots, lane], work[at.photons + slots, lane] = 1.0, 0.0, 0.0
        slots += 1
    return slots


@njit(**COMPILE)
def _own_units(slots: int, work: Floats, at: Rows) -> None:
    """Multiply mean and phi of each slot so that its factor stays near one, whatever the spectrum of the photons is.

    (mu + phi)^k / k! is (e (mu + phi) / k)^k but for a root: of all slots together that falls with k times the
    divergence of the photons' spectrum from the expected one, and leaves the range for bright pixels.
    """
    for slot in range(slots):
        for lane in range(WIDTH):
            number, gain = work[at.photons + slot, lane], 1.0
            whole = math.e * (work[at.mean + slot, lane] + work[at.phi + slot, lane])
            if number > 0.0 and whole > number * VANISHING:
                gain = number / whole
                work[at.total, lane] -= number * math.log(gain)
            work[at.mean + slot, lane] *= gain
            work[at.phi + slot, lane] *= gain
            work[at.gain + slot, lane] = gain


@njit(**COMPILE)
def weights(k: int, work: Floats, at: Rows) -> None:
    """Fill n! (e / K)^n for n = 0 .. k; with many photons K is the count of each lane, beyond which zeros follow."""
    if k > MANY:
        for lane in range(WIDTH):
            _own_weights(int(work[at.scale, lane]), k, lane, work, at)
        return
    weight, rate = 1.0, math.e / max(k, 1)
    for n in range(k + 1):
        for lane in range(WIDTH):
            work[at.weight + n, lane] = weight
        weight *= (n + 1.0) * rate


@njit(**COMPILE)
def _own_weights(last: int, k: int, lane: int, work: Floats, at: Rows) -> None:
    """Fill those of one lane: the smallest, exp(-K / e), may underflow, and the largest is Stirling's."""
    unit, weight, rest = work[at.unit, lane], 1.0, 0.0
    middle = int(unit) if last > MANY else last
    for n in range(middle + 1):
        work[at.weight + n, lane] = weight
        weight *= (n + 1.0) / unit
    if last > MANY:
        rest = (1.0 / 12.0 - (1.0 / 360.0 - 1.0 / (1260.0 * last * last)) / (last * last)) / last
    weight = math.sqrt(2.0 * math.pi * last) * math.exp(rest)
    for n in range(last, middle, -1):
        work[at.weight + n, lane] = weight
        weight *= unit / n
    for n in range(last + 1, k + 1):
        work[at.weight + n, lane] = 0.0
