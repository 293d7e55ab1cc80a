"""Simulated skies as files: what was written is what is read, and it is whole or not there."""

from __future__ import annotations

import os
import tomllib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from astropy.io import fits
from astropy.table import Table
from astropy.units import Unit

from gammasky.engine.sky import Dataset, Observation, RegionOfInterest
from gammasky.engine.sky.simulated import sky_name, write_sky, write_sources
from gammasky.engine.sky.simulator import SourceList

Folder = Callable[..., Path]
N_PIX = 768
TRUTH = {"S": 0.1, "odd name.1": 1e-300, "mix": [0.1 + 0.2, 0.7]}


@pytest.fixture(params=[1, 2], ids=["one bin", "two bins"])
def folder(request: pytest.FixtureRequest, small_folder: Folder) -> Path:
    return small_folder(n_energy=request.param)


@pytest.fixture
def pixels(folder: Path) -> Observation:
    region = RegionOfInterest(latitude_min=2.0, radius_max=40.0, sources=[[10.0, 10.0, 10.0]], exposure_regions=1)
    return region.flatten(Dataset.open(folder), around_deg=10.0)


def write(folder: Path, pixels: Observation, counts: np.ndarray, number: int = 3) -> Path:
    out = folder.parent / "out"
    out.mkdir(exist_ok=True)
    return write_sky(out, number, pixels, counts, base=str(folder), truth=TRUTH, description='a "quoted" \\ line')


def test_names_sort_as_numbers() -> None:
    assert [sky_name(n) for n in (0, 42, 9999)] == ["sky_0000", "sky_0042", "sky_9999"]


@pytest.mark.parametrize("part", ["region", "fitted"])
def test_what_is_written_is_read(part: str, folder: Path, pixels: Observation) -> None:
    size = pixels.n_region if part == "region" else pixels.n_fit
    counts = np.random.default_rng(1).poisson(2.0, size)
    counts[:3] = [0, 1, 999_999_937]  # beyond what single precision holds
    path = write(folder, pixels, counts)
    assert path.name == "sky_0003.toml"
    sky = Dataset.open(path)
    expected = np.full(sky.counts.size, -1)
    expected[pixels.index[:size]] = counts
    np.testing.assert_array_equal(sky.counts.ravel(), expected)
    assert sky.manifest.truth == TRUTH | {"mix": tuple(TRUTH["mix"])}  # to the last digit
    assert (sky.name, sky.manifest.description) == ("sky_0003", 'a "quoted" \\ line')
    np.testing.assert_array_equal(sky.exposure, Dataset.open(folder).exposure)


def test_the_map_is_a_partial_one(folder: Path, pixels: Observation) -> None:
    path = write(folder, pixels, np.ones(pixels.n_region, dtype=int))
    with fits.open(path.with_suffix(".fits")) as hdus:
        header, table = hdus[1].header, hdus[1].data
        assert (header["INDXSCHM"], header["ORDERING"], header["COORDSYS"].strip()) == ("EXPLICIT", "RING", "G")
        np.testing.assert_array_equal(np.sort(table["PIXEL"]), np.unique(pixels.index[: pixels.n_region] % N_PIX))
        assert [name for name in table.names if name != "PIXEL"] == [f"COUNTS_{e}" for e in range(pixels.n_energy)]


def test_the_manifest_is_plain_toml(folder: Path, pixels: Observation) -> None:
    content = tomllib.loads(write(folder, pixels, np.ones(pixels.n_region, dtype=int)).read_text())
    assert content["truth"] == TRUTH
    assert content["base"] == str(folder)
    assert content["counts"]["file"] == "sky_0003.fits"


def test_a_folder_of_skies_may_be_moved(folder: Path, pixels: Observation) -> None:
    path = write(folder, pixels, np.ones(pixels.n_region, dtype=int))
    moved = path.parent.rename(path.parent.with_name("moved")) / path.name
    assert Dataset.open(moved).checksums.keys() == {"sky_0003.fits", "exposure.npy"}


def test_an_interrupted_write_leaves_the_old_sky(
    folder: Path, pixels: Observation, monkeypatch: pytest.MonkeyPatch
) -> None:
    path = write(folder, pixels, np.ones(pixels.n_region, dtype=int))

    def interrupt(*_arguments: object) -> None:
        raise KeyboardInterrupt("in the middle")

    monkeypatch.setattr(os, "replace", interrupt)
    with pytest.raises(KeyboardInterrupt, match="in the middle"):
        write(folder, pixels, np.full(pixels.n_region, 7))
    assert sorted(file.name for file in path.parent.iterdir()) == ["sky_0003.fits", "sky_0003.toml"]
    assert Dataset.open(path).counts.max() == 1


def sources(n: int, n_energy: int = 1) -> SourceList:
    rng = np.random.default_rng(4)
    return SourceList(
        population=rng.integers(0, 2, n), lon_deg=rng.uniform(-180, 180, n), lat_deg=rng.uniform(-90, 90, n),
        s=rng.uniform(0.1, 9.0, n), flux=rng.uniform(1e-12, 1e-11, n), photons=rng.poisson(3.0, (n, n_energy)),
        pixel=rng.integers(0, N_PIX, n),
    )  # fmt: skip


def test_sources(tmp_path: Path) -> None:
    given = sources(50, 2)
    write_sources(tmp_path / "s.fits", given, ["gce", "disk population"])
    table = Table.read(tmp_path / "s.fits")
    assert [name.strip() for name in table["population"]] == [("gce", "disk population")[p] for p in given.population]
    for column, values in (("glon", given.lon_deg), ("glat", given.lat_deg), ("S", given.s), ("counts", given.counts)):
        np.testing.assert_array_equal(table[column], values)
    np.testing.assert_array_equal(table["flux"], given.flux)
    np.testing.assert_array_equal(table["counts_by_bin"], given.photons)
    assert (table["glon"].unit, table["flux"].unit) == ("deg", Unit("cm-2 s-1"))
    np.testing.assert_array_equal(table["pixel"], given.pixel)


def test_no_sources(tmp_path: Path) -> None:
    write_sources(tmp_path / "s.fits", sources(0), [])
    table = Table.read(tmp_path / "s.fits")
    assert len(table) == 0
    assert "counts_by_bin" not in table.colnames  # of one energy bin
