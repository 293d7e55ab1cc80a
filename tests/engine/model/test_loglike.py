"""`evaluate`: value, gradient by name, pixels, and errors, from files alone."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError
from gammasky.engine.model import SkyModel
from gammasky.engine.model.loglike import evaluate
from gammasky.engine.sky.dataset import Dataset

MODEL = """
name = "file"
[region]
latitude_min = 2.0
radius_max = 20.0
mask = "spot"
exposure_regions = 2
[source_grid]
min = 0.1
max = 50.0
nodes = 120
[parameters]
{parameters}
[[components]]
name = "flat"
norm = "S_flat"
template = "flat"
[[components]]
name = "mix"
norm = "S_peak"
template = {{ mix = ["peak", "ring", "tilt"], fractions = "shares" }}
"""


@pytest.fixture
def model_file(tmp_path: Path) -> Path:
    priors = {"S_flat": {"prior": "normal", "mean": 1.0, "sd": 2.0}, "S_peak": {"prior": "halfnormal", "sd": 3.0}}
    priors["shares"] = {"prior": "dirichlet"}
    lines = [
        f"{name} = {{ " + ", ".join(f"{key} = {json.dumps(v)}" for key, v in prior.items()) + " }"
        for name, prior in priors.items()
    ]
    path = tmp_path / "model.toml"
    path.write_text(MODEL.format(parameters="\n".join(lines)), encoding="utf-8")
    return path


def test_value_and_pixels(model_file: Path, small_folder: Path) -> None:
    point = {"S_flat": 2.0, "S_peak": 3.0, "shares": [0.2, 0.5, 0.3]}
    found = evaluate(str(model_file), str(small_folder), None, point, gradient=False)
    model = SkyModel(model_file, Dataset.open(small_folder))
    np.testing.assert_array_equal(found.per_pixel, model.pixel_log_likelihood(model.point(point)))
    assert found.log_likelihood == found.per_pixel.sum()
    assert found.gradient is None


def test_each_entry_of_the_gradient(model_file: Path, small_folder: Path) -> None:
    point: dict[str, Any] = {"S_flat": 2.0, "S_peak": 3.0, "shares": [0.2, 0.5, 0.3]}
    found = evaluate(str(model_file), str(small_folder), None, point, gradient=True)
    assert found.gradient is not None
    assert {name: np.shape(slope) for name, slope in found.gradient.items()} == {
        "S_flat": (),
        "S_peak": (),
        "shares": (3,),
    }
    model = SkyModel(model_file, Dataset.open(small_folder))
    step = 1e-5
    for name, value in point.items():
        flat = np.atleast_1d(np.asarray(value, dtype=float))
        for entry in range(flat.size):
            at = {}
            for sign in (-1, 1):
                moved = flat.copy()
                moved[entry] += sign * step
                theta = model.point(point) | {name: moved if np.ndim(value) else moved[0]}
                at[sign] = float(model.log_likelihood(theta))
            slope = np.atleast_1d(found.gradient[name])[entry]
            np.testing.assert_allclose(slope, (at[1] - at[-1]) / (2 * step), rtol=1e-6, atol=1e-5)


@pytest.mark.parametrize("gradient", [False, True])
def test_a_mean_below_zero_names_the_pixel(gradient: bool, model_file: Path, small_folder: Path) -> None:
    point = {"S_flat": -2.0, "S_peak": 0.1, "shares": [1.0, 0.0, 0.0]}
    with pytest.raises(
        NonFiniteLikelihoodError, match=r"log-likelihood is nan in pixel \d+ \(HEALPix nside 16.*S_flat=-2"
    ):
        evaluate(str(model_file), str(small_folder), None, point, gradient=gradient)


def test_wrong_names(model_file: Path, small_folder: Path) -> None:
    point = {"S_flat": 2.0, "S_peak": 3.0, "shares": [0.2, 0.5, 0.3]}
    with pytest.raises(InputError, match="unknown model 'fidutial'; did you mean 'fiducial'"):
        evaluate("fidutial", str(small_folder), None, point, gradient=False)
    with pytest.raises(InputError, match="unknown dataset 'femri'; did you mean 'fermi'"):
        evaluate(str(model_file), "femri", None, point, gradient=False)
    with pytest.raises(InputError, match="unknown parameter 'S_flt'; did you mean 'S_flat'"):
        evaluate(str(model_file), str(small_folder), None, point | {"S_flt": 1.0}, gradient=False)
    with pytest.raises(InputError, match="parameter 'S_peak' is missing"):
        evaluate(str(model_file), str(small_folder), None, {"S_flat": 1.0}, gradient=False)
