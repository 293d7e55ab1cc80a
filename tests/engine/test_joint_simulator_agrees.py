"""The joint likelihood is calibrated on photon-level skies whose PSF is the same in all energy bins.

At the truth the score (the gradient of the log-likelihood) has mean zero, in every direction; a spectrum that is not
the truth, or more photons in one bin, is seen at once.
"""

from __future__ import annotations

from typing import NamedTuple

import jax
import jax.numpy as jnp
import numpy as np
import pytest

from gammasky.engine.kernels.nptf_energy.op import joint_log_likelihood
from gammasky.engine.kernels.nptf_energy.plan import JointPlan
from gammasky.engine.sky import DeltaPSF, GaussianPSF, Response, pixel_fractions
from gammasky.engine.sky.psf import PSF
from gammasky.engine.sky.simulator import SkySimulator, SourcePopulation
from tests.engine.sky.observations import whole

NSIDE, SKIES = 4, 100
PIXELS = 12 * NSIDE**2
SHARES, EXPOSURE = np.array([0.5, 0.2, 0.3]), np.array([[0.7, 1.1], [1.3, 1.0], [1.0, 0.4]])  # by bin and region
SMOOTH = np.array([1.0, 0.7, 0.4])
GRID = np.geomspace(0.3, 40.0, 200)
DNDS = 0.05 * np.where(GRID > 6.0, (GRID / 6.0) ** -3.0, (GRID / 6.0) ** -1.2)


class Scores(NamedTuple):
    """Of every sky: by the smooth norm of each bin (n, E), the number of sources (n,) and their shares (n, E)."""

    smooth: np.ndarray
    sources: np.ndarray
    shares: np.ndarray


def skies_of(psf: PSF, north_south: bool) -> tuple[np.ndarray, np.ndarray]:
    """Counts (n, E, npix), and the region of each pixel: 1 in the south, if it has exposures of its own."""
    region = (np.arange(PIXELS) >= PIXELS // 2).astype(np.int64) * north_south
    pixels = whole(NSIDE, n_energy=3, exposure=EXPOSURE[:, region].ravel(), psf=psf)
    population = SourcePopulation.from_template("p", np.ones(PIXELS), GRID, DNDS, SHARES)
    smooth = np.repeat(SMOOTH, PIXELS)
    return SkySimulator(pixels).draw(smooth, [population], n=SKIES, seed=30).reshape(SKIES, 3, PIXELS), region


def scores(psf: PSF, counts: np.ndarray, region: np.ndarray, shares: np.ndarray) -> Scores:
    """Every sky has regions of its own in one plan: what sums over pixels then stays apart."""
    regions = region.max() + 1
    exposure = EXPOSURE[:, :regions] * shares[:, None]
    total = exposure.sum(axis=0)
    fractions = pixel_fractions(psf, NSIDE, n_positions=1024, cache=False)
    top = int(counts.sum(axis=1).max())
    response = Response.build(GRID, fractions.fraction, fractions.weight, total, top)
    x = np.tile(response.matrix @ DNDS, (SKIES, 1))[None]
    own = (regions * np.arange(SKIES)[:, None] + region).ravel()
    plan = JointPlan.build(counts.transpose(1, 0, 2).reshape(3, -1), own, SKIES * regions)
    mean = np.repeat(SMOOTH[:, None], SKIES * PIXELS, axis=1)
    spectrum = np.tile((exposure / total).T, (SKIES, 1))
    point = [jnp.asarray(part) for part in (mean, np.ones((1, SKIES * PIXELS)), x, spectrum)]
    slopes = jax.grad(lambda *p: joint_log_likelihood(plan, *p, backend="numba").sum(), argnums=(0, 1, 3))(*point)
    d_mean, d_templates, d_spectrum = map(np.asarray, slopes)
    # d/d log share of a bin at a fixed number of photons of every source: shares of the others fall
    by_share = spectrum * (d_spectrum - (spectrum * d_spectrum).sum(axis=1, keepdims=True))
    return Scores(
        (mean * d_mean).reshape(3, SKIES, PIXELS).sum(axis=2).T,
        d_templates.reshape(SKIES, PIXELS).sum(axis=1),
        by_share.reshape(SKIES, regions, 3).sum(axis=1),
    )


def pulls(found: Scores) -> np.ndarray:
    """Mean score over its error, of all seven directions."""
    columns = np.column_stack(found)
    return np.asarray(columns.mean(axis=0) / (columns.std(axis=0, ddof=1) / np.sqrt(SKIES)))


@pytest.mark.parametrize(
    ("psf", "north_south"), [(DeltaPSF(), True), (GaussianPSF(sigma_deg=9.0), False)], ids=["delta", "gaussian"]
)
def test_the_mean_score_at_the_truth_is_zero(psf: PSF, north_south: bool) -> None:
    counts, region = skies_of(psf, north_south)
    assert np.abs(pulls(scores(psf, counts, region, SHARES))).max() < 3.5
    softer = SHARES * [1.1, 1.0, 0.9]
    assert np.abs(pulls(scores(psf, counts, region, softer / softer.sum()))[-3:]).max() > 8.0
    moved = counts.copy()
    moved[:, 0] += np.random.default_rng(1).binomial(1, 0.15, counts[:, 0].shape)
    assert np.abs(pulls(scores(psf, moved, region, SHARES))[:3]).max() > 5.0
