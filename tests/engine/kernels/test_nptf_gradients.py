"""NPTF gradients, entry by entry: 50 digits, JAX's derivative of the reference, finite differences."""

from __future__ import annotations

import types
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.nptf.op import nptf_log_likelihood, pixel_log_likelihood, total_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan

NAMES = ("mean", "templates", "x")


def plan_of(problem: Any) -> PixelPlan:
    return PixelPlan.build(problem.counts, problem.region, problem.n_regions)


def gradient(problem: Any, backend: str = "numba", function: Any = total_log_likelihood) -> list[np.ndarray]:
    plan = plan_of(problem)
    total = jax.jit(jax.grad(lambda *point: function(plan, *point, backend=backend).sum(), argnums=(0, 1, 2)))
    return [np.asarray(part) for part in total(*map(jnp.asarray, problem.point))]


def assert_same(found: Any, expected: Any, rtol: float) -> None:
    for name, one, other in zip(NAMES, found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=rtol, atol=1e-290, err_msg=name)


@settings(max_examples=25, deadline=None, derandomize=True, database=None)
@given(
    seed=st.integers(0, 2**32 - 1),
    counts=st.lists(st.integers(0, 120), min_size=1, max_size=5),
    mean=st.floats(-12.0, 3.0),
    populations=st.integers(1, 3),
    slope=st.sampled_from([0.2, 1.8, 3.5]),
    brightness=st.sampled_from([1e-9, 1.0, 30.0]),
)
def test_against_50_digits(
    seed: int, counts: list[int], mean: float, populations: int, slope: float, brightness: float,
    make_problem: Any, solve_exactly: Any, differentiate_exactly: Any,
) -> None:  # fmt: skip
    problem = make_problem(seed, counts, populations=populations, mean=10.0**mean, slope=slope, brightness=brightness)
    expected = differentiate_exactly(problem, solve_exactly(problem))
    found = gradient(problem)
    for name, one, other in zip(NAMES, found, expected, strict=True):
        # d/d(mean) and d/d(template) are differences with x_0's part: judged by the size of what is subtracted
        part = {"mean": 1.0, "templates": np.abs(problem.x[:, problem.region, 0]), "x": 1e-290}[name]
        assert (np.abs(one - other) <= 1e-10 * (np.abs(other) + part)).all(), name


def test_reference_and_kernel_agree_where_a_template_is_zero(make_problem: Any) -> None:
    """A bulge map that vanishes in a pixel still has a derivative there."""
    problem = make_problem(1, np.random.default_rng(1).integers(0, 25, 40), mean=2.0)
    problem.templates[0, ::3] = 0.0
    assert_same(gradient(problem), gradient(problem, "reference"), 1e-9)


@pytest.mark.parametrize("function", [total_log_likelihood, pixel_log_likelihood])
def test_finite_differences(function: Any, backend: str, make_problem: Any) -> None:
    """Every entry of the gradient of a weighted sum over pixels, and of the plain total."""
    problem = make_problem(7, [0, 1, 3, 6, 6, 2], mean=1.5)
    plan, weights = plan_of(problem), np.array([1.0, -2.0, 0.5, 3.0, 0.0, 1e-3])

    def value(*point: Any) -> Any:
        terms = function(plan, *point, backend=backend)
        return terms * 2.0 if function is total_log_likelihood else (terms * weights).sum()

    point = [jnp.asarray(part) for part in problem.point]
    found = jax.jit(jax.grad(value, argnums=(0, 1, 2)))(*point)
    compiled = jax.jit(jax.vmap(value))
    for which, (name, part) in enumerate(zip(NAMES, point, strict=True)):
        steps = np.eye(part.size).reshape(part.size, *part.shape) * 1e-5 * np.maximum(np.abs(part), 1e-2)
        sides = []
        for sign in (1.0, -1.0):
            batch = [jnp.repeat(other[None], part.size, axis=0) for other in point]
            batch[which] = batch[which] + sign * steps
            sides.append(np.asarray(compiled(*batch)))
        slope = (sides[0] - sides[1]) / (2 * steps.sum(axis=tuple(range(1, steps.ndim))))
        np.testing.assert_allclose(np.ravel(found[which]), slope, rtol=1e-6, atol=1e-6, err_msg=name)


def one_faint_lane(make_problem: Any) -> Any:
    """40 ordinary pixels, and one whose count only sources of 1e-30 can explain."""
    counts = np.random.default_rng(8).integers(0, 12, 41)
    counts[17] = 30
    problem = make_problem(8, counts, regions=1, mean=4.0)
    problem.mean[17], problem.templates[:, 17] = 1e-12, 1e-13
    problem.x[:, :, 2:] *= 1e-4 ** np.arange(2, problem.x.shape[2])
    return problem


def test_group_with_one_lane_out_of_range(make_problem: Any, solve_exactly: Any, differentiate_exactly: Any) -> None:
    problem = one_faint_lane(make_problem)
    exact = solve_exactly(problem)
    out_of_range = [min(pixel.q) < policy.SAFE_LOW or max(pixel.q) > policy.SAFE_HIGH for pixel in exact]
    assert np.flatnonzero(out_of_range).tolist() == [17]
    expected = differentiate_exactly(problem, exact)
    for function in (total_log_likelihood, pixel_log_likelihood):
        assert_same(gradient(problem, function=function), expected, 1e-10)


def test_many_groups_in_each_chunk(make_problem: Any, solve_exactly: Any, differentiate_exactly: Any) -> None:
    """Groups in and out of range add to the same d/dx of a region, whichever chunk they are in."""
    problem = make_problem(12, np.random.default_rng(12).integers(0, 9, 1100), regions=3, mean=2.0)
    problem.mean[:300:9], problem.templates[:, :300:9] = 1e-12, 1e-150
    expected = differentiate_exactly(problem, solve_exactly(problem))
    for function in (total_log_likelihood, pixel_log_likelihood):
        assert_same(gradient(problem, function=function), expected, 1e-10)


def test_every_lane_out_of_range(make_problem: Any, solve_exactly: Any, differentiate_exactly: Any) -> None:
    """Means of hundreds: q_n far above the range, in two regions."""
    problem = make_problem(9, [620, 710, 800, 580], brightness=50.0)
    problem.mean[:] = 600.0, 640.0, 700.0, 590.0
    exact = solve_exactly(problem)
    assert all(max(pixel.q) > policy.SAFE_HIGH for pixel in exact)
    found, expected = gradient(problem), differentiate_exactly(problem, exact)
    np.testing.assert_allclose(found[0], expected[0], rtol=1e-9)
    np.testing.assert_allclose(found[1], expected[1], rtol=1e-9)
    np.testing.assert_allclose(found[2], expected[2], rtol=1e-9, atol=1e-290)


@pytest.mark.parametrize(("count", "mean"), [(5000, 3000.0), (2000, 600.0), (300, 1e-12)])
def test_improbable_counts_keep_their_gradient(count: int, mean: float, make_problem: Any) -> None:
    """Poisson in disguise: d log p / d mean = k / rate - 1, however far some q_{k-m} / q_k lie beyond float64."""
    problem = make_problem(0, [count], populations=1, regions=1)
    x = np.zeros((1, 1, count + 1))
    x[0, 0, :2] = -0.25 * mean, 0.25 * mean
    problem = problem._replace(mean=np.array([mean]), templates=np.ones((1, 1)), x=x)
    d_mean, d_templates, d_x = gradient(problem)
    rate = 1.25 * mean
    np.testing.assert_allclose(d_mean, count / rate - 1, rtol=1e-11)
    np.testing.assert_allclose(d_templates, 0.25 * mean * (count / rate - 1), rtol=1e-11)
    falling = np.concatenate([[0.0], np.cumsum(np.log(np.arange(count, 0, -1) / rate))])  # log k! / (k-m)! rate^m
    expected = np.exp(np.where(falling < 700.0, falling, -np.inf))
    inside = (falling < 700.0) & (falling > -650.0)
    np.testing.assert_allclose(d_x[0, 0, inside], expected[inside], rtol=1e-9)
    assert not np.isnan(d_x).any()


def test_through_the_source_count_function(backend: str, make_problem: Any) -> None:
    """The public operation, by every node of dN/dS, against finite differences."""
    rng = np.random.default_rng(10)
    problem = make_problem(10, [0, 2, 5, 9, 4], populations=2, regions=2)
    matrix = rng.uniform(0.0, 0.2, (2, 12, 4))
    matrix[:, 0] = -matrix[:, 1:].sum(axis=1) - 0.1
    response, dnds = types.SimpleNamespace(matrix=matrix), jnp.asarray(rng.uniform(0.1, 1.0, (2, 4)))

    @jax.jit
    def value(dnds: jax.Array) -> jax.Array:
        mean, templates = jnp.asarray(problem.mean), jnp.asarray(problem.templates)
        return nptf_log_likelihood(
            problem.counts, mean, templates, dnds, response, region=problem.region, backend=backend
        ).sum(axis=-1)

    found = jax.grad(value)(dnds)
    steps = 1e-5 * jnp.eye(8).reshape(8, 2, 4)
    slope = (jax.vmap(value)(dnds + steps) - jax.vmap(value)(dnds - steps)) / 2e-5
    np.testing.assert_allclose(found.ravel(), slope, rtol=1e-7)
