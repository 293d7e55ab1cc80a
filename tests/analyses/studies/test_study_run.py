"""A study with injected skies from start to page, and on from there."""

from __future__ import annotations

import csv
from pathlib import Path
from typing import Any

import pytest
import tomli_w

from gammasky.analyses.ensemble import task
from gammasky.analyses.studies.run import run_study
from gammasky.analyses.studies.study import Study
from gammasky.distributed.campaign import read_manifest
from gammasky.distributed.runners.inline import InlineRunner
from gammasky.engine.infer.run import fit
from gammasky.engine.model import SkyModel
from tests.engine.model.bins import MEAN_EXPOSURE, joint, photons, tilted, write_bins

pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures", "few_replicas")

MODEL = """
name = "small"
region = { radius_max = 9.0, latitude_min = 2.0, exposure_regions = 1 }
source_grid = { nodes = 100 }
[parameters]
S_dif = { prior = "uniform", low = 0.01, high = 30.0 }
S_gce = { prior = "uniform", low = 0.01, high = 40.0 }
Sps_gce = { prior = "uniform", low = 0.01, high = 40.0 }
[[components]]
name = "dif"
norm = "S_dif"
template = { mix = ["Opi", "Oic"], fractions = [0.6, 0.4] }
[[components]]
name = "gce"
group = "gce"
norm = "S_gce"
template = { nfw = { gamma = 1.2 } }
[[components]]
name = "gce_ps"
group = "gce"
norm = "Sps_gce"
template = { nfw = { gamma = 1.2 } }
source_counts = { slopes = [5.0, 1.2], breaks = [15.0] }
"""


def failing_without_sources(model: SkyModel, *arguments: Any, **settings: Any) -> Any:
    if not model.spec.populations:
        raise ValueError("no sources")
    return fit(model, *arguments, **settings)


@pytest.mark.slow
def test_injection(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "model.toml").write_text(MODEL, encoding="utf-8")
    study = Study(
        name="small",
        asks="Is the signal found?",
        cost="seconds",
        skies={"kind": "injected", "strengths": [0.0, 2.0]},
        ensemble={
            "model": str(tmp_path / "model.toml"),
            "data": "demo",
            "fit": {"method": "laplace"},
            "axes": {"sources": {"with": {}, "without": {"remove": ["gce_ps"]}}},
        },
    )
    folder = tmp_path / "out"
    with monkeypatch.context() as broken:
        broken.setattr(task, "fit", failing_without_sources)
        report, failed = run_study(study, folder, InlineRunner(), quiet=True)
    assert failed == 2
    assert "2 failed" in report.read_text(encoding="utf-8")
    report, failed = run_study(study, folder, InlineRunner(), quiet=True)  # tries those again
    page = report.read_text(encoding="utf-8")
    assert failed == 0
    for part in ("Is the signal found?", "found [counts/pixel]", "sources=without", "campaign/report.html"):
        assert part in page
    assert (folder / "campaign" / "report.html").is_file()
    with (folder / "study.csv").open(encoding="utf-8") as file:
        lines = {(line["truth"], line["choices"]): line for line in csv.DictReader(file)}
    assert len(lines) == 4
    for choice in ("with", "without"):
        found, before = (float(lines[truth, f"sources={choice}"]["excess_flux"]) for truth in ("2", "0"))
        assert found - before == pytest.approx(2.0, abs=0.6)

    more = study.model_copy(update={"skies": study.skies.model_copy(update={"number": 2})})
    report, failed = run_study(more, folder, InlineRunner(), quiet=True)  # a second sky with a signal, fitted twice
    assert (failed, len(read_manifest(folder / "campaign").members)) == (0, 6)
    with (folder / "study.csv").open(encoding="utf-8") as file:
        assert [line["skies"] for line in csv.DictReader(file)] == ["1", "2", "1", "2"]

    members = {path: path.stat().st_mtime_ns for path in (folder / "campaign" / "members").glob("*.npz")}
    next(iter(members)).unlink()
    run_study(more, folder, InlineRunner(), quiet=True)  # goes on: one fit is missing
    again = {path: path.stat().st_mtime_ns for path in (folder / "campaign" / "members").glob("*.npz")}
    assert again.keys() == members.keys()
    assert sum(again[path] == members[path] for path in members) == 5


def test_several_energy_bins(tmp_path: Path) -> None:
    """A model of fluxes with a norm for each bin has a page like any other."""
    table = joint()
    table["components"][0] = table["components"][0] | {"norm": {"per_bin": "S_flat"}, "spectrum": None}
    del table["components"][0]["spectrum"]
    (tmp_path / "model.toml").write_text(tomli_w.dumps(table), encoding="utf-8")
    dataset = write_bins(tmp_path / "sky", photons(4), tilted(MEAN_EXPOSURE))
    study = Study(
        name="bins",
        asks="What do the bins say?",
        cost="seconds",
        source_counts=True,
        power_scaling=True,
        compared=["S_gce"],
        ensemble={
            "model": str(tmp_path / "model.toml"),
            "data": str(dataset.folder),
            "fit": {"method": "laplace"},
        },
    )
    report, failed = run_study(study, tmp_path / "out", InlineRunner(), quiet=True)
    page = report.read_text(encoding="utf-8")
    assert failed == 0
    assert "Source counts" in page
    assert "S_gce" in page
    assert (tmp_path / "out" / "source_counts.png").is_file()
