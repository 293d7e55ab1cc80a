"""The Numba kernel and the array version draw from one distribution."""

from __future__ import annotations

import healpy
import numpy as np
import pytest
from scipy.stats import chi2_contingency, ks_2samp

from gammasky.engine.kernels.simulate import cpu, reference
from gammasky.engine.kernels.simulate.tables import RADIUS_NODES, PixelTable, SourceTable, radius_table

NSIDE = 8
SKIES = 400


def setting(delta: bool = False) -> tuple[np.ndarray, PixelTable, list[SourceTable], np.ndarray]:
    """A cap of two energy bins with pixels around it, two populations, and a PSF of a pixel's width."""
    lon, lat = healpy.pix2ang(NSIDE, np.arange(12 * NSIDE**2), lonlat=True)
    distance = np.rad2deg(healpy.rotator.angdist(np.array([lon, lat]), np.array([300.0, 65.0]), lonlat=True))
    cap, around = np.flatnonzero(distance < 30), np.flatnonzero((distance >= 30) & (distance < 50))
    pixel = np.concatenate([cap, around])
    x, y, face = healpy.pix2xyf(NSIDE, pixel)
    position = np.full((2, 12 * NSIDE**2), -1, dtype=np.int32)
    position[:, cap] = np.arange(2 * len(cap)).reshape(2, -1)
    rng = np.random.default_rng(2)
    pixels = PixelTable(NSIDE, pixel, face, x, y, rng.uniform(0.5, 1.5, (2, len(pixel))), position)
    grid = np.geomspace(0.3, 40.0, 60)
    steep = np.minimum(grid / 5, (grid / 5) ** -3)
    tables = [
        SourceTable.build(rng.exponential(0.3, len(pixel)), grid, grid**-1.5, np.array([0.9, 0.2])),
        SourceTable.build(rng.exponential(0.2, len(pixel)), grid, steep, np.array([0.4, 0.6])),
    ]
    radii = np.zeros((2, RADIUS_NODES))
    if not delta:
        radii[:] = radius_table(lambda inside: 0.08 * np.sqrt(-2 * np.log1p(-inside)))
        radii[1] *= 0.5
    return rng.uniform(0.0, 1.0, 2 * len(cap)), pixels, tables, radii


def numba_skies(delta: bool, n: int = SKIES) -> np.ndarray:
    mean, pixels, tables, radii = setting(delta)
    counts = np.zeros((n, len(mean)), dtype=np.int64)
    seed, nowhere = np.uint64(3), cpu.Sources.empty(0, 2)
    for sky in range(n):
        cpu.add_smooth(mean, sky, seed, counts[sky])
        for i, table in enumerate(tables):
            cpu.add_sources(pixels, table, radii, i, sky, seed, counts[sky], nowhere)
    return counts


def array_skies(delta: bool, n: int = SKIES) -> np.ndarray:
    generator = np.random.default_rng(4)
    return np.stack([reference.draw_sky(*setting(delta), generator) for _ in range(n)])


def assert_alike(a: np.ndarray, b: np.ndarray) -> None:
    """Histogram of counts, totals per sky, and every pixel's sum over the skies."""
    tops = np.minimum(a, 15).ravel(), np.minimum(b, 15).ravel()
    assert chi2_contingency([np.bincount(top, minlength=16) for top in tops]).pvalue > 1e-3
    assert ks_2samp(a.sum(axis=1), b.sum(axis=1)).pvalue > 1e-3
    spread = np.sqrt((a.var(axis=0) + b.var(axis=0)) / len(a))
    pull = (a.mean(axis=0) - b.mean(axis=0)) / spread
    assert np.mean(pull**2) == pytest.approx(1.0, abs=5 * np.sqrt(2 / len(pull)))
    half = a.shape[1] // 2
    assert a[:, :half].mean() != pytest.approx(a[:, half:].mean(), rel=0.1)  # energy bins differ, and are not mixed up


@pytest.mark.parametrize("delta", [True, False])
def test_numba_and_numpy_agree(delta: bool) -> None:
    assert_alike(numba_skies(delta), array_skies(delta))


def test_the_comparison_sees_the_psf() -> None:
    with pytest.raises(AssertionError, match=r"pvalue=|approx|> 0\.001"):
        assert_alike(numba_skies(True), array_skies(False))


def test_neighbours_share_sources_only_under_a_psf() -> None:
    """What the likelihood neglects: the mean correlation of pixels next to each other."""
    _, pixels, _, _ = setting()
    cap = np.flatnonzero(pixels.position[0] >= 0)
    place = {int(pixel): pixels.position[0, pixel] for pixel in cap}
    pairs = [(place[int(p)], place[q]) for p in cap for q in healpy.get_all_neighbours(NSIDE, int(p)) if q in place]
    correlations = {}
    for delta in (True, False):
        matrix = np.corrcoef(numba_skies(delta, 2000).T)
        correlations[delta] = np.mean([matrix[pair] for pair in pairs])
    # of independent pixels each pair's has a standard error of 1 / sqrt(skies - 1); every pair is listed twice
    assert abs(correlations[True]) < 4.5 / np.sqrt((2000 - 1) * len(pairs) / 2)
    assert correlations[False] > 0.05
