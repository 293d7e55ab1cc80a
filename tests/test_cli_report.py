"""`gammasky report`, `compare` and `cite` from outside: options, exit codes and one line for bad input."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest

from gammasky.cli import main
from gammasky.engine.model import SkyModel
from tests.fits import fit_of

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")


@pytest.fixture(scope="module")
def made(tiny_model: SkyModel, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder with the fits `a` and `b`; not to be written to."""
    folder = tmp_path_factory.mktemp("fits")
    for seed, name in enumerate("ab"):
        z = np.random.default_rng(seed).normal(size=(60, tiny_model.n_latent))
        fit_of(folder / name, tiny_model, z, {"guide": "iaf", "seed": seed, "elbo": -10.0 - seed})
    return folder


@pytest.fixture
def fits(made: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """A copy, as the current folder."""
    shutil.copytree(made, tmp_path, dirs_exist_ok=True)
    monkeypatch.chdir(tmp_path)
    return tmp_path


def one_line(capsys: pytest.CaptureFixture[str]) -> str:
    error = capsys.readouterr().err
    assert error.startswith("gammasky: error: ")
    assert error.count("\n") == 1
    return error


def test_report(fits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["report", "a"]) == 0
    assert (fits / "a" / "report.html").read_text(encoding="utf-8").startswith("<!DOCTYPE html>")
    assert main(["report", "a", "--out", "page.html", "--threshold", "30"]) == 0
    assert "threshold of 30 photons was given" in (fits / "page.html").read_text(encoding="utf-8")
    assert capsys.readouterr().out.splitlines()[1].startswith("page.html (")
    assert main(["report", "a", "--out", "page.html"]) == 0  # a report is replaced without being asked
    Path("mine.html").write_text("<html>mine</html>", encoding="utf-8")
    assert main(["report", "a", "--out", "mine.html"]) == 2
    assert Path("mine.html").read_text(encoding="utf-8") == "<html>mine</html>"
    assert main(["report", "a", "--out", "mine.html", "--overwrite"]) == 0
    assert "gammasky report" in Path("mine.html").read_text(encoding="utf-8")


@pytest.mark.parametrize(
    ("words", "message"),
    [
        (["report", "none"], "no such folder"),
        (["report", "."], "holds no posterior.nc"),
        (["report", "a", "--threshold", "-1"], "expected a finite number above 0"),
        (["report", "a", "--threshold", "nan"], "expected a finite number above 0"),
        (
            ["report", "a", "--out", "a/summary.json"],
            "is no page of 'gammasky report', which would replace it; use --overwrite, or choose another name",
        ),
        (["report", "a", "--out", "none/page.html"], "choose another path"),
        (["report", "a", "--out", "b"], "is a directory"),
        (["compare", "a", "--out", "c"], "at least two fits"),
        (["compare", "a", "a", "--out", "c"], "given twice"),
        (["compare", "a", "none", "--out", "c"], "no such folder"),
        (["compare", "a", "b", "--out", "a"], "holds a fit"),
        (["cite", "fiducal"], "did you mean 'fiducial'"),
        (["cite", "--data", "fermy"], "did you mean 'fermi'"),
        (["cite", "fiducial", "--fit", "a"], "either --fit or those"),
        (["cite", "--fit", "none"], "no such folder"),
    ],
)
@pytest.mark.usefixtures("fits")
def test_bad_input(words: list[str], message: str, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    assert message in one_line(capsys)
    assert not Path("c").exists()


def test_compare(fits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["compare", "a", "b/posterior.nc", "--out", "c"]) == 0
    printed = capsys.readouterr().out
    assert "b against a" in printed
    assert "c/compare.json, 3 figures" in printed
    assert (fits / "c" / "corner.png").is_file()
    assert main(["compare", "a", "b", "--out", "c"]) == 2
    assert "holds a comparison; use --overwrite" in one_line(capsys)
    assert main(["compare", "a", "b", "--out", "c", "--overwrite"]) == 0


def test_cite(fits: Path, capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["cite"]) == 0
    default = capsys.readouterr().out
    assert "{Atwood2009," in default
    assert main(["cite", "fiducial", "--data", "demo", "--method", "nuts"]) == 0
    demo = capsys.readouterr().out
    assert "{Hoffman2014," in demo
    assert "{Atwood2009," not in demo
    assert main(["cite", "--fit", str(fits / "a")]) == 0
    fitted = capsys.readouterr().out
    assert "{Kingma2016," in fitted
    assert "{Atwood2009," not in fitted
