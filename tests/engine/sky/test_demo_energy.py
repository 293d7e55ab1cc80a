"""The demo sky in four energy bins against the model whose truth it is."""

from __future__ import annotations

import numpy as np
import pytest

from gammasky.engine.model import SkyModel
from gammasky.engine.sky import Dataset
from gammasky.engine.sky.demo.build import REGION
from gammasky.engine.sky.demo.energy import FLUX_GRID, energy_expectation, one_bin


@pytest.fixture(scope="module")
def demo() -> Dataset:
    return Dataset.open("demo_energy")


@pytest.fixture(scope="module")
def model(demo: Dataset) -> SkyModel:
    return SkyModel("inner_galaxy_energy", demo)


def test_the_demo_expects_what_the_model_expects(demo: Dataset, model: SkyModel) -> None:
    """Two independent ways to the same numbers."""
    single, seen, truth = one_bin(demo), REGION.flatten(demo), demo.manifest.truth
    assert model.spec.region == REGION
    known = {"edges": demo.energy_edges_gev, "reference": seen.reference_exposure}
    found = energy_expectation(single, REGION.flatten(single), seen.mean_exposure, {**truth, **known})
    sky, size = model.sky(model.point(truth)), model.pixels.n_fit
    n_pixels = size // 4
    np.testing.assert_allclose(
        np.asarray(model.expectation.smooth_mean(sky, size)).reshape(4, -1), found.mean[:, :n_pixels], rtol=1e-12
    )
    templates = np.stack([template[:n_pixels] for template in found.templates.values()])
    np.testing.assert_allclose(model.expectation.source_templates(sky, size), templates, rtol=1e-12)
    np.testing.assert_allclose(model.expectation.populations.s_grid, FLUX_GRID, rtol=1e-12)
    dndf = np.stack(list(found.dndf.values()))
    np.testing.assert_allclose(model.expectation.source_functions(sky), dndf, rtol=1e-7)  # of a table of the cut-off


def test_its_counts_are_those_of_the_truth(demo: Dataset, model: SkyModel) -> None:
    sky = model.sky(model.point(demo.manifest.truth))
    parts = model.expectation.counts(sky, model.arrays["sky"]).values()
    expected = np.sum([np.asarray(part)[: model.pixels.n_fit] for part in parts], axis=0).reshape(4, -1).sum(axis=1)
    seen = model.counts_term.counts.reshape(4, -1).sum(axis=1)
    assert demo.counts.shape == (4, 49152)
    assert np.abs((seen - expected) / np.sqrt(expected)).max() < 1.0
    middle = {name: np.asarray(value) for name, value in model.expectation.middle.items()}
    at_truth, at_middle = (float(model.log_likelihood(model.point(p))) for p in (demo.manifest.truth, middle))
    assert at_truth > at_middle + 1000
