"""Small models of the real sky, and draws that stand in for a fit."""

from __future__ import annotations

import tomllib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.infer.derived import derive
from gammasky.engine.model import SkyModel, model_from_table, presets
from gammasky.engine.sky.dataset import Dataset

N_DRAWS = 150


@pytest.fixture(scope="session")
def fermi(fermi_dir: Path) -> Dataset:
    return Dataset.open("fermi", fermi_dir)


@pytest.fixture(scope="session")
def small_fiducial(fermi: Dataset) -> SkyModel:
    """The fiducial model on 8 degrees, with three exposure regions and 100 nodes of S."""
    table = tomllib.loads(presets()["fiducial"].read_text(encoding="utf-8"))
    table["region"] |= {"radius_max": 8.0, "exposure_regions": 3}
    table["source_grid"]["nodes"] = 100
    table["parameters"]["zs"]["label"] = "scale height"
    return SkyModel(model_from_table(table), fermi)


@pytest.fixture(scope="session")
def smooth_only(fermi: Dataset) -> SkyModel:
    """Two fixed templates, one norm of which is fixed too; no point sources."""
    table = {
        "name": "smooth",
        "region": {"latitude_min": 2.0, "radius_max": 5.0, "exposure_regions": 1},
        "parameters": {"A": {"prior": "uniform", "low": 1.0, "high": 3.0}},
        "components": [
            {"name": "dif", "norm": "A", "template": "p6v11"},
            {"name": "iso", "norm": 0.5, "template": "iso"},
        ],
    }
    return SkyModel(model_from_table(table), fermi)


@pytest.fixture(scope="session")
def draws(small_fiducial: SkyModel) -> np.ndarray:
    return 0.4 * np.random.default_rng(11).normal(size=(N_DRAWS, small_fiducial.n_latent))


@pytest.fixture(scope="session")
def derived(small_fiducial: SkyModel, draws: np.ndarray) -> dict[str, np.ndarray]:
    return derive(small_fiducial, draws)


@pytest.fixture
def population_model(fermi: Dataset) -> Callable[..., SkyModel]:
    """A population on the isotropic template; `options` go to its component."""

    def build(parameters: dict[str, Any], **options: Any) -> SkyModel:
        component = {"name": "ps", "template": "iso", "source_counts": {"slopes": [3.0, 1.5], "breaks": [5.0]}}
        table = {
            "name": "population",
            "region": {"latitude_min": 2.0, "radius_max": 4.0, "exposure_regions": 1},
            "source_grid": {"nodes": 50},
            "parameters": parameters,
            "components": [component | options],
        }
        return SkyModel(model_from_table(table), fermi)

    return build
