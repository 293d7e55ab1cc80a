"""What every backend of the NPTF likelihood must do at the edges: empty, tiny, lane-sized, NaN, impossible."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels.nptf.op import pixel_log_likelihood, total_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan


def plan_of(problem: Any) -> PixelPlan:
    return PixelPlan.build(problem.counts, problem.region, problem.n_regions)


class Compiled:
    """The log-likelihood, and the gradient of its sum, of a problem's counts and regions at any point."""

    def __init__(self, problem: Any, backend: str) -> None:
        plan = plan_of(problem)
        self.value = jax.jit(lambda *point: pixel_log_likelihood(plan, *point, backend=backend))
        self.total = jax.jit(jax.grad(lambda *point: self.value(*point).sum(), argnums=(0, 1, 2)))

    def log_likelihood(self, problem: Any) -> np.ndarray:
        return np.array(self.value(*problem.point))

    def gradient(self, problem: Any) -> list[np.ndarray]:
        return [np.array(part) for part in self.total(*map(jnp.asarray, problem.point))]


def log_likelihood(problem: Any, backend: str) -> np.ndarray:
    return Compiled(problem, backend).log_likelihood(problem)


def gradient(problem: Any, backend: str) -> list[np.ndarray]:
    return Compiled(problem, backend).gradient(problem)


class TestContract:
    @pytest.mark.parametrize("pixels", [1, 31, 32, 33, 65])
    def test_group_sizes(self, pixels: int, backend: str, make_problem: Any, solve_exactly: Any) -> None:
        problem = make_problem(pixels, np.random.default_rng(pixels).integers(0, 12, pixels), regions=1)
        expected = [float(pixel.log_p) for pixel in solve_exactly(problem)]
        np.testing.assert_allclose(log_likelihood(problem, backend), expected, rtol=1e-11)

    def test_an_empty_region_between_others(self, backend: str, make_problem: Any, solve_exactly: Any) -> None:
        problem = make_problem(3, np.random.default_rng(3).integers(0, 12, 40), regions=4)
        problem.region[:] = np.array([0, 2, 3])[np.arange(40) % 3]
        expected = [float(pixel.log_p) for pixel in solve_exactly(problem)]
        np.testing.assert_allclose(log_likelihood(problem, backend), expected, rtol=1e-11)
        assert (gradient(problem, backend)[2][:, 1] == 0.0).all()

    def test_all_counts_zero(self, backend: str, make_problem: Any) -> None:
        problem = make_problem(1, np.zeros(33), regions=1)
        expected = (problem.templates * problem.x[:, 0, :1]).sum(axis=0) - problem.mean
        np.testing.assert_allclose(log_likelihood(problem, backend), expected, rtol=1e-14)
        d_mean, d_templates, d_x = gradient(problem, backend)
        assert (d_mean == -1.0).all()
        np.testing.assert_allclose(d_templates, np.repeat(problem.x[:, 0, :1], 33, axis=1), rtol=1e-14)
        np.testing.assert_allclose(d_x[:, 0, 0], problem.templates.sum(axis=1), rtol=1e-13)
        assert (d_x[:, :, 1:] == 0.0).all()

    def test_no_pixel(self, backend: str, make_problem: Any) -> None:
        problem = make_problem(1, np.zeros(0))
        assert log_likelihood(problem, backend).shape == (0,)
        assert [part.shape for part in gradient(problem, backend)] == [(0,), (2, 0), problem.x.shape]
        assert (gradient(problem, backend)[2] == 0.0).all()
        assert float(total_log_likelihood(plan_of(problem), *problem.point, backend=backend)) == 0.0

    def test_no_population_is_poisson(self, backend: str, make_problem: Any) -> None:
        problem = make_problem(1, [0, 1, 4, 9], populations=0)
        k = problem.counts
        log_factorial = np.array([np.log(np.arange(1, n + 1)).sum() for n in k])
        expected = k * np.log(problem.mean) - problem.mean - log_factorial
        np.testing.assert_allclose(log_likelihood(problem, backend), expected, rtol=1e-12)
        np.testing.assert_allclose(gradient(problem, backend)[0], k / problem.mean - 1, rtol=1e-12)

    @pytest.mark.parametrize("count", [0, 5])
    def test_nan_stays_in_its_pixel(self, count: int, backend: str, make_problem: Any) -> None:
        problem = make_problem(5, np.random.default_rng(5).integers(0, 12, 36), regions=2)
        problem.region[:], problem.counts[20] = 0, count
        problem.region[20] = 1
        program = Compiled(problem, backend)
        good, good_gradient = program.log_likelihood(problem), program.gradient(problem)
        others = np.arange(36) != 20
        for place in (problem.mean[20:21], problem.templates[1, 20:21], problem.x[1, 1]):
            before = place.copy()
            place[:] = np.nan
            bad, bad_gradient = program.log_likelihood(problem), program.gradient(problem)
            place[:] = before
            assert np.isnan(bad).tolist() == (~others).tolist()
            np.testing.assert_allclose(bad[others], good[others], rtol=1e-13)
            np.testing.assert_allclose(bad_gradient[0][others], good_gradient[0][others], rtol=1e-11)
            np.testing.assert_allclose(bad_gradient[1][:, others], good_gradient[1][:, others], rtol=1e-11)

    def test_nan_among_lanes_of_its_own_group(self, backend: str, make_problem: Any) -> None:
        problem = make_problem(6, np.random.default_rng(6).integers(0, 12, 36), regions=1)
        program = Compiled(problem, backend)
        good = program.log_likelihood(problem)
        problem.mean[3], problem.templates[0, 30] = np.nan, np.nan
        others = ~np.isin(np.arange(36), [3, 30])
        bad = program.log_likelihood(problem)
        assert np.isnan(bad).tolist() == (~others).tolist()
        np.testing.assert_allclose(bad[others], good[others], rtol=1e-13)

    def test_terms_beyond_the_count_do_not_matter(self, backend: str, make_problem: Any) -> None:
        problem = make_problem(7, [0, 1, 4, 9], regions=1)
        program = Compiled(problem, backend)
        good = program.log_likelihood(problem)
        problem.x[0, 0, 5] = np.nan
        bad = program.log_likelihood(problem)
        assert np.isnan(bad).tolist() == [False, False, False, True]
        np.testing.assert_allclose(bad[:3], good[:3], rtol=1e-13)

    @pytest.mark.parametrize("count", [0, 1, 6])
    def test_negative_terms_are_nan(self, count: int, backend: str, make_problem: Any) -> None:
        problem = make_problem(8, [count, count, 9, count], regions=1)
        single = (problem.templates * problem.x[:, 0, 1:2]).sum(axis=0)
        problem.mean[:] = -0.9 * single  # x_1 stays positive: a fine distribution
        problem.mean[1] = -1.1 * single[1]
        program = Compiled(problem, backend)
        assert np.isnan(program.log_likelihood(problem)).tolist() == [False, True, False, False]
        problem.x[0, 0, 6] = -10.0
        assert np.isnan(program.log_likelihood(problem)).tolist() == [count == 6, True, True, count == 6]

    def test_slightly_negative_mean(self, backend: str, make_problem: Any, solve_exactly: Any) -> None:
        problem = make_problem(9, [0, 3, 9], regions=1)
        problem.mean[:] = -0.5 * (problem.templates * problem.x[:, 0, 1:2]).sum(axis=0)
        expected = [float(pixel.log_p) for pixel in solve_exactly(problem)]
        np.testing.assert_allclose(log_likelihood(problem, backend), expected, rtol=1e-11)

    def test_impossible_count(self, backend: str, make_problem: Any) -> None:
        """No emission at all; and sources of exactly two photons, which can not add up to three."""
        problem = make_problem(10, [0, 2, 3, 4], populations=1, regions=2)
        problem.mean[:], problem.templates[:], problem.x[:] = 0.0, 1.0, 0.0
        program = Compiled(problem, backend)
        assert program.log_likelihood(problem).tolist() == [0.0, -np.inf, -np.inf, -np.inf]
        problem.x[0, :, 0], problem.x[0, :, 2] = -0.5, 0.5
        expected = [-0.5, np.log(0.5) - 0.5, -np.inf, np.log(0.125) - 0.5]
        np.testing.assert_allclose(program.log_likelihood(problem), expected, rtol=1e-14)

    def test_impossible_pixel_leaves_its_group_alone(self, backend: str, make_problem: Any) -> None:
        problem = make_problem(11, np.full(10, 3), populations=1, regions=1)
        program = Compiled(problem, backend)
        good, good_gradient = program.log_likelihood(problem), program.gradient(problem)
        problem.mean[4], problem.templates[:, 4] = 0.0, 0.0
        bad, bad_gradient = program.log_likelihood(problem), program.gradient(problem)
        others = np.arange(10) != 4
        assert bad[4] == -np.inf
        np.testing.assert_allclose(bad[others], good[others], rtol=1e-13)
        np.testing.assert_allclose(bad_gradient[0][others], good_gradient[0][others], rtol=1e-11)
