"""Pixels without a dataset, and the PSF of the Fermi-LAT data."""

from __future__ import annotations

import healpy
import numpy as np

from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.psf import PSF, DeltaPSF, KingPSF

KING = KingPSF(
    fcore=0.748988248179,
    score=0.428653790656,
    gcore=7.82363229341,
    stail=0.715962650769,
    gtail=3.61883748683,
    spe=0.00456544262478,
)

NO_PSF = DeltaPSF()


def flat(
    nside: int,
    region: np.ndarray,
    around: np.ndarray | None = None,
    n_energy: int = 1,
    exposure: np.ndarray | float = 1.0,
    psf: PSF | tuple[PSF, ...] = NO_PSF,
) -> Observation:
    """Flat pixels with every pixel of the region fitted; the exposure is that of all bins, or (N,)."""
    around = np.empty(0, dtype=np.int64) if around is None else around
    offsets = 12 * nside**2 * np.arange(n_energy)[:, None]
    index = np.concatenate([(offsets + region).ravel(), (offsets + around).ravel()]).astype(np.int64)
    lon, lat = healpy.pix2ang(nside, index % (12 * nside**2), lonlat=True)
    n = n_energy * len(region)
    return Observation(
        grid=HealpixPixels(nside), energy_edges_gev=np.geomspace(1.0, 10.0, n_energy + 1),
        psf=psf if isinstance(psf, tuple) else (psf,) * n_energy, index=index,
        lon_deg=lon, lat_deg=lat, n_fit=n, n_region=n, counts=np.zeros(n, dtype=np.int64),
        exposure=np.broadcast_to(exposure, index.shape), region=np.zeros(n, dtype=np.int64),
        exposure_ratios=np.ones(n_energy), reference_exposure=np.ones(n_energy),
    )  # fmt: skip


def whole(
    nside: int,
    n_energy: int = 1,
    exposure: np.ndarray | float = 1.0,
    psf: PSF | tuple[PSF, ...] = NO_PSF,
) -> Observation:
    return flat(nside, np.arange(12 * nside**2), None, n_energy, exposure, psf)
