"""The bar interpolated between the lines of sight of a grid, against integrals along those of the pixels."""

from __future__ import annotations

import dataclasses

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels.bar import grid, op
from gammasky.engine.kernels.bar.geometry import FALLOFFS, BarSky
from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar

S = np.array(list(FREUDENREICH_S.values()))
#: The priors of analyses/studies/morphology.toml: angle, length, two ratios, c_perp, c_par, cut_radius.
LOW = np.array([5.0, 0.6, 0.25, 0.2, 1.3, 1.5, 2.0])
HIGH = np.array([45.0, 2.5, 0.7, 0.5, 3.0, 5.0, 4.5])


def lattice(lowest: float = 2.0, end: float = 25.0) -> tuple[np.ndarray, np.ndarray]:
    """Pixels (N,) within `end` degrees of the centre and at least `lowest` from the plane, on both sides of it."""
    b = np.concatenate([np.arange(lowest, end, 0.5), -np.arange(lowest + 0.11, end, 0.5)])
    lon, lat = (values.ravel() for values in np.meshgrid(np.arange(-end, end + 0.1, 0.47), b))
    inside = np.hypot(lon, lat) <= end
    return lon[inside], lat[inside]


def bars(n: int, seed: int) -> jax.Array:
    """Parameters (8, n): drawn from the priors, every other one in a corner of them."""
    rng = np.random.default_rng(seed)
    share = rng.uniform(size=(n, 7))
    share[::2] = share[::2].round()
    angle, length, y, z, *rest = (LOW + (HIGH - LOW) * share).T
    return jnp.array([angle, length, length * y, length * z, *rest, np.full(n, S[7])])


def value_and_slopes(points: jax.Array, sky: BarSky) -> tuple[np.ndarray, np.ndarray]:
    """Templates (n, N) and their derivatives (n, 8, N)."""
    flat = jnp.stack([jnp.deg2rad(points[0]), *jnp.log(points[1:4]), *points[4:]], axis=-1)
    template, derivatives = jax.jit(lambda p: op._template_and_derivatives("numba", sky, p))(flat)
    return np.asarray(template), np.asarray(derivatives)


@pytest.fixture(scope="module")
def sky() -> BarSky:
    """Lines of sight in thousands."""
    sky = BarSky.build(*lattice())
    assert sky.grid is not None
    return sky


@pytest.mark.parametrize(
    ("falloff", "lowest"), [(name, 2.0) for name in FALLOFFS] + [("sech2", 0.0), ("bessel_k0", 0.1)]
)
def test_agrees_with_the_integral_in_each_pixel(falloff: str, lowest: float) -> None:
    lon, lat = lattice(lowest)
    rng = np.random.default_rng(3)
    some = np.flatnonzero((np.abs(lon) < 0.5) | (rng.uniform(size=lon.size) < 0.06))
    points = bars(16, seed=11)
    template, slopes = value_and_slopes(points, BarSky.build(lon, lat, falloff=falloff))
    direct = BarSky.build(lon[some], lat[some], falloff=falloff)
    assert direct.grid is None
    exact, exact_slopes = value_and_slopes(points, direct)
    size = exact + 0.01 * exact.mean(axis=1, keepdims=True)
    off = np.abs(template[:, some] - exact) / size
    assert 1e-9 < off.max() < 1.5e-3  # the lower bound: two different ways were taken
    assert np.quantile(off, 0.99) < 3e-5
    assert np.quantile(off, 0.999) < 3e-4
    np.testing.assert_allclose(template[:, some].sum(axis=1), exact.sum(axis=1), rtol=2e-4)
    off_slopes = np.abs(slopes[:, :, some] - exact_slopes) / size[:, None]
    assert np.quantile(off_slopes, 0.99) < 1e-4
    assert off_slopes.max() < 0.05  # by the angle in radians, in one pixel; d log B / d angle is up to 30


@pytest.mark.parametrize("radius", [0.0, 0.3, 3.4, 8.0, 20.0])
def test_any_cut_radius(radius: float, sky: BarSky) -> None:
    """The longitudes at which it shows lie near the centre, near the edge of the sky, outside, or nowhere."""
    point = jnp.array(S).at[6].set(radius)[:, None]
    found, _ = value_and_slopes(point, sky)
    exact, _ = value_and_slopes(point, dataclasses.replace(sky, grid=None))
    np.testing.assert_allclose(found, exact, rtol=1e-4, atol=1e-6 * exact.mean())


def test_polynomials_up_to_the_seventh_degree_are_exact() -> None:
    nodes, weight = np.arange(19.0), np.empty(grid.POINTS)
    for place in (0.0, 0.3, 2.0, 7.5, 11.99, 17.2, 18.0):
        first = grid.stencil(place, nodes.size, weight)
        assert 0 <= first <= nodes.size - grid.POINTS
        around = nodes[first : first + grid.POINTS]
        for degree in range(grid.POINTS):
            assert weight @ (around / 10) ** degree == pytest.approx((place / 10) ** degree, rel=1e-11, abs=1e-11)


@pytest.mark.parametrize("l_cut", [0.05, 0.2, 0.4])
def test_nodes_lie_where_pixels_look_for_them(l_cut: float) -> None:
    """A function with kinks at 0 and l_cut, smooth between, is met at its nodes and in the middle."""
    end = 0.4
    lon = np.array([grid.longitude(node, l_cut, end) for node in range(grid.LONGITUDES)])
    values = np.abs(lon) + np.maximum(np.abs(lon) - l_cut, 0.0) * np.sign(lon)
    weight = np.empty(grid.POINTS)
    for at in np.concatenate([lon[:: 5 if l_cut < end else 7], np.linspace(-end, end, 41)]):
        first, onward = grid.longitude_stencil(at, l_cut, end, weight)
        found = weight @ values[first + onward * np.arange(grid.POINTS)]
        assert found == pytest.approx(abs(at) + np.sign(at) * max(abs(at) - l_cut, 0.0), abs=1e-8)


def test_a_mapped_axis_equals_a_loop_and_threads_change_no_bit(sky: BarSky, monkeypatch: pytest.MonkeyPatch) -> None:
    points = bars(3, seed=5)
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    alone = [value_and_slopes(points[:, i : i + 1], sky) for i in range(3)]
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "3")
    template, slopes = value_and_slopes(points, sky)
    mapped = jax.vmap(lambda p: triaxial_bar(*p, sky), in_axes=1)(points)
    np.testing.assert_array_equal(template, np.concatenate([one[0] for one in alone]))
    np.testing.assert_array_equal(slopes, np.concatenate([one[1] for one in alone]))
    np.testing.assert_allclose(mapped, template, rtol=1e-12)  # angles in degrees, lengths


def test_outside_its_domain_is_nan(sky: BarSky) -> None:
    points = jnp.stack([jnp.array(S), jnp.array(S).at[6].set(jnp.nan), jnp.array(S).at[7].set(0.0)], axis=1)
    template, pull = jax.vjp(lambda p: triaxial_bar(*p, sky), points)
    assert np.isfinite(template[0]).all()
    assert np.isnan(template[1:]).all()
    (gradient,) = pull(jnp.ones_like(template))
    assert np.isfinite(gradient[:, 0]).all()
    assert np.isnan(gradient[6, 1])
    assert np.isnan(gradient[7, 2])


def test_no_grid_where_it_would_not_pay() -> None:
    lon, lat = lattice()
    assert BarSky.build(lon[::4], lat[::4]).grid is None  # more nodes than lines
    assert BarSky.build(lon, lat, sun_height_kpc=0.016).grid is None
    assert BarSky.build(lon, lat, pitch_deg=1.0).grid is None
    assert BarSky.build(2.0 * lon, lat).grid is None  # 50 degrees away
