"""Tables of HEALPix pixels in FITS files: whole or partial, RING or NESTED, one column or one vector for each layer."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.maps import UNSEEN, nside_of

INDEX_COLUMNS = ("PIXEL", "PIX", "HPX_INDEX", "IPIX", "HEALPIX")  # pixel numbers, under the names that are in use


@dataclass(frozen=True)
class Columns:
    """What the columns of a HEALPix table are.

    Args:
        names: of the columns with values.
        index: of the column with pixel numbers, or None.
    """

    names: list[str]
    index: str | None

    @classmethod
    def of(cls, table: Any) -> Columns:
        """The columns of an extension; no names where it holds no table."""
        names = list(getattr(getattr(table, "columns", None), "names", None) or [])
        index = next((name for name in names if name.upper() in INDEX_COLUMNS), None)
        return cls([name for name in names if name != index], index)


def column(table: Any, name: str) -> np.ndarray:
    """A column as a flat native float64 array."""
    return np.asarray(table.data[name], dtype=np.float64).ravel()


def whole_sky(values: np.ndarray, pixel: np.ndarray | None, header: Any, label: str) -> np.ndarray:
    """Maps (bins, 12 nside^2) from values (bins, n), which are in the pixels (n,) where these are given.

    Raises:
        InputError: pixels that are not said, or not what the header says.
    """
    scheme = str(header.get("INDXSCHM", "IMPLICIT" if pixel is None else "EXPLICIT")).strip().upper()
    if scheme not in ("IMPLICIT", "EXPLICIT", ""):
        raise InputError(f"{label}: INDXSCHM is '{scheme}'; expected IMPLICIT or EXPLICIT, one row for each pixel")
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
    if scheme == "IMPLICIT" and not np.array_equal(numbers, np.arange(n_pixels)):
        raise InputError(f"{label}: INDXSCHM is IMPLICIT, but the pixel numbers are not 0, 1, 2, ...; correct one")
    whole = np.full((len(values), n_pixels), UNSEEN)
    whole[:, numbers] = values
    return whole


def layers(table: Any, label: str) -> np.ndarray:
    """All values of a table as maps (layers, 12 nside^2), in the order of the file.

    A layer is a column, or an entry of the only column of values where this holds a vector for each pixel.

    Raises:
        InputError: a column that holds vectors among others, or pixels that `whole_sky` refuses.
    """
    columns = Columns.of(table)
    values = [np.asarray(table.data[name], dtype=np.float64) for name in columns.names]
    one_each = columns.index is not None or 12 * _number(table.header.get("NSIDE")) ** 2 == len(values[0])
    if len(values) == 1 and values[0].ndim == 2 and one_each:
        stacked = values[0].T
    elif one_each and any(value.ndim > 1 for value in values):
        raise InputError(f"{label}: columns of vectors among others, {', '.join(columns.names)}; expected one of them")
    else:
        stacked = np.stack([value.ravel() for value in values])
    return whole_sky(stacked, None if columns.index is None else column(table, columns.index), table.header, label)


def ring_order(values: np.ndarray, ordering: str) -> np.ndarray:
    """Maps (bins, pixels) in RING order, from either."""
    import healpy

    return np.stack([healpy.reorder(sky, n2r=True) for sky in values]) if ordering == "nested" else values


def _number(value: Any) -> int:
    return value if isinstance(value, int) else 0
