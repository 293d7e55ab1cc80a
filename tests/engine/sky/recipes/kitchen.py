"""What a recipe is made of, in small: a photon list, a spacecraft file, an area, cubes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

from tests.engine.sky.instrument.orbits import rows, smooth_area, write_spacecraft
from tests.engine.sky.photons.lists import CUTS, GTI, photons, write_list
from tests.engine.sky.products.conftest import energies, skymap

AXIS = np.array([0.6, 0.0, 0.8])  # where the instrument looks, equatorial
L0, B0 = 115.1625, -8.9639  # the same in Galactic coordinates [deg]; a test says so
RECIPE: dict[str, Any] = {
    "name": "small",
    "energy_edges_gev": [1.0, 10.0, 100.0],
    "pixels": {"nside": 8},
    "region": {"center_lon": L0, "center_lat": B0, "radius_max": 60.0},
    "photons": {"files": "events.fits", "event_class": "SOURCE", "event_type": "FRONT", "zenith_max_deg": 100.0},
    "exposure": {"spacecraft": "ft2.fits", "response": "area.fits", "livetime_nside": 16},
    "psf": {"kind": "gaussian", "sigma_deg": 1.0},
}
CUBES: dict[str, Any] = {
    "name": "small",
    "counts": {"file": "counts.fits"},
    "exposure": {"file": "cube.fits"},
    "psf": {"kind": "gaussian", "sigma_deg": 1.0},
}


def lay_out(folder: Path) -> Path:
    """Write every file that the recipes name."""
    write_list(folder / "events.fits", photons(3000))
    columns = rows(50, AXIS, np.array([0.0, 1.0, 0.0]), AXIS)
    columns["START"] -= 1000.0
    columns["STOP"] -= 1000.0
    write_spacecraft(folder / "ft2.fits", columns)
    smooth_area(folder / "area.fits")
    rng = np.random.default_rng(3)
    table = skymap(rng.poisson(2.0, (2, 768)), kind="J", NSIDE=8)
    number = np.arange(1, 3)
    bounds = [("CHANNEL", "I", None, number), ("E_MIN", "E", "keV", [1e6, 1e7]), ("E_MAX", "E", "keV", [1e7, 1e8])]
    parts = [fits.Column(name, kind, unit=unit, array=np.array(values)) for name, kind, unit, values in bounds]
    ebounds = fits.BinTableHDU.from_columns(parts, name="EBOUNDS")
    fits.HDUList([fits.PrimaryHDU(), table, ebounds]).writeto(folder / "counts.fits")
    write_exposure_cube(folder / "cube.fits")
    return folder


def write_exposure_cube(
    path: Path, *, nodes_mev: tuple[float, ...] = (1e3, 1e4, 1e5), value: float = 1e10, zero: int | None = None,
    cuts: tuple[tuple[str, str, str], ...] = (), gti: tuple[tuple[float, float], ...] | None = None,
) -> Path:  # fmt: skip
    """An exposure that rises with energy, E / 1 GeV times `value`, zero in the pixel `zero`, with DSS keywords."""
    layers = np.array([np.full(768, value * node / 1e3) for node in nodes_mev])
    if zero is not None:
        layers[:, zero] = 0.0
    table = skymap(layers, "HPXEXPOSURES", "ENERGY", NSIDE=8)
    hdus = [fits.PrimaryHDU(), table, energies(np.array(nodes_mev))]
    for number, (kind, value_, unit) in enumerate(cuts, start=1):
        hdus[0].header[f"DSTYP{number}"], hdus[0].header[f"DSVAL{number}"] = kind, value_
        hdus[0].header[f"DSUNI{number}"] = unit
    if gti is not None:
        start, stop = np.array(gti).T
        parts = [fits.Column("START", "D", array=start), fits.Column("STOP", "D", array=stop)]
        hdus.append(fits.BinTableHDU.from_columns(parts, name="GTI"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def changed(recipe: dict[str, Any], **parts: Any) -> dict[str, Any]:
    """A recipe with other keys: tables are merged, and None takes a key away."""
    result = {key: dict(value) if isinstance(value, dict) else value for key, value in recipe.items()}
    for key, value in parts.items():
        if value is None:
            del result[key]
        elif isinstance(value, dict) and isinstance(result.get(key), dict):
            merged = result[key] | value
            result[key] = {name: entry for name, entry in merged.items() if entry is not None}
        else:
            result[key] = value
    return result


WITH_CUBE = changed(
    RECIPE,
    exposure={"file": "cube.fits", "spacecraft": None, "response": None, "livetime_nside": None},
    photons={"event_type": None, "zenith_max_deg": None},
    region=None,
)

__all__ = ["AXIS", "CUBES", "CUTS", "GTI", "RECIPE", "WITH_CUBE", "changed", "lay_out", "write_exposure_cube"]
