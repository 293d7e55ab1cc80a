"""Templates: normalisation, exposure, mixtures, hemispheres, modulation."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.integrate import quad
from scipy.special import sph_harm_y

from gammasky.engine.kernels import callbacks
from gammasky.engine.kernels.profiles.geometry import NFWSky
from gammasky.engine.kernels.profiles.op import nfw_squared
from gammasky.engine.model import SkyModel
from gammasky.engine.model.templates import nfw
from gammasky.engine.model.templates.function import FEW, Function
from gammasky.engine.sky.dataset import Dataset

Build = Callable[..., SkyModel]
MakeTable = Callable[..., dict[str, Any]]


@pytest.fixture
def one_template(smooth_table: dict[str, Any]) -> MakeTable:
    """A table of one component `x` and a flat one."""

    def table(template: Any, **options: Any) -> dict[str, Any]:
        components = [
            {"name": "x", "norm": "S_flat", "template": template} | options,
            {"name": "flat", "norm": "S_peak", "template": "flat"},
        ]
        return smooth_table | {"components": components, "parameters": dict(smooth_table["parameters"])}

    return table


def values(model: SkyModel, name: str = "x", **theta: Any) -> np.ndarray:
    point = {key: jnp.asarray(value) for key, value in theta.items()}
    return np.asarray(model.expectation.template(name, point, model.arrays["sky"]))


def raw(small: Dataset, model: SkyModel, name: str) -> np.ndarray:
    return small.template(name)[0][model.pixels.index]


def test_normalised_over_the_region_with_its_masked_pixels(
    build: Build, one_template: MakeTable, small: Dataset
) -> None:
    model = build(one_template("peak"))
    assert model.pixels.n_pixels > model.pixels.n_fit
    found, expected = values(model), raw(small, model, "peak")
    np.testing.assert_allclose(found, expected / expected.mean(), rtol=1e-13)
    assert abs(found[: model.pixels.n_fit].mean() - 1.0) > 1e-3


@pytest.mark.parametrize(
    ("map_name", "point_sources", "exposure", "power"),
    [
        ("peak", False, "auto", 0),  # counts stay counts
        ("peak", True, "auto", -1),  # point sources: the exposure is divided out
        ("ring", False, "auto", 1),  # intensity to counts
        ("ring", True, "auto", 0),
        ("peak", True, "as_is", 0),
        ("ring", False, "as_is", 0),
    ],
)
def test_exposure(
    map_name: str,
    point_sources: bool,
    exposure: str,
    power: int,
    build: Build,
    one_template: MakeTable,
    small: Dataset,
) -> None:
    options: dict[str, Any] = {"exposure": exposure}
    if point_sources:
        options["source_counts"] = {"slopes": [3.0, 1.0], "breaks": [5.0]}
    model = build(one_template(map_name, **options))
    index = model.pixels.index
    relative = small.exposure[0][index] / small.exposure[0][index].mean()
    expected = raw(small, model, map_name) * relative**power
    np.testing.assert_allclose(values(model), expected / expected.mean(), rtol=1e-12)


def test_a_profile_is_multiplied_by_the_exposure_for_smooth_emission(
    build: Build, one_template: MakeTable, small: Dataset
) -> None:
    """NFW squared by scipy.quad along a few lines of sight."""
    model = build(one_template({"nfw": {"gamma": 1.2}}))
    lon, lat = np.deg2rad(model.pixels.lon_deg), np.deg2rad(model.pixels.lat_deg)
    exposure = small.exposure[0][model.pixels.index]

    def along(pixel: int) -> float:
        cosine = np.cos(lon[pixel]) * np.cos(lat[pixel])

        def squared(s: float) -> float:
            x = np.sqrt(s**2 + 8.224**2 - 2 * s * 8.224 * cosine) / 20.0
            return (x**-1.2 * (1 + x) ** -1.8) ** 2

        middle = 8.224 * cosine
        parts = [(0.0, middle), (middle, 2 * middle), (2 * middle, 300.0)]
        return sum(quad(squared, *part, epsrel=1e-10, limit=500)[0] for part in parts)

    pixels = [0, 7, model.pixels.n_fit - 1]
    found = values(model)[pixels]
    expected = np.array([along(p) * exposure[p] for p in pixels])
    np.testing.assert_allclose(found / found[0], expected / expected[0], rtol=1e-5)
    np.testing.assert_allclose(values(model).mean(), 1.0, rtol=1e-12)


def test_mixtures(build: Build, one_template: MakeTable) -> None:
    table = one_template({"mix": ["peak", "tilt", "ring"], "fractions": "shares"})
    table["parameters"]["shares"] = {"prior": "dirichlet"}
    model = build(table)
    members = [values(build(one_template(name))) for name in ("peak", "tilt", "ring")]
    found = values(model, shares=[0.2, 0.5, 0.3])
    np.testing.assert_allclose(found, 0.2 * members[0] + 0.5 * members[1] + 0.3 * members[2], rtol=1e-12)
    fixed = build(one_template({"mix": ["peak", "tilt"], "fractions": 0.3}))
    np.testing.assert_allclose(values(fixed), 0.3 * members[0] + 0.7 * members[1], rtol=1e-12)


def test_equal_norms_north_and_south_give_the_whole_template(
    build: Build, one_template: MakeTable, smooth_table: dict[str, Any]
) -> None:
    table = smooth_table
    table["components"] = [
        {"name": side, "norm": norm, "template": {"map": "ring", "hemisphere": side}}
        for side, norm in (("north", "S_flat"), ("south", "S_peak"))
    ]
    split, whole = build(table), build(one_template("ring"))
    point = {"S_flat": 2.5, "S_peak": 2.5}
    templates = split.sky(split.point(point)).templates
    together = templates["north"] + templates["south"]
    np.testing.assert_allclose(together, values(whole), rtol=1e-13)
    north = np.asarray(templates["north"])
    assert (north[split.pixels.lat_deg < 0] == 0).all()
    assert (north[split.pixels.lat_deg >= 0] > 0).all()
    table["components"] = [{"name": "ring", "norm": "S_flat", "template": "ring"}]
    table["parameters"].pop("S_peak")
    unsplit = build(table)
    expected = unsplit.pixel_log_likelihood(unsplit.point({"S_flat": 2.5}))
    np.testing.assert_allclose(split.pixel_log_likelihood(split.point(point)), expected, rtol=1e-12)


def test_modulation(build: Build, one_template: MakeTable) -> None:
    table = one_template({"map": "ring", "modulation": {"l_max": 2, "coefficients": "Alm"}})
    table["parameters"]["Alm"] = {"prior": "uniform", "low": -0.05, "high": 0.05}
    model, base = build(table), build(one_template("ring"))
    coefficients = np.array([0.04, -0.03, 0.02, 0.05, -0.01])
    orders = [(1, 0), (1, 1), (2, 0), (2, 1), (2, 2)]
    polar, azimuth = np.deg2rad(90 - model.pixels.lat_deg), np.deg2rad(model.pixels.lon_deg)
    factor = 1 + sum(a * sph_harm_y(n, m, polar, azimuth).real for a, (n, m) in zip(coefficients, orders, strict=True))
    expected = values(base) * factor
    np.testing.assert_allclose(values(model, Alm=coefficients), expected / expected.mean(), rtol=1e-12)
    assert model.n_latent == 2 + 5
    table["components"].reverse()
    assert build(table).main_parameters(most=1) == ["S_peak"]  # a modulation alone makes no template free


def test_region_count_and_order_of_regions(build: Build, full_table: dict[str, Any]) -> None:
    table = full_table
    for regions in (1, 4):
        table["region"]["exposure_regions"] = regions
        model = build(table)
        assert model.counts_term.response.matrix.shape[0] == regions
        assert np.isfinite(model.log_density(jnp.zeros(model.n_latent)))


def test_two_components_of_one_map_share_its_numbers(build: Build, smooth_table: dict[str, Any]) -> None:
    table = smooth_table
    table["components"][1]["template"] = {"map": "flat"}
    model = build(table)
    assert [name for name in model.expectation.arrays["templates"] if name.startswith("map:")] == [
        "map:flat:intensity:False:False"
    ]


@pytest.mark.parametrize("fixed", [True, False])
def test_a_profile_of_fixed_numbers_is_integrated_once(
    build: Build, one_template: MakeTable, monkeypatch: pytest.MonkeyPatch, *, fixed: bool
) -> None:
    calls: list[None] = []

    def counted(*args: Any, **options: Any) -> jax.Array:
        calls.append(None)
        return nfw_squared(*args, **options)

    monkeypatch.setattr(nfw, "nfw_squared", counted)
    table = one_template({"nfw": {"gamma": 1.2 if fixed else "gamma"}})
    if not fixed:
        table["parameters"]["gamma"] = {"prior": "uniform", "low": 0.5, "high": 1.5}
    model, theta = build(table), {} if fixed else {"gamma": 1.2}
    first = values(model, **theta)
    np.testing.assert_array_equal(first, values(model, **theta))
    assert len(calls) == (1 if fixed else 2)
    np.testing.assert_allclose(first[: model.pixels.n_region].mean(), 1.0, rtol=1e-12)
    sky = NFWSky.build(model.pixels.lon_deg, model.pixels.lat_deg, sun_kpc=8.224, scale_radius_kpc=20.0)
    expected = np.asarray(nfw_squared(jnp.asarray(1.2), sky, backend=model.backend)) * model.pixels.relative_exposure
    np.testing.assert_allclose(first, expected / expected[: model.pixels.n_region].mean(), rtol=1e-13)


@pytest.mark.parametrize("maps", [1, FEW, FEW + 1])
def test_fixed_maps_are_added_up_alike_on_a_gpu(maps: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """With or without a product of matrices: the same sum, and the same derivatives by the shares."""
    rng = np.random.default_rng(maps)
    table, weights = {str(n): jnp.asarray(rng.uniform(size=30)) for n in range(maps)}, rng.normal(size=20)
    function = Function(tuple(table), lambda _arrays, theta: theta["shares"])
    shares = jnp.asarray(rng.uniform(size=maps))

    def total(shares: jax.Array) -> jax.Array:
        return weights @ function(table, {"shares": shares}, 20)

    expected = np.stack([np.asarray(values)[:20] for values in table.values()]) @ weights
    for platform in ("cpu", "gpu"):
        monkeypatch.setattr(callbacks, "platform", lambda platform=platform: platform)
        value, slopes = jax.value_and_grad(total)(shares)
        np.testing.assert_allclose(value, shares @ expected, rtol=1e-13)
        np.testing.assert_allclose(slopes, expected, rtol=1e-12, atol=1e-14)
