"""`gammasky study` from outside: the list, a quick study from start to page and on from there, bad input."""

from __future__ import annotations

import csv
from pathlib import Path

import pytest

from gammasky.cli import main

Capture = pytest.CaptureFixture[str]


def test_list(capsys: Capture) -> None:
    assert main(["study", "list"]) == 0
    out = capsys.readouterr().out
    for part in ("mismodelling", "Is the evidence for point sources real?", "arXiv:2002.12370", "fits of about"):
        assert part in out


def test_bad_input(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", "prior"]) == 2
    assert "unknown study 'prior'; did you mean 'priors'" in capsys.readouterr().err
    (tmp_path / "file").touch()
    assert main(["study", "priors", "--quick", "--out", "file", "--quiet"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert main(["study", "priors", "--quick", "--data", "dem", "--quiet"]) == 2
    assert "did you mean 'demo'" in capsys.readouterr().err


@pytest.mark.slow
def test_injection_from_start_to_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    command = ["study", "injection", "--quick", "--quiet"]
    assert main(command) == 0
    folder = tmp_path / "study_injection_quick"
    assert str(capsys.readouterr().out).strip().endswith("report.html")
    page = (folder / "report.html").read_text(encoding="utf-8")
    for part in ("Is a smooth NFW^2 signal", "found [counts/pixel]", "sources=without", "campaign/report.html"):
        assert part in page
    assert (folder / "campaign" / "report.html").is_file()
    with (folder / "study.csv").open(encoding="utf-8") as file:
        lines = {(line["truth"], line["choices"]): line for line in csv.DictReader(file)}
    assert len(lines) == 4
    found = float(lines["1", "sources=without"]["excess_flux"]) - float(lines["0", "sources=without"]["excess_flux"])
    assert found == pytest.approx(1.0, abs=1.0)

    members = {path: path.stat().st_mtime_ns for path in (folder / "campaign" / "members").glob("*.npz")}
    next(iter(members)).unlink()
    assert main(command) == 0  # goes on: one fit is missing
    again = {path: path.stat().st_mtime_ns for path in (folder / "campaign" / "members").glob("*.npz")}
    assert again.keys() == members.keys()
    assert sum(again[path] == members[path] for path in members) == 3
