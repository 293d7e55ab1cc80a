"""Small photon lists, as a test wants them: every column may be changed, left out, or written in another format."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
from astropy.io import fits

GTI = ((0.0, 400.0), (500.0, 1000.0))
CUTS = (
    ("BIT_MASK(EVENT_CLASS,128,P8R3)", "1:1", "DIMENSIONLESS"),
    ("TIME", "TABLE", "s"),
    ("BIT_MASK(EVENT_TYPE,3,P8R3)", "1:1", "DIMENSIONLESS"),
    ("ENERGY", "1000:100000", "MeV"),
    ("ZENITH_ANGLE", "0:105", "deg"),
)  # DSTYP, DSVAL, DSUNI


def photons(n: int = 500, seed: int = 0) -> dict[str, np.ndarray]:
    """Columns of photons all over the sky, in the good times, 1 to 100 GeV."""
    rng = np.random.default_rng(seed)
    time = np.sort(rng.uniform(0.0, 900.0, n))
    return {
        "ENERGY": 1000.0 * 100.0 ** rng.uniform(0.0, 1.0, n),
        "L": rng.uniform(0.0, 360.0, n),
        "B": np.rad2deg(np.arcsin(rng.uniform(-1.0, 1.0, n))),
        "ZENITH_ANGLE": rng.uniform(0.0, 105.0, n),
        "TIME": np.where(time > 400.0, time + 100.0, time),
        "EVENT_CLASS": rng.choice([128, 128 + 256, 128 + 256 + 1024], n),
        "EVENT_TYPE": rng.choice([1 + 4, 1 + 8, 2 + 16, 2 + 32], n),
    }


def bits(values: np.ndarray) -> np.ndarray:
    """The bits of whole numbers (n, 32), the most significant first."""
    return (np.asarray(values)[:, None] >> np.arange(31, -1, -1)) & 1 == 1


def write_list(
    path: Path,
    columns: dict[str, np.ndarray],
    *,
    gti: tuple[tuple[float, float], ...] | None = GTI,
    cuts: tuple[tuple[str, str, str], ...] = CUTS,
    masks: str = "32X",
    name: str = "EVENTS",
    energy_unit: str | None = "MeV",
) -> Path:
    """Write a photon list; `masks` is the format of the columns of bits, "J" for plain numbers."""
    kinds = {"TIME": "D", "EVENT_CLASS": masks, "EVENT_TYPE": masks}
    parts = []
    for column, values in columns.items():
        kind = kinds.get(column, "E")
        settings: dict[str, Any] = {"bzero": 1 << 31} if kind == "J" and column.startswith("EVENT") else {}
        data = bits(values) if kind in ("32X", "32L") else np.asarray(values)
        if settings:
            data = data.astype(np.uint32)
        unit = energy_unit if column == "ENERGY" else None
        parts.append(fits.Column(column, kind, unit=unit, array=data, **settings))
    table = fits.BinTableHDU.from_columns(parts, name=name)
    for number, (kind, value, unit) in enumerate(cuts, start=1):
        table.header[f"DSTYP{number}"], table.header[f"DSVAL{number}"] = kind, value
        table.header[f"DSUNI{number}"] = unit
    hdus = [fits.PrimaryHDU(), table]
    if gti is not None:
        start, stop = np.array(gti).T
        hdus.append(
            fits.BinTableHDU.from_columns(
                [fits.Column("START", "D", array=start), fits.Column("STOP", "D", array=stop)], name="GTI"
            )
        )
    fits.HDUList(hdus).writeto(path, overwrite=True)
    return path
