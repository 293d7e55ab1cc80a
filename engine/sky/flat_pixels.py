"""Flat pixels: below this point there is no sphere, only a list of pixels with counts and regions."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from gammasky.engine.errors import InputError


@dataclass(frozen=True, eq=False)
class FlatPixels:
    """N pixels: the first P are fitted, the first `n_region` set the normalisation, any others lie around the region.

    Each of the three groups is in the order of the flat index, energy bin * npix + HEALPix pixel (RING), so a second
    energy bin is only more pixels and more regions.

    Args:
        nside: HEALPix resolution.
        n_energy: number of energy bins E.
        index (N,): flat index into a raveled (E, npix) map.
        lon_deg (N,) [deg]: longitude in (-180, 180].
        lat_deg (N,) [deg]: latitude.
        n_fit: number of fitted pixels P.
        n_region: number of pixels of the normalisation region (fitted or masked).
        counts (P,): photons.
        region (P,): exposure region of each fitted pixel, 0 to R - 1; energy bin e has the regions e R/E to
            (e + 1) R/E - 1, by rising exposure.
        exposure_ratios (R,): mean exposure of a region over the mean of these means in its energy bin.
        relative_exposure (N,): exposure over its mean in the normalisation region, per energy bin.
        source_exposure (N,): exposure over that at which the source counts S of the likelihood are expected counts, the
            mean over the exposure regions of its energy bin: the pixel's own version of `exposure_ratios`.
    """

    nside: int
    n_energy: int
    index: np.ndarray
    lon_deg: np.ndarray
    lat_deg: np.ndarray
    n_fit: int
    n_region: int
    counts: np.ndarray
    region: np.ndarray
    exposure_ratios: np.ndarray
    relative_exposure: np.ndarray
    source_exposure: np.ndarray

    @property
    def n_pixels(self) -> int:
        """Number of pixels N."""
        return len(self.index)

    @property
    def energy_bin(self) -> np.ndarray:
        """Energy bin of each pixel (N,)."""
        return self.index // (12 * self.nside**2)

    def values(self, sky_map: np.ndarray) -> np.ndarray:
        """The values (N,) of a map (E, npix) in these pixels.

        Raises:
            InputError: the map has another shape.
        """
        shape = (self.n_energy, 12 * self.nside**2)
        if np.shape(sky_map) != shape:
            raise InputError(f"map: expected shape {shape} (energy bins, pixels), got {np.shape(sky_map)}")
        return np.asarray(sky_map).ravel()[self.index]

    def to_map(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """A map (E, npix) of `values` for all N pixels, those of the region or the P fitted ones; `fill` elsewhere.

        Raises:
            InputError: another number of values.
        """
        values = np.asarray(values)
        if values.ndim != 1 or len(values) not in (self.n_fit, self.n_region, self.n_pixels):
            expected = f"({self.n_pixels},), ({self.n_region},) for the region or ({self.n_fit},) for the fitted pixels"
            raise InputError(f"values: expected shape {expected}, got {values.shape}")
        sky_map = np.full(self.n_energy * 12 * self.nside**2, fill, dtype=np.float64)
        sky_map[self.index[: len(values)]] = values
        return sky_map.reshape(self.n_energy, -1)


def exposure_split(exposure: np.ndarray, n_regions: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels of one energy bin in `n_regions` regions of like exposure and (nearly) equal numbers of pixels.

    Args:
        exposure (P,): exposure of the fitted pixels.
        n_regions: number of regions, at most P.

    Returns:
        region (P,) by rising exposure, and the mean exposure of each (n_regions,).

    Source: NPTFit (arXiv:1612.03173), section 3; the same in arXiv:2604.08648.

    Raises:
        InputError: more regions than pixels.
    """
    if n_regions > len(exposure):
        raise InputError(f"exposure_regions: expected at most {len(exposure)}, the number of pixels; got {n_regions}")
    groups = np.array_split(np.argsort(exposure, kind="stable"), n_regions)
    region = np.empty(len(exposure), dtype=np.int64)
    for number, group in enumerate(groups):
        region[group] = number
    means = np.array([exposure[group].mean() for group in groups])
    return region, means
