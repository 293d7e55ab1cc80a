"""Recipes that cannot be followed: one line on stderr, exit code 2, and nothing is written."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tomli_w
from astropy.io import fits

from gammasky.cli import main
from tests.engine.sky.instrument.orbits import smooth_area
from tests.engine.sky.photons.lists import photons, write_list
from tests.engine.sky.recipes.kitchen import CUBES, CUTS, RECIPE, WITH_CUBE, changed, lay_out, write_exposure_cube


@pytest.fixture(scope="module")
def larder(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return lay_out(tmp_path_factory.mktemp("larder"))


@pytest.fixture
def kitchen(tmp_path: Path, larder: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("gammasky.engine.sky.recipes.report.draw_map", lambda path, *_, **__: path.touch())
    monkeypatch.chdir(tmp_path)
    shutil.copytree(larder, tmp_path, dirs_exist_ok=True)
    return tmp_path


def refusal(recipe: dict[str, Any], capsys: pytest.CaptureFixture[str]) -> str:
    """What the command says of a recipe, which leaves nothing behind."""
    Path("recipe.toml").write_text(tomli_w.dumps(recipe), encoding="utf-8")
    before = {path for path in Path().iterdir() if path.name != "cache"}
    capsys.readouterr()
    assert main(["data", "build", "recipe.toml", "--out", "sky/"]) == 2
    assert {path for path in Path().iterdir() if path.name != "cache"} == before
    lines = capsys.readouterr().err.splitlines()
    assert len(lines) == 1
    return lines[0]


@pytest.mark.parametrize(
    ("recipe", "told"),
    [
        (changed(RECIPE, name=None), "field 'name' is missing"),
        (changed(RECIPE, photon={"files": "x"}), "unknown field 'photon'; did you mean 'photons'?"),
        (changed(RECIPE, photons={"event_class": "SUORCE"}), "did you mean 'SOURCE'"),
        (changed(RECIPE, photons={"zenith": 90}), "unknown field 'photons.zenith'"),
        (changed(RECIPE, counts={"file": "counts.fits"}), "expected either `photons`, with photon lists, or `counts`"),
        (changed(RECIPE, pixels=None), "`photons` need `energy_edges_gev` and `pixels`"),
        (changed(RECIPE, pixels={"nside": 3}), "expected nside, a power of 2"),
        (changed(RECIPE, pixels={"projection": "CAR"}), "expected either `nside`, or `projection`"),
        (changed(RECIPE, pixels={"nside": None, "projection": "CAR"}), "an image needs `width_deg`"),
        (changed(RECIPE, energy_edges_gev=[10.0, 1.0]), "at least two positive, rising energies"),
        (changed(RECIPE, energy_edges_gev={"low": 10.0, "high": 1.0}), "low must be below high"),
        (changed(RECIPE, exposure={"file": "cube.fits"}), "expected either `file`, an exposure cube, or `spacecraft`"),
        (changed(RECIPE, exposure={"response": None}), "`spacecraft` needs `response`"),
        (changed(RECIPE, psf={"kind": "gausian"}), "did you mean 'gaussian'"),
        (changed(RECIPE, region={"mask": "spot"}), "region: mask is for models"),
        (changed(RECIPE, region={"radius_max": 0.1}), "no pixel is inside"),
        (
            changed(CUBES, pixels={"projection": "CAR", "width_deg": 1, "height_deg": 1, "pixel_deg": 1}),
            "its own pixels",
        ),
        (changed(CUBES, pixels={"nside": 16}), "cannot be divided to nside 16"),
        (changed(CUBES, pixels={"nside": 4, "frame": "equatorial"}), "not Poissonian"),
        (changed(CUBES, energy_edges_gev=[1.0, 5.0, 100.0]), "5 GeV is not an edge of its energy bins"),
        (changed(CUBES, templates={"glow": {"file": "none.npy", "unit": "counts"}}), "none.npy: file not found"),
        (
            changed(CUBES, isotropic="iso", templates={"iso": {"file": "none.npy", "unit": "counts"}}),
            "'iso' is among the `templates`",
        ),
        (changed(CUBES, exposure={"file": "counts.fits"}), "no extension ENERGIES"),
        (changed(CUBES, exposure={"file": "events.fits"}), "the file has 0 (PRIMARY), 1 (EVENTS), 2 (GTI)"),
        (changed(CUBES, counts={"file": "events.fits"}), "the file has 0 (PRIMARY), 1 (EVENTS), 2 (GTI)"),
        (
            changed(RECIPE, photons={"files": "counts.fits"}),
            "no extension EVENTS, as a photon list has it; the file has SKYMAP",
        ),
        (changed(RECIPE, photons={"files": "none*.fits"}), "none*.fits: no file matches"),
        (changed(RECIPE, photons={"files": []}), "none was given"),
        (changed(RECIPE, energy_edges_gev=[1e3, 1e5]), "cut to 1 to 100 GeV, but the energy bins reach from 1000"),
        (changed(RECIPE, photons={"event_type": ["FRONT", "PSF3"]}), "event types FRONT, PSF3 overlap"),
        (
            changed(RECIPE, photons={"event_type": "BACK"}),
            "no file has the event type 'BACK' of the photons; found: FRONT",
        ),
        (changed(RECIPE, exposure={"zenith_max_deg": 90.0}), "photons were cut at a zenith angle of 100 deg, but"),
        (changed(RECIPE, exposure={"spacecraft": "area.fits"}), "no extension SC_DATA"),
        (changed(RECIPE, photons={"time_min_s": 410.0, "time_max_s": 490.0}), "no good time lies between"),
        (changed(RECIPE, region={"radius_max": 110.0}), "the exposure is zero in"),
        (changed(RECIPE, photons={"zenith_max_deg": 40.0}), "the exposure is zero in"),
        (changed(RECIPE, psf={"kind": "response", "response": "area.fits", "sigma_deg": None}), "no extension RPSF_"),
        (changed(RECIPE, psf={"kind": "file", "file": "area.fits", "sigma_deg": None}), "no extension 'PSF'"),
        (changed(WITH_CUBE, photons={"zenith_max_deg": 90.0}), ""),
    ],
)
def test_recipes_that_cannot_be_followed(
    kitchen: Path, recipe: dict[str, Any], told: str, capsys: pytest.CaptureFixture[str]
) -> None:
    if not told:
        write_exposure_cube(kitchen / "cube.fits", cuts=CUTS)
        told = "largest zenith angle [deg] 90, but the exposure cube.fits was made with 105; cut both alike"
    assert told in refusal(recipe, capsys)


def test_exposures_of_other_times_energies_or_units(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_exposure_cube(kitchen / "cube.fits", cuts=CUTS, gti=((0.0, 400.0), (500.0, 950.0)))
    assert "good times of 900 s, of which the exposure cube.fits shares 850 s of its 850 s" in refusal(
        WITH_CUBE, capsys
    )
    write_exposure_cube(kitchen / "cube.fits", nodes_mev=(1.0, 10.0, 100.0))
    told = refusal(WITH_CUBE, capsys)
    assert "do not cover the bin 1 to 10 GeV" in told
    assert "keV, MeV and GeV mixed up?" in told
    write_exposure_cube(kitchen / "cube.fits", nodes_mev=(1e3, 1e4))
    assert "do not cover the bin 10 to 100 GeV" in refusal(WITH_CUBE, capsys)
    write_exposure_cube(kitchen / "cube.fits", zero=300)
    assert "the exposure is zero in 1 of 768 pixels of the region, the first at l = " in refusal(WITH_CUBE, capsys)


def test_a_list_that_was_cut_to_a_disc(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(kitchen / "events.fits", photons(), cuts=(*CUTS, ("POS(RA,DEC)", "CIRCLE(0.0,53.1,30)", "deg")))
    assert "within 30 deg of RA 0, Dec 53.1, but" in refusal(RECIPE, capsys)


def test_good_times_outside_of_the_spacecraft_file(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    write_list(kitchen / "events.fits", photons(), gti=((0.0, 4000.0),))
    assert "2500 s of the good time intervals (0 to 4000 s) lie outside of its rows (0 to 1500 s)" in refusal(
        RECIPE, capsys
    )
    write_list(kitchen / "events.fits", photons(), gti=None)
    assert "name a file that has with `exposure.gti`" in refusal(RECIPE, capsys)


def test_a_response_of_other_events(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fits.open(smooth_area(kitchen / "area.fits")) as hdus:
        hdus[1].header["CBD10001"] = "VERSION(P8R3_CLEAN_V3)"
        hdus.writeto(kitchen / "area.fits", overwrite=True)
    assert "the response P8R3_CLEAN_V3, but the photons are P8R3 SOURCE" in refusal(RECIPE, capsys)


def test_truncated_files(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    import gzip

    for recipe, name in ((RECIPE, "events.fits"), (RECIPE, "ft2.fits"), (CUBES, "counts.fits"), (CUBES, "cube.fits")):
        whole = (kitchen / name).read_bytes()
        packed = gzip.compress(whole)
        (kitchen / name).write_bytes(packed[: len(packed) // 2])
        told = refusal(recipe, capsys)
        assert name in told
        assert "not a complete" in told
        (kitchen / name).write_bytes(whole)


def test_counts_with_fractions(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with fits.open(kitchen / "counts.fits") as hdus:
        values = np.array(hdus[1].data["CHANNEL1"], dtype=float)
        values[7] = 0.5
        columns = [fits.Column("CHANNEL1", "D", array=values), fits.Column("CHANNEL2", "D", array=values)]
        table = fits.BinTableHDU.from_columns(columns, name="SKYMAP")
        table.header.update({key: hdus[1].header[key] for key in ("PIXTYPE", "ORDERING", "COORDSYS", "NSIDE")})
        fits.HDUList([hdus[0].copy(), table, hdus[2].copy()]).writeto(kitchen / "counts.fits", overwrite=True)
    assert "counts must be whole numbers, got 0.5" in refusal(CUBES, capsys)


def test_folders_that_are_there_stay_as_they_are(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kitchen / "sky").mkdir()
    (kitchen / "sky/mine").write_text("mine")
    assert "--out sky: is already there, and nothing is overwritten" in refusal(CUBES, capsys)
    assert [path.name for path in (kitchen / "sky").iterdir()] == ["mine"]
    Path("recipe.toml").write_text(tomli_w.dumps(CUBES), encoding="utf-8")
    assert main(["data", "build", "recipe.toml", "--out", "no/such/place"]) == 2
    assert "the folder no/such is not there" in capsys.readouterr().err


def test_the_command_says_where_the_folder_is(kitchen: Path, capsys: pytest.CaptureFixture[str]) -> None:
    (kitchen / "recipe.toml").write_text(tomli_w.dumps(CUBES), encoding="utf-8")
    assert main(["data", "build", "recipe.toml", "--out", "sky"]) == 0
    printed = capsys.readouterr().out.splitlines()
    assert printed[0].endswith("photons in 2 energy bins, HEALPix nside 8, galactic")
    assert printed[1] == "what was cut and why: sky/report.md"
