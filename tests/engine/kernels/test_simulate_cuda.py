"""The CUDA source of the photon simulation, built for the host, draws the very skies of the Numba kernel."""

from __future__ import annotations

from typing import Any

import healpy
import numpy as np
import pytest

from gammasky.engine.kernels import gpu
from gammasky.engine.kernels.simulate import cpu, cuda
from gammasky.engine.kernels.simulate.tables import PixelTable, SourceTable, radius_table

NSIDE = 16
Setting = tuple[np.ndarray, PixelTable, dict[int, SourceTable], np.ndarray]


def setting(delta: bool, brightness: float) -> Setting:
    """The whole sky, poles included; every other pixel is counted, the second energy bin in the north alone."""
    size = 12 * NSIDE**2
    pixel = np.concatenate([np.arange(0, size, 2), np.arange(0, size, 4), np.arange(1, size, 2)])
    energy_bin = np.repeat([0, 1, 0], [size // 2, size // 4, size // 2])
    x, y, face = healpy.pix2xyf(NSIDE, pixel)
    counted, offset = size // 2 + size // 4, energy_bin * size
    position = np.full(2 * size, -1, dtype=np.int32)
    position[(offset + pixel)[:counted]] = np.arange(counted)
    rng, grid = np.random.default_rng(2), np.geomspace(0.3, 40.0, 60) * brightness
    exposure = rng.uniform(0.5, 1.5, pixel.size)
    face, x, y = (part.astype(np.int64) for part in (face, x, y))
    pixels = PixelTable(NSIDE, face, x, y, offset, exposure, position, counted)
    tables = {
        0: SourceTable.build(rng.exponential(0.1, pixel.size) * (energy_bin == 0), grid, grid**-1.5),
        2: SourceTable.build(rng.exponential(0.1, pixel.size), grid, np.minimum(grid / 5, (grid / 5) ** -3)),
    }
    radii = np.empty(0) if delta else radius_table(lambda inside: 0.3 * np.sqrt(-2 * np.log1p(-inside)))
    return rng.uniform(0.0, 30.0, counted), pixels, tables, radii


def by_numba(problem: Setting, n: int, seed: int, first: int) -> np.ndarray:
    mean, pixels, tables, radii = problem
    counts, key, nowhere = np.zeros((n, mean.size), dtype=np.int64), np.uint64(seed), cpu.Sources.empty(0)
    for sky in range(n):
        cpu.add_smooth(mean, first + sky, key, counts[sky])
        for i, table in tables.items():
            cpu.add_sources(pixels, table, radii, i, first + sky, key, counts[sky], nowhere)
    return counts


@pytest.mark.usefixtures("cupy")
@pytest.mark.parametrize("delta", [True, False])
@pytest.mark.parametrize(("brightness", "seed", "first"), [(1.0, 3, 0), (40.0, 2**63 - 1, 2**32 - 4)])
def test_the_same_skies(delta: bool, brightness: float, seed: int, first: int) -> None:
    problem = setting(delta, brightness)
    found = cuda.draw_skies(*problem, n=3, seed=seed, first=first)
    expected = by_numba(problem, 3, seed, first)
    assert (expected[0] != expected[1]).any()
    assert expected.sum() > 3 * problem[0].sum() * 1.02
    np.testing.assert_array_equal(found, expected)


def test_any_grid_and_number_at_a_time(cupy: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    problem = setting(False, 1.0)
    expected = cuda.draw_skies(*problem, n=5, seed=1, first=7)
    gpu._multiprocessors.cache_clear()
    cupy.cuda.Device.multiprocessors, cupy.falling = 132, True
    monkeypatch.setattr(cuda, "SKIES", 2)
    np.testing.assert_array_equal(cuda.draw_skies(*problem, n=5, seed=1, first=7), expected)
    smooth = [launch for launch in cupy.launches if launch.kernel == "smooth_counts"]
    assert [launch.arguments["skies"] for launch in smooth] == [5, 2, 2, 1]
    assert [launch.arguments["first_sky"] for launch in smooth] == [7, 7, 9, 11]


@pytest.mark.usefixtures("cupy")
def test_no_population() -> None:
    mean, pixels, _, radii = setting(False, 1.0)
    found = cuda.draw_skies(mean, pixels, {}, radii, n=2, seed=5, first=0)
    np.testing.assert_array_equal(found, by_numba((mean, pixels, {}, radii), 2, 5, 0))


@pytest.mark.gpu
@pytest.mark.usefixtures("cuda_device")
def test_on_a_gpu() -> None:
    """Its sines and logarithms may differ in the last bit: a photon in a million may land elsewhere."""
    problem = setting(False, 40.0)
    found, expected = cuda.draw_skies(*problem, n=20, seed=9, first=0), by_numba(problem, 20, 9, 0)
    assert np.abs(found - expected).sum() <= 1e-5 * expected.sum()
