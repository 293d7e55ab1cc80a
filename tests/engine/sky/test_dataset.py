"""Datasets: the Fermi files, small ones of our own, resolutions, energies, other counts, and bad manifests."""

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
from gammasky.engine.sky import Dataset, GaussianPSF, KingPSF
from tests.engine.sky.conftest import N_PIX, refusal

Folder = Callable[..., Path]
GLOW = '[templates.glow]\nfile = "glow.npy"\nunit = "intensity"\n'


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


def test_a_changed_file_is_not_taken_for_that_of_a_shipped_dataset(fermi_dir: Path, tmp_path: Path) -> None:
    for path in (path for path in fermi_dir.rglob("*") if path.is_file()):
        target = tmp_path / path.relative_to(fermi_dir)
        target.parent.mkdir(parents=True, exist_ok=True)
        target.symlink_to(path.resolve())
    counts = tmp_path / "maps" / "fermidata_counts.npy"
    values = np.load(counts)
    values[0] += 1
    counts.unlink()
    np.save(counts, values)
    for opened in (lambda: Dataset.open("fermi", tmp_path), lambda: Dataset.open(tmp_path)):
        assert f"{counts}: not the file of dataset 'fermi': SHA-256 is " in refusal(opened)


# ---------------------------------------------------------------- our own files


def test_folder_or_manifest_opens_the_same(small_folder: Folder) -> None:
    folder = small_folder()
    first, second = Dataset.open(folder), Dataset.open(str(folder / "dataset.toml"))
    np.testing.assert_array_equal(first.counts, second.counts)
    assert first.psf == GaussianPSF(sigma_deg=0.5)
    assert first.checksums["counts.npy"] == hashlib.sha256((folder / "counts.npy").read_bytes()).hexdigest()


@pytest.mark.parametrize("nside", [4, 8, 32])
def test_resolutions_against_healpy(small_folder: Folder, nside: int) -> None:
    folder = small_folder(GLOW + '[masks.spots]\nfile = "spots.npy"\nmasked_where = 0\n')
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
    folder = small_folder(GLOW + GLOW.replace("glow", "two"), n_energy=2)
    np.save(folder / "glow.npy", np.arange(N_PIX))
    np.save(folder / "two.npy", np.arange(2 * N_PIX).reshape(2, -1))
    dataset = Dataset.open(folder)
    assert dataset.counts.shape == (2, N_PIX)
    np.testing.assert_array_equal(dataset.template("glow")[0], dataset.template("glow")[1])
    np.testing.assert_array_equal(dataset.template("two"), np.arange(2 * N_PIX).reshape(2, -1))


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
    assert isinstance(dataset.psf, KingPSF)
    assert dataset.psf.spe == pytest.approx(0.00456544262478, rel=1e-11)
    assert "p.fits" in dataset.checksums


def test_checksums_hang_on_nothing_that_was_read_before(small_folder: Folder) -> None:
    folder = small_folder(GLOW + '[masks.spots]\nfile = "spots.npy"\n')
    np.save(folder / "glow.npy", np.ones(N_PIX))
    np.save(folder / "spots.npy", np.arange(N_PIX) % 2)
    first, second = Dataset.open(folder), Dataset.open(folder)
    first.template("glow")
    assert first.checksums_of((), ["spots"], ()) == second.checksums_of((), ["spots"], ())
    digest = hashlib.sha256((folder / "glow.npy").read_bytes()).hexdigest()
    assert second.checksums_of(["glow"], (), ())["glow.npy"] == digest


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
    folder = small_folder(GLOW)
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


def test_missing_file_and_unknown_names(small_folder: Folder) -> None:
    folder = small_folder(GLOW)
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
    heavy = "('jax', 'ray', 'healpy', 'astropy', 'pooch', 'scipy', 'numba')"
    code = f"import sys, gammasky.engine.sky; print([name for name in {heavy} if name in sys.modules])"
    done = subprocess.run([sys.executable, "-P", "-c", code], capture_output=True, text=True, check=True)
    assert done.stdout.strip() == "[]"
