"""Weights of members against numbers worked out by hand."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.optimize import minimize_scalar

from gammasky.analyses.ensemble.answer import on_common_pixels
from gammasky.analyses.ensemble.pointwise import waic
from gammasky.analyses.ensemble.weights import average, evidence_weights, stacking
from gammasky.engine.errors import InputError


def test_evidence_weights() -> None:
    weights = evidence_weights(np.array([-20000.0, -20000.0 + np.log(3.0)]))
    np.testing.assert_allclose(weights, [0.25, 0.75], rtol=1e-12)
    assert evidence_weights(np.array([-1e6])) == pytest.approx([1.0])


def test_average_is_that_of_the_mixture() -> None:
    found = average(np.array([0.25, 0.75]), np.array([1.0, 3.0]), np.array([1.0, 2.0]))
    assert found is not None
    assert found.mean == pytest.approx(2.5)
    assert found.within**2 == pytest.approx(0.25 * 1 + 0.75 * 4)
    assert found.between**2 == pytest.approx(0.25 * 1.5**2 + 0.75 * 0.5**2)
    assert found.sd**2 == pytest.approx(found.within**2 + found.between**2)
    assert found.share == pytest.approx(1.0)


@pytest.mark.parametrize(("means", "sds"), [([np.nan, 1.0], [1.0, 1.0]), ([1.0, 1.0], [1.0, np.nan])])
def test_one_number_that_is_not_finite_is_not_averaged_away(means: list[float], sds: list[float]) -> None:
    found = average(np.array([0.5, 0.5]), np.array(means), np.array(sds))
    assert found is not None
    assert np.isnan(found.sd)


def test_average_over_those_that_have_it() -> None:
    found = average(np.array([0.3, 0.2]), np.array([1.0, 2.0]), np.zeros(2))
    assert found is not None
    assert (found.mean, found.share) == (pytest.approx(1.4), pytest.approx(0.5))
    assert average(np.zeros(0), np.zeros(0), np.zeros(0)) is None
    same = average(np.full(3, 1 / 3), np.full(3, 0.1), np.zeros(3))
    assert same is not None
    assert same.between == 0.0


def test_stacking_of_two_is_the_best_mixture() -> None:
    """Against a minimiser in one dimension; the members differ by a tenth in each pixel."""
    rng = np.random.default_rng(5)
    elpd = -2.0 + 0.1 * rng.normal(size=(2, 4000))
    density = np.exp(elpd)

    def loss(w: float) -> float:
        return float(-np.log(w * density[0] + (1 - w) * density[1]).sum())

    best = minimize_scalar(loss, bounds=(0.0, 1.0), method="bounded", options={"xatol": 1e-10})
    found = stacking(elpd)
    assert 0.05 < best.x < 0.95  # else the test says little
    assert found.weights[0] == pytest.approx(best.x, abs=0.02)
    assert found.score == pytest.approx(-best.fun, abs=1e-3)
    assert found.gap < 1e-3
    assert found.single == pytest.approx(elpd.sum(axis=1).max())


def test_stacking_takes_the_better_of_two_and_shares_between_copies() -> None:
    elpd = np.stack([np.full(1000, -1.0), np.full(1000, -1.1), np.full(1000, -1.0)])
    found = stacking(elpd)
    assert found.weights[1] == pytest.approx(0.0, abs=1e-4)
    assert found.weights[0] == pytest.approx(found.weights[2])
    assert found.score == pytest.approx(-1000.0, abs=1e-3)
    assert found.n_pixels == 1000


def test_stacking_of_experts_of_one_half_each() -> None:
    """Each member knows half of the pixels: 0.9 there and 0.1 elsewhere; the mixture of both gives 0.5 everywhere."""
    half = np.repeat([True, False], 50)
    elpd = np.log(np.stack([np.where(half, 0.9, 0.1), np.where(half, 0.1, 0.9)]))
    found = stacking(elpd)
    np.testing.assert_allclose(found.weights, [0.5, 0.5], atol=1e-6)
    assert found.score == pytest.approx(100 * np.log(0.5))


def test_stacking_of_many_ends_near_the_best() -> None:
    rng = np.random.default_rng(4)
    found = stacking(-1.5 + 0.05 * rng.normal(size=(60, 3000)) + 0.001 * rng.normal(size=(60, 1)))
    assert found.weights.sum() == pytest.approx(1.0)
    assert found.gap < 0.1  # nat, of a sum over 3,000 pixels
    assert found.score > found.single


def test_stacking_without_pixels() -> None:
    with pytest.raises(InputError, match="stacking: the members have no pixel in common"):
        stacking(np.zeros((2, 0)))


def test_common_pixels() -> None:
    first = (np.array([7, 3, 5]), np.array([0.7, 0.3, 0.5]))
    second = (np.array([5, 9, 7]), np.array([50.0, 90.0, 70.0]))
    np.testing.assert_array_equal(on_common_pixels([first, second]), [[0.5, 0.7], [50.0, 70.0]])
    assert on_common_pixels([first, (np.array([1]), np.array([1.0]))]).shape == (2, 0)


def test_waic_by_hand() -> None:
    log_likelihood = np.log(np.array([[0.2, 0.5], [0.4, 0.5]]))
    found = waic(log_likelihood)
    assert found.penalty[0] == pytest.approx(np.log(2.0) ** 2 / 2)  # variance of two numbers log 2 apart
    assert found.penalty[1] == 0.0
    np.testing.assert_allclose(found.elpd, [np.log(0.3) - np.log(2.0) ** 2 / 2, np.log(0.5)])
    assert found.n_unsure == 0
    assert waic(np.array([[0.0], [-3.0]])).n_unsure == 1
