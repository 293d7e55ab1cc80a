"""Refused input of the NPTF operation: one line each, naming what is wrong."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.nptf.op import nptf_log_likelihood, pixel_log_likelihood, total_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan

GOOD: dict[str, Any] = {
    "counts": np.array([0, 3, 5]),
    "mean": np.ones(3),
    "templates": np.ones((2, 3)),
    "dnds": np.ones((2, 4)),
    "response": types.SimpleNamespace(matrix=np.full((2, 6, 4), 0.1)),
    "region": np.array([0, 1, 1]),
}


def evaluate(**changes: Any) -> jax.Array:
    return nptf_log_likelihood(**{**GOOD, **changes})


def test_good_input_is_finite(backend: str) -> None:
    assert np.isfinite(evaluate(backend=backend)).all()
    assert np.isfinite(evaluate(counts=[0.0, 3.0, 5.0], backend=backend)).all()


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"counts": [0, -1, 5]}, r"counts of pixel 1: expected at least 0, got -1"),
        ({"counts": [0, 2.5, 5]}, r"counts of pixel 1: expected a whole number, got 2.5"),
        ({"counts": [0, 3, np.nan]}, r"counts of pixel 2: expected a whole number, got nan"),
        ({"counts": [0, 3, np.inf]}, r"counts of pixel 2: expected a whole number, got inf"),
        ({"counts": [[0, 3, 5]]}, r"counts must have shape \(P,\), got \(1, 3\)"),
        ({"counts": [0, 3]}, r"counts and region must have one shape"),
        ({"counts": [0, 6, 5]}, r"count of pixel 1: expected at most the response's max_count=5, got 6; build"),
        ({"region": [0, 1, 2]}, r"region of pixel 2: expected 0 to 1, got 2"),
        ({"region": [0, -1, 1]}, r"region of pixel 1: expected 0 to 1, got -1"),
        ({"backend": "nunba"}, r"unknown backend 'nunba'; did you mean 'numba'\?"),
        ({"mean": np.ones(2)}, r"'mean' must end in the axes \(3,\), got shape \(2,\)"),
        ({"mean": np.float64(1.0)}, r"'mean' must end in the axes \(3,\), got shape \(\)"),
        ({"mean": np.ones((2, 1))}, r"'mean' must end in the axes \(3,\), got shape \(2, 1\)"),
        ({"templates": np.ones((2, 2))}, r"'templates' must end in the axes \(2, 3\), got shape \(2, 2\)"),
        ({"templates": np.ones(3)}, r"'templates' must end in the axes \(1, 3\), got shape \(3,\)"),
        ({"templates": np.ones((3, 3))}, r"'x' must end in the axes \(3, 2, 6\), got shape \(2, 2, 6\)"),
        ({"dnds": np.ones((2, 3))}, r"must share S, got shapes \(2, 6, 4\) and \(2, 3\)"),
        ({"dnds": np.ones(4)}, r"must share S, got shapes \(2, 6, 4\) and \(4,\)"),
        ({"response": types.SimpleNamespace(matrix=np.ones((6, 4)))}, r"must share S, got shapes \(6, 4\)"),
        (
            {"response": types.SimpleNamespace(matrix=np.ones((2, 1, 4))), "counts": [0, 0, 0]},
            r"response: max_count must be at least 1, got 0",
        ),
    ],
)
def test_refused(change: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as caught:
        evaluate(**change)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("name", ["mean", "templates", "dnds"])
@pytest.mark.parametrize("dtype", [np.float32, np.int64])
def test_other_precision_is_refused(name: str, dtype: Any, backend: str) -> None:
    expected = f"nptf_log_likelihood: '{name}' must be float64, got {np.dtype(dtype)}.*jax_enable_x64"
    with pytest.raises(TypeError, match=expected):
        evaluate(**{name: GOOD[name].astype(dtype)}, backend=backend)


def test_single_precision_response_is_refused() -> None:
    with pytest.raises(TypeError, match="'response' must be float64, got float32"):
        evaluate(response=types.SimpleNamespace(matrix=np.ones((2, 6, 4), np.float32)))


def test_a_response_that_ends_too_early_is_not_read_beyond() -> None:
    plan = PixelPlan.build(np.array([0, 4]), np.array([0, 0]), 1)
    mean, templates = jnp.ones(2), jnp.ones((1, 2))
    for function in (pixel_log_likelihood, total_log_likelihood):
        with pytest.raises(InputError, match=r"'x' must end in the axes \(1, 1, 5\), got shape \(1, 1, 4\)"):
            function(plan, mean, templates, jnp.ones((1, 1, 4)))
        with pytest.raises(InputError, match=r"'x' must end in the axes \(1, 1, 5\), got shape \(1, 2, 5\)"):
            function(plan, mean, templates, jnp.ones((1, 2, 5)))
        assert np.isfinite(function(plan, mean, templates, jnp.ones((1, 1, 9)))).all()


def test_total_refuses_an_unknown_backend() -> None:
    plan = PixelPlan.build(np.array([0]), np.array([0]), 1)
    with pytest.raises(InputError, match="unknown backend 'refrence'; did you mean 'reference'"):
        total_log_likelihood(plan, jnp.ones(1), jnp.ones((1, 1)), jnp.ones((1, 1, 2)), backend="refrence")
