"""Catalogues: text and FITS tables as people have them, their units and frames; which pixels a source takes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.table import Table

from gammasky.engine.sky import Dataset, RegionOfInterest
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.roi import angular_distance_deg
from tests.engine.sky.conftest import refusal

Folder = Callable[..., Path]
LON, LAT = np.array([5.0, 354.0, 3.0]), np.array([6.0, -5.0, -8.0])
RADEC = SkyCoord(LON, LAT, unit="deg", frame="galactic").icrs
COLUMNS = {
    "GLON": (LON, "deg"), "GLAT": (LAT, "deg"), "RAJ2000": (RADEC.ra.deg, "deg"), "DEJ2000": (RADEC.dec.deg, "deg"),
    "x": (np.deg2rad(LON), "rad"), "y": (60 * LAT, "arcmin"), "a": (RADEC.ra.deg, "deg"), "d": (RADEC.dec.deg, None),
    "flux": (LON, "1 / (cm2 s)"),
}  # fmt: skip


def catalogue(file: str, lon: str = "lon", lat: str = "lat", frame: str = "") -> str:
    more = f'frame = "{frame}"\n' if frame else ""
    return f'[sources.cat]\nfile = "{file}"\nlon = "{lon}"\nlat = "{lat}"\n{more}'


@pytest.mark.parametrize("kind", ["fits", "ecsv"])
@pytest.mark.parametrize(
    ("lon", "lat", "frame"),
    [
        ("GLON", "GLAT", ""),
        ("RAJ2000", "DEJ2000", ""),
        ("x", "y", ""),
        ("a", "d", "equatorial"),
        ("x", "y", "galactic"),
    ],
)
def test_units_and_frames(small_folder: Folder, kind: str, lon: str, lat: str, frame: str) -> None:
    folder = small_folder(catalogue(f"cat.{kind}", lon, lat, frame))
    table = Table({name: values for name, (values, _) in COLUMNS.items()})
    for name, (_, unit) in COLUMNS.items():
        table[name].unit = unit
    table.write(folder / f"cat.{kind}")
    np.testing.assert_allclose(Dataset.open(folder).source_positions("cat"), np.stack([LON, LAT], axis=1), rtol=1e-9)


@pytest.mark.parametrize(
    "text",
    [
        "name,lon,lat\na,5,6\nb,354,-5\n",
        "# sources of region 3\nlon,lat\n5,6\n354,-5\n",
        "\ufefflon,lat\r\n5,6\r\n354,-5\r\n",
        "lon, lat\n5, 6\n354, -5\n",
        "# %ECSV 1.0\n# ---\n# datatype:\n# - {name: lon, unit: deg, datatype: float64}\n"
        "# - {name: lat, unit: arcmin, datatype: float64}\nlon,lat\n5.0,360.0\n354.0,-300.0\n",
    ],
    ids=["plain", "comment", "byte-order mark", "spaces", "ECSV with commas"],
)
def test_text_tables(small_folder: Folder, text: str) -> None:
    folder = small_folder(catalogue("cat.csv"))
    (folder / "cat.csv").write_text(text, encoding="utf-8", newline="")
    assert Dataset.open(folder).source_positions("cat").tolist() == [[5.0, 6.0], [354.0, -5.0]]


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a,b\n1,2\n", "no column 'lon'; the file has a, b"),
        ("lon,lat\n1,x\n", "column 'lat' must be numbers, in a unit of angle"),
        ("lon,lat\n1,95\n", "row 1 is no position, got lon 1.0, lat 95.0"),
        ("lon,lat\n1,2\n3,\n", "row 2 is no position, got lon 3.0, lat nan"),
        ("lon,lat\n5,5,\n", "not a table of sources (Number of header columns (2) inconsistent"),
        ("lon,lat\n", "no sources; expected rows below the header"),
        ("", "no column 'lon'; the file has none"),
        ("\x00\x01", "no column 'lon'; the file has "),
        ("# %ECSV 1.0\n# ---\n# datatype: [\nlon lat\n1 2\n", "not a table of sources"),
    ],
)
def test_unusable_text_tables(small_folder: Folder, text: str, message: str) -> None:
    folder = small_folder(catalogue("cat.csv"))
    (folder / "cat.csv").write_text(text)
    assert f"cat.csv: {message}" in refusal(lambda: Dataset.open(folder).source_positions("cat"))


@pytest.mark.parametrize(
    ("lon", "lat", "frame", "message"),
    [
        ("RAJ2000", "DEJ2000", "galactic", "columns 'RAJ2000', 'DEJ2000' are equatorial, but in the manifest frame is"),
        ("GLON", "GLAT", "equatorial", "columns 'GLON', 'GLAT' are galactic, but in the manifest frame is"),
        ("flux", "GLAT", "", "column 'flux' must be numbers, in a unit of angle"),
        ("l", "b", "", "no column 'l'; the file has GLON, GLAT, RAJ2000"),
    ],
)
def test_columns_that_are_no_positions(small_folder: Folder, lon: str, lat: str, frame: str, message: str) -> None:
    folder = small_folder(catalogue("cat.fits", lon, lat, frame))
    table = Table({name: values for name, (values, _) in COLUMNS.items()})
    table["flux"].unit = "1 / (cm2 s)"
    table.write(folder / "cat.fits")
    assert f"cat.fits: {message}" in refusal(lambda: Dataset.open(folder).source_positions("cat"))


def test_a_source_takes_the_pixels_whose_centre_is_within_its_radius(small_folder: Folder) -> None:
    """Those of the haversine formula, for discs anywhere and of any size."""
    dataset = Dataset.open(small_folder())
    lon, lat = HealpixPixels(8).galactic
    rng = np.random.default_rng(5)
    for radius in (0.5, 4.0, 30.0, 100.0, 160.0):
        place = float(rng.uniform(-180, 360)), float(np.rad2deg(np.arcsin(rng.uniform(-1, 1))))
        region = RegionOfInterest(latitude_min=0.0, radius_max=180.0, exposure_regions=1, sources=[(*place, radius)])
        pixels = region.flatten(dataset)
        expected = np.flatnonzero(angular_distance_deg(lon, lat, *place) <= radius)
        np.testing.assert_array_equal(pixels.index[pixels.n_fit :], expected)
    healpy_lon, healpy_lat = healpy.pix2ang(8, np.arange(768), lonlat=True)
    np.testing.assert_array_equal(lat, healpy_lat)
    np.testing.assert_allclose((lon - healpy_lon) % 360, 0)
