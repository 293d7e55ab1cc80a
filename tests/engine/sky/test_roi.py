"""Regions of interest: the numbers of the paper, every cut, masks, exposure regions, flat pixels."""

from __future__ import annotations

from collections.abc import Callable
from itertools import pairwise
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.errors import InputError
from gammasky.engine.model.spec import presets, read_model
from gammasky.engine.sky import CatalogueDiscs, Dataset, RegionOfInterest

Folder = Callable[..., Path]
ALL_SKY = {"exposure_regions": 1}
PAPER = {"latitude_min": 2.0, "radius_max": 25.0}


def inside(**cuts: object) -> set[tuple[float, float]]:
    """Which of a few positions the region holds."""
    points = np.array([(0, 0), (10, 1), (-10, 1), (10, -30), (-10, -30), (170, 60), (180, 0), (-60, -2)], dtype=float)
    kept = RegionOfInterest(**(ALL_SKY | cuts)).contains(points[:, 0], points[:, 1])
    return {(float(lon), float(lat)) for lon, lat in points[kept]}


def test_region_of_the_paper(fermi_dir: Path) -> None:
    dataset = Dataset.open("fermi", fermi_dir)
    whole = RegionOfInterest(**PAPER).flatten(dataset)
    assert (whole.n_pixels, whole.n_fit, int(whole.counts.sum())) == (8292, 8292, 194_142)
    pixels = RegionOfInterest(**PAPER, mask="3fgl_0p8deg").flatten(dataset)
    assert (pixels.n_pixels, pixels.n_fit, int(pixels.counts.sum()), int(pixels.counts.max())) == (
        8292,
        6839,
        135_202,
        103,
    )
    assert set(pixels.index) == set(whole.index)
    assert not dataset.mask("3fgl_0p8deg")[pixels.index[:6839]].any()
    assert dataset.mask("3fgl_0p8deg")[pixels.index[6839:]].all()
    assert np.bincount(pixels.region).tolist() == [977] * 7


def test_exposure_regions_of_the_paper(fermi_dir: Path) -> None:
    dataset = Dataset.open("fermi", fermi_dir)
    pixels = RegionOfInterest(**PAPER, mask="3fgl_0p8deg").flatten(dataset)
    exposure = dataset.exposure[0, pixels.index]
    means = np.array([part.mean() for part in np.array_split(np.sort(exposure[:6839]), 7)])
    np.testing.assert_allclose(pixels.exposure_ratios, means / means.mean(), rtol=1e-14)
    np.testing.assert_allclose(pixels.relative_exposure, exposure / exposure.mean(), rtol=1e-14)
    edges = [(exposure[:6839][pixels.region == r].min(), exposure[:6839][pixels.region == r].max()) for r in range(7)]
    assert all(high <= low for (_, high), (low, _) in pairwise(edges))


@pytest.mark.parametrize(
    ("cuts", "kept"),
    [
        ({"latitude_min": 2}, {(10, -30), (-10, -30), (170, 60), (-60, -2)}),
        ({"latitude_max": 2}, {(0, 0), (10, 1), (-10, 1), (180, 0), (-60, -2)}),
        ({"radius_max": 20}, {(0, 0), (10, 1), (-10, 1)}),
        ({"radius_min": 20, "radius_max": 35}, {(10, -30), (-10, -30)}),
        ({"radius_max": 1, "center_lon": 190.0, "center_lat": 60.0}, set()),
        ({"radius_max": 11, "center_lon": -180.0, "center_lat": 60.0}, {(170, 60)}),
        ({"hemisphere": "north"}, {(0, 0), (10, 1), (-10, 1), (170, 60), (180, 0)}),
        ({"hemisphere": "south"}, {(10, -30), (-10, -30), (-60, -2)}),
        ({"side": "west"}, {(-10, 1), (-10, -30), (-60, -2)}),
        ({"side": "east"}, {(0, 0), (10, 1), (10, -30), (170, 60), (180, 0)}),
        ({"longitude_min": -20, "longitude_max": 5}, {(0, 0), (-10, 1), (-10, -30)}),
    ],
)
def test_cuts(cuts: dict[str, object], kept: set[tuple[float, float]]) -> None:
    assert inside(**cuts) == kept


def test_halves_add_up(small_folder: Folder) -> None:
    dataset = Dataset.open(small_folder())
    whole = RegionOfInterest(**ALL_SKY).flatten(dataset)
    for cut, halves in (("hemisphere", ("north", "south")), ("side", ("east", "west"))):
        parts = [RegionOfInterest(**ALL_SKY, **{cut: half}).flatten(dataset).index for half in halves]
        assert sorted(np.concatenate(parts)) == sorted(whole.index)


def test_ring_against_healpy(small_folder: Folder) -> None:
    dataset = Dataset.open(small_folder())
    pixels = RegionOfInterest(latitude_min=0, radius_max=40, center_lon=30, center_lat=20, exposure_regions=1).flatten(
        dataset
    )
    disc = healpy.query_disc(8, healpy.ang2vec(30.0, 20.0, lonlat=True), np.deg2rad(40))
    np.testing.assert_array_equal(pixels.index, np.sort(disc))
    lon, lat = healpy.pix2ang(8, pixels.index, lonlat=True)
    np.testing.assert_allclose((pixels.lon_deg - lon) % 360, 0, atol=1e-12)
    np.testing.assert_array_equal(pixels.lat_deg, lat)
    assert (pixels.lon_deg > -180).all()
    assert (pixels.lon_deg <= 180).all()


def test_masks_and_sources(small_folder: Folder) -> None:
    folder = small_folder(
        '[masks.cap]\nfile = "cap.npy"\n'
        '[sources.cat]\nfile = "cat.csv"\nlon = "GLON"\nlat = "GLAT"\n'
        '[sources.fit]\nfile = "cat.fits"\n'
    )
    cap = np.zeros(768, dtype=bool)
    cap[:50] = True
    np.save(folder / "cap.npy", cap)
    (folder / "cat.csv").write_text("name,GLON,GLAT\na,10,20\nb,300,-40\n")
    columns = [fits.Column("lon", "D", array=[10.0, 300.0]), fits.Column("lat", "D", array=[20.0, -40.0])]
    fits.BinTableHDU.from_columns(columns).writeto(folder / "cat.fits")
    dataset = Dataset.open(folder)

    def masked(**settings: object) -> set[int]:
        pixels = RegionOfInterest(**ALL_SKY, **settings).flatten(dataset)
        return set(pixels.index[pixels.n_fit :].tolist())

    discs = [
        set(healpy.query_disc(8, healpy.ang2vec(lon, lat, lonlat=True), np.deg2rad(15)).tolist())
        for lon, lat in ((10.0, 20.0), (300.0, -40.0))
    ]
    assert masked(mask="cap") == masked(mask=["cap"]) == set(range(50))
    assert masked(sources=[(10.0, 20.0, 15.0)]) == discs[0]
    for name in ("cat", "fit"):
        assert masked(sources=[{"catalogue": name, "radius_deg": 15.0}]) == discs[0] | discs[1]
    assert (
        masked(mask="cap", sources=(CatalogueDiscs(catalogue="cat", radius_deg=15), (10.0, 20.0, 1.0)))
        == set(range(50)) | discs[0] | discs[1]
    )


def test_energy_bins_are_more_pixels_and_more_regions(small_folder: Folder) -> None:
    dataset = Dataset.open(small_folder(n_energy=2))
    pixels = RegionOfInterest(latitude_min=10, radius_max=60, exposure_regions=3, sources=[(0.0, 30.0, 12.0)]).flatten(
        dataset
    )
    assert pixels.n_fit % 2 == 0
    assert 0 < pixels.n_fit < pixels.n_pixels
    for group in (slice(0, pixels.n_fit), slice(pixels.n_fit, None)):
        index = pixels.index[group]
        assert (np.diff(index) > 0).all()
        np.testing.assert_array_equal(index[: len(index) // 2] + 768, index[len(index) // 2 :])
    np.testing.assert_array_equal(pixels.energy_bin, pixels.index // 768)
    np.testing.assert_array_equal(pixels.counts, dataset.counts.ravel()[pixels.index[: pixels.n_fit]])
    np.testing.assert_array_equal(pixels.region // 3, pixels.energy_bin[: pixels.n_fit])
    for energy_bin in range(2):
        here = pixels.energy_bin == energy_bin
        assert pixels.relative_exposure[here].mean() == pytest.approx(1.0, abs=1e-14)
        assert pixels.exposure_ratios[3 * energy_bin : 3 * energy_bin + 3].mean() == pytest.approx(1.0, abs=1e-14)


def test_values_and_maps_go_both_ways(small_folder: Folder) -> None:
    dataset = Dataset.open(small_folder())
    pixels = RegionOfInterest(latitude_min=10, radius_max=60, exposure_regions=1, sources=[(0.0, 30.0, 12.0)]).flatten(
        dataset
    )
    values = pixels.values(dataset.exposure)
    sky = pixels.to_map(values)
    np.testing.assert_array_equal(pixels.values(sky), values)
    assert np.isnan(sky).sum() == 768 - pixels.n_pixels
    fitted = pixels.to_map(pixels.counts, fill=-1)
    assert (fitted >= 0).sum() == pixels.n_fit
    assert fitted[fitted >= 0].sum() == pixels.counts.sum()
    with pytest.raises(InputError, match=r"map: expected shape \(1, 768\)"):
        pixels.values(dataset.exposure[0])
    with pytest.raises(InputError, match="values: expected shape"):
        pixels.to_map(np.ones(3))


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        ({"latitude_min": -1}, "'latitude_min'"),
        ({"latitude_min": "x"}, "'latitude_min'"),
        ({"latitude_min": 5, "latitude_max": 4}, "latitude_min must be below latitude_max, got 5 and 4"),
        ({"radius_min": 30, "radius_max": 30}, "radius_min must be below radius_max, got 30 and 30"),
        ({"longitude_min": 5, "longitude_max": -5}, "longitude_min must be below"),
        ({"hemisphere": "up"}, "'hemisphere'.*north"),
        ({"exposure_regions": 0}, "'exposure_regions'"),
        ({"sources": [(1.0, 2.0)]}, "'sources"),
        ({"radius_mx": 3}, "unknown field 'radius_mx'; did you mean 'radius_max'"),
    ],
)
def test_bad_settings(settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=f"region of interest: .*{message}") as caught:
        RegionOfInterest(**settings)
    assert "\n" not in str(caught.value)


def test_pixels_around_the_region(small_folder: Folder) -> None:
    """Those within the distance, after the region's own, which stay as they are."""
    dataset = Dataset.open(small_folder())
    region = RegionOfInterest(latitude_min=3.0, radius_max=40.0, exposure_regions=2)
    alone, wide = region.flatten(dataset), region.flatten(dataset, around_deg=15.0)
    assert alone.n_pixels == alone.n_region == wide.n_region
    np.testing.assert_array_equal(wide.index[: wide.n_region], alone.index)
    np.testing.assert_array_equal(wide.source_exposure[: wide.n_region], alone.source_exposure)
    np.testing.assert_array_equal(wide.counts, alone.counts)
    vectors = np.stack(healpy.pix2vec(8, np.arange(768)), axis=1)
    angles = np.degrees(np.arccos(np.clip(vectors @ vectors[alone.index].T, -1, 1))).min(axis=1)
    expected = set(np.flatnonzero(angles <= 15.0)) - set(alone.index)
    assert set(wide.index[wide.n_region :]) == expected != set()
    everywhere = region.flatten(dataset, around_deg=180.0)
    assert everywhere.n_pixels == 768
    np.testing.assert_array_equal(np.isnan(wide.to_map(np.zeros(wide.n_region))[0]).sum(), 768 - wide.n_region)


def test_exposure_of_sources_is_that_of_the_likelihood(small_folder: Folder) -> None:
    """Its mean over the pixels of an exposure region is the region's ratio."""
    pixels = RegionOfInterest(latitude_min=3.0, radius_max=60.0, exposure_regions=4).flatten(
        Dataset.open(small_folder())
    )
    for number, ratio in enumerate(pixels.exposure_ratios):
        own = pixels.source_exposure[: pixels.n_fit][pixels.region == number]
        np.testing.assert_allclose(own.mean(), ratio, rtol=1e-12)
    assert np.ptp(pixels.exposure_ratios) > 0


@pytest.mark.parametrize(
    ("settings", "message"),
    [
        (
            {"latitude_min": 50, "radius_max": 25},
            r"no pixel is inside \(HEALPix nside 8, galactic\); of 768 pixels latitude_min = 50\.0 alone leaves 168, "
            r"radius_max = 25\.0 alone leaves 34; widen one of these cuts",
        ),
        (
            {"center_lat": -60, "radius_max": 25, "hemisphere": "north"},
            r"radius_max = 25\.0 alone leaves 33, hemisphere = north alone leaves 400; widen",
        ),
        ({"latitude_min": 89}, r"no pixel is inside .*; of 768 pixels latitude_min = 89\.0 alone leaves 0; widen"),
        (
            {"longitude_min": 1, "longitude_max": 1.1},
            r"longitude_min = 1\.0 alone leaves .*, longitude_max = 1\.1 alone",
        ),
        (
            {"sources": [(0.0, 0.0, 180.0)]},
            r"all 768 pixels are masked; change .* \(sources leaves 0\)",
        ),
        ({"exposure_regions": 5000}, "exposure_regions: expected at most .* got 5000"),
        ({"mask": "3fgl"}, "unknown mask '3fgl'"),
    ],
)
def test_regions_that_do_not_fit_the_dataset(small_folder: Folder, settings: dict[str, object], message: str) -> None:
    with pytest.raises(InputError, match=message):
        RegionOfInterest(**settings).flatten(Dataset.open(small_folder()))


def test_the_default_region_is_the_whole_sky(small_folder: Folder) -> None:
    pixels = RegionOfInterest().flatten(Dataset.open(small_folder()))
    np.testing.assert_array_equal(pixels.index, np.arange(768))
    assert pixels.n_fit == 768


@pytest.mark.parametrize("preset", sorted(presets()))
def test_presets_say_their_regions(preset: str) -> None:
    """A region that is not said has no cuts: every preset states those that its numbers were made with."""
    region = read_model(preset).region
    others = {"calibration": (2.0, 12.0), "nptfit_galactic_centre": (2.0, 30.0), "above_50_gev": (20.0, 180.0)}
    others["high_latitude_10gev"] = (20.0, 180.0)
    assert (region.latitude_min, region.radius_max) == others.get(preset, (2.0, 25.0))
