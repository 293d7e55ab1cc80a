"""The CUDA source of the line-of-sight integrals, built for the host and launched as on a GPU, against Numba."""

from __future__ import annotations

from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.profiles.cuda import PER_PROCESSOR
from gammasky.engine.kernels.profiles.geometry import LANES, DiskSky, NFWSky
from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared


def directions(pixels: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels around the centre, every third of which mirrors another one: integrals that pixels share."""
    rng = np.random.default_rng(pixels)
    lon, lat = rng.uniform(-25.0, 25.0, pixels), rng.uniform(-20.0, 20.0, pixels)
    lon[2::3], lat[2::3] = -lon[::3][: lon[2::3].size], lat[::3][: lat[2::3].size]
    return lon, lat


def derivatives(function: Any, *parameters: Any) -> list[np.ndarray]:
    """The template of each particle and its derivatives, pixel by pixel."""
    template, pull = jax.vjp(jax.jit(jax.vmap(function)), *map(jnp.asarray, parameters))
    rows = [pull(jnp.zeros_like(template).at[:, p].set(1.0)) for p in range(0, template.shape[1], 7)]
    return [np.asarray(template), *(np.stack(part) for part in zip(*rows, strict=True))]


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize(("pixels", "particles"), [(1, 1), (33, 64), (200, 3)])
def test_agrees_with_numba(pixels: int, particles: int) -> None:
    rng, where = np.random.default_rng(particles), directions(pixels)
    nfw, disk = NFWSky.build(*where), DiskSky.build(*where)
    gamma = rng.uniform(0.0, 2.0, particles)
    shape = rng.uniform(0.1, 2.5, particles), rng.uniform(0.05, 8.0, particles), rng.uniform(0.0, 3.0, particles)
    for function, sky, parameters in ((nfw_squared, nfw, (gamma,)), (lorimer_disk, disk, shape)):
        found, expected = (
            derivatives(lambda *p, f=function, s=sky, n=name: f(*p, s, backend=n), *parameters)
            for name in ("cuda", "numba")
        )
        for one, other in zip(found, expected, strict=True):
            assert np.abs(other).max() > 0.0
            # derivatives are moments of either sign: judged by their size at all pixels of the particle
            np.testing.assert_allclose(one, other, rtol=1e-12, atol=1e-13 * np.abs(other).max())


def test_the_geometry_goes_to_the_device_once(cupy: Any) -> None:
    """Before the step, in which nothing is copied; scratch and results are XLA's."""
    nfw, disk = NFWSky.build(*directions(40)), DiskSky.build(*directions(40))

    @jax.jit
    def step(gamma: Any, height: Any) -> Any:
        total = jax.vmap(jax.value_and_grad(lambda g: nfw_squared(g, nfw, backend="cuda").sum()))(gamma)
        disks = jax.vmap(jax.value_and_grad(lambda z: lorimer_disk(z, 3.0, 0.0, disk, backend="cuda").sum()))(height)
        return total, disks

    compiled = step.lower(jnp.ones(4), jnp.ones(4)).compile()
    copied = cupy.copies
    assert copied == 6 + 8
    jax.block_until_ready(compiled(jnp.ones(4), jnp.ones(4)))
    assert cupy.copies == copied
    launches = {launch.kernel: launch for launch in cupy.launches}
    assert set(launches) == {"nfw_nodes", "nfw_pixels", "disk_pixels"}
    angles = nfw.log_shape.shape[1]
    assert launches["nfw_nodes"].arguments["at_nodes"] == (4, 2, angles)
    assert launches["nfw_pixels"].arguments["result"] == (4, 2, 40)
    assert launches["disk_pixels"].arguments["parameters"] == (4, 3)
    assert launches["disk_pixels"].blocks == min(-(-disk.lon_rad.size // LANES), PER_PROCESSOR * 3)
    text = step.trace(jnp.ones(4), jnp.ones(4)).lower(lowering_platforms=("cuda",)).as_text()
    assert text.count("@xla_buffer_python_gpu_callback_cmd_buffer") == 2


@pytest.mark.parametrize("multiprocessors", [1, 132])
def test_any_grid_gives_the_same_bits(multiprocessors: int, cupy: Any) -> None:
    where = directions(500)
    nfw, disk = NFWSky.build(*where), DiskSky.build(*where)
    parameters = jnp.linspace(0.2, 1.9, 9)

    def templates() -> list[np.ndarray]:
        return [np.array(nfw_squared(parameters, nfw, backend="cuda")),
                np.array(lorimer_disk(parameters, 2.0, 0.3, disk, backend="cuda"))]  # fmt: skip

    expected = templates()
    gpu._multiprocessors.cache_clear()
    cupy.cuda.Device.multiprocessors = multiprocessors
    for one, other in zip(templates(), expected, strict=True):
        np.testing.assert_array_equal(one, other)
