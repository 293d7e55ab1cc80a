"""Bad input of a fit: one line that names the culprit, exit code 2, and nothing left behind."""

from __future__ import annotations

import json
import resource
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.cli import main
from tests.bad_input.spoil import POINT, Capture, Spoil, array, cut, files, fit_words, manifest, pixel, refusal, text

pytestmark = pytest.mark.usefixtures("compiled_fast", "programs_shared", "blank_figures", "few_replicas")


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
        (
            ["--method", "emulator"],
            "emulator is a setting of method svi, and this fit is by emulator: add --method svi",
        ),
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
        (["--out", "model.toml/x"], "--out model.toml/x: cannot be written to (Not a directory); choose another"),
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


@contextmanager
def small_files_only() -> Iterator[None]:
    """What a full disk does, without one: no file beyond 400 kB, which only the posterior exceeds."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (400_000, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


@pytest.mark.slow
def test_a_fit_keeps_what_is_there(here: Path, capsys: Capture) -> None:
    """An older fit is refused, survives a disk that fills up, and a run so stopped can be resumed."""
    assert main(fit_words()) == 0
    assert capsys.readouterr() == ("", "")
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
