"""Photon-level skies: sources, positions, source counts, photons and PSF, each against a reference of its own."""

from __future__ import annotations

from dataclasses import replace

import healpy
import numpy as np
import pytest
from scipy.stats import chi2_contingency, chisquare, kstest, poisson

from gammasky.engine.kernels.simulate.tables import LARGEST_W, radius_table
from gammasky.engine.kernels.simulate.variates import radius
from gammasky.engine.sky.psf import PSF, DeltaPSF, GaussianPSF, KingPSF
from gammasky.engine.sky.simulator import SkySimulator, SourceList, SourcePopulation
from tests.engine.sky.observations import KING, flat, whole

PSFS = [DeltaPSF(), KING, GaussianPSF(sigma_deg=3.0)]


def line(s: float) -> tuple[np.ndarray, np.ndarray]:
    """All sources with one S, but for rounding."""
    return np.array([s, s * (1 + 1e-12)]), np.ones(2)


def joined(lists: list[SourceList], field: str) -> np.ndarray:
    return np.concatenate([getattr(found, field) for found in lists])


def histogram_p(numbers: np.ndarray, mean: float) -> float:
    """Chi-square p-value of Poisson numbers, the rare ones at both ends together."""
    k = np.arange(int(poisson.isf(1e-9, mean)) + 2)
    expected = len(numbers) * poisson.pmf(k, mean)
    observed = np.bincount(numbers, minlength=len(k))[: len(k)]
    keep = expected > 8
    rest = len(numbers) - observed[keep].sum()
    return float(chisquare([*observed[keep], rest], [*expected[keep], len(numbers) - expected[keep].sum()]).pvalue)


def broken(s: np.ndarray, slopes: tuple[float, float, float] = (2.0, 1.0, -1.5)) -> np.ndarray:
    """dN/dS with breaks at 2 and 10; slopes above, between and below."""
    above, middle, below = slopes
    return np.where(s < 2, (s / 2) ** -below, np.where(s < 10, (s / 2) ** -middle, 5**-middle * (s / 10) ** -above))


GRID = np.unique(np.concatenate([np.geomspace(0.1, 2, 40), np.geomspace(2, 10, 30), np.geomspace(10, 100, 40)]))


# --- sources ----------------------------------------------------------------------------------------------------


def test_number_of_sources_is_poisson_and_their_pixels_follow_the_weights() -> None:
    pixels = whole(2)
    weight = np.random.default_rng(1).exponential(size=48) * (np.arange(48) % 5 > 0)
    expected = 12.5 * weight / weight.sum()
    population = SourcePopulation("p", expected, *line(1.0))
    _, lists = SkySimulator(pixels).draw_with_sources(np.zeros(48), [population], n=3000, seed=2)
    assert histogram_p(np.array([len(found.s) for found in lists]), 12.5) > 1e-3
    drawn = np.bincount(joined(lists, "pixel"), minlength=48)
    assert not drawn[expected == 0].any()
    share = expected[expected > 0] / expected.sum()
    assert chisquare(drawn[expected > 0], share * drawn.sum()).pvalue > 1e-3


@pytest.mark.parametrize("nside", [1, 4, 64])
@pytest.mark.parametrize("where", ["north pole", "cap", "belt", "south cap"])
def test_positions_are_uniform_in_their_pixel(nside: int, where: str) -> None:
    """Counts in the 64 sub-pixels at 8 nside."""
    n_pix = 12 * nside**2
    pixel = {"north pole": 0, "cap": nside**2 // 3, "belt": n_pix // 2 + 1, "south cap": n_pix - 2}[where]
    expected = np.zeros(n_pix)
    expected[pixel] = 30_000.0
    simulator = SkySimulator(whole(nside))
    _, (found,) = simulator.draw_with_sources(np.zeros(n_pix), [SourcePopulation("p", expected, *line(0.1))], seed=3)
    assert set(found.pixel) == {pixel}
    np.testing.assert_array_equal(healpy.ang2pix(nside, found.lon_deg, found.lat_deg, lonlat=True), pixel)
    child = healpy.ang2pix(8 * nside, found.lon_deg, found.lat_deg, nest=True, lonlat=True)
    child -= 64 * healpy.ring2nest(nside, pixel)
    assert chisquare(np.bincount(child, minlength=64)).pvalue > 1e-3
    assert np.all((found.lon_deg > -180) & (found.lon_deg <= 180))


@pytest.mark.parametrize("slopes", [(2.0, 1.0, -1.5), (5.5, 1.2, 0.0), (3.0, 2.0, 1.0)])
def test_s_follows_the_broken_power_law(slopes: tuple[float, float, float]) -> None:
    """Kolmogorov-Smirnov against the closed form, slopes 1 and 2 included."""
    population = SourcePopulation("p", np.full(12, 5000.0), GRID, 3.0 * broken(GRID, slopes))
    _, (found,) = SkySimulator(whole(1)).draw_with_sources(np.zeros(12), [population], seed=4)

    def part(low: np.ndarray, high: np.ndarray, slope: float) -> np.ndarray:
        return np.log(high / low) if slope == 1 else (high ** (1 - slope) - low ** (1 - slope)) / (1 - slope)

    def integral(s: np.ndarray) -> np.ndarray:
        above, middle, below = slopes
        total = 2**below * part(0.1, np.clip(s, 0.1, 2), below) + 2**middle * part(2.0, np.clip(s, 2, 10), middle)
        return total + 5**-middle * 10**above * part(10.0, np.clip(s, 10, 100), above)

    assert kstest(found.s, lambda s: integral(s) / integral(np.array(100.0))).pvalue > 1e-3
    assert found.s.min() >= 0.1 * (1 - 1e-12)
    assert found.s.max() <= 100 * (1 + 1e-12)


def test_pixel_position_and_s_are_independent() -> None:
    """Contingency tables of the pixel, the sub-pixel at 2 nside and the quartile of S, two by two."""
    population = SourcePopulation("p", np.full(12, 3000.0), np.array([1.0, 100.0]), np.array([1.0, 0.01]))
    _, (found,) = SkySimulator(whole(1)).draw_with_sources(np.zeros(12), [population], seed=15)
    child = healpy.ang2pix(2, found.lon_deg, found.lat_deg, nest=True, lonlat=True) % 4
    quartile = np.searchsorted(np.quantile(found.s, [0.25, 0.5, 0.75]), found.s)
    photons = np.searchsorted([-1.0, 0.0, 1.0], (found.counts - found.s) / np.sqrt(found.s))  # pull, nearly free of S
    bright = found.s > 30
    pairs = [(found.pixel, child), (found.pixel, quartile), (child, quartile)]
    pairs += [(axis[bright], photons[bright]) for axis in (found.pixel, child)]
    for first, second in pairs:
        table = np.zeros((12, 4))
        np.add.at(table, (first, second), 1)
        assert chi2_contingency(table[table.any(axis=1)]).pvalue > 1e-3


def test_photons_are_poisson_with_the_exposure_at_the_source() -> None:
    exposure = np.where(np.arange(12) < 6, 0.5, 2.0)
    population = SourcePopulation("p", np.full(12, 2000.0), *line(5.0))
    for psf in (DeltaPSF(), KING):
        simulator = SkySimulator(whole(1, exposure=exposure, psf=psf))
        counts, (found,) = simulator.draw_with_sources(np.zeros(12), [population], seed=5)
        assert histogram_p(found.counts[found.pixel < 6], 2.5) > 1e-3
        assert histogram_p(found.counts[found.pixel >= 6], 10.0) > 1e-3
        assert counts.sum() == found.counts.sum()  # the whole sphere is counted: no photon is lost


def test_from_template_counts_sources_by_the_integral_of_dnds() -> None:
    grid = np.geomspace(1.0, 100.0, 5)
    population = SourcePopulation.from_template("p", np.array([1.0, 3.0]), grid, 7.0 * grid**-2.0)
    np.testing.assert_allclose(population.expected, [7 * 0.99, 21 * 0.99], rtol=1e-13)


# --- counts -----------------------------------------------------------------------------------------------------


def test_smooth_counts_are_poisson_in_every_pixel() -> None:
    mean = np.array([0.0, 0.3, 7.0, 9.9, 10.1, 13.0, 55.0, 0.0, 1.0, 2.0, 3.0, 4.0])
    counts = SkySimulator(whole(1, psf=KING)).draw(mean, [], n=4000, seed=6)
    assert counts.dtype == np.int64
    assert not counts[:, mean == 0].any()
    assert min(histogram_p(counts[:, p], mean[p]) for p in np.flatnonzero(mean)) > 1e-3 / 10
    correlation = np.corrcoef(counts[:, mean > 0].T)
    assert np.abs(correlation[np.triu_indices(len(correlation), 1)]).max() < 4.2 / np.sqrt(4000)


def test_with_a_delta_psf_counts_are_the_sources_plus_the_smooth_part() -> None:
    """Smooth counts have addresses of their own: the same with and without sources."""
    region, around = np.arange(100, 300), np.arange(300, 768)
    pixels = flat(8, region, around, n_energy=2)
    simulator = SkySimulator(pixels)
    mean = np.linspace(0, 5, 400)
    populations = [
        SourcePopulation("a", np.full(668, 0.2), GRID, broken(GRID), (0.7, 0.3)),
        SourcePopulation("b", np.full(668, 0.1), *line(3.0), (1.0, 2.0)),
    ]
    counts, lists = simulator.draw_with_sources(mean, populations, n=4, seed=7)
    smooth = simulator.draw(mean, [], n=4, seed=7)
    for sky, found in enumerate(lists):
        sources = np.zeros((768, 2), dtype=np.int64)
        np.add.at(sources, found.pixel, found.photons)
        np.testing.assert_array_equal(counts[sky], smooth[sky] + sources.T.ravel()[pixels.index[:400]])
        assert set(found.population) == {0, 1}
        np.testing.assert_allclose(found.s[found.population == 1], 3.0, rtol=1e-11)
    np.testing.assert_array_equal(counts, simulator.draw(mean, populations, n=4, seed=7))


def test_one_pixel_counts_match_the_likelihood_with_a_delta_psf() -> None:
    """P(k) of compound Poisson counts, by its generating function with x_m from an integral over S."""
    template = np.full(48, 0.8)
    population = SourcePopulation.from_template("p", template, GRID, 0.1 * broken(GRID))
    counts = SkySimulator(whole(2)).draw(np.full(48, 1.5), [population], n=1000, seed=8).ravel()
    nodes = np.linspace(np.log(0.1), np.log(100.0), 20_001)
    s = np.exp(nodes)
    m = np.arange(1, 200)
    x = np.trapezoid(0.1 * broken(s) * s * poisson.pmf(m[:, None], s), nodes, axis=1)
    t = np.exp(2j * np.pi * np.arange(1024) / 1024)
    g = np.exp(1.5 * (t - 1) + 0.8 * ((t[:, None] ** m - 1) @ x))
    expected = np.fft.fft(g).real / 1024 * len(counts)
    keep = expected > 10
    observed = np.bincount(counts, minlength=1024)[:1024]
    rest = [observed[~keep].sum()], [expected[~keep].sum()]
    pair = np.append(observed[keep], rest[0]), np.append(expected[keep], rest[1])
    assert chisquare(pair[0], pair[1] * pair[0].sum() / pair[1].sum()).pvalue > 1e-3


def test_photons_leave_the_region() -> None:
    distance = np.rad2deg(np.arccos(np.clip(healpy.pix2vec(8, np.arange(768))[0], -1, 1)))
    region, around = np.flatnonzero(distance < 40), np.flatnonzero(distance >= 40)
    pixels = flat(8, region, around, n_energy=2, psf=GaussianPSF(sigma_deg=8.0))
    simulator, mean, second = SkySimulator(pixels), np.zeros(pixels.n_region), (0.0, 1.0)
    everywhere = SourcePopulation("p", np.ones(768), *line(10.0), second)
    counts, lists = simulator.draw_with_sources(mean, [everywhere], n=20, seed=9)
    assert not counts[:, : len(region)].any()
    assert not joined(lists, "photons")[:, 0].any()
    total, fraction = joined(lists, "counts").sum(), len(region) / 768  # isotropic: as many come in as leave
    scatter = 4 * np.sqrt(11 * total / 10 * fraction * 10)
    assert counts.sum() == pytest.approx(total * fraction, abs=scatter)
    inside = replace(everywhere, expected=np.where(np.arange(768) < len(region), 1.0, 0.0))
    counts, lists = simulator.draw_with_sources(mean, [inside], n=20, seed=9)
    assert 0.7 < counts.sum() / joined(lists, "counts").sum() < 0.95


# --- PSF --------------------------------------------------------------------------------------------------------


@pytest.mark.parametrize("psf", [KING, GaussianPSF(sigma_deg=0.2), GaussianPSF(sigma_deg=40.0)])
def test_tabulated_radii_are_those_of_the_psf_far_into_the_tail(psf: PSF) -> None:
    table = radius_table(psf.radius)
    outside = 2.0 ** -np.linspace(1e-3, 33, 200)
    got = np.array([radius(table, LARGEST_W, u) for u in outside])
    np.testing.assert_allclose(got, psf.radius(1 - outside), rtol=5e-5)
    assert radius(table, LARGEST_W, 2.0**-53) == psf.radius(np.array(1 - 2.0**-53))


@pytest.mark.parametrize("lat_deg", [0.0, 41.8, -89.97])
def test_photons_are_found_at_the_radii_of_the_psf_in_every_direction(lat_deg: float) -> None:
    """Bright sources in one pixel; counts within the PSF's quantiles, and in sectors. Pixels are small beside it."""
    nside, wide = 512, KingPSF(**(KING.model_dump() | {"spe": 0.09}))
    centre = np.array(healpy.pix2vec(nside, healpy.ang2pix(nside, 123.0, lat_deg, lonlat=True)))
    region = healpy.query_disc(nside, centre, np.deg2rad(40.0))
    expected = (region == healpy.vec2pix(nside, *centre)) * 40.0
    population = SourcePopulation("p", expected, *line(1e4))
    simulator = SkySimulator(flat(nside, region, psf=wide))
    counts, (found,) = simulator.draw_with_sources(np.zeros(len(region)), [population], seed=10)
    total = found.counts.sum()

    grid = np.pi * np.linspace(0, 1, 400_001) ** 4  # the PSF integrated once more, by the trapezoidal rule
    ring = 2 * np.pi * np.sin(grid) * wide._profile(grid)
    within = np.concatenate([[0], np.cumsum(0.5 * (ring[1:] + ring[:-1]) * np.diff(grid))])
    quantiles = np.array([0.1, 0.3, 0.5, 0.68, 0.8, 0.9, 0.95, 0.99, 0.999])
    radii = np.interp(quantiles, within / within[-1], grid)
    vectors = np.array(healpy.pix2vec(nside, region))
    distance = np.arctan2(np.linalg.norm(np.cross(vectors.T, centre), axis=1), centre @ vectors)
    density = wide._profile(distance) / within[-1] * np.pi / (3 * nside**2)
    for r, quantile in zip(radii, quantiles, strict=True):
        share = density[distance < r].sum()  # of the pixels with their centre inside: not just the quantile
        assert share == pytest.approx(quantile, abs=5e-3 * (1 - quantile) / 0.3 + 2e-4)
        error = np.sqrt(quantile * (1 - quantile) / total)
        assert counts[0, distance < r].sum() / total == pytest.approx(share, abs=4 * error + 2e-4)

    east = np.cross([0, 0, 1], centre) / np.linalg.norm(np.cross([0, 0, 1], centre))
    angle = np.arctan2(east @ vectors, np.cross(centre, east) @ vectors)
    sector = (4 * (angle + np.pi) / np.pi).astype(int) % 8
    share = np.bincount(sector, density * (distance > 0.02), minlength=8)
    observed = np.bincount(sector, counts[0] * (distance > 0.02), minlength=8)
    assert chisquare(observed, share * observed.sum() / share.sum()).pvalue > 1e-3


def test_a_wide_psf_reaches_the_other_side_of_the_sphere() -> None:
    expected = np.zeros(192)
    expected[0] = 5.0
    psf = GaussianPSF(sigma_deg=50.0)
    population = SourcePopulation("p", expected, *line(2e4))
    counts = SkySimulator(whole(4, psf=psf)).draw(np.zeros(192), [population], seed=11)[0]
    distance = np.array([healpy.rotator.angdist(healpy.pix2vec(4, 0), healpy.pix2vec(4, p))[0] for p in range(192)])
    grid = np.linspace(0, np.pi, 4001)
    norm = 2 * np.pi * np.trapezoid(np.sin(grid) * np.exp(-0.5 * (grid / np.deg2rad(50)) ** 2), grid)
    flux = np.exp(-0.5 * (distance / np.deg2rad(50)) ** 2) / norm * 4 * np.pi / 192
    far = distance > np.deg2rad(30)
    np.testing.assert_allclose(counts[far] / counts.sum(), flux[far], rtol=0.15, atol=3e-4)
    assert counts[distance > 3.0].sum() > 0


# --- reproducible -----------------------------------------------------------------------------------------------


@pytest.mark.parametrize("psf", PSFS)
def test_a_sky_is_its_seed_and_number(psf: PSF, monkeypatch: pytest.MonkeyPatch) -> None:
    simulator = SkySimulator(flat(8, np.arange(200), np.arange(200, 400), psf=psf))
    mean = np.full(200, 11.0)
    populations = [SourcePopulation(name, np.full(400, 0.1), GRID, broken(GRID)) for name in "ab"]
    monkeypatch.setenv("GAMMASKY_NUM_THREADS", "1")
    alone = simulator.draw(mean, populations, n=7, seed=12)
    for threads in ("1", "2", "3"):
        monkeypatch.setenv("GAMMASKY_NUM_THREADS", threads)
        counts, lists = simulator.draw_with_sources(mean, populations, n=7, seed=12)
        np.testing.assert_array_equal(counts, alone)
        parts = [simulator.draw(mean, populations, n=k, seed=12, first=first) for k, first in ((1, 0), (4, 1), (2, 5))]
        np.testing.assert_array_equal(np.concatenate(parts), alone)
        _, (third,) = simulator.draw_with_sources(mean, populations, seed=12, first=3)
        np.testing.assert_array_equal(third.lon_deg, lists[3].lon_deg)
    assert (simulator.draw(mean, populations, n=7, seed=13) != alone).any(axis=1).all()
    assert len(np.unique(alone, axis=0)) == 7


def test_populations_are_drawn_apart_from_each_other() -> None:
    """The same population twice: other sources; one of the two without sources: the other as before."""
    simulator = SkySimulator(whole(2))
    both = [SourcePopulation(name, np.full(48, 2.0), GRID, broken(GRID)) for name in "ab"]
    _, (found,) = simulator.draw_with_sources(np.zeros(48), both, seed=14)
    second = found.s[found.population == 1]
    assert not np.isin(found.s[found.population == 0], second).any()
    _, (alone,) = simulator.draw_with_sources(np.zeros(48), [replace(both[0], expected=np.zeros(48)), both[1]], seed=14)
    np.testing.assert_array_equal(alone.s, second)
    assert set(alone.population) == {1}


def test_a_sky_without_sources_has_an_empty_list() -> None:
    counts, lists = SkySimulator(whole(1, psf=KING)).draw_with_sources(np.ones(12), [], n=2)
    assert counts.shape == (2, 12)
    assert [len(found.s) for found in lists] == [0, 0]
