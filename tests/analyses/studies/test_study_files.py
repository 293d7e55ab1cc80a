"""The files of the studies: all are read, planned whole, and what a quick run changes."""

from __future__ import annotations

from pathlib import Path

import pytest

from gammasky.analyses.calibration.run import Calibration
from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.studies.run import _small, run_study
from gammasky.analyses.studies.study import Simulations, merged, read_study, studies
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.engine.errors import InputError
from gammasky.engine.model.spec import read_model


@pytest.mark.parametrize("name", studies())
def test_every_study_says_what_it_asks_costs_and_follows(name: str) -> None:
    for quick in (False, True):
        study = read_study(name, quick=quick)
        assert study.asks.endswith("?")
        assert study.cost
        assert study.follows


@pytest.mark.data
@pytest.mark.parametrize(("name", "n"), [("masks", 18), ("priors", 6), ("diffuse", 15), ("morphology", 7),
                                         ("hemispheres", 6), ("fields", 8), ("breaks", 4),
                                         ("prior_sensitivity", 5)])  # fmt: skip
def test_the_members_of_a_whole_study_are_valid_on_the_fermi_data(name: str, n: int, fermi_dir: Path) -> None:
    table = read_study(name, data_dir=str(fermi_dir)).ensemble or {}
    assert len(Ensemble(name=name, **table).expansion.members) == n


def test_the_small_model_is_the_model_otherwise(tmp_path: Path) -> None:
    small, whole = read_model(_small("fiducial", tmp_path / "model.toml")), read_model("fiducial")
    assert [component.norm for component in small.components] == [component.norm for component in whole.components]
    assert small.components[2:] == whole.components[2:]  # all but the diffuse maps, of which there is one
    assert whole.parameters.keys() - small.parameters.keys() == {"theta_pib", "theta_ics", "Alm"}
    assert small.source_grid.nodes < whole.source_grid.nodes
    assert small.region.radius_max < whole.region.radius_max


def test_the_small_model_takes_no_other_s_place(tmp_path: Path) -> None:
    path = tmp_path / "model.toml"
    path.write_text("mine")
    with pytest.raises(InputError, match=r"holds a model\.toml of something else; choose another folder"):
        _small("fiducial", path)
    assert path.read_text() == "mine"
    (tmp_path / "campaign").mkdir()  # it is of the study that has its campaign there
    assert read_model(_small("fiducial", path)).components


def test_merging() -> None:
    table = {"a": {"b": 1, "c": [1, 2]}, "axes": {"x": [1]}, "d": 3}
    assert merged(table, {"a": {"c": [3]}, "axes": {"y": [2]}}) == {"a": {"b": 1, "c": [3]}, "axes": {"y": [2]}, "d": 3}
    assert table["axes"] == {"x": [1]}


def test_unknown_study() -> None:
    with pytest.raises(InputError, match="unknown study 'mask'; did you mean 'masks'"):
        read_study("mask")


def test_a_study_of_ones_own(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text('asks = "why?"\ncost = "nothing"\n[ensemble]\nmodel = "calibration"\n', encoding="utf-8")
    study = read_study(str(path))
    assert (study.name, study.ensemble) == ("mine", {"model": "calibration"})
    with pytest.raises(InputError, match=r"none\.toml: no such study file; give a TOML file or one of breaks"):
        read_study(str(tmp_path / "none.toml"))
    path.write_text("asks = ", encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.toml: not a TOML file: Invalid value"):
        read_study(str(path))
    path.write_text('asks = "why?"\ncost = "nothing"\nensemble = 3\nquick = 4\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"mine\.toml: .*ensemble.*dictionary"):
        read_study(str(path), quick=True, data="demo")


def test_number_of_skies() -> None:
    smooth, counted = read_study("mismodelling", n_skies=3), read_study("calibration", n_skies=5)
    assert smooth.skies is not None
    assert smooth.skies.number == 3
    assert counted.calibration is not None
    assert counted.calibration.skies == 5


OWN = 'asks = "why?"\ncost = "nothing"\n'
SMOOTH = OWN + '[skies]\nkind = "smooth"\n[skies.truths."{}"]\n'
STRENGTHS = OWN + '[sensitivity]\nnull = "S = 0"\nstrengths = {}\n'
INJECTED = OWN + '[skies]\nkind = "injected"\nstrengths = [0.0, 1.0]\n'


@pytest.mark.parametrize(
    ("text", "message"),
    [
        (OWN + "[calibration]\nsky = 4\n", r"unknown .*sky"),
        (OWN + "[calibration]\nskies = 1\n", "greater than or equal to 2"),
        (INJECTED + "[calibration]\n", "a calibration makes its own"),
        (OWN + "[calibration]\n[ensemble]\n", "a study is one of these: an ensemble, a calibration or a sensitivity"),
        (STRENGTHS.format("[1.0, 1.0]"), r"strengths: expected numbers, each above the one before, got \[1"),
        (STRENGTHS.format("[1.0, inf]"), r"strengths.*finite number"),
        (STRENGTHS.format("[]"), r"strengths.*at least 1 item"),
        (STRENGTHS.format("[1.0]\nsigmas = [3.0, 2.0]"), r"sigmas: expected numbers, each above the one"),
        (STRENGTHS.format("[1.0]\nsigmas = [9.0]"), r"sigmas.*less than or equal to 5"),
        (STRENGTHS.format("[1.0]") + INJECTED.removeprefix(OWN), "a sensitivity makes its own; remove the table"),
        (INJECTED + "[ensemble.axes]\nsky = []\n", "which the ensemble has already"),
        ("power_scaling = true\n" + INJECTED + "[ensemble]\n", "are of studies that make none"),
        (INJECTED.replace("0.0, ", "0.5, ") + "[ensemble]\n", r"expected 0 \(the data alone"),
        (INJECTED.replace("1.0", "1.0, 1.0000001") + "[ensemble]\n", "and others, six digits apart"),
        (SMOOTH.format("../up") + "[ensemble]\n", r"truth '\.\./up': expected a name of letters, digits"),
        (SMOOTH.format("..") + "[ensemble]\n", r"truth '\.\.': expected a name of letters, digits"),
    ],
)
def test_studies_that_cannot_be(text: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message) as caught:
        read_study(str(path))
    assert str(caught.value).startswith(f"{path}: ")
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize(
    ("fit", "message"),
    [
        ('method = "svi", step = 5', "unknown setting of method svi 'step'; did you mean 'steps'"),
        ("seed = 5", "the seed is that of all fits"),
    ],
)
def test_fits_of_a_calibration_that_cannot_be(fit: str, message: str, tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(OWN + f"[calibration]\nfit = {{ {fit} }}\n", encoding="utf-8")
    with pytest.raises(InputError, match=message):
        run_study(read_study(str(path)), tmp_path / "out", InlineRunner(), quiet=True)
    assert not (tmp_path / "out").exists()


def test_files_are_named_from_the_folder_of_the_study(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder, elsewhere = tmp_path / "mine", tmp_path / "elsewhere"
    folder.mkdir()
    elsewhere.mkdir()
    monkeypatch.chdir(elsewhere)
    (folder / "study.toml").write_text(OWN + '[ensemble]\nmodel = "model.toml"\n', encoding="utf-8")
    assert read_study("../mine/study.toml").place.samefile(folder)
    (elsewhere / "sky").mkdir()
    given = read_study("../mine/study.toml", data="sky").ensemble
    assert given is not None
    assert given["data"] == str(elsewhere / "sky")  # on the command line from the current one


def test_what_a_calibration_leaves_out_is_as_in_a_calibration() -> None:
    study, plain = Simulations(), Calibration()
    for name in Simulations.model_fields.keys() - {"scenarios", "fit"}:
        assert getattr(study, name) == getattr(plain, name), name
    assert study.scenarios == (plain.scenario,)


def test_an_ensemble_that_cannot_be_is_told_before_any_sky_is_made(tmp_path: Path) -> None:
    path = tmp_path / "mine.toml"
    path.write_text(INJECTED + '[ensemble]\ndata = "demo"\nmodle = "fiducial"\n', encoding="utf-8")
    with pytest.raises(InputError, match=r"^study mine: unknown field 'modle'; did you mean 'model'"):
        run_study(read_study(str(path)), tmp_path / "out", InlineRunner(), quiet=True)
    assert not (tmp_path / "out").exists()
