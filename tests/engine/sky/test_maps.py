"""Maps: good where they are used, counts, masks, and damaged files."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.sky import Dataset, RegionOfInterest
from tests.engine.sky.conftest import N_PIX, glow, refusal

Folder = Callable[..., Path]
Write = Callable[..., None]
SKY = np.random.default_rng(1).uniform(1.0, 2.0, N_PIX)
COUNTS = np.random.default_rng(3).poisson(4.0, N_PIX)
NESTED = healpy.nest2ring(8, np.arange(N_PIX))
LON, LAT = healpy.pix2ang(8, np.arange(N_PIX), lonlat=True)


# ---------------------------------------------------------------- good where it is used


NO_VALUE = [np.nan, healpy.UNSEEN, np.float64(np.float32(healpy.UNSEEN))]


@pytest.mark.parametrize(
    ("name", "bad"),
    [
        *((name, bad) for name in ("counts", "exposure", "glow", "spots") for bad in NO_VALUE),
        *((name, bad) for name in ("exposure", "glow") for bad in (np.inf, -1.0)),
    ],
)
def test_maps_need_values_only_where_they_are_used(small_folder: Folder, name: str, bad: float) -> None:
    folder = small_folder(glow(file="glow.npy") + '[masks.spots]\nfile = "spots.npy"\n')
    distance = np.rad2deg(np.arccos(np.cos(np.deg2rad(LAT)) * np.cos(np.deg2rad(LON))))
    good = {"counts": COUNTS, "exposure": 1e11 * SKY, "glow": SKY, "spots": distance < 10}
    for other, values in good.items():
        np.save(folder / f"{other}.npy", np.where((distance > 30) & (other == name), bad, values))

    def used(radius_max: float) -> np.ndarray:
        dataset = Dataset.open(folder)
        region = RegionOfInterest(latitude_min=2.0, radius_max=radius_max, mask="spots", exposure_regions=1)
        return dataset.template_at("glow", region.flatten(dataset).index)

    assert len(used(25.0)) > 20
    assert refusal(lambda: used(40.0)).startswith(("region of interest: the counts map", str(folder / f"{name}.npy")))


def test_a_bad_sub_pixel_hides_in_no_mean(small_folder: Folder) -> None:
    folder = small_folder(glow(file="glow.npy"))
    fine = np.ones(12 * 16**2)
    pixels = healpy.nest2ring(16, 4 * 100 + np.array([0, 4, 8, 12]))  # in pixels 100 to 103 (NESTED)
    fine[pixels] = [-0.5, np.nan, healpy.UNSEEN, np.inf]
    np.save(folder / "glow.npy", fine)
    dataset = Dataset.open(folder)
    where = healpy.nest2ring(8, np.arange(100, 104))
    np.testing.assert_array_equal(dataset.template("glow")[0, where], [-0.5, np.nan, np.nan, np.inf])
    for pixel in where:
        refusal(lambda pixel=pixel: dataset.template_at("glow", np.array([pixel])))


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones(700), "counts.npy: 700 pixels is no HEALPix size"),
        (np.ones(12 * 36), "counts.npy: 432 pixels is no HEALPix size"),
        (np.ones(12), "counts at nside 1 cannot be divided to nside 8"),
        (np.r_[np.ones(5), -2, np.ones(N_PIX - 6)], "must not be negative, got -2 in pixel 5 (1 in all"),
        (np.r_[np.ones(9), 1.5, np.ones(N_PIX - 10)], "whole numbers, got 1.5 in pixel 9"),
        (np.full(N_PIX, np.inf), "counts must not be above 1e+09, got inf in pixel 0 (768 in all)"),
        (np.ones((2, N_PIX)), "2 energy bins, but `energy_edges_gev` of the manifest has 1"),
        (np.ones((1, 1, N_PIX)), "expected numbers of shape"),
        (np.array(["a"]), "expected numbers of shape"),
    ],
)
def test_bad_counts(small_folder: Folder, counts: np.ndarray, message: str) -> None:
    folder = small_folder()
    np.save(folder / "counts.npy", counts)
    assert message in refusal(lambda: Dataset.open(folder))


@pytest.mark.parametrize("settings", [{"field": 0}, {"hdu": 1}])
def test_arrays_have_neither_columns_nor_extensions(small_folder: Folder, settings: dict[str, object]) -> None:
    folder = small_folder(glow(file="glow.npy", **settings))
    np.save(folder / "glow.npy", SKY)
    assert f"an array has no `{next(iter(settings))}`" in refusal(lambda: Dataset.open(folder).template("glow"))


# ---------------------------------------------------------------- masks

SPOTS = np.arange(N_PIX) % 5 == 0


@pytest.mark.parametrize(
    ("values", "masked_where"),
    [(SPOTS, "true"), (1 * SPOTS, "1"), (1 - SPOTS, "0"), (255 * SPOTS, "255"), (~SPOTS, "false")],
)
def test_masks(small_folder: Folder, values: np.ndarray, masked_where: str) -> None:
    folder = small_folder(f'[masks.spots]\nfile = "spots.npy"\nmasked_where = {masked_where}\n')
    np.save(folder / "spots.npy", values)
    np.testing.assert_array_equal(Dataset.open(folder).mask("spots"), SPOTS)


def test_a_mask_of_a_part_of_the_sky(small_folder: Folder) -> None:
    folder = small_folder('[masks.spots]\nfile = "spots.npy"\n')
    np.save(folder / "spots.npy", np.where(np.arange(N_PIX) < 9, np.nan, SPOTS))
    dataset = Dataset.open(folder)
    np.testing.assert_array_equal(dataset.mask("spots", np.arange(9, 700)), SPOTS | (np.arange(N_PIX) < 9))
    assert "spots.npy: the mask has no value in 4 of the region's pixels" in refusal(
        lambda: dataset.mask("spots", np.arange(5, 700))
    )


@pytest.mark.parametrize(
    ("values", "masked_where", "message"),
    [
        (255 * SPOTS, "true", "masked_where = true marks the masked pixels; got 0, 255; correct masked_where or"),
        (0.7 * SPOTS, "true", "got 0, 0.7"),
        (np.where(SPOTS, healpy.UNSEEN, 1.0), "0", "masked_where = 0 marks the masked pixels; got 1;"),
        (1 * SPOTS, "2", "got 0, 1"),
        (0 * SPOTS, "true", "got 0;"),
        (np.arange(N_PIX) % 3, "1", "got 0, 1, 2;"),
        (254 * SPOTS + 1, "1", "got 1, 255"),
        (np.arange(N_PIX), "1", "got 0, 1, 2, 3, 4, ...;"),
        (np.full(N_PIX, np.nan), "1", "got none"),
        (np.stack([SPOTS, SPOTS]), "1", "expected one mask for all energies, got 2 maps"),
    ],
)
def test_masks_whose_values_are_not_those_declared(
    small_folder: Folder, values: np.ndarray, masked_where: str, message: str
) -> None:
    folder = small_folder(f'[masks.spots]\nfile = "spots.npy"\nmasked_where = {masked_where}\n')
    np.save(folder / "spots.npy", values)
    assert message in refusal(lambda: Dataset.open(folder).mask("spots"))


# ---------------------------------------------------------------- damage, and what is none


@pytest.mark.parametrize("kind", ["npy", "fits"])
def test_compressed_files(small_folder: Folder, write_table: Write, kind: str) -> None:
    folder = small_folder(glow(file=f"glow.{kind}.gz"))
    np.save(folder / "glow.npy", SKY)
    write_table(folder / "glow.fits", {"A": SKY})
    packed = gzip.compress((folder / f"glow.{kind}").read_bytes())
    (folder / f"glow.{kind}.gz").write_bytes(packed)
    np.testing.assert_array_equal(Dataset.open(folder).template("glow")[0], SKY)
    (folder / f"glow.{kind}.gz").write_bytes(packed[:-100])
    assert f"glow.{kind}.gz: not a complete .gz file" in refusal(lambda: Dataset.open(folder).template("glow"))


@pytest.mark.parametrize("kind", ["npy", "fits"])
@pytest.mark.parametrize("share", [0.0, 0.01, 0.3, 0.6, 0.95])
def test_truncated_files(small_folder: Folder, write_table: Write, kind: str, share: float) -> None:
    folder = small_folder(glow(file=f"glow.{kind}"))
    np.save(folder / "glow.npy", SKY)
    write_table(folder / "glow.fits", {"A": np.tile(SKY, 4)})
    content = (folder / f"glow.{kind}").read_bytes()
    (folder / f"glow.{kind}").write_bytes(content[: int(share * len(content))])
    assert refusal(lambda: Dataset.open(folder).template("glow")).startswith(
        f"{folder}/glow.{kind}: not a complete {'.npy' if kind == 'npy' else 'FITS'} file"
    )


@pytest.mark.parametrize(("missing", "whole"), [(100, True), (2870, False), (2980, False), (2 * 2880, True)])
def test_files_cut_in_another_extension(small_folder: Folder, write_table: Write, missing: int, whole: bool) -> None:
    """In the padding at the end, in the data, in the header, and before it."""
    folder = small_folder(glow())
    times = fits.BinTableHDU.from_columns([fits.Column("START", "D", array=[1.0, 2.0])], name="GTI")
    write_table(folder / "glow.fits", {"A": SKY}, times)
    content = (folder / "glow.fits").read_bytes()
    (folder / "glow.fits").write_bytes(content[:-missing])
    if whole:
        np.testing.assert_array_equal(Dataset.open(folder).template("glow")[0], SKY)
    else:
        assert "glow.fits: not a complete FITS file" in refusal(lambda: Dataset.open(folder).template("glow"))


@pytest.mark.parametrize("card", ["NAXIS1", "TFIELDS", "TFORM1", "BITPIX"])
def test_damaged_headers(small_folder: Folder, write_table: Write, card: str) -> None:
    folder = small_folder(glow())
    write_table(folder / "glow.fits", {"A": SKY})
    content = (folder / "glow.fits").read_bytes()
    start = content.rindex(card.ljust(8).encode())
    (folder / "glow.fits").write_bytes(content[:start] + b" " * 80 + content[start + 80 :])
    assert "glow.fits: not a complete FITS file" in refusal(lambda: Dataset.open(folder).template("glow"))


def test_pickle_is_never_read(small_folder: Folder) -> None:
    folder = small_folder()
    np.save(folder / "counts.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    assert "counts.npy: not a complete .npy file" in refusal(lambda: Dataset.open(folder))


@pytest.mark.parametrize("card", [{"TNULL1": -1}, {"TDISP1": "F8"}, {"OBJECT": "FULLSKY"}])
def test_keywords_that_readers_are_to_ignore(small_folder: Folder, write_table: Write, card: dict[str, object]) -> None:
    folder = small_folder(glow())
    write_table(folder / "glow.fits", {"A": SKY}, **card)
    np.testing.assert_array_equal(Dataset.open(folder).template("glow")[0], SKY)
