"""The NPTF operation under jit, vmap, scan, threads and concurrent callers; what it refuses to differentiate."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from threading import Barrier
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import policy
from gammasky.engine.kernels.nptf.op import pixel_log_likelihood, total_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan

PIXELS = 300
POINTS = 4


@pytest.fixture(scope="module")
def setup(make_problem: Any) -> tuple[PixelPlan, tuple[jax.Array, ...]]:
    """Some 300 pixels in three regions, one group of which needs scaling, and four parameter points."""
    rng = np.random.default_rng(20)
    counts = rng.poisson(6.0, PIXELS)
    counts[:20] = 25
    problem = make_problem(20, counts, regions=3, mean=4.0)
    problem.mean[:20], problem.templates[:, :20] = 1e-12, 1e-150
    plan = PixelPlan.build(problem.counts, problem.region, problem.n_regions)
    assert (pixel_log_likelihood(plan, *problem.point)[:20] < np.log(policy.SAFE_LOW)).all()
    batch = (np.stack([part * f for f in rng.uniform(0.5, 2.0, POINTS)]) for part in problem.point)
    return plan, tuple(map(jnp.asarray, batch))


def value_and_gradient(plan: PixelPlan, backend: str = "numba") -> Callable[..., Any]:
    return jax.value_and_grad(lambda *p: total_log_likelihood(plan, *p, backend=backend), argnums=(0, 1, 2))


def same(found: Any, expected: Any) -> None:
    """Bit for bit."""
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_array_equal(np.asarray(one), np.asarray(other))


def loop(function: Callable[..., Any], points: tuple[jax.Array, ...]) -> Any:
    return jax.tree.map(lambda *parts: jnp.stack(parts), *(function(*(p[b] for p in points)) for b in range(POINTS)))


def test_vmap_of_all_arguments(setup: Any) -> None:
    plan, points = setup
    function = value_and_gradient(plan)
    same(jax.jit(jax.vmap(function))(*points), loop(function, points))
    same(jax.vmap(lambda *p: pixel_log_likelihood(plan, *p))(*points), pixel_log_likelihood(plan, *points))
    nested = jax.vmap(jax.vmap(function))(*(p.reshape(2, 2, *p.shape[1:]) for p in points))
    same(jax.tree.map(lambda part: part.reshape(POINTS, *part.shape[2:]), nested), loop(function, points))


@pytest.mark.parametrize("mapped", [(True, False, False), (False, True, False), (False, False, True)])
def test_vmap_of_one_argument(mapped: tuple[bool, ...], setup: Any) -> None:
    plan, points = setup
    function = value_and_gradient(plan)
    arguments = [p if use else p[0] for p, use in zip(points, mapped, strict=True)]
    found = jax.jit(jax.vmap(function, in_axes=[0 if use else None for use in mapped]))(*arguments)
    repeated = tuple(p if use else jnp.stack([p[0]] * POINTS) for p, use in zip(points, mapped, strict=True))
    same(found, loop(function, repeated))


@pytest.mark.parametrize("axes", [(1, 1, 1), (-1, 2, 3), (0, -1, 2)])
def test_vmap_of_moved_axes(axes: tuple[int, ...], setup: Any) -> None:
    plan, points = setup
    function = value_and_gradient(plan)
    moved = [jnp.moveaxis(p, 0, axis) for p, axis in zip(points, axes, strict=True)]
    found = jax.jit(jax.vmap(function, in_axes=axes, out_axes=(0, axes)))(*moved)
    value, parts = loop(function, points)
    same(found, (value, tuple(jnp.moveaxis(p, 0, axis) for p, axis in zip(parts, axes, strict=True))))


def test_vmap_of_the_reference(setup: Any) -> None:
    plan, points = setup
    found = jax.jit(jax.vmap(lambda *p: pixel_log_likelihood(plan, *p, backend="reference"), in_axes=(0, 0, None)))
    expected = pixel_log_likelihood(plan, points[0], points[1], points[2][0])
    np.testing.assert_allclose(found(points[0], points[1], points[2][0]), expected, rtol=1e-11)


def test_vmap_of_plans(setup: Any) -> None:
    """Counts maps of one region side by side, at mapped and at shared points."""
    plan, points = setup
    rng = np.random.default_rng(3)
    own = [PixelPlan.build(rng.permutation(plan.counts), plan.region, plan.n_regions) for _ in range(POINTS)]
    plans = jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part) for part in parts]), *own)

    def function(plan: Any, *point: Any) -> Any:
        return value_and_gradient(plan)(*point)

    found = jax.jit(jax.vmap(function))(plans, *points)
    for b in range(POINTS):
        same(jax.tree.map(lambda part, b=b: part[b], found), function(own[b], *(p[b] for p in points)))
    shared = jax.vmap(function, (0, None, None, None))(plans, *(p[0] for p in points))
    same(shared[0], jnp.stack([function(one, *(p[0] for p in points))[0] for one in own]))


def test_a_plan_is_an_argument_of_compiled_programs(setup: Any) -> None:
    plan, points = setup
    function = jax.jit(lambda plan, *point: value_and_gradient(plan)(*point))
    other = PixelPlan.build(plan.counts[::-1].copy(), plan.region, plan.n_regions)
    for one in (plan, other):
        same(function(one, *(p[0] for p in points)), value_and_gradient(one)(*(p[0] for p in points)))
    assert function._cache_size() == 1


def test_counts_beyond_the_response_of_a_traced_plan(setup: Any) -> None:
    plan, points = setup
    mean, templates, x = (p[0] for p in points)
    with pytest.raises(Exception, match=f"a count of {plan.max_count} is beyond x, which ends at 3"):
        jax.block_until_ready(jax.jit(pixel_log_likelihood)(plan, mean, templates, x[..., :4]))


def test_leading_axes_broadcast(setup: Any) -> None:
    """mean (4, 1, P), templates (3, I, P), x without leading axes: log p (4, 3, P), and gradients summed back."""
    plan, (mean, templates, x) = setup
    arguments = mean[:, None], templates[:3], x[0]
    found = pixel_log_likelihood(plan, *arguments)
    assert found.shape == (4, 3, PIXELS)
    same(found[2, 1], pixel_log_likelihood(plan, mean[2], templates[1], x[0]))
    summed = jax.grad(lambda *p: total_log_likelihood(plan, *p).sum(), argnums=(0, 1, 2))(*arguments)
    assert [part.shape for part in summed] == [part.shape for part in arguments]
    one = value_and_gradient(plan)
    by_hand = sum(one(mean[2], templates[j], x[0])[1][0] for j in range(3))
    np.testing.assert_allclose(summed[0][2, 0], by_hand, rtol=1e-12)


def test_no_point_at_all(setup: Any) -> None:
    plan, points = setup
    assert pixel_log_likelihood(plan, *(p[:0] for p in points)).shape == (0, PIXELS)
    assert jax.vmap(value_and_gradient(plan))(*(p[:0] for p in points))[0].shape == (0,)


def test_scan(setup: Any) -> None:
    plan, points = setup
    function = value_and_gradient(plan)
    found = jax.jit(lambda points: jax.lax.scan(lambda c, p: (c, function(*p)), 0, points)[1])(points)
    same(found, loop(function, points))


def test_value_does_not_depend_on_the_gradient(setup: Any) -> None:
    plan, points = setup
    same(jax.vmap(value_and_gradient(plan))(*points)[0], total_log_likelihood(plan, *points))


def test_remat(setup: Any) -> None:
    plan, points = setup
    point = [p[0] for p in points]
    kept = jax.grad(lambda *p: total_log_likelihood(plan, *p))
    again = jax.grad(jax.checkpoint(lambda *p: total_log_likelihood(plan, *p)))
    same(again(*point), kept(*point))


def test_any_number_of_threads(setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    plan, points = setup
    function = jax.jit(jax.vmap(value_and_gradient(plan)))
    found = []
    for threads in ("1", "2", "3", "40"):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
        found.append(jax.tree.map(np.array, function(*points)))
    for other in found[1:]:
        same(other, found[0])


@pytest.mark.parametrize("compiled", [True, False])
def test_concurrent_callers(compiled: bool, setup: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "3")
    plan, points = setup
    function = jax.vmap(value_and_gradient(plan))
    function = jax.jit(function) if compiled else function
    expected = function(*points)
    barrier = Barrier(8)

    def caller(_number: int) -> list[Any]:
        barrier.wait()
        return [jax.tree.map(np.array, function(*points)) for _ in range(20 if compiled else 3)]

    with ThreadPoolExecutor(8) as pool:
        for results in pool.map(caller, range(8)):
            for found in results:
                same(found, expected)


def test_new_values_do_not_recompile(setup: Any) -> None:
    plan, points = setup
    traces = []

    @jax.jit
    def function(*p: jax.Array) -> Any:
        traces.append(1)
        return value_and_gradient(plan)(*p)

    first, second = (function(*(p[b] for p in points))[0] for b in (0, 1))
    assert float(first) != float(second)
    assert len(traces) == 1


@pytest.mark.parametrize("function", [pixel_log_likelihood, total_log_likelihood])
@pytest.mark.parametrize("argument", [0, 1, 2])
def test_forward_mode_and_second_order_raise_by_name(function: Any, argument: int, setup: Any) -> None:
    plan, points = setup
    point = [p[0] for p in points]

    def value(part: jax.Array) -> jax.Array:
        return function(plan, *point[:argument], part, *point[argument + 1 :]).sum()

    part = point[argument]
    twice = jax.grad(lambda p: jax.grad(value)(p).sum())
    hessian = jax.hessian(value)
    for refused in (twice, jax.jit(twice), hessian, jax.jit(hessian)):
        with pytest.raises(TypeError, match=r"nptf_log_likelihood: second derivatives .* central differences"):
            refused(part)
    with pytest.raises(TypeError, match=r"nptf_log_likelihood: forward mode .* is not available"):
        jax.jvp(value, (part,), (part,))
    with pytest.raises(TypeError, match="forward-mode"):  # found only when the program is compiled
        jax.jit(lambda p: jax.jvp(value, (p,), (p,)))(part)


def test_reference_has_second_derivatives(make_problem: Any) -> None:
    """d2 log p / d mean2 of a Poisson pixel is -k / mean^2."""
    problem = make_problem(1, [3, 5], populations=0, regions=1)
    plan = PixelPlan.build(problem.counts, problem.region, 1)
    total = jax.jit(jax.hessian(lambda mean: total_log_likelihood(plan, mean, *problem.point[1:], backend="reference")))
    expected = np.diag(-problem.counts / problem.mean**2)
    np.testing.assert_allclose(total(jnp.asarray(problem.mean)), expected, rtol=1e-10, atol=1e-12)
