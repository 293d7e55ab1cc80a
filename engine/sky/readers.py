"""Sky maps from the bytes of files: native arrays of shape (bins, pixels) in RING order.

Readers take bytes, not paths, so that what is checked (SHA-256) is what is read. Every complaint is one line that names
the file.
"""

from __future__ import annotations

import hashlib
import io
import warnings
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.cache import remembered
from gammasky.engine.sky.maps import UNSEEN, change_nside, nested_to_ring, nside_of

CAR_OVERSAMPLING = 4  # a projected image is sampled at this multiple of the working nside, then averaged


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


def load_healpix(
    content: bytes, label: str, *, fields: Sequence[int | str] = (0,), hdu: int | str = 1, ordering: str | None = None
) -> np.ndarray:
    """Columns of a HEALPix table of a FITS file, in RING order; pixels that a partial map lacks are UNSEEN.

    Args:
        content: the bytes of the file.
        label: how errors name it.
        fields: columns by number or name, one for each energy bin.
        hdu: extension by number or name.
        ordering: "ring" or "nested" where the header has no ORDERING keyword.

    Returns:
        values (bins, pixels), native byte order.

    Raises:
        InputError: truncated file, unknown extension, column or ordering, wrong pixels, not Galactic.
    """
    table = fits_extension(content, label, hdu)
    header, data = table.header, table.data
    if data is None or not getattr(data, "names", None):
        raise InputError(f'{label}: extension {hdu!r} holds no table; set `hdu`, or `projection = "car"` for an image')
    if str(header.get("COORDSYS", "G")).strip().upper() not in ("G", "GAL", "GALACTIC"):
        raise InputError(f"{label}: COORDSYS = {header['COORDSYS']!r}; expected Galactic coordinates ('G')")
    scheme = str(header.get("ORDERING", ordering or "")).strip().upper()
    if scheme not in ("RING", "NESTED", "NEST"):
        raise InputError(f"{label}: ORDERING is {scheme or 'missing'}; expected RING or NESTED (header, or `ordering`)")
    values = np.stack([_column(data, field, label) for field in fields])
    if str(header.get("INDXSCHM", "IMPLICIT")).strip().upper() == "EXPLICIT":
        values = _on_whole_sky(values, _column(data, "PIXEL", label), header.get("NSIDE"), label)
    nside = nside_of(values.shape[1], label)
    return values if scheme == "RING" else nested_to_ring(values, nside)


def _on_whole_sky(values: np.ndarray, pixel: np.ndarray, nside: Any, label: str) -> np.ndarray:
    """Maps (bins, 12 nside^2) from values (bins, n) in the pixels (n,) of a partial map."""
    if not isinstance(nside, int) or not 1 <= nside <= 8192 or nside & (nside - 1):
        raise InputError(f"{label}: NSIDE is {nside!r}; a partial map (INDXSCHM = EXPLICIT) needs a power of 2 to 8192")
    if len(np.unique(pixel)) < len(pixel) or not _whole_numbers(pixel, 12 * nside**2):
        raise InputError(f"{label}: column PIXEL must name each pixel once, from 0 to {12 * nside**2 - 1}")
    whole = np.full((len(values), 12 * nside**2), UNSEEN)
    whole[:, pixel.astype(np.int64)] = values
    return whole


def _whole_numbers(values: np.ndarray, end: int) -> bool:
    """Whether all values are whole, from 0 to below `end`."""
    return bool(np.all((values >= 0) & (values < end) & (values == np.floor(values))))


def load_car(content: bytes, label: str, nside: int, *, hdu: int | str = 0) -> np.ndarray:
    """An image with celestial WCS as a HEALPix map: bilinear at 4 x nside, averaged down, 0 outside the image.

    Raises:
        InputError: truncated file, no image, or a header without celestial coordinates.
    """
    key = {"sha256": hashlib.sha256(content).hexdigest(), "nside": nside, "hdu": hdu, "oversampling": CAR_OVERSAMPLING}
    return remembered("reprojected", key, lambda: {"map": _reproject(content, label, nside, hdu)}, sound=_is_map)["map"]


def _is_map(arrays: dict[str, np.ndarray]) -> bool:
    """Whether a cached result is one."""
    return set(arrays) == {"map"}


def _reproject(content: bytes, label: str, nside: int, hdu: int | str) -> np.ndarray:
    """The work of `load_car`: seconds, most of it imports."""
    from astropy.wcs import WCS
    from reproject import reproject_to_healpix

    image = fits_extension(content, label, hdu)
    if image.data is None or image.data.ndim != 2:
        raise InputError(f"{label}: extension {hdu!r} holds no two-dimensional image; set `hdu`")
    wcs = WCS(image.header)
    if not wcs.has_celestial:
        raise InputError(f"{label}: the header has no celestial WCS; expected CTYPE1/2 such as GLON-CAR, GLAT-CAR")
    pixels = np.asarray(image.data, dtype=np.float64)
    if not np.isfinite(pixels).all():  # NaN will mark what lies outside the image
        raise InputError(f"{label}: the image has NaN or infinite values; expected finite intensities")
    fine, _ = reproject_to_healpix((pixels, wcs), "galactic", nside=CAR_OVERSAMPLING * nside, order="bilinear")
    return change_nside(np.nan_to_num(fine, nan=0.0)[None, :], nside, np.mean)


def fits_extension(content: bytes, label: str, hdu: int | str) -> Any:
    """One extension of a FITS file, its data read.

    Raises:
        InputError: no such extension, or a file shorter than its headers say.
    """
    with _open_fits(content, label) as hdus:
        try:
            extension = hdus[hdu]
        except (KeyError, IndexError):
            raise InputError(f"{label}: no extension {hdu!r}; the file has {_names(hdus)}") from None
        _ = extension.data
        return extension


def fits_extension_names(content: bytes, label: str) -> list[str]:
    """Names of the extensions of a FITS file."""
    with _open_fits(content, label) as hdus:
        return [extension.name for extension in hdus]


def _names(hdus: Any) -> str:
    return ", ".join(f"{number} ({extension.name})" for number, extension in enumerate(hdus))


@contextmanager
def _open_fits(content: bytes, label: str) -> Iterator[Any]:
    """The extensions of a FITS file; whatever astropy says of a damaged one becomes one line."""
    from astropy.io import fits
    from astropy.utils.exceptions import AstropyUserWarning

    try:
        with warnings.catch_warnings():
            warnings.simplefilter("error", AstropyUserWarning)  # astropy only warns of a truncated file
            with fits.open(io.BytesIO(content), memmap=False) as hdus:
                yield hdus
    except InputError:
        raise
    except (OSError, ValueError, TypeError, AstropyUserWarning) as error:
        reason = str(error).splitlines()[0].partition(". ")[0]  # what follows is advice to programmers
        raise InputError(f"{label}: not a complete FITS file ({reason}); replace it by a whole one") from error


def _column(data: Any, field: int | str, label: str) -> np.ndarray:
    """A column as a flat native float64 array."""
    names = list(data.names)
    if (isinstance(field, int) and not 0 <= field < len(names)) or (isinstance(field, str) and field not in names):
        raise InputError(f"{label}: no column {field!r}; the table has {', '.join(names)}")
    return np.asarray(data.field(field), dtype=np.float64).ravel()
