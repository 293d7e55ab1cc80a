"""Datasets: the Fermi files, small ones of our own, file formats, resolutions, and bad input."""

from __future__ import annotations

import hashlib
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import healpy
import numpy as np
import pytest
from astropy.io import fits

from gammasky.engine.errors import InputError
from gammasky.engine.sky import Dataset, GaussianPSF, KingPSF, RegionOfInterest

N_PIX = 768
Folder = Callable[..., Path]


def entry(table: str, name: str, **settings: object) -> str:
    values = "\n".join(f"{key} = {value!r}".replace("True", "true") for key, value in settings.items())
    return f"[{table}.{name}]\n{values}\n"


def template(**settings: object) -> str:
    return entry("templates", "glow", **({"unit": "intensity"} | settings))


def write_healpix(path: Path, columns: dict[str, np.ndarray], nested: bool = False, **cards: object) -> None:
    """A HEALPix table with 1024 or fewer pixels to a row, as healpy writes it; big-endian on disk."""
    columns_fits = []
    for name, values in columns.items():
        width = min(1024, len(values))
        columns_fits.append(fits.Column(name=name, format=f"{width}E", array=values.reshape(-1, width)))
    table = fits.BinTableHDU.from_columns(columns_fits)
    table.header.update({"PIXTYPE": "HEALPIX", "ORDERING": "NESTED" if nested else "RING", **cards})
    table.writeto(path, overwrite=True)


# ---------------------------------------------------------------- the Fermi files


def test_fermi_counts_and_checksums(fermi_dir: Path) -> None:
    dataset = Dataset.open("fermi", fermi_dir)
    assert (dataset.name, dataset.nside, dataset.counts.shape, dataset.counts.dtype) == (
        "fermi",
        128,
        (1, 196608),
        np.int64,
    )
    assert dataset.energy_edges_gev.tolist() == [2.0, 20.0]
    assert dataset.counts.sum() == 1_988_886
    sums = dict(reversed(line.split()) for line in (fermi_dir / "SHA256SUMS").read_text().splitlines())
    assert {f"./{file}": digest for file, digest in dataset.checksums.items()}.items() <= sums.items()
    assert set(dataset.checksums) == {"maps/fermidata_counts.npy", "maps/fermidata_exposure.npy"}
    assert isinstance(dataset.psf, KingPSF)


def test_every_fermi_template_and_mask_can_be_read(fermi_dir: Path) -> None:
    dataset = Dataset.open("fermi", fermi_dir)
    assert len(dataset.template_names) == 20
    for name in dataset.template_names:
        values = dataset.template(name)
        assert values.shape == (1, 196608)
        assert values.dtype == np.float64
        assert (values >= 0).all()
        assert dataset.template(name) is values
    assert {name: int(dataset.mask(name).sum()) for name in dataset.mask_names} == {
        "3fgl_0p8deg": 26740,
        "3fgl_95pct": 10329,
        "4fgl_95pct": 16086,
    }
    assert dataset.template_unit("iso") == "counts"
    assert dataset.template_unit("f98") == "intensity"
    np.testing.assert_array_equal(dataset.template("f98"), dataset.template("macias2019"))


def test_bulge_map_against_its_image(fermi_dir: Path) -> None:
    """Bilinear interpolation of the image at pixel centres, by plain arithmetic on its 0.2 deg grid."""
    image = fits.getdata(fermi_dir / "bulge" / "Bulge_modulated_Coleman_etal_2019_Normalized.fits").astype(float)
    sky = Dataset.open("fermi", fermi_dir).template("coleman2019")[0]
    for lon, lat in ((3.0, 4.0), (-5.0, 2.5), (8.0, -7.0), (0.5, -3.0)):
        pixel = healpy.ang2pix(128, lon, lat, lonlat=True)
        pixel_lon, pixel_lat = healpy.pix2ang(128, pixel, lonlat=True)
        column, row = 99.5 - ((pixel_lon + 180) % 360 - 180) / 0.2, 99.5 + pixel_lat / 0.2
        i, j = int(row), int(column)
        a, b = row - i, column - j
        near = (1 - a) * ((1 - b) * image[i, j] + b * image[i, j + 1]) + a * (
            (1 - b) * image[i + 1, j] + b * image[i + 1, j + 1]
        )
        assert sky[pixel] == pytest.approx(near, rel=0.02)
    assert sky[healpy.ang2pix(128, 60.0, 0.0, lonlat=True)] == 0.0


def test_fermi_is_found_by_variable_and_by_sibling_folder(
    fermi_dir: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GAMMASKY_DATA", str(fermi_dir))
    assert Dataset.open("fermi").folder == fermi_dir
    monkeypatch.delenv("GAMMASKY_DATA")
    (tmp_path / "shared").mkdir()
    (tmp_path / "shared" / "fermi").symlink_to(fermi_dir)
    (tmp_path / "work" / "deep").mkdir(parents=True)
    monkeypatch.chdir(tmp_path / "work" / "deep")
    assert Dataset.open("fermi").folder == tmp_path / "shared" / "fermi"


def test_fermi_not_found_says_where_it_looked(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("XDG_CACHE_HOME", str(tmp_path / "cache"))
    monkeypatch.setenv("GAMMASKY_DATA", str(tmp_path / "elsewhere"))
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"elsewhere.*cache.*shared/fermi.*gammasky data fetch fermi"):
        Dataset.open("fermi")
    with pytest.raises(InputError, match=r"not found in .*nowhere, .*nowhere/fermi; run"):
        Dataset.open("fermi", tmp_path / "nowhere")


# ---------------------------------------------------------------- our own files


def test_folder_or_manifest_opens_the_same(small_folder: Folder) -> None:
    folder = small_folder()
    first, second = Dataset.open(folder), Dataset.open(str(folder / "dataset.toml"))
    np.testing.assert_array_equal(first.counts, second.counts)
    assert first.psf == GaussianPSF(sigma_deg=0.5)
    assert first.checksums["counts.npy"] == hashlib.sha256((folder / "counts.npy").read_bytes()).hexdigest()


@pytest.mark.parametrize("nested", [False, True])
def test_healpix_fits_in_either_ordering(small_folder: Folder, nested: bool) -> None:
    folder = small_folder(template(file="glow.fits", field="B"))
    sky = np.random.default_rng(1).uniform(1, 2, N_PIX).astype(np.float32)
    stored = sky[healpy.nest2ring(8, np.arange(N_PIX))] if nested else sky
    write_healpix(folder / "glow.fits", {"A": 0 * sky, "B": stored}, nested)
    values = Dataset.open(folder).template("glow")
    np.testing.assert_array_equal(values[0], sky)
    assert values.dtype.isnative


def test_nested_npy(small_folder: Folder) -> None:
    folder = small_folder(template(file="glow.npy", ordering="nested"))
    sky = np.random.default_rng(1).uniform(1, 2, N_PIX)
    np.save(folder / "glow.npy", sky[healpy.nest2ring(8, np.arange(N_PIX))])
    np.testing.assert_array_equal(Dataset.open(folder).template("glow")[0], sky)


@pytest.mark.parametrize("nside", [4, 8, 32])
def test_resolutions_against_healpy(small_folder: Folder, nside: int) -> None:
    folder = small_folder(template(file="glow.npy") + entry("masks", "spots", file="spots.npy", masked_where=0))
    rng = np.random.default_rng(2)
    sky, spots = rng.uniform(1, 2, 12 * nside**2), (rng.uniform(size=12 * nside**2) > 0.05).astype(int)
    np.save(folder / "glow.npy", sky)
    np.save(folder / "spots.npy", spots)
    dataset = Dataset.open(folder)
    np.testing.assert_allclose(dataset.template("glow")[0], healpy.ud_grade(sky, 8), rtol=1e-13)
    np.testing.assert_array_equal(dataset.mask("spots"), healpy.ud_grade(1.0 - spots, 8) > 0)


def test_fine_counts_are_summed(small_folder: Folder) -> None:
    folder = small_folder()
    fine = np.random.default_rng(3).poisson(1.0, 12 * 32**2)
    np.save(folder / "counts.npy", fine)
    counts = Dataset.open(folder).counts
    assert counts.sum() == fine.sum()
    np.testing.assert_allclose(counts[0], healpy.ud_grade(fine.astype(float), 8, power=-2), atol=1e-9)


def test_one_template_serves_every_energy_bin(small_folder: Folder) -> None:
    folder = small_folder(template(file="glow.npy") + template(file="two.npy").replace("glow", "two"), n_energy=2)
    np.save(folder / "glow.npy", np.arange(N_PIX))
    np.save(folder / "two.npy", np.arange(2 * N_PIX).reshape(2, -1))
    dataset = Dataset.open(folder)
    assert dataset.counts.shape == (2, N_PIX)
    np.testing.assert_array_equal(dataset.template("glow")[0], dataset.template("glow")[1])
    np.testing.assert_array_equal(dataset.template("two"), np.arange(2 * N_PIX).reshape(2, -1))


def test_energy_bins_as_columns(small_folder: Folder) -> None:
    folder = small_folder(template(file="glow.fits", field=["A", "B"]), n_energy=2)
    sky = np.random.default_rng(1).uniform(1, 2, (2, N_PIX)).astype(np.float32)
    write_healpix(folder / "glow.fits", {"A": sky[0], "B": sky[1]})
    np.testing.assert_array_equal(Dataset.open(folder).template("glow"), sky)


def test_psf_from_a_response_file(small_folder: Folder, fermi_dir: Path) -> None:
    folder = small_folder()
    manifest = (
        (folder / "dataset.toml")
        .read_text()
        .replace('kind = "gaussian", sigma_deg = 0.5', 'kind = "irf", file = "p.fits", energy_gev = 2.0')
    )
    (folder / "dataset.toml").write_text(manifest)
    source = fermi_dir / "psf" / "psf_P8R3_ULTRACLEANVETO_V3_PSF.fits"
    (folder / "p.fits").write_bytes(source.read_bytes())
    dataset = Dataset.open(folder)
    assert dataset.psf == KingPSF.from_irf(source, energy_gev=2.0)
    assert "p.fits" in dataset.checksums


# ---------------------------------------------------------------- partial maps


def write_partial(
    path: Path, pixel: np.ndarray, nested: bool = False, nside: object = 8, **columns: np.ndarray
) -> None:
    """Pixels by number, in a row each."""
    parts = [fits.Column(name="PIXEL", format="J", array=pixel)]
    parts += [fits.Column(name=name, format="D", array=values) for name, values in columns.items()]
    table = fits.BinTableHDU.from_columns(parts)
    table.header.update({"INDXSCHM": "EXPLICIT", "ORDERING": "NESTED" if nested else "RING"})
    if nside is not None:
        table.header["NSIDE"] = nside
    table.writeto(path, overwrite=True)


def of_fits(folder: Path, field: str = '"A"') -> Path:
    path = folder / "dataset.toml"
    path.write_text(path.read_text().replace('"counts.npy"', f'"counts.fits", field = {field}'))
    return folder


@pytest.mark.parametrize("nested", [False, True])
def test_partial_counts(small_folder: Folder, nested: bool) -> None:
    folder = of_fits(small_folder())
    rng = np.random.default_rng(3)
    pixel = rng.permutation(N_PIX)[:100]
    counts = rng.poisson(4.0, 100)
    write_partial(folder / "counts.fits", healpy.ring2nest(8, pixel) if nested else pixel, nested, A=counts)
    expected = np.full(N_PIX, -1)
    expected[pixel] = counts
    np.testing.assert_array_equal(Dataset.open(folder).counts[0], expected)


def test_partial_counts_of_several_energies(small_folder: Folder) -> None:
    folder = of_fits(small_folder(n_energy=2), '["A", "B"]')
    write_partial(folder / "counts.fits", np.array([5, 2]), A=np.array([1, 2]), B=np.array([3, 4]))
    counts = Dataset.open(folder).counts
    assert [counts[0, 5], counts[0, 2], counts[1, 5], counts[1, 2]] == [1, 2, 3, 4]
    assert (np.delete(counts, [2, 5], axis=1) == -1).all()


def test_fine_partial_counts_need_every_part_of_a_pixel(small_folder: Folder) -> None:
    folder = of_fits(small_folder())
    nested = np.r_[4 * 17 + np.arange(4), 4 * 30 + np.arange(3)]  # all of pixel 17 (NESTED), three quarters of 30
    write_partial(folder / "counts.fits", nested, nested=True, nside=16, A=np.arange(1, 8))
    counts = Dataset.open(folder).counts[0]
    assert counts[healpy.nest2ring(8, 17)] == 1 + 2 + 3 + 4
    assert (counts == -1).sum() == N_PIX - 1


@pytest.mark.parametrize("single", [False, True])
def test_unseen_pixels_of_a_whole_map(small_folder: Folder, single: bool) -> None:
    """HEALPix's UNSEEN, in either precision."""
    folder = small_folder()
    counts = np.random.default_rng(3).poisson(4.0, N_PIX).astype(np.float32 if single else np.float64)
    counts[100:] = healpy.UNSEEN
    np.save(folder / "counts.npy", counts)
    found = Dataset.open(folder).counts[0]
    np.testing.assert_array_equal(found[:100], counts[:100])
    assert (found[100:] == -1).all()


def test_a_region_that_was_not_observed(small_folder: Folder) -> None:
    folder = of_fits(small_folder())
    inside = healpy.query_disc(8, healpy.ang2vec(0.0, 0.0, lonlat=True), np.deg2rad(30.0))
    write_partial(folder / "counts.fits", inside, A=np.ones(len(inside)))
    dataset = Dataset.open(folder)
    pixels = RegionOfInterest(radius_max=25.0, exposure_regions=1).flatten(dataset)
    assert (pixels.counts == 1).all()
    with pytest.raises(InputError, match=r"was not observed in \d+ of its \d+ pixels .*narrow the region"):
        RegionOfInterest(radius_max=40.0, exposure_regions=1).flatten(dataset)


@pytest.mark.parametrize(
    ("pixel", "nside", "message"),
    [
        ([3, 3, 4], 8, "column PIXEL must name each pixel once, from 0 to 767"),
        ([3, 768], 8, "column PIXEL must name each pixel once, from 0 to 767"),
        ([-1, 4], 8, "column PIXEL must name each pixel once, from 0 to 767"),
        ([1, 2], None, "NSIDE is None; a partial map"),
        ([1, 2], 7, "NSIDE is 7; a partial map"),
        ([1, 2], "8", "NSIDE is '8'; a partial map"),
        ([1, 2], 2**40, "NSIDE is 1099511627776; a partial map"),
    ],
)
def test_bad_partial_maps(small_folder: Folder, pixel: list[int], nside: object, message: str) -> None:
    folder = of_fits(small_folder())
    write_partial(folder / "counts.fits", np.array(pixel), nside=nside, A=np.ones(len(pixel)))
    with pytest.raises(InputError, match=rf"counts\.fits: {message}") as caught:
        Dataset.open(folder)
    assert "\n" not in str(caught.value)


def test_pixel_numbers_that_are_no_numbers(small_folder: Folder) -> None:
    folder = of_fits(small_folder())
    parts = [fits.Column(name=name, format="D", array=np.array([1.0, np.nan])) for name in ("PIXEL", "A")]
    table = fits.BinTableHDU.from_columns(parts)
    table.header.update({"INDXSCHM": "EXPLICIT", "ORDERING": "RING", "NSIDE": 8})
    table.writeto(folder / "counts.fits")
    with pytest.raises(InputError, match="column PIXEL must name each pixel once"):
        Dataset.open(folder)


@pytest.mark.parametrize("kind", ["exposure", "template"])
def test_partial_maps_of_other_things_are_refused(small_folder: Folder, kind: str) -> None:
    folder = small_folder(template(file="part.fits", field="A"))
    write_partial(folder / "part.fits", np.arange(100), A=np.ones(100))
    if kind == "exposure":
        path = folder / "dataset.toml"
        path.write_text(path.read_text().replace('"exposure.npy"', '"part.fits", field = "A"'))
    with pytest.raises(InputError, match=r"part\.fits: .*got -1\.6375e\+30 in pixel 100"):
        Dataset.open(folder).template("glow")


# ---------------------------------------------------------------- other counts


OTHER = """
base = "{base}"
name = "other"
description = "one more photon"
counts = {{ file = "more.npy" }}
[truth]
S = 1.5
mix = [0.25, 0.75]
"""


def other_counts(folder: Path, base: object, place: str = "other") -> Path:
    """A manifest that takes the counts from a file of its own."""
    path = folder.parent / place / "sky.toml"
    path.parent.mkdir(exist_ok=True)
    path.write_text(OTHER.format(base=base))
    np.save(path.parent / "more.npy", np.load(folder / "counts.npy") + 1)
    return path


@pytest.mark.parametrize("base", ["../small", "../small/dataset.toml", "{folder}"])
def test_other_counts_take_the_rest_from_the_base(
    small_folder: Folder, base: str, monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    folder = small_folder(template(file="glow.npy"))
    np.save(folder / "glow.npy", np.arange(N_PIX))
    path = other_counts(folder, base.format(folder=folder))
    first = Dataset.open(folder)
    monkeypatch.chdir(path.parent.parent)
    for place in (path, Path("other/sky.toml")):  # paths are relative to the manifest, wherever it is opened from
        other = Dataset.open(place)
        np.testing.assert_array_equal(other.counts, first.counts + 1)
        np.testing.assert_array_equal(other.exposure, first.exposure)
        np.testing.assert_array_equal(other.template("glow"), first.template("glow"))
    assert (other.name, other.manifest.description) == ("other", "one more photon")
    assert other.manifest.truth == {"S": 1.5, "mix": (0.25, 0.75)}
    assert first.manifest.truth == {}
    digest = hashlib.sha256((path.parent / "more.npy").read_bytes()).hexdigest()
    assert other.checksums == {"more.npy": digest, "exposure.npy": first.checksums["exposure.npy"]} | {
        "glow.npy": other.checksums["glow.npy"]
    }
    assert str(tmp_path) not in str(other.checksums)


def test_other_counts_of_other_counts(small_folder: Folder) -> None:
    folder = small_folder()
    second = other_counts(folder, other_counts(folder, folder), place="second")
    np.testing.assert_array_equal(Dataset.open(second).counts, Dataset.open(folder).counts + 1)


def test_other_counts_of_a_shipped_dataset(fermi_dir: Path, tmp_path: Path) -> None:
    np.save(tmp_path / "zero.npy", np.zeros(196608, dtype=int))
    (tmp_path / "sky.toml").write_text('base = "fermi"\nname = "zero"\ncounts = { file = "zero.npy" }\n')
    sky = Dataset.open(tmp_path / "sky.toml", fermi_dir)
    assert sky.counts.max() == 0
    assert sky.psf == Dataset.open("fermi", fermi_dir).psf


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ('counts = { file = "more.npy" }', "", "field 'counts' is missing"),
        ('name = "other"', "", "field 'name' is missing"),
        ('name = "other"', "nside = 8", "unknown field 'nside'"),
        ("S = 1.5", 'S = "much"', "field 'truth.S"),
        ("more.npy", "most.npy", "most.npy: file not found"),
        ('base = "../small"', 'base = "../smal"', "smal: no dataset there|smal'"),
        ('base = "../small"', "base = 3", "field 'base'"),
        ('base = "../small"', 'base = "sky.toml"', "`base` leads back to this manifest itself"),
        ('base = "../small"', 'base = "../other/../other/sky.toml"', "`base` leads back to this manifest itself"),
        ('base = "../small"', 'base = "back.toml"', "`base` leads back to this manifest itself"),
    ],
)
def test_bad_other_counts(small_folder: Folder, old: str, new: str, message: str) -> None:
    path = other_counts(small_folder(), "../small")
    (path.parent / "back.toml").write_text(path.read_text().replace("../small", "sky.toml"))
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=message) as caught:
        Dataset.open(path)
    assert "\n" not in str(caught.value)


# ---------------------------------------------------------------- bad input


@pytest.mark.parametrize(
    ("counts", "message"),
    [
        (np.ones(700), r"counts\.npy: 700 pixels is no HEALPix size"),
        (np.ones(12 * 36), r"counts\.npy: 432 pixels is no HEALPix size"),
        (np.ones(12), r"counts at nside 1 cannot be divided to nside 8"),
        (np.full(N_PIX, np.nan), r"must be finite, got nan in pixel 0 \(768 in all"),
        (np.r_[np.ones(5), -2, np.ones(N_PIX - 6)], r"must not be negative, got -2 in pixel 5 \(1 in all"),
        (np.r_[np.ones(9), 1.5, np.ones(N_PIX - 10)], r"whole numbers, got 1\.5 in pixel 9"),
        (np.ones((2, N_PIX)), r"2 energy bins, but `energy_edges_gev` of the manifest has 1"),
        (np.ones((1, 1, N_PIX)), r"expected numbers of shape"),
        (np.array(["a"]), r"expected numbers of shape"),
    ],
)
def test_bad_counts(small_folder: Folder, counts: np.ndarray, message: str) -> None:
    folder = small_folder()
    np.save(folder / "counts.npy", counts)
    with pytest.raises(InputError, match=message) as caught:
        Dataset.open(folder)
    assert "\n" not in str(caught.value)


@pytest.mark.parametrize("value", [0.0, -1.0, np.nan, np.inf])
def test_bad_exposure(small_folder: Folder, value: float) -> None:
    folder = small_folder()
    exposure = np.ones(N_PIX)
    exposure[17] = value
    np.save(folder / "exposure.npy", exposure)
    with pytest.raises(InputError, match=r"exposure\.npy: .* in pixel 17"):
        Dataset.open(folder)


@pytest.mark.parametrize("value", [-1e-9, np.nan])
def test_bad_template(small_folder: Folder, value: float) -> None:
    folder = small_folder(template(file="glow.npy"))
    sky = np.ones(N_PIX)
    sky[3] = value
    np.save(folder / "glow.npy", sky)
    with pytest.raises(InputError, match=r"glow\.npy: values must .* in pixel 3"):
        Dataset.open(folder).template("glow")


@pytest.mark.parametrize(
    ("mask", "message"), [(np.arange(N_PIX), "a mask has two values"), (np.ones((2, N_PIX)), "got 2 maps")]
)
def test_bad_mask(small_folder: Folder, mask: np.ndarray, message: str) -> None:
    folder = small_folder(entry("masks", "spots", file="spots.npy"))
    np.save(folder / "spots.npy", mask)
    with pytest.raises(InputError, match=message):
        Dataset.open(folder).mask("spots")


@pytest.mark.parametrize("keep", [0, 5, 60, 1000])
def test_truncated_npy(small_folder: Folder, keep: int) -> None:
    folder = small_folder()
    path = folder / "counts.npy"
    path.write_bytes(path.read_bytes()[:keep])
    with pytest.raises(InputError, match=r"counts\.npy: not a complete \.npy file"):
        Dataset.open(folder)


def test_pickle_is_never_read(small_folder: Folder) -> None:
    folder = small_folder()
    np.save(folder / "counts.npy", np.array([{"a": 1}], dtype=object), allow_pickle=True)
    with pytest.raises(InputError, match=r"counts\.npy: not a complete \.npy file"):
        Dataset.open(folder)


@pytest.mark.parametrize("keep", [0, 100, 4000, 8000])
def test_truncated_fits(small_folder: Folder, keep: int) -> None:
    folder = small_folder(template(file="glow.fits"))
    write_healpix(folder / "glow.fits", {"A": np.ones(N_PIX)})
    content = (folder / "glow.fits").read_bytes()
    (folder / "glow.fits").write_bytes(content[:keep])
    with pytest.raises(InputError, match=r"glow\.fits: (not a complete FITS file|no extension)"):
        Dataset.open(folder).template("glow")


@pytest.mark.parametrize(
    ("settings", "cards", "message"),
    [
        ({}, {"ORDERING": "SPIRAL"}, "ORDERING is SPIRAL; expected RING or NESTED"),
        ({}, {"COORDSYS": "C"}, "COORDSYS = 'C'; expected Galactic"),
        ({}, {"INDXSCHM": "EXPLICIT", "NSIDE": 8}, "no column 'PIXEL'; the table has A"),
        ({"field": "Z"}, {}, "no column 'Z'; the table has A"),
        ({"field": 4}, {}, "no column 4; the table has A"),
        ({"hdu": 7}, {}, "no extension 7; the file has 0"),
        ({"hdu": 0}, {}, "extension 0 holds no table"),
        ({"projection": "car"}, {}, "holds no two-dimensional image"),
    ],
)
def test_unusable_fits(
    small_folder: Folder, settings: dict[str, object], cards: dict[str, object], message: str
) -> None:
    folder = small_folder(template(file="glow.fits", **settings))
    write_healpix(folder / "glow.fits", {"A": np.ones(N_PIX)}, **cards)
    with pytest.raises(InputError, match=message):
        Dataset.open(folder).template("glow")


def test_image_without_coordinates(small_folder: Folder) -> None:
    folder = small_folder(template(file="glow.fits", projection="car"))
    fits.PrimaryHDU(np.ones((4, 4))).writeto(folder / "glow.fits")
    with pytest.raises(InputError, match="no celestial WCS"):
        Dataset.open(folder).template("glow")


def test_missing_file_and_unknown_names(small_folder: Folder) -> None:
    folder = small_folder(template(file="glow.npy"))
    dataset = Dataset.open(folder)
    with pytest.raises(InputError, match=r"glow\.npy: file not found"):
        dataset.template("glow")
    with pytest.raises(InputError, match="unknown template 'glo'; did you mean 'glow'"):
        dataset.template("glo")
    with pytest.raises(InputError, match="unknown template 'x'"):
        dataset.template_unit("x")
    with pytest.raises(InputError, match=r"unknown mask '3fgl' \(known: none\)"):
        dataset.mask("3fgl")
    with pytest.raises(InputError, match="unknown source catalogue"):
        dataset.source_positions("3fgl")
    with pytest.raises(InputError, match="unknown dataset 'fermy'; did you mean 'fermi'"):
        Dataset.open("fermy")
    with pytest.raises(InputError, match=r"no dataset there"):
        Dataset.open(folder / "no" / "where")


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("nside = 8", "nside = 7", "field 'nside': expected a power of 2"),
        ("nside = 8", "nside = 'a'", "field 'nside': input should be a valid integer"),
        ("nside = 8", "nsid = 8", r"(missing|did you mean 'nside')"),
        ("nside = 8", "nside = ", "not a TOML file"),
        ("[1.0, 2.0]", "[2.0, 1.0]", "two positive, rising energies"),
        ("sigma_deg = 0.5", "sigma_deg = -1", "field 'psf.sigma_deg'"),
        ('"gaussian"', '"gausian"', "field 'psf': .*gaussian"),
        ('counts = { file = "counts.npy" }', "", "field 'counts' is missing"),
        ('"counts.npy"', '"counts.npy", unti = "counts"', "unknown field 'counts.unti'; did you mean 'unit'"),
        ('"counts.npy"', '"counts.npy", unit = "flux"', "field 'counts.unit'"),
    ],
)
def test_bad_manifest(small_folder: Folder, old: str, new: str, message: str) -> None:
    path = small_folder() / "dataset.toml"
    text = path.read_text()
    assert old in text
    path.write_text(text.replace(old, new))
    with pytest.raises(InputError, match=rf"dataset\.toml: .*{message}") as caught:
        Dataset.open(path)
    assert "\n" not in str(caught.value)


def test_sky_loads_its_heavy_libraries_only_when_needed() -> None:
    heavy = "('jax', 'ray', 'healpy', 'astropy', 'reproject', 'pooch', 'scipy', 'numba')"
    code = f"import sys, gammasky.engine.sky; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
