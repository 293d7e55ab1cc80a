"""The CUDA source of the joint likelihood, built for the host and launched as on a GPU, against the Numba kernel."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.nptf.plan import LANES
from gammasky.engine.kernels.nptf_energy import cuda
from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood, total_joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from tests.engine.kernels.test_joint_values import Joint, make

__all__ = ["make"]  # a fixture
PRECISION = 1e-12


def batch_of(joint: Joint, particles: int) -> list[np.ndarray]:
    factors = np.random.default_rng(particles).uniform(0.5, 2.0, (4, particles))
    return [np.stack([part * f for f in row]) for part, row in zip(joint.point, factors, strict=True)]


def value_and_gradient(plan: Any, batch: Any, backend: str, weights: Any = 1.0) -> Any:
    """log p, and the gradient of its weighted sum, of each particle."""

    def total(*point: Any) -> Any:
        log_p = joint_log_likelihood(plan, *point, backend=backend)
        return (weights * log_p).sum(), log_p

    function = jax.jit(jax.vmap(jax.value_and_grad(total, argnums=(0, 1, 2, 3), has_aux=True)))
    (_, log_p), gradient = function(*map(jnp.asarray, batch))
    return jax.tree.map(np.array, (log_p, *gradient))


def assert_close(plan: JointPlan, batch: Any, weights: Any = 1.0) -> None:
    """To 1e-12 of each entry, or of what is added up in it with either sign."""
    found, expected = (value_and_gradient(plan, batch, name, weights) for name in ("cuda", "numba"))
    sizes = value_and_gradient(plan, batch, "numba", np.abs(weights))
    parts = 0.0, np.abs(weights), np.abs(weights * batch[2][:, :, plan.totals.region, 0]), 0.0, 0.0
    for one, other, size, part in zip(found, expected, sizes, parts, strict=True):
        assert one.shape == other.shape
        assert (np.isfinite(one) == np.isfinite(other)).all()
        assert (np.abs(one - other) <= PRECISION * (np.abs(size) + np.abs(other) + part)).all()


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(("pixels", "particles"), [(1, 1), (33, 5), (300, 7)])
def test_agrees_with_numba(pixels: int, particles: int, make: Any) -> None:
    """Faint and bright pixels, empty bins, groups that are not full, pixels whose numbers need scaling."""
    rng = np.random.default_rng(pixels)
    joint = make(pixels, rng.poisson(rng.choice([0.1, 2.0, 15.0], (4, pixels))), regions=3, mean=4.0)
    joint.point[0][:, ::9], joint.point[1][:, ::9] = 1e-12, 1e-150
    assert_close(joint.plan, batch_of(joint, particles), rng.normal(size=pixels))


@pytest.mark.usefixtures("cupy")
def test_no_photon_and_thousands(make: Any) -> None:
    joint = make(1, [[0, 1500, 3, 0], [0, 700, 0, 0], [0, 1, 0, 2]], regions=1, mean=300.0, brightness=30.0)
    assert_close(joint.plan, batch_of(joint, 1))


@pytest.mark.usefixtures("cupy")
def test_no_pixel_and_no_particle(make: Any) -> None:
    joint = make(1, np.zeros((3, 0)))
    log_p, *gradient = value_and_gradient(joint.plan, batch_of(joint, 3), "cuda")
    assert log_p.shape == (3, 0)
    for found, part in zip(gradient, joint.point, strict=True):
        assert found.shape == (3, *part.shape)
        assert (found == 0.0).all()
    joint = make(1, [[1, 2], [0, 3]])
    assert [part.shape[0] for part in value_and_gradient(joint.plan, [p[None][:0] for p in joint.point], "cuda")] == [
        0
    ] * 5


@pytest.fixture
def many_groups(make: Any) -> tuple[JointPlan, list[np.ndarray]]:
    """More groups than partial sums, in five regions, some of which are scaled."""
    counts = np.random.default_rng(3).poisson(1.5, (3, (cuda.SLOTS + 6) * LANES - 20))
    joint = make(3, counts, regions=5)
    joint.point[0][:, ::50], joint.point[1][:, ::50] = 1e-12, 1e-150
    plan = joint.plan
    assert plan.totals.group_counts.size > cuda.SLOTS
    return plan, batch_of(joint, 3)


def test_any_grid_and_order_of_threads_gives_the_same_bits(many_groups: Any, cupy: Any) -> None:
    """A race, a missing barrier, or work that depends on the number of blocks would show."""
    plan, batch = many_groups
    runs = []
    for multiprocessors, falling in ((1, False), (1, True), (7, False), (132, True)):
        gpu._multiprocessors.cache_clear()
        cupy.cuda.Device.multiprocessors, cupy.falling = multiprocessors, falling
        runs.append(value_and_gradient(plan, batch, "cuda"))
        blocks = [launch.blocks for launch in cupy.launches if launch.kernel == "joint_pixels"]
        assert blocks[-1] == min(3 * cuda.SLOTS, cuda.PER_PROCESSOR * multiprocessors)
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(one, other)
    assert_close(plan, batch)


def test_launches(many_groups: Any, cupy: Any) -> None:
    """One pass for value and gradient of all particles, of the sum, and no copy between host and device."""
    plan, batch = many_groups
    values = np.array(jax.vmap(lambda *point: joint_log_likelihood(plan, *point, backend="cuda"))(*batch))
    assert [launch.kernel for launch in cupy.launches] == ["joint_pixels"]
    assert cupy.launches[0].arguments["want_gradient"] == 0
    expected = value_and_gradient(plan, batch, "cuda")
    np.testing.assert_array_equal(values, expected[0])
    cupy.launches.clear()
    both = jax.value_and_grad(lambda *point: total_joint_log_likelihood(plan, *point, backend="cuda"), (0, 1, 2, 3))
    totals, gradient = jax.block_until_ready(jax.jit(jax.vmap(both))(*batch))
    assert [launch.kernel for launch in cupy.launches] == ["joint_pixels", "joint_sum", "joint_sum"]
    assert cupy.copies == 0
    np.testing.assert_allclose(totals, values.sum(axis=1), rtol=1e-13)
    for one, other in zip(gradient, expected[1:], strict=True):
        np.testing.assert_array_equal(one, other)
    pixels, by_x, by_spectrum = cupy.launches
    sizes = {"batch": 3, "pixels": plan.n_pixels, "bins": 3, "populations": 2, "regions": 5, "slots": cuda.SLOTS}
    assert pixels.arguments.items() >= sizes.items()
    assert pixels.threads == LANES
    assert (by_x.arguments["d_x"], by_spectrum.arguments["d_x"]) == (batch[2].shape, (3, 5, 3))


@pytest.mark.usefixtures("cupy")
def test_mapped_arguments_and_plans_side_by_side(make: Any) -> None:
    """Some arguments mapped, and counts maps that vmap maps."""
    joint = make(6, np.random.default_rng(6).poisson(2.0, (3, 70)), regions=2)
    rng, batch = np.random.default_rng(7), batch_of(joint, 3)
    own = [JointPlan.build(rng.permutation(joint.counts, axis=0), joint.region, 2) for _ in range(3)]
    plans = jax.tree.map(lambda *parts: jnp.stack([jnp.asarray(part) for part in parts]), *own)
    for axes in ((0, 0, 0, 0), (None, None, 0, None)):
        point = [part if axis == 0 else part[0] for part, axis in zip(batch, axes, strict=True)]
        function = jax.vmap(lambda plan, *p: joint_log_likelihood(plan, *p, backend="cuda"), (0, *axes))
        together = jax.jit(function)(plans, *point)
        for b in range(3):
            one = [part[b] if axis == 0 else part for part, axis in zip(point, axes, strict=True)]
            expected = joint_log_likelihood(own[b], *one, backend="numba")
            np.testing.assert_allclose(together[b], expected, rtol=PRECISION)


@pytest.mark.usefixtures("cupy")
def test_counts_beyond_the_response_of_a_traced_plan_are_nan(make: Any) -> None:
    """A device cannot refuse them; it reads nothing beyond the end."""
    joint = make(9, [[2, 5, 1], [0, 4, 2]])
    mean, templates, x, spectrum = joint.point
    point = mean, templates, x[..., :4], spectrum
    log_p = jax.jit(lambda p, *q: joint_log_likelihood(p, *q, backend="cuda"))(joint.plan, *point)
    assert np.isnan(log_p).tolist() == [False, True, False]
    slope = jax.jit(jax.grad(lambda m, p, *q: joint_log_likelihood(p, m, *q, backend="cuda").sum()))
    assert np.isnan(slope(mean, joint.plan, *point[1:])).any(axis=0).tolist() == [False, True, False]


@pytest.mark.usefixtures("cupy")
def test_a_program_for_cuda_records_the_launch(many_groups: Any) -> None:
    """Lowered for a GPU: one call, of the kind that XLA may put into a command buffer."""
    plan, batch = many_groups
    both = jax.value_and_grad(lambda *p: total_joint_log_likelihood(plan, *p, backend="cuda"), (0, 1, 2, 3))
    text = jax.jit(jax.vmap(both)).trace(*batch).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@xla_buffer_python_gpu_callback_cmd_buffer") == 1
    assert text.count("custom_call") == 1
