"""What the profile operations promise to JAX and to callers: shapes, transformations, threads, symmetry, bad input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.profiles import geometry, op
from gammasky.engine.kernels.profiles.geometry import LANES, DiskSky, NFWSky, Normalisation
from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared

RNG = np.random.default_rng(11)
LON, LAT = RNG.uniform(-25, 25, 70), RNG.uniform(2, 20, 70) * RNG.choice([-1, 1], 70)
BACKENDS = ["numba", "reference"]


@pytest.fixture(scope="module")
def nfw() -> NFWSky:
    return NFWSky.build(LON, LAT)


@pytest.fixture(scope="module")
def disk() -> DiskSky:
    return DiskSky.build(LON, LAT)


def point(*values: float) -> tuple[jax.Array, ...]:
    return tuple(jnp.asarray(value) for value in values)


def test_leading_axes_broadcast(nfw: NFWSky, disk: DiskSky, backend: str) -> None:
    gammas = jnp.linspace(0.2, 2.0, 6).reshape(2, 3)
    many = nfw_squared(gammas, nfw, backend=backend)
    assert many.shape == (2, 3, 70)
    np.testing.assert_allclose(many[1, 2], nfw_squared(float(gammas[1, 2]), nfw, backend=backend), rtol=1e-13)
    heights, shapes = jnp.array([0.2, 0.9]), jnp.array([[1.0], [4.0], [7.0]])
    many = lorimer_disk(heights, shapes, 0.5, disk, backend=backend)
    assert many.shape == (3, 2, 70)
    np.testing.assert_allclose(many[2, 1], lorimer_disk(0.9, 7.0, 0.5, disk, backend=backend), rtol=1e-13)
    assert nfw_squared(jnp.zeros((0,)), nfw, backend=backend).shape == (0, 70)


def test_over_the_mean_and_in_the_first_pixels(nfw: NFWSky, disk: DiskSky, backend: str) -> None:
    weight, cotangent = np.where(np.arange(70) < 60, RNG.uniform(0.5, 2.0, 70), 0.0), RNG.normal(size=50)
    points = (nfw_squared, nfw, point(1.3)), (lorimer_disk, disk, point(0.4, 3.0, 0.5))
    for function, sky, parameters in points:
        over = Normalisation.of(sky, 50, weight)

        def whole(times: Any, *given: Any, function: Any = function, sky: Any = sky) -> jax.Array:
            values = function(*given, sky, backend="numba")
            return times * values[:50] / jnp.sum(weight * values)

        def normalised(
            times: Any, *given: Any, function: Any = function, sky: Any = sky, over: Any = over
        ) -> jax.Array:
            return function(*given, sky, over=over, times=times, backend=backend)

        found, expected = (jax.vjp(f, jnp.asarray(0.7), *parameters) for f in (normalised, whole))
        # the reference integrates in its own way
        rtol = 1e-6 if backend == "reference" else 1e-11
        np.testing.assert_allclose(found[0], expected[0], rtol=rtol)
        for one, other in zip(found[1](jnp.asarray(cotangent)), expected[1](jnp.asarray(cotangent)), strict=True):
            np.testing.assert_allclose(one, other, rtol=rtol)


def test_gradient_through_broadcasting(disk: DiskSky) -> None:
    heights, weights = jnp.array([0.2, 0.9]), jnp.asarray(RNG.normal(size=(2, 70)))

    def total(heights: jax.Array, C: jax.Array, backend: str) -> jax.Array:
        return jnp.sum(weights * lorimer_disk(heights, C, 0.0, disk, backend=backend))

    for which in (0, 1):
        found, expected = (jax.grad(total, which)(heights, jnp.asarray(3.0), backend) for backend in BACKENDS)
        assert found.shape == ((2,) if which == 0 else ())
        np.testing.assert_allclose(found, expected, rtol=1e-9)


@pytest.mark.parametrize("in_axes", [(0, 0, 0), (0, None, None), (None, 1, None), (1, 0, None)])
def test_vmap_equals_a_loop(disk: DiskSky, in_axes: tuple[int | None, ...]) -> None:
    full = [RNG.uniform(0.2, 2.0, (4, 3)), RNG.uniform(0.5, 6.0, (4, 3)), RNG.uniform(0.0, 2.0, (4, 3))]
    mapped = [
        jnp.asarray(np.moveaxis(v, 0, axis) if axis is not None else v[0])
        for v, axis in zip(full, in_axes, strict=True)
    ]

    def value_and_derivatives(*parameters: jax.Array) -> Any:
        template, pull = jax.vjp(lambda *p: lorimer_disk(*p, disk), *parameters)
        return template, pull(jnp.ones_like(template))

    found = jax.vmap(value_and_derivatives, in_axes=in_axes)(*mapped)
    for i in range(4):
        one = [v if axis is None else jnp.take(v, i, axis) for v, axis in zip(mapped, in_axes, strict=True)]
        jax.tree.map(lambda a, b, i=i: np.testing.assert_array_equal(a[i], b), found, value_and_derivatives(*one))


def test_nested_vmap_moved_output_and_jit(nfw: NFWSky) -> None:
    gammas = jnp.linspace(0.1, 2.0, 12).reshape(3, 4)
    expected = np.stack([[nfw_squared(float(g), nfw) for g in row] for row in np.asarray(gammas)])
    nested = jax.jit(jax.vmap(jax.vmap(lambda g: nfw_squared(g, nfw)), in_axes=1, out_axes=2))(gammas)
    np.testing.assert_array_equal(np.transpose(nested, (0, 2, 1)), expected)


def test_gradient_inside_a_scan(nfw: NFWSky) -> None:
    target = nfw_squared(1.2, nfw)

    def loss(gamma: jax.Array) -> jax.Array:
        return jnp.mean((nfw_squared(gamma, nfw) / target - 1.0) ** 2)

    def step(gamma: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        value, slope = jax.value_and_grad(loss)(gamma)
        return gamma - 0.05 * slope, value

    last, losses = jax.jit(lambda g: jax.lax.scan(step, g, None, length=60))(jnp.asarray(1.0))
    assert abs(float(last) - 1.2) < 1e-5
    assert np.all(np.diff(losses) <= 0)


def test_pixels_that_mirror_each_other_are_equal() -> None:
    lon, lat = np.array([12.0, -12.0, 348.0, 372.0]), np.array([5.0, -5.0, 5.0, -5.0])
    assert np.unique(nfw_squared(1.1, NFWSky.build(lon, lat))).size == 1
    sky = DiskSky.build(lon, lat)
    assert sky.lon_rad.size == 1
    assert np.unique(lorimer_disk(0.5, 2.0, 0.3, sky)).size == 1


def test_pixel_order_does_not_matter(disk: DiskSky) -> None:
    shuffle = RNG.permutation(LON.size)
    again = DiskSky.build(LON[shuffle], LAT[shuffle])
    np.testing.assert_allclose(
        lorimer_disk(0.4, 3.0, 0.2, again), np.asarray(lorimer_disk(0.4, 3.0, 0.2, disk))[shuffle], rtol=1e-13
    )


def big_call() -> Any:
    """Value and derivatives of both operations on enough pixels for several tasks each."""
    rng = np.random.default_rng(2)
    lon, lat = rng.uniform(-180, 180, 9000), rng.uniform(2, 60, 9000)
    nfw, disk = (
        NFWSky.build(lon, lat),
        DiskSky.build(lon[: 20 * LANES * op.DISK_CHUNK // 4], lat[: 20 * LANES * op.DISK_CHUNK // 4]),
    )

    @jax.jit
    def both(gamma: jax.Array, heights: jax.Array) -> Any:
        first, pull_first = jax.vjp(lambda g: nfw_squared(g, nfw), gamma)
        second, pull_second = jax.vjp(lambda z: lorimer_disk(z, 2.0, 0.5, disk), heights)
        return first, pull_first(first), second, pull_second(second)

    return lambda: jax.tree.map(np.asarray, both(jnp.array([0.5, 1.5]), jnp.array([0.2, 1.4])))


def test_thread_count_does_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    call = big_call()
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    alone = call()
    for count in ("2", "5"):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", count)
        jax.tree.map(np.testing.assert_array_equal, alone, call())


def test_concurrent_callers_agree() -> None:
    call = big_call()
    alone = call()
    with ThreadPoolExecutor(8) as pool:
        for result in [future.result() for future in [pool.submit(call) for _ in range(16)]]:
            jax.tree.map(np.testing.assert_array_equal, alone, result)


@pytest.mark.parametrize(
    "bad",
    [
        (0.0, 1.0, 0.0),
        (-0.3, 1.0, 0.0),
        (np.nan, 1.0, 0.0),
        (np.inf, 1.0, 0.0),
        (0.3, np.nan, 0.0),
        (0.3, 1.0, -np.inf),
    ],
)
def test_disk_outside_its_domain_is_nan(disk: DiskSky, backend: str, bad: tuple[float, ...]) -> None:
    template, pull = jax.vjp(lambda *p: lorimer_disk(*p, disk, backend=backend), *point(*bad))
    assert np.isnan(template).all()
    assert np.isnan(jnp.stack(pull(jnp.ones_like(template)))).all()


@pytest.mark.parametrize("bad", [np.nan, np.inf, -np.inf])
def test_nfw_outside_its_domain_is_nan(nfw: NFWSky, backend: str, bad: float) -> None:
    template, pull = jax.vjp(lambda g: nfw_squared(g, nfw, backend=backend), jnp.asarray([1.0, bad]))
    assert np.isfinite(template[0]).all()
    assert np.isnan(template[1]).all()
    (gradient,) = pull(jnp.ones_like(template))
    assert np.isfinite(gradient[0])
    assert np.isnan(gradient[1])


def test_forward_mode_and_second_order_raise(nfw: NFWSky, disk: DiskSky) -> None:
    with pytest.raises(TypeError, match=r"nfw_squared: forward mode .* is not available; take second derivatives"):
        jax.jvp(lambda g: nfw_squared(g, nfw), (1.0,), (1.0,))
    with pytest.raises(TypeError, match=r"lorimer_disk: second derivatives are not available; .* backend='reference'"):
        jax.jit(jax.hessian(lambda z: lorimer_disk(z, 1.0, 0.0, disk).sum()))(0.3)
    with pytest.raises(TypeError, match=r"nfw_squared: second derivatives are not available; .* central differences"):
        jax.grad(jax.grad(lambda g: nfw_squared(g, nfw).sum()))(1.0)


def test_reference_has_forward_mode_and_second_order(nfw: NFWSky) -> None:
    def total(gamma: jax.Array) -> jax.Array:
        return jnp.log(nfw_squared(gamma, nfw, backend="reference")).sum()

    slope = jax.grad(total)
    np.testing.assert_allclose(jax.jvp(total, (1.0,), (1.0,))[1], slope(1.0), rtol=1e-12)
    np.testing.assert_allclose(jax.grad(slope)(1.0), (slope(1.001) - slope(0.999)) / 0.002, rtol=1e-6)


def test_single_precision_and_whole_numbers_are_refused(nfw: NFWSky, disk: DiskSky) -> None:
    with pytest.raises(TypeError, match="nfw_squared: 'gamma' must be float64, got float32"):
        nfw_squared(jnp.asarray(1.0, jnp.float32), nfw)
    with pytest.raises(TypeError, match="lorimer_disk: 'C' must be float64, got int64"):
        lorimer_disk(0.3, np.array([1, 2]), 0.0, disk)
    with pytest.raises(TypeError, match="lorimer_disk: 'B' must be float64, got float32"):
        lorimer_disk(0.3, 1.0, np.float32(0.0), disk, backend="reference")
    np.testing.assert_array_equal(nfw_squared(1, nfw), nfw_squared(1.0, nfw))


def test_unknown_backend(nfw: NFWSky, disk: DiskSky) -> None:
    with pytest.raises(InputError, match="unknown backend 'nunba'; did you mean 'numba'"):
        nfw_squared(1.0, nfw, backend="nunba")
    with pytest.raises(InputError, match="unknown backend 'cupid'"):
        lorimer_disk(0.3, 1.0, 0.0, disk, backend="cupid")


@pytest.mark.parametrize("sky", [NFWSky, DiskSky])
@pytest.mark.parametrize(
    ("lon", "lat", "options", "message"),
    [
        ([1.0, 2.0], [3.0], {}, r"equal length .* got shapes \(2,\) and \(1,\)"),
        ([], [], {}, "at least one pixel"),
        ([1.0, np.nan], [3.0, 4.0], {}, "pixel 1 must have a finite longitude"),
        ([1.0, 2.0], [3.0, 95.0], {}, r"pixel 1 .* lat_deg=95.0"),
        ([1.0], [3.0], {"sun_kpc": 0.0}, "sun_kpc must be positive and finite, got 0.0"),
        ([1.0], [3.0], {"max_distance_kpc": np.inf}, "max_distance_kpc must be positive and finite, got inf"),
    ],
)
def test_geometry_that_cannot_be_used(sky: Any, lon: list[float], lat: list[float], options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        sky.build(lon, lat, **options)


def test_a_pixel_on_the_galactic_centre() -> None:
    with pytest.raises(InputError, match=r"pixel 1 must be at least 0\.001 deg from the Galactic Centre, got 0 deg"):
        NFWSky.build([1.0, 0.0], [3.0, 0.0])
    assert np.isfinite(lorimer_disk(0.3, 2.0, 0.0, DiskSky.build([0.0], [0.0]))).all()


def test_interpolation_that_is_not_accurate_enough_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(geometry, "NODE_COUNTS", (8,))
    with pytest.raises(InputError, match="8 angles do not resolve the profile"):
        NFWSky.build([0.1, 40.0, 179.0], [0.0, 0.0, 0.0])
