"""The response matrix against mpmath and scipy, its exact sums, and bad input."""

from __future__ import annotations

import time

import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import poisson

from gammasky.engine.errors import InputError
from gammasky.engine.sky import Response

GRID = np.geomspace(0.1, 100, 40)
FRACTIONS = np.array([1e-5, 0.01, 0.2, 0.7])
WEIGHTS = np.array([20.0, 5.0, 1.2, 1.0])
RATIOS = np.array([0.9, 1.0, 1.1])


def trapezoid(nodes: np.ndarray) -> np.ndarray:
    return np.array([np.trapezoid(np.eye(len(nodes))[i], nodes) for i in range(len(nodes))])


def poisson_mp(m: int, mean: float) -> mpmath.mpf:
    with mpmath.workdps(60):
        x = mpmath.mpf(mean)
        return mpmath.exp(-x + m * mpmath.log(x) - mpmath.loggamma(m + 1))


def test_against_scipy() -> None:
    response = Response.build(GRID, FRACTIONS, WEIGHTS, RATIOS, 50)
    assert response.matrix.shape == (3, 51, 40)
    m = np.arange(1, 51)[:, None, None]
    for r, ratio in enumerate(RATIOS):
        pmf = poisson.pmf(m, FRACTIONS * ratio * GRID[:, None])
        np.testing.assert_allclose(response.matrix[r, 1:], trapezoid(GRID) * (pmf @ WEIGHTS), rtol=1e-11, atol=0)


@pytest.mark.parametrize("mean", [1e-12, 1e-3, 0.5, 10.0, 123.4, 699.9, 700.1, 1234.5, 3e4, 1e5])
def test_one_node_against_mpmath(mean: float) -> None:
    """Rounding of the mean itself is magnified by |m - mean|: that much is not the kernel's to avoid."""
    top = int(min(mean + 8 * mean**0.5, 1e5 + 300)) + 5
    response = Response.build([mean, 2 * mean], [1.0], [1.0], [1.0], top)
    got = response.matrix[0, :, 0] / (mean / 2)
    first = max(1, int(mean - 8 * mean**0.5))
    for m in {first, *(int(x) for x in np.linspace(first, top, 7)), max(1, int(mean)), top}:
        want = float(poisson_mp(m, mean))
        assert got[m] == pytest.approx(want, rel=1e-13 + 4e-16 * abs(m - mean), abs=1e-300)
    with mpmath.workdps(60):
        assert got[0] == pytest.approx(float(mpmath.expm1(-mpmath.mpf(mean))), rel=1e-14)


@settings(max_examples=60, deadline=None, derandomize=True)
@given(
    mean=st.floats(1e-12, 5e3),
    count=st.integers(1, 300),
)
def test_any_mean_and_count_against_mpmath(mean: float, count: int) -> None:
    got = Response.build([mean, 2 * mean], [1.0], [1.0], [1.0], count).matrix[0, count, 0] / (mean / 2)
    want = float(poisson_mp(count, mean))
    assert got == pytest.approx(want, rel=1e-12 + 1e-15 * (abs(count - mean) + count), abs=1e-290)


def test_bright_sources_leave_no_nan_where_max_count_is_small() -> None:
    matrix = Response.build(np.geomspace(1, 1e5, 60), [1.0, 1e-3], [1.0, 30.0], [1.0], 3).matrix
    assert np.isfinite(matrix).all()
    assert (matrix[:, 1:] >= 0).all()


def test_row_zero_is_minus_the_sum_over_all_counts() -> None:
    matrix = Response.build(GRID, FRACTIONS, WEIGHTS, RATIOS, 300).matrix
    np.testing.assert_allclose(matrix[:, 1:].sum(axis=1), -matrix[:, 0], rtol=1e-13)


def test_row_zero_does_not_depend_on_max_count() -> None:
    small = Response.build(GRID, FRACTIONS, WEIGHTS, RATIOS, 0).matrix
    large = Response.build(GRID, FRACTIONS, WEIGHTS, RATIOS, 30).matrix
    assert small.shape == (3, 1, 40)
    np.testing.assert_array_equal(small[:, 0], large[:, 0])


def test_mean_counts() -> None:
    response = Response.build(GRID, FRACTIONS, WEIGHTS, RATIOS, 300)
    mean = np.einsum("m,rms->rs", np.arange(301), response.matrix)
    want = RATIOS[:, None] * GRID * trapezoid(GRID) * np.sum(WEIGHTS * FRACTIONS)
    np.testing.assert_allclose(mean, want, rtol=1e-13)
    np.testing.assert_allclose(response.quadrature, trapezoid(GRID), rtol=1e-14)


def test_a_source_of_no_counts_gives_none() -> None:
    matrix = Response.build([0.0, 1.0], [1.0], [1.0], [1.0], 4).matrix
    assert (matrix[0, :, 0] == 0).all()


def test_size_of_the_fiducial_fit_builds_in_two_seconds() -> None:
    fractions = np.geomspace(1e-5, 0.75, 200)
    ratios = np.linspace(0.95, 1.05, 7)
    Response.build([1.0, 2.0], [1.0], [1.0], [1.0], 1)  # compile
    start = time.process_time()  # which a busy machine does not lengthen
    Response.build(np.geomspace(0.1, 100, 1000), fractions, np.ones(200), ratios, 103)
    assert time.process_time() - start < 2  # about 0.15 s


@pytest.mark.parametrize(
    ("change", "message"),
    [
        ({"s_grid": [2.0, 1.0]}, "s_grid must"),
        ({"s_grid": [1.0, 1.0]}, "s_grid must"),
        ({"s_grid": [-1.0, 1.0]}, "s_grid must"),
        ({"s_grid": [1.0]}, "s_grid must"),
        ({"s_grid": [1.0, np.nan]}, "s_grid must"),
        ({"s_grid": [[1.0, 2.0]]}, "s_grid must"),
        ({"fractions": [0.0]}, "fractions must be in"),
        ({"fractions": [1.5]}, "fractions must be in"),
        ({"fractions": []}, "fractions must be a list"),
        ({"fraction_weights": [1.0, 2.0]}, "fraction_weights must be 1 non-negative"),
        ({"fraction_weights": [-1.0]}, "fraction_weights must be 1 non-negative"),
        ({"exposure_ratios": [0.0]}, "exposure_ratios must be positive"),
        ({"max_count": -1}, "max_count must be a whole number"),
        ({"max_count": 2.5}, "max_count must be a whole number"),
    ],
)
def test_bad_input(change: dict[str, object], message: str) -> None:
    arguments: dict[str, object] = {
        "s_grid": [1.0, 2.0],
        "fractions": [0.5],
        "fraction_weights": [2.0],
        "exposure_ratios": [1.0],
        "max_count": 3,
    }
    with pytest.raises(InputError, match=message):
        Response.build(**(arguments | change))
