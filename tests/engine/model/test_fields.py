"""Fields on templates: what they do to a template, their gradients, sharing, and what is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.parameters import block_parameters
from gammasky.engine.model.templates.field_bases import Box, orders, real_harmonics, root_density, root_power
from gammasky.engine.sky.dataset import Dataset

Build = Callable[..., SkyModel]
Table = dict[str, Any]
STANDARD = {"prior": "normal", "mean": 0.0, "sd": 1.0}
KERNEL = {"kernel": "matern32", "amplitude": "a", "length_deg": "ell", "modes": 7, "coefficients": "z_g"}
HARMONIC = {"harmonics": 3, "amplitude": "a", "slope": "s", "coefficients": "z_g"}
PRIORS: Table = {
    "z_g": STANDARD,
    "a": {"prior": "halfnormal", "sd": 0.3},
    "ell": {"prior": "loguniform", "low": 10.0, "high": 12.0},
    "s": {"prior": "uniform", "low": 0.0, "high": 4.0},
}


def fielded(table: Table, field: Table, component: int = 0, **priors: Any) -> Table:
    """The table with a field on the template of a component."""
    template = table["components"][component]["template"]
    bare = {"map": template} if isinstance(template, str) else template
    components = [dict(part) for part in table["components"]]
    components[component]["template"] = {**bare, "field": field}
    used = {value for value in field.values() if isinstance(value, str)}
    new = {name: prior for name, prior in PRIORS.items() if name in used}
    return table | {"components": components, "parameters": table["parameters"] | new | priors}


@pytest.fixture(params=[KERNEL, HARMONIC], ids=["kernel", "harmonics"])
def field(request: pytest.FixtureRequest) -> Table:
    return dict(request.param)


def sky_of(model: SkyModel, seed: int = 5) -> tuple[Any, Any]:
    theta = model.parameters(jnp.asarray(0.5 * np.random.default_rng(seed).standard_normal(model.n_latent)))
    return theta, model.sky(theta)


def test_a_template_is_times_exp_g_and_of_mean_one(build: Build, smooth_table: Table, field: Table) -> None:
    model, base = build(fielded(smooth_table, field, 1)), build(smooth_table)
    theta, sky = sky_of(model)
    pixels, z = model.pixels, np.asarray(theta["z_g"])
    lon, lat = pixels.lon_deg, pixels.lat_deg
    if "kernel" in field:
        ell = float(theta["ell"])
        box = Box.around(lon[: pixels.n_region], lat[: pixels.n_region], 1.123 * 12.0)
        roots = np.sqrt(2 * np.pi) * ell * np.asarray(root_density("matern32", box.frequencies(7) * ell))
        g = float(theta["a"]) * (z * roots) @ box.sines(7, lon, lat)
    else:
        degrees = np.array([float(degree) for degree, _ in orders(3)])
        roots = np.asarray(root_power(degrees, float(theta["s"]), 3))
        g = float(theta["a"]) * (z * roots) @ real_harmonics(3, lon, lat)
    expected = np.asarray(base.sky(base.parameters(jnp.zeros(base.n_latent))).templates["peak"]) * np.exp(g)
    expected /= expected[: pixels.n_region].mean()
    np.testing.assert_allclose(sky.templates["peak"], expected, rtol=1e-11)
    assert np.std(g) > 1e-4  # far beyond the tolerance above, which so can fail
    found = model.expectation.field("z_g", theta, model.arrays["sky"])
    np.testing.assert_allclose(found, (g - g[: pixels.n_region].mean())[: pixels.n_region], atol=1e-12)
    zero = model.sky({**theta, "a": jnp.asarray(0.0)}).templates["peak"]
    np.testing.assert_allclose(zero, base.sky(base.parameters(jnp.zeros(base.n_latent))).templates["peak"], rtol=1e-12)


def test_the_slope_of_harmonics_is_two_by_itself(build: Build, smooth_table: Table) -> None:
    own = {name: value for name, value in HARMONIC.items() if name != "slope"}
    model, other = build(fielded(smooth_table, own, 1)), build(fielded(smooth_table, {**own, "slope": 2.0}, 1))
    theta, sky = sky_of(model)
    np.testing.assert_array_equal(sky.templates["peak"], other.sky(theta).templates["peak"])


def test_gradient_entry_by_entry(build: Build, population_table: Table, field: Table) -> None:
    table = fielded(population_table, field, 1)
    table = fielded(table, field, 2)  # smooth emission and its sources share it
    model = build(table)
    z = 0.4 * np.random.default_rng(7).standard_normal(model.n_latent)
    _, gradient = model.value_and_gradient(z)
    step = 1e-5
    moved = np.concatenate([z + step * np.eye(z.size), z - step * np.eye(z.size)])
    values = np.asarray(model.value_and_gradient(moved)[0]).reshape(2, -1)
    np.testing.assert_allclose(gradient, (values[0] - values[1]) / (2 * step), rtol=2e-5, atol=2e-6)
    at = model.latent.slots["z_g"].start
    assert np.abs(np.asarray(gradient)[at : at + 5]).min() > 1e-6


def test_templates_that_name_the_same_parameters_share_a_field(build: Build, population_table: Table) -> None:
    both = build(fielded(fielded(population_table, KERNEL, 1), KERNEL, 2))
    assert list(both.expectation.fields) == ["z_g"]
    assert both.latent.slots["z_g"].n_latent == 49
    theta, sky = sky_of(both)
    base = build(population_table)
    plain = base.sky({name: theta[name] for name in base.latent.slots}).templates
    n = both.pixels.n_region
    factors = [np.asarray(sky.templates[name] / plain[name])[:n] for name in ("peak", "peak_ps")]
    np.testing.assert_allclose(factors[0] / factors[0][0], factors[1] / factors[1][0], rtol=1e-10)
    larger = {**KERNEL, "amplitude": "b"}
    two = build(fielded(fielded(population_table, KERNEL, 1), larger, 2, b={"prior": "halfnormal", "sd": 0.5}))
    assert list(two.expectation.fields) == ["z_g", "z_g (2)"]
    assert sum(name.startswith("sines:") for name in two.expectation.arrays["templates"]) == 1


def test_a_field_on_one_member_of_a_mixture(build: Build, smooth_table: Table) -> None:
    mix = {"mix": [{"map": "peak", "field": KERNEL}, "ring"], "fractions": 0.4}
    table = fielded(smooth_table, KERNEL)
    table["components"][0]["template"] = mix
    model = build(table)
    theta, sky = sky_of(model)
    alone = build(fielded(smooth_table, KERNEL, 1))
    ring = build(smooth_table | {"components": [{"name": "r", "norm": "S_flat", "template": "ring"}], "parameters": {
        "S_flat": smooth_table["parameters"]["S_flat"]}})  # fmt: skip
    parts = alone.sky(theta).templates["peak"], ring.sky({"S_flat": jnp.asarray(1.0)}).templates["r"]
    np.testing.assert_allclose(sky.templates["flat"], 0.4 * parts[0] + 0.6 * parts[1], rtol=1e-10)


def test_a_far_field_stays_finite(build: Build, smooth_table: Table) -> None:
    model = build(fielded(smooth_table, KERNEL, 1))
    theta = {**sky_of(model)[0], "z_g": jnp.full(49, 2e3)}
    assert np.isfinite(np.asarray(model.sky(theta).templates["peak"])).all()
    value, slope = jax.value_and_grad(lambda a: model.log_likelihood({**theta, "a": a}))(jnp.asarray(0.2))
    assert np.isfinite(value)
    assert np.isfinite(slope)


def test_coefficients_are_one_block(build: Build, smooth_table: Table, field: Table) -> None:
    model = build(fielded(smooth_table, field, 1))
    slot = model.latent.slots["z_g"]
    assert slot.block
    assert not any(other.block for name, other in model.latent.slots.items() if name != "z_g")
    assert block_parameters(model.spec) == {"z_g"}
    assert slot.labels[:2] == (("1,1", "1,2") if "kernel" in field else ("1,-1", "1,0"))
    assert "a" not in model.main_parameters()
    assert model_from_table(model.spec.model_dump(mode="json")) == model.spec


def test_models_without_fields_are_written_as_ever(build: Build, full_table: Table) -> None:
    written = build(full_table).spec.model_dump_json()
    assert '"field"' not in written
    assert '"parity"' not in written
    assert '"modulation":null' in written
    assert "field" not in repr(build(full_table).spec.components[0].template)


def test_a_modulation_of_both_parities(build: Build, smooth_table: Table) -> None:
    def with_parity(**more: Any) -> SkyModel:
        table = smooth_table | {"components": [dict(part) for part in smooth_table["components"]]}
        table["components"][1]["template"] = {
            "map": "peak", "modulation": {"l_max": 2, "coefficients": "Alm", **more},
        }  # fmt: skip
        table["parameters"] = table["parameters"] | {"Alm": {"prior": "normal", "mean": 0.0, "sd": 0.1}}
        return build(table)

    even, both = with_parity(), with_parity(parity="both")
    assert both.latent.slots["Alm"].labels == ("1,0", "1,1", "1,-1", "2,0", "2,1", "2,2", "2,-1", "2,-2")
    assert even.spec == with_parity(parity="cosine").spec
    norms = {"S_flat": 1.0, "S_peak": 1.0}
    given = both.point({**norms, "Alm": [0.1, 0.2, 0.0, 0.05, 0.1, 0.3, 0.0, 0.0]})
    of_even = even.point({**norms, "Alm": [0.1, 0.2, 0.05, 0.1, 0.3]})
    np.testing.assert_allclose(both.sky(given).templates["peak"], even.sky(of_even).templates["peak"], rtol=1e-12)
    odd = both.sky(both.point({**norms, "Alm": [0, 0, 0.4, 0, 0, 0, 0, 0]})).templates["peak"]
    plain = both.sky(both.point({**norms, "Alm": [0.0] * 8})).templates["peak"]
    east = both.pixels.lon_deg > 0.0
    ratio = np.asarray(odd / plain)
    assert abs(ratio[east].mean() - ratio[~east].mean()) > 0.02


REFUSED: dict[str, tuple[Table, Table, str]] = {
    "too short": ({}, {"ell": {"prior": "loguniform", "low": 3.0, "high": 12.0}}, "7 modes resolve lengths from .* on"),
    "too short, remedy": ({}, {"ell": {"prior": "loguniform", "low": 3.0, "high": 12.0}}, r"give modes = \d+"),
    "too long": ({}, {"ell": {"prior": "loguniform", "low": 10.0, "high": 90.0}}, "at most .* the width of the region"),
    "no end": ({}, {"ell": {"prior": "halfnormal", "sd": 2.0}}, "let it begin above 0"),
    "amplitude": ({}, {"a": {"prior": "uniform", "low": 0.0, "high": 9.0}}, "amplitude: expected at most 3"),
    "fixed amplitude": ({"amplitude": -0.1}, {}, "amplitude of a field must be at least 0, got -0.1"),
    "amplitude below zero": ({}, {"a": {"prior": "normal", "mean": 0.1, "sd": 0.1}}, "amplitude .* at least 0"),
    "fixed length": ({"length_deg": 0.0}, {}, "let it begin above 0"),
    "coefficients": ({}, {"z_g": {"prior": "normal", "mean": 0.0, "sd": 2.0}}, "standard normal"),
    "more modes than pixels": ({"modes": 40}, {}, "more than the .* fitted pixels"),
    "two kinds": ({"harmonics": 3}, {}, "either kernel or harmonics"),
    "unknown kernel": ({"kernel": "matern12"}, {}, "matern32"),
    "no such key": ({"mode": 3}, {}, "did you mean 'modes'"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_refused_in_one_line(build: Build, smooth_table: Table, case: str) -> None:
    changes, priors, message = REFUSED[case]
    field = {**KERNEL, **changes}
    table = fielded(smooth_table, field, 1, **priors)
    for name in ("a", "ell"):
        if name not in field.values():
            table["parameters"].pop(name, None)
    with pytest.raises(InputError, match=message) as caught:
        build(table)
    assert "\n" not in str(caught.value)


def test_modes_of_all_fields_together_are_no_more_than_pixels(build: Build, smooth_table: Table) -> None:
    """Each of two fields would fit; fields that share their coefficients have them once."""
    n_pixels = build(smooth_table).pixels.n_fit
    modes = int(np.sqrt(0.7 * n_pixels))
    many = {**KERNEL, "modes": modes}
    shared = build(fielded(fielded(smooth_table, many, 0), {**many, "amplitude": "b"}, 1, b=PRIORS["a"]))
    assert shared.latent.slots["z_g"].n_latent == modes**2 > n_pixels / 2
    own = {**many, "coefficients": "z_h"}
    message = f"field 'z_h': modes: {modes} makes {modes**2} modes and z_g {modes**2}, more than the {n_pixels} fitted"
    with pytest.raises(InputError, match=message):
        build(fielded(fielded(smooth_table, many, 0), own, 1, z_h=STANDARD))


def test_a_template_that_is_zero_in_the_region_has_no_field(build: Build, smooth_table: Table) -> None:
    table = fielded(smooth_table, KERNEL, 1)
    table["region"] = table["region"] | {"hemisphere": "north", "exposure_regions": 1}
    table["components"][1]["template"]["hemisphere"] = "south"
    with pytest.raises(InputError, match="nothing of the south; leave the field out"):
        build(table)
    south = {"map": "peak", "hemisphere": "south"}
    table["components"][1]["template"] = {"mix": [south], "fractions": [1.0], "field": KERNEL}
    with pytest.raises(InputError, match="field 'z_g': its template is zero everywhere in the region; leave the field"):
        build(table)
    empty = fielded(smooth_table, KERNEL, 1)
    empty["components"][1]["template"]["map"] = "empty"
    with pytest.raises(InputError, match="'empty' is zero everywhere"):
        build(empty)


def test_a_region_that_is_no_plane_takes_harmonics(build: Build, smooth_table: Table) -> None:
    whole = smooth_table | {"region": {"latitude_min": 5.0}}
    with pytest.raises(InputError, match="give `harmonics` in place of `kernel`"):
        build(fielded(whole, KERNEL, 1))
    model = build(fielded(whole, HARMONIC, 1))
    assert np.isfinite(model.log_density(jnp.zeros(model.n_latent)))


def test_waves_shorter_than_the_psf_are_not_offered(
    small_folder: Path, tmp_path: Path, smooth_table: Table, field: Table
) -> None:
    import shutil

    folder = tmp_path / "wide"
    shutil.copytree(small_folder, folder)
    manifest = next(folder.glob("*.toml"))
    text = manifest.read_text()
    manifest.write_text(text.replace('{ kind = "delta" }', '{ kind = "gaussian", sigma_deg = 6.0 }'))
    key = "modes" if "kernel" in field else "harmonics"
    given = {**field, key: 12 if key == "modes" else 40}
    with pytest.raises(InputError, match=rf"{key}: expected at most \d+, whose waves are as long as the PSF is wide"):
        SkyModel(model_from_table(fielded(smooth_table, given, 1)), Dataset.open(folder))
