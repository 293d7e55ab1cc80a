"""Diffuse cubes, isotropic spectra and tables of point-spread functions: integrals over bins of energy."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
from astropy.io import fits
from scipy.integrate import quad

from gammasky.engine.sky.products import DiffuseCube, IsotropicSpectrum, PSFTable
from gammasky.engine.sky.spectra import integral_in_bins
from tests.engine.sky.conftest import refusal
from tests.engine.sky.products.conftest import ENERGIES_MEV, energies, image, skymap, table, write

SLOPES = np.linspace(-3.0, 1.0, 24)  # -1 among them: a logarithm
DIFFUSE = 1e-7 * (ENERGIES_MEV[:, None] / 1e3) ** SLOPES


def integral(slope: float, low_mev: float, high_mev: float) -> float:
    return float(quad(lambda e: 1e-7 * (e / 1e3) ** slope, low_mev, high_mev, epsrel=1e-12)[0])


@pytest.mark.parametrize("layout", ["image", "columns", "vectors"])
def test_diffuse_cubes_are_integrated_exactly(tmp_path: Path, layout: str) -> None:
    values = np.pad(DIFFUSE, ((0, 0), (0, 168)), constant_values=1.0)
    vectors = table(
        "SKYMAP", {"Spectra": ("3E", values.T)}, PIXTYPE="HEALPIX", ORDERING="RING", COORDSYS="GAL", NSIDE=4
    )
    hdu = {
        "image": image(DIFFUSE.reshape(3, 4, 6)), "columns": skymap(values, column="Bin", kind="E"), "vectors": vectors,
    }[layout]  # fmt: skip
    path = write(tmp_path / "a.fits", hdu, energies(unit=None if layout == "image" else "MeV"))
    found = DiffuseCube.open(path).in_bins([1.0, 2.0, 10.0])[:, :24]
    for number, (low, high) in enumerate([(1e3, 2e3), (2e3, 1e4)]):
        expected = [integral(slope, low, high) for slope in SLOPES]
        np.testing.assert_allclose(found[number], expected, rtol=2e-6 if layout == "columns" else 1e-6)
    with fits.open(path) as hdus:
        assert DiffuseCube.matches(hdus)


def test_intensity_in_another_unit(tmp_path: Path) -> None:
    path = write(tmp_path / "a.fits", image(DIFFUSE.reshape(3, 4, 6), BUNIT="ph m-2 s-1 sr-1 GeV-1"), energies())
    np.testing.assert_allclose(DiffuseCube.open(path).intensity, 1e-4 * 1e-3 * DIFFUSE)


def test_zeros_are_joined_by_straight_lines() -> None:
    values = np.array([[0.0, 2.0], [4.0, 0.0], [4.0, 0.0]])
    np.testing.assert_allclose(integral_in_bins(np.array([1.0, 3.0, 4.0]), values, np.array([1.0, 2.0, 4.0])),
                               [[1.0, 1.5], [7.0, 0.5]])  # fmt: skip


def test_bins_add_up_and_may_end_at_nodes() -> None:
    nodes, values = np.geomspace(1.0, 100.0, 9), np.random.default_rng(2).uniform(0.1, 1.0, (9, 5))
    fine = integral_in_bins(nodes, values, np.geomspace(1.0, 100.0, 33))
    whole = integral_in_bins(nodes, values, np.array([1.0, 100.0]))
    np.testing.assert_allclose(fine.sum(axis=0), whole[0], rtol=1e-12)


def test_isotropic_spectra(tmp_path: Path, products_dir: Path) -> None:
    lines = "".join(f"{e} {1e-7 * (e / 1e3) ** -2.3} 0.0\n" for e in ENERGIES_MEV.tolist())
    (tmp_path / "iso.txt").write_text("# energy intensity error\n" + lines)
    found = IsotropicSpectrum.open(tmp_path / "iso.txt").in_bins([2.0, 8.0])
    np.testing.assert_allclose(found, [integral(-2.3, 2e3, 8e3)], rtol=1e-10)
    assert "; choose bins that it covers, or say `extrapolate = true`" in refusal(
        lambda: IsotropicSpectrum.open(tmp_path / "iso.txt").in_bins([5.0, 20.0])
    )
    further = IsotropicSpectrum.open(tmp_path / "iso.txt").in_bins([0.5, 5.0, 20.0], extrapolate=True)
    np.testing.assert_allclose(further, [integral(-2.3, 5e2, 5e3), integral(-2.3, 5e3, 2e4)], rtol=1e-10)
    real = IsotropicSpectrum.open(products_dir / "irf/iso_P8R2_SOURCE_V6_v06.txt")
    assert (len(real.energies_gev), real.energies_gev[0]) == (40, 0.034171)
    assert IsotropicSpectrum.is_text((tmp_path / "iso.txt").read_bytes())


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("lon,lat\n1,2\n", "expected two or three numbers to a row"),
        ("1 2 3\n", "expected two or three numbers to a row"),
        ("1 2 3\n2 3\n", "expected two or three numbers to a row"),
        ("2 1\n1 1\n", "expected positive, rising energies"),
        ("1 1\n2 -1\n", "intensities that are not negative"),
    ],
)  # fmt: skip
def test_text_that_is_no_spectrum(text: str, message: str) -> None:
    assert message in refusal(lambda: IsotropicSpectrum.read(text.encode(), "iso.txt"))


# ---------------------------------------------------------------- point-spread functions

RADIUS = np.linspace(0, 1, 40) ** 2 * 5.0
WIDTHS = np.array([0.8, 0.5, 0.4])
EXPOSURES = np.array([1e11, 2e11, 2e11])


def gaussians() -> np.ndarray:
    return np.exp(-0.5 * (RADIUS / WIDTHS[:, None]) ** 2) / (2 * np.pi * np.deg2rad(WIDTHS[:, None]) ** 2)


def psf_hdus(density: np.ndarray | None = None, radius: np.ndarray = RADIUS) -> list[Any]:
    density = gaussians() if density is None else density
    columns = {"Energy": ("D", ENERGIES_MEV), "Exposure": ("D", EXPOSURES), "Psf": (f"{density.shape[1]}D", density)}
    return [table("PSF", columns), table("THETA", {"Theta": ("D", radius)})]


def test_the_psf_of_a_bin_is_weighted_with_exposure_and_spectrum(tmp_path: Path) -> None:
    psf_table = PSFTable.open(write(tmp_path / "a.fits", *psf_hdus()))
    (psf,) = psf_table.in_bins([2.0, 10.0], index=2.5)

    def law(values: np.ndarray, e: float) -> float:
        return float(np.exp(np.interp(np.log(e), np.log([1.0, 3.0, 10.0]), np.log(values))))

    def mean(column: int) -> float:
        nodes = EXPOSURES * gaussians()[:, column]
        return quad(lambda e: e**-2.5 * law(nodes, e), 2.0, 10.0, points=[3.0])[0]

    weight = quad(lambda e: e**-2.5 * law(EXPOSURES, e), 2.0, 10.0, points=[3.0])[0]
    for column in (0, 7, 20):
        assert psf.values[column] == pytest.approx(mean(column) / weight, rel=1e-7)
    assert psf.radius(np.array(0.0)) < 1e-6
    assert np.deg2rad(4.0) < psf.radius(np.array(1.0)) < np.deg2rad(5.0)  # all photons, not half of the sphere


def test_a_tabulated_gaussian_is_that_gaussian(tmp_path: Path) -> None:
    from gammasky.engine.sky.psf import GaussianPSF

    (psf,) = PSFTable.open(write(tmp_path / "a.fits", *psf_hdus(np.tile(gaussians()[:1], (3, 1))))).in_bins([1.0, 10.0])
    quantiles = np.linspace(0.0, 0.999, 50)
    np.testing.assert_allclose(
        psf.radius(quantiles), GaussianPSF(sigma_deg=0.8).radius(quantiles), rtol=3e-3, atol=1e-9
    )
    assert psf.density(np.deg2rad(np.array([5.01, 90.0]))).tolist() == [0.0, 0.0]


@pytest.mark.parametrize(
    ("hdus", "message"),
    [
        (psf_hdus()[:1], "no extension 'THETA'; the file has 0 (PRIMARY), 1 (PSF)"),
        (psf_hdus(radius=RADIUS[:-1]), "Psf has shape (3, 40); expected (3, 39)"),
        (psf_hdus(radius=RADIUS[::-1]), "THETA must hold rising angles of 0 to 180 deg"),
        (psf_hdus(-gaussians()), "densities and exposures must be finite and not negative"),
        ([table("PSF", {"Energy": ("D", ENERGIES_MEV)}), psf_hdus()[1]], "PSF has no column Exposure; it has Energy"),
    ],
)  # fmt: skip
def test_tables_that_are_no_psf(tmp_path: Path, hdus: list[Any], message: str) -> None:
    path = write(tmp_path / "bad.fits", *hdus)
    assert message in refusal(lambda: PSFTable.open(path))


def test_psf_of_the_mission(products_dir: Path) -> None:
    psf_table = PSFTable.open(products_dir / "2fhl/fermi_2fhl_psf_gc.fits.gz")
    (psf,) = psf_table.in_bins([50.0, 2000.0])
    assert np.rad2deg(psf.radius(np.array(0.68))) == pytest.approx(0.098, abs=0.002)
    assert "do not cover the bin 10 to 100 GeV" in refusal(lambda: psf_table.in_bins([10.0, 100.0]))
