"""The log density of a sky model: its parts, its gradient, its backends, its NumPyro form."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from numpyro.infer.util import log_density as numpyro_log_density
from scipy import stats

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.terms import PoissonTerm
from gammasky.engine.sky.dataset import Dataset


def draws(n: int, size: int, seed: int = 2) -> np.ndarray:
    """Points near the middle of the prior."""
    return 0.6 * np.random.default_rng(seed).normal(size=(n, size))


def test_the_density_is_prior_times_likelihood(any_table: dict[str, Any], build: Callable[..., SkyModel]) -> None:
    model = build(any_table)
    z = jnp.asarray(draws(1, model.n_latent)[0])
    theta = model.parameters(z)
    likelihood = float(model.log_likelihood(theta))
    prior = stats.norm.logpdf(z).sum()
    assert np.isfinite(likelihood)
    np.testing.assert_allclose(model.log_density(z), prior + likelihood, rtol=1e-13)
    np.testing.assert_allclose(model.pixel_log_likelihood(theta).sum(), likelihood, rtol=1e-12)
    assert model.pixel_log_likelihood(theta).shape == (model.pixels.n_fit,)


def nodes_below_breaks(model: SkyModel, z: np.ndarray) -> np.ndarray:
    """Nodes of the grid of S below each break of the full model whose place is free (breaks, n), at points z (n, D)."""
    theta = {name: np.asarray(value) for name, value in jax.vmap(model.parameters)(jnp.asarray(z)).items()}
    breaks = [theta["b_one"], theta["b_two"], theta["b_two"] * theta["ratio"], theta["b_three"]]
    return np.searchsorted(model.expectation.populations.s_grid, np.stack(breaks))


def test_each_entry_of_the_gradient_of_a_model_with_every_feature(full_model: SkyModel) -> None:
    """Central differences of fourth order in every latent entry.

    Where a break passes a node of the grid of S, dN/dS there changes from one power law to the other, whose derivatives
    by the break differ: the likelihood has a kink. Differences are taken where no break passes a node in their reach.
    """
    density, step = jax.jit(jax.vmap(full_model.log_density, (0, None))), 1e-3
    shifts = step * np.eye(full_model.n_latent)
    reach = np.concatenate([2 * shifts, -2 * shifts])
    smooth = [
        z for z in draws(40, full_model.n_latent) if not np.ptp(nodes_below_breaks(full_model, z + reach), axis=1).any()
    ]
    assert len(smooth) >= 2
    for z in smooth[:2]:
        _, found = full_model.value_and_gradient(jnp.asarray(z))
        at = {k: np.asarray(density(jnp.asarray(z + k * shifts), full_model.arrays)) for k in (-2, -1, 1, 2)}
        expected = (8 * (at[1] - at[-1]) - (at[2] - at[-2])) / (12 * step)
        assert (np.abs(expected) > 0).all()  # every parameter matters
        np.testing.assert_allclose(found, expected, rtol=1e-5, atol=2e-5 * np.abs(expected).max())


def test_the_reference_backend_agrees(small: Dataset, full_model: SkyModel, full_table: dict[str, Any]) -> None:
    reference = SkyModel(model_from_table(full_table), small, backend="reference")
    z = jnp.asarray(draws(1, full_model.n_latent)[0])
    value, gradient = full_model.value_and_gradient(z)
    expected, slopes = reference.value_and_gradient(z)
    np.testing.assert_allclose(value, expected, rtol=1e-9)
    np.testing.assert_allclose(gradient, slopes, rtol=1e-6, atol=1e-6 * np.abs(slopes).max())


def test_a_batch_equals_a_loop_and_compiles_once(
    build: Callable[..., SkyModel], population_table: dict[str, Any]
) -> None:
    model = build(population_table)
    traces = []
    traced = model.log_likelihood

    def counted(*arguments: Any) -> jax.Array:
        traces.append(1)
        return traced(*arguments)

    object.__setattr__(model, "log_likelihood", counted)
    points = jnp.asarray(draws(5, model.n_latent))
    values, gradients = model.value_and_gradient(points)
    assert len(traces) == 1
    model.value_and_gradient(points + 0.1)
    assert len(traces) == 1
    for z, value, gradient in zip(points, values, gradients, strict=True):
        one, slope = model.value_and_gradient(z)
        np.testing.assert_allclose(one, value, rtol=1e-13)
        np.testing.assert_allclose(slope, gradient, rtol=1e-10, atol=1e-10)
    assert len(traces) == 2  # a single point is another shape, compiled once for all five


def test_arrays_are_an_argument_so_programs_hold_no_data(full_model: SkyModel) -> None:
    z = jnp.zeros(full_model.n_latent)
    traced = jax.make_jaxpr(lambda arrays, z: full_model.log_density(z, arrays))(full_model.arrays, z)
    largest = max((np.size(constant) for constant in traced.consts), default=0)
    assert largest < full_model.pixels.n_fit


def test_the_numpyro_model_has_the_same_density(any_table: dict[str, Any], build: Callable[..., SkyModel]) -> None:
    model = build(any_table)
    z = jnp.asarray(draws(1, model.n_latent)[0])
    found, trace = numpyro_log_density(model.numpyro_model, (), {}, {"z": z})
    np.testing.assert_allclose(found, model.log_density(z), rtol=1e-13)
    for name, value in model.parameters(z).items():
        np.testing.assert_array_equal(trace[name]["value"], value)


def test_poisson_without_populations(build: Callable[..., SkyModel], smooth_table: dict[str, Any]) -> None:
    model = build(smooth_table)
    assert isinstance(model.counts_term, PoissonTerm)
    theta = model.point({"S_flat": 2.0, "S_peak": 3.0})
    templates = model.sky(theta).templates
    mean = 2.0 * templates["flat"] + 3.0 * templates["peak"]
    expected = stats.poisson.logpmf(model.pixels.counts, mean[: model.pixels.n_fit])
    np.testing.assert_allclose(model.pixel_log_likelihood(theta), expected, rtol=1e-11)


def test_a_population_of_very_faint_sources_is_poisson(
    build: Callable[..., SkyModel], population_table: dict[str, Any], smooth_table: dict[str, Any]
) -> None:
    """With all sources far below one count, point sources are smooth emission of the same template."""
    table = population_table
    table["region"]["exposure_regions"] = 1
    table["source_grid"] = {"min": 1e-8, "max": 1e-6, "nodes": 50}
    table["components"][2]["exposure"] = "as_is"
    table["parameters"]["sb"] = {"prior": "uniform", "low": 1e-7, "high": 5e-7}
    faint = build(table)
    theta = faint.point({"S_flat": 2.0, "S_peak": 3.0, "Sps": 1.5, "n1": 3.0, "n2": 1.0, "sb": 2e-7})
    smooth = build(smooth_table)
    expected = smooth.pixel_log_likelihood(smooth.point({"S_flat": 2.0, "S_peak": 4.5}))
    np.testing.assert_allclose(faint.pixel_log_likelihood(theta), expected, rtol=2e-5)


def test_source_counts_have_the_flux_that_norm_says(full_model: SkyModel) -> None:
    theta = full_model.parameters(jnp.asarray(draws(1, full_model.n_latent)[0]))
    s = full_model.expectation.populations.s_grid
    for name, norm in (("two", "Sps_two"), ("three", "Sps_three")):
        dnds = np.asarray(full_model.sky(theta).dnds[name])
        np.testing.assert_allclose(np.trapezoid(s * dnds, s), theta[norm], rtol=1e-12)
    dnds = np.asarray(full_model.sky(theta).dnds["one"])
    at_break = np.exp(np.interp(np.log(theta["b_one"]), np.log(s), np.log(dnds)))
    np.testing.assert_allclose(at_break, theta["A"], rtol=5e-2)  # the kink lies between two nodes


def test_fluxes_add_up_and_so_do_fractions(build: Callable[..., SkyModel], population_table: dict[str, Any]) -> None:
    model = build(population_table)
    theta = model.point({"S_flat": 2.0, "S_peak": 3.0, "Sps": 1.5, "n1": 3.0, "n2": 1.0, "sb": 8.0})
    sky = model.sky(theta)
    fluxes = {name: float(value) for name, value in model.expectation.fluxes(sky).items()}
    assert fluxes == pytest.approx({"flat": 2.0, "peak": 3.0, "peak_ps": 1.5}, rel=1e-12)
    fractions = model.expectation.point_source_fractions(sky)
    assert list(fractions) == ["peak"]
    np.testing.assert_allclose(fractions["peak"], 1.5 / 4.5, rtol=1e-12)


def test_the_flux_of_a_population_with_an_amplitude(full_model: SkyModel) -> None:
    theta = full_model.parameters(jnp.asarray(draws(1, full_model.n_latent)[0]))
    sky, s = full_model.sky(theta), full_model.expectation.populations.s_grid
    flux = full_model.expectation.fluxes(sky)["one"]
    np.testing.assert_allclose(flux, np.trapezoid(s * np.asarray(sky.dnds["one"]), s), rtol=1e-12)
    assert full_model.expectation.point_source_fractions(sky) == {}


def test_other_counts(any_table: dict[str, Any], small: Dataset, build: Callable[..., SkyModel]) -> None:
    """A model `with_counts` is the model of a dataset that holds them; looks at one sky add up."""
    model = build(any_table)
    rng = np.random.default_rng(8)
    z = jnp.asarray(draws(1, model.n_latent)[0])
    theta, looks = model.parameters(z), [rng.permutation(model.pixels.counts) for _ in range(2)]
    sky = small.counts.copy()
    sky[0, model.pixels.index[: model.pixels.n_fit]] = looks[0]
    expected = SkyModel(model_from_table(any_table), replace(small, counts=sky)).pixel_log_likelihood(theta)
    np.testing.assert_allclose(model.with_counts(looks[0]).pixel_log_likelihood(theta), expected, rtol=1e-12)
    both = model.with_counts(*looks)
    parts = [model.with_counts(look).value_and_gradient(z) for look in looks]
    prior = stats.norm.logpdf(z).sum()
    np.testing.assert_allclose(both.value_and_gradient(z)[0], sum(part[0] for part in parts) - prior, rtol=1e-12)
    np.testing.assert_allclose(both.value_and_gradient(z)[1], sum(part[1] for part in parts) + z, rtol=1e-9, atol=1e-9)
    np.testing.assert_array_equal(both.pixels.counts, looks[0])


def test_other_counts_that_do_not_fit(any_table: dict[str, Any], build: Callable[..., SkyModel]) -> None:
    model = build(any_table)
    counts = model.pixels.counts.copy()
    with pytest.raises(InputError, match="one shape"):
        model.with_counts(counts[1:])
    counts[3] = -1
    with pytest.raises(InputError, match="counts of pixel 3: expected at least 0, got -1"):
        model.with_counts(counts)


def test_counts_above_those_of_the_data_set(
    population_table: dict[str, Any], small: Dataset, build: Callable[..., SkyModel]
) -> None:
    """The response grows with the counts; how far it reaches depends on these counts alone."""
    model = build(population_table)
    counts = model.pixels.counts.copy()
    counts[3] = 3 * counts.max()
    theta = model.point({"S_flat": 2.0, "S_peak": 3.0, "Sps": 1.5, "n1": 3.0, "n2": 1.0, "sb": 8.0})
    sky = small.counts.copy()
    sky[0, model.pixels.index[: model.pixels.n_fit]] = counts
    expected = SkyModel(model.spec, replace(small, counts=sky)).pixel_log_likelihood(theta)
    bright = model.with_counts(counts)
    np.testing.assert_allclose(bright.pixel_log_likelihood(theta), expected, rtol=1e-12)
    again = bright.with_counts(model.pixels.counts)
    np.testing.assert_array_equal(again.arrays["counts"]["response"], model.arrays["counts"]["response"])
    assert again.identity == model.identity != bright.identity


def test_templates_reach_beyond_the_region(full_table: dict[str, Any], build: Callable[..., SkyModel]) -> None:
    """Pixels around the region are added at the end; nothing in the region changes."""
    model = build(full_table)
    wide = model.expectation.on(model.spec.region.flatten(model.dataset, around_deg=6.0))
    n_region, theta = model.pixels.n_region, model.parameters(jnp.asarray(draws(1, model.n_latent)[0]))
    assert model.pixels.n_pixels == wide.pixels.n_region == n_region < wide.pixels.n_pixels
    inner, outer = model.sky(theta), wide.sky(theta, wide.arrays)
    for name, template in inner.templates.items():
        # profiles interpolate over another range of angles
        np.testing.assert_allclose(outer.templates[name][:n_region], template, rtol=1e-8)
        assert outer.templates[name].shape == (wide.pixels.n_pixels,)
    for name, flux in model.expectation.fluxes(inner).items():
        np.testing.assert_allclose(wide.fluxes(outer)[name], flux, rtol=1e-9)
