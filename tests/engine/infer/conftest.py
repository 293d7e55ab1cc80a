"""A small model of the real sky: 6 degrees around the Galactic centre, one population of point sources."""

from __future__ import annotations

import copy
from pathlib import Path
from typing import Any

import pytest

from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset


@pytest.fixture(scope="session")
def small_table() -> dict[str, Any]:
    """The small model as a table."""
    return {
        "name": "small",
        "region": {"latitude_min": 2.0, "radius_max": 6.0, "mask": "3fgl_0p8deg", "exposure_regions": 2},
        "source_grid": {"nodes": 100},
        "parameters": {
            "S_dif": {"prior": "uniform", "low": 0.01, "high": 40.0, "unit": "counts/pixel"},
            "S_iso": {"prior": "loguniform", "low": 0.01, "high": 10.0, "unit": "counts/pixel"},
            "Sps_gce": {"prior": "uniform", "low": 0.01, "high": 10.0, "unit": "counts/pixel"},
            "gamma": {"prior": "uniform", "low": 0.2, "high": 2.0},
            "n1": {"prior": "normal", "mean": 4.0, "sd": 0.5},
            "n2": {"prior": "uniform", "low": -2.0, "high": 1.9},
            "sb": {"prior": "uniform", "low": 5.0, "high": 40.0, "unit": "counts"},
        },
        "components": [
            {"name": "dif", "norm": "S_dif", "template": "p6v11"},
            {"name": "iso", "norm": "S_iso", "template": "iso"},
            {
                "name": "gce",
                "norm": "Sps_gce",
                "template": {"nfw": {"gamma": "gamma"}},
                "source_counts": {"slopes": ["n1", "n2"], "breaks": ["sb"]},
            },
        ],
    }


@pytest.fixture(scope="session")
def small_model(small_table: dict[str, Any], fermi_dir: Path) -> SkyModel:
    """The small model on the Fermi data."""
    return SkyModel(model_from_table(small_table), Dataset.open("fermi", fermi_dir))


FIELD = {"kernel": "matern52", "amplitude": "a_dif", "length_deg": "ell_dif", "modes": 6, "coefficients": "z_dif"}


@pytest.fixture(scope="session")
def field_model(small_table: dict[str, Any], fermi_dir: Path) -> SkyModel:
    """The small model with a field of 36 modes on its diffuse emission."""
    table = copy.deepcopy(small_table)
    table["name"] = "small_field"
    table["components"][0]["template"] = {"map": "p6v11", "field": FIELD}
    table["parameters"] |= {
        "z_dif": {"prior": "normal", "mean": 0.0, "sd": 1.0},
        "a_dif": {"prior": "halfnormal", "sd": 0.3},
        "ell_dif": {"prior": "loguniform", "low": 4.0, "high": 6.0, "unit": "deg"},
    }
    return SkyModel(model_from_table(table), Dataset.open("fermi", fermi_dir))
