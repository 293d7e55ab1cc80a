"""`gammasky study` from outside: the list, a quick study from start to page and on from there, bad input."""

from __future__ import annotations

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
def test_calibration_from_start_to_page(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    """The study whose model is the smallest; again, it fits nothing."""
    monkeypatch.chdir(tmp_path)
    command = ["study", "calibration", "--quick", "--quiet"]
    assert main(command) == 0
    folder = tmp_path / "study_calibration_quick"
    assert capsys.readouterr().out.strip() == "study_calibration_quick/report.html"
    page = (folder / "report.html").read_text(encoding="utf-8")
    for part in ("Are posteriors calibrated", "Sps_gce", "data:image/png;base64"):
        assert part in page
    members = {path: path.stat().st_mtime_ns for path in (folder / "likelihood" / "members").rglob("*.npz")}
    assert len(members) == 4
    assert main(command) == 0
    assert {path: path.stat().st_mtime_ns for path in members} == members
