"""`gammasky study` from outside: the list and bad input; whole runs are in analyses/studies/test_studies_quick.py."""

from __future__ import annotations

from pathlib import Path

import pytest

from gammasky.analyses.studies import run
from gammasky.cli import main

Capture = pytest.CaptureFixture[str]


def test_list(capsys: Capture) -> None:
    assert main(["study", "list"]) == 0
    out = capsys.readouterr().out
    for part in (
        "mismodelling",
        "Is the evidence for point sources real?",
        "arXiv:2002.12370",
        "fits of one to two minutes",
    ):
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
    assert main(["study", "priors", "--quick", "--skies", "3", "--quiet"]) == 2
    assert "--skies 3: study priors makes no skies; leave it out" in capsys.readouterr().err
    assert main(["study", "priors", "--quick", "--workers", "2", "--executor", "inline", "--quiet"]) == 2
    assert "leave out --workers" in capsys.readouterr().err


def test_failed_fits_are_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: Capture) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(run, "run_study", lambda *_, **__: (Path("report.html"), 2))
    assert main(["study", "priors", "--quick", "--out", "here", "--quiet"]) == 1
    told = capsys.readouterr()
    assert told.out.strip() == "report.html"
    assert "2 failed (see here/campaign/failed); the same command tries again" in told.err
