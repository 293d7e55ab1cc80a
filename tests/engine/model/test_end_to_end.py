"""The whole way from files to a log-likelihood against brute force that shares no code with the engine."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import healpy
import numpy as np
import pytest
from scipy import stats

from gammasky.engine.model import SkyModel

NSIDE = 16
POINT = {"S_flat": 2.5, "S_peak": 1.5, "Sps": 2.2, "n1": 3.5, "n2": 0.8, "sb": 6.0}


def compound_log_p(count: int, mean: float, x: np.ndarray) -> float:
    """log p of `count` = Poisson(mean) + sum_m m Poisson(x_m), by convolving one distribution after the other."""
    p = stats.poisson.pmf(np.arange(count + 1), mean)
    for m in range(1, count + 1):
        sources = np.zeros(count + 1)
        sources[::m] = stats.poisson.pmf(np.arange(count // m + 1), x[m])
        p = np.convolve(p, sources)[: count + 1]
    # sources that put more photons in the pixel than were counted must be absent
    return float(np.log(p[count]) - x[count + 1 :].sum())


def brute_force(folder: Path, regions: int, radius: float) -> np.ndarray:
    """Log-likelihood of each fitted pixel at `POINT`, from the files, in pixel order."""
    read = {path.stem: np.load(path) for path in folder.glob("*.npy")}
    direction = np.stack(healpy.pix2vec(NSIDE, np.arange(12 * NSIDE**2)))
    inside = (direction[0] >= np.cos(np.deg2rad(radius))) & (np.abs(direction[2]) >= np.sin(np.deg2rad(2.0)))
    fitted = np.flatnonzero(inside & (read["spot"] == 0))
    exposure = read["exposure"] / read["exposure"][inside].mean()
    flat, peak, peak_ps = read["flat"] * exposure, read["peak"], read["peak"] / exposure
    flat, peak, peak_ps = (t / t[inside].mean() for t in (flat, peak, peak_ps))
    mean = POINT["S_flat"] * flat + POINT["S_peak"] * peak

    s = np.geomspace(0.1, 50.0, 120)
    dnds = (s / POINT["sb"]) ** -np.where(s > POINT["sb"], POINT["n1"], POINT["n2"])
    dnds *= POINT["Sps"] / np.trapezoid(s * dnds, s)

    by_exposure = fitted[np.argsort(exposure[fitted], kind="stable")]
    groups = np.array_split(by_exposure, regions)
    ratios = np.array([exposure[group].mean() for group in groups])
    ratios /= ratios.mean()
    photons, log_p = np.arange(250), {}
    for group, ratio in zip(groups, ratios, strict=True):
        x = np.trapezoid(dnds * stats.poisson.pmf(photons[:, None], ratio * s), s, axis=1)
        for pixel in group:
            log_p[pixel] = compound_log_p(int(read["counts"][pixel]), mean[pixel], peak_ps[pixel] * x)
    return np.array([log_p[pixel] for pixel in fitted])


@pytest.mark.parametrize(("regions", "radius"), [(1, 9.0), (3, 12.0)])
def test_against_brute_force(
    regions: int,
    radius: float,
    build: Callable[..., SkyModel],
    population_table: dict[str, Any],
    small_folder: Path,
) -> None:
    population_table["region"] = {
        "latitude_min": 2.0, "radius_max": radius, "mask": "spot", "exposure_regions": regions,
    }  # fmt: skip
    model = build(population_table)
    found = model.pixel_log_likelihood(model.point(POINT))
    expected = brute_force(small_folder, regions, radius)
    assert len(expected) >= 10
    np.testing.assert_allclose(found, expected, rtol=1e-9)
