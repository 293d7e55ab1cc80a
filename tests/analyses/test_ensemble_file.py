"""The file of an ensemble: what it expands to, what identifies a member, and one clear line for each bad input."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

from gammasky.analyses.ensemble.cost import estimated_seconds
from gammasky.analyses.ensemble.datasets import Place
from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.plan import clock, elapsed, plan_table
from gammasky.distributed.member import Resources
from gammasky.distributed.store import Store
from gammasky.engine.errors import InputError
from gammasky.engine.infer.settings import Settings

FILE = """
name = "masks"
model = "model.toml"
data = "sky"
seed = 4

[axes]
radius_max = [15, 20]
mask = ["spot", "none"]

[axes.sources.fixed]
[axes.sources.fewer]
"parameters.Sps" = { prior = "uniform", low = 0.1, high = 5.0 }

[fit]
method = "svi"
emulator = false
steps = 50

[resources]
cpus = 2
"""


@pytest.fixture
def file(tiny: Path) -> Path:
    path = tiny / "ensemble.toml"
    path.write_text(FILE, encoding="utf-8")
    return path


def tiny_ensemble(**changes: Any) -> Ensemble:
    """An ensemble on the tiny sky in the current folder."""
    return Ensemble(**{"name": "tiny", "model": "model.toml", "data": "sky", **changes})


def test_product(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")  # names are from the ensemble's own folder
    ensemble = Ensemble.read(file)
    members = ensemble.expansion.members
    assert len(members) == len({member.name for member in members}) == len({Store.key(m.spec) for m in members}) == 8
    assert members[0].labels == {"mask": "spot", "radius_max": "15", "sources": "fixed"}
    assert members[1].name == "mask=spot,radius_max=15,sources=fewer"
    assert members[1].spec["model"]["parameters"]["Sps"]["high"] == 5.0
    assert members[-1].spec["model"]["region"]["mask"] is None
    assert {member.spec["fit"]["seed"] for member in members} == {4}
    assert ensemble.resources == Resources(cpus=2)


def test_identity_is_plain_and_knows_no_place(file: Path, tmp_path: Path) -> None:
    here = Ensemble.read(file).expansion.members
    (tmp_path / "there").mkdir()
    for name in ("model.toml", "ensemble.toml"):
        shutil.copy(tmp_path / name, tmp_path / "there")
    shutil.copytree(tmp_path / "sky", tmp_path / "there" / "sky")
    there = Ensemble.read(tmp_path / "there" / "ensemble.toml").expansion.members
    assert [member.spec for member in here] == [member.spec for member in there]
    text = json.dumps(here[0].spec)
    assert json.loads(text) == here[0].spec
    assert str(tmp_path) not in text
    assert set(here[0].spec["data"]["sha256"]) == {"counts.npy", "exposure.npy", "flat.npy", "peak.npy", "spot.npy"}
    assert "spot.npy" not in here[-1].spec["data"]["sha256"]  # it masks nothing there


@pytest.mark.parametrize(
    ("name", "old", "new"),
    [
        ("ensemble.toml", "seed = 4", "seed = 5"),
        ("ensemble.toml", "= 50", "= 60"),
        ("model.toml", "high = 6.0", "high = 7.0"),
        ("sky/dataset.toml", 'psf = { kind = "delta" }', 'psf = { kind = "gaussian", sigma_deg = 0.5 }'),
        ("sky/dataset.toml", "masked_where = 1", "masked_where = 0"),
        ("sky/dataset.toml", 'unit = "intensity"', 'unit = "counts"'),
        ("sky/dataset.toml", "[2.0, 20.0]", "[2.0, 30.0]"),
        ("sky/counts.npy", "", ""),
    ],
)  # fmt: skip
def test_what_changes_the_result_changes_the_identity(name: str, old: str, new: str, file: Path) -> None:
    ensemble = Ensemble.read(file)
    before, path = ensemble.expansion.members[0].spec, file.parent / name
    if path.suffix == ".npy":
        np.save(path, np.load(path) + 1)
    else:
        assert old in path.read_text()
        path.write_text(path.read_text().replace(old, new))
    assert Ensemble.read(file).expansion.members[0].spec != before


def test_words_do_not_change_the_identity(file: Path) -> None:
    before = [member.spec for member in Ensemble.read(file).expansion.members]
    model = file.parent / "model.toml"
    model.write_text('description = "in other words"\n' + model.read_text())
    manifest = file.parent / "sky" / "dataset.toml"
    unused = '[templates.unused]\nfile = "nowhere.npy"\nunit = "counts"\n'
    manifest.write_text('description = "a sky"\n' + manifest.read_text() + unused)
    assert [member.spec for member in Ensemble.read(file).expansion.members] == before


def test_manifest_makes_the_same_members(file: Path, monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    ensemble = Ensemble.read(file)
    manifest = json.loads(json.dumps(ensemble.manifest()))
    (tmp_path / "elsewhere").mkdir()
    monkeypatch.chdir(tmp_path / "elsewhere")
    assert Ensemble(**manifest).expansion.members == ensemble.expansion.members


def test_no_axes_is_one_member(tiny: Path) -> None:
    (member,) = tiny_ensemble().expansion.members
    assert (member.name, member.labels) == ("tiny", {})
    assert member.spec["model"]["parameters"]["S_flat"]["low"] == 0.5
    assert tiny.is_dir()


@pytest.mark.usefixtures("tiny")
def test_sample() -> None:
    axes = {"radius_max": [10, 12, 14, 16], "seed": [0, 1, 2]}
    all_names = [member.name for member in tiny_ensemble(axes=axes).expansion.members]
    names = [member.name for member in tiny_ensemble(axes=axes, combine={"sample": 5}, seed=1).expansion.members]
    assert len(set(names)) == 5
    assert names == [name for name in all_names if name in names]  # in the order of the product
    assert names == [m.name for m in tiny_ensemble(axes=axes, combine={"sample": 5}, seed=1).expansion.members]
    assert names != [m.name for m in tiny_ensemble(axes=axes, combine={"sample": 5}, seed=2).expansion.members]
    more = [member.name for member in tiny_ensemble(axes=axes, combine={"sample": 9}, seed=1).expansion.members]
    assert len(more) == 9
    assert set(names) < set(more)  # a larger sample holds the smaller one


@pytest.mark.usefixtures("tiny")
def test_list() -> None:
    axes = {"mine": {"few": {"parameters.Sps": {"prior": "uniform", "low": 0.1, "high": 2.0}}, "same": {}}}
    entries = [{"mask": "none", "mine": "few"}, {"radius_max": 12}, {}]
    members = tiny_ensemble(combine="list", axes=axes, members=entries).expansion.members
    assert members[0].labels == {"mask": "none", "radius_max": "base", "mine": "few"}
    assert members[1].name == "mask=base,radius_max=12,mine=base"
    assert members[2].spec["model"]["region"]["radius_max"] == 20.0


def test_another_sky(tiny: Path) -> None:
    (tiny / "sims").mkdir()
    np.save(tiny / "sims" / "one.npy", np.load(tiny / "sky" / "counts.npy")[::-1])
    (tiny / "sims" / "one.toml").write_text(
        'base = "../sky"\nname = "one"\ncounts = { file = "one.npy" }\n', encoding="utf-8"
    )
    ensemble = tiny_ensemble(axes={"sky": [{"name": "real", "data": "sky"}, {"name": "sim", "data": "sims/one.toml"}]})
    real, simulated = ensemble.expansion.members
    assert real.labels == {"sky": "real"}
    assert simulated.spec["data"]["name"] == "one"
    assert real.spec["model"] == simulated.spec["model"]
    counts = [ensemble.expansion.task.model(member.spec).pixels.counts for member in (real, simulated)]
    assert counts[0].sum() != counts[1].sum()
    # a list names it as the axis does
    listed = tiny_ensemble(axes=ensemble.axes, combine="list", members=[{"sky": "sim"}])
    assert listed.expansion.members[0].spec == simulated.spec


def test_skies_by_the_names_of_their_folders_are_found_from_anywhere(
    tiny: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """As `resume` has to, from the manifest."""
    shutil.copytree(tiny / "sky", tiny / "other")
    np.save(tiny / "other" / "counts.npy", np.load(tiny / "sky" / "counts.npy")[::-1])
    for axes, members in (({"sky": ["sky", "other"]}, []), ({}, [{"sky": "sky"}, {"sky": "other"}])):
        made = tiny_ensemble(axes=axes, members=members, combine="list" if members else "product")
        manifest, fits = json.loads(json.dumps(made.manifest())), made.expansion.members
        with monkeypatch.context() as patch:
            patch.chdir(tiny.parent)
            assert Ensemble(**manifest).expansion.members == fits


@pytest.mark.usefixtures("tiny")
def test_one_name_of_two_skies_is_refused() -> None:
    skies = [{"sky": {"name": "a", "data": "sky"}}, {"sky": {"name": "a", "data": "demo"}}]
    with pytest.raises(InputError, match=r"^axis sky: 'a' names two data sets; give each sky its own name$"):
        _ = tiny_ensemble(combine="list", members=skies).expansion


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"axes": {"maks": ["spot"]}}, r"unknown axis 'maks'; did you mean 'mask'\?"),
        ({"axes": {"mask": ["spto"]}}, r"axis mask: unknown mask 'spto'; did you mean 'spot'\?"),
        ({"axes": {"mask": []}}, "axis mask: no choice, so the ensemble has no member"),
        ({"axes": {"mine": {}}}, "axis mine: no choice"),
        ({"axes": {"mask": {"a": {}}}}, "axis mask: expected a list of choices, got a table"),
        ({"axes": {"radius_max": [10, 10.0]}}, "axis radius_max: choices must differ, got 10, 10"),
        ({"axes": {"mask": "spot"}}, "ensemble: field 'axes.mask': "),
        ({"axes": {"seed": [1, 2]}, "combine": {"sample": 3}}, "3 members asked for, but the product .* has 2; ask"),
        ({"axes": {"mine": {"a": {}, "b": {}}}}, r"members 'mine=a' and 'mine=b' are the same fit"),
        ({"axes": {"mine": {"a": {"region.radius_max": 0.1}}}}, "member 'tiny': region of interest: no pixel"),
        ({"axes": {"radius_max": [20, 500]}}, r"member 'radius_max=500': model: field 'region': .*radius_max"),
        ({"axes": {"mine": {"a": {"components.sources.template": "peek"}}}}, r"member 'tiny': unknown template 'peek'"),
        ({"axes": {"mine": {"a": {"parameters.new": {"prior": "uniform", "low": 0, "high": 1}}}}},
         "member 'tiny': parameter 'new' is not used by any component"),
        ({"axes": {"mine": {"a": {"components.sources.norm": "Sps_"}}}},
         "member 'tiny': unknown parameter 'Sps_'; did you mean 'Sps'"),
        ({"axes": {"sky": ["demmo"]}}, r"unknown dataset 'demmo'; did you mean 'demo'\?"),
        ({"axes": {"<img src=x>": {"a": {}}}}, "axis '<img src=x>': expected a name of letters, digits and _ . - only"),
        ({"combine": "list", "members": [{"a b": "c"}]}, "axis 'a b': expected a name of letters"),
        ({"combine": "list"}, r"combine = 'list' needs \[\[members\]\]"),
        ({"members": [{"mask": "spot"}]}, r"\[\[members\]\] are of combine = 'list'"),
        ({"combine": "list", "members": [{"maks": "spot"}]}, "unknown axis 'maks'"),
        ({"combine": "list", "axes": {"mine": {"a": {}}}, "members": [{"mine": "aa"}]},
         r"unknown choice of axis mine 'aa'; did you mean 'a'\?"),
        ({"axes": {"seconds": {"a": {}, "b": {}}}}, "axis seconds: the table of .* has a column of that name"),
        ({"combine": "produkt"}, "ensemble: field 'combine': expected 'product', 'list' or .*, got 'produkt'"),
        ({"combine": {"sample": 0}}, "field 'combine': expected .* with N of at least 1, got {'sample': 0}"),
        ({"model": "fiducal"}, r"unknown model 'fiducal'; did you mean 'fiducial'\?"),
        ({"model": "none.toml"}, r"none\.toml: no such model file"),
        ({"data": "fermy"}, r"unknown dataset 'fermy'; did you mean 'fermi'\?"),
        ({"data_dir": "nowhere", "data": "fermi"}, r"dataset 'fermi': .* not found in nowhere"),
        ({"fit": {"method": "svi", "stepz": 3}},
         r"field 'fit': unknown setting of method svi 'stepz'; did you mean 'steps'\?"),
        ({"fit": {"method": "svi", "steps": 0}}, "steps: expected a whole number of at least 1, got 0"),
        ({"fit": {"method": "svi", "steps": "many"}},
         "ensemble: field 'fit': steps: expected a whole number of at least 1, got 'many'"),
        ({"fit": {"method": "svi", "guide": "flwo"}}, r"unknown guide 'flwo'; did you mean 'flow'\?"),
        ({"fit": {"seed": 3}}, "the seed is that of all fits: move `seed` out of `fit`"),
        ({"resources": {"cpu": 3}}, r"unknown resource 'cpu'; did you mean 'cpus'\?"),
        ({"resources": {"cpus": 0}}, "cpus: expected a whole number of at least 1, got 0"),
        ({"naem": "a"}, r"ensemble: unknown field 'naem'; did you mean 'name'\?"),
        ({"name": "a b"}, "ensemble: field 'name': "),
        ({"seed": -1}, "ensemble: field 'seed': "),
    ],
)  # fmt: skip
@pytest.mark.usefixtures("tiny")
def test_bad_input_is_one_line(changes: dict[str, Any], message: str) -> None:
    with pytest.raises(InputError, match=message) as found:
        tiny_ensemble(**changes).plan()
    assert "\n" not in str(found.value)


@pytest.mark.usefixtures("tiny")
def test_axes_stay_as_they_were_counted() -> None:
    """What is run is what was planned: no list or table of an ensemble can be changed."""
    given: dict[str, Any] = {"radius_max": [10, 12], "mine": {"a": {}}}
    ensemble = tiny_ensemble(axes=given)
    given["radius_max"].append(14)  # the caller's own
    changes: list[Callable[[], object]] = [
        lambda: ensemble.axes["radius_max"].append(14),  # type: ignore[union-attr]
        lambda: ensemble.axes.update(seed=[1, 2]),
        lambda: ensemble.axes["mine"].update(b={}),  # type: ignore[union-attr]
    ]
    for change in changes:
        with pytest.raises(InputError, match=r"^ensemble: its axes and members cannot be changed"):
            change()
    assert len(ensemble.expansion.members) == 2
    assert ensemble.manifest()["axes"] == {"radius_max": [10, 12], "mine": {"a": {}}}


def test_missing_data_of_any_member_are_told_first(file: Path) -> None:
    (file.parent / "sky" / "spot.npy").unlink()
    with pytest.raises(InputError, match=r"member 'mask=spot,radius_max=15,sources=fixed': .*spot\.npy"):
        Ensemble.read(file).plan()


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("name = ", r"ensemble\.toml: not a TOML file"),
        ("name = 'x'\nmodle = 'y'", r"ensemble\.toml: unknown field 'modle'; did you mean 'model'\?"),
        ("model = 'fiducial'", r"ensemble\.toml: field 'name' is missing"),
        ("a = 1" + "0" * 5000, r"ensemble\.toml: not a TOML file: Exceeds the limit"),
        ("a = " + "[" * 5000 + "]" * 5000, r"ensemble\.toml: nested too deep; expected tables in tables, a few levels"),
    ],
)
def test_bad_file_is_named(text: str, message: str, file: Path) -> None:
    file.write_text(text, encoding="utf-8")
    with pytest.raises(InputError, match=message):
        Ensemble.read(file)


def test_a_machine_without_the_folder_of_the_driver_looks_for_itself(
    fermi_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("GAMMASKY_DATA", str(fermi_dir))
    assert Place("fermi", "/nowhere").open().folder == fermi_dir
    with pytest.raises(InputError, match=r"dataset 'fermi': .* not found in /nowhere"):
        Place("fermi", "/nowhere", given=True).open()


def test_no_file() -> None:
    with pytest.raises(InputError, match=r"none\.toml: no such ensemble file"):
        Ensemble.read("none.toml")
    with pytest.raises(InputError, match="unknown ensemble 'mask_morphology'; did you mean 'mask_morphology_diffuse'"):
        Ensemble.read("mask_morphology")


def test_plan(file: Path) -> None:
    ensemble = Ensemble.read(file)
    frame = ensemble.plan()
    assert set(frame["n_parameters"]) == {3}
    small, large = (frame.loc[f"mask=none,radius_max={radius},sources=fixed"] for radius in (15, 20))
    assert (small["radius_max"], large["radius_max"]) == ("15", "20")
    for column in ("n_pixels", "n_photons", "seconds"):
        assert 0 < small[column] < large[column]
    table = plan_table(ensemble.expansion, workers=2)
    assert table.row_count == 8
    assert "8 members" in str(table.caption)
    assert "2 workers" in str(table.caption)


def test_cost_is_of_the_order_of_what_was_measured() -> None:
    """Short fits of the fiducial model on the Fermi data take 54 to 70 s, see `cost`; a time limit hangs on it."""
    pixels: Any = SimpleNamespace(n_pixels=8292, counts=np.full(8292, 22.0))
    settings = Settings(method="svi", emulator=False, steps=1500, particles=4)
    assert 30 < estimated_seconds(settings, pixels, 37, points=True) < 120


def test_cost_grows_with_the_work(tiny: Path) -> None:
    def cost(**fit: Any) -> float:
        return tiny_ensemble(fit=fit).expansion.members[0].cost

    assert tiny.is_dir()
    short, long, many = {"steps": 1000}, {"steps": 5000}, {"steps": 5000, "particles": 128}
    for on_copy in (True, False):
        svi = {"method": "svi", "emulator": on_copy}
        assert cost(**svi, **short) < cost(**svi, **long) < cost(**svi, **many)
    assert cost(method="laplace") < cost(method="emulator") == cost(method="auto")  # chains are the exception
    assert cost(method="nuts", draws=500) < cost(method="nuts", draws=5000)


def test_elapsed_and_clock() -> None:
    assert elapsed([3.0, 1.0, 1.0, 1.0], 2) == 3.0
    assert elapsed([2.0, 2.0, 5.0], 2) == 7.0
    assert [clock(seconds) for seconds in (12.4, 90.0, 3600.0, 90061.0)] == [
        "12 s",
        "2 min",
        "1 h 00 min",
        "25 h 01 min",
    ]
