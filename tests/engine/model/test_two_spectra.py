"""Two populations of point sources with spectra of their own, in several energy bins."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel, model_from_table
from gammasky.engine.model.simulate import build_simulator
from tests.engine.model.bins import MEAN_EXPOSURE, joint, photons, tilted, uniform, write_bins


def of_two() -> dict[str, Any]:
    """The model of `bins` whose second population has an index of its own."""
    table = joint()
    table["parameters"] = table["parameters"] | {"softer": uniform(1.5, 4.0)}
    table["components"][3] = table["components"][3] | {"spectrum": {"power_law": {"index": "softer"}}}
    return table


@pytest.fixture(scope="module")
def models(tmp_path_factory: pytest.TempPathFactory) -> tuple[SkyModel, SkyModel]:
    """With one spectrum and with two, on the same sky."""
    dataset = write_bins(tmp_path_factory.mktemp("two") / "sky", photons(4), tilted(MEAN_EXPOSURE))
    return tuple(SkyModel(model_from_table(table), dataset) for table in (joint(), of_two()))  # type: ignore[return-value]


@pytest.fixture(scope="module")
def point(models: tuple[SkyModel, SkyModel]) -> dict[str, Any]:
    two = models[1]
    return two.parameters(0.4 * jnp.asarray(np.random.default_rng(3).normal(size=two.n_latent)))


def test_one_spectrum_twice_is_one_spectrum(models: tuple[SkyModel, SkyModel], point: dict[str, Any]) -> None:
    """To the accuracy of two point-spread functions averaged with other weights: here all bins have the same one."""
    one, two = models
    same = {**point, "softer": point["index"]}
    alone = {name: value for name, value in point.items() if name != "softer"}
    np.testing.assert_allclose(two.pixel_log_likelihood(same), one.pixel_log_likelihood(alone), rtol=1e-10)
    other = {**point, "softer": jnp.asarray(4.0)}
    assert float(two.log_likelihood(other)) != pytest.approx(float(one.log_likelihood(alone)), abs=0.01)


def test_the_gradient_is_that_of_differences(models: tuple[SkyModel, SkyModel]) -> None:
    two = models[1]
    z = 0.4 * np.random.default_rng(2).normal(size=two.n_latent)
    _, gradient = two.value_and_gradient(z)
    steps = 1e-5 * np.eye(two.n_latent)
    up, down = (two.value_and_gradient(z + sign * steps)[0] for sign in (1, -1))
    np.testing.assert_allclose(gradient, (up - down) / 2e-5, rtol=3e-7, atol=1e-5)


@pytest.mark.parametrize("simulator", ["likelihood", "photons"])
def test_skies_have_the_expected_counts_of_each_bin(
    models: tuple[SkyModel, SkyModel], point: dict[str, Any], simulator: str
) -> None:
    two = models[1]
    point = {**point, "index": jnp.asarray(2.0), "softer": jnp.asarray(3.5)}
    sky = two.sky(point)
    counts = two.expectation.counts(sky, two.arrays["sky"])
    n_fit = two.pixels.n_fit
    expected = np.sum([np.asarray(part)[:n_fit] for part in counts.values()], axis=0).reshape(4, -1).sum(axis=1)
    drawn = build_simulator(simulator, two).draw(point, n=400, seed=5)[:, :n_fit].reshape(400, 4, -1).sum(axis=2)
    pull = (drawn.mean(axis=0) - expected) / (drawn.std(axis=0) / np.sqrt(400))
    assert np.abs(pull).max() < 4.5
    again = build_simulator(simulator, two).draw(point, n=1, seed=5, first=7)[:, :n_fit]
    np.testing.assert_array_equal(again.reshape(4, -1).sum(axis=1), drawn[7])


def test_sources_of_one_kind_do_not_follow_the_other(models: tuple[SkyModel, SkyModel], point: dict[str, Any]) -> None:
    """Populations that differ in nothing but their names are drawn with random numbers of their own."""
    two = models[1]
    drawn = two.counts_term.draw(two.sky(point), n=300, seed=1).reshape(300, 4, -1).sum(axis=(1, 2))
    counts = two.expectation.counts(two.sky(point), two.arrays["sky"])
    mean = float(sum(np.asarray(part)[: two.pixels.n_fit].sum() for part in counts.values()))
    bunches = two.counts_term.bunches(two.sky(point))
    m = np.arange(bunches.shape[-1])
    templates = np.asarray(two.expectation.source_templates(two.sky(point), two.pixels.n_fit))
    region = two.counts_term.region  # type: ignore[attr-defined]
    more = np.einsum("ip,ipm,m->", templates, bunches[:, region], (m * (m - 1.0)) * (m > 0))
    assert drawn.var() == pytest.approx(mean + more, rel=0.25)  # the same numbers twice would add a covariance


def test_a_third_spectrum_and_many_photons_are_refused(tmp_path: Path) -> None:
    table, counts = of_two(), photons(4)
    table["components"].append(table["components"][3] | {"name": "more", "spectrum": {"power_law": {"index": 2.0}}})
    dataset = write_bins(tmp_path / "sky", counts, tilted(MEAN_EXPOSURE))
    with pytest.raises(InputError, match="component 'more': the third spectrum of point sources"):
        SkyModel(model_from_table(table), dataset)
    counts[1, 300:500] = 1001
    dataset = write_bins(tmp_path / "bright", counts, tilted(MEAN_EXPOSURE))
    with pytest.raises(InputError, match=r"a pixel has 10\d\d photons in all energy bins, expected at most 1000"):
        SkyModel(model_from_table(of_two()), dataset)
