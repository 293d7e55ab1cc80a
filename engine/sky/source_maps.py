"""Maps of catalogued sources: every flux spread by the PSF, and over a disc where a source is extended."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from itertools import pairwise

import numpy as np

from gammasky.engine.sky.cache import remembered
from gammasky.engine.sky.catalogues import Catalogue
from gammasky.engine.sky.pixel_fractions import displaced, photon_set
from gammasky.engine.sky.pixels import Pixels
from gammasky.engine.sky.pixels.frames import vectors_of
from gammasky.engine.sky.psf import PSF, DeltaPSF

PHOTONS = 4096  # of each source, on a low-discrepancy set
BLOCK = 256  # sources at a time
SILVER = np.sqrt(2) - 1  # the turns of places in a disc, which those of the photons do not share


def source_maps(catalogue: Catalogue, pixels: Pixels, psfs: Sequence[PSF], edges_gev: np.ndarray) -> np.ndarray:
    """Mean intensity of the sources in each pixel (E, pixels) [cm^-2 s^-1 sr^-1].

    Args:
        catalogue: the sources, with fluxes.
        pixels: wanted.
        psfs (E): of each energy bin.
        edges_gev (E + 1,) [GeV]: of the bins.

    Raises:
        InputError: a catalogue without fluxes.
    """
    fluxes = np.stack([catalogue.flux_in(*bin_edges) for bin_edges in pairwise(edges_gev.tolist())])
    numbers = np.concatenate([catalogue.positions.ravel(), catalogue.extent_deg, fluxes.ravel()])
    key = {
        "sources": hashlib.sha256(numbers.tobytes()).hexdigest(),
        "pixels": pixels.key,
        "psf": [psf.model_dump() for psf in psfs],
    }

    def make() -> dict[str, np.ndarray]:
        sums = [_spread(catalogue, flux, pixels, psf) for flux, psf in zip(fluxes, psfs, strict=True)]
        return {"map": np.stack(sums) / pixels.solid_angle_sr}

    return remembered("source_maps", key, make, sound=lambda arrays: set(arrays) == {"map"})["map"]


def _spread(catalogue: Catalogue, flux: np.ndarray, pixels: Pixels, psf: PSF) -> np.ndarray:
    """The flux in each pixel (pixels,), of sources of `flux` (n,)."""
    sky = np.zeros(pixels.n_pixels)
    extended = catalogue.extent_deg > 0
    for group in (np.flatnonzero(~extended), np.flatnonzero(extended)):
        for start in range(0, len(group), BLOCK):
            block = group[start : start + BLOCK]
            centre = vectors_of(catalogue.lon_deg[block], catalogue.lat_deg[block])
            places, weight = _photons(centre, np.deg2rad(catalogue.extent_deg[block]), psf)
            found = pixels.find(places)
            inside = found >= 0
            sky += np.bincount(found[inside], (flux[block, None] * weight)[inside], minlength=pixels.n_pixels)
    return sky


def _photons(centre: np.ndarray, extent_rad: np.ndarray, psf: PSF) -> tuple[np.ndarray, np.ndarray]:
    """Directions (n, photons, 3) of photons of sources at `centre` (n, 3), all points or all discs; and their weights.

    Places of a disc are as many as photons, in an order that has nothing to do with theirs.
    """
    if isinstance(psf, DeltaPSF):
        radius, angle, weight = np.zeros(PHOTONS), np.zeros(PHOTONS), np.full(PHOTONS, 1 / PHOTONS)
    else:
        radius, angle, weight = photon_set(psf, PHOTONS)
    if not extent_rad.any():
        return np.stack(displaced(np, centre, radius, np.broadcast_to(angle, (len(centre), PHOTONS))), axis=-1), weight
    rank = np.random.default_rng(0).permutation(PHOTONS)
    away = extent_rad[:, None] * np.sqrt((rank + 0.5) / PHOTONS)
    at = np.stack(displaced(np, centre, away, np.broadcast_to(2 * np.pi * SILVER * rank, away.shape)), axis=-1)
    every = np.tile(radius, len(centre))[:, None], np.tile(angle, len(centre))[:, None]
    return np.stack(displaced(np, at.reshape(-1, 3), *every), axis=-1).reshape(len(centre), PHOTONS, 3), weight


def containment_radius_deg(psf: PSF, fraction: np.ndarray) -> np.ndarray:
    """Radius [deg] that holds the fraction of a source's photons."""
    return np.zeros_like(fraction) if isinstance(psf, DeltaPSF) else np.rad2deg(psf.radius(fraction))


def leakage_radius_deg(psfs: Sequence[PSF], photons: np.ndarray, leakage: float) -> np.ndarray:
    """Radius (n,) [deg] outside which a source leaves `leakage` photons of all energy bins; 0 where it has fewer.

    Args:
        psfs (E): of each bin.
        photons (E, n): of each source in each bin.
        leakage: photons outside.
    """
    outside = np.geomspace(1.0, 1e-9, 4001)
    radii = np.array([containment_radius_deg(psf, 1.0 - outside) for psf in psfs])
    low, high = np.zeros(photons.shape[1]), np.full(photons.shape[1], radii.max())
    for _ in range(60):  # halves
        middle = (low + high) / 2
        shares = [np.interp(middle, radius, outside, right=0.0) for radius in radii]
        left = (photons * shares).sum(axis=0)
        low, high = np.where(left > leakage, middle, low), np.where(left > leakage, high, middle)
    return np.where(photons.sum(axis=0) > leakage, high, 0.0)
