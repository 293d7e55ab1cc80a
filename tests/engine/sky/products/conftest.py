"""Small files in the layouts of the mission's tools, any part of which a test may spoil."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

EDGES_KEV = np.array([1e6, 3e6, 1e7])
ENERGIES_MEV = np.array([1e3, 3e3, 1e4])


def table(name: str, columns: dict[str, tuple[str, Any]], units: dict[str, str] | None = None, **cards: Any) -> Any:
    """A table of FITS columns: name -> (format, values)."""
    units = units or {}
    parts = [fits.Column(key, kind, unit=units.get(key), array=values) for key, (kind, values) in columns.items()]
    made = fits.BinTableHDU.from_columns(parts, name=name)
    made.header.update({key: value for key, value in cards.items() if value is not None})
    return made


def ebounds(edges: np.ndarray = EDGES_KEV, unit: str | None = "keV") -> Any:
    units = {} if unit is None else {"E_MIN": unit, "E_MAX": unit}
    number = np.arange(1, len(edges))
    return table("EBOUNDS", {"CHANNEL": ("I", number), "E_MIN": ("E", edges[:-1]), "E_MAX": ("E", edges[1:])}, units)


def energies(values: np.ndarray = ENERGIES_MEV, unit: str | None = None) -> Any:
    return table("ENERGIES", {"Energy": ("D", values)}, {} if unit is None else {"Energy": unit})


def skymap(values: np.ndarray, name: str = "SKYMAP", column: str = "CHANNEL", kind: str = "D", **cards: Any) -> Any:
    """A HEALPix table of the layers (n, pixels)."""
    known = {"PIXTYPE": "HEALPIX", "ORDERING": "RING", "COORDSYS": "GAL", "NSIDE": 4, **cards}
    return table(name, {f"{column}{n + 1}": (kind, layer) for n, layer in enumerate(values)}, **known)


def image(values: np.ndarray, ctype: tuple[str, str] = ("GLON-CAR", "GLAT-CAR"), **cards: Any) -> Any:
    """An image of the layers (n, rows, columns), a degree to a pixel about (0, 0)."""
    made = fits.PrimaryHDU(np.asarray(values))
    rows, columns = np.shape(values)[-2:]
    made.header.update({
        "CTYPE1": ctype[0], "CTYPE2": ctype[1], "CRVAL1": 0.0, "CRVAL2": 0.0, "CDELT1": -1.0, "CDELT2": 1.0,
        "CRPIX1": columns / 2 + 0.5, "CRPIX2": rows / 2 + 0.5, **cards,
    })  # fmt: skip
    return made


def write(path: Path, *hdus: Any) -> Path:
    """Write the extensions, the first of them an image or behind an empty one."""
    first = [] if hdus and isinstance(hdus[0], fits.PrimaryHDU) else [fits.PrimaryHDU()]
    fits.HDUList([*first, *hdus]).writeto(path, overwrite=True)
    return path
