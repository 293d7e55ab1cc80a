"""Sky maps from the bytes of files: float64 arrays of shape (bins, pixels), RING order, Galactic coordinates.

Readers take bytes, not paths, so that what is checked (SHA-256) is what is read. Every complaint is one line that names
the file.
"""

from __future__ import annotations

import gzip
import io
import zlib
from collections.abc import Sequence
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import extension_of, open_fits
from gammasky.engine.sky.images import load_image
from gammasky.engine.sky.manifest import CountsMap, MapFile, MaskMap
from gammasky.engine.sky.maps import UNSEEN, nside_of, with_nan
from gammasky.engine.sky.statements import check_energies, said, unit_factor

INDEX_COLUMNS = ("PIXEL", "PIX", "HPX_INDEX", "IPIX", "HEALPIX")  # pixel numbers, under the names that are in use


def unpacked(content: bytes, label: str) -> bytes:
    """The content of a file, which may be compressed by gzip.

    Raises:
        InputError: truncated.
    """
    if not content.startswith(b"\x1f\x8b"):
        return content
    try:
        return gzip.decompress(content)
    except (OSError, EOFError, zlib.error) as error:
        raise InputError(f"{label}: not a complete .gz file ({error}); replace it by a whole one") from None


def load_map(content: bytes, label: str, entry: MapFile, nside: int, edges_gev: Sequence[float]) -> np.ndarray:
    """The maps of one entry of a manifest, in the unit of that entry.

    Args:
        content: the bytes of the file.
        label: how errors name it.
        entry: what the manifest says of the file.
        nside: resolution that an image is brought to; other maps keep that of their file.
        edges_gev: edges of the energy bins.

    Raises:
        InputError: a damaged file, or one that is not what the manifest says.
    """
    content = unpacked(content, label)
    is_array = entry.file.removesuffix(".gz").endswith(".npy")
    for setting in ("field", "hdu") if is_array else ("field", "ordering") if entry.projection == "car" else ():
        if getattr(entry, setting) is not None:
            raise InputError(f"{label}: {'an array' if is_array else 'an image'} has no `{setting}`; leave it out")
    if entry.projection == "car":
        return load_image(content, label, entry, nside)
    if is_array:
        values = load_npy(content, label).astype(np.float64) * unit_factor(entry, None, label)
        return _galactic_ring(values, entry, entry.frame or "galactic", entry.ordering or "ring", label)
    return _load_table(content, label, entry, edges_gev)


def load_npy(content: bytes, label: str) -> np.ndarray:
    """The array of a `.npy` file, never unpickled; one map becomes shape (1, pixels).

    Raises:
        InputError: truncated or not a `.npy` file, object dtype, or neither one nor two axes.
    """
    try:
        values = np.load(io.BytesIO(content), allow_pickle=False)
    except (ValueError, EOFError, OSError) as error:
        raise InputError(
            f"{label}: not a complete .npy file ({str(error).splitlines()[0]}); replace it by a whole one"
        ) from error
    if not isinstance(values, np.ndarray) or values.dtype.kind not in "biuf" or values.ndim not in (1, 2):
        got = f"{values.dtype} of shape {values.shape}" if isinstance(values, np.ndarray) else "several arrays"
        raise InputError(f"{label}: expected numbers of shape (pixels,) or (energy bins, pixels), got {got}")
    return np.atleast_2d(values)


def _load_table(content: bytes, label: str, entry: MapFile, edges_gev: Sequence[float]) -> np.ndarray:
    """Columns of a HEALPix table of a FITS file; pixels that a partial map lacks are UNSEEN."""
    hdu = 1 if entry.hdu is None else entry.hdu
    with open_fits(content, label) as hdus:
        table = extension_of(hdus, label, hdu)
        header, names = table.header, list(getattr(table.data, "names", None) or [])
        if not names:
            raise InputError(
                f'{label}: extension {hdu!r} holds no table; set `hdu`, or `projection = "car"` for an image'
            )
        index = next((name for name in names if name.upper() in INDEX_COLUMNS), None)
        columns = [name for name in names if name != index]
        chosen = _chosen(columns, entry.field, len(edges_gev) - 1, label)
        check_energies(hdus, chosen, len(columns), edges_gev, label)
        values = np.stack(
            [_column(table, columns[i]) * unit_factor(entry, table.columns[columns[i]].unit, label) for i in chosen]
        )
        frame, ordering = (said(entry, header, keyword, label) for keyword in ("COORDSYS", "ORDERING"))
        values = _whole_sky(values, None if index is None else _column(table, index), header, label)
        return _galactic_ring(values, entry, frame, ordering, label)


def _chosen(columns: list[str], field: int | str | list[int | str] | None, n_bins: int, label: str) -> list[int]:
    """Numbers of the columns that hold the map, one for each energy bin, or one for all."""
    if field is None and len(columns) not in (1, n_bins):
        raise InputError(f"{label}: several columns, {', '.join(columns)}; name that of the map with `field`")
    fields = range(len(columns)) if field is None else field if isinstance(field, list) else [field]
    for wanted in fields:
        if wanted not in columns and not (isinstance(wanted, int) and 0 <= wanted < len(columns)):
            raise InputError(f"{label}: no column {wanted!r} of values; the table has {', '.join(columns)}")
    return [columns.index(wanted) if isinstance(wanted, str) else wanted for wanted in fields]


def _whole_sky(values: np.ndarray, pixel: np.ndarray | None, header: Any, label: str) -> np.ndarray:
    """Maps (bins, 12 nside^2) from values (bins, n), which are in the pixels (n,) where these are given."""
    scheme = str(header.get("INDXSCHM", "IMPLICIT" if pixel is None else "EXPLICIT")).strip().upper()
    if pixel is None and scheme == "EXPLICIT":
        raise InputError(f"{label}: no column of pixel numbers ({', '.join(INDEX_COLUMNS)}), but INDXSCHM is EXPLICIT")
    nside = header.get("NSIDE", None if pixel is not None else nside_of(values.shape[1], label))
    if not isinstance(nside, int) or not 1 <= nside <= 8192 or nside & (nside - 1):
        raise InputError(f"{label}: NSIDE is {nside!r}; expected a power of 2 up to 8192")
    n_pixels = 12 * nside**2
    if pixel is None:
        if values.shape[1] != n_pixels:
            raise InputError(f"{label}: {values.shape[1]} pixels, but NSIDE is {nside}, which has {n_pixels}")
        return values
    numbers = pixel[np.isfinite(pixel)].astype(np.int64)
    once = np.array_equal(numbers, pixel) and len(np.unique(numbers)) == len(pixel)
    if not once or not np.isin(numbers, np.arange(n_pixels)).all():
        raise InputError(f"{label}: its pixel numbers must name each pixel once, from 0 to {n_pixels - 1}")
    whole = np.full((len(values), n_pixels), UNSEEN)
    whole[:, numbers] = values
    if scheme == "IMPLICIT" and not np.array_equal(numbers, np.arange(n_pixels)):
        raise InputError(f"{label}: INDXSCHM is IMPLICIT, but the pixel numbers are not 0, 1, 2, ...; correct one")
    return whole


def _column(table: Any, name: str) -> np.ndarray:
    """A column as a flat native float64 array."""
    return np.asarray(table.data[name], dtype=np.float64).ravel()


def _galactic_ring(values: np.ndarray, entry: MapFile, frame: str, ordering: str, label: str) -> np.ndarray:
    """Maps in RING order and Galactic coordinates; a map that is interpolated for that has NaN where it has no value.

    Raises:
        InputError: photons or a mask in equatorial coordinates, which no interpolation can turn.
    """
    import healpy

    nside_of(values.shape[1], label)
    if ordering == "nested":
        values = np.stack([healpy.reorder(sky, n2r=True) for sky in values])
    if frame == "galactic":
        return values
    if isinstance(entry, CountsMap | MaskMap):
        raise InputError(
            f"{label}: {'counts' if isinstance(entry, CountsMap) else 'a mask'} in equatorial coordinates cannot be "
            "interpolated to Galactic pixels; bin the photons, or draw the mask, in Galactic coordinates"
        )
    rotator = healpy.Rotator(coord=["C", "G"])
    return np.stack([rotator.rotate_map_pixel(sky) for sky in with_nan(values)])
