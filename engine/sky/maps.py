"""Maps at the working resolution: checked, and brought to one nside. Shape (bins, pixels), RING order throughout.

Complaints name the file and the first bad pixel.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError

LARGEST_COUNT = 1e9  # far above any photon count, far below what int64 holds
UNSEEN = -1.6375e30  # what HEALPix files say of a pixel that was not observed
NOT_OBSERVED = -1  # the same in a counts map


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
    old = round((values.shape[1] / 12) ** 0.5)
    if old == nside:
        return values
    nested = values[:, _ring_index(old)]
    if nside < old:
        nested = reduce(nested.reshape(len(values), 12 * nside**2, (old // nside) ** 2), axis=-1)
    else:
        nested = np.repeat(nested, (nside // old) ** 2, axis=1)
    return nested_to_ring(nested, nside)


def nested_to_ring(values: np.ndarray, nside: int) -> np.ndarray:
    """NESTED maps (bins, pixels) in RING order."""
    return values[:, _nested_index(nside)]


def counts_map(values: np.ndarray, nside: int, label: str) -> np.ndarray:
    """Photon counts (bins, pixels) int64 at `nside`: sub-pixels summed.

    A pixel of which a part was not observed (HEALPix's UNSEEN in the file) has the count NOT_OBSERVED.

    Raises:
        InputError: a count that is NaN, infinite, negative or not a whole number, or a coarser map than `nside`.
    """
    numbers = np.asarray(values, dtype=np.float64)
    unseen = np.isclose(numbers, UNSEEN, rtol=1e-5, atol=0.0)  # files hold it in single or double precision
    numbers = np.where(unseen, 0.0, numbers)
    _refuse(~np.isfinite(numbers), numbers, label, "counts must be finite")
    _refuse(numbers < 0, numbers, label, "counts must not be negative")
    _refuse(numbers != np.rint(numbers), numbers, label, "counts must be whole numbers")
    _refuse(numbers > LARGEST_COUNT, numbers, label, f"counts must not be above {LARGEST_COUNT:g}")
    old = nside_of(numbers.shape[1], label)
    if old < nside:
        raise InputError(f"{label}: counts at nside {old} cannot be divided to nside {nside}; lower the working nside")
    counts = change_nside(numbers.astype(np.int64), nside, np.sum)
    return np.where(change_nside(unseen, nside, np.any), NOT_OBSERVED, counts)


def intensity_map(values: np.ndarray, nside: int, label: str, *, positive: bool = False) -> np.ndarray:
    """Template or exposure (bins, pixels) float64 at `nside`: sub-pixels averaged.

    Values are checked on the whole sky, not in the fitted region only: a template serves many regions.

    Raises:
        InputError: NaN or infinite values, negative ones, or (`positive`) zeros.
    """
    numbers = np.asarray(values, dtype=np.float64)
    _refuse(~np.isfinite(numbers), numbers, label, "values must be finite")
    if positive:
        _refuse(numbers <= 0, numbers, label, "exposure must be positive")
    _refuse(numbers < 0, numbers, label, "values must not be negative")
    nside_of(numbers.shape[1], label)
    return change_nside(numbers, nside, np.mean)


def mask_map(values: np.ndarray, nside: int, label: str, masked_where: bool | int) -> np.ndarray:
    """Mask (pixels,) bool at `nside`, True = masked: a pixel is masked if any of its sub-pixels is.

    Raises:
        InputError: NaN values, more than one map, or values other than two (such as a float map by mistake).
    """
    if len(values) != 1:
        raise InputError(f"{label}: expected one mask for all energies, got {len(values)} maps")
    numbers = np.asarray(values, dtype=np.float64)
    _refuse(~np.isfinite(numbers), numbers, label, "mask values must be finite")
    if len(np.unique(numbers)) > 2:
        raise InputError(f"{label}: a mask has two values, masked or not; got {len(np.unique(numbers))} different ones")
    nside_of(numbers.shape[1], label)
    return change_nside(numbers == float(masked_where), nside, np.any)[0]


def _refuse(bad: np.ndarray, values: np.ndarray, label: str, rule: str) -> None:
    """Raise for the first bad pixel, by number and value."""
    if bad.any():
        energy_bin, pixel = (int(i) for i in np.argwhere(bad)[0])
        where = f"pixel {pixel}" if len(values) == 1 else f"energy bin {energy_bin}, pixel {pixel}"
        raise InputError(
            f"{label}: {rule}, got {values[energy_bin, pixel]:g} in {where} ({int(bad.sum())} in all); correct the map"
        )


def _ring_index(nside: int) -> np.ndarray:
    """RING pixel of each NESTED pixel."""
    import healpy

    return healpy.nest2ring(nside, np.arange(12 * nside**2))


def _nested_index(nside: int) -> np.ndarray:
    """NESTED pixel of each RING pixel."""
    import healpy

    return healpy.ring2nest(nside, np.arange(12 * nside**2))
