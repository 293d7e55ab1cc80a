"""Cubes in FITS files: layers of pixels and the energies of the layers, of HEALPix tables and of images alike."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes
from gammasky.engine.sky.fits_files import extension_of
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.healpix_tables import Columns, layers, ring_order
from gammasky.engine.sky.maps import nside_of
from gammasky.engine.sky.pixels import Frame, HealpixPixels, Pixels, ProjectedPixels
from gammasky.engine.sky.statements import column_in, contradiction, stated

TABLES = ("EBOUNDS", "ENERGIES", "GTI")  # extensions that are no candidates for the cube


@dataclass(frozen=True, eq=False)
class Cube:
    """Layers of a file as they are in it.

    Args:
        values (layers, pixels): numbers, UNSEEN where a partial table has no pixel.
        pixels: what they are pixels of.
        unit: of the values, as the file writes it, or "".
        frame_said: whether the file, or who reads it, says the frame; else it is that of a rule.
    """

    values: np.ndarray
    pixels: Pixels
    unit: str
    frame_said: bool


def content_of(path: Path | str) -> tuple[bytes, str]:
    """The bytes of a file, unpacked, and how errors name it."""
    return unpacked(read_bytes(Path(path)), str(path)), str(path)


def cube_numbers(hdus: Any) -> list[int]:
    """Numbers of the extensions that may hold a cube: HEALPix tables and images of two or three axes."""
    return [number for number, hdu in enumerate(hdus) if _is_healpix(hdu) or is_image(hdu)]


def read_cube(
    hdus: Any, label: str, *, frame: Frame | None = None, rule: Frame | None = None, hdu: int | str | None = None
) -> Cube:
    """The cube of an open file.

    Args:
        hdus: its extensions.
        label: how errors name it.
        frame: what the user says of a file that does not say its frame.
        rule: the frame of a table that nobody says it of.
        hdu: the extension, where several could be meant.

    Raises:
        InputError: no cube or several, or one that cannot be read.
    """
    if hdu is None:
        found = cube_numbers(hdus)
        if len(found) != 1:
            have = ", ".join(f"{number} ({extension.name})" for number, extension in enumerate(hdus))
            what = "several extensions with pixels" if found else "no HEALPix table and no image"
            raise InputError(f"{label}: {what}; the file has {have}" + ("; name one with `hdu`" if found else ""))
        hdu = found[0]
    extension = extension_of(hdus, label, hdu)
    if not (_is_healpix(extension) or is_image(extension)):
        raise InputError(f"{label}: extension {hdu!r} holds neither a HEALPix table nor an image of two or three axes")
    return _of_table(extension, label, frame, rule) if _is_healpix(extension) else _of_image(extension, label, frame)


def _of_table(table: Any, label: str, frame: Frame | None, rule: Frame | None) -> Cube:
    values = ring_order(layers(table, label), stated(table.header, "ORDERING", None, label))
    pixels = HealpixPixels(nside_of(values.shape[1], label))
    said: Any = stated(table.header, "COORDSYS", frame, label, rule)
    names = Columns.of(table).names
    unit = str(table.columns[names[0]].unit or table.header.get("BUNIT", "")).strip()
    by_somebody = frame is not None or bool(str(table.header.get("COORDSYS", "")).strip())
    return Cube(values, HealpixPixels(pixels.nside, said), unit, by_somebody)


def _of_image(image: Any, label: str, frame: Frame | None) -> Cube:
    data = np.asarray(image.data)
    rows, columns = data.shape[-2:]
    pixels = ProjectedPixels.of_header(image.header, (rows, columns), label)
    if frame not in (None, pixels.frame):
        raise contradiction(label, f"CTYPE1 is '{image.header['CTYPE1']}'", f"frame is '{frame}'")
    return Cube(data.reshape(-1, rows * columns), pixels, str(image.header.get("BUNIT", "")).strip(), True)


def _is_healpix(hdu: Any) -> bool:
    """Whether an extension is a table of HEALPix pixels, by what its header says."""
    if hdu.header.get("XTENSION") != "BINTABLE" or hdu.name in TABLES:
        return False
    header = hdu.header
    return str(header.get("PIXTYPE", "")).strip().upper() == "HEALPIX" or "NSIDE" in header


def is_image(hdu: Any) -> bool:
    """Whether an extension is an image, or several, with coordinates."""
    return hdu.header.get("XTENSION") != "BINTABLE" and hdu.header.get("NAXIS", 0) in (2, 3) and "CTYPE1" in hdu.header


def bin_edges(hdus: Any, n_layers: int, label: str) -> np.ndarray:
    """Edges (E + 1,) [GeV] of the bins in the extension EBOUNDS (keV where it names no unit).

    Raises:
        InputError: another number of bins than layers, gaps, or energies that do not rise.
    """
    low, high = (column_in(hdus["EBOUNDS"], name, "GeV", label, unsaid="keV") for name in ("E_MIN", "E_MAX"))
    if len(low) != n_layers:
        raise InputError(f"{label}: EBOUNDS has {len(low)} bins, but the cube has {n_layers}; correct the file")
    edges = np.append(low, high[-1:])
    if not (np.all(edges[:-1] > 0) and np.all(np.diff(edges) > 0) and np.allclose(high[:-1], low[1:], rtol=1e-5)):
        raise InputError(f"{label}: EBOUNDS must hold positive, rising bins without gaps; got {low} to {high} GeV")
    return edges


def node_energies(hdus: Any, n_layers: int, label: str) -> np.ndarray:
    """Energies (N,) [GeV] of the layers in the extension ENERGIES (MeV where it names no unit).

    Raises:
        InputError: no such extension, another number of energies than layers, or energies that do not rise.
    """
    if "ENERGIES" not in hdus:
        raise InputError(f"{label}: no extension ENERGIES with the energies of the {n_layers} layers")
    table = hdus["ENERGIES"]
    energies = column_in(table, table.columns.names[0], "GeV", label, unsaid="MeV").ravel()
    if len(energies) != n_layers:
        raise InputError(f"{label}: ENERGIES has {len(energies)} rows, but the cube has {n_layers} layers")
    if len(energies) < 2 or not (energies[0] > 0 and np.all(np.diff(energies) > 0)):
        raise InputError(f"{label}: ENERGIES must hold at least two positive, rising energies")
    return energies
