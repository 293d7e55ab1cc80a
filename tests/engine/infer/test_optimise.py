"""The start of every fit: multi-start L-BFGS and the Laplace approximation."""

from __future__ import annotations

import signal
import threading
import time
from collections.abc import Callable
from functools import partial
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import NonFiniteLikelihoodError
from gammasky.engine.infer import optimise
from gammasky.engine.infer.climb import climb, in_batches
from gammasky.engine.infer.optimise import BATCH, Laplace, laplace
from gammasky.engine.interrupt import Interrupts
from gammasky.engine.model import SkyModel

STARTS = 24  # so many that none is in one of two wells with a probability of 1e-7


def density(n_latent: int, value_and_gradient: Callable[[np.ndarray], tuple[float, np.ndarray]], **more: Any) -> Any:
    """A stand-in density of a function of one point, evaluated as those of models are: in batches of one size."""

    def batch(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert points.shape == (BATCH, n_latent)
        values, gradients = zip(*map(value_and_gradient, points), strict=True)
        return np.array(values), np.array(gradients)

    return SimpleNamespace(n_latent=n_latent, value_and_gradient=batch, **more)


def gaussian(mean: np.ndarray, covariance: np.ndarray) -> Any:
    """A stand-in model whose log density is that of a normal distribution."""
    precision = np.linalg.inv(covariance)
    constant = -0.5 * np.linalg.slogdet(2 * np.pi * covariance)[1]

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        offset = np.asarray(z) - mean
        return constant - 0.5 * offset @ precision @ offset, -precision @ offset

    return density(mean.size, value_and_gradient)


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


def two_wells(wall: float = np.inf) -> Any:
    """Wells at -1.53 (higher) and 1.47 in one dimension; not finite beyond the wall."""

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        x = float(z[0])
        if x > wall:
            return np.nan, np.full(1, np.nan)
        return -((x**2 - 2.25) ** 2) - 0.3 * x, np.array([-4 * x * (x**2 - 2.25) - 0.3])

    return density(1, value_and_gradient)


def test_the_highest_of_two_optima_is_kept() -> None:
    found = laplace(two_wells(), seed=0, n_starts=STARTS)
    assert found.mode[0] < -1.0
    assert np.ptp(found.optima) > 0.5  # both were reached


def test_distinct_optima_are_counted() -> None:
    found = laplace(two_wells(), seed=0, n_starts=STARTS)
    best, other = found.distinct()
    lower_starts = int((found.optima_z[:, 0] > 0).sum())
    assert (best.n_starts, other.n_starts) == (STARTS - lower_starts, lower_starts)
    assert 0 < lower_starts < STARTS
    np.testing.assert_allclose(best.z, found.mode)
    assert best.log_density == found.log_density
    roots = np.sort(np.roots([-4.0, 0.0, 9.0, -0.3]).real)  # of the gradient
    np.testing.assert_allclose([best.z[0], other.z[0]], roots[[0, -1]], atol=1e-3)
    np.testing.assert_allclose(other.log_density, -((roots[-1] ** 2 - 2.25) ** 2) - 0.3 * roots[-1], atol=1e-6)


def test_distinct_looks_at_positions_and_heights() -> None:
    """Equally high points far apart are two; so are points close by of which one is much lower."""
    sd = 0.01
    z = np.array([[0.0], [0.05 * sd], [1.0], [0.02 * sd], [np.nan]])
    found = Laplace(z[0], np.array([[sd]]), -3.0, np.array([-3.0, -3.01, -3.0, -3.2, -np.inf]), z)
    groups = [(float(optimum.z[0]), optimum.log_density, optimum.n_starts) for optimum in found.distinct()]
    assert groups == [(0.0, -3.0, 2), (1.0, -3.0, 1), (0.02 * sd, -3.2, 1)]
    assert len(found.distinct(tolerance=0.04)) == 4
    with pytest.raises(ValueError, match="expected 5 positions, got 0"):
        Laplace(found.mode, found.scale_tril, -3.0, found.optima).distinct()


def test_starts_that_get_stuck_are_reported() -> None:
    """Beyond the wall, on the way up the right well, the likelihood does not exist."""
    free, walled = laplace(two_wells(), seed=0, n_starts=STARTS), laplace(two_wells(wall=1.2), seed=0, n_starts=STARTS)
    stuck = np.isneginf(walled.optima)
    assert 0 < stuck.sum() < STARTS
    assert np.isnan(walled.optima_z[stuck]).all()
    assert np.isfinite(walled.optima_z[~stuck]).all()
    np.testing.assert_allclose(walled.mode, free.mode, atol=1e-4)
    (only,) = walled.distinct()
    assert only.n_starts == STARTS - stuck.sum()


def test_a_trial_step_beyond_the_likelihood_does_not_end_the_climb() -> None:
    """The likelihood ends close behind the optimum: long steps fall outside, and the climb goes on all the same."""
    optimum, sd = np.array([1.0, 0.5]), np.array([0.3, 0.1])

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        if z[0] > 1.01:
            outside.append(z)
            return np.nan, np.full(2, np.nan)
        return -0.5 * (((z - optimum) / sd) ** 2).sum(), -(z - optimum) / sd**2

    outside: list[np.ndarray] = []
    found = laplace(density(2, value_and_gradient), seed=2, n_starts=STARTS)
    assert outside
    np.testing.assert_allclose(found.optima, 0.0, atol=1e-6)


def test_no_start_that_arrives_is_an_error() -> None:
    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        return (float(z[0]), np.ones(1)) if z[0] < 0.0 else (np.nan, np.full(1, np.nan))

    with pytest.raises(NonFiniteLikelihoodError, match="left the region where the likelihood exists"):
        laplace(density(1, value_and_gradient), seed=0, n_starts=3)


def test_starts_outside_the_support_are_drawn_again() -> None:

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        return (-0.5 * z @ z, -z) if z[0] < 0.5 else (np.nan, np.full(2, np.nan))

    found = laplace(density(2, value_and_gradient), seed=3, n_starts=6)
    assert found.optima.size == 6
    np.testing.assert_allclose(found.mode, 0.0, atol=1e-5)


def test_no_finite_start_is_an_error() -> None:
    model = density(
        2,
        lambda _z: (np.nan, np.full(2, np.nan)),
        parameters=lambda z: {"z": z},
        explain=lambda theta: NonFiniteLikelihoodError(f"not finite at {sorted(theta)}"),
    )
    with pytest.raises(NonFiniteLikelihoodError, match="not finite at"):
        laplace(model, seed=0, n_starts=2)


def test_curvature_of_differences() -> None:
    """Of a density that is no Gaussian: the Hessian at its mode."""
    precision, slope = np.array([[3.0, 1.0], [1.0, 2.0]]), np.array([4.0, 0.0])

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        return -0.5 * z @ precision @ z - 0.25 * np.sum(z**4) + slope @ z, -precision @ z - z**3 + slope

    found = laplace(density(2, value_and_gradient), seed=0, n_starts=2)
    expected = precision + np.diag(3 * found.mode**2)
    np.testing.assert_allclose(np.linalg.inv(found.scale_tril @ found.scale_tril.T), expected, rtol=1e-7)


def test_sky_model_starts_agree(small_model: SkyModel) -> None:
    found = laplace(small_model, seed=0, n_starts=3)
    assert np.ptp(found.optima) < 1e-3
    _, gradient = small_model.value_and_gradient(found.mode)
    assert np.abs(found.scale_tril.T @ np.asarray(gradient)).max() < 1e-2
    (only,) = found.distinct()
    assert only.n_starts == 3


def test_climbs_side_by_side_are_those_of_climbs_alone() -> None:
    """What one start finds does not hang on the others, nor on how many there are (more than one batch here)."""
    together = laplace(two_wells(), seed=0, n_starts=11)
    fewer = laplace(two_wells(), seed=0, n_starts=11)
    np.testing.assert_array_equal(together.optima_z, fewer.optima_z)
    draws = np.random.default_rng(0).standard_normal((11, 1))
    for start, reached in zip(draws, together.optima_z, strict=True):
        value, z = climb(partial(optimise.evaluate, two_wells()), start[None])
        np.testing.assert_array_equal(z[0], reached)
        assert np.isfinite(value).all()


def test_a_climb_whose_coordinates_are_all_held_stays_where_it_is() -> None:
    """Such as in a null that leaves a model of one number nothing free."""
    starts = np.array([[0.5, 2.0], [1.0, 2.0]])
    limits = np.array([[[0.5, 0.5], [2.0, 2.0]], [[0.0, 3.0], [2.0, 2.0]]])
    values, places = climb(lambda y: (-(y**2).sum(axis=1), -2.0 * y), starts, limits=limits)
    np.testing.assert_allclose(values, [-4.25, -4.0], atol=1e-9)
    np.testing.assert_allclose(places, [[0.5, 2.0], [0.0, 2.0]], atol=1e-6)


def test_what_goes_wrong_in_an_evaluation_ends_all_climbs() -> None:
    calls = [0]

    def value_and_gradient(z: np.ndarray) -> tuple[float, np.ndarray]:
        calls[0] += 1
        if calls[0] > 40:
            raise KeyboardInterrupt
        return -float(z @ z), -2 * z * np.array([1.0, 1e-3])

    threads = threading.active_count()
    with pytest.raises(KeyboardInterrupt):
        laplace(density(2, value_and_gradient), seed=0, n_starts=3)
    assert threading.active_count() == threads


@pytest.mark.parametrize("n", [1, 8, 9, 100])
@pytest.mark.parametrize("threads", ["1", "3"])
def test_batches_side_by_side(n: int, threads: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Two batches that wait for each other end only if both are under way; each row is that of its point."""
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    meeting = threading.Barrier(2, timeout=20)

    def evaluate(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        assert points.shape == (BATCH, 2)
        if n == 9 and threads == "3":
            meeting.wait()
        return points.sum(axis=1), -points

    points = np.random.default_rng(2).normal(size=(n, 2))
    values, gradients = in_batches(evaluate, points)
    np.testing.assert_array_equal(values, points.sum(axis=1))
    np.testing.assert_array_equal(gradients, -points)


def test_an_interrupt_comes_between_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "2")
    done: list[int] = []

    def evaluate(points: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        done.append(1)
        if len(done) == 5:
            signal.raise_signal(signal.SIGINT)  # to the process: Python acts on it in the main thread
        time.sleep(0.01)
        return points.sum(axis=1), -points

    with pytest.raises(KeyboardInterrupt), Interrupts():
        in_batches(evaluate, np.zeros((1000, 2)))
    assert len(done) < 20
