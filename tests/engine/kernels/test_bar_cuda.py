"""The CUDA source of the bar, built for the host and launched as on a GPU, against Numba along each line of sight."""

from __future__ import annotations

import dataclasses
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.bar import cuda, op
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar

S = jnp.array(list(FREUDENREICH_S.values()))
FRAMES = [{}, {"sun_height_kpc": 0.02, "pitch_deg": 1.5}]


def sky_of(pixels: int, **options: Any) -> BarSky:
    """Pixels around the centre, every third of which mirrors another one at the plane."""
    rng = np.random.default_rng(pixels)
    lon, lat = rng.uniform(-25.0, 25.0, pixels), rng.uniform(-20.0, 20.0, pixels)
    lon[2::3], lat[2::3] = lon[::3][: lon[2::3].size], -lat[::3][: lat[2::3].size]
    return BarSky.build(lon, lat, **options)


def bars(n: int, seed: int = 0) -> jax.Array:
    """Parameters (8, n) up to 25 % from those of model S."""
    return S[:, None] * jnp.asarray(np.random.default_rng(seed).uniform(0.75, 1.25, (8, n)))


def template_and_slopes(backend: str, sky: BarSky, points: jax.Array) -> list[np.ndarray]:
    flat = jnp.stack([jnp.deg2rad(points[0]), *jnp.log(points[1:4]), *points[4:]], axis=-1)
    return [np.asarray(part) for part in jax.jit(lambda p: op._template_and_derivatives(backend, sky, p))(flat)]


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("frame", FRAMES, ids=["flat", "tilted"])
@pytest.mark.parametrize(
    ("falloff", "pixels", "particles"),
    [("sech2", 1, 1), ("exponential", 33, 9), ("gaussian", 90, 2), ("bessel_k0", 40, 3)],
)
def test_agrees_with_numba(falloff: str, pixels: int, particles: int, frame: dict[str, float]) -> None:
    sky, points = _prepared(sky_of(pixels, falloff=falloff, **frame)), bars(particles)
    found, expected = (template_and_slopes(backend, sky, points) for backend in ("cuda", "numba"))
    for one, other in zip(found, expected, strict=True):
        assert np.abs(other).max() > 0.0
        # derivatives are moments of either sign: judged by their size at all pixels of the particle
        np.testing.assert_allclose(one, other, rtol=1e-10, atol=1e-12 * np.abs(other).max())


@pytest.mark.usefixtures("cupy")
def test_each_line_is_integrated_along_where_the_cpu_would_interpolate() -> None:
    rng = np.random.default_rng(4)
    sky = BarSky.build(rng.uniform(-25.0, 25.0, 2500), rng.uniform(2.0, 20.0, 2500))
    assert sky.grid is not None
    some = slice(None, None, 50)
    found = np.asarray(triaxial_bar(*S, sky, backend="cuda"))[some]
    np.testing.assert_allclose(found, triaxial_bar(*S, dataclasses.replace(sky, grid=None))[some], rtol=1e-10)


def test_through_jit_and_vmap_without_a_copy(cupy: Any) -> None:
    sky, points = sky_of(40), bars(4)

    @jax.jit
    def step(points: jax.Array) -> Any:
        return jax.vmap(jax.value_and_grad(lambda p: triaxial_bar(*p, sky, backend="cuda").sum()), 1)(points)

    compiled = step.lower(points).compile()
    copied = cupy.copies
    assert copied == 6  # the geometry, once
    value, slopes = jax.block_until_ready(compiled(points))
    assert cupy.copies == copied
    (launch,) = cupy.launches
    assert launch.arguments["points"] == (4, 8)
    assert launch.arguments["value"] == (4, 40)
    assert launch.arguments["derivatives"] == (4, 8, 40)
    assert launch.blocks == min(4 * sky.lon_rad.size, cuda.PER_PROCESSOR * 3)
    assert launch.threads == cuda.TEAM
    expected = jax.vmap(jax.value_and_grad(lambda p: triaxial_bar(*p, sky, backend="numba").sum()), 1)(points)
    np.testing.assert_allclose(value, expected[0], rtol=1e-10)
    np.testing.assert_allclose(slopes, expected[1], rtol=1e-9, atol=1e-9)
    assert "@xla_buffer_python_gpu_callback_cmd_buffer" in step.trace(points).lower(
        lowering_platforms=("cuda",)).as_text()  # fmt: skip


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("which", [0, 4, 7])
def test_outside_its_domain_is_nan(which: int) -> None:
    bad = jnp.stack([S, S.at[which].set(jnp.nan), S.at[7].set(0.0)], axis=1)
    template, slopes = template_and_slopes("cuda", _prepared(sky_of(5)), bad)
    assert np.isfinite(template[0]).all()
    assert np.isfinite(slopes[0]).all()
    assert np.isnan(template[1:]).all()
    assert np.isnan(slopes[1:]).all()


def _prepared(sky: BarSky) -> BarSky:
    op.callbacks.prepare(op.cuda.prepare, sky)
    return sky


def test_any_grid_and_order_of_threads_gives_the_same_bits(cupy: Any) -> None:
    """A race, a missing barrier, or work that depends on the number of blocks would show."""
    sky, points = _prepared(sky_of(100, **FRAMES[1])), bars(5).at[7, 2].set(0.0)  # one outside its domain
    lines, runs = 5 * sky.lon_rad.size, []
    for multiprocessors, falling in ((1, False), (1, True), (7, False), (132, True)):
        gpu._multiprocessors.cache_clear()
        cupy.cuda.Device.multiprocessors, cupy.falling = multiprocessors, falling
        runs.append(template_and_slopes("cuda", sky, points))
        assert cupy.launches[-1].blocks == min(lines, cuda.PER_PROCESSOR * multiprocessors)
    for run in runs[1:]:
        for one, other in zip(run, runs[0], strict=True):
            np.testing.assert_array_equal(one, other)


def test_one_point_reaches_every_multiprocessor(cupy: Any) -> None:
    """The lines of a map of 137 pixels lie on more of them than the largest GPU has."""
    gpu._multiprocessors.cache_clear()
    cupy.cuda.Device.multiprocessors = 132
    sky = sky_of(137, pitch_deg=1.0)
    triaxial_bar(*S, sky, backend="cuda").block_until_ready()
    assert cupy.launches[-1].blocks == sky.lon_rad.size > 132
