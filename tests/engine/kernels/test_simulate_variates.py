"""Poisson numbers, table look-ups, power-law cells and radii against SciPy, mpmath and closed forms."""

from __future__ import annotations

import math

import mpmath
import numpy as np
import pytest
from numba import njit
from scipy.stats import chisquare, kstest, poisson

from gammasky.engine.kernels.simulate import variates
from gammasky.engine.kernels.simulate.philox import uniforms
from gammasky.engine.kernels.simulate.tables import LARGEST_W, SourceTable, radius_table

SEED = np.uint64(20_26)
N = 100_000
MANY = 3_000_000


@njit
def fill(mean: float, stream: int, seed: np.uint64, numbers: np.ndarray) -> None:
    for index in range(numbers.size):
        numbers[index] = variates.poisson(mean, index, stream, 0, seed)


def draws(mean: float, n: int = N, stream: int = 0) -> np.ndarray:
    numbers = np.empty(n, dtype=np.int64)
    fill(mean, stream, SEED, numbers)
    return numbers


def uniform(n: int, stream: int) -> np.ndarray:
    return np.array([uniforms(0, index, stream, 0, SEED)[0] for index in range(n)])


@pytest.mark.parametrize("mean", [0.01, 0.7, 3.0, 9.9, 9.9999999, 10.0, 10.1, 14.0, 50.0, 300.0, 1e4, 1e6, 1e8])
def test_poisson_numbers_are_poisson(mean: float) -> None:
    """Chi-square over cells of about equal probability; for small means over single numbers."""
    numbers = draws(mean, MANY)
    edges = np.unique(poisson.ppf(np.linspace(0.0005, 0.9995, 101), mean))
    cumulative = np.concatenate([[0.0], poisson.cdf(edges, mean), [1.0]])
    expected = MANY * np.diff(cumulative)
    observed = np.bincount(np.searchsorted(edges, numbers), minlength=len(expected))
    keep = expected > 5
    observed, expected = (
        np.append(observed[keep], observed[~keep].sum()),
        np.append(expected[keep], expected[~keep].sum()),
    )
    if expected[-1] == 0:
        assert observed[-1] == 0
        observed, expected = observed[:-1], expected[:-1]
    assert chisquare(observed, expected * observed.sum() / expected.sum()).pvalue > 1e-3


@pytest.mark.parametrize("mean", [0.01, 3.0, 9.9, 10.1, 50.0, 1e4, 1e8, 1e9])
def test_moments(mean: float) -> None:
    numbers = draws(mean, stream=1) - mean
    assert numbers.mean() == pytest.approx(0.0, abs=4 * math.sqrt(mean / N))
    fourth = mean + 3 * mean**2  # central moment; the variance of the sample variance is (fourth - mean^2) / N
    assert numbers.var() == pytest.approx(mean, abs=4 * math.sqrt((fourth - mean**2) / N))


@pytest.mark.parametrize("mean", [0.0, -1.0, math.nan])
def test_no_photons_without_a_mean(mean: float) -> None:
    assert not draws(mean, n=100).any()


@pytest.mark.parametrize("mean", [1e-300, 1e-17, 3e-16, 1.0, 9.99])
def test_inversion_at_the_ends_of_the_uniform_numbers(mean: float) -> None:
    low, high = (variates._by_inversion(mean, u) for u in (2.0**-53, 1 - 2.0**-53))
    assert low == 0
    assert high == pytest.approx(poisson.isf(2.0**-53, mean), abs=1)


@pytest.mark.parametrize(
    ("k", "mean"),
    [(0, 10.0), (3, 12.5), (9, 11.0), (10, 11.0), (40, 10.0), (1000, 1010.0), (999_950_000, 1e9), (1_000_090_000, 1e9)],
)
def test_log_probability_against_50_digits(k: int, mean: float) -> None:
    with mpmath.workdps(50):
        exact = float(k * mpmath.log(mean) - mpmath.mpf(mean) - mpmath.loggamma(k + 1))
    assert variates.log_probability(float(k), mean) == pytest.approx(exact, rel=1e-12, abs=1e-10)


def test_entry_is_drawn_by_weight_and_never_one_of_weight_zero() -> None:
    weight = np.array([0.0, 3.0, 0.0, 0.0, 1.0, 5e-3, 0.0])
    found = np.array([variates.entry(np.cumsum(weight), u) for u in uniform(N, 2)])
    observed = np.bincount(found, minlength=len(weight))
    assert not observed[weight == 0].any()
    assert chisquare(observed[weight > 0], N * weight[weight > 0] / weight.sum()).pvalue > 1e-3
    assert variates.entry(np.array([0.0, 1.0, 1.0, 2.0]), 0.5) == 3
    running = np.cumsum(weight)
    assert [variates.entry(running, u) for u in (2.0**-53, 0.76, 1 - 2.0**-53)] == [1, 4, 5]


@pytest.mark.parametrize("size", [1, 2, 3, 1000])
def test_entry_is_a_search_of_the_running_sum(size: int) -> None:
    running = np.cumsum(np.random.default_rng(size).exponential(size=size))
    points = uniform(500, 3)
    expected = np.searchsorted(running, points * running[-1], side="right")
    assert [variates.entry(running, u) for u in points] == expected.tolist()


@pytest.mark.parametrize("slope", [-3.0, 0.0, 1.0, 1.7, 2.0, 8.0, 700.0, -700.0])
def test_one_power_law_is_drawn_exactly(slope: float) -> None:
    """dN/dS ~ S^-slope between 2 and 4 in one cell, closed form of the cumulative distribution."""
    grid = np.array([2.0, 4.0])
    table = SourceTable.build(np.ones(1), grid, (grid / 3.0) ** -slope, np.ones(1))
    s = np.array([variates.in_cell(table.origin[0], table.step[0], table.decay[0], u) for u in uniform(20_000, 4)])
    assert s.min() >= 2.0 * (1 - 1e-12)
    assert s.max() <= 4.0 * (1 + 1e-12)

    def cumulative(value: np.ndarray) -> np.ndarray:
        t = np.log(np.clip(value, 2.0, 4.0) / 2.0)
        power = 1.0 - slope
        if power == 0:
            return t / math.log(2.0)
        if power > 0:
            return np.exp(power * (t - math.log(2.0))) * np.expm1(-power * t) / math.expm1(-power * math.log(2.0))
        return np.expm1(power * t) / math.expm1(power * math.log(2.0))

    assert kstest(s, cumulative).pvalue > 1e-3


@pytest.mark.parametrize("slope", [-3.0, 0.0, 1.0, 1.0 + 1e-9, 2.0, 8.0])
def test_integral_of_a_power_law(slope: float) -> None:
    grid = np.geomspace(0.1, 100.0, 31)
    table = SourceTable.build(np.ones(1), grid, 3.0 * grid**-slope, np.ones(1))
    with mpmath.workdps(30):
        p = 1 - mpmath.mpf(slope)
        exact = 3 * mpmath.log(1000) if p == 0 else 3 * (mpmath.mpf(100) ** p - mpmath.mpf("0.1") ** p) / p
    assert table.integral == pytest.approx(float(exact), rel=1e-12)


def test_cells_that_end_in_zero_are_empty() -> None:
    one = np.ones(1)
    table = SourceTable.build(one, np.array([1.0, 2.0, 3.0, 4.0, 5.0]), np.array([0.0, 1.0, 1.0, 0.0, 2.0]), one)
    assert table.integral == pytest.approx(1.0, rel=1e-14)
    assert table.origin.tolist() == [3.0]
    assert SourceTable.build(one, np.array([1.0, 2.0, 3.0]), np.array([0.0, 1.0, 0.0]), one).integral == 0


def heavy_tail(inside: np.ndarray) -> np.ndarray:
    """Radius of p(r) ~ (1 + r^2)^-2.5: the fraction outside is (1 + r^2)^-1.5."""
    return np.sqrt((1.0 - inside) ** (-1 / 1.5) - 1.0)


def test_radius_reaches_from_the_core_to_the_last_bit_of_the_tail() -> None:
    table = radius_table(heavy_tail)
    outside = np.concatenate([2.0 ** -np.arange(1.0, 54.0), [0.3, 1 - 1e-3, 1 - 1e-5]])
    got = np.array([variates.radius(table, LARGEST_W, u) for u in outside])
    resolved = outside > 1e-11  # beyond, 1 - u itself has lost its digits
    np.testing.assert_allclose(got[resolved], np.sqrt(outside[resolved] ** (-1 / 1.5) - 1.0), rtol=2e-5)
    assert got[52] == heavy_tail(np.array(1 - 2.0**-53))
    assert variates.radius(table, LARGEST_W, 1 - 2.0**-53) < 1e-3


def test_radii_are_distributed_as_they_should() -> None:
    table = radius_table(heavy_tail)
    radii = np.array([variates.radius(table, LARGEST_W, u) for u in uniform(N, 5)])
    assert kstest(radii, lambda r: 1 - (1 + r**2) ** -1.5).pvalue > 1e-3
