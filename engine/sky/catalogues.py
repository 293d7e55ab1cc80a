"""Catalogues: where sources are, how large, and how bright."""

from __future__ import annotations

import warnings
from dataclasses import dataclass
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import fits_extension, open_fits
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.manifest import SourceTable
from gammasky.engine.sky.statements import contradiction, factor_to

COLUMN_NAMES = (("equatorial", "ra", "de"), ("galactic", "gl", "gl"))  # how names of columns of a known frame begin
POSITION_COLUMNS = (("GLON", "GLAT"), ("RAJ2000", "DEJ2000"), ("lon", "lat"))  # looked for where none are named
FLUX_COLUMNS = {  # photon fluxes of catalogues of the mission, and their bands [GeV]
    "Flux50": (50.0, 2000.0),  # 2FHL
    "Flux": (10.0, 1000.0),  # 3FHL
    "Flux1000": (1.0, 100.0),  # 3FGL, 4FGL and its data releases, FL16Y
}  # fmt: skip
INDEX_COLUMNS = ("PowerLaw_Index", "PL_Index", "Spectral_Index")  # of a power law; the last may be that of a curved one


@dataclass(frozen=True, eq=False)
class Catalogue:
    """The sources of a catalogue.

    Args:
        label: how errors name the file.
        lon_deg, lat_deg (n,) [deg]: Galactic positions.
        extent_deg (n,) [deg]: radius of extended sources (their semi-major axis), 0 of the others.
        flux (n,) [cm^-2 s^-1]: photons of the band; None where the table has no flux that is known or named.
        band_gev (low, high) [GeV]: of the flux; None: whatever the energies of the dataset are.
        index (n,): of the power law that the flux is carried to other bands with.
    """

    label: str
    lon_deg: np.ndarray
    lat_deg: np.ndarray
    extent_deg: np.ndarray
    flux: np.ndarray | None
    band_gev: tuple[float, float] | None
    index: np.ndarray | None

    @classmethod
    def read(cls, content: bytes, label: str, table: SourceTable) -> Catalogue:
        """The sources in the bytes of a text table or of a FITS file.

        Tables of the mission (2FHL, 3FHL, 3FGL, 4FGL, FL16Y) are known by their columns: positions, the photon flux of
        one band, the index of a power law, and the extended sources in an extension of their own.

        Raises:
            InputError: a damaged file, a missing column, a unit that is no angle or flux, a position that is none, or a
                flux that is negative or not finite.
        """
        content = unpacked(content, label)
        rows = _rows(content, label, table)
        lon, lat = _positions(rows, label, table)
        flux, band = _fluxes(rows, label, table)
        index = next((_plain(rows[name]) for name in INDEX_COLUMNS if name in rows.colnames), None)
        extent = np.zeros(len(lon))
        if content.startswith(b"SIMPLE"):
            extent = _extents(rows, content, label)
        return cls(label, lon, lat, extent, flux, band, index)

    @property
    def positions(self) -> np.ndarray:
        """Galactic longitude and latitude (n, 2) [deg]."""
        return np.stack([self.lon_deg, self.lat_deg], axis=1)

    def reaches(self, low_gev: float, high_gev: float) -> bool:
        """Whether `flux_in` knows the fluxes of this band."""
        if self.flux is None:
            return False
        same = self.band_gev is None or np.allclose(self.band_gev, (low_gev, high_gev), rtol=1e-3)
        return same or (self.index is not None and low_gev >= (self.band_gev or (0.0,))[0] * (1 - 1e-3))

    def flux_in(self, low_gev: float, high_gev: float) -> np.ndarray:
        """Photons (n,) [cm^-2 s^-1] of each source from `low_gev` to `high_gev`.

        The flux of the catalogue's own band, carried to this one with the source's power law.

        Raises:
            InputError: no fluxes, no index for another band, or one that begins below that of the fluxes.
        """
        if self.flux is None:
            raise InputError(
                f"{self.label}: no column of fluxes that is known ({', '.join(FLUX_COLUMNS)}); name one with `flux`"
            )
        if self.band_gev is None or np.allclose(self.band_gev, (low_gev, high_gev), rtol=1e-3):
            return self.flux
        band = f"{self.band_gev[0]:g} to {self.band_gev[1]:g} GeV"
        if self.index is None:
            raise InputError(
                f"{self.label}: its fluxes are of {band}, and it has no index ({', '.join(INDEX_COLUMNS)}) to carry "
                f"them to {low_gev:g} to {high_gev:g} GeV"
            )
        if low_gev < self.band_gev[0] * (1 - 1e-3):
            raise InputError(
                f"{self.label}: its fluxes are of {band}, and power laws carry them far off below that; choose energy "
                f"bins above {self.band_gev[0]:g} GeV, got {low_gev:g} to {high_gev:g} GeV"
            )
        return self.flux * _power_law(self.index, low_gev, high_gev) / _power_law(self.index, *self.band_gev)


def _power_law(index: np.ndarray, low: float, high: float) -> np.ndarray:
    """Integral of E^-index from `low` to `high`."""
    from scipy.special import exprel

    span = np.log(high / low)
    return np.asarray(low ** (1 - index) * span * exprel((1 - index) * span))


def _positions(rows: Any, label: str, table: SourceTable) -> tuple[np.ndarray, np.ndarray]:
    """Galactic longitude and latitude (n,) [deg]."""
    names = (table.lon, table.lat)
    if table.lon is None and table.lat is None:
        names = next((pair for pair in POSITION_COLUMNS if set(pair) <= set(rows.colnames)), POSITION_COLUMNS[-1])
    lon_name, lat_name = (str(name) for name in names)
    for name in (lon_name, lat_name):
        if name not in rows.colnames:
            raise InputError(f"{label}: no column '{name}'; the file has {', '.join(rows.colnames) or 'none'}")
    if not len(rows):
        raise InputError(f"{label}: no sources; expected rows below the header")
    lon, lat = (_degrees(rows[name], label) for name in (lon_name, lat_name))
    bad = ~(np.isfinite(lon) & (np.abs(lat) <= 90))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{label}: row {row + 1} is no position, got {lon_name} {lon[row]}, {lat_name} {lat[row]}")
    if _frame(lon_name, lat_name, table.frame, label) == "equatorial":
        from astropy.coordinates import SkyCoord

        there = SkyCoord(lon, lat, unit="deg", frame="icrs").galactic
        lon, lat = there.l.deg, there.b.deg
    return np.asarray(lon), np.asarray(lat)


def _fluxes(rows: Any, label: str, table: SourceTable) -> tuple[np.ndarray | None, tuple[float, float] | None]:
    """Fluxes (n,) [cm^-2 s^-1] and their band, of a column that is named or known."""
    name = table.flux or next((name for name in FLUX_COLUMNS if name in rows.colnames), None)
    if name is None:
        return None, None
    if name not in rows.colnames:
        raise InputError(f"{label}: no column '{name}'; the file has {', '.join(rows.colnames)}")
    unit = rows[name].unit
    try:
        values = _plain(rows[name])
    except (ValueError, TypeError) as error:
        raise InputError(f"{label}: column '{name}' must be numbers ({error})") from None
    values = values * factor_to("1 / (cm2 s)", "photon flux", None if unit is None else str(unit), None, label)
    bad = ~(np.isfinite(values) & (values >= 0))
    if bad.any():
        row = int(np.flatnonzero(bad)[0])
        raise InputError(f"{label}: row {row + 1} has no flux, got {name} {values[row]}; leave the source out")
    return values, FLUX_COLUMNS.get(name) if table.flux is None else table.band_gev


def _extents(rows: Any, content: bytes, label: str) -> np.ndarray:
    """Radii (n,) [deg] of the sources that the extension of extended sources names, 0 of the others."""
    extent = np.zeros(len(rows))
    with open_fits(content, label) as hdus:
        found = next((hdu for hdu in hdus if hdu.name.replace(" ", "").upper() == "EXTENDEDSOURCES"), None)
        if found is None or "Model_SemiMajor" not in found.columns.names:
            return extent
        radii = dict(zip(_names(found.data["Source_Name"]), found.data["Model_SemiMajor"].tolist(), strict=True))
    for column in ("Extended_Source_Name", "Source_Name"):
        if column in rows.colnames:
            known = [radii.get(name, 0.0) for name in _names(rows[column])]
            extent = np.maximum(extent, np.nan_to_num(np.array(known, dtype=np.float64)))
    return extent


def _names(column: Any) -> list[str]:
    return [(name.decode() if isinstance(name, bytes) else str(name)).strip() for name in np.asarray(column)]


def _plain(column: Any) -> np.ndarray:
    """A column of numbers (n,); NaN where it has no value."""
    return np.asarray(np.ma.filled(np.ma.asarray(column).astype(np.float64), np.nan), dtype=np.float64).ravel()


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


def _frame(lon_name: str, lat_name: str, declared: str | None, label: str) -> str:
    """The frame by the manifest or by the names of the columns: RA, RAJ2000, DEC, DEJ2000 are equatorial."""
    lon, lat = (name.lower().strip("_") for name in (lon_name, lat_name))
    known = next((frame for frame, a, b in COLUMN_NAMES if lon.startswith(a) and lat.startswith(b)), None)
    if known and declared and known != declared:
        raise contradiction(label, f"columns '{lon_name}', '{lat_name}' are {known}", f"frame is '{declared}'")
    return known or declared or "galactic"
