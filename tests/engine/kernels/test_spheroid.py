"""Line-of-sight integrals of spheroids beside quadrature in space, and of round ones beside the kernel of spheres."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad

from gammasky.engine.errors import InputError
from gammasky.engine.kernels.profiles.geometry import NFWSky
from gammasky.engine.kernels.profiles.op import nfw_squared
from gammasky.engine.kernels.spheroid.geometry import SpheroidSky
from gammasky.engine.kernels.spheroid.op import line_integral, log_einasto_squared, log_nfw_squared, polynomial

Place = tuple[float, float]
SUN, END = 8.224, 100.0


def in_space(
    density: Callable[[float], float],
    place: tuple[float, float],
    ratio: float,
    tilt: float,
    centre: tuple[float, float],
) -> float:
    """The integral by adaptive quadrature along one line of sight, coordinates as they stand in the definition."""
    (lon, lat), (lon_c, lat_c), turn = np.deg2rad(place), np.deg2rad(centre), np.deg2rad(tilt)
    look = np.array([np.cos(lat) * np.cos(lon), np.cos(lat) * np.sin(lon), np.sin(lat)])
    to_centre = np.array([np.cos(lat_c) * np.cos(lon_c), np.cos(lat_c) * np.sin(lon_c), np.sin(lat_c)])
    east = np.array([-np.sin(lon_c), np.cos(lon_c), 0.0])
    axis = np.cos(turn) * np.cross(to_centre, east) + np.sin(turn) * east

    def emissivity(distance: float) -> float:
        position = distance * look - SUN * to_centre
        along = position @ axis
        return density(float(np.sqrt(position @ position - along**2 + (along / ratio) ** 2)))

    stretch = float(np.sqrt(1.0 + (1.0 / ratio**2 - 1.0) * (look @ axis) ** 2))
    nearest = SUN * float(look @ to_centre) / stretch**2
    inside = [nearest + step for step in (-3.0, -1.0, -0.1, -0.01, 0.0, 0.01, 0.1, 1.0, 3.0)]
    edges = sorted([0.0, END / stretch, *(edge for edge in inside if 0 < edge < END / stretch)])
    return float(sum(quad(emissivity, *ends, epsabs=0, epsrel=1e-12, limit=400)[0] for ends in pairwise(edges)))


def nfw(gamma: float, scale: float) -> tuple[Any, Callable[[float], float]]:
    plain = lambda m: (m / scale) ** (-2 * gamma) * (1 + m / scale) ** (2 * gamma - 6)  # noqa: E731
    return partial(log_nfw_squared, gamma=gamma, scale_radius_kpc=scale), plain


def einasto(alpha: float, scale: float) -> tuple[Any, Callable[[float], float]]:
    plain = lambda m: np.exp(-2 / alpha * ((m / scale) ** alpha - 1)) ** 2  # noqa: E731
    return partial(log_einasto_squared, alpha=alpha, scale_radius_kpc=scale), plain


PROFILES = {
    "nfw 1.2": (*nfw(1.2, 20.0), 1e-10),
    "nfw 2, small": (*nfw(2.0, 1.0), 1e-9),
    "nfw 0": (*nfw(0.0, 5.0), 1e-10),
    "einasto 0.17": (*einasto(0.17, 20.0), 1e-10),
    "einasto 1": (*einasto(1.0, 8.0), 1e-8),
    "einasto, small": (*einasto(0.9, 1.0), 1e-4),  # at 25 deg it has fallen by e^-40
}


@pytest.mark.parametrize("profile", PROFILES)
def test_integrals_are_those_in_space(profile: str) -> None:
    logarithm, density, tolerance = PROFILES[profile]
    stream = np.random.default_rng(2)
    for _ in range(8):
        place, centre = stream.uniform(-25, 25, 2).tolist(), stream.uniform(-3, 3, 2).tolist()
        ratio, tilt = stream.uniform(0.2, 5.0), stream.uniform(-180, 180)
        sky = SpheroidSky.build([place[0]], [place[1]], sun_kpc=SUN, max_distance_kpc=END)
        found = float(line_integral(logarithm, ratio, tilt, *centre, sky)[0])
        assert found == pytest.approx(in_space(density, place, ratio, tilt, centre), rel=tolerance)


def test_a_tilt_of_45_degrees_points_to_the_north_east() -> None:
    sky = SpheroidSky.build([5.0, -5.0, 5.0, -5.0], [5.0, 5.0, -5.0, -5.0])
    found = line_integral(nfw(1.2, 20.0)[0], 2.0, 45.0, 0.0, 0.0, sky)  # drawn out along the axis
    np.testing.assert_allclose(found[0], found[3], rtol=1e-12)
    assert found[0] > 1.5 * found[1]


@pytest.mark.parametrize("gamma", [0.0, 0.5, 1.2, 2.0])
def test_a_sphere_is_that_of_the_kernel_of_spheres(gamma: float) -> None:
    """At any tilt, from 0.01 deg off the centre to the anticentre."""
    stream = np.random.default_rng(1)
    psi, turn = np.deg2rad(np.geomspace(0.01, 179.0, 300)), stream.uniform(0, 2 * np.pi, 300)
    lat = np.rad2deg(np.arcsin(np.sin(psi) * np.sin(turn)))
    lon = np.rad2deg(np.arctan2(np.sin(psi) * np.cos(turn), np.cos(psi)))
    found = line_integral(nfw(gamma, 20.0)[0], 1.0, 33.0, 0.0, 0.0, SpheroidSky.build(lon, lat))
    np.testing.assert_allclose(found, nfw_squared(gamma, NFWSky.build(lon, lat)), rtol=1e-10)


def test_every_slope_is_that_of_differences() -> None:
    """Entry by entry, reverse and forward, of a flattened, tilted profile off the centre."""
    stream = np.random.default_rng(4)
    sky = SpheroidSky.build(stream.uniform(-20, 20, 7), stream.uniform(-20, 20, 7))
    point = jnp.array([1.2, 18.0, 0.7, 25.0, 0.4, -0.3])

    @jax.jit
    def integral(p: jax.Array) -> jax.Array:
        logarithm = partial(log_nfw_squared, gamma=p[0], scale_radius_kpc=p[1])
        return jnp.log(line_integral(logarithm, p[2], p[3], p[4], p[5], sky))

    reverse, forward = jax.jacrev(integral)(point), jax.jacfwd(integral)(point)
    np.testing.assert_allclose(reverse, forward, rtol=1e-10, atol=1e-13)
    for i, scale in enumerate([1e-3, 1e-2, 1e-3, 1e-2, 1e-3, 1e-3]):
        at = [integral(point.at[i].add(k * scale)) for k in (-2, -1, 1, 2)]
        differences = (at[0] - 8 * at[1] + 8 * at[2] - at[3]) / (12 * scale)
        np.testing.assert_allclose(reverse[:, i], differences, rtol=1e-6, atol=1e-9)
    assert np.abs(reverse).min(axis=0).max() > 1e-3


def test_batches_are_a_loop() -> None:
    sky = SpheroidSky.build([3.0, 10.0, -8.0], [2.0, -7.0, 0.5])
    points = jnp.asarray(np.random.default_rng(6).uniform(0.5, 2.0, (5, 2)))

    def one(p: jax.Array) -> jax.Array:
        return line_integral(partial(log_nfw_squared, gamma=p[0], scale_radius_kpc=20.0), p[1], 10.0, 0.0, 0.0, sky)

    np.testing.assert_allclose(jax.jit(jax.vmap(one))(points), jnp.stack([one(p) for p in points]), rtol=1e-12)


def test_the_centre_of_a_profile_that_diverges_is_finite() -> None:
    """A pixel that the moving centre hits has the value at 0.001 deg, and no slope that is not a number."""
    sky = SpheroidSky.build([1.0, 1.001], [2.0, 2.0])
    integral = lambda lon: line_integral(nfw(1.5, 20.0)[0], 0.8, 0.0, lon, 2.0, sky)  # noqa: E731
    found = integral(1.0)
    np.testing.assert_allclose(found[0], found[1], rtol=1e-3)
    assert np.isfinite(jax.jacrev(integral)(1.0)).all()


def test_polynomials_and_second_derivatives() -> None:
    coefficients, x = jnp.asarray(np.random.default_rng(3).normal(size=(3, 4))), jnp.linspace(-1, 1, 11)
    t = [np.polynomial.Chebyshev.basis(k) for k in range(12)]
    terms = [c * t[i](t[4]) * t[j] for i, row in enumerate(np.asarray(coefficients)) for j, c in enumerate(row)]
    series = sum(terms[1:], terms[0])
    np.testing.assert_allclose(polynomial(coefficients, x), series(np.asarray(x)), rtol=1e-11, atol=1e-12)
    total = lambda x: jnp.sum(polynomial(coefficients, x))  # noqa: E731
    np.testing.assert_allclose(jax.grad(total)(x), series.deriv()(np.asarray(x)), rtol=1e-9, atol=1e-9)
    bend = jnp.diag(jax.hessian(total)(x))
    np.testing.assert_allclose(bend, series.deriv(2)(np.asarray(x)), rtol=1e-8, atol=1e-7)


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        ({"lon_deg": [1.0, np.nan], "lat_deg": [0.0, 0.0]}, "lists of equal length of finite numbers"),
        ({"lon_deg": [1.0], "lat_deg": [0.0, 0.0]}, r"got shapes \(1,\) and \(2,\)"),
        ({"lon_deg": [1.0], "lat_deg": [0.0], "sun_kpc": 0.0}, "sun_kpc must be positive and below max_distance_kpc"),
    ],
)
def test_what_cannot_be_used_is_refused(arguments: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message):
        SpheroidSky.build(**arguments)
