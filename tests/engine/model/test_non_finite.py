"""Negative norms, impossible means, points given by name, and the error that says where."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError, NonFiniteLikelihoodError
from gammasky.engine.model import SkyModel
from gammasky.engine.model.terms import NptfTerm

POINT = {"S_flat": 2.0, "S_peak": 3.0, "Sps": 1.5, "n1": 3.0, "n2": 1.0, "sb": 8.0}


def test_a_negative_norm_with_a_positive_total_is_finite(
    signed_table: dict[str, Any], build: Callable[..., SkyModel]
) -> None:
    model = build(signed_table)
    point = {name: POINT[name] for name in model.latent.slots} | {"S_flat": 6.0, "S_peak": -0.2}
    theta = model.point(point)
    mean = np.asarray(model.expectation.smooth_mean(model.sky(theta), model.pixels.n_fit))
    assert (mean > 0).all()
    assert np.isfinite(model.pixel_log_likelihood(theta)).all()


@pytest.mark.parametrize("backend", ["numba", "reference"])
def test_a_negative_total_is_nan_and_explained(
    signed_table: dict[str, Any], backend: str, build: Callable[..., SkyModel]
) -> None:
    model = build(signed_table, backend=backend)
    point = {name: POINT[name] for name in model.latent.slots} | {"S_flat": -4.0, "S_peak": 4.0}
    theta = model.point(point)
    log_p = np.asarray(model.pixel_log_likelihood(theta))
    total = np.asarray(model.expectation.smooth_mean(model.sky(theta), model.pixels.n_fit))
    if isinstance(model.counts_term, NptfTerm):
        _, templates, x = model.counts_term.kernel_point(model.sky(theta), model.arrays["counts"])
        total = total + np.asarray(templates)[0] * np.asarray(x)[0, model.pixels.region, 1]
    assert (total < 0).any()
    assert (total > 0).any()
    np.testing.assert_array_equal(np.isnan(log_p), total < 0)
    assert np.isnan(float(model.log_likelihood(theta)))
    first = int(np.argmax(np.isnan(log_p)))
    error = model.explain(theta)
    assert isinstance(error, NonFiniteLikelihoodError)
    message = str(error)
    assert "\n" not in message
    assert f"pixel {model.pixels.index[first]} (HEALPix nside 16" in message
    assert f"count {model.pixels.counts[first]}" in message
    assert "S_flat=-4." in message
    assert "narrow the priors" in message


def test_a_gradient_that_is_not_finite_is_explained_too(
    build: Callable[..., SkyModel], smooth_table: dict[str, Any]
) -> None:
    model = build(smooth_table)
    error = model.explain(model.point({"S_flat": 2.0, "S_peak": 3.0}))
    assert "the gradient of the log-likelihood is not finite at S_flat=2., S_peak=3." in str(error)


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"S_flt": 1.0}, "unknown parameter 'S_flt'; did you mean 'S_flat'"),
        ({"S_flat": [1.0, 2.0]}, r"'S_flat': expected one number, got \[1.0, 2.0\]"),
        ({"S_flat": "one"}, "'S_flat': expected numbers, got 'one'"),
        ({"S_flat": float("nan")}, "'S_flat': expected finite numbers, got nan"),
        ({"S_flat": None}, "'S_flat': expected finite numbers, got None"),
        ({"sb": -1.0}, "component 'peak_ps': breaks out of order: expected positive counts .* got -1 from sb"),
    ],
)
def test_points_that_are_refused(
    change: dict[str, Any], message: str, build: Callable[..., SkyModel], population_table: dict[str, Any]
) -> None:
    with pytest.raises(InputError, match=message):
        build(population_table).point(POINT | change)


def test_a_missing_parameter_is_named(build: Callable[..., SkyModel], population_table: dict[str, Any]) -> None:
    with pytest.raises(InputError, match="parameter 'sb' is missing; give all of S_flat, S_peak, Sps, n1, n2, sb"):
        build(population_table).point({name: value for name, value in POINT.items() if name != "sb"})


def test_fractions_and_relative_breaks_of_a_point(full_model: SkyModel) -> None:
    theta = full_model.parameters(jnp.zeros(full_model.n_latent))
    point = {name: np.asarray(value).tolist() for name, value in theta.items()}
    for name, value in full_model.point(point).items():
        np.testing.assert_array_equal(value, theta[name])
    with pytest.raises(InputError, match=r"'shares': expected fractions of at least 0 that add up to 1.*sum 1\.1"):
        full_model.point(point | {"shares": [0.5, 0.3, 0.3]})
    with pytest.raises(InputError, match="'shares': expected fractions of at least 0"):
        full_model.point(point | {"shares": [1.5, -0.3, -0.2]})
    with pytest.raises(InputError, match="'shares': expected a list of 3 numbers"):
        full_model.point(point | {"shares": 0.5})
    with pytest.raises(InputError, match=r"component 'two': breaks out of order: .* got 20, 30 from b_two, ratio"):
        full_model.point(point | {"b_two": 20.0, "ratio": 1.5})
