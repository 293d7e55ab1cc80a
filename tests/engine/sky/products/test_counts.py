"""Counts cubes: read exactly, whatever their type, order and compression; what is no such cube is refused."""

from __future__ import annotations

import gzip
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.sky.products import CountsCube
from tests.engine.sky.conftest import refusal
from tests.engine.sky.products.conftest import ebounds, energies, image, skymap, table, write

COUNTS = np.random.default_rng(1).poisson(3.0, (2, 192))


@pytest.mark.parametrize("kind", ["D", "E", "J", "I"])
@pytest.mark.parametrize("ordering", ["RING", "NESTED"])
def test_tables_of_any_type_and_order(tmp_path: Path, kind: str, ordering: str) -> None:
    stored = COUNTS[:, healpy.nest2ring(4, np.arange(192))] if ordering == "NESTED" else COUNTS
    cube = CountsCube.open(write(tmp_path / "a.fits", skymap(stored, kind=kind, ORDERING=ordering), ebounds()))
    np.testing.assert_array_equal(cube.counts, COUNTS)
    np.testing.assert_allclose(cube.energy_edges_gev, [1.0, 3.0, 10.0], rtol=1e-7)
    assert cube.counts.dtype == np.int64
    assert cube.pixels.name == "HEALPix nside 4, galactic"


def test_compressed_and_partial(tmp_path: Path) -> None:
    pixel = np.array([9, 3, 150])
    hdu = table(
        "SKYMAP", {"PIX": ("J", pixel), "CHANNEL1": ("E", [1, 2, 3]), "CHANNEL2": ("E", [4, 5, 6])},
        PIXTYPE="HEALPIX", ORDERING="RING", COORDSYS="EQU", NSIDE=4, INDXSCHM="EXPLICIT",
    )  # fmt: skip
    path = write(tmp_path / "a.fits", hdu, ebounds())
    (tmp_path / "no_matter.dat").write_bytes(gzip.compress(path.read_bytes()))
    cube = CountsCube.open(tmp_path / "no_matter.dat")
    assert cube.counts[:, pixel].tolist() == [[1, 2, 3], [4, 5, 6]]
    assert (np.delete(cube.counts, pixel, axis=1) == -1).all()
    assert cube.pixels.frame == "equatorial"
    assert cube.in_bins([1.0, 10.0])[0, pixel].tolist() == [5, 7, 9]
    assert cube.in_bins([1.0, 10.0])[0, 0] == -1


def test_images_keep_rows_and_columns(tmp_path: Path) -> None:
    values = np.arange(2 * 4 * 6, dtype=np.int32).reshape(2, 4, 6)
    cube = CountsCube.open(write(tmp_path / "a.fits", image(values), ebounds()))
    np.testing.assert_array_equal(cube.counts, values.reshape(2, 24))
    lon, lat = cube.pixels.galactic
    assert (lon[0], lat[0], lon[5], lat[-1]) == pytest.approx((2.5, -1.5, -2.5, 1.5))


def test_bins_are_added_up_between_edges_of_the_file(tmp_path: Path) -> None:
    cube = CountsCube.open(write(tmp_path / "a.fits", skymap(COUNTS), ebounds()))
    np.testing.assert_array_equal(cube.in_bins([1.0, 10.0]), COUNTS.sum(axis=0)[None])
    np.testing.assert_array_equal(cube.in_bins([3.0, 10.0]), COUNTS[1:])
    for edges, bad in (([1.0, 5.0], "5"), ([2.0, 10.0], "2"), ([1.0, 1.0005], "1.0005")):
        assert f"{bad} GeV is not an edge of its energy bins; it has 1, 3, 10 GeV" in refusal(
            lambda edges=edges: cube.in_bins(edges)
        )


BAD: list[tuple[list[Any], str]] = [
    ([skymap(COUNTS + 0.5), ebounds()], "counts must be whole numbers, got"),
    ([skymap(COUNTS - 10), ebounds()], "counts must not be negative, got"),
    ([skymap(COUNTS)], "no extension EBOUNDS with the energy bins of the counts; it has 0 (PRIMARY), 1 (SKYMAP)"),
    ([skymap(COUNTS), ebounds(np.array([1e6, 1e7]))], "EBOUNDS has 1 bins, but the cube has 2"),
    ([skymap(COUNTS), ebounds(np.array([1e6, 1e5, 1e7]))], "EBOUNDS must hold positive, rising bins without gaps"),
    ([skymap(COUNTS, COORDSYS=None), ebounds()], 'no keyword COORDSYS in the header; give this file'),
    ([skymap(COUNTS, ORDERING=None), ebounds()], "no keyword ORDERING in the header"),
    ([skymap(COUNTS, INDXSCHM="SPARSE"), ebounds()], "INDXSCHM is 'SPARSE'; expected IMPLICIT or EXPLICIT"),
    ([ebounds()], "no HEALPix table and no image; the file has 0 (PRIMARY), 1 (EBOUNDS)"),
    ([skymap(COUNTS), skymap(COUNTS, name="OTHER"), ebounds()], "several extensions with pixels; the file has 0"),
    ([image(np.ones((2, 4, 6)), ("ELON-CAR", "ELAT-CAR")), ebounds()], "expected Galactic or equatorial (ICRS, FK5)"),
    ([image(np.ones((2, 4, 6)), ("RA---CAR", "DEC--CAR"), RADESYS="FK4"), ebounds()], "RADESYS 'FK4'"),
]  # fmt: skip


@pytest.mark.parametrize(("hdus", "message"), BAD, ids=[message[:30] for _, message in BAD])
def test_what_is_no_counts_cube(tmp_path: Path, hdus: list[Any], message: str) -> None:
    path = write(tmp_path / "bad.fits", *hdus)
    assert message in refusal(lambda: CountsCube.open(path))


def test_one_of_several_candidates_is_named(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", skymap(COUNTS), skymap(2 * COUNTS, name="OTHER"), ebounds())
    np.testing.assert_array_equal(CountsCube.read(path.read_bytes(), "a", hdu="OTHER").counts, 2 * COUNTS)


def test_truncated_files(tmp_path: Path) -> None:
    content = write(tmp_path / "a.fits", skymap(COUNTS), ebounds()).read_bytes()
    (tmp_path / "a.gz").write_bytes(gzip.compress(content)[:-50])
    assert "a.gz: not a complete .gz file" in refusal(lambda: CountsCube.open(tmp_path / "a.gz"))
    assert "not a complete FITS file" in refusal(lambda: CountsCube.read(content[:-3000], "short"))


def test_kinds_are_told_apart_by_their_extensions(tmp_path: Path) -> None:
    for hdus, matches in (
        ([skymap(COUNTS), ebounds()], True),
        ([skymap(COUNTS), energies()], False),
        ([ebounds()], False),
    ):
        with fits.open(write(tmp_path / "a.fits", *hdus)) as opened:
            assert CountsCube.matches(opened) is matches


def test_cubes_of_the_mission_are_read_exactly(products_dir: Path) -> None:
    path = products_dir / "2fhl/fermi_2fhl_counts_cube_hpx.fits.gz"
    cube = CountsCube.open(path)
    with fits.open(path) as hdus:
        expected = np.stack([hdus["SKYMAP"].data[f"CHANNEL{n}"] for n in range(1, 18)])
    np.testing.assert_array_equal(cube.counts, expected)
    assert cube.counts.sum() == 60_275
    assert cube.pixels.name == "HEALPix nside 32, galactic"
    assert (cube.energy_edges_gev[0], cube.energy_edges_gev[-1]) == pytest.approx((50.0, 2000.0))
    image_cube = CountsCube.open(products_dir / "3fhl_gc/fermi-3fhl-gc-counts-cube.fits.gz")
    assert image_cube.pixels.name == "CAR 400 x 200 pixels of 0.05 deg, galactic"
    assert (image_cube.counts.sum(), image_cube.counts.shape) == (32_684, (11, 80_000))
