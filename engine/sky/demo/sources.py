"""The demo's bright catalogued sources: seeded positions and fluxes, their map, and their mask."""

from __future__ import annotations

import numpy as np

from gammasky.engine.sky.demo import SEED
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.psf import KingPSF

ISOTROPIC, GALACTIC = 2000, 400  # numbers of sources
LONGITUDE_SCALE_DEG, LATITUDE_SCALE_DEG = 60.0, 4.0  # of the Galactic ones: Gauss and Laplace
FLUX_RANGE = 100.0  # brightest over faintest; dN/dF ~ F^-2
MASK_RADIUS_DEG = 0.8
NEAR_DEG, FAR_DEG = 2.0, 12.0  # sub-pixels up to here; whole pixels up to there
SUB_PIXELS = 8  # along each side: 0.11 deg at nside 64, like the core of the PSF


def bright_sources() -> tuple[np.ndarray, np.ndarray, np.ndarray]:
    """Longitude, latitude (n,) [deg] and flux (n,), always the same.

    Only uniform numbers are drawn, whose stream NumPy keeps; the rest are inverse cumulative distributions.
    """
    from scipy.special import ndtri

    n = ISOTROPIC + GALACTIC
    u = np.random.Generator(np.random.PCG64(SEED)).random((4, n))
    lon, lat = 360.0 * u[0] - 180.0, np.rad2deg(np.arcsin(2.0 * u[1] - 1.0))
    disk = slice(ISOTROPIC, n)
    lon[disk] = np.remainder(LONGITUDE_SCALE_DEG * ndtri(u[0, disk]) + 180.0, 360.0) - 180.0
    height = -LATITUDE_SCALE_DEG * np.log1p(-u[2, disk])
    lat[disk] = np.minimum(height, 90.0) * np.where(u[1, disk] < 0.5, -1.0, 1.0)
    return lon, lat, 1.0 / (1.0 - u[3] * (1.0 - 1.0 / FLUX_RANGE))


def source_map(nside: int, psf: KingPSF) -> np.ndarray:
    """Intensity (npix,) of the bright sources as seen through the PSF, averaged over each pixel.

    The PSF is narrower than a pixel, so near a source it is summed over sub-pixels; its far tail, at pixel centres.
    """
    import healpy

    from gammasky.engine.sky.demo.shapes import averaged

    lon, lat, flux = bright_sources()
    fine = SUB_PIXELS * nside
    near, far = np.zeros(12 * fine**2), np.zeros(12 * nside**2)
    for direction, one_flux in zip(healpy.ang2vec(lon, lat, lonlat=True), flux, strict=True):
        pixels = healpy.query_disc(fine, direction, np.deg2rad(NEAR_DEG))
        near[pixels] += one_flux * psf.density(_angles(fine, pixels, direction))
        pixels = healpy.query_disc(nside, direction, np.deg2rad(FAR_DEG))
        angles = _angles(nside, pixels, direction)
        beyond = angles > np.deg2rad(NEAR_DEG)
        far[pixels[beyond]] += one_flux * psf.density(angles[beyond])
    return averaged(near, nside) + far


def source_mask(nside: int) -> np.ndarray:
    """Pixels (npix,) whose centre is within 0.8 deg of a bright source."""
    import healpy

    lon, lat, _ = bright_sources()
    masked = np.zeros(len(HealpixPixels(nside).galactic[0]), dtype=bool)
    for direction in healpy.ang2vec(lon, lat, lonlat=True):
        masked[healpy.query_disc(nside, direction, np.deg2rad(MASK_RADIUS_DEG))] = True
    return masked


def _angles(nside: int, pixels: np.ndarray, direction: np.ndarray) -> np.ndarray:
    """Angles [rad] between pixel centres and one direction, accurate when small."""
    import healpy

    chord = np.stack(healpy.pix2vec(nside, pixels), axis=1) - direction
    return 2.0 * np.arcsin(np.clip(0.5 * np.sqrt((chord**2).sum(axis=1)), 0.0, 1.0))
