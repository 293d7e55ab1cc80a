"""The bar as a template of a model: normalised as the others, its numbers free or fixed, limits of its priors."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset

Build = Callable[..., SkyModel]
SHAPE = {
    "angle": (20.0, 5.0, 45.0), "length": (1.5, 0.5, 3.0), "ratio_y": (0.4, 0.2, 0.8), "ratio_z": (0.3, 0.2, 0.6),
    "c_perp": (1.8, 1.2, 4.0), "c_par": (3.0, 1.5, 5.0), "cut_radius": (3.0, 2.0, 5.0), "cut_width": (0.5, 0.2, 1.0),
}  # fmt: skip


@pytest.fixture
def bar_table(smooth_table: dict[str, Any]) -> dict[str, Any]:
    """The smooth model with a bar, all of whose numbers are free, in place of its peak."""
    table = smooth_table
    table["components"][1]["template"] = {"bar": {name: f"bar_{name}" for name in SHAPE}}
    for name, (_, low, high) in SHAPE.items():
        table["parameters"][f"bar_{name}"] = {"prior": "uniform", "low": low, "high": high}
    return table


def test_the_defaults_are_freudenreich_s_model(build: Build, smooth_table: dict[str, Any], small: Dataset) -> None:
    smooth_table["components"][1]["template"] = {"bar": {}}
    model = build(smooth_table)
    found = np.asarray(model.expectation.template("peak", {}, model.arrays["sky"]))
    sky = BarSky.build(model.pixels.lon_deg, model.pixels.lat_deg, sun_kpc=8.5)
    expected = np.asarray(triaxial_bar(*FREUDENREICH_S.values(), sky)) * small.exposure[0][model.pixels.index]
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-12)


def test_gradient_of_the_log_likelihood_by_every_number(build: Build, bar_table: dict[str, Any]) -> None:
    model = build(bar_table)
    point = {"S_flat": 2.0, "S_peak": 3.0} | {f"bar_{name}": value for name, (value, _, _) in SHAPE.items()}
    theta = model.point(point)
    total = jax.jit(lambda theta: model.pixel_log_likelihood(theta).sum())
    slopes = jax.jit(jax.grad(total))(theta)
    for name, value in theta.items():
        step = 1e-3 * float(value)
        values = [float(total(theta | {name: value + k * step})) for k in (-2, -1, 1, 2)]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert float(slopes[name]) == pytest.approx(expected, rel=1e-6, abs=1e-6), name


def test_main_parameters_hold_the_shape(build: Build, bar_table: dict[str, Any]) -> None:
    assert "bar_angle" in build(bar_table).main_parameters()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"ratio_y": 0.01}, "component 'peak', bar: ratio_y of a bar must be at least 0.05, got 0.01"),
        ({"c_perp": 0.5}, "c_perp of a bar must be at least 1, got 0.5"),
        ({"falloff": "sech"}, "falloff"),
        ({"anglee": 3.0}, "unknown field .*anglee'; did you mean 'angle'"),
    ],
)
def test_numbers_that_are_refused(build: Build, smooth_table: dict[str, Any], change: Any, message: str) -> None:
    smooth_table["components"][1]["template"] = {"bar": change}
    with pytest.raises(InputError, match=message):
        build(smooth_table)


def test_a_prior_that_allows_what_is_no_bar(build: Build, bar_table: dict[str, Any]) -> None:
    bar_table["parameters"]["bar_length"] = {"prior": "normal", "mean": 1.5, "sd": 0.2}
    with pytest.raises(InputError, match=r"prior of 'bar_length': length of a bar must be at least 0.05, .* at -inf"):
        build(bar_table)
