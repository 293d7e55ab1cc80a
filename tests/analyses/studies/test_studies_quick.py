"""Every study from its command to its page, in a quick run; one process, so that compiled programs are shared."""

from __future__ import annotations

import csv
import math
from collections.abc import Iterator
from pathlib import Path

import pytest
from markupsafe import escape

from gammasky.analyses import programs
from gammasky.analyses.ensemble import expansion
from gammasky.analyses.studies.study import read_study, studies
from gammasky.cli import main
from gammasky.distributed.campaign import read_manifest, read_rows

# those of one structure one after the other, before the next
ORDER = [
    "fiducial", "priors", "prior_sensitivity", "breaks", "diffuse", "mismodelling", "morphology", "injection",
    "masks", "hemispheres", "fields", "seeds", "calibration", "sensitivity",
]  # fmt: skip


def test_no_study_is_left_out() -> None:
    assert sorted(ORDER) == list(studies())


pytestmark = pytest.mark.usefixtures("compiled_fast", "blank_figures", "few_replicas")


@pytest.fixture(scope="module", autouse=True)
def _all_programs_kept_and_few_draws() -> Iterator[None]:
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(programs, "MOST_KEPT", 10)
        patch.setattr(expansion, "N_DRAWS", 400)
        yield


@pytest.mark.slow
@pytest.mark.parametrize("name", ORDER)
def test_quick(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]) -> None:
    monkeypatch.chdir(tmp_path)
    assert main(["study", name, "--quick", "--quiet", "--executor", "inline"]) == 0
    folder = tmp_path / f"study_{name}_quick"
    assert capsys.readouterr().out.strip() == f"study_{name}_quick/report.html"
    study = read_study(name)
    page = (folder / "report.html").read_text(encoding="utf-8")
    for part in (study.asks, *study.follows):
        assert str(escape(part)) in page
    lines = numbers(folder / "study.csv")
    assert lines
    if name == "calibration":
        assert {line["parameter"] for line in lines} >= {"S_dif", "Sps_gce", "PS fraction (gce)"}
        assert all(0.0 <= float(line["coverage_90"]) <= 1.0 for line in lines)
        members = {path: path.stat().st_mtime_ns for path in (folder / "likelihood" / "members").rglob("*.npz")}
        assert len(members) == 2
        assert main(["study", name, "--quick", "--quiet", "--executor", "inline"]) == 0  # again, it fits nothing
        assert {path: path.stat().st_mtime_ns for path in members} == members
        return
    if name == "sensitivity":
        assert [float(line["strength"]) for line in lines] == [1.0, 4.0]
        assert (folder / "power.png").is_file()
        assert len(done(folder / "skies")) == 10
        return
    assert (folder / "campaign" / "report.html").is_file()
    rows = read_rows(folder / "campaign")
    assert len(rows) <= 4
    assert all(row["n_pixels"] < 800 for row in rows)
    assert sum(int(line["skies"]) for line in lines) == len(done(folder / "campaign"))
    for line in lines:
        ratio = float(line["excess_intensity"]) / float(line["excess_flux"])
        assert 1e-8 < ratio < 1e-5  # of the demo: 1 / (some 2e10 cm^2 s and 2.6e-4 sr)
    assert ("all members alike" in page) == (study.skies is None and len(lines) > 1)
    if study.compared:
        check_the_comparison(lines[0], page)
    if study.source_counts:
        assert (folder / "source_counts.png").is_file()
    if study.power_scaling:
        for part in ("likelihood", "priors", "source_priors"):
            assert all(float(line[f"ps_fraction_by_{part}"]) > 0 for line in lines)


def check_the_comparison(line: dict[str, str], page: str) -> None:
    """Parameters are those that the fit itself calls by their meaning, and what is not known of the paper says so."""
    for parameter, meaning in {"gamma_poiss": "gamma", "f_bulge_poiss": "f_bulge", "f_bulge_ps": "f_bulge_ps"}.items():
        assert float(line[parameter]) == pytest.approx(float(line[meaning]), rel=1e-9)
    for part in ("Beside the paper", "not available", "0.73 (0.67 – 0.82)", "called preliminary"):
        assert part in page


def numbers(path: Path) -> list[dict[str, str]]:
    """The lines of a table; every number in it is finite, but for scatters between skies of which there is one."""
    with path.open(encoding="utf-8") as file:
        lines = list(csv.DictReader(file))
    words = ("truth", "choices", "scenario", "parameter")
    for line in lines:
        for column, value in line.items():
            if value and column not in words and not column.endswith("_scatter"):
                assert math.isfinite(float(value)), f"{column} = {value}"
    return lines


def done(campaign: Path) -> list[str]:
    """Names of the members, all of which are done."""
    names = [member.name for member in read_manifest(campaign).members]
    assert {row["name"]: row["state"] for row in read_rows(campaign)} == dict.fromkeys(names, "done")
    return names
