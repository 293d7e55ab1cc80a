"""What was seen: flat pixels with counts and exposure, and the point-spread function of each energy bin.

Below this point there is no sphere, only a list of pixels.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, replace
from functools import cached_property
from itertools import pairwise

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.pixels import HealpixPixels, Pixels
from gammasky.engine.sky.psf import PSF


@dataclass(frozen=True, eq=False)
class Observation:
    """N pixels: the first P are fitted, the first `n_region` set the normalisation, any others lie around the region.

    Each of the three groups is in the order of the flat index, energy bin * npix + pixel, so a second
    energy bin is only more pixels and more regions.

    Args:
        grid: HEALPix pixels (RING), or a projected grid.
        energy_edges_gev (E + 1,) [GeV]: edges of the energy bins.
        psf (E): point-spread function of each energy bin.
        index (N,): flat index into a raveled (E, npix) map.
        lon_deg (N,) [deg]: Galactic longitude in (-180, 180].
        lat_deg (N,) [deg]: Galactic latitude.
        n_fit: number of fitted pixels P.
        n_region: number of pixels of the normalisation region (fitted or masked).
        counts (P,): photons.
        exposure (N,) [cm^2 s]: exposure.
        region (P,): exposure region of each fitted pixel, 0 to R - 1; energy bin e has the regions e R/E to
            (e + 1) R/E - 1, by rising exposure of all bins together: the regions of every bin are the same places.
        exposure_ratios (R,): mean exposure of a region over the reference exposure of its energy bin.
        reference_exposure (E,) [cm^2 s]: the exposure at which the source counts S are expected counts: the mean over
            the exposure regions of their mean exposures.
        unknown_around: pixels around the region that were asked for and of which the data set says no exposure, or
            no value of a template; none is among the N.
    """

    grid: Pixels
    energy_edges_gev: np.ndarray
    psf: tuple[PSF, ...]
    index: np.ndarray
    lon_deg: np.ndarray
    lat_deg: np.ndarray
    n_fit: int
    n_region: int
    counts: np.ndarray
    exposure: np.ndarray
    region: np.ndarray
    exposure_ratios: np.ndarray
    reference_exposure: np.ndarray
    unknown_around: int = 0

    @property
    def n_energy(self) -> int:
        """Number of energy bins E."""
        return len(self.energy_edges_gev) - 1

    @cached_property
    def mean_exposure(self) -> np.ndarray:
        """Mean exposure in the normalisation region (E,) [cm^2 s] of each energy bin."""
        in_region, bins = self.exposure[: self.n_region], self.energy_bin[: self.n_region]
        return np.array([in_region[bins == energy_bin].mean() for energy_bin in range(self.n_energy)])

    @cached_property
    def relative_exposure(self) -> np.ndarray:
        """Exposure over its mean in the normalisation region of its energy bin (N,)."""
        return self.exposure / self.mean_exposure[self.energy_bin]

    @cached_property
    def exposure_over_mean(self) -> np.ndarray:
        """Exposure over its mean in the normalisation region of all energy bins (N,)."""
        return self.exposure / self.exposure[: self.n_region].mean()

    @cached_property
    def source_exposure(self) -> np.ndarray:
        """Exposure over the reference exposure (N,): the pixel's own version of `exposure_ratios`."""
        return self.exposure / self.reference_exposure[self.energy_bin]

    @cached_property
    def likelihood_exposure(self) -> np.ndarray:
        """Relative exposure (N,) as the likelihood of sources takes it: of fitted pixels, the ratio of their region."""
        return np.concatenate([self.exposure_ratios[self.region], self.source_exposure[self.n_fit :]])

    @property
    def counts_per_intensity(self) -> np.ndarray:
        """Counts per pixel of an intensity of 1 cm^-2 s^-1 sr^-1, for each energy bin (E,): the mean exposure of the
        fitted pixels times the mean solid angle of a pixel."""
        fitted, bins = self.exposure[: self.n_fit], self.energy_bin[: self.n_fit]
        means = np.array([fitted[bins == energy_bin].mean() for energy_bin in range(self.n_energy)])
        return means * self.pixel_area_sr

    @cached_property
    def pixel_area_sr(self) -> float:
        """Mean solid angle of the pixels of the region [sr]."""
        if isinstance(self.grid, HealpixPixels):
            return float(np.pi / (3 * self.grid.nside**2))
        return float(self.grid.solid_angle_sr[self.pixel[: self.n_region]].mean())

    @cached_property
    def relative_area(self) -> np.ndarray | None:
        """Solid angle of each pixel (N,) over the mean of the region; None where all are alike."""
        if isinstance(self.grid, HealpixPixels):
            return None
        return np.asarray(self.grid.solid_angle_sr[self.pixel] / self.pixel_area_sr)

    @cached_property
    def digest(self) -> str:
        """SHA-256 of all that a likelihood depends on: pixels, counts, exposure, regions, PSF and energies."""
        digest = hashlib.sha256()
        shapes = [self.grid.key, self.n_fit, self.n_region, *(psf.model_dump_json() for psf in self.psf)]
        digest.update(repr(shapes).encode())
        for part in (self.energy_edges_gev, self.index, self.counts, self.exposure, self.region):
            digest.update(np.ascontiguousarray(part).tobytes())
        return digest.hexdigest()

    def with_counts(self, counts: np.ndarray) -> Observation:
        """Copy the observation with other counts (P,)."""
        return replace(self, counts=counts)

    @property
    def n_pixels(self) -> int:
        """Number of pixels N."""
        return len(self.index)

    @property
    def energy_bin(self) -> np.ndarray:
        """Energy bin of each pixel (N,)."""
        return self.index // self.grid.n_pixels

    @property
    def pixel(self) -> np.ndarray:
        """Number of each pixel (N,) in its energy bin."""
        return self.index % self.grid.n_pixels

    def values(self, sky_map: np.ndarray) -> np.ndarray:
        """The values (N,) of a map (E, npix) in these pixels.

        Raises:
            InputError: the map has another shape.
        """
        shape = (self.n_energy, self.grid.n_pixels)
        if np.shape(sky_map) != shape:
            raise InputError(f"map: expected shape {shape} (energy bins, pixels), got {np.shape(sky_map)}")
        return np.asarray(sky_map).ravel()[self.index]

    def by_bin(self, values: np.ndarray) -> np.ndarray:
        """`values` (..., n) of all N pixels, those of the region or the fitted ones as (..., E, n / E).

        That is energy bin, then pixel of the sky; every bin has the same ones.
        """
        values, lead = np.asarray(values), np.shape(values)[:-1]
        ends = [end for end in (0, self.n_fit, self.n_region, self.n_pixels) if end <= values.shape[-1]]
        groups = [values[..., first:last] for first, last in pairwise(ends)]
        shaped = [group.reshape(*lead, self.n_energy, group.shape[-1] // self.n_energy) for group in groups]
        return np.concatenate(shaped, axis=-1)

    @cached_property
    def places(self) -> np.ndarray:
        """Place in the region of every energy bin and pixel of the sky (E, npix), -1 beyond it."""
        found = np.full(self.n_energy * self.grid.n_pixels, -1, dtype=np.int32)
        found[self.index[: self.n_region]] = np.arange(self.n_region)
        return found.reshape(self.n_energy, -1)

    def to_map(self, values: np.ndarray, fill: float = np.nan) -> np.ndarray:
        """A map (E, npix) of `values` for all N pixels, those of the region or the P fitted ones; `fill` elsewhere.

        Raises:
            InputError: another number of values.
        """
        values = np.asarray(values)
        if values.ndim != 1 or len(values) not in (self.n_fit, self.n_region, self.n_pixels):
            expected = f"({self.n_pixels},), ({self.n_region},) for the region or ({self.n_fit},) for the fitted pixels"
            raise InputError(f"values: expected shape {expected}, got {values.shape}")
        sky_map = np.full(self.n_energy * self.grid.n_pixels, fill, dtype=np.float64)
        sky_map[self.index[: len(values)]] = values
        return sky_map.reshape(self.n_energy, -1)


def exposure_split(exposure: np.ndarray, n_regions: int) -> tuple[np.ndarray, np.ndarray]:
    """Pixels in `n_regions` regions of like exposure and (nearly) equal numbers of pixels.

    Args:
        exposure (E, P): exposure of the fitted pixels in each energy bin.
        n_regions: number of regions, at most P.

    Returns:
        region (P,) by rising exposure of all bins together, and the mean exposure of each (E, n_regions).

    Source: NPTFit (arXiv:1612.03173), section 3; the same in arXiv:2604.08648.

    Raises:
        InputError: more regions than pixels.
    """
    n_pixels = exposure.shape[1]
    if n_regions > n_pixels:
        raise InputError(f"exposure_regions: expected at most {n_pixels}, the number of pixels; got {n_regions}")
    groups = np.array_split(np.argsort(exposure.sum(axis=0), kind="stable"), n_regions)
    region = np.empty(n_pixels, dtype=np.int64)
    for number, group in enumerate(groups):
        region[group] = number
    means = np.array([[of_bin[group].mean() for group in groups] for of_bin in exposure])
    return region, means
