"""HEALPix tables: what they say of themselves is read, and what contradicts the manifest is refused."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from astropy.coordinates import SkyCoord
from astropy.io import fits

from gammasky.engine.sky import Dataset, RegionOfInterest
from tests.engine.sky.conftest import N_PIX, glow, instead, refusal

Folder = Callable[..., Path]
Write = Callable[..., None]
SKY = np.random.default_rng(1).uniform(1.0, 2.0, N_PIX)
COUNTS = np.random.default_rng(3).poisson(4.0, N_PIX)
NESTED = healpy.nest2ring(8, np.arange(N_PIX))
LON, LAT = healpy.pix2ang(8, np.arange(N_PIX), lonlat=True)


# ---------------------------------------------------------------- columns, pixels, ordering


@pytest.mark.parametrize("said_by", ["header", "manifest"])
@pytest.mark.parametrize("ordering", ["RING", "NESTED"])
def test_whole_maps_in_either_ordering(small_folder: Folder, write_table: Write, ordering: str, said_by: str) -> None:
    by_header = said_by == "header"
    folder = small_folder(glow(field="B", **({} if by_header else {"ordering": ordering.lower()})))
    stored = SKY[NESTED] if ordering == "NESTED" else SKY
    columns = {"A": 0 * SKY, "B": stored}
    write_table(folder / "glow.fits", columns, ORDERING=ordering if by_header else None, NSIDE=8)
    values = Dataset.open(folder).template("glow")
    np.testing.assert_array_equal(values[0], SKY)
    assert values.dtype.isnative


def test_rows_of_many_pixels_and_nested_arrays(small_folder: Folder) -> None:
    folder = small_folder(glow() + glow("plain", file="glow.npy", ordering="nested"))
    np.save(folder / "glow.npy", SKY[NESTED])
    healpy.write_map(str(folder / "glow.fits"), SKY, coord="G", dtype=np.float64)  # 64 pixels to a row
    dataset = Dataset.open(folder)
    np.testing.assert_array_equal(dataset.template("glow")[0], SKY)
    np.testing.assert_array_equal(dataset.template("plain")[0], SKY)


@pytest.mark.parametrize("field", [None, 0, "COUNTS"])
@pytest.mark.parametrize("index", ["PIXEL", "PIX", "HPX_INDEX", "ipix"])
def test_partial_maps_never_give_their_pixel_numbers(
    small_folder: Folder, write_table: Write, index: str, field: int | str | None
) -> None:
    pixel = np.random.default_rng(4).permutation(N_PIX)[:100]
    text = "" if field is None else f', field = "{field}"' if isinstance(field, str) else f", field = {field}"
    folder = instead(small_folder(), "counts", f'file = "counts.fits"{text}')
    write_table(folder / "counts.fits", {index: pixel, "COUNTS": COUNTS[pixel]}, INDXSCHM="EXPLICIT", NSIDE=8)
    np.testing.assert_array_equal(
        Dataset.open(folder).counts[0], np.where(np.isin(np.arange(N_PIX), pixel), COUNTS, -1)
    )


def test_a_partial_map_of_every_pixel_in_any_order(small_folder: Folder, write_table: Write) -> None:
    """Of an exposure, too, in NESTED order and without the keyword that says that pixels are numbered."""
    folder = instead(small_folder(), "exposure", 'file = "e.fits"')
    backwards = np.arange(N_PIX)[::-1]
    columns = {"PIXEL": healpy.ring2nest(8, backwards), "EXPOSURE": 1e11 * SKY[::-1]}
    write_table(folder / "e.fits", columns, ORDERING="NESTED", NSIDE=8)
    np.testing.assert_array_equal(Dataset.open(folder).exposure[0], 1e11 * SKY)


def test_columns_of_several_energies(small_folder: Folder, write_table: Write) -> None:
    named = small_folder(glow(field=["B", "A"]), n_energy=2)
    instead(named, "counts", 'file = "counts.fits"')  # as many columns as energy bins: in their order
    write_table(named / "glow.fits", {"A": SKY, "B": 2 * SKY})
    write_table(
        named / "counts.fits",
        {"PIX": np.array([5, 2]), "CHANNEL1": np.array([1, 2]), "CHANNEL2": np.array([3, 4])},
        NSIDE=8,
    )
    dataset = Dataset.open(named)
    np.testing.assert_array_equal(dataset.template("glow"), [2 * SKY, SKY])
    assert dataset.counts[:, [5, 2]].tolist() == [[1, 2], [3, 4]]
    assert (np.delete(dataset.counts, [2, 5], axis=1) == -1).all()


def test_fine_partial_counts_need_every_part_of_a_pixel(small_folder: Folder, write_table: Write) -> None:
    folder = instead(small_folder(), "counts", 'file = "counts.fits"')
    nested = np.r_[4 * 17 + np.arange(4), 4 * 30 + np.arange(3)]  # all of pixel 17 (NESTED), three quarters of 30
    write_table(folder / "counts.fits", {"PIXEL": nested, "A": np.arange(1, 8)}, ORDERING="NESTED", NSIDE=16)
    counts = Dataset.open(folder).counts[0]
    assert counts[healpy.nest2ring(8, 17)] == 1 + 2 + 3 + 4
    assert (counts == -1).sum() == N_PIX - 1


@pytest.mark.parametrize(
    ("columns", "cards", "message"),
    [
        ({"PIX": [3, 3]}, {"NSIDE": 8}, "must name each pixel once, from 0 to 767"),
        ({"PIX": [3, 768]}, {"NSIDE": 8}, "must name each pixel once, from 0 to 767"),
        ({"PIX": [-1, 4]}, {"NSIDE": 8}, "must name each pixel once, from 0 to 767"),
        ({"PIX": [1.0, np.nan]}, {"NSIDE": 8}, "must name each pixel once, from 0 to 767"),
        ({"PIX": [1, 2]}, {"NSIDE": 8, "INDXSCHM": "IMPLICIT"}, "INDXSCHM is IMPLICIT, but the pixel numbers are not"),
        ({"PIX": [1, 2]}, {}, "NSIDE is None; expected a power of 2"),
        ({"PIX": [1, 2]}, {"NSIDE": 7}, "NSIDE is 7; expected a power of 2"),
        ({"PIX": [1, 2]}, {"NSIDE": "8"}, "NSIDE is '8'; expected a power of 2"),
        ({"PIX": [1, 2]}, {"NSIDE": 2**40}, "NSIDE is 1099511627776; expected a power of 2"),
        ({}, {"NSIDE": 8, "INDXSCHM": "EXPLICIT"}, "no column of pixel numbers (PIXEL, PIX, "),
        ({}, {"NSIDE": 4}, "768 pixels, but NSIDE is 4, which has 192"),
        ({}, {"ORDERING": "SPIRAL"}, "ORDERING is 'SPIRAL'; expected one of RING, NESTED"),
        ({}, {"ORDERING": None}, 'no keyword ORDERING in the header; give this file ordering = "ring"'),
        ({}, {"COORDSYS": "E"}, "COORDSYS is 'E'; expected one of G, C"),
        ({}, {"COORDSYS": None}, 'no keyword COORDSYS in the header; give this file frame = "galactic"'),
        ({"B": [1, 2]}, {"NSIDE": 8}, "several columns, B, A; name that of the map with `field`"),
    ],
)  # fmt: skip
def test_unusable_tables(
    small_folder: Folder, write_table: Write, columns: dict[str, Any], cards: dict[str, Any], message: str
) -> None:
    folder = small_folder(glow())
    values = {"A": np.ones(2 if columns else N_PIX)}
    write_table(folder / "glow.fits", {name: np.array(v) for name, v in columns.items()} | values, **cards)
    assert f"glow.fits: {'its pixel numbers ' if 'each pixel' in message else ''}{message}" in refusal(
        lambda: Dataset.open(folder).template("glow")
    )


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"field": "Z"}, "no column 'Z' of values; the table has A"),
        ({"field": 1}, "no column 1 of values; the table has A"),
        ({"field": "PIXEL"}, "no column 'PIXEL' of values; the table has A"),
        ({"hdu": 7}, "no extension 7; the file has 0"),
        ({"hdu": 0}, "extension 0 holds no table"),
        ({"projection": "car"}, "extension 0 holds no two-dimensional image"),
        ({"projection": "car", "hdu": 1}, "extension 1 holds no two-dimensional image"),
        ({"ordering": "nested"}, "ORDERING is 'RING', but in the manifest ordering is 'nested'"),
        ({"frame": "equatorial"}, "COORDSYS is 'G', but in the manifest frame is 'equatorial'"),
        ({"unit": "counts"}, "its unit is 'cm-2 s-1 sr-1', but in the manifest unit is 'counts'"),
    ],
)
def test_settings_that_contradict_the_file(
    small_folder: Folder, write_table: Write, settings: dict[str, object], message: str
) -> None:
    folder = small_folder(glow(**settings))
    write_table(folder / "glow.fits", {"PIXEL": np.arange(N_PIX), "A": SKY}, NSIDE=8, unit_A="cm-2 s-1 sr-1")
    assert f"glow.fits: {message}" in refusal(lambda: Dataset.open(folder).template("glow"))


# ---------------------------------------------------------------- units, frames, energies


@pytest.mark.parametrize(
    ("in_file", "in_manifest", "factor"),
    [
        ("m2 s", None, 1e4), ("cm2 yr", None, 3.15576e7), ("km^2 s", None, 1e10), ("cm**2*s", "s cm2", 1.0),
        (None, "m2 s", 1e4), (None, None, 1.0),
    ],
)  # fmt: skip
def test_units_of_exposure(
    small_folder: Folder, write_table: Write, in_file: str | None, in_manifest: str | None, factor: float
) -> None:
    unit = "" if in_manifest is None else f', unit = "{in_manifest}"'
    folder = instead(small_folder(), "exposure", f'file = "e.fits"{unit}')
    write_table(folder / "e.fits", {"E": SKY}, unit_E=in_file)
    np.testing.assert_allclose(Dataset.open(folder).exposure[0], factor * SKY, rtol=1e-14)
    if in_file is None:  # arrays have units in the manifest alone
        np.save(folder / "e.npy", SKY)
        (folder / "dataset.toml").write_text((folder / "dataset.toml").read_text().replace("e.fits", "e.npy"))
        np.testing.assert_allclose(Dataset.open(folder).exposure[0], factor * SKY, rtol=1e-14)


@pytest.mark.parametrize(
    ("name", "in_file", "in_manifest", "message"),
    [
        (
            "exposure",
            "m2 s",
            "cm2 s",
            "its unit is 'm2 s', but in the manifest unit is 'cm2 s'; correct",
        ),
        ("exposure", "m2", None, "'m2' is no unit of exposure; expected such as 'cm2 s'"),
        ("exposure", "furlong", None, "'furlong' is no unit of exposure"),
        ("exposure", None, "counts", "'counts' is no unit of exposure"),
        ("counts", "cm2 s", None, "its unit is 'cm2 s', but in the manifest unit is 'counts'"),
        ("counts", "ph / (cm2 s)", None, "its unit is 'ph / (cm2 s)', but in the manifest unit is 'counts'"),
    ],
)
def test_units_that_are_refused(
    small_folder: Folder, write_table: Write, name: str, in_file: str | None, in_manifest: str | None, message: str
) -> None:
    unit = "" if in_manifest is None else f', unit = "{in_manifest}"'
    folder = instead(small_folder(), name, f'file = "x.fits"{unit}')
    write_table(folder / "x.fits", {"X": COUNTS + 1}, unit_X=in_file)
    assert f"x.fits: {message}" in refusal(lambda: Dataset.open(folder))


@pytest.mark.parametrize("unit", ["counts", "ct", "photons", "count / pix", "", "of our own"])
def test_units_of_counts(small_folder: Folder, write_table: Write, unit: str) -> None:
    folder = instead(small_folder(glow(file="x.fits", unit="counts")), "counts", 'file = "x.fits"')
    write_table(folder / "x.fits", {"X": COUNTS}, unit_X=unit)
    dataset = Dataset.open(folder)
    np.testing.assert_array_equal(dataset.counts[0], COUNTS)
    np.testing.assert_array_equal(dataset.template("glow")[0], COUNTS)


def equatorial(nside: int) -> tuple[np.ndarray, np.ndarray]:
    """Right ascension and declination [deg] of the pixels of a Galactic map, by astropy."""
    lon, lat = healpy.pix2ang(nside, np.arange(12 * nside**2), lonlat=True)
    there = SkyCoord(lon, lat, unit="deg", frame="galactic").icrs
    return there.ra.deg, there.dec.deg


@pytest.mark.parametrize("coordsys", ["C", "EQU", None])
def test_equatorial_maps_are_turned(small_folder: Folder, write_table: Write, coordsys: str | None) -> None:
    """A map of sin(declination) is known everywhere; half of the northern one has no value."""
    frame = {} if coordsys else {"frame": "equatorial"}
    folder = small_folder(glow(**frame) + glow("half", file="half.npy", frame="equatorial"))
    _, dec = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)
    sky = 2.0 + np.sin(np.deg2rad(dec))
    write_table(folder / "glow.fits", {"A": sky}, COORDSYS=coordsys)
    np.save(folder / "half.npy", np.where(dec > 0, healpy.UNSEEN, sky))
    dataset = Dataset.open(folder)
    _, dec_there = equatorial(64)
    there = healpy.ud_grade(2.0 + np.sin(np.deg2rad(dec_there)), 8)
    np.testing.assert_allclose(dataset.template("glow")[0], there, atol=1e-4)
    half = dataset.template("half")[0]
    assert np.isnan(half[there > 2.1]).all()
    assert np.isfinite(half[there < 1.8]).all()
    known = np.isfinite(half)
    np.testing.assert_allclose(half[known], there[known], atol=1e-4)  # at the edge, too: right or not at all


def test_equatorial_masks_come_to_the_pixels_of_the_counts(small_folder: Folder, write_table: Write) -> None:
    """A pixel is masked where any part of it is; a cap around the pole says which those are."""
    folder = small_folder('[masks.cap]\nfile = "x.fits"\n')
    _, dec = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)
    write_table(folder / "x.fits", {"X": (dec > 50).astype(int)}, COORDSYS="EQU")
    found = Dataset.open(folder).mask("cap")
    _, dec_there = equatorial(128)
    parts = healpy.reorder(dec_there, r2n=True).reshape(N_PIX, -1)  # of 0.46 deg; those of the mask have 0.92
    highest = parts.max(axis=1)[healpy.ring2nest(8, np.arange(N_PIX))]
    assert found[highest > 51].all()
    assert not found[highest < 49].any()


def test_equatorial_counts_keep_their_pixels(small_folder: Folder, write_table: Write) -> None:
    """Region, exposure and templates come to them; a frame that would turn them is refused."""
    folder = instead(small_folder(glow(file="glow.npy") + '[masks.cap]\nfile = "m.npy"\n'), "counts", 'file = "x.fits"')
    write_table(folder / "x.fits", {"X": COUNTS}, COORDSYS="EQU")
    _, fine_lat = healpy.pix2ang(64, np.arange(12 * 64**2), lonlat=True)
    np.save(folder / "glow.npy", 2 + np.sin(np.deg2rad(fine_lat)))
    np.save(folder / "m.npy", np.abs(fine_lat) < 20)
    dataset = Dataset.open(folder)
    assert dataset.pixels.frame == dataset.manifest.frame == "equatorial"
    np.testing.assert_array_equal(dataset.counts[0], COUNTS)
    there = SkyCoord(*healpy.pix2ang(8, np.arange(N_PIX), lonlat=True), unit="deg", frame="icrs").galactic
    parts = healpy.pix2ang(128, np.arange(12 * 128**2), nest=True, lonlat=True)
    heights = np.sin(SkyCoord(*parts, unit="deg", frame="icrs").galactic.b.rad).reshape(N_PIX, -1).mean(axis=1)
    expected = 2 + heights[healpy.ring2nest(8, np.arange(N_PIX))]
    np.testing.assert_allclose(dataset.template("glow")[0], expected, atol=1e-3)
    pixels = RegionOfInterest(latitude_min=30.0, mask="cap", exposure_regions=1).flatten(dataset)
    np.testing.assert_array_equal(pixels.index, np.flatnonzero(np.abs(there.b.deg) >= 30.0))
    np.testing.assert_allclose(pixels.lat_deg, there.b.deg[pixels.index], atol=1e-10)
    text = (folder / "dataset.toml").read_text()
    (folder / "dataset.toml").write_text('frame = "galactic"\n' + text)
    refused = refusal(lambda: Dataset.open(folder))
    assert "x.fits: its counts are in equatorial pixels, but `frame` of the dataset is 'galactic'" in refused
    other = RegionOfInterest(latitude_min=30.0, mask="cap", exposure_regions=1)
    assert pixels.digest != other.flatten(Dataset.open(small_folder('[masks.cap]\nfile = "m.npy"\n'))).digest


def energies(name: str, **columns: tuple[str | None, list[float]]) -> fits.BinTableHDU:
    parts = [fits.Column(column, "E", unit=unit, array=values) for column, (unit, values) in columns.items()]
    return fits.BinTableHDU.from_columns(parts, name=name)


BOUNDS = energies("EBOUNDS", E_MIN=("keV", [1e6, 2e6, 4e6]), E_MAX=("keV", [2e6, 4e6, 8e6]))
EDGES = energies("ENERGIES", Energy=(None, [1e3, 2e3, 4e3]))  # [MeV], where the tools of the mission name no unit


@pytest.mark.parametrize(
    ("extension", "n_energy", "field", "message"),
    [
        (BOUNDS, 1, '"C1"', None),
        (BOUNDS, 2, '["C1", "C2"]', None),
        (BOUNDS, 1, '"C2"', "EBOUNDS says 2 to 4 GeV, but in the manifest energy_edges_gev says 1 to 2 GeV"),
        (
            BOUNDS,
            2,
            '["C2", "C3"]',
            "EBOUNDS says 2 to 4, 4 to 8 GeV, but in the manifest energy_edges_gev says 1 to 2, 2",
        ),
        (EDGES, 1, '"C2"', None),
        (EDGES, 1, '"C3"', "ENERGIES says 4 GeV, but in the manifest energy_edges_gev says 1 to 2 GeV"),
        (energies("EBOUNDS", E_MIN=("GeV", [1]), E_MAX=("TeV", [0.002])), 1, '"C3"', None),
        (energies("EBOUNDS", E_MIN=("GeV", [1]), E_MAX=("TeV", [0.02])), 1, '"C3"', "EBOUNDS says 1 to 20 GeV"),
        (
            energies("EBOUNDS", E_MIN=("GeV", [1]), E_MAX=("s", [2])),
            1,
            '"C3"',
            "column E_MAX of EBOUNDS has the unit 's'",
        ),
        (energies("EBOUNDS", E_MIN=("GeV", [1])), 1, '"C3"', "EBOUNDS has no column E_MAX; it has E_MIN"),
    ],
)
def test_energies_of_the_file(
    small_folder: Folder, write_table: Write, extension: Any, n_energy: int, field: str, message: str | None
) -> None:
    folder = instead(small_folder(n_energy=n_energy), "counts", f'file = "x.fits", field = {field}')
    write_table(folder / "x.fits", {f"C{i}": COUNTS * i for i in (1, 2, 3)}, extension.copy())
    if message is None:
        assert Dataset.open(folder).counts.sum() > 0
    else:
        assert f"x.fits: {message}" in refusal(lambda: Dataset.open(folder))


CUBES = """
name = "{name}"
{edges}
counts = {{ file = "{folder}/fermi_{name}_counts_cube_hpx.fits.gz" }}
exposure = {{ file = "{folder}/fermi_{name}_exposure_cube_hpx.fits.gz" }}
psf = {{ kind = "file", file = "{folder}/fermi_{name}_psf_gc.fits.gz" }}
"""


@pytest.mark.parametrize(
    ("name", "edges", "photons", "frame", "nside"),
    [
        ("2fhl", "energy_edges_gev = [50.0, 2000.0]", [60_275], "galactic", 32),
        ("3fhl", "energy_edges_gev = [10.0, 2000.0]", [696_519], "equatorial", 64),
        ("3fhl", "energy_edges_gev = [10, 13.656981, 18.651314, 2000]", None, "equatorial", 64),
        ("3fhl", "", None, "equatorial", 64),
    ],
)
def test_cubes_of_the_mission(
    tmp_path: Path, products_dir: Path, name: str, edges: str, photons: list[int] | None, frame: str, nside: int
) -> None:
    """They are named and that is all; the frame of the exposures, which do not say it, is told."""
    (tmp_path / "dataset.toml").write_text(CUBES.format(name=name, edges=edges, folder=products_dir / name))
    dataset = Dataset.open(tmp_path)
    assert (dataset.pixels.frame, dataset.nside) == (frame, nside)
    with fits.open(products_dir / f"{name}/fermi_{name}_counts_cube_hpx.fits.gz") as hdus:
        layers = np.stack([hdus[1].data[f"CHANNEL{n}"] for n in range(1, 18)])
    n_bins = len(dataset.energy_edges_gev) - 1
    expected = {1: layers.sum(axis=0)[None], 17: layers}.get(n_bins, np.stack([*layers[:2], layers[2:].sum(axis=0)]))
    np.testing.assert_array_equal(dataset.counts, expected)
    assert photons is None or dataset.counts.sum(axis=1).tolist() == photons
    pixels = RegionOfInterest(latitude_min=20.0).flatten(dataset)
    assert (len(pixels.psf), pixels.n_energy) == (n_bins, n_bins)
    assert (pixels.exposure > 1e11).all()
    assert (pixels.exposure < 6e11).all()
    assert [note for note in dataset.notes if "frame not said" in note]


def test_energies_that_are_not_those_of_the_counts(tmp_path: Path, products_dir: Path) -> None:
    folder = products_dir / "2fhl"
    edges = "energy_edges_gev = [50.0, 100.0]"
    (tmp_path / "dataset.toml").write_text(CUBES.format(name="2fhl", edges=edges, folder=folder))
    assert "100 GeV is not an edge of its energy bins; it has 50, 62.1168, " in refusal(lambda: Dataset.open(tmp_path))
