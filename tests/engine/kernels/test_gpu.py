"""On a CUDA device: every kernel against Numba, no copy between host and device in a step, and what it takes.

`make test-gpu` runs these; GAMMASKY_REQUIRE_GPU=1 turns their skip into a failure. The times are printed; where the
device is of the class that they were set for, they are held against their bounds.
"""

from __future__ import annotations

import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.infer.run import fit
from gammasky.engine.infer.settings import Settings
from gammasky.engine.kernels.nptf.op import pixel_log_likelihood
from gammasky.engine.kernels.nptf.plan import PixelPlan
from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood
from gammasky.engine.kernels.poisson.op import poisson_log_likelihood
from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky
from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset
from tests.engine.kernels.test_bar_cuda import bars, sky_of, template_and_slopes
from tests.engine.kernels.test_joint_cuda import batch_of
from tests.engine.kernels.test_joint_values import make

__all__ = ["make"]  # a fixture

# warnings of the driver's own libraries, which differ from machine to machine, are no failures here
pytestmark = [pytest.mark.gpu, pytest.mark.usefixtures("cuda_device"), pytest.mark.filterwarnings("default")]

PARTICLES = (1, 8, 64, 512)
REPEATS = 20
FAST = ("H100", "H200", "B200")  # devices that must reach the two bounds
STEP_SECONDS, FIT_SECONDS = 2e-3, 15.0


def on_both(function: Callable[..., Any], *arguments: Any) -> tuple[Any, Any]:
    """What `function(backend, *arguments)` gives on the device, and by Numba on the CPU."""
    found = jax.tree.map(np.array, jax.jit(lambda *a: function("cuda", *a))(*arguments))
    with jax.default_device(jax.devices("cpu")[0]):
        return found, jax.tree.map(np.array, jax.jit(lambda *a: function("numba", *a))(*arguments))


@pytest.mark.parametrize("particles", [1, 8, 64])
def test_nptf(particles: int, make_problem: Any) -> None:
    rng = np.random.default_rng(1)
    counts = np.concatenate(
        [rng.poisson(mean, n) for mean, n in ((15.0, 2000), (50.0, 500), (90.0, 500), (300.0, 200))]
    )
    counts = np.concatenate([counts, [0, 900, 5000]])
    problem = make_problem(1, counts, regions=7, mean=8.0)
    problem.mean[-2] = 850.0
    problem.mean[::50], problem.templates[:, ::50] = 1e-12, 1e-150
    plan = PixelPlan.build(problem.counts, problem.region, 7)
    factors = np.random.default_rng(2).uniform(0.5, 2.0, (particles, 3))
    batch = [np.stack([p * f for f in row]) for p, row in zip(problem.point, factors.T, strict=True)]

    def function(backend: str, *batch: Any) -> Any:
        def single(*point: Any) -> Any:
            log_p = pixel_log_likelihood(plan, *point, backend=backend)
            return log_p.sum(), log_p

        return jax.vmap(jax.value_and_grad(single, (0, 1, 2), has_aux=True))(*batch)

    ((_, log_p), gradient), ((_, expected), slopes) = on_both(function, *batch)
    np.testing.assert_allclose(log_p, expected, rtol=1e-11)
    parts = 1.0, np.abs(batch[2][:, :, plan.region, 0]), 1e-290
    for one, other, part in zip(gradient, slopes, parts, strict=True):
        assert (np.abs(one - other) <= 1e-11 * (np.abs(other) + part)).all()


def test_poisson() -> None:
    counts, mean = np.array([0, 1, 17, 103, 5000]), np.array([[0.3, 4.0, 12.5, 90.0, 3e3]]) * [[0.5], [1.0], [2.0]]

    def function(backend: str, mean: Any) -> Any:
        return jax.vmap(jax.value_and_grad(lambda m: poisson_log_likelihood(counts, m, backend=backend).sum()))(mean)

    for one, other in zip(*on_both(function, mean), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-11, atol=1e-12)


def test_profiles() -> None:
    rng = np.random.default_rng(3)
    where = rng.uniform(-25.0, 25.0, 900), rng.uniform(-20.0, 20.0, 900)
    nfw, disk = NFWSky.build(*where), DiskSky.build(*where)
    gamma, height, C = rng.uniform(0.0, 2.0, 8), rng.uniform(0.1, 2.5, 8), rng.uniform(0.05, 8.0, 8)

    def function(backend: str, gamma: Any, height: Any, C: Any) -> Any:
        inner = jax.vmap(jax.value_and_grad(lambda g: jnp.log(nfw_squared(g, nfw, backend=backend)).sum()))
        outer = jax.vmap(
            jax.value_and_grad(lambda z, c: jnp.log(lorimer_disk(z, c, 0.5, disk, backend=backend)).sum(), (0, 1))
        )
        return jax.tree.leaves((inner(gamma), outer(height, C)))

    for one, other in zip(*on_both(function, gamma, height, C), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10)


@pytest.mark.parametrize("falloff", ["sech2", "bessel_k0"])
def test_bar(falloff: str) -> None:
    found, expected = (template_and_slopes(name, sky_of(60, falloff=falloff), bars(8)) for name in ("cuda", "numba"))
    for one, other in zip(found, expected, strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-11 * np.abs(other).max())


def test_several_energy_bins(make: Any) -> None:
    joint = make(2, np.random.default_rng(2).poisson(6.0, (4, 300)), regions=3, mean=4.0)
    joint.point[0][:, ::9], joint.point[1][:, ::9] = 1e-12, 1e-150
    batch = batch_of(joint, 8)

    def function(backend: str, *batch: Any) -> Any:
        total = lambda *point: joint_log_likelihood(joint.plan, *point, backend=backend).sum()  # noqa: E731
        return jax.tree.leaves(jax.vmap(jax.value_and_grad(total, (0, 1, 2, 3)))(*batch))

    for one, other in zip(*on_both(function, *batch), strict=True):
        np.testing.assert_allclose(one, other, rtol=1e-9, atol=1e-11 * np.abs(other).max())


@pytest.fixture(scope="module")
def fiducial(cuda_device: str, fermi_dir: Path) -> SkyModel:
    assert cuda_device
    return SkyModel("fiducial", Dataset.open("fermi", fermi_dir))


@pytest.mark.data
def test_a_step_copies_nothing_between_host_and_device(fiducial: SkyModel) -> None:
    z = jnp.asarray(np.random.default_rng(4).normal(size=(8, fiducial.n_latent)))
    jax.block_until_ready(fiducial.value_and_gradient(z))  # compiled, the geometry is on the device
    with jax.transfer_guard("disallow"):
        value, gradient = jax.block_until_ready(fiducial.value_and_gradient(z))
    assert np.isfinite(value).all()
    assert np.isfinite(gradient).all()


@pytest.mark.data
def test_value_and_gradient_take(fiducial: SkyModel, cuda_device: str) -> None:
    """The timing table: consecutive calls of one compiled program, the median."""
    print(f"\n{cuda_device}\n| particles | value and gradient [ms] | per particle [ms] |\n| ---: | ---: | ---: |")
    for particles in PARTICLES:
        z = jnp.asarray(np.random.default_rng(5).normal(size=(particles, fiducial.n_latent)))
        jax.block_until_ready(fiducial.value_and_gradient(z))
        seconds = []
        for _ in range(REPEATS):
            start = time.perf_counter()
            jax.block_until_ready(fiducial.value_and_gradient(z))
            seconds.append(time.perf_counter() - start)
        median = float(np.median(seconds))
        print(f"| {particles} | {1e3 * median:.3f} | {1e3 * median / particles:.4f} |")
        if particles == 64 and any(name in cuda_device for name in FAST):
            assert median <= STEP_SECONDS


@pytest.mark.data
@pytest.mark.slow
def test_a_fit_takes(fiducial: SkyModel, cuda_device: str) -> None:
    """8 particles, 5,000 steps, twice: the second finds its programs compiled."""
    settings = Settings(method="svi", emulator=False, steps=5000, particles=8)
    first, second = (fit(fiducial, settings, n_draws=100).seconds for _ in range(2))
    print(f"\n{cuda_device}: fiducial fit {first:.1f} s, with compiled programs {second:.1f} s")
    if any(name in cuda_device for name in FAST):
        assert second <= FIT_SECONDS
