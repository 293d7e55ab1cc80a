"""Positions of catalogued sources."""

from __future__ import annotations

import csv
import io

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.manifest import SourceTable
from gammasky.engine.sky.readers import fits_extension


def read_positions(content: bytes, label: str, table: SourceTable) -> np.ndarray:
    """Longitude and latitude (n, 2) [deg] from the bytes of a `.csv` or FITS file.

    Raises:
        InputError: a column is missing, or a position is not a finite number with |latitude| <= 90.
    """
    columns = _csv_columns(content, label, table) if label.endswith(".csv") else _fits_columns(content, label, table)
    positions = np.stack(columns, axis=1)
    bad = ~np.isfinite(positions).all(axis=1) | (np.abs(positions[:, 1]) > 90)
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{label}: row {row + 1} is no position, got lon {positions[row, 0]}, lat {positions[row, 1]}")
    return positions


def _csv_columns(content: bytes, label: str, table: SourceTable) -> list[np.ndarray]:
    rows = list(csv.DictReader(io.StringIO(content.decode("utf-8", errors="replace"))))
    if not rows:
        raise InputError(f"{label}: no sources; expected a header with '{table.lon}', '{table.lat}', and rows")
    try:
        return [np.array([float(row[name]) for row in rows]) for name in (table.lon, table.lat)]
    except KeyError as error:
        have = ", ".join(rows[0])
        raise InputError(f"{label}: no column {error}; the file has {have}") from None
    except (TypeError, ValueError) as error:
        raise InputError(f"{label}: columns '{table.lon}', '{table.lat}' must be numbers ({error})") from error


def _fits_columns(content: bytes, label: str, table: SourceTable) -> list[np.ndarray]:
    data = fits_extension(content, label, table.hdu).data
    have = list(getattr(data, "names", None) or [])
    for name in (table.lon, table.lat):
        if name not in have:
            raise InputError(f"{label}: no column '{name}'; the table has {', '.join(have) or 'no columns'}")
    return [np.asarray(data[name], dtype=np.float64) for name in (table.lon, table.lat)]
