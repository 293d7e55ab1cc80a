"""What a file of a gamma-ray astronomer is: kind, pixels, frame, energies, units and sums, by looking into it."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.files import read_bytes
from gammasky.engine.sky.catalogues import Catalogue
from gammasky.engine.sky.fits_files import open_fits
from gammasky.engine.sky.gzip_files import unpacked
from gammasky.engine.sky.healpix_tables import Columns
from gammasky.engine.sky.manifest import MANIFEST_NAME, SourceTable
from gammasky.engine.sky.maps import NOT_OBSERVED, with_nan
from gammasky.engine.sky.pixels import Frame, HealpixPixels, Pixels
from gammasky.engine.sky.products import CountsCube, DiffuseCube, ExposureCube, IsotropicSpectrum, PSFTable
from gammasky.engine.sky.products.cubes import cube_numbers, read_cube
from gammasky.engine.sky.readers import load_npy
from gammasky.engine.sky.statements import require_counts

Lines = list[tuple[str, str]]


@dataclass(frozen=True)
class Description:
    """What a file is.

    Args:
        path: of the file.
        kind: in words.
        lines: what there is to say of it, as (what, value).
        sky: a map (pixels,) to look at, NaN where it has no value; None where there is none.
        pixels: of the map.
        unit: of the map.
    """

    path: Path
    kind: str
    lines: Lines = field(default_factory=list)
    sky: np.ndarray | None = None
    pixels: Pixels | None = None
    unit: str = ""


def describe(path: Path, frame: Frame | None = None) -> Description:
    """What the file `path` is.

    Args:
        path: a file, compressed or not.
        frame: of a map that does not say it.

    Raises:
        InputError: a file that is damaged, or none that is known; lists what was found in it.
    """
    content, label = unpacked(read_bytes(path), str(path)), str(path)
    if content.startswith(b"\x93NUMPY"):
        return _array(path, load_npy(content, label), frame)
    if not content.startswith(b"SIMPLE"):
        return _text(path, content, label)
    with open_fits(content, label) as hdus:
        found = [f"{number} ({hdu.name or 'no name'})" for number, hdu in enumerate(hdus)]
        for reader, tell in READERS:
            if reader.matches(hdus) and not (reader is CountsCube and _of_another_unit(hdus, label, frame)):
                return tell(path, content, label, frame)
        if any("Source_Name" in Columns.of(hdu).names for hdu in hdus):
            return _catalogue(path, content, label)
        names = {hdu.name.replace(" ", "").upper() for hdu in hdus}
        kind = next((kind for name, kind in NAMED if any(name in other for other in names)), None)
        if kind is not None:
            return Description(path, kind, [("extensions", ", ".join(found)), *_rows(hdus)])
        if cube_numbers(hdus):
            return _map(path, hdus, label, frame)
    try:
        return _catalogue(path, content, label)
    except InputError:
        known = ", ".join(kind for _, kind in NAMED)
        raise InputError(
            f"{label}: no file that is known (a map, a cube, a PSF table, a catalogue, {known}); its extensions are "
            f"{', '.join(found)}"
        ) from None


def describe_folder(folder: Path, frame: Frame | None = None) -> Iterator[Description]:
    """What the files of a folder are, in the order of their names; other folders and hidden files are left out.

    Raises:
        InputError: a folder that cannot be looked into, or is empty. A file that is not known is one of the kind
            "not known", with the reason.
    """
    try:
        files = sorted(path for path in folder.iterdir() if path.is_file() and not path.name.startswith("."))
    except OSError as error:
        raise InputError(f"{folder}: cannot be looked into ({error.strerror})") from None
    if not files:
        raise InputError(f"{folder}: no files in it")
    for path in files:
        if path.name == MANIFEST_NAME:
            yield Description(path, "the manifest of a dataset")
            continue
        try:
            yield describe(path, frame)
        except InputError as error:
            yield Description(path, "not known", [("reason", str(error).removeprefix(f"{path}: "))])


NAMED = (  # kinds that are known by the name of an extension
    ("EVENTS", "photon list (FT1)"),
    ("SC_DATA", "spacecraft file (FT2)"),
    ("EFFECTIVEAREA", "response file: effective area"),
    ("RPSF", "response file: point-spread function"),
    ("GTI", "good time intervals"),
)


def _counts(path: Path, content: bytes, label: str, frame: Frame | None) -> Description:
    cube = CountsCube.read(content, label, frame)
    seen = cube.counts != NOT_OBSERVED
    sky = np.where(seen.all(axis=0), np.where(seen, cube.counts, 0).sum(axis=0), np.nan)
    lines = [
        ("pixels", cube.pixels.name),
        ("energy bins", _energies(cube.energy_edges_gev, "edges")),
        ("unit", "counts"),
        ("photons", f"{int(cube.counts[seen].sum()):,}; by bin {_numbers(np.where(seen, cube.counts, 0).sum(axis=1))}"),
    ]
    return Description(path, cube.kind, lines + _unseen(sky), sky, cube.pixels, "counts")


def _exposure(path: Path, content: bytes, label: str, frame: Frame | None) -> Description:
    cube = ExposureCube.read(content, label, frame)
    lines = [
        ("pixels", cube.pixels.name),
        ("frame", cube.frame_by),
        ("energies", _energies(cube.energies_gev, "energies")),
        ("unit", "cm2 s"),
        ("mean by energy", _numbers(np.nanmean(cube.exposure, axis=1))),
    ]
    sky = cube.exposure[len(cube.exposure) // 2]
    return Description(path, cube.kind, lines + _unseen(sky), sky, cube.pixels, "cm2 s")


def _diffuse(path: Path, content: bytes, label: str, frame: Frame | None) -> Description:
    with open_fits(content, label) as hdus:
        said = bool(read_cube(hdus, label, frame=frame).unit)
    cube = DiffuseCube.read(content, label, frame)
    lines = [
        ("pixels", cube.pixels.name),
        ("energies", _energies(cube.energies_gev, "energies")),
        ("unit", "cm-2 s-1 sr-1 MeV-1" + ("" if said else ", which the file does not say")),
        ("mean by energy", _numbers(np.nanmean(cube.intensity, axis=1))),
    ]
    sky = cube.intensity[len(cube.intensity) // 2]
    return Description(path, cube.kind, lines + _unseen(sky), sky, cube.pixels, "cm-2 s-1 sr-1 MeV-1")


def _psf(path: Path, content: bytes, label: str, frame: Frame | None) -> Description:
    del frame
    table = PSFTable.read(content, label)
    edges = table.energies_gev[[0, -1]]
    (psf,) = table.in_bins(edges)
    radius = np.rad2deg(psf.radius(np.array([0.68, 0.95])))
    lines = [
        ("energies", _energies(table.energies_gev, "energies")),
        ("radii", f"{len(table.radius_deg)}, {table.radius_deg[0]:g} to {table.radius_deg[-1]:.4g} deg"),
        ("exposure", f"{_numbers(table.exposure)} cm2 s"),
        ("containment", f"68 % within {radius[0]:.3g} deg, 95 % within {radius[1]:.3g} deg (all energies, E^-2)"),
    ]
    return Description(path, table.kind, lines)


READERS: tuple[tuple[Any, Any], ...] = (
    (PSFTable, _psf), (CountsCube, _counts), (ExposureCube, _exposure), (DiffuseCube, _diffuse),
)  # fmt: skip


def _of_another_unit(hdus: Any, label: str, frame: Frame | None) -> bool:
    """Whether a cube of energy bins says that its numbers are no counts, as the exposure of a data folder does."""
    unit = read_cube(hdus, label, frame=frame).unit
    try:
        require_counts(unit, label)
    except InputError:
        return True
    return False


def _map(path: Path, hdus: Any, label: str, frame: Frame | None) -> Description:
    """Maps without energies, or of bins that are no counts."""
    cube = read_cube(hdus, label, frame=frame)
    values = with_nan(cube.values)
    unit = cube.unit or "not said"
    what = [("pixels", cube.pixels.name), ("maps", str(len(values))), ("unit", unit), ("sums", _sums(values))]
    return Description(path, "map", what + _unseen(values[0]), values[0], cube.pixels, cube.unit)


def _array(path: Path, values: np.ndarray, frame: Frame | None) -> Description:
    lines = [("shape", f"{values.shape}, {values.dtype}"), ("sums", _sums(values))]
    size = values.shape[1]
    nside = round((size / 12) ** 0.5)
    if 12 * nside**2 != size or nside & (nside - 1):
        return Description(path, "array of no HEALPix size", lines)
    pixels = HealpixPixels(nside, frame or "galactic")
    lines.insert(
        0, ("pixels", f"{pixels.name}; frame and ordering are not said: Galactic and RING unless a manifest says")
    )
    two = np.unique(values[:, : min(size, 1 << 20)])
    kind = (
        "mask (array)" if len(two) == 2 and (values.dtype.kind == "b" or set(two.tolist()) == {0, 1}) else "map (array)"
    )
    sky = with_nan(values[0])
    return Description(path, kind, lines + _unseen(sky), sky, pixels)


def _text(path: Path, content: bytes, label: str) -> Description:
    if IsotropicSpectrum.is_text(content):
        spectrum = IsotropicSpectrum.read(content, label)
        lines = [
            ("energies", _energies(spectrum.energies_gev, "energies")),
            ("unit", "cm-2 s-1 sr-1 MeV-1 (by the layout: the file says none)"),
        ]
        return Description(path, spectrum.kind, lines)
    try:
        return _catalogue(path, content, label)
    except InputError as error:
        raise InputError(
            f"{label}: no file that is known: of text there are spectra (two columns of numbers) and catalogues (CSV "
            f"or ECSV with a header); read as a catalogue: {str(error).removeprefix(f'{label}: ')}"
        ) from None


def _catalogue(path: Path, content: bytes, label: str) -> Description:
    """Sources; any table with positions."""
    catalogue = Catalogue.read(content, label, SourceTable(file=path.name))
    lines = [("sources", f"{len(catalogue.lon_deg):,}, {int((catalogue.extent_deg > 0).sum())} of them extended")]
    if catalogue.flux is None:
        lines.append(("fluxes", "no column that is known"))
    elif catalogue.band_gev is not None:
        low, high = catalogue.band_gev
        bright = f"{catalogue.flux.min():.3g} to {catalogue.flux.max():.3g} cm-2 s-1"
        lines.append(("fluxes", f"{bright}, {low:g} to {high:g} GeV"))
    return Description(path, "catalogue", lines)


def _rows(hdus: Any) -> Lines:
    """Rows and columns of the tables, but for those of one row."""
    tables = [hdu for hdu in hdus if hdu.header.get("XTENSION") == "BINTABLE" and hdu.header["NAXIS2"] > 2]
    return [(hdu.name, f"{hdu.header['NAXIS2']:,} rows, {hdu.header['TFIELDS']} columns") for hdu in tables]


def _energies(energies: np.ndarray, what: str) -> str:
    number = len(energies) - (what == "edges")
    shown = energies if len(energies) <= 24 else [*energies[:3], *energies[-3:]]
    listed = ", ".join(f"{energy:.6g}" for energy in shown)
    return f"{number}, {energies[0]:.6g} to {energies[-1]:.6g} GeV ({what} {listed})"


def _numbers(values: np.ndarray) -> str:
    return ", ".join(f"{value:,}" if np.issubdtype(values.dtype, np.integer) else f"{value:.4g}" for value in values)


def _sums(values: np.ndarray) -> str:
    numbers = with_nan(values)
    listed = ", ".join(f"{total:.8g}" for total in np.nansum(numbers, axis=1)[:24])
    return f"{listed}; lowest {np.nanmin(numbers):.4g}, highest {np.nanmax(numbers):.4g}"


def _unseen(sky: np.ndarray) -> Lines:
    unseen = int(np.isnan(sky).sum())
    return [("no value", f"in {unseen:,} of {len(sky):,} pixels")] if unseen else []
