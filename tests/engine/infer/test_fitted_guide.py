"""The guide of a variational fit is kept: it draws, and knows its density, as it did when it was fitted."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

import gammasky
from gammasky.engine.errors import InputError
from gammasky.engine.infer.fitted_guide import guide_from, guide_group
from gammasky.engine.infer.guides import Family
from gammasky.engine.infer.model_fit import ModelFit
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast", "programs_shared", "blank_figures", "few_replicas")


def fitted(model: SkyModel, name: str) -> ModelFit:
    settings = gammasky.Settings(method="svi", emulator=False, guide=name, steps=4, particles=2, seed=3)
    return gammasky.fit(model, settings, n_draws=300)


@pytest.mark.parametrize("name", ["flow", "iaf", "mvn", "diagonal"])
def test_the_guide_that_is_read_is_the_one_that_was_fitted(name: str, small_model: SkyModel) -> None:
    made = fitted(small_model, name)
    assert made.guide is not None
    read = guide_from(guide_group(made.guide), small_model)
    assert (read.name, read.size, read.coordinates) == (name, made.guide.size, made.guide.coordinates)
    z, log_density = read.draw(300, seed=3)
    np.testing.assert_array_equal(z, made.z)  # the draws of the fit, whose seed it is
    np.testing.assert_array_equal(log_density, made.log_guide)
    other, _ = read.draw(300, seed=4)
    assert not np.isin(other, z).any()
    np.testing.assert_allclose(read.log_density(z), made.log_guide, atol=1e-8)
    with pytest.raises(InputError, match=r"z: expected shape \(n, \d+\), got \(300,\)"):
        read.log_density(z[:, 0])
    read._family = Family(read._family.init, read._family.sample)  # as of a guide that can do no more
    with pytest.raises(InputError, match=f"guide {name}: it knows its density at its own draws alone"):
        read.log_density(z)


def test_a_saved_fit_has_its_guide(small_model: SkyModel, tmp_path: Path) -> None:
    made = fitted(small_model, "flow")
    folder = made.save(tmp_path / "one")
    saved = gammasky.load(folder, data=small_model.dataset.name, data_dir=small_model.dataset.folder)
    assert saved.guide is not None
    np.testing.assert_allclose(saved.guide.log_density(saved.z), made.log_guide, atol=1e-8)
    assert set(made.inference_data.children) == set(saved.inference_data.children)
    assert "flow" in repr(saved.guide)


def test_other_methods_have_none(small_model: SkyModel, tmp_path: Path) -> None:
    made = gammasky.fit(small_model, gammasky.Settings(method="laplace"), n_draws=300)
    assert made.guide is None
    folder = made.save(tmp_path / "one")
    assert gammasky.load(folder, data=small_model.dataset.name, data_dir=small_model.dataset.folder).guide is None


def test_a_guide_that_does_not_fit_is_refused(small_model: SkyModel) -> None:
    made = fitted(small_model, "mvn")
    assert made.guide is not None
    group = guide_group(made.guide)
    with pytest.raises(InputError, match="guide mvn: expected the arrays of such a guide over 7 numbers"):
        guide_from(group.drop_vars("frame_centre"), small_model)
    with pytest.raises(InputError, match="guide 'spline' in 'latent' coordinates: not known here"):
        guide_from(group.assign_attrs(guide="spline"), small_model)
