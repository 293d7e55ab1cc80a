"""Shared fixtures: double precision for JAX, the Fermi-LAT files where they are present, and a tiny sky of our own."""

from __future__ import annotations

import json
import os
import shutil
import signal
from pathlib import Path

# test processes side by side share the cores, as do those that they start; before anything reads these
if "PYTEST_XDIST_WORKER_COUNT" in os.environ:
    threads = max((os.cpu_count() or 1) // int(os.environ["PYTEST_XDIST_WORKER_COUNT"]), 1)
    for name in ("GAMMASKY_NUM_THREADS", "NPROC", "OMP_NUM_THREADS", "OPENBLAS_NUM_THREADS"):
        os.environ.setdefault(name, str(threads))

import healpy
import jax
import numpy as np
import pytest

jax.config.update("jax_enable_x64", True)

# a shell that starts the suite in the background makes it ignore Ctrl-C, and every process that a test starts
signal.signal(signal.SIGINT, signal.default_int_handler)

FERMI_PLACES = (os.environ.get("GAMMASKY_DATA", ""), str(Path(__file__).parents[2] / "shared" / "fermi"))


def absent(what: str, variable: str) -> None:
    """Skip a test for lack of `what`; fail it where `variable` says that it must be there."""
    if os.environ.get(variable) == "1":
        pytest.fail(f"{what} not found, and {variable}=1")
    pytest.skip(f"{what} not found")


@pytest.fixture(scope="session")
def fermi_dir() -> Path:
    """The folder of the public Fermi-LAT files."""
    for place in FERMI_PLACES:
        if place and (Path(place) / "SHA256SUMS").is_file():
            return Path(place)
    absent("Fermi-LAT data", "GAMMASKY_REQUIRE_DATA")
    raise AssertionError("unreachable")


TINY_MANIFEST = """
name = "tiny"
nside = 16
energy_edges_gev = [2.0, 20.0]
counts = { file = "counts.npy" }
exposure = { file = "exposure.npy" }
psf = { kind = "delta" }
[templates]
flat = { file = "flat.npy", unit = "intensity" }
peak = { file = "peak.npy", unit = "counts" }
[masks]
spot = { file = "spot.npy", masked_where = 1 }
"""

TINY_MODEL = """
name = "tiny"
region = { radius_max = 20.0, mask = "spot", exposure_regions = 1 }
source_grid = { max = 50.0, nodes = 60 }
[parameters]
S_flat = { prior = "uniform", low = 0.5, high = 6.0 }
Sps = { prior = "uniform", low = 0.1, high = 9.0 }
mix = { prior = "dirichlet" }
[[components]]
name = "smooth"
group = "all"
norm = "S_flat"
template = { mix = ["flat", "peak"], fractions = "mix" }
[[components]]
name = "sources"
group = "all"
norm = "Sps"
template = "peak"
source_counts = { slopes = [4.0, 1.5], breaks = [10.0] }
"""

TINY_POINT = {"S_flat": 2.0, "Sps": 3.0, "mix": [0.7, 0.3]}


@pytest.fixture(scope="session")
def tiny_files(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A dataset `sky` of uniform exposure and point-like PSF, a model and a parameter point; not to be written to."""
    folder = tmp_path_factory.mktemp("tiny")
    sky = folder / "sky"
    sky.mkdir()
    lon, lat = healpy.pix2ang(16, np.arange(3072), lonlat=True)
    distance = np.hypot(np.where(lon > 180, lon - 360, lon), lat)
    maps = {"flat": np.full(lon.size, 3.0), "peak": np.exp(-distance / 8.0), "exposure": np.full(lon.size, 1e11)}
    maps["counts"] = np.random.default_rng(5).poisson(3.0 + 10 * maps["peak"])
    maps["spot"] = (np.hypot(lon - 8, lat - 6) < 5).astype(int)
    for name, values in maps.items():
        np.save(sky / f"{name}.npy", values)
    (sky / "dataset.toml").write_text(TINY_MANIFEST, encoding="utf-8")
    (folder / "model.toml").write_text(TINY_MODEL, encoding="utf-8")
    (folder / "point.json").write_text(json.dumps(TINY_POINT), encoding="utf-8")
    return folder


@pytest.fixture
def tiny(tiny_files: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of these files, as the current folder."""
    shutil.copytree(tiny_files, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
