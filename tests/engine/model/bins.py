"""A small sky in several energy bins, its merged form in one bin, and tables of models on it."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import healpy
import numpy as np

from gammasky.engine.sky.dataset import Dataset

NSIDE = 8
EDGES = (1.0, 2.0, 5.0, 10.0, 40.0)
MEAN_EXPOSURE = np.array([2e10, 3e10, 3.2e10, 2.5e10])
MANIFEST = """
name = "bins"
nside = 8
energy_edges_gev = {edges}
counts = {{ file = "counts.npy" }}
exposure = {{ file = "exposure.npy" }}
psf = {{ kind = "delta" }}
[masks]
spot = {{ file = "spot.npy", masked_where = 1 }}
[templates]
flat = {{ file = "flat.npy", unit = "intensity" }}
peak = {{ file = "peak.npy", unit = "counts" }}
glow = {{ file = "glow.npy", unit = "counts" }}
"""


def write_bins(folder: Path, counts: np.ndarray, exposure: np.ndarray, edges: tuple[float, ...] = EDGES) -> Dataset:
    """A sky with counts and exposure (E, 768); `glow` has a map for each bin."""
    folder.mkdir(parents=True)
    lon, lat = healpy.pix2ang(NSIDE, np.arange(768), lonlat=True)
    lon = np.where(lon > 180, lon - 360, lon)
    distance = np.hypot(lon, lat)
    fall = np.arange(1, len(edges))
    maps = {
        "counts": counts,
        "exposure": exposure,
        "spot": (distance < 8).astype(np.int64),
        "flat": np.full(768, 2.0),
        "peak": np.exp(-distance / 20.0),
        "glow": (1.0 + np.exp(-((distance / 30.0) ** 2)) / fall[:, None]) / fall[:, None] ** 2,
    }
    for name, values in maps.items():
        np.save(folder / f"{name}.npy", values)
    (folder / "dataset.toml").write_text(MANIFEST.format(edges=list(edges)))
    return Dataset.open(folder)


def tilted(mean: np.ndarray) -> np.ndarray:
    """Exposure (E, 768) of these means, whose pattern on the sky depends on the bin."""
    lon, lat = healpy.pix2ang(NSIDE, np.arange(768), lonlat=True)
    return mean[:, None] * (1.2 + 0.2 * np.cos(np.deg2rad(lon + np.arange(1, len(mean) + 1)[:, None] * lat)))


def photons(n_bins: int, mean: float = 2.0) -> np.ndarray:
    """Counts (E, 768), fewer in higher bins."""
    steps = np.arange(1, n_bins + 1)[:, None]
    return np.random.default_rng(3).poisson(mean / steps, (n_bins, 768))


def uniform(low: float, high: float) -> dict[str, Any]:
    return {"prior": "uniform", "low": low, "high": high}


def joint(**changes: Any) -> dict[str, Any]:
    """Two smooth components and two populations, all of one power law whose index is free."""
    law = {"power_law": {"index": "index"}}
    table = {
        "name": "joint",
        "region": {"latitude_min": 2.0, "radius_max": 40.0, "mask": "spot", "exposure_regions": 3},
        "source_grid": {"flux_min": 1e-11, "flux_max": 1e-9, "nodes": 160},
        "parameters": {
            "S_flat": uniform(0.5, 6.0),
            "S_gce": uniform(0.1, 3.0),
            "gamma": uniform(0.2, 1.8),
            "Sps": uniform(0.1, 4.0),
            "A": {"prior": "loguniform", "low": 1e6, "high": 1e9},
            "index": uniform(1.5, 3.0),
            "n1": uniform(2.1, 6.0),
            "n2": uniform(-1.0, 1.9),
            "Fb": {"prior": "loguniform", "low": 3e-11, "high": 4e-10},
        },
        "components": [
            {"name": "flat", "norm": "S_flat", "template": "flat", "spectrum": law},
            {"name": "gce", "norm": "S_gce", "template": {"nfw": {"gamma": "gamma"}}, "spectrum": law, "group": "gce"},
            {"name": "gce_ps", "norm": "Sps", "template": {"nfw": {"gamma": "gamma"}}, "spectrum": law, "group": "gce",
             "source_counts": {"slopes": ["n1", "n2"], "breaks": ["Fb"]}},
            {"name": "flat_ps", "amplitude": "A", "template": "peak", "spectrum": law,
             "source_counts": {"slopes": [3.0, "n2"], "breaks": ["Fb"]}},
        ],
    }  # fmt: skip
    return table | changes
