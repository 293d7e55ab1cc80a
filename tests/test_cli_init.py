"""`gammasky init`: files that work as they are."""

from __future__ import annotations

from pathlib import Path

import pytest

from gammasky.analyses.ensemble.ensemble import Ensemble
from gammasky.cli import main
from gammasky.engine.model.spec import read_model
from gammasky.engine.sky.recipes import read_recipe


def test_every_file_can_be_used(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    folder = tmp_path / "new" / "start"
    assert main(["init", str(folder)]) == 0
    assert "next: cd " in capsys.readouterr().out
    model = read_model(folder / "model.toml")
    assert [component.name for component in model.components] == ["diffuse", "gce", "gce_ps"]
    ensemble = Ensemble.read(str(folder / "ensemble.toml"))
    assert list(ensemble.plan().index) == [
        f"mask={mask},slope={slope}" for mask in ("3fgl_0p8deg", "none") for slope in ("free", "fixed")
    ]
    assert read_recipe(folder / "recipe.toml").exposure.response == ("aeff_P8R3_SOURCE_V3_PSF.fits",)


def test_what_is_there_stays(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "model.toml").write_text("mine")
    assert main(["init", str(tmp_path)]) == 2
    assert "expected a new or an empty folder" in capsys.readouterr().err
    assert main(["init", str(tmp_path / "model.toml")]) == 2
    assert [path.name for path in tmp_path.iterdir()] == ["model.toml"]
    assert (tmp_path / "model.toml").read_text() == "mine"
