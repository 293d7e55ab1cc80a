"""Maps at the working resolution: checked, and brought to one nside. Shape (bins, pixels), RING order throughout.

Complaints name the file and the first bad pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gammasky.engine.citation import Citation
from gammasky.engine.errors import InputError

LARGEST_COUNT = 1e9  # far above any photon count, far below what int64 holds
UNSEEN = -1.6375e30  # what HEALPix files say of a pixel that was not observed
NOT_OBSERVED = -1  # the same in a counts map
CITATIONS = (
    Citation(
        "pixels of the sphere",
        r"""
        @article{Gorski2005,
          author        = {G{\'o}rski, K. M. and Hivon, E. and Banday, A. J. and Wandelt, B. D. and Hansen, F. K. and Reinecke, M. and Bartelmann, M.},
          title         = {{HEALPix}: A Framework for High-Resolution Discretization and Fast Analysis of Data Distributed on the Sphere},
          journal       = {The Astrophysical Journal},
          volume        = {622},
          pages         = {759},
          year          = {2005},
          eprint        = {astro-ph/0409513},
          archivePrefix = {arXiv}
        }
        """,  # noqa: E501
    ),
    Citation(
        "healpy",
        r"""
        @article{Zonca2019,
          author  = {Zonca, Andrea and Singer, Leo P. and Lenz, Daniel and Reinecke, Martin and Rosset, Cyrille and Hivon, Eric and G{\'o}rski, Krzysztof M.},
          title   = {healpy: equal area pixelization and spherical harmonics transforms for data on the sphere in {Python}},
          journal = {Journal of Open Source Software},
          volume  = {4},
          number  = {35},
          pages   = {1298},
          year    = {2019}
        }
        """,  # noqa: E501
    ),
)


def nside_of(n_pixels: int, label: str) -> int:
    """The nside of a map of `n_pixels` pixels.

    Raises:
        InputError: no HEALPix map has that many pixels.
    """
    nside = round((n_pixels / 12) ** 0.5)
    if 12 * nside**2 != n_pixels or nside < 1 or nside & (nside - 1):
        raise InputError(f"{label}: {n_pixels} pixels is no HEALPix size; expected 12 * nside**2, nside a power of 2")
    return nside


def change_nside(values: np.ndarray, nside: int, reduce: Callable[..., Any]) -> np.ndarray:
    """RING maps (bins, pixels) at another nside: sub-pixels through `reduce(..., axis=-1)`, or each pixel repeated."""
    import healpy

    old = round((values.shape[1] / 12) ** 0.5)
    if old == nside:
        return values
    nested = values[:, healpy.nest2ring(old, np.arange(12 * old**2))]
    if nside < old:
        nested = reduce(nested.reshape(len(values), 12 * nside**2, (old // nside) ** 2), axis=-1)
    else:
        nested = np.repeat(nested, (nside // old) ** 2, axis=1)
    return nested[:, healpy.ring2nest(nside, np.arange(12 * nside**2))]


def with_nan(values: np.ndarray) -> np.ndarray:
    """A map with NaN where it has no value: where HEALPix files say UNSEEN, in single or double precision, or NaN."""
    numbers = np.asarray(values, dtype=np.float64)
    return np.where(np.isclose(numbers, UNSEEN, rtol=1e-5, atol=0.0), np.nan, numbers)


def whole_counts(values: np.ndarray, label: str, *, expected: bool = False) -> np.ndarray:
    """Photon counts (bins, pixels) int64 of numbers of any type; NOT_OBSERVED where they are UNSEEN or NaN.

    Expected counts, which are no photons, may have fractions, and are float64 then.

    Raises:
        InputError: a count that is infinite, negative or not a whole number, anywhere: these are no counts.
    """
    numbers = with_nan(values)
    unseen = np.isnan(numbers)
    numbers = np.where(unseen, 0.0, numbers)
    _refuse(numbers < 0, numbers, label, "counts must not be negative")
    _refuse(numbers > LARGEST_COUNT, numbers, label, f"counts must not be above {LARGEST_COUNT:g}")
    fractions = numbers != np.rint(numbers)
    if expected and fractions.any():
        return np.where(unseen, NOT_OBSERVED, numbers)
    _refuse(fractions, numbers, label, "counts must be whole numbers")
    return np.where(unseen, NOT_OBSERVED, numbers.astype(np.int64))


def counts_map(values: np.ndarray, nside: int, label: str, *, expected: bool = False) -> np.ndarray:
    """Photon counts (bins, pixels) int64 at `nside`: sub-pixels summed.

    A pixel of which a part was not observed (UNSEEN or NaN in the file) has the count NOT_OBSERVED.

    Raises:
        InputError: numbers that `whole_counts` refuses, or a coarser map than `nside`.
    """
    counts = whole_counts(values, label, expected=expected)
    old = nside_of(counts.shape[1], label)
    if old < nside:
        raise InputError(f"{label}: counts at nside {old} cannot be divided to nside {nside}; lower the working nside")
    unseen = counts == NOT_OBSERVED
    summed = change_nside(np.where(unseen, 0, counts), nside, np.sum)
    return np.where(change_nside(unseen, nside, np.any), NOT_OBSERVED, summed)


def intensity_map(values: np.ndarray, nside: int, label: str) -> np.ndarray:
    """Template or exposure (bins, pixels) float64 at `nside`: sub-pixels averaged.

    Nothing is refused here, since a map must be good only where it is used (`check_values`); a pixel with a sub-pixel
    that has no value, or a negative one, gets this.
    """
    numbers = with_nan(values)
    nside_of(numbers.shape[1], label)
    return change_nside(numbers, nside, _mean_of_good)


def check_values(values: np.ndarray, where: np.ndarray, label: str, *, positive: bool = False) -> None:
    """Refuse a map of intensity (bins, pixels) with a bad value at one of the flat indices `where`.

    Raises:
        InputError: a value that is NaN, infinite, negative or (`positive`) zero; names the first such pixel.
    """
    used = np.zeros(values.size, dtype=bool)
    used[where] = True
    good = np.isfinite(values) & ((values > 0) if positive else (values >= 0))
    rule = f"values must be finite and {'positive' if positive else 'not negative'} where they are used"
    _refuse(used.reshape(values.shape) & ~good, values, label, rule)


def mask_values(values: np.ndarray, label: str, masked_where: bool | int) -> np.ndarray:
    """A mask (pixels,) int64 of a map (1, pixels): 1 = masked, 0 = not, NOT_OBSERVED where the map has no value.

    Raises:
        InputError: more than one map, no pixel with the value `masked_where`, or several other values.
    """
    if len(values) != 1:
        raise InputError(f"{label}: expected one mask for all energies, got {len(values)} maps")
    numbers = with_nan(values)[0]
    found = np.unique(numbers[~np.isnan(numbers)])
    others = found[found != float(masked_where)]
    allowed = [1.0 - masked_where] if masked_where in (0, 1) else others[:1]
    if len(others) == len(found) or not np.isin(others, allowed).all():
        listed = ", ".join(f"{value:g}" for value in found[:5]) + (", ..." if len(found) > 5 else "")
        raise InputError(
            f"{label}: a mask has two values, of which masked_where = {str(masked_where).lower()} marks the masked "
            f"pixels; got {listed or 'none'}; correct masked_where or the map"
        )
    return np.where(numbers == float(masked_where), 1, np.where(np.isnan(numbers), NOT_OBSERVED, 0))


def _mean_of_good(values: np.ndarray, axis: int) -> np.ndarray:
    """The mean, but the lowest value where this is no number of at least 0: a bad value never hides in a mean."""
    lowest = values.min(axis=axis)
    return np.where(lowest >= 0, values.mean(axis=axis), lowest)


def _refuse(bad: np.ndarray, values: np.ndarray, label: str, rule: str) -> None:
    """Raise for the first bad pixel, by number and value."""
    if bad.any():
        energy_bin, pixel = (int(i) for i in np.argwhere(bad)[0])
        where = f"pixel {pixel}" if len(values) == 1 else f"energy bin {energy_bin}, pixel {pixel}"
        raise InputError(
            f"{label}: {rule}, got {values[energy_bin, pixel]:g} in {where} ({int(bad.sum())} in all); correct the map"
        )
