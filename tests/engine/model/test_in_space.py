"""Populations in space within a model: the likelihood, its limits, numbers of sources, simulators and bad input."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.infer.coordinates import flux_coordinates
from gammasky.engine.infer.derived import LUMINOSITY, derive, luminosity_names
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model import shells as shells_module
from gammasky.engine.model.simulate import LikelihoodSimulator, PhotonSimulator
from gammasky.engine.sky.dataset import Dataset
from tests.engine.model.bins import MEAN_EXPOSURE, joint, photons, tilted, write_bins

Build = Callable[..., SkyModel]
Table = dict[str, Any]
CM_PER_KPC = 3.0856775814913673e21
NFW = {"nfw": {"gamma": 1.2}}
LUMINOSITY_TABLE: Table = {"median": "L", "sigma_dex": "width"}


def in_space(table: Table, template: Any = NFW, **luminosity: Any) -> Table:
    """The model with a population whose sources are in space."""
    table["parameters"] = {name: table["parameters"][name] for name in ("S_flat", "S_peak", "Sps")}
    of = {**LUMINOSITY_TABLE, **luminosity}
    if "L" in of.values():
        table["parameters"] |= {"L": {"prior": "loguniform", "low": 1e34, "high": 2e36, "unit": "s^-1"}}
        table["parameters"] |= {"width": {"prior": "uniform", "low": 0.2, "high": 0.8, "unit": "dex"}}
    own = {"name": "peak_ps", "group": "peak", "norm": "Sps", "template": template, "luminosity": of}
    table["components"][2] = own
    return table


def sky_of(model: SkyModel) -> Any:
    theta = model.parameters(jnp.zeros(model.n_latent))
    return theta, model.sky(theta)


def with_map(small_folder: Path, folder: Path, values: np.ndarray) -> Dataset:
    """The small sky with one more map, `own`."""
    folder.mkdir()
    for file in small_folder.iterdir():
        (folder / file.name).write_bytes(file.read_bytes())
    np.save(folder / "own.npy", values)
    manifest = folder / "dataset.toml"
    manifest.write_text(manifest.read_text() + '\nown = { file = "own.npy", unit = "intensity" }\n')
    return Dataset.open(folder)


POWER = {"slopes": ["n1", "n2"], "breaks": ["Lb"], "min": 1.0, "max": 1e50}


@pytest.mark.parametrize("options", [{"shells": 1}, {"shells": 2, "near_kpc": 8.2239995, "far_kpc": 8.2240005}])
def test_sources_at_one_distance_are_a_source_count_function(
    options: Table, population_table: Table, small_folder: Path, tmp_path: Path
) -> None:
    """One shell, or all sources at one distance: the likelihood and its gradient are those of `source_counts`."""
    slopes = {name: population_table["parameters"][name] for name in ("n1", "n2")}
    breaks = population_table["parameters"]["sb"]
    plain_table = {**population_table, "components": [dict(c) for c in population_table["components"]]}
    table = in_space(population_table)
    table["components"][2]["luminosity"] = POWER | options
    small = Dataset.open(small_folder)
    table["parameters"] = {name: table["parameters"][name] for name in ("S_flat", "S_peak", "Sps")}
    free = table["parameters"] | slopes | {"Lb": {"prior": "uniform", "low": 1e34, "high": 1e36}}
    model = SkyModel(model_from_table({**table, "parameters": free}), small)
    shells = model.expectation.populations.shells["peak_ps"]
    distance = float(shells.distances[0])
    per_count = 4 * np.pi * (distance * CM_PER_KPC) ** 2 / float(model.pixels.reference_exposure[0])
    if options["shells"] == 2:
        assert np.ptp(shells.distances) < 2e-6
    free |= {"Lb": {"prior": "uniform", "low": breaks["low"] * per_count, "high": breaks["high"] * per_count}}
    model = SkyModel(model_from_table({**table, "parameters": free}), small)
    template = np.full(3072, 1.0)
    template[model.pixels.pixel] = np.asarray(sky_of(model)[1].templates["peak_ps"])
    dataset = with_map(small_folder, tmp_path / "own", template)
    plain_table["components"][2]["template"] = "own"
    plain_table["parameters"] = {**table["parameters"], **slopes, "sb": breaks}
    plain = SkyModel(model_from_table(plain_table), dataset)
    for z in 0.8 * np.random.default_rng(3).standard_normal((4, plain.n_latent)):
        (value, gradient), (wanted, slope) = model.value_and_gradient(z), plain.value_and_gradient(z)
        bound = 1e-12 if options["shells"] == 1 else 1e-6  # of two shells 1e-7 in distance apart
        assert float(value) == pytest.approx(float(wanted), rel=bound)
        np.testing.assert_allclose(gradient, slope, rtol=1e4 * bound, atol=1e4 * bound)


@pytest.mark.parametrize("template", [NFW, {"disk": {"scale_height": 0.5, "C": 4.0}}, {"einasto": {"alpha": 0.17}}])
@pytest.mark.parametrize("shells", [1, 3, 12])
def test_the_flux_of_all_shells_is_the_template(
    template: Table, shells: int, population_table: Table, build: Build
) -> None:
    """Where the grid holds all sources, expected counts follow the line-of-sight integral of the density."""
    table = in_space(
        population_table, template, median=2e35, sigma_dex=0.1, shells=shells, near_kpc=1e-4, far_kpc=100.0
    )
    table["source_grid"] = {"min": 1e-8, "max": 1e13, "nodes": 2000}
    found = sky_of(build(table))[1].templates["peak_ps"]
    other = build({**table, "components": [*table["components"][:2], {
        "name": "peak_ps", "norm": "Sps", "template": template,
        "source_counts": {"slopes": [3.0, 0.0], "breaks": [5.0]},
    }]})  # fmt: skip
    np.testing.assert_allclose(found, sky_of(other)[1].templates["peak_ps"], rtol=3e-5)


def test_mean_counts_are_number_times_luminosity_over_distance_squared(population_table: Table, build: Build) -> None:
    """norm = n <L> <1 / (4 pi d^2)> eps, and dN/dS of a pixel adds up to its template."""
    table = in_space(population_table, near_kpc=0.5, far_kpc=30.0)
    table["source_grid"] = {"min": 1e-6, "max": 1e7, "nodes": 10_000}  # trapezia between nodes err by their square
    model = build(table)
    theta, sky = sky_of(model)
    found, shells = sky.shells["peak_ps"], model.expectation.populations.shells["peak_ps"]
    mean_flux = float(found.mean_shares @ (1 / (4 * np.pi * (shells.distances * CM_PER_KPC) ** 2)))
    mean_luminosity = float(theta["L"]) * np.exp(0.5 * (float(theta["width"]) * np.log(10)) ** 2)
    exposure = float(model.pixels.reference_exposure[0])
    counts = float(found.per_pixel) * mean_luminosity * mean_flux * exposure
    assert float(sky.norms["peak_ps"]) == float(theta["Sps"])
    assert counts == pytest.approx(float(theta["Sps"]), rel=2e-6)
    populations = model.expectation.populations
    per_count = populations.quadrature * populations.s_grid
    shares = np.asarray(model.expectation.shares("peak_ps", found, model.arrays["sky"], model.pixels.n_pixels))
    assert shares[:, : model.pixels.n_region].sum(axis=0).mean() == pytest.approx(1.0, rel=1e-12)
    of_pixels = (per_count @ np.asarray(found.rows).T) @ shares
    np.testing.assert_allclose(of_pixels, float(theta["Sps"]) * sky.templates["peak_ps"], rtol=1e-12)
    assert per_count @ np.asarray(sky.dnds["peak_ps"]) == pytest.approx(float(theta["Sps"]), rel=1e-12)


def test_an_amplitude_is_the_number_of_sources(population_table: Table, build: Build) -> None:
    """The same sky from its number of sources as from its mean counts."""
    table = in_space(population_table)
    model = build(table)
    theta, sky = sky_of(model)
    number = float(model.expectation.numbers_of_sources(sky, theta)["peak_ps"]["sources"])
    own = {name: value for name, value in table["components"][2].items() if name != "norm"} | {"amplitude": number}
    parameters = {name: value for name, value in table["parameters"].items() if name != "Sps"}
    other = build({**table, "components": [*table["components"][:2], own], "parameters": parameters})
    point = {name: theta[name] for name in parameters}
    there = other.sky(point)
    assert float(there.norms["peak_ps"]) == pytest.approx(float(theta["Sps"]), rel=1e-10)
    assert float(other.log_likelihood(point)) == pytest.approx(float(model.log_likelihood(theta)), rel=1e-12)


def test_numbers_of_sources(population_table: Table, build: Build) -> None:
    """Those above a flux are counted on a fine grid; all are those of the volume."""
    model = build(in_space(population_table, threshold_cm2_s=3e-11))
    z = 0.5 * np.random.default_rng(4).standard_normal((3, model.n_latent))
    derived = derive(model, z)
    names = luminosity_names(model)
    assert list(names) == [
        "peak_ps, mean luminosity", "peak_ps, sources", "peak_ps, sources in the region",
        "peak_ps, share of the flux on the source grid", "peak_ps, sources in the region above 3e-11 cm-2 s-1",
    ]  # fmt: skip
    assert list(names.values()) == ["s-1", "sources", "sources", "1", "sources"]
    wide = build(in_space({**population_table, "source_grid": {"min": 1e-7, "max": 1e9, "nodes": 6000}}))
    populations, threshold = wide.expectation.populations, 3e-11 * float(model.pixels.reference_exposure[0])
    for draw in range(3):
        theta = {name: jnp.asarray(derived[name][draw]) for name in model.latent.slots}
        mean, total, inside, share, above = derived[LUMINOSITY][draw]
        sky = wide.sky(theta | {"Sps": theta["Sps"] / share})
        dnds, s = np.asarray(sky.dnds["peak_ps"]), populations.s_grid
        n_region = model.pixels.n_region
        assert inside == pytest.approx(n_region * np.trapezoid(dnds, s), rel=1e-6)
        below = np.concatenate([[0.0], np.cumsum(0.5 * (dnds[1:] + dnds[:-1]) * np.diff(s))])
        assert above == pytest.approx(n_region * (below[-1] - np.interp(threshold, s, below)), rel=1e-4)
        assert mean == pytest.approx(float(theta["L"]) * np.exp(0.5 * (float(theta["width"]) * np.log(10)) ** 2))
        assert total > 1.5 * inside
        shells = model.expectation.populations.shells["peak_ps"]
        found = model.sky(theta).shells["peak_ps"]
        assert total / inside == pytest.approx(float(shells.volume(theta) / found.per_density / n_region), rel=1e-12)


def test_the_threshold_is_that_of_the_data_set_where_the_model_has_none(
    population_table: Table, small: Dataset
) -> None:
    manifest = small.manifest.model_copy(update={"thresholds_cm2_s": {"cat": (1e-11, 2e-11)}})
    model = SkyModel(model_from_table(in_space(population_table)), replace(small, manifest=manifest))
    assert "peak_ps, sources in the region above 2e-11 cm-2 s-1" in luminosity_names(model)
    assert len(luminosity_names(SkyModel(model_from_table(in_space(population_table)), small))) == 4


def test_simulated_skies_have_the_expected_counts_and_sources(population_table: Table, build: Build) -> None:
    model = build(in_space(population_table, median=5e35, sigma_dex=0.3))
    theta, sky = sky_of(model)
    expected = model.expectation.counts(sky, model.arrays["sky"])
    mean = np.asarray(sum(expected.values()))[: model.pixels.n_fit].sum()
    drawn = LikelihoodSimulator(model).draw(theta, n=400, seed=2).sum(axis=1)
    assert abs(drawn.mean() - mean) < 4 * drawn.std() / 20
    photons = PhotonSimulator(model)
    counts, lists = photons.draw_with_sources(theta, n=200, seed=2)
    seen = counts[:, : model.pixels.n_fit].sum(axis=1)
    assert abs(seen.mean() - mean) < 4 * seen.std() / np.sqrt(200) + 0.02 * mean  # exposure within a region
    found = np.array([len(sources.s) for sources in lists])
    number = np.trapezoid(np.asarray(sky.dnds["peak_ps"]), model.expectation.populations.s_grid) * model.pixels.n_region
    assert abs(found.mean() - number) < 4 * np.sqrt(number / 200) + 5e-3 * number
    assert all((sources.population == 0).all() for sources in lists)


def test_several_bins_take_shells_as_they_take_populations(tmp_path: Path) -> None:
    """One shell of a spectrum in four bins is a source-count function of fluxes; more are finite, and drawn."""
    plain_table = joint()
    del plain_table["components"][3], plain_table["parameters"]["A"]
    dataset = write_bins(tmp_path / "sky", photons(4), tilted(MEAN_EXPOSURE))
    plain = SkyModel(model_from_table(plain_table), dataset)

    def model_of(**options: Any) -> SkyModel:
        own = {name: value for name, value in plain_table["components"][2].items() if name != "source_counts"}
        own["luminosity"] = {"slopes": ["n1", "n2"], "breaks": ["Lb"], "min": 1.0, "max": 1e50, **options}
        prior = plain_table["parameters"]["Fb"]
        limits = {key: prior[key] * per_flux for key in ("low", "high")}
        parameters = {name: value for name, value in plain_table["parameters"].items() if name != "Fb"}
        components = [*plain_table["components"][:2], own]
        return SkyModel(model_from_table(
            plain_table | {"parameters": parameters | {"Lb": prior | limits}, "components": components}
        ), dataset)  # fmt: skip

    per_flux = 1e45
    whole = {"near_kpc": 1e-8, "far_kpc": 100.0}  # what is nearer to the Sun than that is missing here alone
    distance = float(model_of(shells=1, **whole).expectation.populations.shells["gce_ps"].distances[0])
    per_flux = 4 * np.pi * (distance * CM_PER_KPC) ** 2
    model = model_of(shells=1, **whole)
    z = 0.4 * np.random.default_rng(2).standard_normal(plain.n_latent)
    (value, gradient), (wanted, slope) = model.value_and_gradient(z), plain.value_and_gradient(z)
    assert float(value) == pytest.approx(float(wanted), rel=1e-10)  # the kernel of spheres is that exact
    np.testing.assert_allclose(gradient, slope, rtol=1e-7, atol=1e-7)
    several = model_of(shells=4)
    value, gradient = several.value_and_gradient(z)
    assert np.isfinite(value)
    assert np.isfinite(gradient).all()
    theta, sky = several.parameters(jnp.asarray(z)), several.sky(several.parameters(jnp.asarray(z)))
    drawn = LikelihoodSimulator(several).draw(theta, n=300, seed=2).sum(axis=1)
    mean = float(sum(np.asarray(c)[: several.pixels.n_fit].sum() for c in several.expectation.counts(
        sky, several.arrays["sky"]).values()))  # fmt: skip
    assert abs(drawn.mean() - mean) < 4 * drawn.std() / np.sqrt(300)
    fluxes = several.expectation.bin_fluxes(sky)["gce_ps"]
    assert float(fluxes.sum()) == pytest.approx(float(theta["Sps"]), rel=1e-10)
    counts, lists = PhotonSimulator(several).draw_with_sources(theta, n=2, seed=1)
    assert counts.shape == (2, several.pixels.n_region)
    assert all((sources.population == 0).all() for sources in lists)


def test_a_grid_of_fluxes_gives_what_a_grid_of_counts_gives(population_table: Table, build: Build) -> None:
    table = in_space(population_table, median=5e35, sigma_dex=0.4)
    plain = build(table)
    exposure = float(plain.pixels.reference_exposure[0])
    grid = {"flux_min": 0.1 / exposure, "flux_max": 50.0 / exposure, "nodes": 120}
    other = build({**table, "source_grid": grid})
    theta, sky = sky_of(plain)
    there = other.sky(theta)
    np.testing.assert_allclose(there.norms["peak_ps"], sky.norms["peak_ps"], rtol=1e-12)
    np.testing.assert_allclose(there.dnds["peak_ps"] / exposure, sky.dnds["peak_ps"], rtol=1e-10)
    numbers, wanted = (
        model.expectation.numbers_of_sources(found, theta)["peak_ps"] for model, found in ((other, there), (plain, sky))
    )
    for name, value in wanted.items():
        assert float(numbers[name]) == pytest.approx(float(value), rel=1e-10), name
    assert float(other.log_likelihood(theta)) == pytest.approx(float(plain.log_likelihood(theta)), abs=0.3)
    draws = LikelihoodSimulator(other).draw(theta, n=50, seed=1)
    assert draws.shape == (50, other.pixels.n_fit)


@pytest.mark.parametrize(("change", "message"), [
    ({"template": "peak"}, r"component 'peak_ps': a luminosity function needs to know how far .* 'peak' is a shape"),
    ({"template": {"mix": [NFW, "peak"], "fractions": 0.5}}, "'mix' is a shape on the sky only"),
    ({"template": NFW | {"hemisphere": "north"}}, "hemisphere: with a luminosity function the template is the density"),
    ({"template": {"bar": {"falloff": "bessel_k0"}}}, "'bessel_k0' takes too long as a density in space"),
    ({"source_counts": {"slopes": [3.0, 1.0], "breaks": [5.0]}}, "leave one of luminosity and source_counts out"),
    ({"luminosity": {"median": "L", "sigma_dx": "width"}}, "unknown field 'components.peak_ps.luminosity.sigma_dx'; "
                                                             "did you mean 'sigma_dex'"),
    ({"luminosity": LUMINOSITY_TABLE | {"shells": 0}}, "shells': input should be greater than or equal to 1"),
    ({"luminosity": LUMINOSITY_TABLE | {"shells": 65}}, "shells': input should be less than or equal to 64"),
    ({"luminosity": LUMINOSITY_TABLE | {"near_kpc": 60.0}}, "near_kpc must be below far_kpc, got near_kpc=60"),
    ({"luminosity": LUMINOSITY_TABLE | {"near_kpc": 0.0}}, "near_kpc': input should be greater than 0"),
    ({"luminosity": LUMINOSITY_TABLE | {"far_kpc": 200.0}}, "far_kpc': input should be less than or equal to 100"),
    ({"luminosity": LUMINOSITY_TABLE | {"median": 1e44}}, "luminosity: in the middle of the priors a part of .* of the "
                                                          "flux of its sources is on the source grid of 0.1 to 50"),
    ({"luminosity": LUMINOSITY_TABLE | {"median": -1.0}}, r"a median luminosity \[s\^-1\] must be at least 1, got -1"),
    ({"luminosity": LUMINOSITY_TABLE | {"sigma_dex": 0.0}}, "a width sigma_dex must be at least 0.05, got 0"),
    ({"luminosity": {"slopes": [3.0], "breaks": [1e35], "min": 1e33, "max": 1e37}}, "1 breaks need 2 slopes, got 1"),
    ({"luminosity": {"slopes": [3.0, 1.0], "breaks": [1e38], "min": 1e33, "max": 1e37}}, "must be at most 1e"),
    ({"luminosity": {"slopes": [3.0, 2.0, 1.0], "breaks": ["L", "L"], "min": 1e33, "max": 1e37}},
     "breaks of the luminosity out of order: 'L' reaches 2e"),
    ({"luminosity": {"slopes": [3.0, 1.0], "breaks": [1e35]}}, "luminosity.min' is missing"),
    ({"norm": {"per_bin": "Sps"}}, "per_bin is for smooth emission"),
])  # fmt: skip
def test_bad_input(change: Table, message: str, population_table: Table, small: Dataset) -> None:
    table = in_space(population_table)
    table["components"][2] |= change
    used = str(table["components"])
    table["parameters"] = {name: prior for name, prior in table["parameters"].items() if f"'{name}'" in used}
    with pytest.raises(InputError, match=message) as caught:
        SkyModel(model_from_table(table), small)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(("name", "prior", "message"), [
    ("width", {"prior": "uniform", "low": -0.1, "high": 0.8}, "a width sigma_dex must be at least 0.05, its prior"),
    ("width", {"prior": "normal", "mean": 0.5, "sd": 0.1}, "a width sigma_dex must be at least 0.05, its prior"),
    ("L", {"prior": "uniform", "low": -1e35, "high": 1e36}, "must be at least 1, its prior starts at -1e"),
])  # fmt: skip
def test_priors_that_allow_no_luminosity(
    name: str, prior: Table, message: str, population_table: Table, small: Dataset
) -> None:
    table = in_space(population_table)
    table["parameters"][name] = prior
    with pytest.raises(InputError, match=message):
        SkyModel(model_from_table(table), small)


def test_a_model_without_luminosities_is_written_as_ever(population_table: Table) -> None:
    assert "luminosity" not in model_from_table(population_table).model_dump_json()
    spec = model_from_table(in_space(population_table))
    again = model_from_table(spec.model_dump(mode="json"))
    assert again == spec
    assert jax.tree.leaves(again.components[2].luminosity) == jax.tree.leaves(spec.components[2].luminosity)


def test_many_lines_of_sight_go_block_by_block(
    population_table: Table, build: Build, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The same value and gradient as all at once."""
    table = in_space(population_table, {"nfw": {"gamma": "gamma", "axis_ratio": 0.7}})
    table["parameters"]["gamma"] = {"prior": "uniform", "low": 0.8, "high": 1.6}
    whole = build(table)
    z = 0.3 * np.random.default_rng(5).standard_normal((2, whole.n_latent))
    value, gradient = whole.value_and_gradient(z)
    monkeypatch.setattr(shells_module, "_AT_ONCE", 8)
    lines = whole.expectation.populations.shells["peak_ps"].arrays["directions"].shape[1]
    assert lines > 8
    assert lines % 8
    parts = build(table)
    np.testing.assert_allclose(parts.value_and_gradient(z)[0], value, rtol=1e-12)
    np.testing.assert_allclose(parts.value_and_gradient(z)[1], gradient, rtol=1e-9, atol=1e-9)


def test_a_population_of_no_sources_has_numbers(population_table: Table, build: Build) -> None:
    model = build(in_space(population_table))
    theta = model.parameters(jnp.zeros(model.n_latent)) | {"Sps": jnp.asarray(0.0)}
    found = model.expectation.numbers_of_sources(model.sky(theta), theta)["peak_ps"]
    assert all(np.isfinite(float(value)) for value in found.values())
    assert float(found["sources"]) == 0.0
    assert np.isfinite(float(model.log_likelihood(theta)))


def test_a_number_of_sources_is_a_coordinate_by_its_counts(population_table: Table, build: Build) -> None:
    """Samplers move in mean counts where a model has a log-uniform number of sources."""
    table = in_space(population_table)
    del table["components"][2]["norm"], table["parameters"]["Sps"]
    table["components"][2]["amplitude"] = "N"
    table["parameters"]["N"] = {"prior": "loguniform", "low": 10.0, "high": 1e5}
    model = build(table)
    assert [amplitude.parameter for amplitude in model.flux_axes.amplitudes] == ["N"]
    coordinates = flux_coordinates(model)
    z = jnp.asarray(0.5 * np.random.default_rng(6).standard_normal(model.n_latent))
    np.testing.assert_allclose(coordinates.to_latent(coordinates.from_latent(z))[0], z, atol=1e-9)
