"""Photon-level simulator and likelihood agree: p_k of the NPTF operation against 10,000 skies.

One population, an isotropic template and uniform exposure: every pixel of the sky then has one and the same p_k, with
the PSF too, since that is what the one-pixel statistic means. Counts of neighbouring pixels are correlated through the
PSF, so the chi-square test takes one pixel of each sky, far from the others' skies by construction.
"""

from __future__ import annotations

from typing import Any

import healpy
import jax.numpy as jnp
import numpy as np
import pytest
from scipy import stats

from gammasky.engine import nptf_log_likelihood
from gammasky.engine.sky import DeltaPSF, Observation, Response, pixel_fractions
from gammasky.engine.sky.psf import PSF
from gammasky.engine.sky.simulator import SkySimulator, SourcePopulation
from tests.engine.sky.observations import KING, flat

SKIES = 10_000
MEAN = 1.3
S_GRID = np.geomspace(0.1, 60.0, 600)
DNDS = np.where(S_GRID > 12.0, 12.0**2.9 * S_GRID**-4.3, S_GRID**-1.4)
DNDS *= 0.5 / np.trapezoid(DNDS, S_GRID)  # half a source per pixel


def patch(nside: int, counted: float, around: float, psf: PSF) -> Observation:
    """Pixels within `counted` [deg] of a direction at mid latitudes, with those within `around` about them."""
    centre = healpy.ang2vec(40.0, 33.0, lonlat=True)
    inner = healpy.query_disc(nside, centre, np.deg2rad(counted))
    outer = np.setdiff1d(healpy.query_disc(nside, centre, np.deg2rad(counted + around)), inner)
    return flat(nside, inner, outer, psf=psf)


def probabilities(psf: Any, nside: int, top: int) -> np.ndarray:
    """p_k of the likelihood, k = 0 .. top."""
    fractions = pixel_fractions(psf, nside)
    response = Response.build(S_GRID, fractions.fraction, fractions.weight, [1.0], top)
    k = np.arange(top + 1)
    mean, template = jnp.full(top + 1, MEAN), jnp.ones((1, top + 1))
    return np.exp(nptf_log_likelihood(k, mean, template, jnp.asarray(DNDS)[None], response, region=np.zeros_like(k)))


@pytest.mark.parametrize("psf", [DeltaPSF(), KING], ids=["delta", "king"])
def test_histogram_of_counts(psf: Any) -> None:
    nside = 128
    pixels = patch(nside, counted=1.0, around=0.0 if isinstance(psf, DeltaPSF) else 4.0, psf=psf)
    population = SourcePopulation.from_template("sources", np.ones(pixels.n_pixels), S_GRID, DNDS)
    counts = SkySimulator(pixels).draw(np.full(pixels.n_region, MEAN), [population], n=SKIES, seed=20)
    assert counts.shape[0] == SKIES
    assert counts.shape[1] >= 10
    p = probabilities(psf, nside, int(counts.max()) + 200)
    assert abs(p.sum() - 1) < 1e-9
    # independent: one pixel of every sky, not always the same
    single = counts[np.arange(SKIES), np.arange(SKIES) % pixels.n_region]
    expected = SKIES * p
    last = int(np.argmax(np.cumsum(expected[::-1])[::-1] < 8.0))  # counts of `last` and above share a bin
    observed = np.bincount(np.minimum(single, last), minlength=last + 1)
    expected = np.append(expected[:last], expected[last:].sum())
    assert stats.chisquare(observed, expected * SKIES / expected.sum()).pvalue > 1e-3
    # all pixels of all skies: the mean of each bin, its error from the scatter between skies
    histogram = np.stack([(np.minimum(counts, last) == k).mean(axis=1) for k in range(last + 1)])
    error = histogram.std(axis=1) / np.sqrt(SKIES)
    pull = (histogram.mean(axis=1) - expected / SKIES) / error
    assert np.abs(pull).max() < 4.5
    assert stats.kstest(pull, "norm").pvalue > 1e-4


def test_a_wrong_source_count_function_is_noticed() -> None:
    """The same comparison with dN/dS of another slope fails by far: the test above has the power."""
    pixels = patch(128, counted=1.0, around=0.0, psf=DeltaPSF())
    steeper = DNDS * S_GRID**-0.5
    population = SourcePopulation.from_template("sources", np.ones(pixels.n_pixels), S_GRID, steeper)
    counts = SkySimulator(pixels).draw(np.full(pixels.n_region, MEAN), [population], n=SKIES, seed=20)
    single = counts[np.arange(SKIES), np.arange(SKIES) % pixels.n_region]
    p = probabilities(DeltaPSF(), 128, int(counts.max()) + 200)[:20]
    observed = np.bincount(np.minimum(single, 20), minlength=21)
    expected = SKIES * np.append(p, 1 - p.sum())
    assert stats.chisquare(observed, expected).pvalue < 1e-6
