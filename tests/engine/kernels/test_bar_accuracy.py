"""The bar against adaptive quadrature of the density as papers write it, and its derivatives entry by entry."""

from __future__ import annotations

from itertools import pairwise

import jax
import jax.numpy as jnp
import mpmath
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import k0, k0e, k1e

from gammasky.engine.kernels import elementary
from gammasky.engine.kernels.bar import falloff
from gammasky.engine.kernels.bar.geometry import BarSky
from gammasky.engine.kernels.bar.op import FREUDENREICH_S, triaxial_bar

SUN = 8.2
DIRECTIONS = [
    (0.0, 2.0), (0.2, 2.3), (-1.0, 2.0), (5.0, -2.0), (15.0, 10.0), (-15.0, 10.0), (23.0, 2.5), (-22.8, 3.0),
    (3.0, 24.5), (0.0, 20.0), (60.0, 5.0), (150.0, 10.0),
]  # fmt: skip
LON, LAT = np.array(DIRECTIONS).T
S = np.array(list(FREUDENREICH_S.values()))
CAO = np.array([29.4, 0.67, 0.29, 0.27, 2.0, 4.0, 4.0, 0.8])  # lengths of E3 in Cao et al. 2013, some cut-off
THIN = np.array([40.0, 1.0, 0.25, 0.2, 1.4, 5.0, 3.5, 0.3])
BROAD = np.array([25.0, 3.0, 1.5, 0.8, 2.5, 3.0, 5.0, 1.5])
FRAMES = [{}, {"sun_height_kpc": 0.02, "pitch_deg": 1.5}]
SHAPES = {
    "sech2": lambda r: 1.0 / np.cosh(r) ** 2,
    "exponential": lambda r: np.exp(-r),
    "gaussian": lambda r: np.exp(-0.5 * r * r),
    "bessel_k0": k0,
}


def density(s: float, lon: float, lat: float, point: np.ndarray, falloff: str, height: float, pitch: float) -> float:
    """The density at distance s, rotation by rotation."""
    angle, a, b, c, perp, par, begin, width = point
    l, t, phi, tilt = np.radians([lon, lat, angle, pitch])  # noqa: E741
    from_centre = np.array([SUN - s * np.cos(t) * np.cos(l), s * np.cos(t) * np.sin(l), s * np.sin(t) + height])
    turn = np.array([[np.cos(phi), np.sin(phi), 0], [-np.sin(phi), np.cos(phi), 0], [0, 0, 1]])
    lift = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    x, y, z = np.abs(lift @ turn @ from_centre) / [a, b, c]
    radius = ((x**perp + y**perp) ** (par / perp) + z**par) ** (1 / par)
    excess = max(np.hypot(*from_centre[:2]) - begin, 0.0) / width
    return SHAPES[falloff](radius) * np.exp(-(excess**2))


def by_quad(
    lon: float, lat: float, point: np.ndarray, falloff: str, sun_height_kpc: float = 0.0, pitch_deg: float = 0.0
) -> float:
    """Adaptive quadrature between points that crowd around the centre."""
    near = SUN * np.cos(np.radians(lon)) / np.cos(np.radians(lat))
    around = np.concatenate([[0.0], 4.0 ** -np.arange(-1, 6)])
    edges = np.unique(np.clip([0.0, *(near - around), *(near + around), 30.0], 0.0, 30.0))
    arguments = (lon, lat, point, falloff, sun_height_kpc, pitch_deg)
    return sum(quad(density, *ends, args=arguments, epsabs=0, epsrel=1e-10, limit=400)[0] for ends in pairwise(edges))


@pytest.mark.parametrize("frame", FRAMES, ids=["flat", "tilted"])
@pytest.mark.parametrize(
    ("point", "falloff"), [(S, "sech2"), (CAO, "bessel_k0"), (CAO, "exponential"), (BROAD, "gaussian")]
)
def test_agrees_with_quad(point: np.ndarray, falloff: str, frame: dict[str, float]) -> None:
    directions = [entry for entry in DIRECTIONS if abs(entry[0]) < 25]
    expected = [by_quad(*entry, point, falloff, **frame) for entry in directions]
    sky = BarSky.build(*np.array(directions).T, falloff=falloff, sun_kpc=SUN, **frame)
    np.testing.assert_allclose(triaxial_bar(*point, sky), expected, rtol=2e-8)


def test_a_round_gaussian_without_cut_in_closed_form() -> None:
    """int exp(-r^2 / 2 a^2) ds = sqrt(2 pi) a exp(-p^2 / 2 a^2) at impact parameter p."""
    sky = BarSky.build(LON[:10], LAT[:10], falloff="gaussian", sun_kpc=SUN)
    cosine = np.cos(np.radians(LON[:10])) * np.cos(np.radians(LAT[:10]))
    impact = SUN * np.sqrt(1.0 - cosine**2)
    found = triaxial_bar(20.0, 0.5, 0.5, 0.5, 2.0, 2.0, 6.0, 1.0, sky)
    np.testing.assert_allclose(found, np.sqrt(2 * np.pi) * 0.5 * np.exp(-2.0 * impact**2), rtol=1e-9)


@pytest.mark.slow
@pytest.mark.parametrize(
    ("falloff", "frame"),
    [
        ("sech2", FRAMES[0]),
        ("sech2", FRAMES[1]),
        ("bessel_k0", FRAMES[1]),
        ("exponential", FRAMES[0]),
        ("gaussian", FRAMES[1]),
    ],
)
def test_derivatives_agree_with_autodiff_of_the_reference(falloff: str, frame: dict[str, float]) -> None:
    """Each entry, pixel by pixel: forward mode through powers, against moments of logarithms."""
    lon, lat = LON[[1, 3, 4, 6]], LAT[[1, 3, 4, 6]]
    sky = BarSky.build(lon, lat, falloff=falloff, sun_kpc=SUN, **frame)
    point = jnp.array(S)
    kernel, reference = (lambda p, k=k: triaxial_bar(*p, sky, backend=k) for k in ("numba", "reference"))
    size = np.asarray(kernel(point))[:, None]
    first = np.asarray(jax.jacrev(kernel)(point))
    slope = np.asarray(jax.jit(jax.jacfwd(reference))(point))
    np.testing.assert_allclose(first, slope, rtol=1e-8, atol=1e-8 * size.max())


@pytest.mark.parametrize("which", range(8))
@pytest.mark.parametrize("point", [S, CAO, BROAD], ids=["S", "Cao", "broad"])
def test_derivative_per_pixel_by_differences(which: int, point: np.ndarray) -> None:
    sky = BarSky.build(LON, LAT, sun_kpc=SUN)
    found = np.asarray(jax.jacrev(lambda p: triaxial_bar(*p, sky))(jnp.array(point)))[:, which]
    step = 2e-3 * point[which]
    moved = [triaxial_bar(*(point + k * step * (np.arange(8) == which)), sky) for k in (-3, -2, -1, 1, 2, 3)]
    expected = np.tensordot([-1, 9, -45, 45, -9, 1], np.array(moved), 1) / (60 * step)
    np.testing.assert_allclose(found, expected, rtol=1e-7, atol=3e-8 * np.abs(triaxial_bar(*point, sky)).max())


def test_thin_and_sharp_bars_are_resolved() -> None:
    """Exponents near 1, thin axes: the worst of the priors; nodes are as many as for the others."""
    rng = np.random.default_rng(3)
    lon, lat = rng.uniform(-25, 25, 60), rng.uniform(2, 25, 60)
    sky = BarSky.build(lon, lat)
    both = [np.asarray(triaxial_bar(*THIN, sky, backend=backend)) for backend in ("numba", "reference")]
    np.testing.assert_allclose(*both, rtol=1e-6)
    np.testing.assert_allclose(both[0].sum(), both[1].sum(), rtol=1e-8)


def test_logarithm_is_good_to_two_units_in_the_last_place() -> None:
    rng = np.random.default_rng(5)
    points = np.concatenate([np.exp(rng.uniform(-660, 700, 1000)), 1.0 + rng.uniform(-1e-3, 1e-3, 200), [1.0, 0.5]])
    with mpmath.workdps(40):
        exact = np.array([float(mpmath.log(mpmath.mpf(float(x)))) for x in points])
    found = np.array([elementary.logarithm(x) for x in points])
    assert np.abs((found - exact) / np.spacing(np.maximum(np.abs(exact), 1e-300))).max() <= 2.0


def test_bessel_functions() -> None:
    radii = np.concatenate([np.geomspace(1e-8, 2.0, 200), np.geomspace(2.0, 300.0, 200)])
    found = np.array([falloff._bessel(r, np.log(r)) for r in radii])
    np.testing.assert_allclose(found, np.stack([k0e(radii), k1e(radii)], axis=1), rtol=2e-14)
