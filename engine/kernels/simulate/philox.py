"""Random numbers that depend on what they are for, not on what was drawn before: Philox4x32-10.

The generator is a keyed bijection of 128 bits. The key is the seed and the counter names the draw,

    counter = (block, index, stream, sky),

so each number has its own address: a sky is the same for any number of threads and of skies beside it.
Source: Salmon, Moraes, Dror & Shaw 2011, "Parallel random numbers: as easy as 1, 2, 3" (SC11).
"""

from __future__ import annotations

import numpy as np
from numba import njit

from gammasky.engine.kernels.policy import COMPILE

SEEDS = 2**63  # seeds are 0 to SEEDS - 1: whole numbers that NumPy's generators and files hold as int64 too
SKIES = 2**32  # one word of the counter

_MULTIPLIERS = np.uint64(0xD2511F53), np.uint64(0xCD9E8D57)
_WEYL = np.uint64(0x9E3779B9), np.uint64(0xBB67AE85)
_LOW = np.uint64(0xFFFFFFFF)
_WORD = np.uint64(32)
_SPARE_BITS = np.uint64(12)

# What is drawn. `stream` is the kind of draw, the population and the energy bin it belongs to.
SMOOTH, NUMBER, SOURCE, PHOTON_NUMBER, PHOTON, COMPOUND_NUMBER, COMPOUND = range(7)
_KINDS = 16
POPULATIONS = 2**12  # that one sky can tell apart, in as many as 2^16 energy bins


@njit(**COMPILE)
def philox(
    block: int, index: int, stream: int, sky: int, seed: np.uint64
) -> tuple[np.uint64, np.uint64, np.uint64, np.uint64]:
    """The four 32-bit words (each in a uint64) at one counter, after ten rounds."""
    a, b, c, d = np.uint64(block), np.uint64(index), np.uint64(stream), np.uint64(sky)
    low, high = seed & _LOW, seed >> _WORD
    for _ in range(10):
        first, second = _MULTIPLIERS[0] * a, _MULTIPLIERS[1] * c
        a, b = (second >> _WORD) ^ b ^ low, second & _LOW
        c, d = (first >> _WORD) ^ d ^ high, first & _LOW
        low, high = (low + _WEYL[0]) & _LOW, (high + _WEYL[1]) & _LOW
    return a, b, c, d


@njit(**COMPILE)
def uniforms(block: int, index: int, stream: int, sky: int, seed: np.uint64) -> tuple[float, float]:
    """Two independent uniform numbers at one counter: the odd multiples of 2^-53, from 2^-53 to 1 - 2^-53."""
    a, b, c, d = philox(block, index, stream, sky, seed)
    first = ((a << _WORD) | b) >> _SPARE_BITS
    second = ((c << _WORD) | d) >> _SPARE_BITS
    return (np.float64(first) + 0.5) * 2.0**-52, (np.float64(second) + 0.5) * 2.0**-52


@njit(**COMPILE)
def stream_of(kind: int, population: int, energy_bin: int = 0) -> int:
    """The stream of one kind of draw for one population and energy bin."""
    return kind + _KINDS * (population + POPULATIONS * energy_bin)
