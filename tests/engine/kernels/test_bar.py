"""What the bar promises to JAX and to callers: shapes, transformations, threads, symmetry, bad input."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.bar import op
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar
from gammasky.engine.kernels.bar.quadrature import LANES

RNG = np.random.default_rng(17)
LON, LAT = RNG.uniform(-25, 25, 40), RNG.uniform(2, 20, 40) * RNG.choice([-1, 1], 40)
BACKENDS = ["numba", "reference"]
S = jnp.array(list(FREUDENREICH_S.values()))
NAMES = list(FREUDENREICH_S)


@pytest.fixture(scope="module")
def sky() -> BarSky:
    return BarSky.build(LON, LAT)


def points(n: int, seed: int = 0) -> jax.Array:
    """Parameters (n, 8) up to 20 % from those of model S."""
    return S * jnp.asarray(np.random.default_rng(seed).uniform(0.8, 1.2, (n, 8)))


def test_leading_axes_broadcast(sky: BarSky) -> None:
    angles, lengths = jnp.linspace(10.0, 40.0, 3)[:, None], jnp.array([1.0, 2.0])
    both = [triaxial_bar(angles, lengths, *S[2:], sky, backend=backend) for backend in BACKENDS]
    assert [template.shape for template in both] == [(3, 2, 40)] * 2
    np.testing.assert_allclose(*both, rtol=1e-7)
    np.testing.assert_array_equal(both[0][2, 1], triaxial_bar(40.0, 2.0, *S[2:], sky))
    assert triaxial_bar(jnp.zeros((0,)), *S[1:], sky).shape == (0, 40)


@pytest.mark.parametrize("axis", [0, 1])
def test_vmap_equals_a_loop(sky: BarSky, axis: int) -> None:
    @jax.jit
    def value_and_derivatives(angle: jax.Array, others: jax.Array) -> Any:
        template, pull = jax.vjp(lambda *p: triaxial_bar(*p, sky), angle, *others)
        return template, pull(jnp.ones_like(template))

    many = points(3)
    found = jax.vmap(value_and_derivatives, (0, axis))(many[:, 0], jnp.moveaxis(many[:, 1:], 0, axis))
    shared = jax.vmap(value_and_derivatives, (0, None))(many[:, 0], S[1:])
    for i in range(3):
        for mapped, others in ((found, many[i, 1:]), (shared, S[1:])):
            alone = value_and_derivatives(many[i, 0], others)
            jax.tree.map(lambda a, b, i=i: np.testing.assert_allclose(a[i], b, rtol=1e-12), mapped, alone)


def test_gradient_inside_a_scan(sky: BarSky) -> None:
    """The angle of a sky is found from a start 4 degrees away."""
    target = triaxial_bar(*S, sky)

    def loss(angle: jax.Array) -> jax.Array:
        return jnp.mean((triaxial_bar(angle, *S[1:], sky) / target - 1.0) ** 2)

    def step(angle: jax.Array, _: None) -> tuple[jax.Array, jax.Array]:
        value, slope = jax.value_and_grad(loss)(angle)
        return angle - 120.0 * slope, value

    last, losses = jax.jit(lambda a: jax.lax.scan(step, a, None, length=80))(S[0] + 4.0)
    assert abs(float(last) - float(S[0])) < 1e-6
    assert np.all(np.diff(losses) <= 1e-16)


def test_both_sides_of_the_plane_are_equal_unless_the_sun_is_above_it() -> None:
    lon, lat = np.array([12.0, 12.0, 372.0, -12.0]), np.array([5.0, -5.0, 5.0, 5.0])
    sky = BarSky.build(lon, lat)
    assert sky.lon_rad.size == 2
    template = np.asarray(triaxial_bar(*S, sky))
    assert np.unique(template[:3]).size == 1
    assert template[0] > 1.1 * template[3]  # the near end, at positive longitude
    lifted = np.asarray(triaxial_bar(*S, BarSky.build(lon, lat, sun_height_kpc=0.016)))
    assert lifted[1] > 1.01 * lifted[0]
    tilted = np.asarray(triaxial_bar(*S, BarSky.build(lon, lat, pitch_deg=1.0)))
    assert tilted[0] > 1.05 * tilted[1]  # the near end is above the plane


def big_call() -> Any:
    """Value and derivatives on enough pixels for several tasks."""
    rng = np.random.default_rng(2)
    sky = BarSky.build(*rng.uniform(2, 25, (2, 3 * LANES * op.CHUNK + 5)))

    @jax.jit
    def call(many: jax.Array) -> Any:
        template, pull = jax.vjp(jax.vmap(lambda p: triaxial_bar(*p, sky)), many)
        return template, pull(jnp.ones_like(template))

    return lambda: jax.tree.map(np.asarray, call(points(2)))


def test_threads_do_not_change_a_bit(monkeypatch: pytest.MonkeyPatch) -> None:
    call = big_call()
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    alone = call()
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "3")
    jax.tree.map(np.testing.assert_array_equal, alone, call())
    with ThreadPoolExecutor(4) as pool:
        for result in [future.result() for future in [pool.submit(call) for _ in range(4)]]:
            jax.tree.map(np.testing.assert_array_equal, alone, result)


@pytest.mark.parametrize(
    ("backend", "which", "bad"),
    [
        ("numba", *case)
        for case in ((0, np.nan), (1, 0.0), (2, -1.0), (3, np.inf), (4, 0.0), (5, -2.0), (6, -1.0), (7, 0.0))
    ]
    + [pytest.param("reference", *case, marks=pytest.mark.slow) for case in ((7, 0.0), (0, np.nan))],
)
def test_outside_its_domain_is_nan(backend: str, which: int, bad: float) -> None:
    sky = BarSky.build(LON[:3], LAT[:3])

    @jax.jit
    def value_and_gradient(points: jax.Array) -> Any:
        template, pull = jax.vjp(lambda p: triaxial_bar(*p, sky, backend=backend), points)
        return template, *pull(jnp.ones_like(template))

    template, gradient = value_and_gradient(jnp.stack([S, S.at[which].set(bad)]).T)
    assert np.isfinite(template[0]).all()
    assert np.isnan(template[1]).all()
    assert np.isfinite(gradient[:, 0]).all()
    assert np.isnan(gradient[which, 1])


def test_forward_mode_and_second_order_raise(sky: BarSky) -> None:
    def total(angle: jax.Array) -> jax.Array:
        return triaxial_bar(angle, *S[1:], sky).sum()

    with pytest.raises(TypeError, match=r"triaxial_bar: forward mode .* is not available; take second"):
        jax.jvp(total, (14.0,), (1.0,))
    with pytest.raises(TypeError, match=r"triaxial_bar: second derivatives are not available; .* central differences"):
        jax.grad(jax.grad(total))(14.0)


def test_single_precision_unknown_backend_and_falloff_are_refused(sky: BarSky) -> None:
    with pytest.raises(TypeError, match="triaxial_bar: 'x_kpc' must be float64, got float32"):
        triaxial_bar(14.0, jnp.asarray(1.0, jnp.float32), *S[2:], sky)
    with pytest.raises(InputError, match="unknown backend 'nunba'; did you mean 'numba'"):
        triaxial_bar(*S, sky, backend="nunba")
    with pytest.raises(InputError, match="unknown falloff of a bar 'sech'; did you mean 'sech2'"):
        BarSky.build(LON, LAT, falloff="sech")


@pytest.mark.parametrize(
    ("lon", "lat", "options", "message"),
    [
        ([1.0, 2.0], [3.0], {}, r"BarSky: .*equal length .* got shapes \(2,\) and \(1,\)"),
        ([1.0], [95.0], {}, r"pixel 0 .* lat_deg=95.0"),
        ([1.0], [3.0], {"sun_kpc": 0.0}, "sun_kpc must be positive and finite, got 0.0"),
        ([1.0], [3.0], {"pitch_deg": np.nan}, "expected a finite height and pitch, got 0.0 kpc and nan deg"),
    ],
)
def test_geometry_that_cannot_be_used(lon: list[float], lat: list[float], options: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        BarSky.build(lon, lat, **options)
