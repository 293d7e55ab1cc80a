"""Fits of models whose norms may be negative: what the data want below zero is found there, nothing is clipped."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.model import SkyModel

Build = Callable[..., SkyModel]


@pytest.fixture
def counts_with_a_hole(build: Build, smooth_table: dict[str, Any]) -> SkyModel:
    """A sky with S_flat = 50 and S_peak = -6, a prior of S_peak from -90 on: half of it is impossible.

    So many photons that the posterior is far from where the likelihood ends: a draw that got there would end a fit by
    laplace or svi. In a sky of a tenth of them it does with two seeds of ten by laplace, with seven by svi.
    """
    smooth_table["parameters"]["S_flat"] = {"prior": "uniform", "low": 5.0, "high": 60.0}
    smooth_table["parameters"]["S_peak"] = {"prior": "uniform", "low": -90.0, "high": 90.0}
    model = build(smooth_table)
    sky = model.sky(model.point({"S_flat": 50.0, "S_peak": -6.0}))
    mean = np.asarray(model.expectation.smooth_mean(sky, model.pixels.n_fit))
    assert mean.min() > 0
    return model.with_counts(np.random.default_rng(3).poisson(mean))


@pytest.mark.parametrize("method", ["laplace", "svi", pytest.param("nuts", marks=pytest.mark.slow)])
def test_a_negative_norm_is_found(counts_with_a_hole: SkyModel, method: str) -> None:
    own: dict[str, dict[str, Any]] = {
        "laplace": {},
        "svi": {"emulator": False, "guide": "mvn", "steps": 300, "learning_rate": 0.02},
        "nuts": {"warmup": 100, "draws": 200},
    }
    settings = Settings(method=method, **own[method])
    found = fit(counts_with_a_hole, settings, n_draws=500).derived["S_peak"]
    assert found.mean() == pytest.approx(-6.0, abs=4.5 * found.std())
    assert 0.6 < found.std() < 2.4
    assert found.max() < 0


def test_a_model_that_is_nowhere_possible_says_where(build: Build, smooth_table: dict[str, Any]) -> None:
    smooth_table["parameters"]["S_peak"] = {"prior": "uniform", "low": -90.0, "high": -80.0}
    with pytest.raises(
        NonFiniteLikelihoodError, match=r"in pixel \d+ \(HEALPix nside 16.* at S_flat=.*narrow the priors"
    ):
        fit(build(smooth_table), Settings(method="laplace"))
