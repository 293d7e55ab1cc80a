"""`gammasky simulate` from the outside: skies that can be fitted, with the truth beside the posterior."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine.infer import read_posterior
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset
from tests.fits import posterior_of

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")
Capture = pytest.CaptureFixture[str]
SIMULATE = ["simulate", "model.toml", "--data", "sky", "--quiet"]
FIT = ["fit", "model.toml", "--method", "svi", "--no-emulator", "--guide", "mvn", "--steps", "5"]


def names(folder: str) -> list[str]:
    return sorted(path.name for path in Path(folder).iterdir())


def truths(folder: str) -> list[dict[str, Any]]:
    return [dict(Dataset.open(path).manifest.truth) for path in sorted(Path(folder).glob("*.toml"))]


@pytest.mark.slow
@pytest.mark.usefixtures("tiny")
def test_a_sky_is_fitted_with_its_truth(capsys: Capture) -> None:
    assert main([*SIMULATE, "--params", "point.json", "--n", "2", "--seed", "3", "--out", "a/skies", "--sources"]) == 0
    printed = capsys.readouterr()
    assert printed.err == ""
    assert printed.out == (
        "2 skies in a/skies; fit one with: gammasky fit model.toml --data a/skies/sky_0000.toml --out DIR\n"
    )
    assert len(names("a/skies")) == 6
    assert main([*FIT, "--data", "a/skies/sky_0001.toml", "--out", "fit"]) == 0
    table = capsys.readouterr().out
    assert "tiny on sky_0001" in table
    assert "truth" in table
    summary = json.loads(Path("fit/summary.json").read_text())
    found = {name: entry["truth"] for name, entry in summary["parameters"].items()}
    assert found == {"S_flat": 2.0, "Sps": 3.0, "mix[flat]": 0.7, "mix[peak]": 0.3}
    assert summary["point_source_fraction"]["all"]["truth"] == pytest.approx(0.6)
    assert summary["predictive_checks"]["replicas"] == 200
    assert summary["predictive_checks"]["bands"][0].keys() == {
        "coordinate", "low", "high", "counts", "expected", "p_counts", "p_dispersion",
    }  # fmt: skip
    assert summary["data_sha256"].keys() >= {"sky_0001.fits", "exposure.npy"}
    assert Path("fit/figures/predictive.png").is_file()


@pytest.mark.usefixtures("tiny")
def test_a_posterior_makes_skies() -> None:
    path = posterior_of(Path("posterior.nc"), SkyModel("model.toml", Dataset.open("sky")))
    assert main([*SIMULATE, "--posterior", str(path), "--n", "3", "--out", "skies"]) == 0
    draws = read_posterior(path)["posterior"]["S_flat"].values
    found = [truth["S_flat"] for truth in truths("skies")]
    assert len(set(found)) == 3
    assert set(found) <= set(draws.ravel())


@pytest.mark.parametrize("simulator", ["photons", "likelihood"])
@pytest.mark.usefixtures("tiny")
def test_the_prior_makes_skies(simulator: str) -> None:
    words = [*SIMULATE, "--prior", "--simulator", simulator, "--seed", "4"]
    assert main([*words, "--n", "3", "--out", "three"]) == 0
    assert main([*words, "--out", "one"]) == 0
    assert names("one") == ["sky_0000.fits", "sky_0000.toml"]
    assert truths("one") == truths("three")[:1]
    assert len({truth["S_flat"] for truth in truths("three")}) == 3
    first, second = (Dataset.open(f"{folder}/sky_0000.toml").counts for folder in ("one", "three"))
    np.testing.assert_array_equal(first, second)


@pytest.mark.usefixtures("tiny")
def test_other_seeds_and_simulators_make_other_skies() -> None:
    skies = []
    for words in (["--seed", "1"], ["--seed", "2"], ["--seed", "1", "--simulator", "likelihood"]):
        assert main([*SIMULATE, "--params", "point.json", "--overwrite", "--out", "skies", *words]) == 0
        skies.append(np.maximum(Dataset.open("skies/sky_0000.toml").counts, 0))
    assert all((skies[i] != skies[j]).any() for i in range(3) for j in range(i))


def test_a_process_of_its_own_makes_the_same_sky(tiny: Path) -> None:
    assert main([*SIMULATE, "--params", "point.json", "--out", "here"]) == 0
    line = [sys.executable, "-P", "-m", "gammasky", *SIMULATE, "--params", "point.json", "--out", "there"]
    done = subprocess.run(line, cwd=tiny, capture_output=True, text=True, timeout=100)
    assert (done.returncode, done.stderr) == (0, "")
    here, there = (Dataset.open(f"{folder}/sky_0000.toml").counts for folder in ("here", "there"))
    np.testing.assert_array_equal(here, there)
