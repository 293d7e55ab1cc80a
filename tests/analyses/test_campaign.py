"""An ensemble from Python, as in a notebook: plan, run, look, go on, and one line for what is not there."""

from __future__ import annotations

import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest

import gammasky
from gammasky.cli import main
from gammasky.distributed.campaign import Tally
from gammasky.distributed.manifest import Manifest, list_members, write_manifest
from gammasky.distributed.member import Member, Resources
from gammasky.engine.errors import InputError

pytestmark = pytest.mark.usefixtures("compiled_fast")
AXES = {"radius_max": [15, 20], "mask": ["spot", "none"]}


def ensemble(**axes: Any) -> gammasky.Ensemble:
    return gammasky.Ensemble(
        name="small", model="model.toml", data="sky", axes={**AXES, **axes}, fit={"method": "laplace"}
    )


@pytest.fixture
def campaign(tiny: Path) -> gammasky.Campaign:
    assert tiny.is_dir()
    return ensemble().run("done", address=None, quiet=True)


@pytest.mark.slow
def test_what_a_campaign_says(campaign: gammasky.Campaign, tmp_path: Path) -> None:
    assert repr(campaign) == "<Campaign done: 4 of 4 done>"
    table = campaign.table()
    assert repr(ensemble()) == "<Ensemble small: model.toml on sky, radius_max (15, 20), mask (spot, none)>"
    assert '<td style="text-align: left">15, 20</td>' in ensemble()._repr_html_()
    html = campaign._repr_html_()
    assert all(name in html for name in table.index)
    assert f"{table['log_z'].iloc[0]:.2f}" in html
    assert list(table.index) == list(ensemble().plan().index)
    assert set(table["state"]) == {"done"}
    assert set(table["axis.mask"]) == {"spot", "none"}
    name = table.index[0]
    posterior = campaign.posterior(name)
    assert (posterior.attrs["member"], posterior.attrs["log_z"]) == (name, table.loc[name, "log_z"])
    assert np.isfinite(posterior["posterior"]["Sps"].values).all()
    answer = campaign.answer()
    for figure in (campaign.plot_forest(answer.quantities[0]), campaign.plot_variance(every=True)):
        figure.savefig(tmp_path / "figure.png")
    assert campaign.report().is_file()
    with pytest.raises(InputError, match="unknown quantity 'n_source'; did you mean 'n_sources'"):
        campaign.plot_effects("n_source", every=True)
    expected = (
        "expected members with two choices of an axis, got 0 to count; 4 are not reliable, and count with `every`"
    )
    with pytest.raises(InputError, match=expected):
        campaign.plot_variance()
    with pytest.raises(InputError, match="unknown member"):
        campaign.posterior("mask=spo")

    next(Path("done/members").glob("*.npz")).unlink()
    assert (campaign.table()["state"] == "waiting").sum() == 1
    again = gammasky.Campaign("done").resume(address=None, quiet=True)
    assert again.tally is not None
    assert (again.tally.done, again.tally.fitted) == (4, 1)
    with pytest.raises(InputError, match="holds a campaign; go on with"):
        ensemble().run("done", address=None)


class ZMQInteractiveShell:
    """As IPython names the shell of a notebook."""


@pytest.mark.usefixtures("tiny")
def test_a_notebook_has_one_line_of_progress(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setitem(sys.modules, "IPython", SimpleNamespace(get_ipython=ZMQInteractiveShell))
    ensemble(mask=["spot"], radius_max=[15]).run("done", address=None)
    told = capsys.readouterr().err
    assert told.count("\n") == 1
    assert told.split("\r")[-1].strip() == "gammasky: done: 1 of 1 done"


@pytest.mark.usefixtures("tiny")
def test_a_resumed_campaign_may_have_another_time_limit(monkeypatch: pytest.MonkeyPatch) -> None:
    """What took too long is tried again by it, whatever limits the ensemble has."""
    given: list[tuple[float | None, list[float | None]]] = []

    def noted(_folder: Path, _task: Any, members: list[Member], resources: Resources, *_: Any, **__: Any) -> Tally:
        given.append((resources.hours, [member.resources.hours if member.resources else None for member in members]))
        return Tally(4, 4, 0, 0, 0.0)

    spot = {"when": {"mask": "spot"}, "hours": 3.0}
    wide = {"when": {"mask": "none", "radius_max": 20}, "cpus": 2}
    made = gammasky.Ensemble(**{**ensemble().manifest(), "resources": {"hours": 1.0, "overrides": [spot, wide]}})
    Path("late").mkdir()
    write_manifest(Path("late"), Manifest(made.manifest(), list_members(made.expansion.members)))
    monkeypatch.setattr("gammasky.analyses.ensemble.campaign.run_campaign", noted)
    names = [member.name for member in made.expansion.members]
    assert names[1:3] == ["mask=spot,radius_max=20", "mask=none,radius_max=15"]
    gammasky.Campaign("late").resume(address=None)
    gammasky.Campaign("late").resume(address=None, hours=6)
    assert main(["campaign", "resume", "late", "--executor", "inline", "--hours", "0"]) == 0
    assert given == [(1.0, [3.0, 3.0, None, 1.0]), (6.0, [None, None, None, 6.0]), (0.0, [None, None, None, 0.0])]
    with pytest.raises(InputError, match="hours: expected a finite number of at least 0, got -1"):
        gammasky.Campaign("late").resume(address=None, hours=-1)


@pytest.mark.usefixtures("tiny")
def test_bad_input() -> None:
    with pytest.raises(InputError, match="no campaign"):
        gammasky.Campaign("sky")
    with pytest.raises(InputError, match="workers: this process is one, got 2"):
        ensemble().run("new", address=None, workers=2)
    assert not Path("new").exists()
