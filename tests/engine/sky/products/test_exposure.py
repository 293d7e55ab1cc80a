"""Exposure cubes: averaged over bins with a spectrum, and read in the frame that they say or show."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from scipy.integrate import quad

from gammasky.engine.sky.products import DiffuseCube, ExposureCube
from gammasky.engine.sky.products.cubes import Cube
from gammasky.engine.sky.products.exposure import variance_within_rings
from tests.engine.sky.conftest import refusal
from tests.engine.sky.products.conftest import ENERGIES_MEV, energies, image, skymap, write

SLOPES = np.linspace(-1.5, 1.5, 192)
POWER_LAWS = 1e11 * (ENERGIES_MEV[:, None] / 1e3) ** SLOPES


def exposures(values: np.ndarray, **cards: Any) -> Any:
    return skymap(values, name="HPXEXPOSURES", column="ENERGY", **{"COORDSYS": None, **cards})


def test_power_laws_are_averaged_exactly(tmp_path: Path) -> None:
    cube = ExposureCube.open(write(tmp_path / "a.fits", exposures(POWER_LAWS, COORDSYS="GAL"), energies()))
    np.testing.assert_allclose(cube.energies_gev, [1.0, 3.0, 10.0])
    found = cube.in_bins([1.2, 2.0, 9.0], index=2.4)
    for number, (low, high) in enumerate([(1.2, 2.0), (2.0, 9.0)]):
        weight = quad(lambda e: e**-2.4, low, high)[0]
        expected = [quad(lambda e, slope=slope: 1e11 * e ** (slope - 2.4), low, high)[0] / weight for slope in SLOPES]
        np.testing.assert_allclose(found[number], expected, rtol=1e-9)


def test_one_energy_in_the_middle_of_each_bin_is_that_of_the_bin(tmp_path: Path) -> None:
    cube = ExposureCube.open(write(tmp_path / "a.fits", exposures(POWER_LAWS, COORDSYS="GAL"), energies()))
    np.testing.assert_array_equal(cube.in_bins([0.5, 2.0, 5.0, 20.0]), POWER_LAWS)


@pytest.mark.parametrize(
    ("unit", "factor", "edges", "message"),
    [
        (None, 1.0, [0.5, 5.0], "a.fits: its energies, 1 to 10 GeV, do not cover the bin 0.5 to 5 GeV; choose"),
        (None, 1.0, [2.0, 5.0, 11.0], "do not cover the bin 5 to 11 GeV"),
        ("keV", 1.0, [1.0, 10.0], "do not cover the bin 1 to 10 GeV; they look 1000 times too low: keV, MeV and GeV"),
        ("GeV", 1.0, [1.0, 10.0], "1000 to 10000 GeV, do not cover the bin 1 to 10 GeV; they look 1000 times too high"),
        (None, 1e3, [1.0, 10.0], "they look 1000 times too high: keV, MeV and GeV mixed up? Correct the unit"),
    ],
)  # fmt: skip
def test_bins_that_are_not_covered(
    tmp_path: Path, unit: str | None, factor: float, edges: list[float], message: str
) -> None:
    path = write(tmp_path / "a.fits", exposures(POWER_LAWS), energies(factor * ENERGIES_MEV, unit))
    assert message in refusal(lambda: ExposureCube.open(path).in_bins(edges))


def survey(frame: str) -> np.ndarray:
    """Exposures (3, 3072) at nside 16 that depend on declination, and a little on longitude."""
    lon, lat = healpy.pix2ang(16, np.arange(3072), lonlat=True)
    declination = lat if frame == "equatorial" else healpy.Rotator(coord=["G", "C"])(lon, lat, lonlat=True)[1]
    sky = 1e11 * (2.0 + np.sin(np.deg2rad(declination)) ** 2 + 0.1 * np.sin(np.deg2rad(lon)))
    return np.stack([sky, 1.1 * sky, 1.2 * sky])


@pytest.mark.parametrize(
    ("values", "said", "expected", "how"),
    [
        (survey("equatorial"), {}, "equatorial", "the rule of the tool that wrote it"),
        (survey("galactic"), {}, "galactic", "if Galactic: Galactic"),
        (np.repeat(POWER_LAWS[:, :1], 3072, axis=1), {}, "equatorial", "the rule of the tool that wrote it"),
        (survey("equatorial"), {"COORDSYS": "GAL"}, "galactic", "said by the file"),
        (survey("galactic"), {"COORDSYS": "EQU"}, "equatorial", "said by the file"),
    ],
)  # fmt: skip
def test_the_frame_of_an_exposure(
    tmp_path: Path, values: np.ndarray, said: dict[str, str], expected: str, how: str
) -> None:
    path = write(tmp_path / "a.fits", exposures(values, NSIDE=16, **said), energies())
    cube = ExposureCube.open(path)
    assert cube.pixels.frame == expected
    assert how in cube.frame_by
    if not said:
        assert ExposureCube.open(path, frame="galactic").frame_by == "said by the reader"
        assert ExposureCube.open(path, frame="galactic").pixels.frame == "galactic"
    else:
        other = "equatorial" if expected == "galactic" else "galactic"
        assert f"in the manifest frame is '{other}'" in refusal(lambda: ExposureCube.open(path, frame=other))


@pytest.mark.parametrize(("name", "frame"), [("2fhl", "galactic"), ("3fhl", "equatorial")])
def test_frames_of_the_mission(products_dir: Path, name: str, frame: str) -> None:
    """Neither file says its frame; each was made on the pixels of its counts cube, and shows it."""
    cube = ExposureCube.open(products_dir / f"{name}/fermi_{name}_exposure_cube_hpx.fits.gz")
    assert cube.pixels.frame == frame
    seen = Cube(cube.exposure, cube.pixels, "", False)
    other = {"galactic": "equatorial", "equatorial": "galactic"}[frame]
    assert variance_within_rings(seen, frame) < 0.15
    assert variance_within_rings(seen, other) > 0.8


def test_units_and_kinds(tmp_path: Path) -> None:
    in_m2 = image(np.full((3, 4, 6), 1e7), BUNIT="m2 s")
    cube = ExposureCube.open(write(tmp_path / "a.fits", in_m2, energies()))
    np.testing.assert_allclose(cube.exposure, 1e11)
    intensity = image(np.full((3, 4, 6), 1e-7), BUNIT="ph/cm2/s/sr/MeV")
    path = write(tmp_path / "b.fits", intensity, energies())
    assert "'ph/cm2/s/sr/MeV' is no unit of exposure" in refusal(lambda: ExposureCube.open(path))
    assert "its unit is 'm2 s'" in refusal(
        lambda: ExposureCube.read((tmp_path / "a.fits").read_bytes(), "", unit="cm2 s")
    )
    assert "'m2 s' is no unit of intensity per energy" in refusal(lambda: DiffuseCube.open(tmp_path / "a.fits"))


@pytest.mark.parametrize(
    ("hdus", "message"),
    [
        ([exposures(POWER_LAWS)], "no extension ENERGIES with the energies of the 3 layers"),
        ([exposures(POWER_LAWS), energies(ENERGIES_MEV[:2])], "ENERGIES has 2 rows, but the cube has 3 layers"),
        ([exposures(POWER_LAWS), energies(ENERGIES_MEV[::-1])], "must hold at least two positive, rising energies"),
    ],
)  # fmt: skip
def test_energies_that_do_not_fit(tmp_path: Path, hdus: list[Any], message: str) -> None:
    path = write(tmp_path / "bad.fits", *hdus)
    assert message in refusal(lambda: ExposureCube.open(path))
