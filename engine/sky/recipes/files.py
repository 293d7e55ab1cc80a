"""The files of a data folder, in the layouts of the mission's tools."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.sky.maps import NOT_OBSERVED
from gammasky.engine.sky.pixels import HealpixPixels, Pixels
from gammasky.engine.sky.products.psf_table import PSFTable

COORDSYS = {"galactic": "GAL", "equatorial": "EQU"}
EMPTY = -32768  # of image pixels that were not observed


def write_counts(path: Path, pixels: Pixels, counts: np.ndarray, edges_gev: np.ndarray) -> None:
    """Write a counts cube as `gtbin` does; pixels that were not observed are left out of a HEALPix table.

    Args:
        path: the file.
        pixels: of the counts.
        counts (E, n_pixels): photons, NOT_OBSERVED outside of the region.
        edges_gev (E + 1,) [GeV]: edges of the bins.
    """
    seen = np.flatnonzero((counts != NOT_OBSERVED).all(axis=0))
    if isinstance(pixels, HealpixPixels):
        _write(path, _table("SKYMAP", pixels, counts.astype(np.int64), seen, "K", None), _ebounds(edges_gev))
        return
    from astropy.io import fits

    image = np.where(counts == NOT_OBSERVED, EMPTY, counts).astype(np.int32).reshape(len(counts), *pixels.shape)
    primary = fits.PrimaryHDU(image, header=pixels.wcs.to_header())
    primary.header["BLANK"] = EMPTY
    _write(path, primary, _ebounds(edges_gev))


def write_exposure(path: Path, pixels: Pixels, exposure: np.ndarray, edges_gev: np.ndarray) -> None:
    """Write the exposure (E, n_pixels) [cm^2 s] of bins, where it is known and positive in all of them.

    That is more than where counts are: simulated sources shine into a region from outside.
    """
    known = (exposure > 0).all(axis=0)
    numbers = np.flatnonzero(known)
    if isinstance(pixels, HealpixPixels):
        _write(path, _table("EXPOSURE", pixels, exposure, numbers, "D", "cm2 s"), _ebounds(edges_gev))
        return
    from astropy.io import fits

    image = np.where(known, exposure, np.nan).reshape(len(exposure), *pixels.shape)
    header = pixels.wcs.to_header()
    header["BUNIT"] = "cm2 s"
    if len(exposure) == 1:
        _write(path, fits.PrimaryHDU(image[0], header=header))
        return
    centres = fits.Column("Energy", "D", unit="MeV", array=1e3 * np.sqrt(edges_gev[1:] * edges_gev[:-1]))
    energies = fits.BinTableHDU.from_columns([centres], name="ENERGIES")  # one in each bin: that of the bin
    _write(path, fits.PrimaryHDU(image, header=header), energies)


def write_psf(path: Path, table: PSFTable) -> None:
    """Write a PSF at energies as `gtpsf` does."""
    from astropy.io import fits

    size = len(table.radius_deg)
    columns = [
        fits.Column("Energy", "D", unit="MeV", array=1e3 * table.energies_gev),
        fits.Column("Exposure", "D", unit="cm2 s", array=table.exposure),
        fits.Column("Psf", f"{size}D", unit="1/sr", array=table.density),
    ]
    angles = [fits.Column("Theta", "D", unit="deg", array=table.radius_deg)]
    parts = [fits.BinTableHDU.from_columns(part, name=name) for part, name in ((columns, "PSF"), (angles, "THETA"))]
    _write(path, *parts)


def _table(
    name: str, pixels: HealpixPixels, values: np.ndarray, numbers: np.ndarray, kind: str, unit: str | None
) -> Any:
    """A HEALPix table, of a part of the sky where `numbers` are not all pixels."""
    from astropy.io import fits

    partial = len(numbers) < pixels.n_pixels
    columns = [fits.Column("PIX", "K", array=numbers)] if partial else []
    columns += [
        fits.Column(f"CHANNEL{bin_ + 1}", kind, unit=unit, array=layer[numbers]) for bin_, layer in enumerate(values)
    ]
    table = fits.BinTableHDU.from_columns(columns, name=name)
    table.header.update({
        "PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": COORDSYS[pixels.frame], "NSIDE": pixels.nside,
        "INDXSCHM": "EXPLICIT" if partial else "IMPLICIT", "FIRSTPIX": 0, "LASTPIX": pixels.n_pixels - 1,
    })  # fmt: skip
    return table


def _ebounds(edges_gev: np.ndarray) -> Any:
    from astropy.io import fits

    channels = fits.Column("CHANNEL", "J", array=np.arange(1, len(edges_gev)))
    low, high = (
        fits.Column(name, "D", unit="keV", array=1e6 * part)
        for name, part in (("E_MIN", edges_gev[:-1]), ("E_MAX", edges_gev[1:]))
    )
    return fits.BinTableHDU.from_columns([channels, low, high], name="EBOUNDS")


def _write(path: Path, *hdus: Any) -> None:
    from astropy.io import fits

    first = [] if isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *hdus]).writeto(path)
