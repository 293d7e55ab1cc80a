"""Data folders by recipes: photons and cubes in, a data set that opens out, and a report of what was cut."""

from __future__ import annotations

import runpy
import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from gammasky.engine.errors import InputError
from gammasky.engine.model import SkyModel
from gammasky.engine.sky import Dataset, GaussianPSF, RegionOfInterest
from gammasky.engine.sky.instrument import EffectiveArea, KingTables, energy_nodes, response_psf, uniform_inclinations
from gammasky.engine.sky.maps import change_nside
from gammasky.engine.sky.photons import PhotonCuts, PhotonList, bin_photons
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.pixels.frames import rotated, vectors_of
from gammasky.engine.sky.recipes import build, read_recipe, recipe_of
from gammasky.engine.sky.recipes.counted import pixels_of
from gammasky.engine.sky.recipes.figures import draw_map
from gammasky.engine.sky.spectra import weighted_mean
from tests.engine.sky.instrument.orbits import write_area
from tests.engine.sky.photons.lists import photons, write_list
from tests.engine.sky.recipes.kitchen import (
    AXIS,
    B0,
    CUBES,
    CUTS,
    L0,
    RECIPE,
    WITH_CUBE,
    changed,
    lay_out,
    write_exposure_cube,
)


@pytest.fixture
def kitchen(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setattr("gammasky.engine.sky.recipes.report.draw_map", lambda path, *_, **__: path.touch())
    (tmp_path / "in").mkdir()
    return lay_out(tmp_path / "in")


def made(kitchen: Path, recipe: dict[str, Any]) -> Dataset:
    out = kitchen.parent / "out"
    assert build(recipe_of(recipe, "recipe"), out, base=kitchen, check=Dataset.open) == out
    assert sorted(path.name for path in kitchen.parent.iterdir() if path.name.startswith((".", "out"))) == ["out"]
    return Dataset.open(out)


def test_the_axis_is_where_the_region_is() -> None:
    np.testing.assert_allclose(
        vectors_of(np.array(L0), np.array(B0)), rotated(AXIS, "equatorial", "galactic"), atol=1e-2
    )


def test_photons_and_a_spacecraft_file_become_a_data_folder(kitchen: Path) -> None:
    dataset = made(kitchen, RECIPE)
    found = PhotonList.open(kitchen / "events.fits")
    cuts = PhotonCuts(event_class="SOURCE", event_type="FRONT", zenith_max_deg=100.0)
    whole = bin_photons([found], HealpixPixels(8), [1e3, 1e4, 1e5], cuts)
    lon, lat = HealpixPixels(8).galactic
    inside = RegionOfInterest(**RECIPE["region"]).contains(lon, lat)
    np.testing.assert_array_equal(dataset.counts[:, inside], whole.counts[:, inside])
    assert (dataset.counts[:, ~inside] == -1).all()
    # sources around the region can be simulated: the exposure is known there too
    around = RegionOfInterest(**RECIPE["region"]).flatten(dataset, around_deg=8.0)
    assert around.n_pixels > around.n_region
    assert (around.exposure > 0).all()
    # 900 s of good time, live for 9 tenths; the area falls with cos(theta) and does not depend on energy
    cosine = vectors_of(*HealpixPixels(16).galactic) @ rotated(AXIS, "equatorial", "galactic")
    table = np.clip((cosine - 0.2) / 0.8, 0.0125 / 0.8, 0.7875 / 0.8)  # of area: constant beyond the outermost centres
    expected = change_nside(1e4 * 810.0 * np.where(cosine > 0.2, table, 0.0)[None], 8, np.mean)[0]
    np.testing.assert_allclose(dataset.exposure[0][inside], expected[inside], rtol=1e-6)
    np.testing.assert_allclose(dataset.exposure[1][inside], dataset.exposure[0][inside], rtol=1e-6)
    assert np.isnan(dataset.exposure[0][vectors_of(lon, lat) @ rotated(AXIS, "equatorial", "galactic") < 0.1]).all()
    pixels = RegionOfInterest(**RECIPE["region"]).flatten(dataset)
    assert pixels.n_fit == 2 * inside.sum()
    assert pixels.counts.sum() == whole.counts[:, inside].sum()
    report = (kitchen.parent / "out/report.md").read_text()
    outside = int(whole.counts.sum() - pixels.counts.sum())
    for line in (
        "Of 3000 photons",
        f"| event type | {whole.cut['event type']} |",
        f"| zenith angle | {whole.cut['zenith angle']} |",
        f"| outside the pixels | {outside} |",
        "livetime within the good times: 810.000 s of 900.000 s",
        "zenith angle up to 100 deg",
        f"| 1 to 10 | {int(dataset.counts[0][inside].sum())} |",
        "event types 1 (FRONT)",
        "2 good time intervals, 900.0 s",
    ):
        assert line in report
    assert sorted(path.name for path in (kitchen.parent / "out/figures").iterdir()) == [
        "counts_0.png", "counts_1.png", "exposure_0.png", "exposure_1.png",
    ]  # fmt: skip


def test_a_bin_is_weighted_with_the_spectrum(kitchen: Path) -> None:
    energies, cos_edges = np.geomspace(1e2, 1e6, 17), np.linspace(0.2, 1.0, 9)
    write_area(kitchen / "area.fits", np.repeat(np.geomspace(0.1, 1.0, 16)[None], 8, axis=0), energies, cos_edges)
    area, edges = EffectiveArea.open(kitchen / "area.fits", "FRONT"), np.array([1.0, 10.0, 100.0])
    nodes = energy_nodes(edges)
    values = np.array([float(area.at(1e3 * node, np.array(0.9))) for node in nodes])
    for index in (0.0, 4.0):
        out = kitchen.parent / f"index_{index:g}"
        build(
            recipe_of(changed(RECIPE, spectral_index=index, region={"radius_max": 20.0}), "recipe"), out, base=kitchen
        )
        dataset = Dataset.open(out)
        seen = dataset.counts[0] >= 0
        expected = 810.0 * weighted_mean(nodes, values, edges, index)
        np.testing.assert_allclose(dataset.exposure[:, seen], expected[:, None] + np.zeros(seen.sum()), rtol=1e-6)


def test_cubes_become_a_data_folder(kitchen: Path) -> None:
    dataset = made(kitchen, CUBES)
    assert dataset.energy_edges_gev == pytest.approx([1.0, 10.0, 100.0])
    # exposure E / GeV, spectrum E^-2: 10^10 ln 10 / (1 / 1 - 1 / 10) in the first bin
    assert dataset.exposure[0][5] == pytest.approx(1e10 * np.log(10.0) / 0.9, rel=1e-9)
    one = changed(CUBES, energy_edges_gev=[1.0, 100.0], spectral_index=1.0, pixels={"nside": 4})
    out = kitchen.parent / "one"
    build(recipe_of(one, "recipe"), out, base=kitchen)
    coarse = Dataset.open(out)
    assert (coarse.nside, coarse.counts.shape, coarse.counts.sum()) == (4, (1, 192), dataset.counts.sum())
    assert coarse.exposure[0][5] == pytest.approx(1e10 * 99.0 / np.log(100.0), rel=1e-9)


def test_a_counts_cube_may_have_its_exposure_from_the_spacecraft_file(kitchen: Path) -> None:
    """Event types, limit of the zenith angle and good times are those of the cube, or said in the recipe."""
    recipe = changed(
        CUBES,
        exposure={
            "file": None, "spacecraft": "ft2.fits", "response": "area.fits", "livetime_nside": 8,
            "event_types": ["FRONT"], "gti": "events.fits", "zenith_max_deg": 100.0,
        },
        region=RECIPE["region"],
    )  # fmt: skip
    dataset = made(kitchen, recipe)
    cosine = vectors_of(*HealpixPixels(8).galactic) @ rotated(AXIS, "equatorial", "galactic")
    inside = dataset.counts[0] >= 0
    table = np.clip((cosine - 0.2) / 0.8, 0.0125 / 0.8, 0.7875 / 0.8)
    np.testing.assert_allclose(dataset.exposure[0][inside], (1e4 * 810.0 * table)[inside], rtol=1e-6)
    unsaid = changed(recipe, exposure={"event_types": None})
    with pytest.raises(InputError, match=r"its event types are not known; name them with `exposure.event_types`"):
        build(recipe_of(unsaid, "recipe"), kitchen.parent / "none", base=kitchen)


def test_an_exposure_cube_serves_photons_that_were_cut_alike(kitchen: Path) -> None:
    write_exposure_cube(kitchen / "cube.fits", cuts=CUTS, gti=((0.0, 400.0), (500.0, 1000.0)))
    dataset = made(kitchen, changed(WITH_CUBE, pixels={"nside": 16}))
    assert dataset.exposure[0] == pytest.approx(np.full(3072, 1e10 * np.log(10.0) / 0.9), rel=1e-6)
    assert dataset.counts.sum() == 3000


def test_maps_are_drawn_for_both_kinds_of_pixels(tmp_path: Path) -> None:
    grid = recipe_of(changed(RECIPE, pixels=GRID | {"nside": None}), "recipe").pixels
    assert grid is not None
    for name, pixels in (("sphere", HealpixPixels(4)), ("image", pixels_of(grid))):
        values = np.linspace(0.0, 9.0, pixels.n_pixels)
        values[3] = np.nan
        draw_map(tmp_path / f"{name}.png", pixels, values, name, "photons", logarithmic=name == "image")
        assert (tmp_path / f"{name}.png").read_bytes().startswith(b"\x89PNG")


GRID = {"projection": "CAR", "center_lon": L0, "center_lat": B0, "width_deg": 30, "height_deg": 20, "pixel_deg": 2}


def test_photons_in_an_image(kitchen: Path) -> None:
    dataset = made(kitchen, changed(RECIPE, pixels=GRID | {"nside": None}, region=None))
    assert dataset.counts.shape == (2, 150)
    lon, lat = dataset.pixels.galactic
    assert (lon.mean(), lat.mean()) == pytest.approx((L0, B0))
    columns = photons(3000)
    cuts = (columns["EVENT_TYPE"] & 1 > 0) & (columns["ZENITH_ANGLE"] <= 100.0)
    inside = (np.abs(columns["L"] - L0) < 15) & (np.abs(columns["B"] - B0) < 10)
    assert dataset.counts.sum() == (cuts & inside).sum() > 0
    cosine = vectors_of(lon, lat) @ rotated(AXIS, "equatorial", "galactic")
    np.testing.assert_allclose(dataset.exposure[0], 1e4 * 810.0 * np.minimum((cosine - 0.2) / 0.8, 0.984375), rtol=0.01)


def test_several_lists_by_a_pattern_and_a_limit_on_time(kitchen: Path) -> None:
    later = photons(1000, seed=9)
    later["TIME"] += 1000.0
    write_list(kitchen / "events_2.fits.gz", later, gti=((1000.0, 1400.0),))
    recipe = changed(RECIPE, photons={"files": ["events*.fits*"], "time_min_s": 300.0})
    out = kitchen.parent / "out"
    build(recipe_of(recipe, "recipe"), out, base=kitchen)
    report = (out / "report.md").read_text()
    assert "Of 4000 photons" in report
    assert "| time |" in report
    assert "livetime within the good times: 900.000 s of 1000.000 s" in report


def test_templates_masks_and_catalogues_are_copied(kitchen: Path) -> None:
    np.save(kitchen / "glow.npy", np.linspace(1.0, 2.0, 768))
    np.save(kitchen / "spot.npy", (np.arange(768) < 10).astype(int))
    (kitchen / "stars.csv").write_text("lon,lat,brightness\n1.0,2.0,3e-9\n")
    recipe = changed(
        CUBES,
        templates={"glow": {"file": "glow.npy", "unit": "intensity"}, "points": {"catalogue": "stars"}},
        masks={"spot": {"file": "spot.npy", "masked_where": 1}},
        sources={"stars": {"file": "stars.csv", "flux": "brightness"}},
        works=[{"why": "the glow", "names": ["glow"], "bibtex": "arXiv:1511.00693"}],
        thresholds_cm2_s={"stars": [1e-11, 2e-11]},
        isotropic="iso",
        citation="arXiv:1511.00693",
    )
    dataset = made(kitchen, recipe)
    np.testing.assert_array_equal(dataset.template("glow")[1], np.linspace(1.0, 2.0, 768))
    assert (dataset.template("iso") == 1).all()
    assert dataset.template("points").argmax() % 768 == HealpixPixels(8).find(vectors_of(np.array(1.0), np.array(2.0)))
    assert dataset.template_unit("iso") == "intensity"
    assert dataset.mask("spot").sum() == 10
    assert dataset.source_positions("stars").tolist() == [[1.0, 2.0]]
    assert dataset.manifest.works[0].why == "the glow"
    assert dataset.manifest.thresholds_cm2_s["stars"] == (1e-11, 2e-11)
    assert str(kitchen) not in (kitchen.parent / "out/dataset.toml").read_text()


def test_python_takes_the_keys_of_a_recipe(kitchen: Path) -> None:
    whole = made(kitchen, RECIPE)
    keys = {key: value for key, value in RECIPE.items() if key not in ("name", "psf", "energy_edges_gev")}
    again = Dataset.from_photons(
        kitchen.parent / "again", energy_edges_gev=np.array([1.0, 10.0, 100.0]), psf=GaussianPSF(sigma_deg=1.0),
        base=kitchen, **keys,
    )  # fmt: skip
    np.testing.assert_array_equal(again.counts, whole.counts)
    assert (again.name, again.psfs) == ("again", whole.psfs)
    cubes = {key: value for key, value in CUBES.items() if key != "name"}
    some = Dataset.from_products(kitchen.parent / "some", base=kitchen, energy_edges_gev=[10.0, 100.0], **cubes)
    assert some.counts.shape == (1, 768)
    with pytest.raises(InputError, match=r"unknown field 'regoin'; did you mean 'region'"):
        Dataset.from_products(kitchen.parent / "none", base=kitchen, regoin={}, **cubes)
    assert not (kitchen.parent / "none").exists()


@pytest.mark.parametrize("when", ["photons", "livetime", "end"])
def test_an_interrupt_leaves_nothing(kitchen: Path, when: str) -> None:
    seen: list[str] = []

    def progress(step: str, done: int, total: int) -> None:
        seen.append(step)
        assert 0 < done <= total
        if step == when:
            raise KeyboardInterrupt

    def check(_: Path) -> None:
        assert when == "end"
        raise KeyboardInterrupt

    before = sorted(path for path in kitchen.parent.iterdir() if path.name != "cache")
    with pytest.raises(KeyboardInterrupt):
        build(recipe_of(RECIPE, "recipe"), kitchen.parent / "out", base=kitchen, check=check, progress=progress)
    assert sorted(path for path in kitchen.parent.iterdir() if path.name != "cache") == before
    assert seen[0] == "photons"
    assert ("livetime" in seen) == (when != "photons")


@pytest.mark.data
def test_responses_of_the_mission_give_a_psf_to_each_bin(kitchen: Path, products_dir: Path) -> None:
    irf = products_dir / "irf"
    recipe = changed(
        RECIPE, psf={"kind": "response", "response": str(irf / "psf_P8R3_SOURCE_V3_FB.fits"), "sigma_deg": None},
        exposure={"response": str(irf / "aeff_P8R3_SOURCE_V3_FB.fits")},
    )  # fmt: skip
    dataset = made(kitchen, recipe)
    areas = [EffectiveArea.open(irf / "aeff_P8R3_SOURCE_V3_FB.fits", "FRONT")]
    tables = [KingTables.open(irf / "psf_P8R3_SOURCE_V3_FB.fits", "FRONT")]
    all_view = response_psf(tables, areas, uniform_inclinations(), [1.0, 10.0, 100.0]).in_bins([1.0, 10.0, 100.0])
    for found, other in zip(dataset.psfs, all_view, strict=True):
        assert found.radius(np.array(0.68)) == pytest.approx(other.radius(np.array(0.68)), rel=0.15)
    # the exposure of a pixel 60 deg off the axis, by hand
    lon, lat = dataset.pixels.galactic
    cosine = vectors_of(lon, lat) @ rotated(AXIS, "equatorial", "galactic")
    pixel = int(np.argmin(np.abs(cosine - 0.7)))
    nodes = energy_nodes(np.array([1.0, 10.0, 100.0]))
    by_hand = [
        810.0 * areas[0].at(1e3 * e, cosine[pixel]) * (np.array(areas[0].livetime_factors(1e3 * e)) @ [1, 0.9])
        for e in nodes
    ]
    expected = weighted_mean(nodes, np.array(by_hand), np.array([1.0, 10.0, 100.0]), 2.0)
    np.testing.assert_allclose(dataset.exposure[:, pixel], expected, rtol=0.03)


@pytest.mark.data
def test_the_recipe_of_the_examples_builds_the_sky_above_50_gev(
    tmp_path: Path, products_dir: Path, fermi_dir: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """By the lines of its README: maps of the Galaxy first, then the recipe."""
    monkeypatch.setenv("GAMMASKY_DATA", str(fermi_dir))
    folder = Path(__file__).parents[4] / "examples/above_50_gev"
    recipe = read_recipe(folder / "recipe.toml")
    (tmp_path / "in").mkdir()
    runpy.run_path(str(shutil.copy(folder / "galaxy.py", tmp_path / "in")), run_name="__main__")
    catalogue = "gll_psch_v08.fit.gz"
    (tmp_path / "in" / catalogue).symlink_to(products_dir / "catalogue" / catalogue)
    for name in ("events", "exposure_cube_hpx", "psf_gc"):
        (tmp_path / f"in/fermi_2fhl_{name}.fits.gz").symlink_to(products_dir / f"2fhl/fermi_2fhl_{name}.fits.gz")
    build(recipe, tmp_path / "sky", base=tmp_path / "in", check=Dataset.open)
    dataset = Dataset.open(tmp_path / "sky")
    pixels = RegionOfInterest(latitude_min=20.0).flatten(dataset)
    assert sorted(dataset.template_names) == ["bub", "ics", "iso", "pib"]
    assert SkyModel("above_50_gev", dataset).pixels.n_fit == 32_512
    assert (pixels.n_fit, int(pixels.counts.sum())) == (32_512, 21_186)
    assert pixels.exposure.mean() == pytest.approx(2.88e11, rel=0.01)
    assert float(np.rad2deg(pixels.psf[0].radius(np.array(0.68)))) == pytest.approx(0.098, abs=0.002)
