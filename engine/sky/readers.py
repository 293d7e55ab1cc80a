"""Sky maps from the bytes of files: float64 arrays of shape (bins, pixels), RING order, Galactic coordinates.

Readers take bytes, not paths, so that what is checked (SHA-256) is what is read. Every complaint is one line that names
the file.
"""

from __future__ import annotations

import io
from collections.abc import Sequence

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import extension_of, open_fits
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.healpix_tables import Columns, column, ring_order, whole_sky
from gammasky.engine.sky.images import load_image
from gammasky.engine.sky.manifest import CountsMap, MapFile, MaskMap
from gammasky.engine.sky.maps import nside_of, with_nan
from gammasky.engine.sky.statements import check_energies, said, unit_factor


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
        header, found = table.header, Columns.of(table)
        if not found.names and found.index is None:
            raise InputError(
                f'{label}: extension {hdu!r} holds no table; set `hdu`, or `projection = "car"` for an image'
            )
        columns, index = found.names, found.index
        chosen = _chosen(columns, entry.field, len(edges_gev) - 1, label)
        check_energies(hdus, chosen, len(columns), edges_gev, label)
        values = np.stack(
            [column(table, columns[i]) * unit_factor(entry, table.columns[columns[i]].unit, label) for i in chosen]
        )
        frame, ordering = (said(entry, header, keyword, label) for keyword in ("COORDSYS", "ORDERING"))
        values = whole_sky(values, None if index is None else column(table, index), header, label)
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


def _galactic_ring(values: np.ndarray, entry: MapFile, frame: str, ordering: str, label: str) -> np.ndarray:
    """Maps in RING order and Galactic coordinates; a map that is interpolated for that has NaN where it has no value.

    Raises:
        InputError: photons or a mask in equatorial coordinates, which no interpolation can turn.
    """
    import healpy

    nside_of(values.shape[1], label)
    values = ring_order(values, ordering)
    if frame == "galactic":
        return values
    if isinstance(entry, CountsMap | MaskMap):
        raise InputError(
            f"{label}: {'counts' if isinstance(entry, CountsMap) else 'a mask'} in equatorial coordinates cannot be "
            "interpolated to Galactic pixels; bin the photons, or draw the mask, in Galactic coordinates"
        )
    rotator = healpy.Rotator(coord=["C", "G"])
    return np.stack([rotator.rotate_map_pixel(sky) for sky in with_nan(values)])
