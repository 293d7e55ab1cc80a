"""A small dataset in a folder: nside 8, one or two energy bins, any part of which a test may spoil."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

NSIDE = 8
N_PIX = 12 * NSIDE**2

MANIFEST = """
name = "small"
nside = 8
energy_edges_gev = [{edges}]
counts = {{ file = "counts.npy" }}
exposure = {{ file = "exposure.npy" }}
psf = {{ kind = "gaussian", sigma_deg = 0.5 }}
{extra}
"""


@pytest.fixture
def small_folder(tmp_path: Path) -> Callable[..., Path]:
    """Write the dataset; `extra` goes to the manifest."""

    def write(extra: str = "", n_energy: int = 1) -> Path:
        folder = tmp_path / "small"
        folder.mkdir(exist_ok=True)
        rng = np.random.default_rng(7)
        edges = ", ".join(str(2.0**e) for e in range(n_energy + 1))
        np.save(folder / "counts.npy", rng.poisson(3.0, (n_energy, N_PIX)))
        np.save(folder / "exposure.npy", rng.uniform(1e11, 2e11, (n_energy, N_PIX)))
        (folder / "dataset.toml").write_text(MANIFEST.format(edges=edges, extra=extra))
        return folder

    return write
