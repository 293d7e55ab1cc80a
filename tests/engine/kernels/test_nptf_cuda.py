"""The CUDA source of the NPTF likelihood, built for the host and launched as on a GPU, against the Numba kernel."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import gpu, policy
from gammasky.engine.kernels.nptf import cuda
from gammasky.engine.kernels.nptf.op import pixel_log_likelihood, total_log_likelihood
from gammasky.engine.kernels.nptf.plan import LANES, PixelPlan

PRECISION = 1e-12


def plan_of(problem: Any) -> PixelPlan:
    return PixelPlan.build(problem.counts, problem.region, problem.n_regions)


def batch_of(problem: Any, particles: int) -> tuple[np.ndarray, ...]:
    factors = np.random.default_rng(particles).uniform(0.5, 2.0, (particles, 3))
    return tuple(np.stack([part * f for f in row]) for part, row in zip(problem.point, factors.T, strict=True))


def value_and_gradient(plan: Any, batch: Any, backend: str, weights: Any = 1.0) -> Any:
    """log p, and the gradient of its weighted sum, of each particle."""

    def total(*point: Any) -> Any:
        log_p = pixel_log_likelihood(plan, *point, backend=backend)
        return (weights * log_p).sum(), log_p

    function = jax.jit(jax.vmap(jax.value_and_grad(total, argnums=(0, 1, 2), has_aux=True)))
    (_, log_p), gradient = function(*map(jnp.asarray, batch))
    return jax.tree.map(np.array, (log_p, *gradient))


def assert_close(found: Any, expected: Any, plan: PixelPlan, batch: Any) -> None:
    """To 1e-12 of each entry; d/d(mean) and d/d(template) are differences, judged by the size of what is subtracted."""
    parts = 0.0, 1.0, np.abs(batch[2][:, :, plan.region, 0]), 0.0
    for name, one, other, part in zip(("log p", "mean", "templates", "x"), found, expected, parts, strict=True):
        assert one.shape == other.shape, name
        assert np.isfinite(other).all(), name
        # XLA's threads on a CPU round to zero what is below the normal range
        assert (np.abs(one - other) <= PRECISION * (np.abs(other) + part) + 1e-307).all(), name


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(("pixels", "particles"), [(1, 1), (1, 64), (5, 7), (33, 2), (300, 1), (300, 64)])
def test_agrees_with_numba(pixels: int, particles: int, make_problem: Any) -> None:
    """Faint and bright pixels, counts of 0, groups that are not full, pixels whose recursion needs scaling."""
    rng = np.random.default_rng(pixels)
    problem = make_problem(pixels, rng.poisson(rng.choice([0.3, 6.0, 40.0], pixels)), regions=3, mean=4.0)
    problem.mean[::9], problem.templates[:, ::9] = 1e-12, 1e-150
    plan, batch = plan_of(problem), batch_of(problem, particles)
    weights = rng.normal(size=pixels)
    found, expected = (value_and_gradient(plan, batch, name, weights) for name in ("cuda", "numba"))
    parts = 0.0, np.abs(weights), np.abs(weights * batch[2][:, :, plan.region, 0]), 0.0
    # sums over pixels of weights with either sign: judged by the sum of their sizes
    sizes = value_and_gradient(plan, batch, "numba", np.abs(weights))
    for one, other, size, part in zip(found, expected, sizes, parts, strict=True):
        assert (np.abs(one - other) <= PRECISION * (np.abs(size) + np.abs(other) + part)).all()


@pytest.mark.usefixtures("cupy")
def test_no_photon_and_thousands(make_problem: Any) -> None:
    """Counts of 0 and of 5,000 side by side, in and far out of the range of float64."""
    problem = make_problem(1, [0, 5000, 3, 0, 900], regions=1, mean=700.0, brightness=50.0)
    problem.mean[1] = 3000.0
    plan, batch = plan_of(problem), batch_of(problem, 2)
    found, expected = (value_and_gradient(plan, batch, name) for name in ("cuda", "numba"))
    no_photon = (batch[1] * batch[2][:, :, :1, 0]).sum(axis=1) - batch[0]
    assert (expected[0] - no_photon > np.log(policy.SAFE_HIGH)).any(axis=0).tolist() == [
        False,
        True,
        False,
        False,
        True,
    ]
    assert_close(found, expected, plan, batch)


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(("count", "mean"), [(30, 1e-12), (60, 1e-5), (100, 1e-3), (200, 1.5)])  # a team of each size
def test_probabilities_below_the_range(count: int, mean: float, make_problem: Any) -> None:
    """No source has more than one photon: p is mean^k / k!."""
    problem = make_problem(2, [count, 2, count, 1])
    problem.mean[:], problem.templates[:], problem.x[..., 2:] = mean, 1e-300, 0.0
    plan, batch = plan_of(problem), batch_of(problem, 2)
    found, expected = (value_and_gradient(plan, batch, name) for name in ("cuda", "numba"))
    assert (expected[0][:, 0] < np.log(policy.SAFE_LOW)).all()
    assert_close(found, expected, plan, batch)


@pytest.mark.usefixtures("cupy")
def test_no_pixel_and_no_particle(make_problem: Any) -> None:
    problem = make_problem(1, np.zeros(0))
    log_p, *gradient = value_and_gradient(plan_of(problem), batch_of(problem, 3), "cuda")
    assert log_p.shape == (3, 0)
    assert (gradient[2] == 0.0).all()
    assert gradient[2].shape == (3, *problem.x.shape)
    problem = make_problem(1, [1, 2])
    batch = [part[:0] for part in batch_of(problem, 1)]
    assert [part.shape[0] for part in value_and_gradient(plan_of(problem), batch, "cuda")] == [0] * 4


@pytest.fixture
def many_groups(make_problem: Any) -> tuple[PixelPlan, tuple[np.ndarray, ...]]:
    """Groups of each size of team, in five regions, some of which are scaled or have too large counts."""
    rng = np.random.default_rng(3)
    bright = rng.choice([2.0, 40.0, 90.0, 150.0], (30, 1), p=(0.7, 0.1, 0.1, 0.1))
    counts = rng.poisson(bright, (30, LANES)).ravel()[20:]
    counts[:2] = 600, 1200
    problem = make_problem(3, counts, regions=5, mean=20.0)
    problem.mean[:2] = 550.0, 1100.0
    few = np.flatnonzero(counts < 12)[:3]
    problem.mean[few], problem.templates[:, few] = 1e-12, 1e-150
    plan = plan_of(problem)
    for least, limit in ((0, 32), (32, 64), (64, 128), (128, 5000)):
        assert ((plan.group_counts >= least) & (plan.group_counts < limit)).any()
    return plan, batch_of(problem, 5)


def test_any_grid_and_order_of_threads_gives_the_same_bits(many_groups: Any, cupy: Any) -> None:
    """A race, a missing barrier, or work that depends on the number of blocks would show."""
    plan, batch = many_groups
    expected, groups = value_and_gradient(plan, batch, "numba"), plan.group_counts.size
    runs = []
    for multiprocessors, falling in ((1, False), (1, True), (7, False), (132, True)):
        gpu._multiprocessors.cache_clear()
        cupy.cuda.Device.multiprocessors, cupy.falling = multiprocessors, falling
        runs.append(value_and_gradient(plan, batch, "cuda"))
        blocks = [launch.blocks for launch in cupy.launches[-4:-1]]
        assert blocks == [5 * groups, *(min(5 * groups, n * multiprocessors) for n in (1, cuda.PER_PROCESSOR))]
    assert_close(runs[0], expected, plan, batch)
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(one, other)


def test_value_alone_is_that_of_the_gradient(many_groups: Any, cupy: Any) -> None:
    plan, batch = many_groups
    values = np.array(jax.vmap(lambda *point: pixel_log_likelihood(plan, *point, backend="cuda"))(*batch))
    assert [launch.kernel for launch in cupy.launches] == ["nptf_teams", "nptf_large", "nptf_pixels"]
    assert cupy.launches[0].arguments["want_gradient"] == 0
    np.testing.assert_array_equal(values, value_and_gradient(plan, batch, "cuda")[0])


def test_launches(many_groups: Any, cupy: Any) -> None:
    """One pass for all particles with shared plan and scratch by XLA, and no copy between host and device."""
    plan, (mean, templates, x) = many_groups

    @jax.jit
    def step(mean: Any, x: Any) -> Any:
        function = jax.value_and_grad(
            lambda m, x: total_log_likelihood(plan, m, templates[0], x, backend="cuda"), (0, 1)
        )
        return jax.vmap(function)(mean, x)

    jax.block_until_ready(step(mean, x))
    teams, large, pixels, total = cupy.launches
    kernels = ["nptf_teams", "nptf_large", "nptf_pixels", "nptf_regions"]
    assert [launch.kernel for launch in cupy.launches] == kernels
    assert cupy.copies == 0
    sizes = {"batch": 5, "pixels": plan.n_pixels, "populations": 2, "regions": 5, "terms": x.shape[-1]}
    assert teams.arguments.items() >= sizes.items()
    assert pixels.arguments.items() >= sizes.items()
    assert (teams.threads, large.threads, pixels.threads) == (cuda.TEAM_THREADS, cuda.LARGE_THREADS, LANES)
    groups = plan.group_counts.size
    assert pixels.arguments["groups"] == groups
    for name, shape in {
        "templates": templates.shape[1:],
        "cotangent": mean.shape[1:],
        "counts": plan.counts.shape,
    }.items():
        assert pixels.arguments[name] == (1, *shape), name  # what vmap does not map is not copied for every particle
    assert pixels.arguments["scratch"] == (5 * groups, 3, x.shape[-1], LANES)
    assert teams.arguments["partial"] == pixels.arguments["partial"] == (5, groups, 2, x.shape[-1])
    assert teams.arguments["left"] == pixels.arguments["left"] == (5, groups)
    assert total.arguments["d_x"] == x.shape
    assert total.blocks == min(-(-x.size // cuda.SUM_THREADS), cuda.SUM_BLOCKS * 3)
    jax.block_until_ready(step(2 * mean, x))
    assert len(cupy.launches) == 8


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("axes", [(0, None, None), (None, 0, None), (None, None, 0)])
def test_some_mapped_arguments(axes: tuple[int | None, ...], make_problem: Any) -> None:
    problem = make_problem(5, np.random.default_rng(5).poisson(4.0, 40))
    plan = plan_of(problem)
    point = [p if a == 0 else p[0] for p, a in zip(batch_of(problem, 3), axes, strict=True)]
    found, expected = (
        jax.jit(
            jax.vmap(jax.value_and_grad(lambda *p, n=name: total_log_likelihood(plan, *p, backend=n), (0, 1, 2)), axes)
        )(*point)
        for name in ("cuda", "numba")
    )
    for one, other in zip(jax.tree.leaves(found), jax.tree.leaves(expected), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11)


@pytest.mark.usefixtures("cupy")
def test_plans_side_by_side(make_problem: Any) -> None:
    """Counts maps that vmap maps, at one point and at points of their own."""
    problem = make_problem(6, np.random.default_rng(6).poisson(4.0, 70), regions=2)
    rng, plan = np.random.default_rng(7), plan_of(problem)
    own = [PixelPlan.build(rng.permutation(plan.counts), plan.region, 2) for _ in range(3)]
    plans = jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part) for part in parts]), *own)
    batch = batch_of(problem, 3)
    together = jax.jit(jax.vmap(lambda plan, *p: pixel_log_likelihood(plan, *p, backend="cuda")))(plans, *batch)
    for b in range(3):
        expected = pixel_log_likelihood(own[b], *(part[b] for part in batch), backend="numba")
        np.testing.assert_allclose(together[b], expected, rtol=PRECISION)


@pytest.mark.usefixtures("cupy")
def test_explicit_leading_axes(make_problem: Any) -> None:
    problem = make_problem(8, [0, 3, 5, 1])
    plan, (mean, templates, x) = plan_of(problem), batch_of(problem, 4)
    point = mean[:, None], templates[:3], x[0]
    found, expected = (pixel_log_likelihood(plan, *point, backend=name) for name in ("cuda", "numba"))
    assert found.shape == (4, 3, 4)
    np.testing.assert_allclose(found, expected, rtol=PRECISION)


@pytest.mark.usefixtures("cupy")
def test_a_count_beyond_the_response_of_a_traced_plan_is_nan(make_problem: Any) -> None:
    """A device cannot refuse it; it reads nothing beyond the end."""
    problem = make_problem(9, [2, 9, 3])
    plan, (mean, templates, x) = plan_of(problem), problem.point
    function = jax.value_and_grad(lambda p, *q: pixel_log_likelihood(p, *q, backend="cuda")[0], argnums=1)
    log_p = jax.jit(lambda p, *q: pixel_log_likelihood(p, *q, backend="cuda"))(plan, mean, templates, x[..., :4])
    assert np.isnan(log_p).tolist() == [False, True, False]
    assert np.isnan(jax.jit(function)(plan, mean, templates, x[..., :4])[1]).tolist() == [False, True, False]


@pytest.mark.usefixtures("cupy")
def test_concurrent_callers(many_groups: Any) -> None:
    plan, batch = many_groups
    batch = [part[:1] for part in batch]
    function = jax.jit(jax.vmap(lambda *point: total_log_likelihood(plan, *point, backend="cuda")))
    expected = np.array(function(*batch))
    with ThreadPoolExecutor(4) as pool:
        for found in pool.map(lambda _: np.array(function(*batch)), range(8)):
            np.testing.assert_array_equal(found, expected)


@pytest.mark.usefixtures("cupy")
def test_a_program_for_cuda_records_the_launch(many_groups: Any) -> None:
    """Lowered for a GPU: one call, of the kind that XLA may put into a command buffer."""
    plan, batch = many_groups
    function = jax.jit(
        jax.vmap(jax.value_and_grad(lambda *p: total_log_likelihood(plan, *p, backend="cuda"), (0, 1, 2)))
    )
    text = function.trace(*batch).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@xla_buffer_python_gpu_callback_cmd_buffer") == 1
    assert text.count("custom_call") == 1
