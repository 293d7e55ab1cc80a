"""Shells of a density in space against integrals along the line of sight, written down anew."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import integrate

from gammasky.engine.model import SkyModel
from gammasky.engine.model.lines_of_sight import Lines, directions_of
from gammasky.engine.model.shells import CM_PER_KPC, Shells
from gammasky.engine.model.templates import NfwTemplate
from gammasky.engine.model.templates.in_space import Position

Build = Callable[..., SkyModel]
Table = dict[str, Any]
SUN, NEAR, FAR = 8.224, 0.1, 50.0

TEMPLATES: dict[str, Table] = {
    "nfw": {"nfw": {"gamma": 1.2}},
    "flat nfw": {"nfw": {"gamma": 1.2, "axis_ratio": 0.6, "tilt": 25.0}},
    "einasto": {"einasto": {"alpha": 0.2}},
    "disk": {"disk": {"scale_height": 0.4, "C": 4.0}},
    "rising disk": {"disk": {"scale_height": 0.4, "C": 5.0, "B": 2.0}},
    "bar": {"bar": {"angle": 20.0, "sun_kpc": 8.224}},
}


def uniform(low: float, high: float) -> Table:
    return {"prior": "uniform", "low": low, "high": high}


def density(name: str, lon: float, lat: float) -> Callable[[float], float]:
    """The number density of `TEMPLATES` along a line of sight [deg], as a function of the distance [kpc]."""
    along, b = np.deg2rad(lon), np.deg2rad(lat)
    towards, aside = np.cos(b) * np.cos(along), np.cos(b) * np.sin(along)

    def at(d: float) -> float:
        x, y, z = d * towards - SUN, d * aside, d * np.sin(b)
        if name == "bar":
            angle = np.deg2rad(20.0)
            along, across = -x * np.cos(angle) + y * np.sin(angle), y * np.cos(angle) + x * np.sin(angle)
            a, c, e = abs(along) / 1.696, abs(across) / 0.6426, abs(z) / 0.4425
            r = ((a**1.574 + c**1.574) ** (3.501 / 1.574) + e**3.501) ** (1 / 3.501)
            cut = max(np.hypot(x, y) - 3.128, 0.0) / 0.461
            return float(np.cosh(r) ** -2 * np.exp(-(cut**2)))
        if "disk" in name:
            C, B = (4.0, 0.0) if name == "disk" else (5.0, 2.0)
            ratio = np.hypot(x, y) / SUN
            return float(ratio**B * np.exp(-C * (ratio - 1) - abs(z) / 0.4))
        t, q = (np.deg2rad(25.0), 0.6) if name == "flat nfw" else (0.0, 1.0)
        equator, axis = y * np.cos(t) - z * np.sin(t), z * np.cos(t) + y * np.sin(t)
        r = np.sqrt(x**2 + equator**2 + (axis / q) ** 2) / 20.0
        if name == "einasto":
            return float(np.exp(-4 / 0.2 * (r**0.2 - 1)))
        return float(r**-2.4 * (1 + r) ** (2.4 - 6))

    return at


def line_of_sight(name: str, lon: float, lat: float, weight: Callable[[float], float]) -> float:
    """int n(d) d^2 weight(d) dd from `NEAR` to `FAR`, by panels that end where densities have edges."""
    n, middle = density(name, lon, lat), SUN * np.cos(np.deg2rad(np.hypot(lon, lat)))
    axis = SUN / np.cos(np.deg2rad(lat))
    around = [place + step for place in (middle, axis) for step in (-0.5, -0.1, 0.0, 0.1, 0.5)]
    edges = sorted({NEAR, 1.0, 4.0, 5.3, 7.0, *around, 9.5, 11.4, 15.0, 25.0, FAR})
    inside = [edge for edge in edges if NEAR <= edge <= FAR]
    return float(sum(
        integrate.quad(lambda d: n(d) * d**2 * weight(d), a, b, epsabs=0, epsrel=1e-10, limit=200)[0]
        for a, b in pairwise(inside)
    ))  # fmt: skip


def in_space(table: Table, template: Table, **luminosity: Any) -> Table:
    """The model with a population, its sources in a density in space; everything but the norms is fixed."""
    table["parameters"] = {name: table["parameters"][name] for name in ("S_flat", "S_peak", "Sps")}
    table["components"][2] = {"name": "peak_ps", "group": "peak", "norm": "Sps", "template": template,
                              "luminosity": {"median": 2e35, "sigma_dex": 0.5} | luminosity}  # fmt: skip
    return table


def shells_of(model: SkyModel) -> tuple[Shells, np.ndarray]:
    """Its shells, and sources (J, N) in them per solid angle of a pixel, for the density as it is."""
    shells = model.expectation.populations.shells["peak_ps"]
    arrays = jax.tree.map(jnp.asarray, shells.arrays)
    numbers = np.asarray(shells.in_pixels(shells.numbers({}, arrays), arrays, model.pixels.n_pixels))
    return shells, numbers / model.pixels.pixel_area_sr


@pytest.mark.parametrize("name", TEMPLATES)
def test_number_and_flux_of_a_pixel_are_those_of_its_line_of_sight(
    name: str, population_table: Table, build: Build
) -> None:
    """Whatever the number of shells: here few."""
    model = build(in_space(population_table, TEMPLATES[name], shells=5))
    shells, numbers = shells_of(model)
    assert shells.distances[[0, -1]].tolist() == [NEAR, FAR]
    flux = numbers.T @ shells.distances**-2
    bound = 1e-3 if name == "bar" else 1e-9  # a bar has edges anywhere
    for pixel in (0, 23, 41, model.pixels.n_pixels - 1):
        lon, lat = model.pixels.lon_deg[pixel], model.pixels.lat_deg[pixel]
        expected_number = line_of_sight(name, lon, lat, lambda _d: 1.0)
        expected_flux = line_of_sight(name, lon, lat, lambda d: d**-2)
        assert numbers[:, pixel].sum() == pytest.approx(expected_number, rel=bound), pixel
        assert flux[pixel] == pytest.approx(expected_flux, rel=bound), pixel


def dnds_of_pixel(model: SkyModel, pixel: int) -> np.ndarray:
    """dN/dS (S,) of the whole population in a pixel, over its number of sources."""
    found = model.sky(model.parameters(jnp.zeros(model.n_latent))).shells["peak_ps"]
    shares = np.asarray(model.expectation.shares("peak_ps", found, model.arrays["sky"], model.pixels.n_pixels))
    number = float(found.per_pixel) * shares[:, pixel].sum()
    return np.asarray(shares[:, pixel] @ np.asarray(found.rows)) / number


@pytest.mark.parametrize(("name", "bounds"), [("nfw", (0.03, 0.007, 0.0016)), ("disk", (0.1, 0.023, 0.0055))])
def test_dnds_of_a_pixel_converges_to_the_integral(
    name: str, bounds: tuple[float, ...], population_table: Table, build: Build
) -> None:
    """With 6, 12 and 24 shells the error falls as the square of their number, in units of the largest S^2 dN/dS."""
    errors = []
    for shells, bound in zip((6, 12, 24), bounds, strict=True):
        model = build(in_space(population_table, TEMPLATES[name], shells=shells))
        eps = float(model.pixels.reference_exposure[0])
        s = np.geomspace(0.1, 50.0, 120)
        shown, worst = slice(10, 120, 12), 0.0
        for pixel in (0, 41):
            lon, lat = model.pixels.lon_deg[pixel], model.pixels.lat_deg[pixel]

            def per_distance(d: float, at: float, eps: float = eps) -> float:
                scale = 4 * np.pi * (d * CM_PER_KPC) ** 2 / eps
                width, luminosity = 0.5 * np.log(10), scale * at
                place = (np.log(luminosity) - np.log(2e35)) / width
                return float(scale * np.exp(-0.5 * place**2) / (luminosity * width * np.sqrt(2 * np.pi)))

            wanted = np.array([line_of_sight(name, lon, lat, lambda d, at=at: per_distance(d, at)) for at in s[shown]])
            wanted /= line_of_sight(name, lon, lat, lambda _d: 1.0)
            error = s[shown] ** 2 * (dnds_of_pixel(model, pixel)[shown] - wanted)
            worst = max(worst, float(np.abs(error).max() / (s[shown] ** 2 * wanted).max()))
        assert worst < bound
        errors.append(worst)
    assert errors[2] < 0.3 * errors[1] < 0.09 * errors[0]


def test_few_lines_of_sight_stand_for_many() -> None:
    """Those of a sphere to 1e-9, those of a disk by polynomials in the roots of the angles."""
    lon, lat = (part.ravel() for part in np.meshgrid(np.arange(-20.0, 21.0), np.arange(-20.0, 21.0)))
    lon, lat = lon[np.abs(lat) > 1.5], lat[np.abs(lat) > 1.5]

    def integral(directions: np.ndarray, height: float) -> np.ndarray:
        d = np.linspace(0.1, 20.0, 4000)[:, None]
        x, y, z = (component * d for component in directions)
        r = np.hypot(x - SUN, y)
        sphere = (r**2 + z**2) ** -1.2
        return np.asarray((sphere if height == 0 else np.exp(-4 * r / SUN - np.abs(z) / height)).sum(axis=0))

    wanted = {height: integral(directions_of(lon, lat), height) for height in (0.0, 0.3, 1.5)}
    sphere = Lines.of_sphere(lon, lat)
    assert sphere.table is not None
    found = np.exp(sphere.table @ np.log(integral(sphere.directions, 0.0)))[sphere.inverse]
    np.testing.assert_allclose(found, wanted[0.0], rtol=1e-9)
    every = Lines.each(lon, lat, "quarters")
    assert every.directions.shape[1] == 21 * 19
    few = every.by_angles(12)
    assert few.table is not None
    assert few.directions.shape[1] == 144
    for height in (0.3, 1.5):
        np.testing.assert_allclose(integral(every.directions, height)[every.inverse], wanted[height], rtol=1e-12)
        found = np.exp(few.table @ np.log(integral(few.directions, height)))[few.inverse]
        np.testing.assert_allclose(found, wanted[height], rtol=1e-4)


@pytest.mark.parametrize(("shape", "symmetry", "lines"), [
    ({"axis_ratio": 0.6}, "quarters", 144), ({"axis_ratio": 0.6, "tilt": 30.0}, "none", 432),
])  # fmt: skip
def test_few_lines_of_sight_stand_for_a_flattened_spheroid(shape: Table, symmetry: str, lines: int) -> None:
    """On a region of fine pixels; of parameters that ask for more, all lines are taken."""
    lon, lat = (part.ravel() for part in np.meshgrid(np.arange(-15.0, 15.5, 0.7), np.arange(-15.0, 15.5, 0.7)))
    template = NfwTemplate.model_validate({"nfw": {"gamma": 1.2} | shape})
    assert template.symmetry == symmetry
    every = Lines.each(lon[np.abs(lat) > 2], lat[np.abs(lat) > 2], template.symmetry)
    few = next(few for few in every.fewer(template.symmetry) if few.directions.shape[1] == lines)
    assert few.table is not None
    assert lines < every.directions.shape[1]
    distance = np.geomspace(1.0, 20.0, 300)

    def seen(directions: np.ndarray) -> np.ndarray:
        place = Position(*(jnp.asarray(component)[:, None] * distance for component in directions))
        return np.asarray(template.density({}, place)).sum(axis=1)

    np.testing.assert_allclose(np.exp(few.table @ np.log(seen(few.directions))), seen(every.directions), rtol=1e-3)


@pytest.mark.parametrize("name", ["nfw", "disk", "bar"])
def test_the_volume_is_the_integral_over_space(name: str, population_table: Table, build: Build) -> None:
    model = build(in_space(population_table, TEMPLATES[name]))
    found = float(model.expectation.populations.shells["peak_ps"].volume({}))
    if name == "disk":
        radial = integrate.quad(lambda r: 2 * np.pi * r * np.exp(-4.0 * (r / SUN - 1)), 0, 200)[0]
        assert found == pytest.approx(2 * 0.4 * radial, rel=1e-8)
    elif name == "nfw":
        total = integrate.quad(
            lambda u: 4 * np.pi * np.exp(3 * u) * (np.exp(u) / 20) ** -2.4 * (1 + np.exp(u) / 20) ** -3.6,
            np.log(0.01), np.log(100.0), epsrel=1e-12)[0]  # fmt: skip
        assert found == pytest.approx(total, rel=1e-10)
    else:
        rng, size = np.random.default_rng(3), 400_000
        x, y, z = (rng.uniform(-w, w, size) for w in (5.0, 5.0, 3.0))
        a, c, e = abs(x) / 1.696, abs(y) / 0.6426, abs(z) / 0.4425
        r = ((a**1.574 + c**1.574) ** (3.501 / 1.574) + e**3.501) ** (1 / 3.501)
        values = np.cosh(r) ** -2 * np.exp(-((np.maximum(np.hypot(x, y) - 3.128, 0.0) / 0.461) ** 2))
        error = values.std() / np.sqrt(size) * 600.0
        assert found == pytest.approx(values.mean() * 600.0, abs=5 * error)
        assert error < 0.01 * found


@pytest.mark.parametrize("template", [
    {"nfw": {"gamma": "g"}}, {"nfw": {"gamma": "g", "axis_ratio": "q"}}, {"disk": {"scale_height": "q", "C": "g"}},
    {"bar": {"angle": 20.0, "length": "g", "c_par": "q"}},
])  # fmt: skip
def test_gradients_of_what_is_free_in_a_density(template: Table, population_table: Table, build: Build) -> None:
    table = in_space(population_table, template, median="L", sigma_dex="w")
    table["parameters"] |= {"g": uniform(1.2, 1.8), "L": {"prior": "loguniform", "low": 1e34, "high": 1e36}}
    table["parameters"] |= {"w": uniform(0.3, 0.8)} | ({"q": uniform(1.0, 2.0)} if "q" in str(template) else {})
    model = build(table)
    z = 0.3 * np.random.default_rng(2).standard_normal(model.n_latent)
    value, gradient = model.value_and_gradient(z)
    assert np.isfinite(value)
    step = 1e-4
    for axis in range(model.n_latent):
        move = step * np.eye(model.n_latent)[axis]
        up, down = (float(model.value_and_gradient(z + m)[0]) for m in (move, -move))
        assert float(gradient[axis]) == pytest.approx((up - down) / (2 * step), rel=2e-5, abs=2e-5), axis
