"""Shapes of the excess as templates of a model: spheroids that flatten, tilt, move and grow, and rings."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.parameters import parameter_labels

Build = Callable[..., SkyModel]
Table = dict[str, Any]
FREE = {
    "gamma": (1.1, 0.2, 2.0), "scale_radius_kpc": (15.0, 5.0, 40.0), "axis_ratio": (0.7, 0.4, 1.5),
    "tilt": (20.0, -90.0, 90.0), "centre_lon": (0.5, -2.0, 2.0), "centre_lat": (-0.4, -2.0, 2.0),
}  # fmt: skip


def uniform(low: float, high: float) -> Table:
    return {"prior": "uniform", "low": low, "high": high}


def with_peak(table: Table, template: Any, **parameters: Any) -> Table:
    """The smooth model with another template in place of its peak."""
    table["components"][1]["template"] = template
    table["parameters"] |= parameters
    return table


def shape(model: SkyModel, **theta: Any) -> np.ndarray:
    point = {name: jnp.asarray(value) for name, value in theta.items()}
    return np.asarray(model.expectation.template("peak", point, model.arrays["sky"]))


def free(smooth_table: Table, kind: str = "nfw") -> Table:
    names = {name: f"{kind}_{name}" for name in FREE}
    names = names if kind == "nfw" else {"alpha" if k == "gamma" else k: v for k, v in names.items()}
    priors = {f"{kind}_{name}": uniform(low, high) for name, (_, low, high) in FREE.items()}
    if kind == "einasto":
        priors["einasto_gamma"] = uniform(0.1, 0.4)
    return with_peak(smooth_table, {kind: names}, **priors)


@pytest.mark.parametrize("options", [{"axis_ratio": 1.0}, {"axis_ratio": "q"}, {"scale_radius_kpc": "r_s"}])
def test_a_round_spheroid_is_the_nfw_template(build: Build, smooth_table: Table, options: Table) -> None:
    """Whether it takes the way of spheres or that of spheroids."""
    priors = {"gamma": uniform(0.2, 2.0), "q": uniform(0.5, 2.0), "r_s": uniform(5.0, 40.0)}
    used = {name: priors[name] for name in ("gamma", *options.values()) if isinstance(name, str)}
    model = build(with_peak(smooth_table, {"nfw": {"gamma": "gamma"} | options}, **used))
    theta = {"gamma": 1.3, "q": 1.0, "r_s": 20.0}
    found = shape(model, **{name: theta[name] for name in used})
    smooth_table["parameters"].pop("q", None), smooth_table["parameters"].pop("r_s", None)
    plain = build(with_peak(smooth_table, {"nfw": {"gamma": "gamma"}}))
    np.testing.assert_allclose(found, shape(plain, gamma=1.3), rtol=1e-9)


def test_a_description_without_a_shape_is_as_ever(smooth_table: Table) -> None:
    """The identity of a model, and the names of fixed templates, are made of these."""
    spec = model_from_table(with_peak(smooth_table, {"nfw": {"gamma": 1.2, "axis_ratio": 1.0}}))
    template = spec.components[1].template
    assert template.model_dump(exclude_none=True) == {"nfw": {"gamma": 1.2, "scale_radius_kpc": 20.0, "sun_kpc": 8.224}}
    assert list(template.model_dump()["nfw"]) == ["gamma", "scale_radius_kpc", "sun_kpc"]
    assert "nfw=NfwSettings(gamma=1.2, scale_radius_kpc=20.0, sun_kpc=8.224)" in repr(template)
    flat = model_from_table(with_peak(smooth_table, {"nfw": {"gamma": 1.2, "axis_ratio": 0.8}})).components[1].template
    assert flat.model_dump()["nfw"]["axis_ratio"] == 0.8
    assert repr(flat) != repr(template)


def test_fixed_shapes_are_told_apart(build: Build, smooth_table: Table) -> None:
    flat = shape(build(with_peak(smooth_table, {"nfw": {"gamma": 1.2, "axis_ratio": 0.6}})))
    drawn = shape(build(with_peak(smooth_table, {"nfw": {"gamma": 1.2, "axis_ratio": 1.6}})))
    assert flat.mean() == pytest.approx(1.0, rel=1e-12)
    assert np.abs(flat / drawn - 1).max() > 0.5


@pytest.mark.parametrize("kind", ["nfw", "einasto"])
def test_gradient_of_the_log_likelihood_by_every_number(build: Build, smooth_table: Table, kind: str) -> None:
    model = build(free(smooth_table, kind))
    point = {"S_flat": 2.0, "S_peak": 3.0} | {f"{kind}_{name}": value for name, (value, _, _) in FREE.items()}
    if kind == "einasto":
        point["einasto_gamma"] = 0.2
    theta = model.point(point)
    total = jax.jit(lambda theta: model.pixel_log_likelihood(theta).sum())
    slopes = jax.jit(jax.grad(total))(theta)
    for name, value in theta.items():
        step = 1e-3 * abs(float(value))
        values = [float(total(theta | {name: value + k * step})) for k in (-2, -1, 1, 2)]
        expected = (values[0] - 8 * values[1] + 8 * values[2] - values[3]) / (12 * step)
        assert float(slopes[name]) == pytest.approx(expected, rel=1e-6, abs=1e-6), name
        assert abs(expected) > 1e-3, name
    assert f"{kind}_axis_ratio" in model.main_parameters()


@pytest.mark.parametrize(
    ("template", "message"),
    [
        ({"nfw": {"gamma": 1.2, "axis_ratio": 0.1}}, "nfw axis_ratio: axis_ratio must be at least 0.2, got 0.1"),
        ({"nfw": {"gamma": 1.2, "axis_ratio": "q"}}, "prior of 'q': axis_ratio must be at least 0.2, its prior starts"),
        ({"nfw": {"gamma": 1.2, "scale_radius_kpc": -3.0}}, "scale_radius_kpc must be at least 0, got -3"),
        ({"nfw": {"gamma": 1.2, "scale_radius_kpc": "q"}}, "prior of 'q': scale_radius_kpc must be at least 1, its"),
        ({"nfw": {"gamma": 1.2, "centre_lat": "90 * q"}}, r"centre_lat must be at most 89, and by the priors may be"),
        ({"einasto": {"alpha": 2.0}}, "einasto alpha: alpha must be at most 1, got 2"),
        ({"einasto": {"alfa": 0.2}}, "unknown field .*alfa'; did you mean 'alpha'"),
    ],
)
def test_numbers_that_are_refused(smooth_table: Table, template: Any, message: str) -> None:
    with pytest.raises(InputError, match=message):
        parameter_labels(model_from_table(with_peak(smooth_table, template, q=uniform(0.1, 1.0))))


EDGES = [0.0, 5.0, 10.0, 20.0]


def test_rings_have_their_shares_of_the_flux(build: Build, smooth_table: Table) -> None:
    rings = {"annuli": {"edges_deg": EDGES, "shares": "rings", "centre_lon": 1.0}}
    model = build(with_peak(smooth_table, rings, rings={"prior": "dirichlet"}))
    assert model.latent.slots["rings"].labels == ("0-5 deg", "5-10 deg", "10-20 deg")
    found = shape(model, rings=[0.2, 0.5, 0.3])
    pixels = model.pixels
    east, north = np.deg2rad(pixels.lon_deg), np.deg2rad(pixels.lat_deg)
    cosine = np.cos(north) * np.cos(east - np.deg2rad(1.0))
    ring = np.digitize(np.rad2deg(np.arccos(cosine)), EDGES)
    total = [found[ring == number].sum() / pixels.n_pixels for number in (1, 2, 3)]
    np.testing.assert_allclose(total, [0.2, 0.5, 0.3], rtol=1e-12)
    assert found[ring == 4].max(initial=0.0) == 0.0
    inside = found[ring == 2] / pixels.relative_exposure[ring == 2]  # evenly bright: counts follow the exposure
    np.testing.assert_allclose(inside, inside[0], rtol=1e-12)
    theta = {"S_peak": jnp.asarray(2.0), "S_flat": jnp.asarray(1.0), "rings": jnp.asarray([0.2, 0.5, 0.3])}
    np.testing.assert_allclose(model.mixture_fluxes(theta), [0.4, 1.0, 0.6], rtol=1e-12)
    fixed = build(
        with_peak(smooth_table, {"annuli": rings["annuli"] | {"shares": [2.0, 5.0, 3.0]}})
        | {"parameters": {k: v for k, v in smooth_table["parameters"].items() if k != "rings"}}
    )
    np.testing.assert_allclose(shape(fixed), found, rtol=1e-12)


@pytest.mark.parametrize(
    ("rings", "message"),
    [
        ({"edges_deg": [5.0, 3.0], "shares": [1.0]}, r"edges_deg must rise, got \[5.0, 3.0\]"),
        ({"edges_deg": [0.0, 3.0, 5.0], "shares": [1.0]}, "expected 2 shares, one for each ring, got 1"),
        ({"edges_deg": [0.0, 3.0], "shares": [0.0]}, "shares are zero in all rings"),
        ({"edges_deg": [0.0, 3.0, 5.0, 6.0], "shares": "f"}, "fractions 'f' of 3 templates need a dirichlet prior"),
        ({"edges_deg": [60.0, 70.0], "shares": [1.0]}, "no pixel of the region of interest lies 60-70 deg from the"),
    ],
)
def test_rings_that_are_refused(build: Build, smooth_table: Table, rings: Table, message: str) -> None:
    priors = {"f": uniform(0.0, 1.0)} if rings["shares"] == "f" else {}
    with pytest.raises(InputError, match=message):
        build(with_peak(smooth_table, {"annuli": rings}, **priors))
