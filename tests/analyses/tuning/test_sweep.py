"""Sweeps along the axes of an ensemble: what is searched, what cannot be compared, and one from end to end."""

from __future__ import annotations

import csv
import math
import re
from pathlib import Path
from typing import Any

import pytest
from optuna.distributions import CategoricalDistribution, FloatDistribution, IntDistribution

from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.analyses.ensemble.file import Sweep, sweep_of
from gammasky.analyses.tuning import sweep as sweep_module
from gammasky.analyses.tuning.columns import column_of, error_of
from gammasky.analyses.tuning.sweep import choices_of, corners_of, search_space, sweep_models
from gammasky.cli import main
from gammasky.distributed.member import Resources
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.engine.errors import InputError
from gammasky.engine.model import read_model

pytestmark = pytest.mark.usefixtures("tiny", "compiled_fast", "blank_figures")
Capture = pytest.CaptureFixture[str]
TOP = {"sets": "parameters.S_flat.high", "low": 2.0, "high": 6.0}
BREAKS = {
    "1": {},
    "2": {"components.sources.source_counts": {"slopes": [4.0, 1.5, "n3"], "breaks": [10.0, 5.0]},
          "parameters.n3": {"prior": "uniform", "low": -3.0, "high": 0.0}},
}  # fmt: skip
INNER = {"sets": "parameters.n3.low", "low": -6.0, "high": -1.0, "when": {"breaks": [2]}}
FILE = """
name = "top"
description = "the upper end of a prior"
model = "model.toml"
data = "sky"
[fit]
method = "laplace"
[axes.breaks.1]
[axes.breaks.2]
"components.sources.source_counts" = { slopes = [4.0, 1.5, "n3"], breaks = [10.0, 5.0] }
"parameters.n3" = { prior = "uniform", low = -3.0, high = 0.0 }
[axes.inner]
sets = "parameters.n3.low"
low = -6.0
high = -1.0
when = { breaks = [2] }
[sweep]
minimise = "ps_fraction"
constraints = ["log_z >= best - 5", "k_hat < 5"]
trials = 5
at_once = 2
sampler = "random"
"""


def ensemble(axes: dict[str, Any], **changes: Any) -> Ensemble:
    """An ensemble on the tiny sky in the current folder."""
    return Ensemble(**{"name": "tiny", "model": "model.toml", "data": "sky", "axes": axes, **changes})


def test_axes_are_distributions_of_optuna() -> None:
    axes = {
        "mask": ["spot", "none"], "radius_max": {"low": 10, "high": 20, "log": True}, "latitude_min": [2],
        "seed": {"low": 0, "high": 3}, "breaks": BREAKS, "inner": INNER,
        "top": {**TOP, "step": 0.5},
        "wide": {"sets": "parameters.Sps.high", "low": 1, "high": 64, "integer": True, "log": True},
    }  # fmt: skip
    expansion = ensemble(axes).expansion
    space = search_space(expansion.axes)
    assert space.distributions == {
        "mask": CategoricalDistribution(["spot", "none"]),
        "radius_max": FloatDistribution(10, 20, log=True),
        "seed": IntDistribution(0, 3),
        "breaks": CategoricalDistribution(["1", "2"]),
        "inner": FloatDistribution(-6, -1),
        "top": FloatDistribution(2, 6, step=0.5),
        "wide": IntDistribution(1, 64, log=True),
    }
    params = {"mask": "none", "radius_max": 12.345, "seed": 2, "breaks": "2", "inner": -4.5, "top": 2.5, "wide": 7}
    assert space.exists("inner", params)
    assert not space.exists("inner", {**params, "breaks": "1"})
    member = expansion.member(choices_of(expansion.axes, params))
    assert member.name == "mask=none,radius_max=12.345,breaks=2,inner=-4.5,top=2.5,wide=7,seed=2"
    model = member.spec["model"]
    assert (model["region"]["radius_max"], model["region"]["latitude_min"]) == (12.345, 2.0)
    assert (model["parameters"]["n3"]["low"], model["parameters"]["Sps"]["high"]) == (-4.5, 7)


def test_every_choice_and_end_is_checked_before_anything_starts(tmp_path: Path) -> None:
    corners = corners_of(ensemble({"breaks": BREAKS, "inner": INNER, "mask": ["spot", "none"]}).expansion)
    names = {axis: [member.name for member in members] for axis, members in corners.items()}
    assert names == {
        "mask": ["mask=spot,breaks=1", "mask=none,breaks=1"],
        "breaks": ["mask=spot,breaks=1", "mask=spot,breaks=2,inner=-6"],
        "inner": ["mask=spot,breaks=2,inner=-6", "mask=spot,breaks=2,inner=-1"],
    }
    with pytest.raises(InputError, match=r"member 'top=0.1': model: .*low must be below high"):
        ensemble({"top": {**TOP, "low": 0.1}}).tune(tmp_path / "out", address=None)
    assert not (tmp_path / "out").exists()


def started(axes: dict[str, Any], monkeypatch: pytest.MonkeyPatch, **asked: Any) -> Any:
    """What a search would look for."""
    seen: list[Any] = []
    monkeypatch.setattr(sweep_module, "sweep", lambda *given, **_: seen.append(given[2]))
    sweep_models(Path("out"), ensemble(axes).expansion, Sweep(**asked), InlineRunner())
    return seen[0]


def test_what_is_sought(monkeypatch: pytest.MonkeyPatch) -> None:
    sought = started({"top": TOP}, monkeypatch, minimise="ps_fraction", maximise=["log_z", "fit_seconds"])
    assert [(goal.column, goal.direction) for goal in sought.goals] == [
        ("ps_fraction_mean", "minimize"), ("log_z", "maximize"), ("fit_seconds", "maximize"),
    ]  # fmt: skip
    assert started({"top": TOP}, monkeypatch).goals[0].column == "log_z"
    masks = {"mask": ["spot", "none"], "top": TOP}
    constraints = ["reliable", "log_z >= best_of_data - 1"]
    assert len(started(masks, monkeypatch, minimise="fit_seconds", constraints=constraints).constraints) == 2
    radii = {
        "radius_max": {"low": 10, "high": 20, "step": 5}
    }  # each radius has data of its own, fitted again and again
    assert started({**radii, "top": TOP}, monkeypatch, minimise="k_hat", constraints=constraints)


def test_members_between_the_ends_of_a_range_get_what_they_ask_for(monkeypatch: pytest.MonkeyPatch) -> None:
    """A runner must know of it beforehand, also where no end of an axis, nor any first choice, asks for it."""
    seen: list[Any] = []
    monkeypatch.setattr(sweep_module, "sweep", lambda *_, **options: seen.append(options["others"]))
    axes = {"seed": {"low": 0, "high": 3}, "breaks": BREAKS}
    between, corner = {"when": {"seed": 2}, "cpus": 3}, {"when": {"seed": 3, "breaks": 2}, "hours": 2.0}
    made = ensemble(axes, resources={"memory_gb": 1.0, "overrides": [between, corner]})
    sweep_models(Path("out"), made.expansion, Sweep(), InlineRunner())
    assert set(seen[0]) == {Resources(cpus=3, memory_gb=1.0), Resources(memory_gb=1.0, hours=2.0)}


RADIUS = {"radius_max": {"low": 10, "high": 20}}


@pytest.mark.parametrize(
    ("axes", "asked", "message"),
    [
        ({"mask": ["spot", "none"]}, {}, "axis mask changes the data, and values of 'log_z' for other data"),
        (RADIUS, {"maximise": "elpd"}, "axis radius_max changes the data, and values of 'elpd'"),
        ({"r": {"sets": "region.radius_min", "low": 0, "high": 3}}, {}, "axis r changes the data"),
        (RADIUS, {"minimise": "ps_fraction", "constraints": ["log_z >= best - 5"]},
         "constraint 'log_z >= best - 5': axis radius_max changes the data, .*; say `best_of_data` for the best"),
        (RADIUS, {"minimise": "ps_fraction", "constraints": ["log_z > -100"]}, "axis radius_max changes the data"),
        (RADIUS, {"minimise": "ps_fraction", "constraints": ["log_z >= best_of_data - 5"]},
         "axis radius_max is a range, so that no two fits have the same data; give it a `step` or `values`"),
        ({"top": TOP}, {"minimise": "ps_fractoin"}, r"unknown column 'ps_fractoin'; did you mean 'ps_fraction'\?"),
        ({"top": TOP}, {"minimise": ["k_hat", "k_hat"]}, "sweep: 'k_hat' is an objective twice"),
        ({"top": TOP}, {"minimise": ["gamma", "gamma_mean"]}, "sweep: 'gamma_mean' is an objective twice"),
        ({"top": TOP}, {"constraints": ["k_hta < 1"]}, r"unknown column 'k_hta'; did you mean 'k_hat'\?"),
        ({"mask": ["spot"]}, {}, "no axis has more than one choice; there is nothing to search"),
        ({"top": TOP}, {"pruner": "median"}, "pruner 'median': ends fits of a guide to the likelihood itself"),
    ],
)  # fmt: skip
def test_what_cannot_be_sought(axes: dict[str, Any], asked: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message) as found:
        sweep_models(tmp_path / "out", ensemble(axes).expansion, Sweep(**asked), InlineRunner())
    assert "\n" not in str(found.value)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"combine": {"sample": 1}}, "expected combine = 'product'"),
        ({"sweep": {"sampler": "tbe"}}, r"field 'sweep.sampler': unknown sampler 'tbe'; did you mean 'tpe'\?"),
        ({"sweep": {"pruner": "non"}}, r"field 'sweep.pruner': unknown pruner 'non'; did you mean 'none'\?"),
        ({"sweep": {"minimize": "k_hat"}}, r"unknown field 'sweep.minimize'; did you mean 'minimise'\?"),
        ({"sweep": {"trials": 0}}, "field 'sweep.trials': input should be greater than or equal to 1, got 0"),
        ({"sweep": {"pruner": "halving", "minimise": "k_hat"}, "fit": {"method": "svi", "emulator": False}},
         "pruner 'halving': such fits tell one of elbo, log_z on their way; maximise that alone"),
        ({"sweep": {"pruner": "halving"}, "fit": {"method": "svi", "emulator": False},
          "resources": {"overrides": [{"when": {"top": 2}, "cpus": 2}]}},
         r"pruner 'halving': all its fits have the same resources; remove \[\[resources.overrides\]\]"),
    ],
)  # fmt: skip
def test_ensembles_that_cannot_be_searched(changes: dict[str, Any], message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        ensemble({"top": {**TOP, "step": 1.0}}, **changes).tune(tmp_path / "out", address=None)
    assert not (tmp_path / "out").exists()


def test_what_is_given_takes_the_place_of_the_file() -> None:
    made = ensemble({"top": TOP}, sweep={"minimise": "k_hat", "constraints": "reliable", "trials": 7})
    kept = sweep_of(made, {"trials": None, "sampler": "qmc"})
    assert (kept.minimise, kept.constraints, kept.trials, kept.sampler) == (["k_hat"], ["reliable"], 7, "qmc")
    other = sweep_of(made, {"maximise": ("log_z",), "constraints": ()})
    assert (other.minimise, other.maximise, other.constraints) == ([], ["log_z"], [])


def test_columns_and_their_errors() -> None:
    assert (column_of("ps_fraction"), column_of("gamma_ps_sd"), column_of("log_z")) == (
        "ps_fraction_mean", "gamma_ps_sd", "log_z",
    )  # fmt: skip
    row = {"ps_fraction_sd": 0.2, "ess": 25.0, "log_z_error": 0.03}
    assert error_of(row, "ps_fraction_mean") == pytest.approx(0.04)
    assert error_of({**row, "ess_bulk_min": 400.0}, "ps_fraction_mean") == pytest.approx(0.01)
    assert error_of(row, "log_z") == 0.03
    assert math.isnan(error_of(row, "k_hat"))
    assert math.isnan(error_of({"ps_fraction_sd": 0.2}, "ps_fraction_mean"))


def lines() -> list[dict[str, str]]:
    with Path("a/out/trials.csv").open() as file:
        return list(csv.DictReader(file))


def test_from_the_file_to_the_report(capsys: Capture) -> None:
    Path("ensemble.toml").write_text(FILE)
    words = ["tune", "--ensemble", "ensemble.toml", "--out", "a/out", "--executor", "inline"]
    assert main([*words, "--trials", "3"]) == 0
    said = capsys.readouterr()
    assert said.err.count("gammasky: ") == 3
    first = lines()
    assert len(first) == 3
    assert main([*words, "--resume", "--quiet"]) == 0
    said = capsys.readouterr()
    assert said.err == ""
    table = lines()
    assert len(table) == 5
    assert table[:3] == [{**line, "best": table[n]["best"], "meets": table[n]["meets"],
                          "violated": table[n]["violated"]} for n, line in enumerate(first)]  # fmt: skip
    assert {line["axis.breaks"] for line in table} == {"1", "2"}
    assert all((line["axis.inner"] != "") == (line["axis.breaks"] == "2") for line in table)
    meets = [line for line in table if line["meets"] == "1"]
    best = min(meets, key=lambda line: float(line["ps_fraction_mean"]))
    assert [line["number"] for line in table if line["best"] == "1"] == [best["number"]]
    assert float(best["ps_fraction_mean_error"]) > 0
    assert "the best fit with all its files: gammasky fit a/out/best_model.toml --data sky --method laplace" in said.out
    model = read_model("a/out/best_model.toml")
    assert ("n3" in model.parameters) == (best["axis.breaks"] == "2")
    page = Path("a/out/report.html").read_text()
    assert "lowest point-source fraction of the excess" in page
    assert len(re.findall("<img ", page)) == 1
    assert "<script" not in page
    assert main([*words, "--resume", "--maximise", "log_z"]) == 2
    assert "holds another search: objectives" in capsys.readouterr().err


def test_in_a_notebook(tmp_path: Path) -> None:
    made = ensemble({"top": TOP}, fit={"method": "laplace"}, sweep={"sampler": "qmc"})
    found = made.tune(
        tmp_path / "out",
        3,
        minimise=["ps_fraction"],
        maximise="log_z",
        address=None,
        quiet=True,
        constraints="k_hat < 9",
    )
    table = found.table()
    assert list(table.index) == [0, 1, 2]
    assert set(table[table["best"] == 1].index) == {trial.number for trial in found.front}
    assert found.best == found.front[0]
    posterior = found.posterior(found.best.number)
    assert float(posterior["posterior"]["S_flat"].max()) <= found.best.params["top"]
    with pytest.raises(InputError, match="trial 7: expected one that was fitted, of 0, 1, 2"):
        found.posterior(7)
    page = found.report().read_text()
    assert "No other is better in every respect" in page
    assert len(re.findall("<img ", page)) == 3  # two along the axis, one against the other
    assert len(found.table().columns) > 50


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--objective", "log_z"], "--objective and --ensemble exclude each other: it is of a search for settings"),
        (["fiducial"], "and --ensemble exclude each other"),
        (["--minimise", "k_hta"], "unknown column 'k_hta'; did you mean 'k_hat'?"),
        (["--constraint", "k_hat < os.getpid()"], "unknown column 'os'"),
        (["--sampler", "tp"], "unknown sampler 'tp'; did you mean 'tpe'?"),
        (["--at-once", "0"], "--at-once"),
        (["--data", "nosuch"], "unknown dataset 'nosuch'"),
        (["--executor", "ray", "--address", "127.0.0.1:1"], "no Ray cluster answers at 127.0.0.1:1"),
    ],
)
def test_refusals_are_one_line(words: list[str], message: str, capsys: Capture) -> None:
    Path("ensemble.toml").write_text(FILE)
    assert main(["tune", "--ensemble", "ensemble.toml", "--out", "a/out", "--executor", "inline", *words]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
