"""Residuals of the counts under a fitted model: the PS map with its global p-value, and the power spectrum.

The PS map (Bruel 2021, Astronomy & Astrophysics 656, A81) shows how improbable the counts around each pixel are. Here
they are those within a disc as wide as the PSF, and the model says how they are distributed: a negative binomial of the
model's mean mu and of the variance F mu that replicated skies have, since sources make counts vary more than Poisson's,

    PS = -log10 P(N >= counts) above the mean,    +log10 P(N <= counts) below it.

The smallest of thousands of probabilities is small for every sky. What it means is told by the replicated skies, whose
PS maps are made in the same way: the global p-value is the share of skies with a |PS| as large somewhere.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
from numpy.typing import NDArray
from scipy import special
from scipy.sparse import csr_array
from scipy.spatial import cKDTree

from gammasky.engine import interrupt
from gammasky.engine.sky.observation import Observation
from gammasky.engine.sky.pixels import HealpixPixels
from gammasky.engine.sky.pixels.frames import vectors_of

Floats = NDArray[np.float64]
Integers = NDArray[np.int64]
CONTAINED = 0.68  # of the photons of a source, in the radius of a disc
SMOOTH = 100  # nearest discs that the excess of the variance is averaged over
LARGEST = 300.0  # |PS|: a probability below the smallest number, or counts where the model has none
SPOTS = 5  # of the map that are listed
SPECTRUM_REPLICAS = 100  # skies that the band of the power spectrum is of
MULTIPOLES = 12  # bins of the power spectrum


@dataclass(frozen=True, eq=False)
class Discs:
    """A disc around each of the Q directions that have a fitted pixel.

    Attributes:
        pixel (Q,): number of the pixel in the middle; lon_deg, lat_deg (Q,): where it is.
        members (Q, P): 1 for the fitted pixels in a disc, of all energy bins.
        nearest (Q, K): the nearest discs of each, itself first.
        radius_deg: of the discs.
    """

    pixel: Integers
    lon_deg: Floats
    lat_deg: Floats
    members: csr_array
    nearest: Integers
    radius_deg: float

    @classmethod
    def of(cls, pixels: Observation) -> Discs:
        """Discs of the radius that holds 68 % of a source's photons, and half the diagonal of a pixel more: the source
        may lie anywhere in the pixel in the middle."""
        number, first, where = np.unique(pixels.pixel[: pixels.n_fit], return_index=True, return_inverse=True)
        lon, lat = pixels.lon_deg[first], pixels.lat_deg[first]
        radius = max(float(psf.radius(np.array(CONTAINED))) for psf in pixels.psf)
        radius += float(np.deg2rad(pixels.grid.spacing_deg)) / np.sqrt(2)
        tree = cKDTree(vectors_of(lon, lat))
        pairs = tree.query_pairs(2 * np.sin(min(radius, np.pi) / 2), output_type="ndarray")
        rows, columns = np.concatenate([pairs, pairs[:, ::-1], np.repeat(np.arange(len(lon))[:, None], 2, axis=1)]).T
        near = csr_array((np.ones(len(rows)), (rows, columns)), shape=(len(lon), len(lon)))
        of_bins = csr_array((np.ones(len(where)), (where, np.arange(len(where)))), shape=(len(lon), len(where)))
        _, nearest = tree.query(tree.data, k=min(SMOOTH, len(lon)))
        return cls(
            number, lon, lat, csr_array(near @ of_bins), nearest.reshape(len(lon), -1), float(np.rad2deg(radius))
        )


@dataclass(frozen=True, eq=False)
class PsMap:
    """Counts in discs beside what the model expects there.

    Attributes:
        discs: around which directions.
        counts, expected, sd (Q,): photons in each disc, their mean under the model, and their standard deviation.
        ps (Q,): signed -log10 of the probability, positive where there are too many photons.
        of_replicas (n,): largest |PS| of each replicated sky.
    """

    discs: Discs
    counts: Integers
    expected: Floats
    sd: Floats
    ps: Floats
    of_replicas: Floats

    @classmethod
    def of(cls, discs: Discs, counts: Integers, replicas: Integers, expected: Floats) -> PsMap:
        """Make the map of one sky; replicated skies are treated exactly as it is.

        Args:
            discs: around the fitted pixels.
            counts (P,), replicas (n, P): the sky and skies of the model.
            expected (P,): mean counts under the model.
        """
        skies = np.concatenate([counts[None], replicas]) @ discs.members.T
        mean = discs.members @ expected
        square = ((skies - mean) ** 2).mean(axis=0)
        excess = square[discs.nearest].mean(axis=1) / np.maximum(mean[discs.nearest].mean(axis=1), 1e-300)
        excess = np.maximum(excess, 1.0)
        found = np.empty(skies.shape)
        for number, sky in enumerate(skies):
            interrupt.check()
            found[number] = signed_ps(sky, mean, excess)
        largest = np.abs(found).max(axis=1)
        return cls(discs, skies[0].astype(np.int64), mean, np.sqrt(excess * mean), found[0], largest[1:])

    @property
    def global_p(self) -> float:
        """Probability of a |PS| as large as the largest one anywhere on a sky of the model; at least 1 / (n + 1)."""
        as_large = int((self.of_replicas >= np.abs(self.ps).max()).sum())
        return (1 + as_large) / (1 + len(self.of_replicas))

    def local_p_of_replicas(self, place: int) -> float:
        """Share of skies of the model with a |PS| somewhere as large as that of a disc."""
        return (1 + int((self.of_replicas >= abs(self.ps[place])).sum())) / (1 + len(self.of_replicas))

    def spots(self, most: int = SPOTS) -> list[dict[str, float]]:
        """The discs of largest |PS|, none within two radii of a larger one: where, counts, expected counts, PS, and the
        share of skies of the model with a |PS| somewhere as large."""
        places = vectors_of(self.discs.lon_deg, self.discs.lat_deg)
        left, found = np.abs(self.ps), []
        for _ in range(min(most, len(left))):
            place = int(np.argmax(left))
            if left[place] < 0:
                break
            found.append({
                "lon": float(self.discs.lon_deg[place]), "lat": float(self.discs.lat_deg[place]),
                "counts": int(self.counts[place]), "expected": float(self.expected[place]),
                "ps": float(self.ps[place]), "global_p": self.local_p_of_replicas(place),
            })  # fmt: skip
            apart = np.rad2deg(np.arccos(np.clip(places @ places[place], -1, 1)))
            left = np.where(apart <= 2 * self.discs.radius_deg, -1.0, left)
        return found

    def as_dict(self) -> dict[str, Any]:
        """The map in a few numbers, for a summary."""
        return {"radius_deg": self.discs.radius_deg, "global_p": self.global_p, "spots": self.spots()}


def signed_ps(counts: Floats, mean: Floats, excess: Floats) -> Floats:
    """PS (...) of counts under negative binomials of these means, and variances excess * mean; Poisson for excess 1.

    P(N <= k) = I_{1/F}(r, k + 1) with r = mu / (F - 1), and P(N >= k) = 1 - P(N <= k - 1) without the loss of digits.
    """
    k, mean, excess = np.broadcast_arrays(counts, mean, excess)
    poisson, safe = excess < 1 + 1e-6, np.maximum(mean, 1e-300)
    r = safe / np.maximum(excess - 1, 1e-6)
    above = np.where(poisson, special.gammainc(np.maximum(k, 1), safe), 0.0)
    above = np.where(poisson, above, special.betainc(np.maximum(k, 1), r, 1 - 1 / excess))
    above = np.where(k > 0, above, 1.0)
    below = np.where(poisson, special.gammaincc(k + 1, safe), special.betainc(r, k + 1, 1 / excess))
    with np.errstate(divide="ignore"):
        ps = np.where(k >= mean, -np.log10(above), np.log10(below))
    ps = np.where(mean > 0, ps, np.where(k > 0, np.inf, 0.0))
    return np.asarray(np.clip(ps, -LARGEST, LARGEST))


@dataclass(frozen=True, eq=False)
class PowerSpectrum:
    """Angular power of the residuals (counts - expected) / mean expected counts, in bins of the multipole l.

    It is that of the sky with zeros where no pixel is fitted, over the share of the sky that is: good for a comparison
    with the same of replicated skies, not more.

    Attributes:
        edges (B + 1,): of the bins in l.
        seen (B,): C_l [sr], averaged over each bin; replicas (n, B): the same of skies of the model.
    """

    edges: Integers
    seen: Floats
    replicas: Floats

    @classmethod
    def of(cls, pixels: Observation, counts: Integers, replicas: Integers, expected: Floats) -> PowerSpectrum:
        """Measure the spectrum of a sky and of the first SPECTRUM_REPLICAS skies of the model; as `PsMap.of`."""
        import healpy

        nside, place = _healpix(pixels)
        largest = max(2 * nside, 8)
        edges = np.unique(np.geomspace(2, largest + 1, MULTIPOLES + 1).round().astype(np.int64))
        share = len(np.unique(place)) / (12 * nside**2)
        spectra = []
        for sky in (counts, *replicas[:SPECTRUM_REPLICAS]):
            interrupt.check()
            field = np.bincount(place, (sky - expected) / max(expected.mean(), 1e-300), 12 * nside**2)
            power = healpy.anafast(field, lmax=largest, iter=0, pol=False) / share
            widths = np.diff(edges)
            spectra.append(np.add.reduceat(power[: edges[-1]], edges[:-1])[: len(widths)] / widths)
        return cls(edges, spectra[0], np.array(spectra[1:]))


def _healpix(pixels: Observation) -> tuple[int, Integers]:
    """HEALPix pixels (P,) of the fitted ones: their own, or those of the finest nside that is as coarse as the grid."""
    if isinstance(pixels.grid, HealpixPixels):
        return pixels.grid.nside, np.asarray(pixels.pixel[: pixels.n_fit])
    import healpy

    finest = np.sqrt(np.pi / 3) / np.deg2rad(pixels.grid.spacing_deg)
    nside = 1 << max(int(np.log2(finest)), 0)
    lon, lat = pixels.lon_deg[: pixels.n_fit], pixels.lat_deg[: pixels.n_fit]
    return nside, np.asarray(healpy.ang2pix(nside, lon, lat, lonlat=True))
