"""The likelihood of several energy bins at the level of models: what it must equal, its gradient, its draws."""

from __future__ import annotations

import re
from pathlib import Path
from typing import Any

import jax
import jax.numpy as jnp
import numpy as np
import pytest
from scipy.special import gammaln

from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.terms import JointNptfTerm, NptfTerm
from gammasky.engine.model.terms.shifted_grid import ShiftedGrid
from tests.engine.model.bins import EDGES, MEAN_EXPOSURE, joint, photons, tilted, uniform, write_bins


def model_of(folder: Path, table: dict[str, Any], counts: np.ndarray, exposure: np.ndarray, **more: Any) -> SkyModel:
    return SkyModel(model_from_table(table), write_bins(folder, counts, exposure, **more))


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> SkyModel:
    return model_of(tmp_path_factory.mktemp("joint") / "sky", joint(), photons(4), tilted(MEAN_EXPOSURE))


@pytest.fixture(scope="module")
def point(model: SkyModel) -> dict[str, jax.Array]:
    return model.parameters(0.4 * jnp.asarray(np.random.default_rng(2).normal(size=model.n_latent)))


def in_counts(table: dict[str, Any], exposure: float) -> dict[str, Any]:
    """The same model of one energy bin, with source-count functions of S."""
    grid, parameters = table["source_grid"], dict(table["parameters"])
    limits = {"min": grid["flux_min"] * exposure, "max": grid["flux_max"] * exposure, "nodes": grid["nodes"]}
    scales = {"Fb": exposure, "A": 1 / exposure}
    for name, scale in scales.items():
        prior = parameters[name]
        parameters[name] = prior | {"low": prior["low"] * scale, "high": prior["high"] * scale}
    parameters.pop("index")
    components = [{k: v for k, v in c.items() if k != "spectrum"} for c in table["components"]]
    return table | {"source_grid": limits, "parameters": parameters, "components": components}


@pytest.mark.parametrize(("regions", "rtol"), [(1, 1e-12), (3, 2e-5)])
def test_one_bin_is_the_nptf_likelihood(tmp_path: Path, regions: int, rtol: float) -> None:
    """The same numbers where the nodes of S are those of F; between them dN/dF is read off, to the step squared."""
    table = joint()
    table["region"] = table["region"] | {"exposure_regions": regions}
    if regions > 1:  # half a step: a quarter of an error of up to 3e-5
        table["source_grid"] = table["source_grid"] | {"nodes": 2 * table["source_grid"]["nodes"]}
    counts, exposure = photons(1), tilted(MEAN_EXPOSURE[:1])
    one = model_of(tmp_path / "flux", table, counts, exposure, edges=EDGES[:2])
    reference = float(one.pixels.reference_exposure[0])
    other = model_of(tmp_path / "counts", in_counts(table, reference), counts, exposure, edges=EDGES[:2])
    assert isinstance(one.counts_term, JointNptfTerm)
    assert isinstance(other.counts_term, NptfTerm)
    theta = one.parameters(0.4 * jnp.asarray(np.random.default_rng(2).normal(size=one.n_latent)))
    scaled = {n: v for n, v in theta.items() if n != "index"}
    scaled |= {"Fb": theta["Fb"] * reference, "A": theta["A"] / reference}
    np.testing.assert_allclose(one.pixel_log_likelihood(theta), other.pixel_log_likelihood(scaled), rtol=rtol)
    if regions > 1:
        return
    slopes, expected = (jax.jit(jax.grad(m.log_likelihood))(at) for m, at in ((one, theta), (other, scaled)))
    for name in ("S_flat", "S_gce", "gamma", "Sps", "n1", "n2"):
        np.testing.assert_allclose(slopes[name], expected[name], rtol=1e-10)
    assert abs(float(slopes["index"])) < 1e-9  # no spectrum in one bin
    fluxes, others = one.expectation.fluxes(one.sky(theta)), other.expectation.fluxes(other.sky(scaled))
    for name, flux in fluxes.items():
        np.testing.assert_allclose(flux, others[name], rtol=1e-12)


def test_bins_of_one_spectrum_are_the_merged_bin_shared_out(tmp_path: Path) -> None:
    """log P(k_1 .. k_E) = log P(k) + log multinomial(k_1 .. k_E; phi), where all that shines has the shares phi."""
    counts, table = photons(4), joint()
    exposure = np.broadcast_to(MEAN_EXPOSURE[:, None], (4, 768))
    table["region"] = table["region"] | {"exposure_regions": 1}
    four = model_of(tmp_path / "four", table, counts, exposure)
    theta = four.parameters(jnp.zeros(four.n_latent))
    shares = np.asarray(four.sky(theta).shares["flat"])
    # one exposure for the merged bin: photons of a source in all bins together, for this spectrum
    merged = model_of(
        tmp_path / "one", table, counts.sum(axis=0)[None], np.full((1, 768), shares @ MEAN_EXPOSURE),
        edges=(EDGES[0], EDGES[-1]),
    )  # fmt: skip
    seen = four.counts_term.counts.reshape(4, -1)
    np.testing.assert_array_equal(seen.sum(axis=0), merged.counts_term.counts)
    phi = shares * MEAN_EXPOSURE / (shares @ MEAN_EXPOSURE)
    multinomial = gammaln(seen.sum(axis=0) + 1) - gammaln(seen + 1).sum(axis=0) + (seen * np.log(phi)[:, None]).sum(0)
    found = np.asarray(four.pixel_log_likelihood(theta)) - multinomial
    np.testing.assert_allclose(found, merged.pixel_log_likelihood(theta), rtol=1e-12)


def test_the_gradient_is_that_of_differences(model: SkyModel) -> None:
    z = 0.4 * np.random.default_rng(2).normal(size=model.n_latent)
    value, gradient = model.value_and_gradient(z)
    steps = 1e-5 * np.eye(model.n_latent)
    up, down = (model.value_and_gradient(z + sign * steps)[0] for sign in (1, -1))
    np.testing.assert_allclose(gradient, (up - down) / 2e-5, rtol=3e-7, atol=1e-5)
    assert np.isfinite(float(value))


def test_expected_counts_are_those_of_the_draws(model: SkyModel, point: dict[str, jax.Array]) -> None:
    """The likelihood's own draws have the expected counts in every bin, more scatter than Poisson, and bins that rise
    and fall together."""
    sky = model.sky(point)
    counts = model.expectation.counts(sky, model.arrays["sky"])
    expected = np.sum([np.asarray(part)[: model.pixels.n_fit] for part in counts.values()], axis=0)
    drawn = model.counts_term.draw(sky, n=3000, seed=5)
    np.testing.assert_array_equal(drawn[2:4], model.counts_term.draw(sky, n=2, seed=5, first=2))
    error = drawn.std(axis=0) / np.sqrt(len(drawn))
    pull = (drawn.mean(axis=0) - expected) / error
    assert np.abs(pull).max() < 5.0
    assert pull.std() == pytest.approx(1.0, abs=0.15)
    by_bin = drawn.reshape(len(drawn), 4, -1)
    total = by_bin.sum(axis=2).mean(axis=0)
    np.testing.assert_allclose(total, expected.reshape(4, -1).sum(axis=1), rtol=0.01)
    residual = by_bin - expected.reshape(4, -1)
    together = (residual[:, 0] * residual[:, 1]).mean()
    point_sources = np.asarray(counts["gce_ps"] + counts["flat_ps"])[: model.pixels.n_fit].reshape(4, -1)
    assert together > 0.1 * np.sqrt(point_sources[0] * point_sources[1]).mean()


def test_fluxes_by_bin_follow_the_spectrum(model: SkyModel, point: dict[str, jax.Array]) -> None:
    """In each bin they are the share of the flux times the template's mean exposure; in all, the norms."""
    sky, pixels = model.sky(point), model.pixels
    shares, exposure = np.asarray(sky.shares["gce_ps"]), pixels.by_bin(pixels.exposure)
    template = pixels.by_bin(np.asarray(sky.templates["gce_ps"])).sum(axis=0)  # of the sky, without exposure
    photons = {
        "flat": shares * exposure.mean(axis=1),
        "gce": shares * (template * exposure).mean(axis=1),
        "gce_ps": shares * pixels.reference_exposure,
        "flat_ps": shares * pixels.reference_exposure,
    }
    for name, fluxes in model.expectation.bin_fluxes(sky).items():
        np.testing.assert_allclose(fluxes / fluxes.sum(), photons[name] / photons[name].sum(), rtol=1e-12)
    fluxes = model.expectation.fluxes(sky)
    for name, component in (("S_flat", "flat"), ("S_gce", "gce"), ("Sps", "gce_ps")):
        np.testing.assert_allclose(fluxes[component], point[name], rtol=1e-12)


def test_other_counts_and_several_looks(model: SkyModel, point: dict[str, jax.Array]) -> None:
    first, second = model.counts_term.draw(model.sky(point), n=2, seed=8)
    alone = [model.with_counts(counts) for counts in (first, second)]
    both = model.with_counts(first, second)
    total = sum(np.asarray(one.pixel_log_likelihood(point)) for one in alone)
    np.testing.assert_allclose(both.pixel_log_likelihood(point), total, rtol=1e-13)
    assert len({one.identity["observation"] for one in (model, *alone, both)}) == 4
    with pytest.raises(ValueError, match=r"counts: expected shape \(\d+,\), all energy bins, got \(3,\)"):
        model.with_counts(np.zeros(3, dtype=int))


def test_what_is_not_finite_names_the_pixel(model: SkyModel, point: dict[str, jax.Array]) -> None:
    wrong = {**point, "S_flat": jnp.asarray(-50.0)}
    told = str(model.explain(wrong))
    assert re.search(r"log-likelihood is nan in pixel \d+ .*, count \d+, \d+, \d+, \d+, smooth mean -", told)


@pytest.mark.parametrize("exposure", [1.0, 1.37, 0.61, 2.99])
def test_sources_on_shifted_grids(exposure: float) -> None:
    """Number and flux of sources are kept, and smooth functions of S are integrated as on a grid of their own."""
    flux = np.geomspace(1e-3, 1.0, 400)
    grid = ShiftedGrid.build(flux, 1.0, 0.5, 3.0)
    dndf = jnp.asarray(np.stack([flux**-1.8, np.minimum(flux / 0.03, 1.0) ** 0.5 * flux**-1.2]))
    found = np.asarray(grid.sources(dndf, jnp.asarray([exposure, 1.0])))[:, 0]
    fine = np.geomspace(1e-3, 1.0, 40_001)
    laws = np.stack([fine**-1.8, np.minimum(fine / 0.03, 1.0) ** 0.5 * fine**-1.2])
    assert (found >= 0).all()
    weights = np.diff(flux)
    coarse = 0.5 * (weights * (dndf * flux)[:, 1:] + weights * (dndf * flux)[:, :-1]).sum(axis=1)
    np.testing.assert_allclose(found @ grid.nodes, exposure * coarse, rtol=1e-13)
    for function in (lambda s: 1.0 - np.exp(-30 * s), lambda s: (20 * s) ** 5 * np.exp(-20 * s)):
        exact = np.trapezoid(laws * function(exposure * fine), fine, axis=1)
        np.testing.assert_allclose(found @ function(grid.nodes), exact, rtol=3e-4)


def test_populations_of_free_shares(tmp_path: Path) -> None:
    """A spectrum that is free per bin, two norms per bin, maps with bins of their own, and the spectrum of a table."""
    table = joint()
    table["components"] = [
        {"name": "glow", "norm": "S_glow", "template": "glow"},
        {"name": "flat", "norm": {"per_bin": "S_flat"}, "template": "flat"},
        {"name": "peak", "norm": {"per_bin": [0.5, "S_2", 0.2, 0.1]}, "template": "peak"},
        {"name": "shape", "norm": 0.7, "template": "glow", "spectrum": {"table": {"energies_gev": [0.5, 50.0],
                                                                                   "values": [1.0, 1e-4]}}},
        {"name": "ps", "norm": "Sps", "template": "flat", "spectrum": {"free": {"shares": "p"}},
         "source_counts": {"slopes": [3.0, 1.0], "breaks": [1e-10]}},
    ]  # fmt: skip
    table["parameters"] = {
        "S_glow": uniform(0.1, 2.0),
        "S_flat": uniform(0.1, 2.0),
        "S_2": uniform(0.1, 2.0),
        "Sps": uniform(0.1, 2.0),
        "p": {"prior": "dirichlet", "concentration": 1.0},
    }
    model = model_of(tmp_path / "sky", table, photons(4), tilted(MEAN_EXPOSURE))
    bins = ("1-2", "2-5", "5-10", "10-40")
    of_bins = [f"S_flat[{b} GeV]" for b in bins], [f"p[{b} GeV]" for b in bins[:3]]
    assert model.latent.names == ["S_glow", *of_bins[0], "S_2", "Sps", *of_bins[1]]
    z = jnp.asarray(np.random.default_rng(4).normal(size=model.n_latent))
    theta = model.parameters(z)
    found = {name: np.asarray(v) for name, v in model.expectation.bin_fluxes(model.sky(theta)).items()}
    np.testing.assert_allclose(found["flat"], theta["S_flat"], rtol=1e-12)
    np.testing.assert_allclose(found["peak"], [0.5, theta["S_2"], 0.2, 0.1], rtol=1e-12)
    np.testing.assert_allclose(found["shape"].sum(), 0.7, rtol=1e-12)
    per_exposure = found["shape"] / model.pixels.mean_exposure
    law = -np.diff(1 / np.array(EDGES))
    np.testing.assert_allclose(per_exposure / per_exposure.sum(), law / law.sum(), rtol=1e-12)
    ps = np.asarray(theta["p"]) * model.pixels.reference_exposure
    np.testing.assert_allclose(found["ps"], theta["Sps"] * ps / ps.sum(), rtol=1e-12)
    glow = model.dataset.template("glow")
    region = np.unique(model.pixels.pixel[: model.pixels.n_region])
    own = glow[:, region].mean(axis=1)
    np.testing.assert_allclose(found["glow"], theta["S_glow"] * own / own.sum(), rtol=1e-12)
    _, gradient = model.value_and_gradient(z)
    steps = 1e-5 * np.eye(model.n_latent)
    up, down = (model.value_and_gradient(np.asarray(z) + sign * steps)[0] for sign in (1, -1))
    np.testing.assert_allclose(gradient, (up - down) / 2e-5, rtol=1e-6, atol=1e-5)
    assert len(model.flux_axes.norms) == 7
