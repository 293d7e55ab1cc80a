"""A page that something else has made is never replaced unasked."""

from __future__ import annotations

from pathlib import Path

import pytest

from gammasky.analyses.ensemble.report import write_report
from gammasky.analyses.tuning.sweep_page import write_page
from gammasky.engine.errors import InputError
from gammasky.engine.infer.report.html import require_own
from tests.bad_input.spoil import Capture, files, refusal

OTHER = '<!doctype html>\n<meta name="generator" content="gammasky report 0.1.0">\n'
OURS = ["--data", "sky", "--executor", "inline", "--out", "out"]


@pytest.mark.parametrize(
    ("words", "command"),
    [
        (["test", "model.toml", "--null", "Sps = 0", *OURS], "gammasky test"),
        (["profile", "model.toml", "--of", "Sps", *OURS], "gammasky profile"),
        (["study", "masks", "--executor", "inline", "--out", "out"], "gammasky study"),
    ],
)
@pytest.mark.parametrize("page", [OTHER, "<p>of my own</p>"])
def test_where_a_page_of_something_else_is(
    words: list[str], command: str, page: str, here: Path, capsys: Capture
) -> None:
    (here / "out").mkdir()
    (here / "out" / "report.html").write_text(page, encoding="utf-8")
    before = files(here)
    told = refusal(capsys, *words)
    assert f"report.html: is no page of '{command}', which would replace it; choose another folder" in told
    assert files(here) == before


def test_nor_by_campaigns_and_sweeps(tmp_path: Path) -> None:
    (tmp_path / "report.html").write_text(OTHER, encoding="utf-8")
    with pytest.raises(InputError, match="is no page of 'gammasky campaign report'"):
        write_report(tmp_path)
    with pytest.raises(InputError, match="is no page of 'gammasky tune'"):
        write_page(None, None, tmp_path)  # type: ignore[arg-type]
    assert [path.name for path in tmp_path.iterdir()] == ["report.html"]


def test_its_own_is(tmp_path: Path) -> None:
    page = tmp_path / "report.html"
    require_own(page, "gammasky report")
    page.write_text(OTHER, encoding="utf-8")
    require_own(page, "gammasky report")
    with pytest.raises(InputError):
        require_own(page, "gammasky rep")
