"""`gammasky calibrate` from the outside: reports, resuming, growing, and refusals."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest

from gammasky.analyses.calibration import run
from gammasky.cli import main
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset
from tests.fits import posterior_of

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")
Capture = pytest.CaptureFixture[str]
INLINE = ["--executor", "inline"]
SKY = ["calibrate", "model.toml", "--data", "sky", "--out", "a/out"]
WORDS = [*SKY, *INLINE, "--method", "svi", "--no-emulator", "--guide", "diagonal", "--steps", "3", "--particles", "2"]


@pytest.fixture
def _few_draws(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(run, "N_DRAWS", 100)


def members() -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in Path("a/out").glob("*/members/[!.]*.npz")}


@pytest.mark.slow
@pytest.mark.usefixtures("tiny", "_few_draws")
def test_report_resumes_and_grows(capsys: Capture) -> None:
    words = [*WORDS, "--scenario", "photons", "--scenario", "likelihood", "--scenario", "photons"]
    assert main([*words, "--skies", "2"]) == 0
    first = capsys.readouterr()
    lines = first.err.splitlines()
    # the last line of each; before it there are some by the clock, which also say what is running
    assert [line for line in lines if line.endswith(": 2 of 2 done")] == [
        f"gammasky: {name}: 2 of 2 done" for name in ("photons", "likelihood")
    ]
    assert {path.name for path in Path("a/out").iterdir()} == {
        "calibration.json", "coverage.md", "likelihood", "photons", "pp.png",
        "ranks_likelihood.png", "ranks_photons.png",
    }  # fmt: skip
    assert first.out.startswith("## photons\n")
    numbers = json.loads(Path("a/out/calibration.json").read_text())
    assert [entry["scenario"] for entry in numbers["studies"]] == ["photons", "likelihood"]
    assert numbers["tables"]["likelihood"]["n_skies"] == 2
    assert numbers["converged"] == numbers["reliable"] == {"photons": 0, "likelihood": 0}
    kept = members()
    assert len(kept) == 4
    assert main([*words, "--skies", "2", "--quiet"]) == 0
    again = capsys.readouterr()
    assert (again.out, again.err) == (first.out, "")
    assert members() == kept
    assert main([*words, "--skies", "3"]) == 0
    grown = capsys.readouterr()
    assert "gammasky: photons: 3 of 3 done" in grown.err.splitlines()
    assert len(members()) == 6
    assert kept.items() <= members().items()
    before = members()
    assert main([*words, "--skies", "3", "--seed", "1"]) == 2
    message = "gammasky: error: --out a/out: holds a calibration with other settings; choose another folder\n"
    assert capsys.readouterr().err == message
    assert members() == before


@pytest.mark.slow
def test_workers_and_ctrl_c(tiny: Path, capsys: Capture) -> None:
    """An interrupt in the middle leaves whole members; two workers complete them to what one process makes."""
    # the method that least is compiled for, in each of four processes; and skies enough that some are left, however
    # late this process sees that there is one
    words = [*SKY, "--method", "laplace", "--skies", "10"]
    many = [*words[:-1], "1000"]
    process = subprocess.Popen(
        [sys.executable, "-P", "-m", "gammasky", *many, *INLINE],
        cwd=tiny, stdout=subprocess.PIPE, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip
    while not members() and process.poll() is None:  # on a busy machine the first one takes minutes
        time.sleep(0.02)
    process.send_signal(signal.SIGINT)
    out, err = process.communicate(timeout=60)
    assert process.returncode == 130
    assert out == ""
    assert "gammasky: interrupted; the same command goes on from there" in err
    assert err.splitlines()[-1] == "gammasky: error: interrupted"
    assert "Traceback" not in err
    kept = members()
    assert 1 <= len(kept) < 1000
    assert all(name.endswith(".npz") and not name.startswith(".") for name in kept)
    assert main([*words, "--workers", "2"]) == 0
    resumed = capsys.readouterr()
    assert resumed.err.splitlines()[-1] == "gammasky: likelihood: 10 of 10 done"
    assert kept.items() <= members().items()
    os.rename("a/out", "a/resumed")
    assert main([*words, *INLINE]) == 0
    assert capsys.readouterr().out == resumed.out
    for name in members():
        with (
            np.load(Path("a/resumed/likelihood/members", name)) as two,
            np.load(Path("a/out/likelihood/members", name)) as one,
        ):
            np.testing.assert_array_equal(one["draws"], two["draws"])


@pytest.mark.slow
@pytest.mark.usefixtures("tiny", "_few_draws")
def test_posterior_sbc(capsys: Capture) -> None:
    posterior_of(Path("posterior.nc"), SkyModel("model.toml", Dataset.open("sky")))
    assert main([*WORDS, "--skies", "2", "--posterior", "posterior.nc", "--quiet"]) == 0
    assert "| Sps |" in capsys.readouterr().out
    assert json.loads(Path("a/out/calibration.json").read_text())["studies"][0]["posterior"] == "posterior.nc"
