"""The two profiles against adaptive quadrature in distance (mpmath / SciPy), and their derivatives entry by entry."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import quad

from gammasky.engine.kernels import elementary
from gammasky.engine.kernels.profiles.geometry import DiskSky, NFWSky
from gammasky.engine.kernels.profiles.op import lorimer_disk, nfw_squared

SUN, SCALE, FAR = 8.224, 20.0, 100.0
PSI_DEG = (0.1, 0.37, 1.0, 2.0, 5.0, 25.0, 80.0, 90.0, 135.0, 179.0, 180.0)
DIRECTIONS = [
    *[
        (0.0, 1.0),
        (0.0, 20.0),
        (1e-4, 2.0),
        (0.2, 2.3),
        (-1.0, 1.0),
        (5.0, -2.0),
        (24.0, 3.0),
        (3.0, 24.5),
        (-17.0, -13.0),
    ],
    *[(60.0, 5.0), (90.0, 1.5), (89.9, 60.0), (120.0, -1.0), (180.0, 30.0), (40.0, 85.0), (0.5, 0.05), (30.0, 0.0)],
]
POINTS = [(0.1, 0.05, 0.0), (0.1, 8.0, 3.0), (0.3, 5.0, 0.0), (0.8, 2.5, 0.4), (2.5, 0.05, 3.0), (2.5, 8.0, 0.0)]


def nfw_by_mpmath(psi_deg: float, gamma: float, exact: bool = False) -> float:
    """int rho^2 ds in the distance itself, split ever finer around the closest approach."""
    psi, gamma = mpmath.radians(mpmath.mpf(psi_deg)), mpmath.mpf(gamma)
    closest, tangent = SUN * mpmath.sin(psi), SUN * mpmath.cos(psi)

    def density_squared(s: mpmath.mpf) -> mpmath.mpf:
        x = mpmath.sqrt((s - tangent) ** 2 + closest**2) / SCALE
        return (x**-gamma * (1 + x) ** (gamma - 3)) ** 2

    steps = [closest * 4**k for k in range(12)] if psi_deg < 90 else []
    edges = [tangent] + [tangent - h for h in steps] + [tangent + h for h in steps]
    inside = sorted({e for e in edges if 0 < e < FAR})
    integral = mpmath.quad(density_squared, [0, *inside, FAR])
    return integral if exact else float(integral)


def disk_by_quad(lon: float, lat: float, zs: float, C: float, B: float) -> float:
    """int rho ds in the distance itself, split from the Sun outwards and around the closest approach."""
    l, b = np.radians(lon), np.radians(lat)  # noqa: E741

    def density(s: float) -> float:
        ratio = np.hypot(s * np.cos(b) / SUN - np.cos(l), np.sin(l))
        z = s * np.sin(abs(b))
        return float(ratio**B * np.exp(-C * (ratio - 1.0) - z / zs))

    end, tangent = FAR / np.cos(b), SUN * np.cos(l) / np.cos(b)
    edges = np.concatenate(
        [end * 2.0 ** -np.arange(14), tangent - 4.0 ** -np.arange(-1, 9), tangent + 4.0 ** -np.arange(-1, 9)]
    )
    edges = np.unique(np.clip([0.0, tangent, *edges], 0.0, end))
    return sum(quad(density, a, z, epsabs=0, epsrel=1e-11)[0] for a, z in pairwise(edges))


@pytest.mark.parametrize("gamma", [0.0, 0.3, 0.5, 1.0, 1.25, 1.7, 2.0])
def test_nfw_agrees_with_mpmath(gamma: float) -> None:
    expected = [nfw_by_mpmath(psi, gamma) for psi in PSI_DEG]
    for pixels in (PSI_DEG, PSI_DEG[3:6]):  # the interpolation follows the range of the pixels
        sky = NFWSky.build(pixels, np.zeros(len(pixels)))
        found = nfw_squared(gamma, sky)
        start = PSI_DEG.index(pixels[0])
        np.testing.assert_allclose(found, expected[start : start + len(pixels)], rtol=1e-8)


@pytest.mark.parametrize("gamma", [0.0, 1.0, 2.0])
def test_nfw_very_near_the_centre(gamma: float) -> None:
    sky = NFWSky.build([0.001, 0.02], [0.0, 0.0])
    np.testing.assert_allclose(
        nfw_squared(gamma, sky), [nfw_by_mpmath(0.001, gamma), nfw_by_mpmath(0.02, gamma)], rtol=1e-8
    )


def test_nfw_of_one_pixel_and_of_other_lengths() -> None:
    sky = NFWSky.build([3.0], [4.0], sun_kpc=8.5, scale_radius_kpc=12.0, max_distance_kpc=30.0)
    cosine = np.cos(np.radians(3.0)) * np.cos(np.radians(4.0))

    def density_squared(s: float) -> float:
        x = np.sqrt(s * s + 8.5**2 - 2 * 8.5 * s * cosine) / 12.0
        return (x**-1.1 * (1 + x) ** (1.1 - 3.0)) ** 2

    expected = quad(density_squared, 0.0, 30.0, points=[8.0, 8.5 * cosine, 9.0], epsabs=0, epsrel=1e-12)[0]
    np.testing.assert_allclose(nfw_squared(1.1, sky), [expected], rtol=1e-10)


@pytest.mark.parametrize(("zs", "C", "B"), POINTS)
def test_disk_agrees_with_quad(zs: float, C: float, B: float) -> None:
    lon, lat = np.array(DIRECTIONS).T
    expected = [disk_by_quad(x, y, zs, C, B) for x, y in DIRECTIONS]
    np.testing.assert_allclose(lorimer_disk(zs, C, B, DiskSky.build(lon, lat)), expected, rtol=1e-7)


def test_disk_towards_the_pole_is_the_vertical_column() -> None:
    sky = DiskSky.build([0.0, 70.0], [90.0, -90.0])
    np.testing.assert_allclose(lorimer_disk(0.4, 3.0, 1.0, sky), [0.4, 0.4], rtol=1e-9)


def test_nfw_derivative_per_pixel(backend: str) -> None:
    sky = NFWSky.build(PSI_DEG, np.zeros(len(PSI_DEG)))
    for gamma in (0.2, 1.0, 1.9):
        found = jax.jacrev(lambda g: nfw_squared(g, sky, backend=backend))(jnp.asarray(gamma))
        step = 1e-3  # fourth-order stencil: error of order step^4
        rows = [np.asarray(nfw_squared(gamma + k * step, sky, backend=backend)) for k in (-2, -1, 1, 2)]
        np.testing.assert_allclose(found, (rows[0] - 8 * rows[1] + 8 * rows[2] - rows[3]) / (12 * step), rtol=1e-8)


@pytest.mark.parametrize("which", [0, 1, 2], ids=["scale_height", "C", "B"])
def test_disk_derivative_per_pixel(which: int) -> None:
    sky = DiskSky.build(*np.array(DIRECTIONS).T)
    for point in POINTS[1:5]:
        found = jax.jacrev(lorimer_disk, argnums=which)(*map(jnp.asarray, point), sky)
        step = 1e-3 * max(point[which], 0.1)

        def moved(k: int, point: tuple[float, ...] = point, step: float = step) -> np.ndarray:
            values = [value + k * step * (i == which) for i, value in enumerate(point)]
            return np.asarray(lorimer_disk(*values, sky))

        expected = (moved(-2) - 8 * moved(-1) + 8 * moved(1) - moved(2)) / (12 * step)
        template = np.asarray(lorimer_disk(*point, sky))
        np.testing.assert_allclose(found, expected, rtol=1e-7, atol=1e-8 * template.max())


def test_kernel_derivatives_agree_with_autodiff_of_the_reference() -> None:
    nfw, disk = NFWSky.build(PSI_DEG, np.ones(len(PSI_DEG))), DiskSky.build(*np.array(DIRECTIONS).T)
    for gamma in (0.0, 1.3, 2.0):
        both = [
            jax.jacrev(lambda g, k=k: nfw_squared(g, nfw, backend=k))(jnp.asarray(gamma))
            for k in ("numba", "reference")
        ]
        np.testing.assert_allclose(*both, rtol=1e-8)
    for point in POINTS:
        arguments = tuple(map(jnp.asarray, point))
        for which in range(3):
            both = [
                jax.jacrev(lambda *p, k=k: lorimer_disk(*p, disk, backend=k), argnums=which)(*arguments)
                for k in ("numba", "reference")
            ]
            np.testing.assert_allclose(*both, rtol=1e-6, atol=1e-12)


def test_exponential_is_good_to_two_units_in_the_last_place() -> None:
    rng = np.random.default_rng(5)
    points = np.concatenate(
        [rng.uniform(-707.9, 709.4, 2000), rng.uniform(-1e-3, 1e-3, 200), [0.0, -0.0, 0.34657359, 709.4]]
    )
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.exp(mpmath.mpf(float(x)))) for x in points])
    found = np.array([elementary.exponential(x) for x in points])
    assert np.abs((found - exact) / np.spacing(exact)).max() <= 2.0


def test_exponential_beyond_the_range_of_doubles() -> None:
    assert elementary.exponential(710.0) == np.inf
    assert elementary.exponential(np.inf) == np.inf
    assert elementary.exponential(-709.0) == 0.0
    assert elementary.exponential(-1e9) == 0.0
    assert elementary.exponential(-np.inf) == 0.0
    assert np.isnan(elementary.exponential(np.nan))
