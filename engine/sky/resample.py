"""Maps brought from the pixels of a file to others: exactly where these are parts of them, else by interpolation.

Counts are brought nowhere but to coarser pixels of the same kind: an interpolated counts map is not Poissonian.
"""

from __future__ import annotations

import hashlib

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.cache import remembered
from gammasky.engine.sky.maps import (
    NOT_OBSERVED,
    change_nside,
    counts_map,
    intensity_map,
    mask_values,
    whole_counts,
    with_nan,
)
from gammasky.engine.sky.pixels import HealpixPixels, Pixels, ProjectedPixels
from gammasky.engine.sky.pixels.frames import vectors_of

FINEST = 16  # parts along a side that a pixel is divided in, at most
BLOCK = 1 << 21  # places at a time


def same_kind(source: Pixels, target: Pixels) -> bool:
    """Whether the pixels of one are parts of those of the other, or the other way round: HEALPix of one frame."""
    if isinstance(source, HealpixPixels) and isinstance(target, HealpixPixels):
        return source.frame == target.frame
    return source.key == target.key


def counts_on(values: np.ndarray, source: Pixels, target: Pixels, label: str, *, expected: bool = False) -> np.ndarray:
    """Counts (bins, pixels) int64 of `source` in the pixels of `target`, which hold whole pixels of `source`.

    Expected counts need not be whole, and stay float64 where they are not.

    Raises:
        InputError: pixels of another kind or frame, or finer ones, or numbers that are no counts.
    """
    if not same_kind(source, target):
        raise InputError(
            f"{label}: counts in pixels {source.name} cannot be brought to {target.name}: an interpolated counts map "
            "is not Poissonian; leave `frame` and `nside` of the dataset out (region, templates and catalogues come to "
            "the pixels of the counts), or bin the photons anew"
        )
    if isinstance(target, HealpixPixels):
        return counts_map(values, target.nside, label, expected=expected)
    return whole_counts(values, label, expected=expected)


def intensity_on(
    values: np.ndarray, source: Pixels, target: Pixels, *, outside: float = np.nan, divide: int | None = None
) -> np.ndarray:
    """A template or an exposure (bins, pixels) in other pixels; NaN where it has no value.

    Args:
        values: in the pixels of `source`.
        source: pixels of the map.
        target: wanted.
        outside: the value beyond an image.
        divide: parts along a side of a pixel that the map is interpolated at; by default so many that each is at most
            as large as a pixel of the map (and at most 16).
    """
    values = with_nan(values)
    if same_kind(source, target):
        return intensity_map(values, target.nside, "map") if isinstance(target, HealpixPixels) else values
    digest = hashlib.sha256(np.ascontiguousarray(values).tobytes()).hexdigest()
    parts = divide or _parts(source, target)
    key = {"values": digest, "of": source.key, "to": target.key, "outside": str(outside), "parts": parts}

    def make() -> dict[str, np.ndarray]:
        return {"map": np.stack([_interpolated(sky, source, target, outside, parts) for sky in values])}

    return remembered("reprojected", key, make, sound=lambda arrays: set(arrays) == {"map"})["map"]


def mask_on(values: np.ndarray, source: Pixels, target: Pixels, label: str, masked_where: bool | int) -> np.ndarray:
    """A mask (pixels,) int64: 1 where any part of a pixel is masked, 0 where none is, or NOT_OBSERVED.

    Raises:
        InputError: values that are no mask.
    """
    found = mask_values(values, label, masked_where)
    if isinstance(source, HealpixPixels) and isinstance(target, HealpixPixels) and source.frame == target.frame:
        masked, unknown = (change_nside((found == code)[None], target.nside, np.any)[0] for code in (1, NOT_OBSERVED))
    else:
        lon, lat = target.parts(_parts(source, target))
        place = source.find(vectors_of(lon, lat)) if source.key != target.key else np.arange(target.n_pixels)[:, None]
        parts = np.where(place >= 0, found[place], NOT_OBSERVED)
        masked, unknown = (parts == 1).any(axis=1), (parts == NOT_OBSERVED).any(axis=1)
    return np.where(masked, 1, np.where(unknown, NOT_OBSERVED, 0))


def _parts(source: Pixels, target: Pixels) -> int:
    """Parts along a side of a pixel of `target`, a power of 2: each is at most as large as a pixel of `source`."""
    return int(np.clip(2 ** np.ceil(np.log2(target.spacing_deg / source.spacing_deg) - 1e-9), 1, FINEST))


def _interpolated(sky: np.ndarray, source: Pixels, target: Pixels, outside: float, divide: int) -> np.ndarray:
    """One map (pixels,), interpolated at parts of every pixel of `target` and averaged over them."""
    lon, lat = target.parts(divide)
    found = np.empty(lon.size)
    for start in range(0, lon.size, BLOCK):
        block = slice(start, start + BLOCK)
        found[block] = source.interpolate(sky, lon.ravel()[block], lat.ravel()[block])
        if not np.isnan(outside) and isinstance(source, ProjectedPixels):
            beyond = ~source.covers(lon.ravel()[block], lat.ravel()[block])
            found[block] = np.where(beyond, outside, found[block])
    return np.asarray(found.reshape(lon.shape).mean(axis=1))
