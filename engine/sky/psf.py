"""Point-spread functions: how far from its source a photon is found.

Every PSF is a density per solid angle p(r), normalised on the sphere, 2 pi int p(r) sin r dr = 1, with the radius
drawn by inverting its cumulative distribution, tail included.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cached_property
from typing import Annotated, Literal, Self

import numpy as np
from pydantic import Field, model_validator

from gammasky.engine.errors import InputError
from gammasky.engine.sky.schema import Schema

GRID_SIZE = 1 << 16
MIXED_FROM_DEG, MIXED_NODES = 1e-3, 800  # of the table of a mean
SPECTRAL_INDEX = (
    2.0  # of the spectrum that exposures and PSFs are averaged with over a bin, unless another is asked for
)


class _RadialPSF(Schema):
    """A PSF given by its profile; `_profile` may have any normalisation.

    Args:
        kind: the word for this kind of PSF.
    """

    kind: str

    def _profile(self, radius_rad: np.ndarray) -> np.ndarray:
        raise NotImplementedError

    @cached_property
    def _cumulative(self) -> tuple[np.ndarray, np.ndarray, float]:
        """Radii [rad], fraction of photons within, and the integral of the profile over the sphere.

        The grid r = pi t^4 is dense where PSFs are narrow, and the integrand is smooth in t.
        """
        from scipy.integrate import cumulative_simpson

        t = np.linspace(0.0, 1.0, GRID_SIZE + 1)
        radius = np.pi * t**4
        ring = 2 * np.pi * np.sin(radius) * self._profile(radius) * 4 * np.pi * t**3
        within = np.maximum.accumulate(cumulative_simpson(ring, x=t, initial=0.0))
        return radius, within / within[-1], float(within[-1])

    def density(self, radius_rad: np.ndarray) -> np.ndarray:
        """Photons per steradian at `radius_rad` [rad] from the source, for one photon in all."""
        return self._profile(np.asarray(radius_rad, dtype=np.float64)) / self._cumulative[2]

    def radius(self, fraction: np.ndarray) -> np.ndarray:
        """Radius [rad] within which the given fraction of the photons is found."""
        radii, within, _ = self._cumulative
        return np.interp(fraction, within, radii)


class KingPSF(_RadialPSF):
    """The double King function of the Fermi-LAT.

    p(r) ~ fcore K(x; score, gcore) + (1 - fcore) K(x; stail, gtail), x = r / spe,
    K(x; s, g) = (1 - 1/g) / (2 pi s^2) (1 + x^2 / (2 g s^2))^-g.

    Args:
        fcore: fraction of the core.
        score, stail: widths of core and tail, in units of `spe`.
        gcore, gtail: slopes of core and tail, > 1.
        spe [rad]: scale at the energy of the data.

    Source: Fermi-LAT documentation (Cicerone), "Point spread function". Normalised on the sphere, not on the plane.
    """

    kind: Literal["king"] = "king"
    fcore: Annotated[float, Field(ge=0, le=1)]
    score: Annotated[float, Field(gt=0)]
    gcore: Annotated[float, Field(gt=1)]
    stail: Annotated[float, Field(gt=0)]
    gtail: Annotated[float, Field(gt=1)]
    spe: Annotated[float, Field(gt=0)]

    def _profile(self, radius_rad: np.ndarray) -> np.ndarray:
        x = radius_rad / self.spe
        core, tail = _king(x, self.score, self.gcore), _king(x, self.stail, self.gtail)
        return self.fcore * core + (1 - self.fcore) * tail


class GaussianPSF(_RadialPSF):
    """A Gaussian PSF, p(r) ~ exp(-r^2 / (2 sigma^2)).

    Args:
        sigma_deg [deg]: width along one axis.
    """

    kind: Literal["gaussian"] = "gaussian"
    sigma_deg: Annotated[float, Field(gt=0)]

    def _profile(self, radius_rad: np.ndarray) -> np.ndarray:
        return np.exp(-0.5 * (radius_rad / np.deg2rad(self.sigma_deg)) ** 2)


class TablePSF(_RadialPSF):
    """A PSF in a table: its logarithm is a straight line between the radii (itself one where it is zero at an end).

    Args:
        radius_deg (R,) [deg]: rising radii, at least two; nothing beyond the last, the first value below the first.
        values (R,): photons per solid angle there, in any normalisation.
    """

    kind: Literal["table"] = "table"
    radius_deg: tuple[Annotated[float, Field(ge=0, le=180)], ...]
    values: tuple[Annotated[float, Field(ge=0)], ...]

    @model_validator(mode="after")
    def _one_table(self) -> Self:
        radius, values = np.array(self.radius_deg), np.array(self.values)
        if len(radius) < 2 or len(radius) != len(values) or not np.all(np.diff(radius) > 0) or not values.any():
            raise ValueError("expected rising radii, at least two, and as many values, not all zero")
        return self

    def _profile(self, radius_rad: np.ndarray) -> np.ndarray:
        nodes, density = np.deg2rad(self.radius_deg), np.array(self.values)
        place = np.clip(np.searchsorted(nodes, radius_rad, side="right") - 1, 0, len(nodes) - 2)
        share = np.clip((radius_rad - nodes[place]) / (nodes[place + 1] - nodes[place]), 0.0, 1.0)
        left, right = density[place], density[place + 1]
        positive = (left > 0) & (right > 0)
        with np.errstate(divide="ignore", invalid="ignore"):
            between = np.where(positive, left ** (1 - share) * right**share, left + share * (right - left))
        return np.where(radius_rad > nodes[-1], 0.0, between)

    def radius(self, fraction: np.ndarray) -> np.ndarray:
        """Radius [rad] within which the given fraction of the photons is found; all of them within the last one."""
        radii, within, _ = self._cumulative
        end = int(np.searchsorted(within, 1.0)) + 1
        return np.interp(fraction, within[:end], radii[:end])


class DeltaPSF(Schema):
    """No PSF: every photon is found in the pixel of its source.

    Args:
        kind: the word for this kind of PSF.
    """

    kind: Literal["delta"] = "delta"

    def radius(self, fraction: np.ndarray) -> np.ndarray:
        """Radius [rad] within which the given fraction of the photons is found: 0."""
        return np.zeros_like(np.asarray(fraction, dtype=np.float64))


class IRFSettings(Schema):
    """A King PSF from an instrument-response file.

    Args:
        kind: the word for this kind of PSF.
        file: name of the file, relative to the manifest.
        energy_gev [GeV]: energy.
        event_type: event type such as "PSF3" or "FRONT"; the file must have the extensions RPSF_<event_type> and
            PSF_SCALING_PARAMS_<event_type>.
        cos_theta: one inclination (the bin that holds it) in place of an average.
        weights (inclination bins,): fraction of the photons per bin.
    """

    kind: Literal["irf"] = "irf"
    file: str
    energy_gev: Annotated[float, Field(gt=0)]
    event_type: str = "PSF3"
    cos_theta: Annotated[float, Field(gt=0, le=1)] | None = None
    weights: tuple[float, ...] | None = None


class PSFFile(Schema):
    """A PSF for each energy bin, averaged from a table with the extensions PSF and THETA as gtpsf writes it.

    Args:
        kind: the word for this kind of PSF.
        file: name of the file, relative to the manifest.
        spectral_index: index of the photon spectrum E^-index that the average is weighted with, beside the exposure.
    """

    kind: Literal["file"] = "file"
    file: str
    spectral_index: float = SPECTRAL_INDEX


PSF = KingPSF | GaussianPSF | TablePSF | DeltaPSF
PSFSettings = Annotated[
    KingPSF | GaussianPSF | TablePSF | DeltaPSF | IRFSettings | PSFFile, Field(discriminator="kind")
]


def mixed_psf(psfs: Sequence[PSF], weights: np.ndarray) -> PSF:
    """The mean of point-spread functions (E), as photons of which each has the share of its weight (E,).

    Raises:
        InputError: a delta among others, which no table can hold.
    """
    if all(psf == psfs[0] for psf in psfs):
        return psfs[0]
    wide = [psf for psf in psfs if not isinstance(psf, DeltaPSF)]
    if len(wide) < len(psfs):
        raise InputError("psf: some energy bins have a delta and others have not; give all of them one or none")
    radius_deg = np.concatenate([[0.0], np.geomspace(MIXED_FROM_DEG, 180.0, MIXED_NODES)])
    density = sum(weight * psf.density(np.deg2rad(radius_deg)) for psf, weight in zip(wide, weights, strict=True))
    return TablePSF(radius_deg=tuple(radius_deg.tolist()), values=tuple(np.asarray(density).tolist()))


def _king(x: np.ndarray, sigma: float, gamma: float) -> np.ndarray:
    return (1 - 1 / gamma) / (2 * np.pi * sigma**2) * (1 + x**2 / (2 * gamma * sigma**2)) ** -gamma
