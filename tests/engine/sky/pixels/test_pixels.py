"""Pixels of either kind: places, sizes, and which pixel holds a direction, against astropy and healpy."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.wcs import WCS

from gammasky.engine.sky.pixels import HealpixPixels, Pixels, ProjectedPixels, rotated
from gammasky.engine.sky.pixels.frames import in_frame, lonlat_of, vectors_of
from tests.engine.sky.conftest import refusal

RNG = np.random.default_rng(3)
LON, LAT = RNG.uniform(-180, 180, 200), np.rad2deg(np.arcsin(RNG.uniform(-1, 1, 200)))


def grid(
    projection: str, frame: str = "galactic", step: float = 1.0, shape: tuple[int, int] = (180, 360)
) -> ProjectedPixels:
    wcs = WCS(naxis=2)
    names = ("GLON-", "GLAT-") if frame == "galactic" else ("RA---", "DEC--")
    wcs.wcs.ctype = [name + projection for name in names]
    wcs.wcs.crval = [30.0, 0.0] if projection in ("CAR", "AIT") else [30.0, 40.0]
    wcs.wcs.crpix = [shape[1] / 2 + 0.5, shape[0] / 2 + 0.5]
    wcs.wcs.cdelt = [-step, step]
    return ProjectedPixels(wcs, shape)


def test_frames_are_those_of_astropy() -> None:
    there = SkyCoord(LON, LAT, unit="deg", frame="icrs").galactic
    lon, lat = in_frame(LON, LAT, "equatorial", "galactic")
    np.testing.assert_allclose(np.mod(lon, 360), there.l.deg, atol=1e-11)
    np.testing.assert_allclose(lat, there.b.deg, atol=1e-11)
    back = rotated(rotated(vectors_of(LON, LAT), "equatorial", "galactic"), "galactic", "equatorial")
    np.testing.assert_allclose(lonlat_of(back), [LON, LAT], atol=1e-11)
    np.testing.assert_allclose(in_frame(np.array([180.0, 190.0, -180.0]), np.zeros(3), "galactic", "galactic")[0],
                               [180.0, -170.0, 180.0])  # fmt: skip


@pytest.mark.parametrize("frame", ["galactic", "equatorial"])
def test_healpix_pixels_of_either_frame(frame: str) -> None:
    pixels = HealpixPixels(8, frame)
    np.testing.assert_array_equal(pixels.find(vectors_of(*pixels.galactic)), np.arange(768))
    own = LON, LAT
    if frame == "equatorial":
        there = SkyCoord(LON, LAT, unit="deg", frame="galactic").icrs
        own = there.ra.deg, there.dec.deg
    expected = healpy.ang2pix(8, *own, lonlat=True)
    np.testing.assert_array_equal(pixels.find(vectors_of(LON, LAT)), expected)
    np.testing.assert_array_equal(pixels.find(vectors_of(*own), frame), expected)
    assert pixels.solid_angle_sr.sum() == pytest.approx(4 * np.pi)
    lon, lat = pixels.parts(4)
    np.testing.assert_array_equal(pixels.find(vectors_of(lon, lat)), np.repeat(np.arange(768)[:, None], 16, axis=1))


@pytest.mark.parametrize("nside", [0, 3, 16384, 8.0])
def test_no_such_nside(nside: int) -> None:
    assert "expected a power of 2 from 1 to 8192" in refusal(lambda: HealpixPixels(nside))


@pytest.mark.parametrize("frame", ["galactic", "equatorial"])
@pytest.mark.parametrize("projection", ["CAR", "AIT", "TAN", "ZEA"])
def test_projected_pixels(projection: str, frame: str) -> None:
    pixels = grid(projection, frame, step=0.5, shape=(40, 60))
    lon, lat = pixels.galactic
    assert np.isfinite(lon).all()
    np.testing.assert_array_equal(pixels.find(vectors_of(lon, lat)), np.arange(2400))
    part_lon, part_lat = pixels.parts(2)
    np.testing.assert_array_equal(
        pixels.find(vectors_of(part_lon, part_lat)), np.arange(2400)[:, None].repeat(4, axis=1)
    )
    far = in_frame(np.array([210.0]), np.array([-40.0]), pixels.frame, "galactic")
    assert pixels.find(vectors_of(*far)).tolist() == [-1]
    # solid angles, by throwing points on the sphere
    points = vectors_of(*_cap(30.0, 0.0 if projection in ("CAR", "AIT") else 40.0, 25.0, 100_000))
    cap = 2 * np.pi * (1 - np.cos(np.deg2rad(25.0)))
    inside = pixels.find(rotated(points, pixels.frame, "galactic")) >= 0
    assert pixels.solid_angle_sr.sum() == pytest.approx(cap * inside.mean(), rel=1e-3)


def _cap(lon: float, lat: float, radius: float, n: int) -> tuple[np.ndarray, np.ndarray]:
    """Places within `radius` of one, evenly spread along a spiral."""
    rank = np.arange(n)
    z = 1 - (1 - np.cos(np.deg2rad(radius))) * (rank + 0.5) / n
    around = np.pi * (3 - np.sqrt(5)) * rank
    local = np.stack([z, np.sqrt(1 - z**2) * np.cos(around), np.sqrt(1 - z**2) * np.sin(around)], axis=-1)
    tilt, turn = np.deg2rad(-lat), np.deg2rad(lon)
    about_y = np.array([[np.cos(tilt), 0, np.sin(tilt)], [0, 1, 0], [-np.sin(tilt), 0, np.cos(tilt)]])
    about_z = np.array([[np.cos(turn), -np.sin(turn), 0], [np.sin(turn), np.cos(turn), 0], [0, 0, 1]])
    return lonlat_of(local @ (about_z @ about_y).T)


def test_whole_skies_have_all_of_the_sphere_and_nothing_beyond() -> None:
    car, ait = grid("CAR"), grid("AIT")
    assert car.solid_angle_sr.sum() == pytest.approx(4 * np.pi, rel=1e-4)
    assert (car.find(vectors_of(LON, LAT)) >= 0).all()
    lon, _ = ait.galactic
    assert np.isfinite(lon).mean() == pytest.approx(2 / np.pi, abs=2e-3)  # an ellipse of axes 4 sqrt(2), 2 sqrt(2) rad
    assert np.isfinite(ait.solid_angle_sr).mean() < np.isfinite(lon).mean()


@pytest.mark.parametrize(
    "pixels", [HealpixPixels(64), HealpixPixels(64, "equatorial"), grid("CAR"), grid("CAR", "equatorial")]
)
def test_interpolation_of_a_smooth_map(pixels: Pixels) -> None:
    def smooth(lon: np.ndarray, lat: np.ndarray) -> np.ndarray:
        return 2 + vectors_of(lon, lat) @ np.array([0.5, -0.3, 0.8])

    near = np.abs(LAT) < 80 if isinstance(pixels, ProjectedPixels) else np.ones(len(LON), dtype=bool)
    found = pixels.interpolate(smooth(*pixels.galactic), LON[near], LAT[near])
    np.testing.assert_allclose(found, smooth(LON[near], LAT[near]), atol=1e-3)


def test_no_value_outside_an_image() -> None:
    pixels = grid("TAN", step=0.5, shape=(40, 60))
    values = pixels.interpolate(np.ones(2400), np.array([30.0, 30.0, 210.0]), np.array([40.0, 60.0, -40.0]))
    np.testing.assert_array_equal(values, [1.0, np.nan, np.nan])
