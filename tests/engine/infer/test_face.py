"""What a fit shows of itself in Python, when it was just made and when it is read from its folder."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from matplotlib.figure import Figure

import gammasky
from gammasky.engine.errors import InputError
from gammasky.engine.infer.checkpoint import save_checkpoint
from gammasky.engine.infer.model_fit import ModelFit
from gammasky.engine.infer.outputs import CHECKPOINT
from gammasky.engine.infer.saved import SavedFit
from gammasky.engine.model import SkyModel

pytestmark = pytest.mark.usefixtures("compiled_fast", "programs_shared", "blank_figures", "few_replicas")


@pytest.fixture(scope="module")
def made(small_model: SkyModel) -> ModelFit:
    return gammasky.fit(small_model, gammasky.Settings(method="laplace", seed=2), n_draws=300)


@pytest.fixture(scope="module")
def saved(made: ModelFit, small_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> SavedFit:
    folder = made.save(tmp_path_factory.mktemp("fits") / "one")
    return gammasky.load(folder, data=small_model.dataset.name, data_dir=small_model.dataset.folder)


def test_a_saved_fit_is_the_one_that_was_made(made: ModelFit, saved: SavedFit) -> None:
    assert saved.method == made.method == "laplace"
    np.testing.assert_array_equal(saved.z, made.z)
    for name, draws in made.derived.items():
        if not draws.size:  # the model has no groups
            continue
        np.testing.assert_array_equal(saved.derived[name], draws)
    assert saved.verdict.level == made.verdict.level
    assert saved.verdict.reasons == made.verdict.reasons
    assert saved.summary(every=True).equals(made.summary(every=True))
    assert saved.diagnostics["k_hat"] == made.diagnostics["k_hat"]


def test_the_summary_is_of_the_draws(made: ModelFit, small_model: SkyModel) -> None:
    table, every = made.summary(), made.summary(every=True)
    main = small_model.main_parameters()
    assert list(table.index)[: len(main)] == main
    assert table.loc[main[0], "mean"] == made.derived[main[0]].mean()
    assert every.loc["flux[" + small_model.spec.components[0].name + "]", "unit"] == "counts/pixel"
    assert len(every) > len(table)


def test_inference_data_are_those_of_the_file(made: ModelFit, saved: SavedFit) -> None:
    ours, theirs = made.inference_data, saved.inference_data
    assert set(ours.children) == set(theirs.children)
    np.testing.assert_array_equal(ours["posterior"]["z"].values, theirs["posterior"]["z"].values)
    np.testing.assert_allclose(ours["predictions"]["dnds"].values, theirs["predictions"]["dnds"].values)


def test_figures(made: ModelFit, saved: SavedFit) -> None:
    for fit in (made, saved):
        drawn = [fit.plot.corner(), fit.plot.dnds(), fit.plot.maps(), fit.plot.fluxes()]
        assert all(isinstance(figure, Figure) and figure.axes for figure in drawn)
        with pytest.raises(InputError, match="this method has no steps"):
            fit.plot.trace()
        with pytest.raises(InputError, match="no template of the model has a field"):
            fit.plot.fields()


def test_what_a_notebook_shows(made: ModelFit, saved: SavedFit, small_model: SkyModel) -> None:
    assert repr(made) == f"<Fit by laplace, 300 draws: {made.verdict.level} ({made.verdict.reasons[0]})>"
    assert f": {made.verdict.level} (" in repr(saved)
    for fit in (made, saved):
        html = fit._repr_html_()
        assert all(name in html for name in small_model.main_parameters())
        assert made.verdict.level in html


def test_models_and_data_show_themselves(small_model: SkyModel) -> None:
    dataset = small_model.dataset
    assert repr(dataset).startswith(f"<Dataset {dataset.name}: ")
    assert f"{int(dataset.counts.sum()):,} photons" in repr(dataset)
    assert "data:image/png;base64," in dataset._repr_html_()
    assert f"{small_model.pixels.n_fit:,} pixels" in repr(small_model)
    html = small_model._repr_html_()
    assert all(name in html for name in [*small_model.spec.parameters, *(c.name for c in small_model.spec.components)])
    name = small_model.spec.components[0].name
    for figure in (small_model.plot(), small_model.plot(name), dataset.plot("exposure", energy_bin=0)):
        assert isinstance(figure, Figure)
    with pytest.raises(InputError, match="unknown component 'nothing'"):
        small_model.plot("nothing")
    with pytest.raises(InputError, match="unknown map 'count'; did you mean 'counts'"):
        dataset.plot("count")
    with pytest.raises(InputError, match="energy_bin must be from 0 to 0, got 3"):
        dataset.plot(energy_bin=3)


def test_what_cannot_be_read_or_written(made: ModelFit, saved: SavedFit, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="holds a fit; choose another folder, or overwrite=True"):
        made.save(saved.folder)
    (tmp_path / "begun").mkdir()
    save_checkpoint(tmp_path / "begun" / CHECKPOINT, {}, {"seed": 3})
    with pytest.raises(InputError, match="this fit has"):
        made.save(tmp_path / "begun")
    assert (tmp_path / "begun" / CHECKPOINT).is_file()
    with pytest.raises(InputError, match="no such folder"):
        gammasky.load(tmp_path / "absent")
    with pytest.raises(InputError, match=r"holds no posterior\.nc"):
        gammasky.load(tmp_path)
    elsewhere = gammasky.load(saved.folder, data=tmp_path / "absent")
    assert len(elsewhere.summary())
    with pytest.raises(InputError, match="its data are needed for this; give them with `data`"):
        elsewhere.plot.maps()
