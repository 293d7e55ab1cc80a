"""The page of calibrations is what its script makes of the numbers that are kept."""

from __future__ import annotations

import json
import sys
from importlib.util import module_from_spec, spec_from_file_location
from pathlib import Path
from types import ModuleType

import pytest

DOCS = Path(__file__).parents[2] / "docs"


@pytest.fixture
def script(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The script, which writes its page to the temporary folder."""
    spec = spec_from_file_location("make_calibration", DOCS / "make_calibration.py")
    assert spec is not None
    assert spec.loader is not None
    module = module_from_spec(spec)
    spec.loader.exec_module(module)
    monkeypatch.setattr(module, "PAGE", tmp_path / "calibration.md")
    monkeypatch.setattr(sys, "argv", ["make_calibration.py"])
    return module


def test_the_page_is_up_to_date(script: ModuleType, tmp_path: Path) -> None:
    script.main()
    text = (tmp_path / "calibration.md").read_text(encoding="utf-8")
    assert text == (DOCS / "calibration.md").read_text(encoding="utf-8")
    assert "{{" not in text


def test_runs_are_taken_over(script: ModuleType, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    kept, figures, run = tmp_path / "kept", tmp_path / "figures", tmp_path / "runs" / "mine"
    for folder in (kept, figures, run):
        folder.mkdir(parents=True)
    numbers = json.loads((DOCS / "calibration" / "emulator.json").read_text())
    numbers["tables"]["likelihood"]["n_skies"] = 123
    (run / "calibration.json").write_text(json.dumps(numbers))
    (run / "pp.png").write_bytes(b"curves")
    lines = ("table mine: likelihood", "table mine: photons", "table none: photons", "figure mine", "figure no")
    (kept / "page.md").write_text("".join(f"{{{{ {line} }}}}\n" for line in lines))
    monkeypatch.setattr(script, "KEPT", kept)
    monkeypatch.setattr(script, "FIGURES", figures)
    monkeypatch.setattr(sys, "argv", ["make_calibration.py", str(tmp_path / "runs")])
    script.main()
    text = (tmp_path / "calibration.md").read_text(encoding="utf-8")
    assert "| S_gce | 50.0 (43-57) | 68.0 (61-74) | 88.5 (83-93) | 95.5 (92-98) | -0.05 ± 0.08 | 1.07 | 0.96 |" in text
    assert "123 skies, 1000 posterior draws each" in text
    assert text.count("Not run yet") == 2
    assert text.endswith("![P-P curves](figures/calibration_mine_pp.png)\n")
    assert (figures / "calibration_mine_pp.png").read_bytes() == b"curves"
