"""Derived numbers against plain NumPy on the draws."""

from __future__ import annotations

from collections.abc import Callable

import numpy as np
import pytest
from scipy.stats import norm

from gammasky.engine.infer.derived import derive, predicted_maps
from gammasky.engine.model import SkyModel

UNIFORM = {"S_pib": (1e-3, 14.0), "gamma_ps": (0.2, 2.0), "zs": (0.1, 2.5), "sb1_gce": (5.0, 40.0)}


def broken_power_law(s: np.ndarray, slopes: list[float], breaks: list[float]) -> np.ndarray:
    """Continuous, 1 at the highest break; slopes and breaks from the highest."""
    low, high = breaks[1], breaks[0]
    at_low = (low / high) ** -slopes[1]
    middle = (s / high) ** -slopes[1]
    return np.where(s >= high, (s / high) ** -slopes[0], np.where(s >= low, middle, at_low * (s / low) ** -slopes[2]))


def test_parameters_in_order(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    assert list(derived) == [*small_fiducial.spec.parameters, "flux", "point_source_fraction"]


def test_uniform_parameters_are_quantiles(
    small_fiducial: SkyModel, draws: np.ndarray, derived: dict[str, np.ndarray]
) -> None:
    for name, (low, high) in UNIFORM.items():
        column = draws[:, small_fiducial.latent.names.index(name)]
        np.testing.assert_allclose(derived[name], low + (high - low) * norm.cdf(column), rtol=1e-12)


def test_shapes(derived: dict[str, np.ndarray], draws: np.ndarray) -> None:
    n = len(draws)
    assert derived["theta_pib"].shape == (n, 3)
    assert derived["Alm"].shape == (n, 5)
    assert derived["flux"].shape == (n, 8)
    assert derived["point_source_fraction"].shape == (n, 1)


def test_fluxes_are_norms(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    norms = [component.norm for component in small_fiducial.spec.components]
    wanted = np.stack([derived[name] for name in norms], axis=1)
    np.testing.assert_allclose(derived["flux"], wanted, rtol=1e-10)


def test_point_source_fraction(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    assert small_fiducial.expectation.groups == ["gce"]
    wanted = derived["Sps_gce"] / (derived["Sps_gce"] + derived["S_gce"])
    np.testing.assert_allclose(derived["point_source_fraction"][:, 0], wanted, rtol=1e-10)


def test_a_draw_does_not_depend_on_the_others(
    small_fiducial: SkyModel, draws: np.ndarray, derived: dict[str, np.ndarray]
) -> None:
    few = derive(small_fiducial, draws[[70, 3]])
    for name, values in few.items():
        np.testing.assert_allclose(values, derived[name][[70, 3]], rtol=1e-12, err_msg=name)


def test_dnds(small_fiducial: SkyModel, derived: dict[str, np.ndarray]) -> None:
    s = np.geomspace(0.1, 100.0, 100)
    found = small_fiducial.expectation.populations.dnds({name: values[:5] for name, values in derived.items()})
    assert found.shape == (5, 2, 100)
    for column, name in enumerate(("gce", "dsk")):
        for row in range(5):
            slopes = [derived[f"n{i}_{name}"][row] for i in (1, 2, 3)]
            high = derived[f"sb1_{name}"][row]
            shape = broken_power_law(s, slopes, [high, derived[f"lambdas_{name}"][row] * high])
            wanted = derived[f"Sps_{name}"][row] * shape / np.trapezoid(s * shape, s)
            np.testing.assert_allclose(found[row, column], wanted, rtol=1e-9)


def test_predicted_maps_are_the_mean_of_the_likelihood(small_fiducial: SkyModel, draws: np.ndarray) -> None:
    maps = predicted_maps(small_fiducial, draws[:4])
    pixels, s = small_fiducial.pixels, np.geomspace(0.1, 100.0, 100)
    assert list(maps) == [component.name for component in small_fiducial.spec.components]
    assert all(values.shape == (pixels.n_pixels,) for values in maps.values())
    wanted = np.zeros(pixels.n_fit)
    for z in draws[:4]:
        sky, model = small_fiducial.sky(small_fiducial.parameters(z)), small_fiducial.expectation
        mean, templates, dnds = (
            model.smooth_mean(sky, pixels.n_fit),
            model.source_templates(sky, pixels.n_fit),
            sky.dnds,
        )
        per_pixel = np.trapezoid(s * np.stack(list(dnds.values())), s, axis=1) @ np.asarray(templates)
        wanted += (mean + per_pixel * pixels.exposure_ratios[pixels.region]) / 4
    np.testing.assert_allclose(sum(maps.values())[: pixels.n_fit], wanted, rtol=1e-10)


def test_maps_have_the_flux_of_their_component(
    small_fiducial: SkyModel, draws: np.ndarray, derived: dict[str, np.ndarray]
) -> None:
    maps = predicted_maps(small_fiducial, draws[:20])
    fluxes = derived["flux"][:20].mean(axis=0)
    for component, flux in zip(small_fiducial.spec.components, fluxes, strict=True):
        tolerance = 1e-9 if component.source_counts is None else 0.02  # the exposure of point sources varies
        assert maps[component.name].mean() == pytest.approx(flux, rel=tolerance)


def test_no_point_sources(smooth_only: SkyModel) -> None:
    z = np.array([[-0.5], [0.0], [1.0]])
    found = derive(smooth_only, z)
    assert found["point_source_fraction"].shape == (3, 0)
    np.testing.assert_allclose(found["flux"], np.stack([1 + 2 * norm.cdf(z[:, 0]), np.full(3, 0.5)], axis=1))
    assert smooth_only.expectation.populations.dnds(found).shape[:2] == (3, 0)
    np.testing.assert_allclose(predicted_maps(smooth_only, z)["dif"].mean(), (1 + 2 * norm.cdf(z)).mean())


def test_amplitude_in_place_of_a_norm(population_model: Callable[..., SkyModel]) -> None:
    model = population_model({"A": {"prior": "uniform", "low": 0.1, "high": 0.2}}, amplitude="A")
    s = np.geomspace(0.1, 100.0, 50)
    dnds = 0.15 * np.where(s >= 5.0, (s / 5) ** -3.0, (s / 5) ** -1.5)
    z = np.zeros((2, 1))
    np.testing.assert_allclose(model.expectation.populations.dnds(derive(model, z))[0, 0], dnds, rtol=1e-12)
    np.testing.assert_allclose(derive(model, z)["flux"], np.full((2, 1), np.trapezoid(s * dnds, s)), rtol=1e-12)
