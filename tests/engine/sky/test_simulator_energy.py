"""Simulated skies in several energy bins: sources that shine in all of them, each bin with its exposure and PSF."""

from __future__ import annotations

import hashlib
from dataclasses import replace

import healpy
import numpy as np
import pytest

from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixel_fractions import pixel_fractions
from gammasky.engine.sky.pixels import ProjectedPixels
from gammasky.engine.sky.psf import PSF, DeltaPSF, GaussianPSF
from gammasky.engine.sky.simulator import SkySimulator, SourcePopulation
from tests.engine.sky.observations import KING, flat, whole
from tests.engine.sky.products.conftest import image

SHARES = np.array([0.5, 0.2, 0.3])
GRID = np.geomspace(0.1, 100.0, 40)
WIDE = GaussianPSF(sigma_deg=8.0)


@pytest.mark.parametrize(
    ("psf", "expected"),
    [
        (KING, ("ff90e875c3bc49bb", "551e6390ed5a73d5")),
        (DeltaPSF(), ("82f893306db00d3a", "1fd278404a1ae8b6")),
        (WIDE, ("7b01c449b625dec8", "fd6cca0d6a17ad91")),
    ],
)
def test_one_bin_has_the_skies_that_it_had_before_there_were_several(psf: PSF, expected: tuple[str, str]) -> None:
    """Checksums of counts and sources from the code of one bin alone, to the last bit."""
    rng = np.random.default_rng(0)
    draws = rng.uniform(0.0, 1.0, (6, 400))[2 * [KING, DeltaPSF(), WIDE].index(psf) :]
    pixels = flat(8, np.arange(200), np.arange(200, 400), exposure=np.linspace(0.5, 2.0, 400), psf=psf)
    populations = [SourcePopulation(name, of, GRID, GRID**-1.8) for name, of in zip("ab", draws, strict=False)]
    counts, lists = SkySimulator(pixels).draw_with_sources(np.full(200, 3.0), populations, n=3, seed=5)
    found = lists[2]
    parts = counts.tobytes(), found.counts.tobytes() + found.pixel.tobytes()
    assert tuple(hashlib.sha256(part).hexdigest()[:16] for part in parts) == expected


def sphere(nside: int, psf: PSF | tuple[PSF, ...]) -> tuple[Observation, np.ndarray]:
    """The whole sphere in three bins, half of it fitted, and exposures (3, npix) that differ by bin and hemisphere."""
    n = 12 * nside**2
    exposure = np.array([1.0, 0.6, 1.7])[:, None] * np.where(np.arange(n) < n // 2, 1.0, [[1.2], [0.8], [1.0]])
    pixels = whole(nside, n_energy=3, exposure=exposure.ravel(), psf=psf)
    return pixels, exposure


def test_counts_have_the_means_and_covariances_of_a_compound_poisson_process() -> None:
    """Cov(k_e, k_e') = phi_e phi_e' eps_e eps_e' N E[S^2], and the mean besides for e = e'; in every pixel."""
    pixels, exposure = sphere(1, DeltaPSF())
    smooth, expected = np.linspace(0.5, 4.0, 36), np.linspace(0.3, 2.0, 12)
    population = SourcePopulation("p", expected, GRID, np.where(GRID > 9.0, GRID**-4.0, 0.0), SHARES)
    n = 12_000
    counts = SkySimulator(pixels).draw(smooth, [population], n=n, seed=1).reshape(n, 3, 12)
    s = GRID[GRID > 9.0]  # a power law of slope -4 in between
    first, second, fourth = (
        np.sum((s[1:] ** (k - 3) - s[:-1] ** (k - 3)) / (k - 3)) if k != 3 else np.log(s[-1] / s[0]) for k in (1, 2, 0)
    )
    per_s = SHARES[:, None] * exposure
    mean = smooth.reshape(3, 12) + per_s * expected * first / fourth
    theory = per_s[:, None] * per_s * expected * second / fourth + np.eye(3)[:, :, None] * mean
    deviation = counts - mean
    products = deviation[:, :, None] * deviation[:, None]
    for found, wanted in ((deviation + mean, mean), (products, theory)):
        pull = (found.mean(axis=0) - wanted) / (found.std(axis=0) / np.sqrt(n))
        assert np.abs(pull).max() < 4.5
        assert np.sqrt(np.mean(pull**2)) == pytest.approx(1.0, abs=0.4)
    different = deviation[:, :, :1] * deviation[:, :, 1:2]  # independent pixels share no source
    assert np.abs(different.mean(axis=0) / (different.std(axis=0) / np.sqrt(n))).max() < 4.0


def test_with_a_psf_bins_share_the_sources_of_every_pixel_around() -> None:
    """Cov = phi_e phi_e' N E[S^2] sum_f rho(f) f^2 of an isotropic population, the PSF being the same in all bins."""
    nside, s, number, n = 4, 30.0, 0.5, 400
    line = np.array([s, s * (1 + 1e-12)]), np.ones(2)
    fractions = pixel_fractions(WIDE, nside, n_positions=1024, cache=False)
    squares = np.sum(fractions.weight * fractions.fraction**2)
    pixels = whole(nside, n_energy=3, psf=WIDE)
    population = SourcePopulation("p", np.full(192, number), *line, SHARES)
    counts = SkySimulator(pixels).draw(np.zeros(576), [population], n=n, seed=2).reshape(n, 3, 192)
    deviation = counts - number * s * SHARES[:, None]
    products = np.mean(deviation[:, :, None] * deviation[:, None], axis=-1)  # over pixels, for each sky
    theory = number * s**2 * squares * np.outer(SHARES, SHARES) + np.diag(number * s * SHARES)
    pull = (products.mean(axis=0) - theory) / (products.std(axis=0) / np.sqrt(n))
    assert np.abs(pull).max() < 4.0
    assert squares < 0.3  # what it would be without the PSF is far off


@pytest.mark.parametrize("delta_in", [None, 1])
def test_every_bin_has_its_own_psf(delta_in: int | None) -> None:
    """Photons of one bright source within the radius that holds half of them, by bin; a bin may have no PSF at all."""
    nside, widths = 64, (12.0, 6.0, 3.0)
    psfs: list[PSF] = [GaussianPSF(sigma_deg=width) for width in widths]
    if delta_in is not None:
        psfs[delta_in] = DeltaPSF()
    n = 12 * nside**2
    centre = healpy.ang2pix(nside, 30.0, 40.0, lonlat=True)
    expected = np.where(np.arange(n) == centre, 30.0, 0.0)
    population = SourcePopulation("p", expected, np.array([1000.0, 1001.0]), np.ones(2), SHARES)
    simulator = SkySimulator(whole(nside, n_energy=3, psf=tuple(psfs)))
    counts, (found,) = simulator.draw_with_sources(np.zeros(3 * n), [population], seed=3)
    counts = counts[0].reshape(3, n)
    np.testing.assert_array_equal(counts.sum(axis=1), found.photons.sum(axis=0))
    distance = healpy.rotator.angdist(healpy.pix2vec(nside, centre), healpy.pix2vec(nside, np.arange(n)))
    for e, width in enumerate(widths):
        total = counts[e].sum()
        assert total == pytest.approx(SHARES[e] * found.s.sum(), abs=4 * np.sqrt(total))
        if e == delta_in:
            assert counts[e, centre] == total
            continue
        within = distance < np.deg2rad(width) * np.sqrt(2 * np.log(2))  # of half the photons, on a plane
        share = psfs[e].density(distance[within]).sum() * np.pi / (3 * nside**2)
        assert share == pytest.approx(0.5, abs=0.03)
        assert counts[e, within].sum() / total == pytest.approx(share, abs=2 / np.sqrt(total) + 1e-3)


def test_photons_on_a_projected_grid_have_their_own_bin_and_psf() -> None:
    """The same of a grid of 40 x 30 deg: a source in the middle, whose photons leave it in one of two bins."""
    header = image(np.zeros((30, 40)), ("GLON-ZEA", "GLAT-ZEA"), CRVAL1=40.0, CRVAL2=60.0).header
    grid = ProjectedPixels.of_header(header, (30, 40), "grid")
    lon, lat = (np.tile(values, 2) for values in grid.galactic)
    pixels = replace(
        whole(1, n_energy=2, psf=(GaussianPSF(sigma_deg=0.02), GaussianPSF(sigma_deg=2.0))),
        grid=grid, index=np.arange(2400), lon_deg=lon, lat_deg=lat, n_fit=2400, n_region=2400,
        exposure=np.repeat([1.0, 0.5], 1200),
    )  # fmt: skip
    middle = 15 * 40 + 20
    expected = np.where(np.arange(1200) == middle, 40.0, 0.0)
    population = SourcePopulation("p", expected, np.array([200.0, 201.0]), np.ones(2), (0.3, 0.7))
    counts, (found,) = SkySimulator(pixels).draw_with_sources(np.zeros(2400), [population], seed=8)
    counts = counts[0].reshape(2, 30, 40)
    for e, per_s in enumerate((0.3, 0.35)):
        assert found.photons[:, e].sum() == pytest.approx(per_s * found.s.sum(), rel=4 / np.sqrt(60 * len(found.s)))
    np.testing.assert_array_equal(counts.sum(axis=(1, 2)), found.photons.sum(axis=0))  # far from the edges
    assert counts[0, 15, 20] > 0.9 * counts[0].sum()
    from_middle = np.hypot(*np.mgrid[-15:15, -20:20])
    assert np.average(from_middle**2, weights=counts[1]) == pytest.approx(2 * 2.0**2 + 1 / 3, rel=0.12)


def test_the_list_of_sources_says_what_they_are() -> None:
    """S, flux and photons by bin, with a spectrum in which S is itself a flux; the exposure is that of the source."""
    exposure = np.repeat([[2e11], [5e11]], 48, axis=1)
    pixels = replace(
        whole(2, n_energy=2, exposure=exposure.ravel(), psf=WIDE), reference_exposure=np.array([1e11, 4e11])
    )
    spectrum = np.array([0.7, 0.2])  # of the flux in a wider band
    line = np.array([1e-9, 1.0000001e-9]), np.ones(2)
    population = SourcePopulation("p", np.full(48, 5.0), *line, spectrum * pixels.reference_exposure)
    _, (found,) = SkySimulator(pixels).draw_with_sources(np.zeros(96), [population], seed=4)
    np.testing.assert_allclose(found.s, 1e-9, rtol=1e-6)
    np.testing.assert_allclose(found.flux, 0.9e-9, rtol=1e-6)
    mean = 1e-9 * spectrum * [2e11, 5e11]
    error = np.sqrt(mean / len(found.s))
    np.testing.assert_allclose(found.photons.mean(axis=0), mean, atol=4 * error.max())
    np.testing.assert_array_equal(found.counts, found.photons.sum(axis=1))
    correlation = np.corrcoef(found.photons.T)[0, 1]  # of one S: independent, from random numbers of their own
    assert abs(correlation) < 4 / np.sqrt(len(found.s))


def test_a_further_bin_leaves_the_others_as_they_are(monkeypatch: pytest.MonkeyPatch) -> None:
    """Every number has its own address; a sky depends on its seed and number alone."""
    populations = [SourcePopulation(name, np.full(192, 0.5), GRID, GRID**-1.8, SHARES) for name in "ab"]
    pixels = whole(4, n_energy=3, psf=(WIDE, KING, DeltaPSF()))
    counts, lists = SkySimulator(pixels).draw_with_sources(np.ones(576), populations, n=4, seed=6)
    fewer = [replace(population, shares=SHARES[:2]) for population in populations]
    two = SkySimulator(whole(4, n_energy=2, psf=(WIDE, KING))).draw(np.ones(384), fewer, n=4, seed=6)
    np.testing.assert_array_equal(counts[:, :384], two)
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "3")
    third, (found,) = SkySimulator(pixels).draw_with_sources(np.ones(576), populations, seed=6, first=2)
    np.testing.assert_array_equal(third[0], counts[2])
    np.testing.assert_array_equal(found.photons, lists[2].photons)
    assert found.photons.shape == (len(found.s), 3)


def test_by_bin_takes_the_groups_of_pixels_apart() -> None:
    """Fitted, masked and surrounding pixels of every bin, one after the other in the flat order."""
    pixels = replace(flat(2, np.arange(20), np.arange(20, 30), n_energy=2), n_fit=24)
    group = pixels.index[:40].reshape(2, 20)
    order = np.concatenate([group[:, :12].ravel(), group[:, 12:].ravel(), pixels.index[40:]])
    pixels = replace(pixels, index=order)
    for end, width in ((24, 12), (40, 20), (60, 30)):
        found = pixels.by_bin(np.stack([order[:end], -order[:end]]))
        np.testing.assert_array_equal(found[0], np.arange(width) + 48 * np.arange(2)[:, None])
        np.testing.assert_array_equal(found[1], -found[0])
    np.testing.assert_array_equal(pixels.places.ravel()[order[:40]], np.arange(40))
    assert (np.delete(pixels.places.ravel(), order[:40]) == -1).all()
