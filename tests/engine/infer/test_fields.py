"""Fits of models with fields: one block for all coefficients, in summaries, files, reports and comparisons."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gammasky
from gammasky.engine.errors import InputError
from gammasky.engine.infer.compare import compare
from gammasky.engine.infer.derived import FIELD_SD, derive
from gammasky.engine.infer.fields import BANDS, EDGES_DEG, field_posterior
from gammasky.engine.infer.maximum.null import read_null
from gammasky.engine.infer.maximum.quantity import read_quantity
from gammasky.engine.infer.report.fit_folder import read_fit, read_fit_posterior
from gammasky.engine.infer.result import marginals
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures", "few_replicas")


@pytest.fixture(scope="module")
def folder(field_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A fit of it by its curvature, saved."""
    return gammasky.fit(field_model, gammasky.Settings(method="laplace")).save(tmp_path_factory.mktemp("fit") / "field")


def test_derived_numbers_of_a_field(field_model: SkyModel) -> None:
    z = 0.7 * np.random.default_rng(1).standard_normal((5, field_model.n_latent))
    found = derive(field_model, z)
    assert found["z_dif"].shape == (5, 36)
    theta = {name: found[name][2] for name in field_model.latent.slots}
    g = np.asarray(field_model.expectation.field("z_dif", theta, field_model.arrays["sky"]))
    np.testing.assert_allclose(found[FIELD_SD][2], [g.std()], rtol=1e-10)
    names = marginals(field_model, found)
    assert "field sd (z_dif)" in names
    assert not any(name.startswith("z_dif") for name in names)


def test_maps_and_power_of_a_field(field_model: SkyModel) -> None:
    z = np.zeros((64, field_model.n_latent))
    slot = field_model.latent.slots["z_dif"]
    z[:, slot.start : slot.start + 36] = np.random.default_rng(2).standard_normal((64, 36))
    found = field_posterior(field_model, "z_dif", z)
    assert found.components == ("dif",)
    amplitude = float(field_model.parameters(z[0])["a_dif"])
    assert 50 * amplitude < found.sd.mean() < 100 * amplitude  # the mean over the region is no part of it
    assert np.abs(found.mean.mean()) < 1e-9  # over its mean in the region
    filled = found.prior_power > 0
    assert np.array(BANDS)[filled].tolist() == ["below 10 deg", "10 to 20 deg", "20 to 40 deg"]
    assert (found.power[filled, 0] < found.prior_power[filled]).all()
    assert (found.power[filled, 2] > 0.3 * found.prior_power[filled]).all()
    assert 0.25 * amplitude**2 < found.prior_power.sum() < amplitude**2


def test_power_of_modes_that_cancel_is_that_of_their_sum(field_model: SkyModel) -> None:
    """Sines of one band overlap within the region, which is smaller than their box; two of them nearly cancel here."""
    theta = field_model.parameters(np.zeros(field_model.n_latent))
    built, table = field_model.expectation.built_field("z_dif"), field_model.arrays["sky"]["templates"]
    n_region, slot = field_model.pixels.n_region, field_model.latent.slots["z_dif"]
    modes = np.asarray(built.roots(table, theta))[:, None] * np.asarray(table[built.basis])[:, :n_region]
    bands = np.digitize(built.wavelengths_deg, EDGES_DEG) - 1
    alike = np.where(bands[:, None] == bands, np.corrcoef(modes), 0.0) - np.eye(36)
    one, other = np.unravel_index(np.argmin(alike), alike.shape)
    assert alike[one, other] < -0.5
    z = np.zeros(field_model.n_latent)
    z[slot.start + np.array([one, other])] = 1.0 / modes[[one, other]].std(axis=1)
    found = field_posterior(field_model, "z_dif", z[None])
    theta = field_model.parameters(z)
    g = np.asarray(field_model.expectation.field("z_dif", theta, field_model.arrays["sky"]))
    expected = np.where(np.arange(len(BANDS)) == bands[one], g.var(), 0.0)
    np.testing.assert_allclose(found.power, np.repeat(expected[:, None], 3, axis=1), rtol=1e-9, atol=1e-12)
    assert g.var() < 1.0  # variances of 1 each, were they independent


def test_a_fit_shows_one_line_for_a_field(folder: Path, field_model: SkyModel) -> None:
    fit = read_fit(folder)
    assert not any(name.startswith("z_dif") for name in fit.summary["parameters"])
    assert set(fit.summary[FIELD_SD]) == {"z_dif"}
    assert fit.posterior.draws["z_dif"].shape[1:] == (36,)
    assert fit.posterior.elements["z_dif"][:2] == ("1,1", "1,2")
    columns = fit.posterior.columns()
    assert "field_sd[z_dif]" in columns
    assert not any(name.startswith("z_dif") for name in columns)
    loaded = gammasky.load(folder)
    table = loaded.summary(every=True)
    assert "field sd (z_dif)" in table.index
    assert {"a_dif", "ell_dif"} <= set(table.index)
    assert not any(name.startswith("z_dif") for name in table.index)
    tree = loaded.inference_data
    assert tree["predictions"]["field_mean"].shape == (1, field_model.pixels.n_region)
    assert tree["posterior"]["z_dif"].dims[2] == "z_dif_element"


def test_the_report_has_maps_and_no_panel_for_each_mode(folder: Path) -> None:
    from gammasky.engine.infer.report import write_report

    page = write_report(folder).read_text()
    assert "Fields on templates" in page
    assert (folder / "figures" / "fields.png").is_file()
    assert "maps of the fields" in page
    assert "z_dif[" not in page.partition("<h2>Configuration")[0].replace("<wbr>", "")
    assert "20 to 40 deg" in page


def test_fits_with_and_without_a_field_compare(folder: Path, small_model: SkyModel, tmp_path: Path) -> None:
    without = gammasky.fit(small_model, gammasky.Settings(method="laplace")).save(tmp_path / "without")
    posteriors = {"field": read_fit_posterior(folder), "without": read_fit_posterior(without)}
    found = compare(posteriors)
    names = {difference.name for difference in found.differences}
    assert "S_dif" in names
    assert not any(name.startswith("z_dif") for name in names)


def test_maxima_of_the_likelihood_alone_are_refused(field_model: SkyModel) -> None:
    for ask in (lambda: read_quantity("S_dif", field_model), lambda: read_null(["Sps_gce = 0"], field_model)):
        with pytest.raises(InputError, match="its prior holds its 36 coefficients together"):
            ask()
