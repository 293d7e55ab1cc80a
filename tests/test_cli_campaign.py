"""`gammasky campaign` from outside: a small campaign from plan to report, and one line for bad input."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest

from gammasky.cli import main

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures")
Capture = pytest.CaptureFixture[str]
FILE = """
name = "small"
model = "model.toml"
data = "sky"

[axes]
radius_max = [15, 20]
mask = ["spot", "none"]

[fit]
method = "laplace"
"""


@pytest.fixture
def here(tiny: Path) -> Path:
    (tiny / "small.toml").write_text(FILE, encoding="utf-8")
    return tiny


def test_from_plan_to_report(here: Path, capsys: Capture) -> None:
    """Inline: Ray is tested in tests/distributed."""
    run = ["campaign", "run", "small.toml", "--out", "done", "--executor", "inline", "--quiet"]
    assert main(["campaign", "plan", "small.toml", "--workers", "2"]) == 0
    plan = capsys.readouterr().out
    for part in ("mask=none,radius_max=20", "4 members", "on 2 workers"):
        assert part in plan
    assert main(run) == 0
    assert "4 of 4 members done, 4 of them now" in capsys.readouterr().out

    assert main(["campaign", "status", "done"]) == 0
    assert "4 of 4 done" in capsys.readouterr().out
    assert main(["campaign", "report", "done"]) == 0
    assert "radius_max" in (here / "done" / "report.html").read_text(encoding="utf-8")
    capsys.readouterr()

    assert main(run) == 2  # nothing is overwritten
    assert "gammasky campaign resume" in capsys.readouterr().err
    next((here / "done" / "members").glob("*.npz")).unlink()
    assert main(["campaign", "resume", "done", "--executor", "inline", "--lanes", "2", "--quiet"]) == 0
    assert "4 of 4 members done, 1 of them now" in capsys.readouterr().out

    export = ["campaign", "export", "done", "mask=none,radius_max=20", "--out", "one.nc"]
    assert main(export) == 0
    import arviz

    posterior = arviz.from_netcdf(here / "one.nc").posterior
    assert np.isfinite(posterior["S_iso" if "S_iso" in posterior else next(iter(posterior.data_vars))].values).all()
    capsys.readouterr()
    assert main(export) == 2
    assert "--overwrite" in capsys.readouterr().err


@pytest.mark.parametrize(
    ("arguments", "message"),
    [
        (["plan", "mask_morphology_diffus"], "did you mean 'mask_morphology_diffuse'"),
        (["plan", "gone.toml"], "no such ensemble file"),
        (["plan", "bad.toml"], "did you mean 'radius_max'"),
        (["plan", "base.toml"], "model"),
        (["plan", "empty.toml"], "mask"),
        (["run", "bad.toml", "--out", "new"], "did you mean 'radius_max'"),
        (["run", "small.toml", "--out", "small.toml"], "file"),
        (["run", "small.toml", "--out", "sky", "--executor", "inline"], "sky"),
        (["run", "small.toml", "--out", "new", "--executor", "inline", "--workers", "2"], "leave out --workers"),
        (["status", "sky"], "no campaign"),
        (["resume", "sky"], "no campaign"),
        (["report", "nowhere"], "no campaign"),
    ],
)
def test_bad_input(arguments: list[str], message: str, here: Path, capsys: Capture) -> None:
    (here / "bad.toml").write_text(FILE.replace("radius_max =", "radius_mux ="), encoding="utf-8")
    (here / "base.toml").write_text(FILE.replace('"model.toml"', '"fiduciel"'), encoding="utf-8")
    (here / "empty.toml").write_text(FILE.replace('["spot", "none"]', "[]"), encoding="utf-8")
    before = sorted(path.name for path in here.rglob("*"))
    assert main(["campaign", *arguments]) == 2
    error = capsys.readouterr().err
    assert re.fullmatch(r"(gammasky: )?(error: |Usage: )?.*\n", error), error
    assert message in error
    assert sorted(path.name for path in here.rglob("*")) == before
