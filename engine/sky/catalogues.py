"""Positions of catalogued sources."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import fits_extension
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.manifest import SourceTable
from gammasky.engine.sky.statements import contradiction

COLUMN_NAMES = (("equatorial", "ra", "de"), ("galactic", "gl", "gl"))  # how names of columns of a known frame begin


def read_positions(content: bytes, label: str, table: SourceTable) -> np.ndarray:
    """Galactic longitude and latitude (n, 2) [deg] from the bytes of a text table or of a FITS file.

    Raises:
        InputError: a damaged file, a missing column, a unit that is no angle, or a position that is none.
    """
    rows = _rows(unpacked(content, label), label, table)
    for name in (table.lon, table.lat):
        if name not in rows.colnames:
            raise InputError(f"{label}: no column '{name}'; the file has {', '.join(rows.colnames) or 'none'}")
    if not len(rows):
        raise InputError(f"{label}: no sources; expected rows below the header")
    lon, lat = (_degrees(rows[name], label) for name in (table.lon, table.lat))
    bad = ~(np.isfinite(lon) & (np.abs(lat) <= 90))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{label}: row {row + 1} is no position, got {table.lon} {lon[row]}, {table.lat} {lat[row]}")
    if _frame(table, label) == "equatorial":
        from astropy.coordinates import SkyCoord

        there = SkyCoord(lon, lat, unit="deg", frame="icrs").galactic
        lon, lat = there.l.deg, there.b.deg
    return np.stack([lon, lat], axis=1)


def _rows(content: bytes, label: str, table: SourceTable) -> Any:
    """Read the table, as one of astropy's."""
    from astropy.table import Table
    from astropy.utils.exceptions import AstropyWarning

    with warnings.catch_warnings():
        warnings.simplefilter("ignore", AstropyWarning)  # such as of units of columns that are not used
        if content.startswith(b"SIMPLE"):
            extension = fits_extension(content, label, table.hdu)
            if getattr(extension.data, "names", None) is None:
                raise InputError(f"{label}: extension {table.hdu!r} holds no table; set `hdu`")
            return Table.read(extension)
        lines = content.decode("utf-8-sig", errors="replace").splitlines()
        head = next((line for line in lines if not line.startswith("#")), "")
        try:
            if lines and lines[0].startswith("# %ECSV"):
                return Table.read(lines, format="ascii.ecsv", delimiter="," if "," in head else " ", guess=False)
            return Table.read(lines, format="ascii.csv", comment="#", guess=False)
        except (ValueError, TypeError, IndexError) as error:
            reason = " ".join(str(error).split())[:100]
            raise InputError(f"{label}: not a table of sources ({reason}); expected a header and rows") from None


def _degrees(column: Any, label: str) -> np.ndarray:
    """A column of angles (n,) [deg]; NaN where it has no value."""
    from astropy import units

    unit = units.deg if column.unit is None else column.unit
    try:
        factor = unit.to("deg")
        values = np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan)
    except (ValueError, TypeError) as error:
        raise InputError(f"{label}: column '{column.name}' must be numbers, in a unit of angle ({error})") from None
    return np.asarray(values, dtype=np.float64).ravel() * factor


def _frame(table: SourceTable, label: str) -> str:
    """The frame by the manifest or by the names of the columns: RA, RAJ2000, DEC, DEJ2000 are equatorial."""
    lon, lat = (name.lower().strip("_") for name in (table.lon, table.lat))
    known = next((frame for frame, a, b in COLUMN_NAMES if lon.startswith(a) and lat.startswith(b)), None)
    if known and table.frame and known != table.frame:
        raise contradiction(label, f"columns '{table.lon}', '{table.lat}' are {known}", f"frame is '{table.frame}'")
    return known or table.frame or "galactic"
