"""A small sky for model tests: nside 16, one energy bin, point-like PSF, four maps, and tables of models on it."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.sky.dataset import Dataset


@pytest.fixture(scope="session")
def small_folder(
    tmp_path_factory: pytest.TempPathFactory,
    places: tuple[np.ndarray, np.ndarray, np.ndarray],
    write_sky: Callable[..., Path],
) -> Path:
    lon, _, distance = places
    peak = np.exp(-distance / 8.0)
    templates = {
        "flat.npy": ("intensity", np.full(lon.size, 3.0)),
        "tilt.npy": ("counts", 2.0 + np.sin(np.deg2rad(3 * lon))),
        "peak.npy": ("counts", peak),
        "ring.npy": ("intensity", 0.1 + np.exp(-(((distance - 15.0) / 5.0) ** 2))),
        "empty.npy": ("counts", np.where(distance > 90, 1.0, 0.0)),
    }
    counts = np.random.default_rng(11).poisson(2.0 + 20.0 * peak)
    return write_sky(tmp_path_factory.mktemp("sky") / "small", "small", templates, counts)


@pytest.fixture(scope="session")
def small(small_folder: Path) -> Dataset:
    return Dataset.open(small_folder)


def uniform(low: float, high: float) -> dict[str, Any]:
    return {"prior": "uniform", "low": low, "high": high}


@pytest.fixture
def smooth_table() -> dict[str, Any]:
    return smooth()


def smooth() -> dict[str, Any]:
    """A Poisson model of two maps."""
    return {
        "name": "smooth",
        "region": {"latitude_min": 2.0, "radius_max": 20.0, "mask": "spot", "exposure_regions": 2},
        "parameters": {"S_flat": uniform(0.5, 6.0), "S_peak": uniform(0.1, 9.0)},
        "components": [
            {"name": "flat", "norm": "S_flat", "template": "flat"},
            {"name": "peak", "norm": "S_peak", "template": "peak"},
        ],
    }


@pytest.fixture
def population_table() -> dict[str, Any]:
    return population()


def population() -> dict[str, Any]:
    """The same with one population of point sources, group `peak`."""
    table = smooth()
    table["name"] = "population"
    table["source_grid"] = {"min": 0.1, "max": 50.0, "nodes": 120}
    table["parameters"] |= {"Sps": uniform(0.1, 4.0), "n1": uniform(2.1, 6.0), "n2": uniform(-1.0, 1.9)}
    table["parameters"]["sb"] = uniform(2.0, 20.0)
    table["components"][1]["group"] = "peak"
    table["components"].append(
        {
            "name": "peak_ps",
            "group": "peak",
            "norm": "Sps",
            "template": "peak",
            "source_counts": {"slopes": ["n1", "n2"], "breaks": ["sb"]},
        }
    )
    return table


@pytest.fixture
def full_table() -> dict[str, Any]:
    return full()


def full() -> dict[str, Any]:
    """A model with every feature: all priors and templates, 1, 2 and 3 breaks, absolute and relative, both scales."""
    return {
        "name": "full",
        "region": {"latitude_min": 2.0, "radius_max": 15.0, "mask": "spot", "exposure_regions": 3},
        "source_grid": {"min": 0.05, "max": 60.0, "nodes": 150},
        "parameters": {
            "S_north": uniform(1.0, 6.0),
            "S_south": {"prior": "loguniform", "low": 0.5, "high": 8.0},
            "S_mix": {"prior": "halfnormal", "sd": 2.0, "low": 0.2},
            "S_tilt": {"prior": "normal", "mean": -0.2, "sd": 0.05},
            "shares": {"prior": "dirichlet"},
            "pair": {"prior": "dirichlet", "concentration": [2.0, 0.7]},
            "share": uniform(0.0, 1.0),
            "Alm": {"prior": "normal", "mean": 0.0, "sd": 0.05},
            "gamma": uniform(0.2, 2.0),
            "zs": uniform(0.1, 2.5),
            "C": uniform(0.05, 8.0),
            "A": {"prior": "loguniform", "low": 1e-3, "high": 0.1},
            "Sps_two": uniform(0.1, 2.0),
            "Sps_three": uniform(0.1, 2.0),
            "n_one": uniform(2.1, 6.0),
            "n_two": uniform(0.5, 1.9),
            "b_one": uniform(3.0, 20.0),
            "b_two": uniform(10.0, 30.0),
            "ratio": uniform(0.1, 0.9),
            "b_three": uniform(20.0, 40.0),
        },
        "components": [
            {"name": "north", "norm": "S_north", "template": {"map": "ring", "hemisphere": "north"}},
            {"name": "south", "norm": "S_south", "template": {"map": "ring", "hemisphere": "south"}},
            {
                "name": "mix",
                "norm": "S_mix",
                "template": {
                    "mix": ["flat", "peak", {"nfw": {"gamma": "gamma"}}],
                    "fractions": "shares",
                    "modulation": {"l_max": 2, "coefficients": "Alm"},
                },
            },
            {"name": "tilt", "norm": "S_tilt", "template": "tilt", "exposure": "as_is"},
            {"name": "fixed", "norm": 1.5, "template": {"mix": ["flat", "tilt"], "fractions": [0.25, 0.75]}},
            {
                "name": "one",
                "amplitude": "A",
                "template": {"mix": ["peak", {"mix": ["ring", "flat"], "fractions": "pair"}], "fractions": "share"},
                "source_counts": {"slopes": ["n_one", "n_two"], "breaks": ["b_one"]},
            },
            {
                "name": "two",
                "norm": "Sps_two",
                "template": {"disk": {"scale_height": "zs", "C": "C", "B": 0.5}},
                "source_counts": {"slopes": ["n_one", 1.6, -1.0], "breaks": ["b_two", "ratio"], "relative": True},
            },
            {
                "name": "three",
                "norm": "Sps_three",
                "template": "flat",
                "exposure": "as_is",
                "source_counts": {"slopes": [4.0, "n_two", 1.2, 0.0], "breaks": ["b_three", 10.0, 1.0]},
            },
        ],
    }


@pytest.fixture
def build(small: Dataset) -> Callable[..., SkyModel]:
    """A sky model of a table on the small sky."""
    return lambda table, **options: SkyModel(model_from_table(table), small, **options)


@pytest.fixture(scope="session")
def full_model(small: Dataset) -> SkyModel:
    return SkyModel(model_from_table(full()), small)


@pytest.fixture(params=[smooth, population, full], ids=lambda table: table.__name__)
def any_table(request: pytest.FixtureRequest) -> dict[str, Any]:
    """Each of the three models."""
    return request.param()


@pytest.fixture(params=[smooth, population], ids=["poisson", "nptf"])
def signed_table(request: pytest.FixtureRequest) -> dict[str, Any]:
    """A model whose two smooth norms may be negative."""
    table = request.param()
    for name in ("S_flat", "S_peak"):
        table["parameters"][name] = {"prior": "normal", "mean": 0.0, "sd": 5.0}
    return table
