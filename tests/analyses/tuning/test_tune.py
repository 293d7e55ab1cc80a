"""`gammasky tune` from the outside: settings and models searched, resumed, refused."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gammasky.cli import main
from gammasky.distributed.folder import Places

pytestmark = pytest.mark.usefixtures("compiled_fast")

Capture = pytest.CaptureFixture[str]
# each learning rate, number of particles or of steps is a program of its own, which takes seconds to compile
SEARCH = [word for text in ("guide=iaf,diagonal", "particles=8", "lr=3e-4", "schedule=constant", "steps=16")
          for word in ("--search", text)]  # fmt: skip
INLINE = ["--executor", "inline"]
WORDS = ["tune", "model.toml", "--data", "sky", "--steps", "16", *SEARCH, "--out", "a/out"]
ENSEMBLE = """
name = "norms"
model = "model.toml"
data = "sky"
[fit]
method = "svi"
emulator = false
guide = "diagonal"
steps = 24
particles = 2
learning_rate = 0.05
[axes.top]
sets = "parameters.S_flat.high"
low = 2.0
high = 6.0
"""


def lines() -> list[dict[str, str]]:
    with Path("a/out/trials.csv").open() as file:
        return list(csv.DictReader(file))


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_settings_against_those_of_the_paper(capsys: Capture) -> None:
    assert main([*WORDS, *INLINE, "--trials", "1"]) == 0
    said = capsys.readouterr()
    first = lines()
    assert len(first) == 1
    assert (first[0]["guide"], float(first[0]["learning_rate"]), first[0]["particles"]) == ("iaf", 3e-4, "8")
    assert (first[0]["schedule"], first[0]["steps"], first[0]["state"]) == ("constant", "16", "complete")
    assert said.err.count("gammasky: 1/1: trial 0 complete: ") == 1
    assert "(paper)" in said.out
    best = max((line for line in first if line["state"] == "complete"), key=lambda line: float(line["value"]))
    assert f"--guide {best['guide']}" in said.out
    assert f"--particles {best['particles']}" in said.out
    assert main([*WORDS, *INLINE, "--trials", "4", "--resume", "--quiet"]) == 0
    assert capsys.readouterr().err == ""
    assert lines()[:1] == first
    assert len(lines()) == 2  # there is no third choice
    budget = float(first[0]["seconds"])
    assert all(int(line["steps_done"]) == int(line["steps"]) or float(line["seconds"]) >= budget for line in lines()
               if line["state"] == "complete")  # fmt: skip


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_models_by_fits_that_end_early(capsys: Capture) -> None:
    Path("ensemble.toml").write_text(ENSEMBLE)
    words = ["tune", "--ensemble", "ensemble.toml", "--pruner", "halving", "--out", "a/out", "--quiet", *INLINE]
    assert main([*words, "--trials", "2"]) == 0
    assert "log Z" in capsys.readouterr().out
    for line in lines():
        assert 2 <= float(line["top"]) <= 6
        assert line["state"] == "pruned" or line["value"] == line["log_z"]


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["tune", "fiduciel", "--data", "sky"], "unknown model 'fiduciel'"),
        ([*WORDS, "--objective", "elbow"], "unknown objective 'elbow'; did you mean 'elbo'"),
        ([*WORDS, "--search", "guide=flow"], "search guide: expected to hold the paper's iaf"),
        ([*WORDS, "--storage", "sqlite:////nowhere/at/all.db"], "storage: no database answers at sqlite:////nowhere"),
        ([*WORDS, "--resume"], "no search there; start it without --resume"),
        ([*WORDS, "--address", "127.0.0.1:1"], "address: no Ray cluster answers at 127.0.0.1:1"),
        ([*WORDS, "--ensemble", "none.toml"], " and --ensemble exclude each other: it is of a search for settings"),
        ([*WORDS, "--minimise", "k_hat"], "--minimise needs --ensemble"),
        ([*WORDS, "--sampler", "tbe"], "unknown sampler 'tbe'; did you mean 'tpe'"),
        ([*WORDS, "--pruner", "halfing"], "unknown pruner 'halfing'; did you mean 'halving'"),
    ],
)
def test_refusals(words: list[str], message: str, capsys: Capture) -> None:
    assert main([*words, *([] if "--out" in words else ["--out", "a/out"])]) == 2
    said = capsys.readouterr().err
    assert message in said
    assert said.count("\n") == 1
    assert not Path("a/out/trials.csv").exists() or not lines()


@pytest.mark.usefixtures("tiny")
@pytest.mark.parametrize("begun", [True, False])
def test_an_interrupted_search_says_how_to_go_on(begun: bool, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    def interrupted(out: Path, *_: object, **__: object) -> None:
        if begun:
            out.mkdir()
            Places(out).manifest.touch()
        raise KeyboardInterrupt

    monkeypatch.setattr("gammasky.analyses.tuning.search.tune_fit", interrupted)
    assert main(["tune", "--data", "sky", "--out", "out"]) == 130
    assert ("the same command with --resume goes on" in capsys.readouterr().err) == begun
