"""rho(f): exact sums, convergence, the published 15-bin file, and the cache."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from scipy.stats import binom

from gammasky.engine.errors import InputError
from gammasky.engine.sky import DeltaPSF, GaussianPSF, PixelFractions, pixel_fractions
from tests.engine.sky.observations import KING

QUICK = {"n_positions": 2048, "n_photons": 500, "cache": False}


def moment(result: PixelFractions, power: int) -> float:
    return float(np.sum(result.weight * result.fraction**power))


def test_delta_is_one_fraction() -> None:
    result = pixel_fractions(DeltaPSF(), 128)
    assert (result.fraction.tolist(), result.weight.tolist()) == ([1.0], [1.0])


def test_photons_are_conserved() -> None:
    result = pixel_fractions(KING, 128, **QUICK)
    assert moment(result, 1) == pytest.approx(1.0, abs=1e-14)
    assert (np.diff(result.fraction) > 0).all()
    assert 0 < result.fraction[0] < 1e-4
    assert result.fraction[-1] < 1


def test_narrow_psf_becomes_a_delta() -> None:
    result = pixel_fractions(GaussianPSF(sigma_deg=1e-4), 16, **QUICK)
    assert result.fraction[-1] == pytest.approx(1.0, abs=1e-12)
    assert moment(result, 2) == pytest.approx(1.0, abs=5e-3)


def test_wide_psf_is_uniform_over_the_sphere() -> None:
    """sigma of 1000 deg: every one of the 12 pixels gets a twelfth."""
    result = pixel_fractions(GaussianPSF(sigma_deg=1000.0), 1, **QUICK)
    assert moment(result, 2) == pytest.approx(1 / 12, rel=1e-2)


def test_broad_gaussian_against_its_integral() -> None:
    """sigma of many pixels: int rho f^2 df = int p^2 dOmega * pixel area = area / (4 pi sigma^2)."""
    result = pixel_fractions(GaussianPSF(sigma_deg=2.0), 128, n_positions=1024, n_photons=20_000, cache=False)
    area = 4 * np.pi / (12 * 128**2)
    assert moment(result, 2) == pytest.approx(area / (4 * np.pi * np.deg2rad(2.0) ** 2), rel=1e-2)


def test_two_seeds_agree() -> None:
    first, second = (pixel_fractions(KING, 128, n_positions=8192, cache=False, seed=seed) for seed in (1, 2))
    for power, tolerance in ((2, 1.5e-3), (3, 3e-3), (4, 4e-3)):
        assert moment(first, power) == pytest.approx(moment(second, power), rel=tolerance)
        assert moment(first, power) != moment(second, power)


def test_number_of_photons_does_not_matter() -> None:
    few = pixel_fractions(KING, 128, n_positions=8192, n_photons=1000, cache=False)
    many = pixel_fractions(KING, 128, n_positions=8192, n_photons=4000, cache=False)
    for power in (2, 3):
        assert moment(few, power) == pytest.approx(moment(many, power), rel=1e-3)


def test_published_fractions(fermi_dir: Path) -> None:
    """That file has 1,000 random photons per source, drops f < 0.01, and takes the centre of each bin for f."""
    centre, rho_over_f = np.load(fermi_dir / "psf" / "Fermi_PSF_2GeV2_nside128.npy", allow_pickle=False)
    published = centre * rho_over_f
    ours = pixel_fractions(KING, 128, n_positions=20_480, bins=2000, cache=False)
    photons = np.arange(10, 1001)
    seen = np.zeros(len(photons))
    for fraction, weight in zip(ours.fraction, ours.weight, strict=True):
        seen += weight * binom.pmf(photons, 1000, fraction)
    binned = np.bincount(np.minimum(photons * 15 // 1000, 14), seen, minlength=15)
    binned /= np.sum(binned * centre)
    error = np.sqrt(np.maximum(published, 1e-5) / 50_000) + 2e-3 * published
    np.testing.assert_array_less(np.abs(binned - published), 3.5 * error)
    for power, tolerance in ((2, 3e-3), (3, 5e-3)):
        ratio = np.sum(binned * centre**power) / np.sum(published * centre**power)
        assert ratio == pytest.approx(1.0, abs=tolerance)


def test_cache_is_used_and_rebuilt_when_damaged(tmp_path: Path) -> None:
    settings = {"n_positions": 256, "n_photons": 100, "cache_dir": tmp_path}
    first = pixel_fractions(KING, 32, **settings)
    (path,) = tmp_path.iterdir()
    np.savez(path, fraction=np.array([0.5]), weight=np.array([2.0]))
    assert pixel_fractions(KING, 32, **settings).fraction.tolist() == [0.5]
    for damage in (b"", b"not a zip", path.read_bytes()[:100]):
        path.write_bytes(damage)
        np.testing.assert_array_equal(pixel_fractions(KING, 32, **settings).fraction, first.fraction)
        assert [path] == list(tmp_path.iterdir())
    pixel_fractions(KING, 32, seed=5, **settings)
    pixel_fractions(GaussianPSF(sigma_deg=0.3), 32, **settings)
    assert len(list(tmp_path.iterdir())) == 3


@pytest.mark.parametrize(("setting", "value"), [("pixels", 100), ("n_positions", 0), ("n_photons", -1), ("bins", 0)])
def test_bad_settings(setting: str, value: int) -> None:
    settings = {"pixels": 32, "cache": False, setting: value}
    with pytest.raises(InputError, match=f"{setting.replace('pixels', 'nside')} must be"):
        pixel_fractions(KING, **settings)
