"""Made-up spacecraft files and response files, whose exposure can be worked out on paper."""

from __future__ import annotations

from pathlib import Path

import numpy as np
from astropy.io import fits

from gammasky.engine.sky.pixels.frames import lonlat_of

COLUMNS = ("SCZ", "SCX", "ZENITH")


def rows(
    n: int, z: np.ndarray, x: np.ndarray, zenith: np.ndarray, *, length: float = 30.0, live: float | np.ndarray = 27.0
) -> dict[str, np.ndarray]:
    """Columns of `n` rows side by side; z, x and zenith (n, 3) or (3,) are equatorial unit vectors."""
    start = 1000.0 + length * np.arange(n)
    columns = {"START": start, "STOP": start + length, "LIVETIME": np.broadcast_to(live, n).astype(np.float64)}
    for name, axis in zip(COLUMNS, (z, x, zenith), strict=True):
        lon, lat = lonlat_of(np.broadcast_to(axis, (n, 3)))
        columns |= {f"RA_{name}": lon % 360, f"DEC_{name}": lat}
    return columns


def write_spacecraft(path: Path, columns: dict[str, np.ndarray], name: str = "SC_DATA") -> Path:
    """Write a spacecraft file."""
    parts = [fits.Column(key, "D", array=values) for key, values in columns.items()]
    fits.HDUList([fits.PrimaryHDU(), fits.BinTableHDU.from_columns(parts, name=name)]).writeto(path, overwrite=True)
    return path


def write_area(
    path: Path, area_m2: np.ndarray, energy_mev: np.ndarray, cos_edges: np.ndarray,
    *, phi: tuple[float, float] | None = None, efficiency: np.ndarray | None = None, unit: str | None = "m2",
) -> Path:  # fmt: skip
    """Write an effective area (inclinations, energies) of the event type FRONT, on edges of energy and inclination."""

    def table(name: str, values: dict[str, np.ndarray], units: dict[str, str | None]) -> fits.BinTableHDU:
        shape = (len(cos_edges) - 1, len(energy_mev) - 1)
        bounds = {
            "ENERG_LO": energy_mev[:-1],
            "ENERG_HI": energy_mev[1:],
            "CTHETA_LO": cos_edges[:-1],
            "CTHETA_HI": cos_edges[1:],
        }
        units = {"ENERG_LO": "MeV", "ENERG_HI": "MeV", **units}
        parts = [
            fits.Column(key, f"{v.size}E", unit=units.get(key), array=v[None].astype(float))
            for key, v in bounds.items()
        ]
        for key, v in values.items():
            dim = f"({shape[1]}, {shape[0]})"
            parts.append(fits.Column(key, f"{v.size}E", unit=units.get(key), dim=dim, array=v[None].astype(float)))
        return fits.BinTableHDU.from_columns(parts, name=name)

    hdus = [fits.PrimaryHDU(), table("EFFECTIVE AREA_FRONT", {"EFFAREA": area_m2}, {"EFFAREA": unit})]
    if phi is not None:
        values = {f"PHIDEP{number}": np.full(area_m2.shape, value) for number, value in enumerate(phi)}
        hdus.append(table("PHI_DEPENDENCE_FRONT", values, {}))
    if efficiency is not None:
        column = fits.Column("EFFICIENCY_PARS", "6E", array=efficiency)
        hdus.append(fits.BinTableHDU.from_columns([column], name="EFFICIENCY_PARAMS_FRONT"))
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path


def smooth_area(path: Path, **settings: object) -> Path:
    """An effective area of 1 m^2 at cos(theta) = 1 that falls linearly to 0 at 0.2, in a table."""
    cos_edges = np.linspace(0.2, 1.0, 33)
    middle = (cos_edges[1:] + cos_edges[:-1]) / 2
    energies = np.geomspace(1e2, 1e6, 17)
    area = np.repeat(((middle - 0.2) / 0.8)[:, None], 16, axis=1)
    return write_area(path, area, energies, cos_edges, **settings)  # type: ignore[arg-type]
