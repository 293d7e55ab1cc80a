"""Bad input from the user's side: one line that names the culprit, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import os
import resource
import shutil
import subprocess
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.cli import main

MODEL = """
name = "small"
region = { radius_max = 20.0, mask = "spot", exposure_regions = 2 }
source_grid = { max = 50.0, nodes = 50 }
[parameters]
S_flat = { prior = "uniform", low = 0.5, high = 6.0 }
Sps = { prior = "uniform", low = 0.1, high = 9.0 }
mix = { prior = "dirichlet" }
[[components]]
name = "smooth"
norm = "S_flat"
template = { mix = ["flat", "peak"], fractions = "mix" }
[[components]]
name = "sources"
norm = "Sps"
template = "peak"
source_counts = { slopes = [4.0, 1.5, -1.0], breaks = [12.0, 4.0] }
"""

POINT = {"S_flat": 2.0, "Sps": 3.0, "mix": [0.5, 0.5]}

Spoil = Callable[[Path], object]
pytestmark = pytest.mark.usefixtures("compiled_fast")
Capture = pytest.CaptureFixture[str]


@pytest.fixture(scope="module")
def whole(
    tmp_path_factory: pytest.TempPathFactory,
    places: tuple[np.ndarray, np.ndarray, np.ndarray],
    write_sky: Callable[..., Path],
) -> Path:
    """Good files: a dataset in `sky`, a model and a parameter point."""
    folder = tmp_path_factory.mktemp("whole")
    peak = np.exp(-places[2] / 8)
    templates = {"flat.npy": ("intensity", np.full(peak.size, 3.0)), "peak.fits": ("counts", peak)}
    write_sky(folder / "sky", "small", templates, np.random.default_rng(5).poisson(3.0 + 10 * peak))
    (folder / "model.toml").write_text(MODEL, encoding="utf-8")
    (folder / "point.json").write_text(json.dumps(POINT), encoding="utf-8")
    return folder


@pytest.fixture
def here(whole: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy of the good files, as the current folder."""
    shutil.copytree(whole, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def refusal(capsys: Capture, *words: str) -> str:
    """The one line with which the command line refuses, having written nothing."""
    before = sorted(Path().rglob("*"))
    assert main(words) == 2
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("gammasky: error: ")
    assert printed.err.count("\n") == 1, printed.err
    assert sorted(Path().rglob("*")) == before
    return printed.err


def fit_words(*more: str) -> list[str]:
    options = ["--data", "sky", "--out", "a/b/out", "--guide", "diagonal", "--steps", "2", "--quiet"]
    return ["fit", "model.toml", *options, *more]


def array(name: str, change: Callable[[np.ndarray], np.ndarray]) -> Spoil:
    """Spoil a map."""
    return lambda folder: np.save(folder / name, change(np.load(folder / name)))


def pixel(name: str, value: float, number: int = 7) -> Spoil:
    """Spoil a pixel of a map: 7 is near the pole, 1759 in the region."""
    return array(name, lambda values: np.where(np.arange(values.size) == number, value, values.astype(float)))


def text(name: str, old: str, new: str) -> Spoil:
    """Replace words in a text file."""

    def change(folder: Path) -> None:
        content = (folder / name).read_text(encoding="utf-8")
        assert old in content
        (folder / name).write_text(content.replace(old, new, 1), encoding="utf-8")

    return change


def cut(name: str, size: int) -> Spoil:
    """Truncate a file."""
    return lambda folder: (folder / name).write_bytes((folder / name).read_bytes()[:size])


def manifest(old: str, new: str) -> Spoil:
    return text("dataset.toml", old, new)


@pytest.mark.parametrize(
    ("spoil", "message"),
    [
        (lambda folder: (folder / "flat.npy").unlink(), "flat.npy: file not found; put it there"),
        (lambda folder: (folder / "dataset.toml").unlink(), "sky/dataset.toml: no dataset there"),
        (cut("counts.npy", 5000), "counts.npy: not a complete .npy file"),
        (cut("peak.fits", 9000), "peak.fits: not a complete FITS file"),
        (cut("dataset.toml", 120), "dataset.toml: not a TOML file"),
        (array("counts.npy", lambda a: a[:-1]), "counts.npy: 3071 pixels is no HEALPix size"),
        (pixel("counts.npy", np.nan, 1759), "the counts map was not observed in 1 of its "),
        (pixel("counts.npy", 1.5), "counts.npy: counts must be whole numbers, got 1.5 in pixel 7"),
        (
            pixel("flat.npy", -1.0, 1759),
            "flat.npy: values must be finite and not negative where they are used, got -1 in",
        ),
        (
            pixel("exposure.npy", 0.0, 1759),
            "exposure.npy: values must be finite and positive where they are used, got 0",
        ),
        (array("spot.npy", np.ones_like), "pixels are masked; change `mask` or `sources`"),
        (manifest("nside = 16", "nsid = 16"), "unknown field 'nsid'; did you mean 'nside'?"),
        (manifest('"delta"', '"dleta"'), "field 'psf': unknown kind 'dleta'; did you mean 'delta'?"),
    ],
)
def test_a_spoiled_dataset(spoil: Spoil, message: str, here: Path, capsys: Capture) -> None:
    spoil(here / "sky")
    assert message in refusal(capsys, *fit_words())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('template = "peak"', 'template = "peek"', "unknown template 'peek'; did you mean 'peak'?"),
        ('mask = "spot"', 'mask = "spto"', "unknown mask 'spto'; did you mean 'spot'?"),
        ('"uniform"', '"unifrom"', "unknown prior 'unifrom'; did you mean 'uniform'?"),
        ('norm = "Sps"', 'norm = "Sp"', "unknown parameter 'Sp'; did you mean 'Sps'?"),
        ("low = 0.5, high = 6.0", "low = 6.0, high = 0.5", "'parameters.S_flat': low must be below high, got low=6"),
        ("low = 0.5", "lo = 0.5", "unknown field 'parameters.S_flat.lo'; did you mean 'low'?"),
        ("low = 0.5", "low = nan", "field 'parameters.S_flat.low': input should be a finite number, got nan"),
        ("[12.0, 4.0]", "[4.0, 12.0]", "components.sources.source_counts': breaks must fall from the highest"),
        ('"mix" }', '"mix", hemisphere = "nort" }', "field 'components.smooth.template.hemisphere'"),
        ('fractions = "mix"', "fractions = [0.5, 3.0]", "component 'smooth': fractions must lie in 0 to 1"),
        ("nodes = 50", "nodes = 1_000_000_000", "field 'source_grid.nodes'"),
        ("max = 50.0", "max = inf", "field 'source_grid.max': input should be a finite number, got inf"),
        ("[parameters]", "[parameters", "model.toml: not a TOML file"),
    ],
)
def test_a_spoiled_model(old: str, new: str, message: str, here: Path, capsys: Capture) -> None:
    text("model.toml", old, new)(here)
    line = refusal(capsys, *fit_words())
    assert message in line
    assert line.count(", got ") <= 1  # not told twice


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["--method", "nust"], "unknown method 'nust'; did you mean 'nuts'?"),
        (["--method", "auto", "--guide", "iaf"], "guide: method auto needs one whose density is known anywhere (flow)"),
        (["--method", "nuts", "--steps", "5"], "unknown setting of method nuts 'guide'"),
        (["--steps", "2.5"], "Invalid value for '--steps'"),
        (["--alpha", "1.5"], "Invalid value for '--alpha': expected a number from 0 to 1, got 1.5"),
        (["--chains", "1"], "Invalid value for '--chains'"),
        (["--guide", "diagnal"], "unknown guide 'diagnal'; did you mean 'diagonal'?"),
        (["--schedule", "cosin"], "unknown schedule 'cosin'; did you mean 'cosine'?"),
        (["--data", "ferm"], "unknown dataset 'ferm'; did you mean 'fermi'?"),
        (["--lr", "nan"], "Invalid value for '--lr'"),
        (["--steps", "0"], "Invalid value for '--steps'"),
        (["--seed", str(2**63)], "Invalid value for '--seed': expected a whole number from 0 to 9223372036854775807"),
        (["--resume"], "--out a/b/out: no checkpoint to resume from; start without --resume"),
        (["--out", ""], "Invalid value for '--out': expected a path, got an empty one"),
        (["--out", "model.toml/x"], "folder model.toml/x: cannot be written to (Not a directory); choose another"),
        (["--lr", "1e300", "--steps", "20"], "start again with a lower learning rate (it is 1e+300)"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_spoiled_option(words: list[str], message: str, capsys: Capture) -> None:
    assert message in refusal(capsys, *fit_words(*words))


@pytest.mark.usefixtures("here")
def test_a_misspelt_model(capsys: Capture) -> None:
    message = "unknown model 'fiducal'; did you mean 'fiducial'?"
    assert message in refusal(capsys, "fit", "fiducal", "--data", "sky", "--out", "out")
    assert "no such model file; give a TOML file or one of " in refusal(capsys, "fit", "a/b.toml", *fit_words()[2:])


@pytest.mark.parametrize(
    ("point", "message"),
    [
        (POINT | {"Sps": float("nan")}, "point.json', 'Sps': expected finite numbers, got NaN"),
        (POINT | {"Sps": "3"}, "point.json', 'Sps': expected finite numbers, got \"3\""),
        (POINT | {"mix": [1.0]}, "parameter 'mix': expected a list of 2 numbers, got [1.0]"),
        (POINT | {"mix": [0.5, 0.6]}, "parameter 'mix': expected fractions of at least 0 that add up to 1"),
        (POINT | {"Spss": 1.0}, "unknown parameter 'Spss'; did you mean 'Sps'?"),
        ({"S_flat": 2.0}, "parameter 'Sps' is missing"),
        (POINT | {"S_flat": -99.0}, "log-likelihood is nan in pixel"),
        ([1.0], "point.json': expected a JSON object, got list"),
    ],
)
def test_a_spoiled_point(point: Any, message: str, here: Path, capsys: Capture) -> None:
    (here / "point.json").write_text(json.dumps(point), encoding="utf-8")
    words = ["loglike", "model.toml", "--data", "sky", "--params", "point.json", "--per-pixel", "p.npy"]
    assert message in refusal(capsys, *words)


def test_a_truncated_point(here: Path, capsys: Capture) -> None:
    cut("point.json", 10)(here)
    assert "point.json': expected a JSON object" in refusal(
        capsys, "loglike", "model.toml", "--data", "sky", "--params", "point.json"
    )


@pytest.mark.parametrize("threads", ["abc", "0", "-1", "1.5"])
@pytest.mark.usefixtures("here")
def test_no_number_of_threads(threads: str, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
    message = f"GAMMASKY_NUM_THREADS: expected a whole number of at least 1, got '{threads}'"
    assert message in refusal(capsys, *fit_words())
    words = ["loglike", "model.toml", "--data", "sky", "--params", "point.json", "--grad"]
    assert message in refusal(capsys, *words)


def files(folder: Path) -> dict[str, bytes]:
    return {str(path.relative_to(folder)): path.read_bytes() for path in folder.rglob("*") if path.is_file()}


def in_a_process(*words: str) -> subprocess.CompletedProcess[str]:
    """The command line on a narrow terminal."""
    line = [sys.executable, "-P", "-m", "gammasky", *words]
    return subprocess.run(line, capture_output=True, text=True, timeout=300, env={**os.environ, "COLUMNS": "40"})


@contextmanager
def small_files_only() -> Iterator[None]:
    """What a full disk does, without one: no file beyond 200 kB, which only the posterior exceeds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (200_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_fit_keeps_what_is_there(here: Path, capsys: Capture) -> None:
    """An older fit is refused, survives a disk that fills up, and a run so stopped can be resumed."""
    done = in_a_process(*fit_words())
    assert (done.returncode, done.stdout, done.stderr) == (0, "", "")  # no warnings on the terminal either
    out = here / "a/b/out"
    old = files(out)
    assert "--out a/b/out: holds a finished fit; use --overwrite" in refusal(capsys, *fit_words())
    assert "nothing to resume" in refusal(capsys, *fit_words("--resume"))
    assert files(out) == old
    with small_files_only():
        assert main(fit_words("--overwrite")) == 2
    assert capsys.readouterr().err.splitlines() == [
        "gammasky: error: file 'a/b/out/posterior.nc': File too large; raise the limit on file sizes (ulimit -f)"
    ]
    assert files(out)["posterior.nc"] == old["posterior.nc"]
    assert not list(out.rglob(".*"))  # no temporary files
    assert "holds an unfinished fit; use --resume or --overwrite" in refusal(capsys, *fit_words())
    assert main(fit_words("--resume")) == 0
    assert sorted(files(out)) == sorted(old)
    damage_checkpoints(here, capsys)


def damage_checkpoints(here: Path, capsys: Capture) -> None:
    checkpoint = here / "a/b/out/checkpoint.npz"
    (here / "a/b/out/posterior.nc").unlink()
    checkpoint.write_bytes(b"no checkpoint")
    assert "checkpoint.npz: damaged checkpoint" in refusal(capsys, *fit_words("--resume"))
    assert checkpoint.read_bytes() == b"no checkpoint"


def simulate_words(*more: str, source: tuple[str, ...] = ("--params", "point.json")) -> list[str]:
    return ["simulate", "model.toml", "--data", "sky", "--out", "a/b/skies", "--quiet", *source, *more]


def calibrate_words(*more: str) -> list[str]:
    options = ["--data", "sky", "--out", "a/b/out", "--guide", "diagonal", "--steps", "2", "--skies", "2", "--quiet"]
    return ["calibrate", "model.toml", *options, *more]


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
        (["--out", "model.toml/x"], "folder model.toml/x: cannot be written to (Not a directory); choose another"),
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


@pytest.mark.slow
def test_posteriors_that_do_not_fit(here: Path, capsys: Capture) -> None:
    assert main(fit_words("--out", "fit")) == 0
    capsys.readouterr()
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
        (["--method", "auto", "--guide", "iaf"], "guide: method auto needs one whose density is known anywhere (flow)"),
        (["--method", "nuts"], "unknown setting of method nuts 'guide'"),
        (["--steps", "2.5"], "Invalid value for '--steps'"),
        (["--posterior", "point.json"], "point.json: not a NetCDF file, or damaged"),
        (["--out", "model.toml/x"], "folder model.toml/x: cannot be written to (Not a directory); choose another"),
    ],
)
@pytest.mark.usefixtures("here")
def test_a_spoiled_calibration(words: list[str], message: str, capsys: Capture) -> None:
    assert message in refusal(capsys, *calibrate_words(*words))


def test_a_calibration_of_a_spoiled_model(here: Path, capsys: Capture) -> None:
    text("model.toml", 'norm = "S_flat"', 'norm = "S_flt"')(here)
    assert "unknown parameter 'S_flt'; did you mean 'S_flat'?" in refusal(capsys, *calibrate_words())


def test_one_spoiled_file_of_the_fermi_data(fermi_dir: Path, tmp_path: Path, capsys: Capture) -> None:
    folder = tmp_path / "fermi"
    for path in fermi_dir.rglob("*"):
        target = folder / path.relative_to(fermi_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        if path.is_file():
            target.symlink_to(path.resolve())
    spoiled = folder / "maps/template_Opi.npy"
    content = spoiled.read_bytes()
    spoiled.unlink()
    spoiled.write_bytes(content[:100_000])
    out = tmp_path / "out"
    assert main(["fit", "--data-dir", str(folder), "--out", str(out), "--quiet"]) == 2
    assert f"{spoiled}: not the file of dataset 'fermi': SHA-256 is " in capsys.readouterr().err
    assert not out.exists()
    assert main(["data", "check", "--data-dir", str(folder), "--quiet"]) == 1
    assert "wrong checksum   maps/template_Opi.npy" in capsys.readouterr().out
