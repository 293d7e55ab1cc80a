"""NPTF log-likelihoods against 50 digits, closed forms and sums that must be 1."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gammasky.engine.kernels.nptf.op import pixel_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan


def log_likelihood(problem: Any, backend: str = "numba") -> np.ndarray:
    plan = PixelPlan.build(problem.counts, problem.region, problem.n_regions)
    return np.asarray(pixel_log_likelihood(plan, *map(jnp.asarray, problem.point), backend=backend))


def single_pixel(make_problem: Any, count: int, mean: float, x: np.ndarray) -> Any:
    """One pixel, one population with template 1 and the given x_1 .. x_count; x_0 is minus their sum."""
    full = np.concatenate([[-x.sum()], x])[None, None]
    return make_problem(0, [count], populations=1, regions=1)._replace(
        mean=np.array([mean]), templates=np.ones((1, 1)), x=full
    )


@settings(max_examples=60, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 300), min_size=1, max_size=5),
    mean=st.floats(-12.0, 4.0),
    populations=st.integers(1, 3),
    slope=st.sampled_from([0.2, 1.0, 1.8, 3.5]),
    spread=st.booleans(),
    brightness=st.sampled_from([1e-9, 1e-2, 1.0, 30.0]),
)
def test_against_50_digits(
    seed: int, counts: list[int], mean: float, populations: int, slope: float, spread: bool, brightness: float,
    make_problem: Any, solve_exactly: Any,
) -> None:  # fmt: skip
    problem = make_problem(
        seed, counts, populations=populations, mean=10.0**mean, slope=slope, spread=spread, brightness=brightness
    )
    expected = [float(pixel.log_p) for pixel in solve_exactly(problem)]
    np.testing.assert_allclose(log_likelihood(problem), expected, rtol=1e-10, atol=0)


@pytest.mark.parametrize(("mean", "brightness"), [(1e-12, 1e-9), (5.0, 3.0), (1e4, 30.0)])
def test_reference_against_50_digits(mean: float, brightness: float, make_problem: Any, solve_exactly: Any) -> None:
    problem = make_problem(3, [0, 1, 7, 60, 120], mean=mean, brightness=brightness)
    expected = [float(pixel.log_p) for pixel in solve_exactly(problem)]
    np.testing.assert_allclose(log_likelihood(problem, "reference"), expected, rtol=1e-10, atol=0)


def delaporte(count: int, mean: float, shape: float, rate: float) -> Any:
    """log p of a Poisson(mean) plus a negative binomial, whose x_m = shape rate^m / m: a sum of closed forms."""
    with mpmath.workdps(50):
        mean, shape, rate = mpmath.mpf(mean), mpmath.mpf(shape), mpmath.mpf(rate)
        smooth, clustered, total = mean**count / mpmath.factorial(count), mpmath.mpf(1), mpmath.mpf(0)
        for n in range(count + 1):  # n photons from the negative binomial
            total += smooth * clustered
            smooth *= (count - n) / mean
            clustered *= rate * (shape + n) / (n + 1)
        return mpmath.log(total) - mean + shape * mpmath.log(1 - rate)


@pytest.mark.parametrize("mean", [1e-12, 1e-3, 1.0, 300.0, 1e4])
@pytest.mark.parametrize(("count", "shape", "rate"), [(5000, 2.0, 0.9), (5000, 1e-8, 0.9), (3001, 400.0, 0.5)])
def test_thousands_of_counts(mean: float, count: int, shape: float, rate: float, make_problem: Any) -> None:
    m = np.arange(1, count + 1)
    problem = single_pixel(make_problem, count, mean, shape * rate**m / m)
    problem.x[0, 0, 0] = shape * np.log1p(-rate)
    expected = float(delaporte(count, mean, shape, rate))
    np.testing.assert_allclose(log_likelihood(problem), expected, rtol=1e-10)


def test_two_far_scales(make_problem: Any, solve_exactly: Any) -> None:
    """Faint singles and sources of exactly 100 photons: count 199 needs 99 singles, 1e-1300 of count 100."""
    x = np.zeros(199)
    x[0], x[99] = 1e-12, 1.0
    problem = single_pixel(make_problem, 199, 0.0, x)
    np.testing.assert_allclose(log_likelihood(problem), float(solve_exactly(problem)[0].log_p), rtol=1e-12)


def test_bright_source_far_above_a_bright_mean(make_problem: Any) -> None:
    """Count 5100 = one source of exactly 5000 and 100 of 1500 smooth photons, or 5100 smooth ones."""
    x = np.zeros(5100)
    x[4999] = 1.0
    one, none = -1500 + 100 * np.log(1500) - mpmath.loggamma(101), -1500 + 5100 * np.log(1500) - mpmath.loggamma(5101)
    expected = float(mpmath.log(mpmath.exp(one) + mpmath.exp(none)) - 1)
    np.testing.assert_allclose(log_likelihood(single_pixel(make_problem, 5100, 1500.0, x)), expected, rtol=1e-10)


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("backend", ["numba", "cuda"])
def test_products_below_the_range(
    backend: str, make_problem: Any, solve_exactly: Any, differentiate_exactly: Any
) -> None:
    """Sources so rare that T x_m is no float64, alone and beside smooth emission that is as faint."""
    problem = make_problem(6, [1, 2, 9, 40, 41, 1, 9, 40], mean=1e-280)
    problem = problem._replace(templates=1e-160 * problem.templates, x=1e-160 * problem.x)
    problem.mean[:5] = 0.0
    solved = solve_exactly(problem)
    expected = [float(pixel.log_p) for pixel in solved]
    np.testing.assert_allclose(log_likelihood(problem, backend), expected, rtol=1e-12)
    plan = PixelPlan.build(problem.counts, problem.region, problem.n_regions)
    slopes = jax.grad(lambda *point: pixel_log_likelihood(plan, *point, backend=backend).sum(), argnums=(1, 2))
    found = slopes(*map(jnp.asarray, problem.point))
    for one, other in zip(found, differentiate_exactly(problem, solved)[1:], strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.parametrize("mean", [1e-12, 1e-3, 8.0, 1e3, 1e4])
def test_faint_sources_are_poisson(mean: float, make_problem: Any) -> None:
    counts = np.array([0, 1, 2, 19, 103, 3000])
    problem = make_problem(5, counts, regions=1, mean=mean)
    x = np.zeros_like(problem.x)
    x[:, 0, 1], x[:, 0, 0] = 0.3, -0.3  # sources that never give two photons
    rate = [mpmath.mpf(float(m)) + mpmath.fsum(0.3 * t) for m, t in zip(problem.mean, problem.templates.T, strict=True)]
    expected = [
        float(k * mpmath.log(r) - r - mpmath.loggamma(k + 1)) for k, r in zip(counts.tolist(), rate, strict=True)
    ]
    np.testing.assert_allclose(log_likelihood(problem._replace(x=x)), expected, rtol=1e-10)


@pytest.mark.parametrize(("mean", "slope"), [(1e-12, 0.2), (0.4, 1.8), (25.0, 3.0)])
def test_probabilities_sum_to_one(mean: float, slope: float, backend: str, make_problem: Any) -> None:
    problem = make_problem(2, np.arange(400), regions=1, mean=mean, slope=slope, brightness=0.5)
    same = problem._replace(mean=np.full(400, mean), templates=np.repeat(problem.templates[:, :1], 400, axis=1))
    assert np.exp(log_likelihood(same, backend)).sum() == pytest.approx(1.0, abs=1e-11)


def test_splitting_a_region_changes_nothing(backend: str, make_problem: Any) -> None:
    problem = make_problem(4, np.random.default_rng(4).integers(0, 30, 70), regions=2, mean=3.0)
    halves = np.where(np.arange(70) % 3 == 0, 2 * problem.region, 2 * problem.region + 1)
    split = problem._replace(region=halves, n_regions=4, x=np.repeat(problem.x, 2, axis=1))
    np.testing.assert_allclose(log_likelihood(split, backend), log_likelihood(problem, backend), rtol=1e-13)


def test_order_of_pixels_does_not_matter(backend: str, make_problem: Any) -> None:
    rng = np.random.default_rng(6)
    problem = make_problem(6, rng.integers(0, 30, 70), regions=3, mean=3.0)
    order = rng.permutation(70)
    shuffled = problem._replace(
        counts=problem.counts[order],
        region=problem.region[order],
        mean=problem.mean[order],
        templates=problem.templates[:, order],
    )
    np.testing.assert_allclose(log_likelihood(shuffled, backend), log_likelihood(problem, backend)[order], rtol=1e-13)
