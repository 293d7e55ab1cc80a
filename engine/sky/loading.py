"""The files of a dataset brought to its pixels: counts, exposure, templates, masks."""

from __future__ import annotations

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.manifest import Manifest
from gammasky.engine.sky.pixels import HealpixPixels, Pixels
from gammasky.engine.sky.readers import Maps
from gammasky.engine.sky.resample import counts_on, intensity_on


def working_pixels(counts: Maps, manifest: Manifest, label: str) -> Pixels:
    """The pixels of the dataset: those of its counts, or coarser HEALPix pixels if the manifest says so.

    Raises:
        InputError: a frame or an nside that the counts cannot be brought to.
    """
    pixels = counts.pixels
    if manifest.frame not in (None, pixels.frame):
        raise InputError(
            f"{label}: its counts are in {pixels.frame} pixels, but `frame` of the dataset is '{manifest.frame}', and "
            "rotated counts are not Poissonian; leave `frame` out (region, templates and catalogues come to the pixels "
            "of the counts), or bin the photons anew"
        )
    if manifest.nside is None or (isinstance(pixels, HealpixPixels) and pixels.nside == manifest.nside):
        return pixels
    if not isinstance(pixels, HealpixPixels):
        raise InputError(f"{label}: {pixels.name}, which have no nside; leave `nside` of the dataset out")
    return HealpixPixels(manifest.nside, pixels.frame)


def counts_of(maps: Maps, pixels: Pixels, n_bins: int, label: str, *, expected: bool = False) -> np.ndarray:
    """Photons or expected counts (E, pixels); see `counts_on`."""
    return counts_on(on_energy_axis(maps.values, n_bins, label), maps.pixels, pixels, label, expected=expected)


def exposure_of(maps: Maps, pixels: Pixels, n_bins: int, label: str) -> np.ndarray:
    """Exposure (E, pixels) [cm^2 s], NaN where it has no value."""
    values = on_energy_axis(maps.values, n_bins, label)
    return intensity_on(values, maps.pixels, pixels, outside=maps.outside, divide=maps.divide)


def template_of(maps: Maps, pixels: Pixels, n_bins: int, label: str) -> np.ndarray:
    """A template (E, pixels): one map serves every energy bin."""
    brought = intensity_on(maps.values, maps.pixels, pixels, outside=maps.outside, divide=maps.divide)
    if len(brought) == 1:
        brought = np.broadcast_to(brought, (n_bins, brought.shape[1]))
    return on_energy_axis(brought, n_bins, label)


def on_energy_axis(values: np.ndarray, n_bins: int, label: str) -> np.ndarray:
    """The maps, if they are as many as there are energy bins.

    Raises:
        InputError: another number.
    """
    if len(values) != n_bins:
        raise InputError(f"{label}: {len(values)} energy bins, but `energy_edges_gev` of the manifest has {n_bins}")
    return values
