"""The good files that tests of bad input spoil."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from tests.bad_input.spoil import POINT

MODEL = """
name = "small"
region = { latitude_min = 2.0, radius_max = 20.0, mask = "spot", exposure_regions = 2 }
source_grid = { max = 50.0, nodes = 50 }
[parameters]
S_flat = { prior = "uniform", low = 0.5, high = 6.0 }
Sps = { prior = "uniform", low = 0.1, high = 9.0 }
mix = { prior = "dirichlet" }
[[components]]
name = "smooth"
norm = "S_flat"
template = { mix = ["flat", "peak"], fractions = "mix" }
[[components]]
name = "sources"
norm = "Sps"
template = "peak"
source_counts = { slopes = [4.0, 1.5, -1.0], breaks = [12.0, 4.0] }
"""


@pytest.fixture(scope="session")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    places: tuple[np.ndarray, np.ndarray, np.ndarray],
    write_sky: Callable[..., Path],
) -> Path:
    """Good files: a dataset in `sky`, a model and a parameter point."""
    folder = tmp_path_factory.mktemp("whole")
    peak = np.exp(-places[2] / 8)
    templates = {"flat.npy": ("intensity", np.full(peak.size, 3.0)), "peak.fits": ("counts", peak)}
    write_sky(folder / "sky", "small", templates, np.random.default_rng(5).poisson(3.0 + 10 * peak))
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    (folder / "point.json").write_text(json.dumps(POINT), encoding="utf-8")
    return folder


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the good files, as the current folder."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path
