"""Catalogues: text and FITS tables as people have them, their units and frames; which pixels a source takes away."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits
from astropy.table import Table

from gammasky.engine.sky import CatalogueDiscs, Dataset, GaussianPSF, RegionOfInterest
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.pixels.frames import vectors_of
from gammasky.engine.sky.roi import angular_distance_deg
from gammasky.engine.sky.source_maps import leakage_radius_deg, source_maps
from tests.engine.sky.conftest import N_PIX, refusal

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


# ---------------------------------------------------------------- catalogues of the mission, their fluxes and extents


def mission_file(path: Path, flux: str = "Flux1000", index: str | None = "PL_Index", **columns: object) -> None:
    """Three sources in the layout of a catalogue of the mission, the last of which is extended."""
    values = {
        "Source_Name": np.array(["A", "B", "Ce"]), "GLON": LON, "GLAT": LAT, flux: np.array([1e-9, 4e-9, 2e-9]),
        **({} if index is None else {index: np.array([2.0, 2.5, 3.0])}), **columns,
    }  # fmt: skip
    formats = {"Source_Name": "18A"}
    parts = [fits.Column(name, formats.get(name, "D"), array=array) for name, array in values.items()]
    for part in parts:
        part.unit = {"GLON": "deg", "GLAT": "deg", flux: "photon/cm**2/s"}.get(part.name)
    extended = [fits.Column("Source_Name", "18A", array=["Ce"]), fits.Column("Model_SemiMajor", "E", array=[1.5])]
    tables = [fits.BinTableHDU.from_columns(parts, name="LAT_Point_Source_Catalog")]
    tables.append(fits.BinTableHDU.from_columns(extended, name="Extended Sources"))
    fits.HDUList([fits.PrimaryHDU(), *tables]).writeto(path, overwrite=True)


MISSION = '[sources.cat]\nfile = "cat.fit"\n'


@pytest.mark.parametrize("index", ["PowerLaw_Index", "PL_Index", "Spectral_Index"])
@pytest.mark.parametrize(("flux", "band"), [("Flux1000", (1, 100)), ("Flux", (10, 1000)), ("Flux50", (50, 2000))])
def test_catalogues_of_the_mission_are_known_by_their_columns(
    small_folder: Folder, flux: str, band: tuple[float, float], index: str
) -> None:
    folder = small_folder(MISSION)
    mission_file(folder / "cat.fit", flux, index)
    cat = Dataset.open(folder).catalogue("cat")
    np.testing.assert_allclose(cat.positions, np.stack([LON, LAT], axis=1))
    assert cat.extent_deg.tolist() == [0.0, 0.0, 1.5]
    np.testing.assert_allclose(cat.flux_in(*band), [1e-9, 4e-9, 2e-9])
    low, high = 1.5 * band[0], 0.5 * band[1]
    share = [(low**-n - high**-n) / (band[0] ** -n - band[1] ** -n) for n in (1.0, 1.5, 2.0)]
    np.testing.assert_allclose(cat.flux_in(low, high), np.array([1e-9, 4e-9, 2e-9]) * share, rtol=1e-12)
    assert f"choose energy bins above {band[0]} GeV, got {band[0] / 2:g} to" in refusal(
        lambda: cat.flux_in(band[0] / 2, band[1])
    )


def test_fluxes_that_are_missing_or_none(small_folder: Folder) -> None:
    folder = small_folder(MISSION)
    mission_file(folder / "cat.fit", "Brightness", None)
    without = Dataset.open(folder).catalogue("cat")
    assert "cat.fit: no column of fluxes that is known (Flux50, Flux, Flux1000); name one with `flux`" in refusal(
        lambda: without.flux_in(1, 2)
    )
    mission_file(folder / "cat.fit", index=None)
    assert "it has no index (PowerLaw_Index, PL_Index, Spectral_Index) to carry" in refusal(
        lambda: Dataset.open(folder).catalogue("cat").flux_in(2, 20)
    )
    for bad in (-1e-9, np.nan):
        mission_file(folder / "cat.fit", Flux1000=np.array([1e-9, bad, 1e-9]))
        assert "cat.fit: row 2 has no flux, got Flux1000" in refusal(lambda: Dataset.open(folder).catalogue("cat"))
    named = small_folder(MISSION + 'flux = "Fluxx"\n')
    refused = refusal(lambda: Dataset.open(named).catalogue("cat"))
    assert "cat.fit: no column 'Fluxx'; the file has Source_Name" in refused


@pytest.mark.parametrize(("name", "n", "extended"), [
    ("gll_psc_v16", 3034, 25), ("gll_psch_v08", 360, 25), ("gll_psch_v09", 360, 25), ("gll_psch_v13", 1556, 48),
])  # fmt: skip
def test_the_catalogues(small_folder: Folder, products_dir: Path, name: str, n: int, extended: int) -> None:
    """Their Galactic and equatorial positions agree, too."""
    files = [f'[sources.{k}]\nfile = "{products_dir}/catalogue/{name}.fit.gz"\n{more}' for k, more in (
        ("known", ""), ("named", 'lon = "RAJ2000"\nlat = "DEJ2000"\n'))]  # fmt: skip
    dataset = Dataset.open(small_folder("".join(files)))
    cat, other = dataset.catalogue("known"), dataset.catalogue("named")
    assert (len(cat.lon_deg), int((cat.extent_deg > 0).sum())) == (n, extended)
    assert cat.flux is not None
    assert cat.reaches(60.0, 1000.0)
    assert not cat.reaches(0.1, 1000.0)
    distance = np.rad2deg(np.linalg.norm(vectors_of(*cat.positions.T) - vectors_of(*other.positions.T), axis=1))
    assert np.median(distance) < 0.005
    assert distance.max() < 0.1


def small_discs(dataset: Dataset, **size: float) -> np.ndarray:
    return CatalogueDiscs(catalogue="cat", **size).discs(dataset)[:, 2]


def test_sizes_of_discs(small_folder: Folder) -> None:
    folder = small_folder(MISSION)
    mission_file(folder / "cat.fit")
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace("[1.0, 2.0]", "[1.0, 100.0]"))
    dataset = Dataset.open(folder)
    extent = np.array([0.0, 0.0, 1.5])
    np.testing.assert_allclose(small_discs(dataset), 0.8 + extent)
    np.testing.assert_allclose(small_discs(dataset, radius_deg=2.0), 2.0 + extent)
    half_degree = 0.5 * np.sqrt(-2 * np.log(0.05))  # a Gaussian of 0.5 deg, on the plane
    np.testing.assert_allclose(small_discs(dataset, containment=0.95), half_degree + extent, rtol=1e-3)
    photons = np.array([1e-9, 4e-9, 2e-9]) * dataset.exposure[0, dataset.pixels.find(vectors_of(LON, LAT))]
    assert photons.min() > 50
    expected = 0.5 * np.sqrt(-2 * np.log(20.0 / photons)) + extent
    np.testing.assert_allclose(small_discs(dataset, leakage=20.0), expected, rtol=1e-3)
    assert len(small_discs(dataset, leakage=1.01 * float(np.sort(photons)[0]))) == 2  # the faintest has no disc
    assert "radius_deg and leakage both say how large the discs are" in refusal(
        lambda: RegionOfInterest(sources=[{"catalogue": "cat", "radius_deg": 1.0, "leakage": 2.0}])
    )


def test_discs_hold_the_photons_of_all_bins() -> None:
    """A hard source is seen in the sharp bin, a soft one in the wide bin; both leave two photons outside."""
    sigma, photons = np.array([[0.5], [0.1]]), np.array([[10.0, 300.0, 1.0], [900.0, 3.0, 0.5]])
    radius = leakage_radius_deg([GaussianPSF(sigma_deg=0.5), GaussianPSF(sigma_deg=0.1)], photons, 2.0)
    outside = (photons * np.exp(-0.5 * (radius / sigma) ** 2)).sum(axis=0)
    np.testing.assert_allclose(outside[:2], 2.0, rtol=1e-3)
    assert radius[2] == 0.0


@pytest.mark.usefixtures("own_cache")
def test_a_catalogue_as_a_template(small_folder: Folder) -> None:
    """The flux through the PSF: all of it, most of it nearby, and as wide as an extended source."""
    folder = small_folder(MISSION + '[templates.psc]\ncatalogue = "cat"\n')
    mission_file(folder / "cat.fit")
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text(text.replace("[1.0, 2.0]", "[1.0, 100.0]"))
    dataset = Dataset.open(folder)
    sky = dataset.template("psc")
    assert dataset.has_spectrum("psc")
    assert dataset.template_unit("psc") == "intensity"
    area = 4 * np.pi / N_PIX
    assert sky.sum() * area == pytest.approx(7e-9, rel=1e-12)
    psf = GaussianPSF(sigma_deg=0.5)
    fluxes = source_maps(dataset.catalogue("cat"), HealpixPixels(128), [psf], np.array([1.0, 100.0]))
    fluxes *= 4 * np.pi / (12 * 128**2)
    lon, lat = HealpixPixels(128).galactic
    for place, flux, extent in zip(zip(LON, LAT, strict=True), (1e-9, 4e-9, 2e-9), (0.0, 0.0, 1.5), strict=True):
        distance = angular_distance_deg(lon, lat, *place)
        second_moment = (fluxes[0] * distance**2)[distance < 5].sum() / flux
        assert fluxes[0][distance < 5].sum() == pytest.approx(flux, rel=1e-6)
        assert second_moment == pytest.approx(2 * 0.5**2 + extent**2 / 2 + 0.46**2 / 6, rel=0.02)  # and the pixel
    assert dataset.checksums_of(["psc"], [], []).keys() == {"cat.fit", "counts.npy", "exposure.npy"}
    entry = small_folder(MISSION + '[templates.psc]\ncatalogue = "cta"\n')
    assert "unknown source catalogue 'cta'; did you mean 'cat'?" in refusal(lambda: Dataset.open(entry).template("psc"))
