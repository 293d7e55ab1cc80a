"""Simulated skies as files: each is a dataset of its own, the counts beside a manifest that names the rest."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.files import replacing, write_text
from gammasky.engine.sky.maps import UNSEEN
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.simulator import SourceList

Truth = Mapping[str, float | Sequence[float]]


def sky_name(number: int) -> str:
    """Name of a simulated sky, of its manifest and of its counts map."""
    return f"sky_{number:04d}"


def write_sky(
    folder: Path,
    number: int,
    pixels: Observation,
    counts: np.ndarray,
    *,
    base: str,
    truth: Truth,
    description: str,
    expected: bool = False,
) -> Path:
    """Write `sky_NNNN.fits` (a partial HEALPix map, a column for each energy bin, or images) and `sky_NNNN.toml`.

    Args:
        folder: where they go.
        number: of the sky.
        pixels: the region; counts (n_region,): photons there.
        base: the dataset that exposure, templates, masks and PSF come from: its name, or a path.
        truth: the parameters of the simulation, by name.
        description: one line.
        expected: the counts are expected ones (Asimov data), and no photons.

    Returns:
        the manifest, which opens like any dataset.

    Raises:
        OSError: what the file system refused; each file is whole or not there.
    """
    import tomli_w

    name = sky_name(number)
    columns = [f"COUNTS_{energy_bin}" for energy_bin in range(pixels.n_energy)]
    with replacing(folder / f"{name}.fits") as temporary:
        fields: dict[str, Any] = _write_counts(temporary, pixels, counts, columns)
    fields |= {"expected": True} if expected else {}
    manifest = {
        "base": base,
        "name": name,
        "description": description,
        "counts": {"file": f"{name}.fits", **fields},
        "truth": {parameter: np.asarray(value, dtype=np.float64).tolist() for parameter, value in truth.items()},
    }
    write_text(folder / f"{name}.toml", tomli_w.dumps(manifest))
    return folder / f"{name}.toml"


def _write_counts(path: Path, pixels: Observation, counts: np.ndarray, columns: list[str]) -> dict[str, list[str]]:
    """Write the counts of a region, as a partial HEALPix map or as images; what a manifest says of the columns."""
    if isinstance(pixels.grid, HealpixPixels):
        import healpy

        coord = {"galactic": "G", "equatorial": "C"}[pixels.grid.frame]
        sky = list(pixels.to_map(counts, fill=UNSEEN))
        healpy.write_map(path, sky, coord=coord, partial=True, column_names=columns, dtype=np.float64)
        return {"field": columns}
    from astropy.io import fits

    image = fits.PrimaryHDU(pixels.to_map(counts).reshape(-1, *pixels.grid.shape), pixels.grid.wcs.to_header())
    edges = 1e6 * pixels.energy_edges_gev
    bins = [
        fits.Column("E_MIN", "D", unit="keV", array=edges[:-1]),
        fits.Column("E_MAX", "D", unit="keV", array=edges[1:]),
    ]
    fits.HDUList([image, fits.BinTableHDU.from_columns(bins, name="EBOUNDS")]).writeto(path)
    return {}


def write_sources(path: Path, sources: SourceList, populations: Sequence[str]) -> None:
    """Write the true sources of a sky as a FITS table; where there are several energy bins, with the photons in each.

    Args:
        path: the file.
        sources: the list.
        populations: names of the populations.

    Raises:
        OSError: what the file system refused.
    """
    from astropy.table import Table

    names = np.array(populations, dtype=str)[sources.population] if len(sources.s) else np.array([], dtype="U1")
    columns = {
        "population": names,
        "glon": sources.lon_deg,
        "glat": sources.lat_deg,
        "flux": sources.flux,
        "S": sources.s,
        "counts": sources.counts,
        "pixel": sources.pixel,
    }
    if sources.photons.shape[1] > 1:
        columns["counts_by_bin"] = sources.photons
    table = Table(columns, units={"glon": "deg", "glat": "deg", "flux": "1 / (cm2 s)"})
    with replacing(path) as temporary:
        table.write(temporary, format="fits")
