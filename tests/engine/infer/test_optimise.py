"""The start of every fit: multi-start L-BFGS and the Laplace approximation."""

from __future__ import annotations

from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer.optimise import laplace
from gammasky.engine.model import SkyModel


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Any:
    """A stand-in model whose log density is that of a normal distribution."""
    precision = np.linalg.inv(covariance)
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        offset = np.asarray(z) - mean
        return constant - 0.5 * offset @ precision @ offset, -precision @ offset

    return SimpleNamespace(n_latent=mean.size, value_and_gradient=value_and_gradient)


def test_gaussian_is_found_exactly() -> None:
    covariance = np.array([[0.5, 0.2, 0.0], [0.2, 0.3, -0.1], [0.0, -0.1, 0.8]])
    mean = np.array([0.3, -1.2, 2.0])
    found = laplace(gaussian(mean, covariance), seed=1, n_starts=3)
    np.testing.assert_allclose(found.mode, mean, atol=1e-5)
    np.testing.assert_allclose(found.scale_tril @ found.scale_tril.T, covariance, atol=1e-7)
    np.testing.assert_allclose(found.log_evidence, 0.0, atol=1e-6)
    assert found.optima.shape == (3,)


def test_flat_directions_are_no_wider_than_twice_the_prior() -> None:
    found = laplace(gaussian(np.zeros(2), np.diag([0.1, 1e6])), seed=0, n_starts=1)
    np.testing.assert_allclose(np.diag(found.scale_tril), [np.sqrt(0.1), 2.0], rtol=1e-6)


def test_the_highest_of_two_optima_is_kept() -> None:
    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        x = float(z[0])  # wells at -1.5 (higher) and 1.5
        return -((x**2 - 2.25) ** 2) - 0.3 * x, np.array([-4 * x * (x**2 - 2.25) - 0.3])

    found = laplace(SimpleNamespace(n_latent=1, value_and_gradient=value_and_gradient), seed=0, n_starts=8)
    assert found.mode[0] < -1.0
    assert np.ptp(found.optima) > 0.5  # both were reached


def test_starts_outside_the_support_are_drawn_again() -> None:
    inner = gaussian(np.zeros(2), np.eye(2))

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        return inner.value_and_gradient(z) if z[0] < 0.5 else (np.nan, np.full(2, np.nan))

    found = laplace(SimpleNamespace(n_latent=2, value_and_gradient=value_and_gradient), seed=3, n_starts=6)
    assert found.optima.size == 6
    np.testing.assert_allclose(found.mode, 0.0, atol=1e-5)


def test_no_finite_start_is_an_error() -> None:
    model = SimpleNamespace(
        n_latent=2,
        value_and_gradient=lambda _z: (np.nan, np.full(2, np.nan)),
        parameters=lambda z: {"z": z},
        explain=lambda theta: NonFiniteLikelihoodError(f"not finite at {sorted(theta)}"),
    )
    with pytest.raises(NonFiniteLikelihoodError, match="not finite at"):
        laplace(model, seed=0, n_starts=2)


def test_sky_model_starts_agree(small_model: SkyModel) -> None:
    found = laplace(small_model, seed=0, n_starts=3)
    assert np.ptp(found.optima) < 1e-3
    _, gradient = small_model.value_and_gradient(found.mode)
    assert np.abs(found.scale_tril.T @ np.asarray(gradient)).max() < 1e-2
