"""Photons in pixels: both layouts of the bits, cuts, times, frames, parts of the sky, images, blocks."""

from __future__ import annotations

from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.wcs import WCS

from gammasky.engine.sky.photons import Intervals, PartOfSky, PhotonCuts, PhotonList, bin_photons
from gammasky.engine.sky.photons.intervals import read_intervals
from gammasky.engine.sky.photons.tables import find_tables
from gammasky.engine.sky.pixels import HealpixPixels, ProjectedPixels
from gammasky.engine.sky.products import CountsCube
from tests.engine.sky.photons.lists import photons, write_list

EDGES = np.array([1e3, 1e4, 1e5])


def reference(columns: dict[str, np.ndarray], keep: np.ndarray, nside: int = 8) -> np.ndarray:
    """Counts (2, npix) by a histogram of single-precision values, as the file holds them."""
    energy, lon, lat = (columns[name].astype(np.float32).astype(float)[keep] for name in ("ENERGY", "L", "B"))
    pixel = healpy.ang2pix(nside, lon, lat, lonlat=True)
    return np.histogram2d(energy, pixel, bins=[EDGES, np.arange(12 * nside**2 + 1)])[0]


@pytest.mark.parametrize("masks", ["32X", "32L", "J"])
def test_bits_mean_the_same_in_every_layout(tmp_path: Path, masks: str) -> None:
    columns = photons()
    found = PhotonList.open(write_list(tmp_path / "list.fits", columns, masks=masks))
    cuts = PhotonCuts(event_class="ULTRACLEANVETO", event_type=["PSF2", "PSF3"])
    binned = bin_photons([found], HealpixPixels(8), EDGES, cuts)
    keep = (columns["EVENT_CLASS"] & 1024 > 0) & (columns["EVENT_TYPE"] & 48 > 0)
    np.testing.assert_array_equal(binned.counts, reference(columns, keep))
    assert binned.cut == {
        "event class": int((columns["EVENT_CLASS"] & 1024 == 0).sum()),
        "event type": binned.cut["event type"],
    }
    assert binned.counts.sum() + sum(binned.cut.values()) == binned.n_read == 500


def test_every_cut_is_counted_once_and_in_its_order(tmp_path: Path) -> None:
    columns = photons()
    columns["TIME"][:7] = 450.0  # between the good times
    found = PhotonList.open(write_list(tmp_path / "list.fits", columns))
    cuts = PhotonCuts(zenith_max_deg=90.0, time_min_s=100.0)
    binned = bin_photons([found], HealpixPixels(8), [2e3, 1e4, 1e5], cuts)
    energy, zenith = columns["ENERGY"] >= 2e3, columns["ZENITH_ANGLE"] <= 90.0
    late, good = columns["TIME"] >= 100.0, columns["TIME"] != 450.0
    assert binned.cut == {
        "energy": int((~energy).sum()),
        "zenith angle": int((energy & ~zenith).sum()),
        "time": int((energy & zenith & ~late).sum()),
        "good time intervals": int((energy & zenith & late & ~good).sum()),
    }
    assert all(binned.cut.values())
    assert binned.counts.sum() == (energy & zenith & late & good).sum()


def test_a_bin_holds_its_lower_edge_and_not_its_upper_one(tmp_path: Path) -> None:
    columns = photons(4)
    columns["ENERGY"] = np.array([1e3, 1e4, 9999.0, 1e5])
    found = PhotonList.open(write_list(tmp_path / "list.fits", columns))
    binned = bin_photons([found], HealpixPixels(1), [1e3, 1e4, 1e5])
    assert binned.counts.sum(axis=1).tolist() == [2, 1]
    assert binned.cut == {"energy": 1}


def test_positions_are_rotated_exactly_where_the_list_lacks_those_of_the_pixels(tmp_path: Path) -> None:
    columns = photons()
    sky = SkyCoord(columns["L"], columns["B"], unit="deg", frame="galactic").icrs
    equatorial = {"RA": sky.ra.deg, "DEC": sky.dec.deg} | {k: v for k, v in columns.items() if k not in ("L", "B")}
    found = PhotonList.open(write_list(tmp_path / "list.fits", equatorial))
    galactic = bin_photons([found], HealpixPixels(8), EDGES)
    np.testing.assert_array_equal(galactic.counts, reference(columns, np.ones(500, dtype=bool)))
    own = bin_photons([found], HealpixPixels(8, "equatorial"), EDGES).counts.sum(axis=0)
    pixel = healpy.ang2pix(
        8, *(equatorial[name].astype(np.float32).astype(float) for name in ("RA", "DEC")), lonlat=True
    )
    np.testing.assert_array_equal(own, np.bincount(pixel, minlength=768))


def test_a_part_of_the_sky_holds_the_same_counts(tmp_path: Path) -> None:
    found = PhotonList.open(write_list(tmp_path / "list.fits", photons()))
    whole = bin_photons([found], HealpixPixels(8), EDGES)
    some = np.array([0, 5, 400, 401, 767])
    part = bin_photons([found], PartOfSky(HealpixPixels(8), some), EDGES)
    np.testing.assert_array_equal(part.counts, whole.counts[:, some])
    assert part.cut["outside the pixels"] == whole.counts.sum() - part.counts.sum()


def test_an_image_holds_the_photons_of_its_pixels(tmp_path: Path) -> None:
    columns = photons(2000)
    columns["B"] /= 10.0
    columns["L"] = (columns["L"] / 20.0 + 351.0) % 360.0  # 351 to 9 deg, across the seam
    wcs = WCS(naxis=2)
    wcs.wcs.ctype, wcs.wcs.crval, wcs.wcs.cdelt, wcs.wcs.crpix = (
        ["GLON-CAR", "GLAT-CAR"],
        [0, 0],
        [-0.5, 0.5],
        [10.5, 8.5],
    )
    found = PhotonList.open(write_list(tmp_path / "list.fits", columns))
    binned = bin_photons([found], ProjectedPixels(wcs, (16, 20)), EDGES)
    lon, lat = (columns[name].astype(np.float32).astype(float) for name in ("L", "B"))
    lon = np.where(lon > 180, lon - 360, lon)
    expected = np.histogram2d(lat, -lon, bins=[np.arange(-4, 4.1, 0.5), np.arange(-5, 5.1, 0.5)])[0]
    np.testing.assert_array_equal(binned.counts.sum(axis=0).reshape(16, 20), expected)
    assert binned.cut["outside the pixels"] == 2000 - expected.sum() > 0


def test_blocks_of_any_size_and_several_lists_add_up(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    first = PhotonList.open(write_list(tmp_path / "a.fits", photons(100, seed=1)))
    later = photons(61, seed=2)
    later["TIME"] += 2000.0
    second = PhotonList.open(write_list(tmp_path / "b.fits.gz", later, gti=((2000.0, 3000.0),)))
    whole = bin_photons([first, second], HealpixPixels(4), EDGES)
    seen: list[tuple[int, int]] = []
    monkeypatch.setattr("gammasky.engine.sky.photons.tables.StreamedTable.blocks.__defaults__", (7,))
    parts = bin_photons([first, second], HealpixPixels(4), EDGES, progress=lambda *step: seen.append(step))
    np.testing.assert_array_equal(parts.counts, whole.counts)
    assert whole.n_read == 161 == seen[-1][0] == seen[-1][1]
    assert len(seen) == 15 + 9


def test_columns_with_an_offset_are_read(tmp_path: Path) -> None:
    write_list(tmp_path / "list.fits", photons(), masks="J")
    table = find_tables(tmp_path / "list.fits")["EVENTS"]
    assert table.columns["EVENT_TYPE"].zero == 1 << 31
    np.testing.assert_array_equal(table.whole("EVENT_TYPE")[0], photons()["EVENT_TYPE"])


def test_intervals_are_joined_and_measured() -> None:
    found = Intervals.of(np.array([5.0, 0.0, 2.0]), np.array([7.0, 3.0, 4.0]), "it")
    assert (found.start.tolist(), found.stop.tolist(), found.total) == ([0.0, 5.0], [4.0, 7.0], 6.0)
    nested = Intervals.of(np.array([0.0, 2.0, 4.0]), np.array([10.0, 3.0, 5.0]), "it")
    assert (nested.start.tolist(), nested.stop.tolist()) == ([0.0], [10.0])
    start, stop = np.array([-1.0, 3.5, 4.0, 6.0, 0.0]), np.array([1.0, 5.5, 5.0, 9.0, 9.0])
    np.testing.assert_allclose(found.overlap(start, stop), [1.0, 1.0, 0.0, 1.0, 6.0], atol=1e-12)
    inside = found.within(1.0, 5.5)
    assert (inside.start.tolist(), inside.stop.tolist()) == ([1.0, 5.0], [4.0, 5.5])


@pytest.mark.data
def test_the_events_of_2fhl_are_the_counts_cube_of_the_mission(products_dir: Path) -> None:
    with fits.open(products_dir / "2fhl/fermi_2fhl_counts_cube_hpx.fits.gz") as hdus:
        cube = np.stack([hdus["SKYMAP"].data[f"CHANNEL{number}"] for number in range(1, 18)])
        bounds = hdus["EBOUNDS"].data
        edges = np.append(bounds["E_MIN"], bounds["E_MAX"][-1]).astype(np.float64) / 1e3
    found = PhotonList.open(products_dir / "2fhl/fermi_2fhl_events.fits.gz")
    cuts = PhotonCuts(event_class="SOURCE", event_type=["FRONT", "BACK"], zenith_max_deg=105.0)
    binned = bin_photons([found], HealpixPixels(32), edges, cuts)
    assert (binned.n_read, binned.cut, cube.shape) == (60_275, {}, (17, 12_288))
    np.testing.assert_array_equal(binned.counts, cube)


@pytest.mark.data
def test_an_image_of_the_mission_has_the_same_photons(products_dir: Path) -> None:
    """Of 32,684 photons 11 lie so near to the border of a pixel that single precision puts them in the next one."""
    path = products_dir / "3fhl_gc/fermi-3fhl-gc-counts-cube.fits.gz"
    cube = CountsCube.open(path)
    found = PhotonList.open(products_dir / "3fhl_gc/fermi-3fhl-gc-events.fits.gz")
    binned = bin_photons([found], cube.pixels, 1e3 * cube.energy_edges_gev, intervals=read_intervals(path))
    assert binned.cut == {"energy": 109, "good time intervals": 52}
    assert cube.counts.sum() == 32_684
    assert np.maximum(cube.counts - binned.counts, 0).sum() == 11
    assert np.maximum(binned.counts - cube.counts, 0).sum() == 9


@pytest.mark.data
def test_bits_as_letters_are_read_in_a_list_of_the_mission(products_dir: Path) -> None:
    found = PhotonList.open(products_dir / "3fhl_gc/fermi-3fhl-gc-events.fits.gz")
    assert found.events.columns["EVENT_CLASS"].letter == "L"
    types, classes = found.events.whole("EVENT_TYPE", "EVENT_CLASS")
    assert (classes & 128 > 0).all()
    for kinds in (0b11, 0b111100, 0b1111000000):  # each photon has one of a kind
        assert set(np.unique([bin(value).count("1") for value in types & kinds])) == {1}
