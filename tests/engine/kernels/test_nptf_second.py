"""Second derivatives of the NPTF likelihood: differences of log p in 300 digits, the reference, finite differences."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.nptf.op import nptf_log_likelihood, pixel_log_likelihood, total_log_likelihood
from gammasky.engine.kernels.nptf.plan import LANES, PixelPlan

FUNCTIONS = [total_log_likelihood, pixel_log_likelihood]
NAMES = ("mean", "templates", "x")
Parts = list[np.ndarray]


def plan_of(problem: Any) -> PixelPlan:
    return PixelPlan.build(problem.counts, problem.region, problem.n_regions)


def weighted(function: Any, problem: Any, weights: np.ndarray, backend: str = "numba") -> Any:
    """sum_p weight_p log p_p; `total_log_likelihood` has no weights of pixels: three times the sum."""
    plan = plan_of(problem)
    if function is total_log_likelihood:
        return lambda *point: 3.0 * function(plan, *point, backend=backend)
    return lambda *point: (weights * function(plan, *point, backend=backend)).sum()


def product(function: Any, point: Any, direction: Any) -> Parts:
    """Hessian of `function` times `direction`, in the shapes of mean, templates and x."""
    _, pull = jax.vjp(jax.grad(function, argnums=(0, 1, 2)), *map(jnp.asarray, point))
    return [np.asarray(part) for part in pull(tuple(map(jnp.asarray, direction)))]


def random_direction(seed: int, point: Any, relative: bool = False) -> Parts:
    rng = np.random.default_rng(seed)
    return [rng.normal(size=part.shape) * (part if relative else 1.0) for part in point]


def exact_log_p(problem: Any, mean: Any, templates: Any, x: Any) -> list[Any]:
    """log p of every pixel in the working precision of mpmath, from arrays of mpf."""
    values = []
    for p, (k, r) in enumerate(zip(problem.counts.tolist(), problem.region, strict=True)):
        terms = [mpmath.fdot(templates[:, p], x[:, r, m]) for m in range(max(k, 1) + 1)]
        weighted = [m * (term + (mean[p] if m == 1 else 0)) for m, term in enumerate(terms)]
        q = [mpmath.mpf(1)]
        for n in range(1, k + 1):
            q.append(mpmath.fdot(weighted[1 : n + 1], q[::-1]) / n)
        values.append(terms[0] - mean[p] + mpmath.log(q[k]))
    return values


def exact_product(problem: Any, direction: Parts, weights: np.ndarray) -> tuple[Parts, Parts]:
    """Hessian of the weighted sum times `direction`, by differences of log p; and the size of what adds up to it.

    Entry e is d2 f / (d e d direction); steps are 1e-18 of the entry (of 1 where it is 0). 300 digits leave enough of
    differences of log p even where the brightest x_m make the result 1e-100.
    """
    with mpmath.workdps(300):
        exact = np.vectorize(mpmath.mpf, otypes=[object])
        point, along = ([exact(part) for part in parts] for parts in (problem.point, direction))
        ratios = [
            abs(p / d) for ps, ds in zip(point, along, strict=True) for p, d in np.c_[ps.ravel(), ds.ravel()] if d
        ]
        scale = min(ratio for ratio in ratios if ratio)
        far = scale * mpmath.mpf("1e-18")
        sides = [[p + sign * far * d for p, d in zip(point, along, strict=True)] for sign in (1, -1)]
        results, sizes = [], []
        for which, part in enumerate(point):
            found = np.zeros(part.shape)
            size = np.zeros(part.shape)
            for entry in np.ndindex(part.shape):
                step = (abs(part[entry]) or 1) * mpmath.mpf("1e-18")
                terms = np.zeros(len(weights), dtype=object)
                for outer, base in zip((1, -1), sides, strict=True):
                    for inner in (1, -1):
                        moved = [array.copy() for array in base]
                        moved[which][entry] += inner * step
                        terms = terms + outer * inner * np.array(exact_log_p(problem, *moved), dtype=object)
                terms = terms * weights / (4 * step * far)
                found[entry], size[entry] = float(terms.sum()), float(np.abs(terms).sum())
            results.append(found)
            sizes.append(size)
        return results, sizes


def outside(problem: Any, solve_exactly: Any) -> list[bool]:
    return [
        float(mpmath.log10(min(pixel.q))) < np.log10(policy.SAFE_LOW_SECOND)
        or float(mpmath.log10(max(pixel.q))) > np.log10(policy.SAFE_HIGH_SECOND)
        for pixel in solve_exactly(problem)
    ]


CASES = {
    "ordinary": ([0, 1, 2, 5, 9], {"mean": 1.5}, False),
    "one population": ([0, 4, 7], {"populations": 1, "regions": 1, "spread": False}, False),
    "no population": ([0, 1, 6], {"populations": 0, "regions": 1}, False),
    "only zeros": ([0, 0, 0], {"mean": 0.3}, False),
    "faint": ([0, 2, 7], {"mean": 1e-12, "brightness": 1e-60}, True),
    "bright": ([3, 12], {"mean": 1.0, "brightness": 1e11}, True),
}


@pytest.mark.parametrize("function", FUNCTIONS)
@pytest.mark.parametrize("case", CASES)
def test_against_300_digits(case: str, function: Any, make_problem: Any, solve_exactly: Any) -> None:
    """Every entry of the product with a direction in which everything moves; both paths of the kernel."""
    counts, options, scaled = CASES[case]
    problem = make_problem(21, counts, **options)
    assert any(outside(problem, solve_exactly)) == scaled
    weights = np.array([1.0, -2.0, 0.5, 3.0, 0.0])[: len(counts)]
    direction = random_direction(22, problem.point, relative=scaled)
    found = product(weighted(function, problem, weights), problem.point, direction)
    expected, size = exact_product(
        problem, direction, weights if function is pixel_log_likelihood else 3.0 + 0 * weights
    )
    for name, one, other, scale in zip(NAMES, found, expected, size, strict=True):
        assert (np.abs(one - other) <= 1e-10 * scale + 1e-200).all(), (name, one - other, scale)


@pytest.mark.parametrize("function", FUNCTIONS)
def test_whole_hessian_against_the_reference(function: Any, make_problem: Any) -> None:
    """Every pair of entries, zero templates among them."""
    problem = make_problem(23, [0, 1, 3, 6, 2], mean=1.5)
    problem.templates[0, 1::2] = 0.0
    weights = np.array([1.0, -2.0, 0.5, 3.0, 0.0])
    point = tuple(map(jnp.asarray, problem.point))
    hessians = []
    for backend in ("numba", "reference"):
        value = weighted(function, problem, weights, backend)
        rows = jax.jit(jax.jacrev(jax.grad(value, argnums=(0, 1, 2)), argnums=(0, 1, 2)))(*point)
        hessians.append(rows)
    for i, one in enumerate(NAMES):
        for j, other in enumerate(NAMES):
            found, expected = hessians[0][i][j], hessians[1][i][j]
            np.testing.assert_allclose(found, expected, rtol=1e-10, atol=1e-11, err_msg=f"{one}, {other}")
            back = np.moveaxis(np.asarray(hessians[0][j][i]), range(point[j].ndim), range(-point[j].ndim, 0))
            np.testing.assert_allclose(found, back, rtol=1e-10, atol=1e-11, err_msg=f"{one}, {other} transposed")


@pytest.mark.parametrize("function", FUNCTIONS)
def test_finite_differences_of_the_gradient(function: Any, make_problem: Any) -> None:
    problem = make_problem(24, [0, 1, 3, 6, 6, 2, 14], mean=1.5)
    weights = np.linspace(-1.0, 2.0, 7)
    slope = jax.jit(jax.grad(weighted(function, problem, weights), argnums=(0, 1, 2)))
    direction = random_direction(25, problem.point, relative=True)
    up, down = (slope(*(p + s * d for p, d in zip(problem.point, direction, strict=True))) for s in (1e-6, -1e-6))
    found = product(weighted(function, problem, weights), problem.point, direction)
    for name, one, high, low in zip(NAMES, found, up, down, strict=True):
        np.testing.assert_allclose(one, (high - low) / 2e-6, rtol=1e-6, atol=1e-6, err_msg=name)


@pytest.mark.slow
def test_weights_of_pixels_that_move_too(make_problem: Any) -> None:
    """sum_p w_p log p_p by w, mean, templates and x: the derivative by the gradient's own cotangent."""
    problem = make_problem(26, [0, 2, 5, 3], mean=1.0)
    plan, point = plan_of(problem), tuple(map(jnp.asarray, problem.point))
    direction = random_direction(27, (problem.counts, *point))
    found = []
    for backend in ("numba", "reference"):

        def value(weights: jax.Array, *p: jax.Array, backend: str = backend) -> jax.Array:
            return (jnp.exp(weights) * pixel_log_likelihood(plan, *p, backend=backend)).sum()

        _, pull = jax.vjp(jax.grad(value, argnums=(0, 1, 2, 3)), jnp.linspace(-1.0, 1.0, 4), *point)
        found.append(pull(tuple(map(jnp.asarray, direction))))
    for one, other in zip(*found, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12)


def test_the_two_paths_agree(make_problem: Any, solve_exactly: Any) -> None:
    """A full group and one pixel more: with that pixel out of range, its group takes the scaled path."""
    counts = np.random.default_rng(28).integers(0, 12, LANES)
    counts[17] = 30
    problem = make_problem(28, counts, regions=1, mean=4.0)
    rest = np.arange(LANES) != 17
    problem.mean[17], problem.templates[:, 17] = 1e-12, 1e-13
    problem.x[:, :, 2:] *= 1e-2 ** np.arange(2, problem.x.shape[2])
    assert np.flatnonzero(outside(problem, solve_exactly)).tolist() == [17]
    alone = problem._replace(
        counts=counts[rest], region=problem.region[rest], mean=problem.mean[rest], templates=problem.templates[:, rest]
    )
    weights, direction = (
        np.random.default_rng(29).normal(size=LANES),
        random_direction(30, problem.point, relative=True),
    )
    weights[17] = 0.0  # it adds nothing to the derivatives by x
    scaled = product(weighted(pixel_log_likelihood, problem, weights), problem.point, direction)
    own = [direction[0][rest], direction[1][:, rest], direction[2]]
    plain = product(weighted(pixel_log_likelihood, alone, weights[rest]), alone.point, own)
    np.testing.assert_allclose(scaled[0][rest], plain[0], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(scaled[1][:, rest], plain[1], rtol=1e-11, atol=1e-12)
    np.testing.assert_allclose(scaled[2], plain[2], rtol=1e-10, atol=1e-10)


@pytest.mark.parametrize(("count", "mean"), [(5000, 3000.0), (2000, 600.0), (300, 1e-12), (40, 2.0)])
def test_improbable_counts(count: int, mean: float, make_problem: Any) -> None:
    """Poisson in disguise: the second derivative by the mean is -k / rate^2, by mean and x_0 it is 0."""
    problem = make_problem(0, [count], populations=1, regions=1)
    x = np.zeros((1, 1, count + 1))
    x[0, 0, :2] = -0.25 * mean, 0.25 * mean
    point = np.array([mean]), np.ones((1, 1)), x
    problem = problem._replace(mean=point[0], templates=point[1], x=x)
    direction = [np.array([mean]), np.zeros((1, 1)), np.zeros_like(x)]
    d_mean, d_templates, d_x = product(weighted(total_log_likelihood, problem, np.ones(1)), point, direction)
    rate, curvature = 1.25 * mean, -count / (1.25**2 * mean)
    np.testing.assert_allclose(d_mean, 3.0 * curvature, rtol=1e-9)
    np.testing.assert_allclose(d_templates, 3.0 * 0.25 * mean * curvature, rtol=1e-9)
    np.testing.assert_allclose(d_x[0, 0, 1], 3.0 * curvature, rtol=1e-9)
    assert abs(d_x[0, 0, 0]) < 1e-9
    # by x_m: mean d(g_m)/d(mean) = -m / 1.25 g_m, g_m = k! / (k - m)! rate^-m
    falling = np.concatenate([[0.0], np.cumsum(np.log(np.arange(count, 0, -1) / rate))])
    m = np.flatnonzero(np.abs(falling) < 600.0)[2:]
    np.testing.assert_allclose(d_x[0, 0, m], 3.0 * -m / 1.25 * np.exp(falling[m]), rtol=1e-8)
    assert not np.isnan(d_x).any()


@pytest.mark.parametrize("function", FUNCTIONS)
def test_symmetry_over_many_groups(function: Any, make_problem: Any) -> None:
    """u.Hv = v.Hu, with groups in and out of range in each region and chunk."""
    problem = make_problem(31, np.random.default_rng(31).integers(0, 9, 1100), regions=3, mean=2.0)
    problem.mean[:300:9], problem.templates[:, :300:9] = 1e-12, 1e-60
    u, v = (random_direction(seed, problem.point, relative=True) for seed in (32, 33))
    weights = np.random.default_rng(34).normal(size=1100)
    forward, back = (product(weighted(function, problem, weights), problem.point, d) for d in (u, v))
    there = sum(np.vdot(a, b) for a, b in zip(v, forward, strict=True))
    again = sum(np.vdot(a, b) for a, b in zip(u, back, strict=True))
    assert np.isfinite(there)
    assert there == pytest.approx(again, rel=1e-9)


def test_a_direction_of_any_size(make_problem: Any) -> None:
    """The product is linear in its direction, also where the direction alone would leave the range."""
    problem = make_problem(39, [0, 1, 3, 6], mean=1.5)
    direction = random_direction(40, problem.point)
    total = weighted(total_log_likelihood, problem, np.ones(4))
    expected = product(total, problem.point, direction)
    for factor in (1e60, 1e-60, 1e250):
        found = product(total, problem.point, [factor * part for part in direction])
        for one, other in zip(found, expected, strict=True):
            np.testing.assert_allclose(one / factor, other, rtol=1e-11, atol=1e-11)


def test_what_is_not_a_number_stays_in_its_pixel(make_problem: Any) -> None:
    """A mean or a direction that is NaN, a negative x_1, an impossible count: NaN there, and nowhere else."""
    problem = make_problem(35, [2, 5, 0, 3, 4, 1], mean=2.0, regions=1)
    good = product(total := weighted(total_log_likelihood, problem, np.ones(6)), problem.point, problem.point)
    problem.mean[1], problem.mean[3] = np.nan, -1e3
    problem.mean[4], problem.templates[:, 4] = 0.0, 0.0
    direction = [problem.mean.copy(), problem.templates, problem.x]
    direction[0][1], direction[0][5] = 1.0, np.nan
    found = product(total, problem.point, direction)
    for part, other in zip(found[:2], good[:2], strict=True):
        assert np.isnan(part[..., [1, 3, 4, 5]]).all()
        np.testing.assert_allclose(part[..., [0, 2]], other[..., [0, 2]], rtol=1e-10)


def test_no_point_and_no_pixel(make_problem: Any) -> None:
    problem = make_problem(36, [2, 5])
    plan = plan_of(problem)
    twice = jax.vmap(lambda *p: jax.vjp(jax.grad(lambda *q: total_log_likelihood(plan, *q)), *p)[1](p[0]))
    empty = twice(*(jnp.zeros((0, *part.shape)) for part in problem.point))
    assert [part.shape for part in empty] == [(0, *part.shape) for part in problem.point]
    nothing = make_problem(37, np.zeros(0, int))
    parts = product(weighted(total_log_likelihood, nothing, np.zeros(0)), nothing.point, nothing.point)
    assert all((part == 0.0).all() for part in parts)


def test_through_the_source_count_function(make_problem: Any) -> None:
    """The public operation: the Hessian by every node of dN/dS against the reference."""
    rng = np.random.default_rng(38)
    problem = make_problem(38, [0, 2, 5, 9, 4])
    matrix = rng.uniform(0.0, 0.2, (2, 12, 4))
    matrix[:, 0] = -matrix[:, 1:].sum(axis=1) - 0.1
    response = type("Response", (), {"matrix": matrix})
    mean, templates = jnp.asarray(problem.mean), jnp.asarray(problem.templates)

    def value(dnds: jax.Array, backend: str) -> jax.Array:
        log_p = nptf_log_likelihood(
            problem.counts, mean, templates, dnds, response, region=problem.region, backend=backend
        )
        return log_p.sum()

    dnds = jnp.asarray(rng.uniform(0.1, 1.0, (2, 4)))
    found, expected = (jax.jacrev(jax.grad(value))(dnds, backend) for backend in ("numba", "reference"))
    np.testing.assert_allclose(found, expected, rtol=1e-9)
