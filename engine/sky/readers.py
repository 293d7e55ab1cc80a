"""Sky maps from the bytes of files: values (bins, pixels) and the pixels that they are of.

Readers take bytes, not paths, so that what is checked (SHA-256) is what is read. What a file is, is seen in it, not in
its name. Every complaint is one line that names the file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import extension_of, open_fits
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.healpix_tables import Columns, column, ring_order, whole_sky
from gammasky.engine.sky.manifest import CountsMap, ExposureMap, MapFile, TemplateMap
from gammasky.engine.sky.maps import NOT_OBSERVED, nside_of
from gammasky.engine.sky.pixels import HealpixPixels, Pixels, ProjectedPixels
from gammasky.engine.sky.products import CountsCube, DiffuseCube, ExposureCube, IsotropicSpectrum
from gammasky.engine.sky.products.cubes import cube_numbers, is_image
from gammasky.engine.sky.statements import check_energies, contradiction, said, unit_factor

IMAGE_PARTS = 4  # an image is interpolated at this many places along the side of a pixel, and averaged


@dataclass(frozen=True, eq=False)
class Maps:
    """What a file holds.

    Args:
        values (bins, pixels): in RING order or row by row; NaN or UNSEEN where the file has no value.
        pixels: that they are of.
        edges_gev (bins + 1,) [GeV]: of the bins, where the file says them.
        spectral: the values of different bins are in one unit, so that their ratios mean something.
        outside: the value beyond the pixels.
        divide: parts along a side of a pixel for interpolation, if not chosen by the sizes of pixels.
        note: what was understood that the file does not say, or "".
    """

    values: np.ndarray
    pixels: Pixels
    edges_gev: np.ndarray | None = None
    spectral: bool = False
    outside: float = np.nan
    divide: int | None = None
    note: str = ""


def load_map(content: bytes, label: str, entry: MapFile, edges_gev: Sequence[float] | None) -> Maps:
    """The maps of one entry of a manifest, in the unit of that entry.

    Args:
        content: the bytes of the file.
        label: how errors name it.
        entry: what the manifest says of the file.
        edges_gev: edges of the energy bins; None: those of the file, which must be a counts cube.

    Raises:
        InputError: a damaged file, or one that is not what the manifest says.
    """
    content = unpacked(content, label)
    if content.startswith(b"\x93NUMPY") or entry.file.removesuffix(".gz").endswith(".npy"):
        _leave_out(entry, ("field", "hdu"), "an array", label)
        values = load_npy(content, label).astype(np.float64) * unit_factor(entry, None, label)
        pixels = HealpixPixels(nside_of(values.shape[1], label), entry.frame or "galactic")
        return Maps(ring_order(values, entry.ordering or "ring"), pixels)
    if isinstance(entry, TemplateMap) and edges_gev is not None and IsotropicSpectrum.is_text(content):
        return _uniform(
            IsotropicSpectrum.read(content, label).in_bins(edges_gev, extrapolate=entry.extrapolate), entry, label
        )
    with open_fits(content, label) as hdus:
        if entry.field is None and "EBOUNDS" in hdus and isinstance(entry, CountsMap):
            counts = CountsCube.read(content, label, entry.frame, entry.hdu)
            edges = counts.energy_edges_gev if edges_gev is None else np.asarray(edges_gev, dtype=np.float64)
            photons = counts.in_bins(edges)
            return Maps(np.where(photons == NOT_OBSERVED, np.nan, photons), counts.pixels, edges)
        if edges_gev is None:
            raise InputError(f"{label}: no energy bins in it; give `energy_edges_gev` of the dataset")
        if entry.field is None and "ENERGIES" in hdus and cube_numbers(hdus):
            cube = _cube(content, label, entry, edges_gev)
            if cube is not None:
                return cube
        number = _image_number(hdus, entry, label)
        if number is not None:
            return _image(extension_of(hdus, label, number), number, label, entry)
    return _table(content, label, entry, edges_gev)


def _leave_out(entry: MapFile, settings: Sequence[str], what: str, label: str) -> None:
    for setting in settings:
        if getattr(entry, setting) is not None:
            raise InputError(f"{label}: {what} has no `{setting}`; leave it out")


def _uniform(intensity: np.ndarray, entry: TemplateMap, label: str) -> Maps:
    """A map of one value for each bin."""
    if entry.unit != "intensity":
        raise contradiction(label, "it is a spectrum of intensity", f"unit is '{entry.unit}'")
    _leave_out(entry, ("field", "hdu", "ordering", "frame"), "a spectrum", label)
    return Maps(np.repeat(intensity[:, None], 12, axis=1), HealpixPixels(1), spectral=True)


def _cube(content: bytes, label: str, entry: MapFile, edges_gev: Sequence[float]) -> Maps | None:
    """Exposure or intensity at several energies, brought to the bins; None: another kind of entry."""
    if isinstance(entry, ExposureMap):
        cube = ExposureCube.read(content, label, entry.frame, entry.hdu, entry.unit)
        note = cube.frame_by if cube.frame_by.startswith("not said") else ""
        values = cube.in_bins(edges_gev, entry.spectral_index)
        return Maps(values, cube.pixels, spectral=True, note=f"{label}: frame {note}" if note else "")
    if isinstance(entry, TemplateMap):
        if entry.unit != "intensity":
            raise contradiction(label, "it holds intensities at several energies", f"unit is '{entry.unit}'")
        diffuse = DiffuseCube.read(content, label, entry.frame, entry.hdu)
        return Maps(diffuse.in_bins(edges_gev, extrapolate=entry.extrapolate), diffuse.pixels, spectral=True)
    return None


def _image_number(hdus: Any, entry: MapFile, label: str) -> int | str | None:
    """The extension with the image that is meant; None: a table is."""
    if entry.projection == "healpix":
        return None
    if entry.projection == "car":
        return entry.hdu or 0
    if entry.hdu is not None:
        extension = extension_of(hdus, label, entry.hdu)
        return entry.hdu if getattr(extension, "columns", None) is None and extension.data is not None else None
    candidates = cube_numbers(hdus)
    if len(candidates) > 1:
        have = ", ".join(f"{number} ({hdus[number].name})" for number in candidates)
        raise InputError(f"{label}: several extensions with pixels, {have}; name that of the map with `hdu`")
    images = [number for number in candidates if is_image(hdus[number])]
    return images[0] if images else None


def _image(image: Any, number: int | str, label: str, entry: MapFile) -> Maps:
    """An image, 0 outside. A template in counts is one per image pixel: it is divided by their solid angles."""
    _leave_out(entry, ("field", "ordering"), "an image", label)
    if getattr(image, "columns", None) is not None or image.data is None or image.data.ndim != 2:
        raise InputError(f"{label}: extension {number!r} holds no two-dimensional image; set `hdu`")
    factor = unit_factor(entry, image.header.get("BUNIT"), label)
    pixels = ProjectedPixels.of_header(image.header, image.data.shape, label)
    if entry.frame not in (None, pixels.frame):
        raise contradiction(label, f"CTYPE1 is '{image.header['CTYPE1']}'", f"frame is '{entry.frame}'")
    values = np.asarray(image.data, dtype=np.float64).reshape(1, -1)
    if isinstance(entry, TemplateMap) and entry.unit == "counts":
        values = values / (pixels.solid_angle_sr / np.nanmax(pixels.solid_angle_sr))
    outside = np.nan if isinstance(entry, ExposureMap) else 0.0
    return Maps(factor * values, pixels, outside=outside, divide=IMAGE_PARTS)


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


def _table(content: bytes, label: str, entry: MapFile, edges_gev: Sequence[float]) -> Maps:
    """Columns of a HEALPix table of a FITS file; pixels that a partial map lacks are UNSEEN."""
    hdu = 1 if entry.hdu is None else entry.hdu
    with open_fits(content, label) as hdus:
        table = extension_of(hdus, label, hdu)
        header, found = table.header, Columns.of(table)
        if not found.names and found.index is None:
            raise InputError(
                f'{label}: extension {hdu!r} holds no table; set `hdu`, or `projection = "car"` for an image'
            )
        columns = found.names
        chosen = _chosen(columns, entry.field, len(edges_gev) - 1, label)
        check_energies(hdus, chosen, len(columns), edges_gev, label)
        values = np.stack(
            [column(table, columns[i]) * unit_factor(entry, table.columns[columns[i]].unit, label) for i in chosen]
        )
        frame: Any = said(entry, header, "COORDSYS", label)
        ordering = said(entry, header, "ORDERING", label)
        values = whole_sky(values, None if found.index is None else column(table, found.index), header, label)
        return Maps(ring_order(values, ordering), HealpixPixels(nside_of(values.shape[1], label), frame))


def _chosen(columns: list[str], field: int | str | list[int | str] | None, n_bins: int, label: str) -> list[int]:
    """Numbers of the columns that hold the map, one for each energy bin, or one for all."""
    if field is None and len(columns) not in (1, n_bins):
        raise InputError(f"{label}: several columns, {', '.join(columns)}; name that of the map with `field`")
    fields = range(len(columns)) if field is None else field if isinstance(field, list) else [field]
    for wanted in fields:
        if wanted not in columns and not (isinstance(wanted, int) and 0 <= wanted < len(columns)):
            raise InputError(f"{label}: no column {wanted!r} of values; the table has {', '.join(columns)}")
    return [columns.index(wanted) if isinstance(wanted, str) else wanted for wanted in fields]
