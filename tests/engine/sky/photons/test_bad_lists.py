"""Photon lists that cannot be used: each is refused in one line that says what is wrong."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.errors import InputError
from gammasky.engine.sky.photons import PhotonCuts, PhotonList, Selection, bin_photons
from gammasky.engine.sky.photons.photon_list import open_lists
from gammasky.engine.sky.photons.selection import check_same_cuts
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.schema import validated
from tests.engine.sky.conftest import refusal
from tests.engine.sky.photons.lists import CUTS, photons, write_list


def without(*names: str) -> dict[str, np.ndarray]:
    return {name: values for name, values in photons(50).items() if name not in names}


def cut_short(path: Path, packed: bool) -> Path:
    content = write_list(path, photons(3000)).read_bytes()
    content = gzip.compress(content) if packed else content
    path.write_bytes(content[: len(content) // 2])
    return path


def two_of_a_name(path: Path) -> Path:
    write_list(path, photons(5))
    with fits.open(path) as hdus:
        fits.HDUList([*hdus, hdus["EVENTS"].copy()]).writeto(path, overwrite=True)
    return path


def text(path: Path) -> Path:
    path.write_text("ENERGY L B\n1 2 3\n")
    return path


@pytest.mark.parametrize(
    ("make", "told"),
    [
        (lambda path: path, "file not found"),
        (text, "not a complete FITS file"),
        (lambda path: cut_short(path, packed=False), "bytes are missing"),
        (lambda path: cut_short(path, packed=True), "not a complete FITS file"),
        (lambda path: write_list(path, photons(5), name="PHOTONS"), "no extension EVENTS, .* has PHOTONS, GTI"),
        (two_of_a_name, "two extensions are named EVENTS"),
        (lambda path: write_list(path, without("B")), "L, B or RA, DEC; its EVENTS has ENERGY, L, ZENITH_ANGLE"),
        (lambda path: write_list(path, photons(5), energy_unit="erg"), "ENERGY is in 'erg'; expected MeV"),
        (lambda path: write_list(path, photons(5), gti=((5.0, 5.0),)), "row 0 ends before it begins"),
        (
            lambda path: write_list(path, photons(5), cuts=(("ENERGY", "1000", "MeV"),)),
            "expected two numbers, low:high",
        ),
        (lambda path: write_list(path, photons(5), cuts=(("ENERGY", "1:2", "erg"),)), "'erg' is no unit of energy"),
        (
            lambda path: write_list(path, photons(5), cuts=(CUTS[0], ("BIT_MASK(EVENT_CLASS,256,P8R3)", "1:1", ""))),
            "event_class 256 contradicts 128",
        ),
        (lambda path: write_list(path, photons(5), cuts=(("POS(RA,DEC)", "BOX(1,2,3)", "deg"),)), "expected CIRCLE"),
    ],
)
def test_a_list_that_cannot_be_opened(tmp_path: Path, make: Callable[[Path], Path], told: str) -> None:
    path = tmp_path / "list.fits"
    make(path)
    with pytest.raises(InputError, match=told) as caught:
        PhotonList.open(path)
    assert "\n" not in str(caught.value)
    assert str(path) in str(caught.value)


def spoiled(name: str, value: float) -> dict[str, np.ndarray]:
    columns = photons(50)
    columns[name][17] = value
    return columns


@pytest.mark.parametrize(
    ("columns", "edges", "cuts", "told"),
    [
        (photons(5), [1.0, 100.0], {}, "cut to 1 to 100 GeV, but the energy bins reach from 0.001 to 0.1 GeV"),
        (photons(5), [1e3, 1e3], {}, "expected at least two positive, rising energies"),
        (without("ZENITH_ANGLE"), [1e3, 1e4], {"zenith_max_deg": 90}, "no column ZENITH_ANGLE; it has ENERGY"),
        (without("EVENT_TYPE"), [1e3, 1e4], {"event_type": 3}, "no column EVENT_TYPE"),
        (spoiled("ENERGY", np.nan), [1e3, 1e4], {}, "ENERGY has values that are no numbers"),
        (spoiled("B", 90.5), [1e3, 1e5], {}, "L or B has values that are no angles"),
    ],
)
def test_photons_that_cannot_be_binned(
    tmp_path: Path, columns: dict[str, np.ndarray], edges: list[float], cuts: dict[str, object], told: str
) -> None:
    found = PhotonList.open(write_list(tmp_path / "list.fits", columns))
    with pytest.raises(InputError, match=told):
        bin_photons([found], HealpixPixels(4), edges, PhotonCuts.model_validate(cuts))


def test_energies_in_another_unit_are_brought_to_mev(tmp_path: Path) -> None:
    columns = photons(50)
    columns["ENERGY"] = columns["ENERGY"] / 1e3
    found = PhotonList.open(write_list(tmp_path / "list.fits", columns, energy_unit="GeV"))
    assert bin_photons([found], HealpixPixels(1), [1e3, 1e5]).counts.sum() == 50


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"event_class": "SUORCE"}, "unknown event class 'SUORCE'; did you mean 'SOURCE'"),
        ({"event_type": ["PSF3", "PSF9"]}, "unknown event type 'PSF9'"),
        ({"event_type": 0}, "expected a bit mask above 0"),
        ({"zenith_max_deg": 0}, "zenith_max_deg"),
        ({"time_min_s": 5.0, "time_max_s": 4.0}, "time_min_s must be below time_max_s"),
        ({"zenith": 90}, "unknown field 'zenith'"),
    ],
)
def test_cuts_that_make_no_sense(settings: dict[str, object], told: str) -> None:
    with pytest.raises(InputError, match=told):
        validated(PhotonCuts, settings, "recipe")


def test_lists_that_do_not_belong_together(tmp_path: Path) -> None:
    first = write_list(tmp_path / "a.fits", photons(5))
    again = write_list(tmp_path / "b.fits", photons(5), gti=((900.0, 2000.0),))
    assert "shares good times" in refusal(lambda: open_lists([first, again]))
    other = write_list(tmp_path / "c.fits", photons(5), gti=((3000.0, 4000.0),), cuts=CUTS[:-1])
    assert "not cut as" in refusal(lambda: open_lists([first, other]))
    timeless = write_list(tmp_path / "d.fits", photons(5), gti=None)
    assert "or neither" in refusal(lambda: open_lists([first, timeless]))
    assert "none was given" in refusal(lambda: open_lists([]))
    later = write_list(tmp_path / "e.fits", photons(5), gti=((3000.0, 4000.0),))
    assert len(open_lists([first, later])) == 2


BASE = Selection(128, 3, "P8R3", 105.0, (1e3, 1e5))


@pytest.mark.parametrize(
    ("exposure", "told"),
    [
        (Selection(event_class=256), "event class 128, but the exposure cube was made with 256"),
        (Selection(event_type=1), "event types 3, but the exposure cube was made with 1"),
        (Selection(zenith_max_deg=90.0), "largest zenith angle .* 105, but the exposure cube was made with 90"),
        (Selection(version="P8R2"), "event reconstruction P8R3, but the exposure cube was made with P8R2"),
        (Selection(responses="P8R2_SOURCE_V6"), "with the response P8R2_SOURCE_V6"),
    ],
)
def test_an_exposure_of_other_cuts_is_refused(exposure: Selection, told: str) -> None:
    check_same_cuts(BASE, BASE, "list", "cube")
    check_same_cuts(BASE, Selection(), "list", "cube")
    check_same_cuts(BASE, Selection(responses="P8R3_SOURCE_V3"), "list", "cube")
    with pytest.raises(InputError, match=told):
        check_same_cuts(BASE, exposure, "list", "cube")


def test_more_cuts_narrow_a_selection() -> None:
    found = BASE.narrowed(256, None, 90.0, "list")
    assert (found.event_class, found.event_type, found.zenith_max_deg) == (256, 3, 90.0)
    assert BASE.narrowed(None, None, 120.0, "list") == BASE


@pytest.mark.parametrize(
    ("before", "wanted", "both"), [(None, 4, 4), (3, None, 3), (3, 32, 32), (60, 3, 3), (48, 33 - 1, 32), (1, 63, 1)]
)
def test_event_types_that_an_event_has_together(before: int | None, wanted: int | None, both: int) -> None:
    assert Selection(event_type=before).narrowed(None, wanted, None, "list").event_type == both


@pytest.mark.parametrize(("before", "wanted"), [(1, 2), (1, 32), (16, 32), (16, 33)])
def test_event_types_that_no_mask_tells_of(before: int, wanted: int) -> None:
    with pytest.raises(InputError, match=f"types {wanted} were asked for, but its events have the types {before}"):
        Selection(event_type=before).narrowed(None, wanted, None, "list")


def test_every_division_is_of_all_events() -> None:
    check_same_cuts(BASE, Selection(event_type=60), "list", "cube")


def test_keywords_are_read_as_the_mission_writes_them() -> None:
    header = {
        "DSTYP1": "POS(RA,DEC)", "DSVAL1": "CIRCLE(83.6,22.0,30)", "DSUNI1": "deg",
        "DSTYP2": "ENERGY", "DSVAL2": "100:500000", "DSUNI2": "MeV",
        "DSTYP3": "ENERGY", "DSVAL3": "1000:1e6", "DSUNI3": "MeV",
        "DSTYP4": "IRF_VERSION", "DSVAL4": "P8R3_SOURCE_V3",
    }  # fmt: skip
    found = Selection.in_headers([header, header], "it")
    assert found == Selection(energy_mev=(1000.0, 500_000.0), circles=((83.6, 22.0, 30.0),), responses="P8R3_SOURCE_V3")
