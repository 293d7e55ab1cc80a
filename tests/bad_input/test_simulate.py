"""Bad input of simulations and calibrations: one line that names the culprit, and nothing left behind."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine.model import SkyModel
from gammasky.engine.sky.dataset import Dataset
from tests.bad_input.spoil import (
    POINT,
    Capture,
    Spoil,
    calibrate_words,
    cut,
    files,
    manifest,
    pixel,
    refusal,
    simulate_words,
    text,
)  # fmt: skip
from tests.fits import posterior_of

pytestmark = pytest.mark.usefixtures("compiled_fast")


@pytest.mark.parametrize(
    ("point", "message"),
    [
        ({"S_flat": 2.0}, "parameter 'Sps' is missing; give all of S_flat, Sps, mix"),
        (POINT | {"Sps": 9.5}, "parameter 'Sps': expected a value inside its prior, 0.1 to 9, got 9.5"),
        (POINT | {"S_flat": -3.0}, "parameter 'S_flat': expected a value inside its prior, 0.5 to 6, got -3"),
    ],
)
def test_a_point_that_cannot_be_simulated(point: Any, message: str, here: Path, capsys: Capture) -> None:
    (here / "point.json").write_text(json.dumps(point), encoding="utf-8")
    assert message in refusal(capsys, *simulate_words())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--seed", "1.5"], "Invalid value for '--seed': '1.5' is not a valid integer"),
        (["--seed", str(2**63)], "seed: expected a whole number, 0 to 2^63 - 1; got 9223372036854775808"),
        (["--seed", str(2**64), "--simulator", "likelihood"], "seed: expected a whole number, 0 to 2^63 - 1"),
        (["--n", "0"], "Invalid value for '--n': 0 is not in the range x>=1"),
        (["--simulator", "photon"], "unknown simulator 'photon'; did you mean 'photons'?"),
        (["--sources", "--simulator", "likelihood"], "sources: the simulator 'likelihood' knows no sources"),
        (["--prior"], "expected exactly one of --params, --posterior and --prior"),
        (["--posterior", "p.nc"], "expected exactly one of --params, --posterior and --prior"),
        (["--params", "no.json"], "parameter file 'no.json': cannot be read"),
        (["--out", ""], "Invalid value for '--out': expected a path, got an empty one"),
        (["--out", "model.toml"], "Invalid value for '--out'|--out model.toml: expected a folder"),
        (["--out", "model.toml/x"], "--out model.toml/x: cannot be written to (Not a directory); choose another"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_spoiled_simulation(words: list[str], message: str, capsys: Capture) -> None:
    line = refusal(capsys, *simulate_words(*words))
    assert any(part in line for part in message.split("|"))


@pytest.mark.parametrize(
    ("source", "message"),
    [
        ((), "expected exactly one of --params, --posterior and --prior"),
        (("--posterior", "no.nc"), "no.nc: no such posterior file; expected the posterior.nc of a fit"),
        (("--posterior", "point.json"), "point.json: not a NetCDF file, or damaged"),
        (("--posterior", "sky/peak.fits"), "sky/peak.fits: not a NetCDF file, or damaged"),
    ],
)
@pytest.mark.usefixtures("here")
def test_nothing_to_simulate_from(source: tuple[str, ...], message: str, capsys: Capture) -> None:
    assert message in refusal(capsys, *simulate_words(source=source))


def test_posteriors_that_do_not_fit(here: Path, capsys: Capture) -> None:
    posterior_of(Path("fit/posterior.nc"), SkyModel("model.toml", Dataset.open("sky")), n=500)
    posterior = ("--posterior", "fit/posterior.nc")
    assert main(simulate_words(source=posterior)) == 0
    capsys.readouterr()
    shutil.rmtree(here / "a")
    text("model.toml", '"peak"], fractions', '"peak", "flat"], fractions')(here)
    message = "fit/posterior.nc: posterior of another model ('small'), expected one of 'small' as it is now"
    assert message in refusal(capsys, *simulate_words(source=posterior))
    assert message in refusal(capsys, *calibrate_words(*posterior))
    cut("fit/posterior.nc", 20_000)(here)
    assert "fit/posterior.nc: not a NetCDF file, or damaged" in refusal(capsys, *simulate_words(source=posterior))
    assert "fit/posterior.nc: not a NetCDF file, or damaged" in refusal(capsys, *calibrate_words(*posterior))


def test_simulated_skies_are_kept(here: Path, capsys: Capture) -> None:
    assert main(simulate_words()) == 0
    capsys.readouterr()
    old = files(here / "a/b/skies")
    message = "--out a/b/skies: holds simulated skies; use --overwrite, or choose another folder"
    assert message in refusal(capsys, *simulate_words())
    assert files(here / "a/b/skies") == old


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (
            pixel("flat.npy", np.nan, 1759),
            "flat.npy: values must be finite and not negative where they are used, got nan",
        ),
        (manifest('"delta"', '"gaussian", sigma_deg = 900.0'), "psf: wider than the sphere"),
        (manifest('"delta"', '"gaussian", sigma_deg = -1.0'), "field 'psf.sigma_deg'"),
        (manifest('"delta"', '"gaussian", sigma_deg = inf'), "field 'psf.sigma_deg'"),
    ],
)
def test_a_dataset_that_cannot_be_simulated(spoil: Spoil, message: str, here: Path, capsys: Capture) -> None:
    spoil(here / "sky")
    assert message in refusal(capsys, *simulate_words())
    assert message in refusal(capsys, *calibrate_words("--scenario", "photons"))


@pytest.mark.parametrize(
    ("slope", "amplitude", "largest", "message"),
    [
        ("400.0", "1.0", "50.0", "population 'sources': infinite counts: dN/dS is infinite at S = 0.1"),
        ("-1.0", "1e307", "50.0", "population 'sources': infinite counts: the integral of S dN/dS is beyond the range"),
        ("-1.0", "1e300", "50.0", "expected at most 1e+08 sources per sky, got "),
        ("-1.0", "1.0", "1e12", "population 'sources': sources of up to "),
    ],
)
def test_infinite_counts(slope: str, amplitude: str, largest: str, message: str, here: Path, capsys: Capture) -> None:
    text("model.toml", "-1.0]", f"{slope}]")(here)
    text("model.toml", "max = 50.0", f"max = {largest}")(here)
    text("model.toml", 'norm = "Sps"', f"amplitude = {amplitude}")(here)
    text("model.toml", 'Sps = { prior = "uniform", low = 0.1, high = 9.0 }\n', "")(here)
    (here / "point.json").write_text(json.dumps({"S_flat": 2.0, "mix": [0.5, 0.5]}), encoding="utf-8")
    assert message in refusal(capsys, *simulate_words())


def test_a_norm_that_cannot_be_reached(here: Path, capsys: Capture) -> None:
    """S dN/dS integrates to infinity, over which the norm says nothing."""
    text("model.toml", "-1.0]", "400.0]")(here)
    assert "population 'sources': dN/dS must not be negative or NaN" in refusal(capsys, *simulate_words())


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--scenario", "photon"], "unknown scenario 'photon'; did you mean 'photons'?"),
        (["--scenario", "likelihood", "--scenario", "x"], "unknown scenario 'x'"),
        (["--skies", "1"], "Invalid value for '--skies': 1 is not in the range x>=2"),
        (["--seed", str(2**63 - 1)], "seed: expected a whole number from 0 to 9223372036854775807"),
        (["--workers", "0"], "Invalid value for '--workers'"),
        (["--method", "nuts"], "emulator is a setting of method svi, and this fit is by nuts: add --method svi"),
        (["--steps", "2.5"], "Invalid value for '--steps'"),
        (["--posterior", "point.json"], "point.json: not a NetCDF file, or damaged"),
        (["--out", "model.toml/x"], "--out model.toml/x: cannot be written to (Not a directory); choose another"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_spoiled_calibration(words: list[str], message: str, capsys: Capture) -> None:
    assert message in refusal(capsys, *calibrate_words(*words))


def test_a_calibration_of_a_spoiled_model(here: Path, capsys: Capture) -> None:
    text("model.toml", 'norm = "S_flat"', 'norm = "S_flt"')(here)
    assert "unknown parameter 'S_flt'; did you mean 'S_flat'?" in refusal(capsys, *calibrate_words())
