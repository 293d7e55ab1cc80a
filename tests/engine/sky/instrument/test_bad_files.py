"""Spacecraft and response files that cannot be used: refused in one line."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.errors import InputError
from gammasky.engine.sky.instrument import EffectiveArea, KingTables, Spacecraft
from gammasky.engine.sky.instrument.livetime import measure_livetime
from gammasky.engine.sky.photons import Intervals
from tests.engine.sky.conftest import refusal
from tests.engine.sky.instrument.orbits import rows, smooth_area, write_area, write_spacecraft

POLE, EAST = np.array([0.0, 0.0, 1.0]), np.array([1.0, 0.0, 0.0])


def spoiled(**values: float) -> dict[str, np.ndarray]:
    columns = rows(5, POLE, EAST, POLE)
    for name, value in values.items():
        columns[name][3] = value
    return columns


@pytest.mark.parametrize(
    ("columns", "told"),
    [
        (spoiled(RA_SCZ=np.nan), "RA_SCZ is nan in row 3"),
        (spoiled(DEC_ZENITH=91.0), "DEC_ZENITH is 91 in row 3"),
        (spoiled(LIVETIME=31.0), "row 3 lasts 30 s and was live for 31 s"),
        (spoiled(LIVETIME=-1.0), "row 3 lasts 30 s and was live for -1 s"),
        (spoiled(STOP=0.0), "row 3 lasts -1090 s"),
        (spoiled(START=1065.0), "rows that begin at 1060.000 and 1065.000 s overlap"),
        ({name: values[:0] for name, values in spoiled().items()}, "SC_DATA is empty"),
        ({name: values for name, values in spoiled().items() if name != "DEC_SCX"}, "no column DEC_SCX"),
    ],
)
def test_rows_that_cannot_be(tmp_path: Path, columns: dict[str, np.ndarray], told: str) -> None:
    path = write_spacecraft(tmp_path / "ft2.fits", columns)
    with pytest.raises(InputError, match=told):
        Spacecraft.open(path)


def test_a_file_without_rows_says_what_it_has(tmp_path: Path) -> None:
    path = write_spacecraft(tmp_path / "ft2.fits", spoiled(), name="POINTING")
    assert "no extension SC_DATA, as a spacecraft file has it; the file has POINTING" in refusal(
        lambda: Spacecraft.open(path)
    )


@pytest.mark.parametrize(("start", "stop"), [(900.0, 1100.0), (1100.0, 1152.0), (5000.0, 6000.0)])
def test_good_times_outside_of_the_rows(tmp_path: Path, start: float, stop: float) -> None:
    craft = Spacecraft.open(write_spacecraft(tmp_path / "ft2.fits", spoiled()))
    good = Intervals.of(np.array([start]), np.array([stop]), "it")
    told = refusal(lambda: measure_livetime(craft, good, nside=1, cache_dir=tmp_path))
    assert "of the good time intervals" in told
    assert "lie outside of its rows (1000 to 1150 s)" in told


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"nside": 3}, "nside must be a power of 2 from 1 to 1024, got 3"),
        ({"azimuth_bins": 0}, "azimuth_bins must be from 1 to 100, got 0"),
        ({"zenith_max_deg": 0.0}, "is out of range"),
        ({"cos_min": 1.0}, "is out of range"),
    ],
)
def test_settings_out_of_range(tmp_path: Path, settings: dict[str, Any], told: str) -> None:
    craft = Spacecraft.open(write_spacecraft(tmp_path / "ft2.fits", spoiled()))
    good = Intervals.of(np.array([1000.0]), np.array([1100.0]), "it")
    assert told in refusal(lambda: measure_livetime(craft, good, cache_dir=tmp_path, **{"nside": 1, **settings}))


def bare(path: Path) -> Path:
    fits.HDUList([fits.PrimaryHDU(), fits.ImageHDU(np.zeros(3), name="OTHER")]).writeto(path)
    return path


def bad_area(value: float) -> Callable[[Path], Path]:
    area = np.ones((4, 3))
    area[2, 1] = value
    return lambda path: write_area(path, area, np.geomspace(1e2, 1e5, 4), np.linspace(0.2, 1.0, 5))


@pytest.mark.parametrize(
    ("make", "event_type", "told"),
    [
        (bare, "FRONT", "no extension EFFECTIVE AREA_<event type>, as such a response file has it; it has OTHER"),
        (smooth_area, "BACK", "unknown event type of .*: 'BACK'"),
        (lambda path: smooth_area(path, unit="s"), "FRONT", "EFFAREA of .* has the unit 's'"),
        (bad_area(-1.0), "FRONT", "values that are negative or no numbers"),
        (bad_area(np.nan), "FRONT", "values that are negative or no numbers"),
        (lambda path: smooth_area(path, efficiency=np.ones((1, 6))), "FRONT", r"shape \(1, 6\); expected \(2, 6\)"),
    ],
)
def test_areas_that_cannot_be_read(tmp_path: Path, make: Any, event_type: str, told: str) -> None:
    path = make(tmp_path / "area.fits")
    with pytest.raises(InputError, match=told):
        EffectiveArea.open(path, event_type)


def test_energies_outside_of_a_response(tmp_path: Path) -> None:
    area = EffectiveArea.open(smooth_area(tmp_path / "area.fits"), "FRONT")
    told = refusal(lambda: area.at(1.0, np.array([1.0])))
    assert (
        "energies from 0.001 to 0.001 GeV are not all within the 0.1 to 1000 GeV of the response; mind the unit" in told
    )


def test_a_file_of_areas_is_no_file_of_point_spread_functions(tmp_path: Path) -> None:
    path = smooth_area(tmp_path / "area.fits")
    assert "no extension RPSF_<event type>" in refusal(lambda: KingTables.open(path, "FRONT"))
