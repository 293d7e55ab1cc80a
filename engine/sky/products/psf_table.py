"""Point-spread functions in tables, as gtpsf writes them: PSF (energies, densities) and THETA (angles in degrees)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.fits_files import extension_of, open_fits
from gammasky.engine.sky.products.cubes import content_of
from gammasky.engine.sky.psf import SPECTRAL_INDEX, TablePSF
from gammasky.engine.sky.spectra import integral_in_bins, require_cover
from gammasky.engine.sky.statements import column_in


@dataclass(frozen=True, eq=False)
class PSFTable:
    """Density of photons around a source by energy and angle.

    Args:
        label: how errors name the file.
        energies_gev (N,) [GeV]: energies.
        radius_deg (R,) [deg]: angles, rising.
        density (N, R) [sr^-1]: photons per solid angle.
        exposure (N,) [cm^2 s]: at the place that the table was made for.
    """

    label: str
    energies_gev: np.ndarray
    radius_deg: np.ndarray
    density: np.ndarray
    exposure: np.ndarray

    kind = "PSF table"

    @staticmethod
    def matches(hdus: Any) -> bool:
        """Whether an open FITS file holds such a table: the extensions PSF and THETA."""
        return "PSF" in hdus and "THETA" in hdus

    @classmethod
    def open(cls, path: Path | str) -> PSFTable:
        """The table in the file `path`; see `read`."""
        return cls.read(*content_of(path))

    @classmethod
    def read(cls, content: bytes, label: str) -> PSFTable:
        """The table in the bytes of a file (unpacked).

        Raises:
            InputError: a damaged file, missing extensions or columns, or numbers that are no such table.
        """
        with open_fits(content, label) as hdus:
            table, angles = (extension_of(hdus, label, name) for name in ("PSF", "THETA"))
            energies = column_in(table, "Energy", "GeV", label, unsaid="MeV").ravel()
            exposure = column_in(table, "Exposure", "cm2 s", label).ravel()
            density = column_in(table, "Psf", "1/sr", label)
            radius = column_in(angles, "Theta", "deg", label).ravel()
        if density.shape != (len(energies), len(radius)):
            raise InputError(f"{label}: Psf has shape {density.shape}; expected ({len(energies)}, {len(radius)})")
        if len(energies) < 2 or not (energies[0] > 0 and np.all(np.diff(energies) > 0)):
            raise InputError(f"{label}: PSF must hold at least two positive, rising energies")
        if not (radius[0] >= 0 and radius[-1] <= 180 and np.all(np.diff(radius) > 0)):
            raise InputError(f"{label}: THETA must hold rising angles of 0 to 180 deg")
        if not (np.all(np.isfinite(density)) and np.all(density >= 0) and np.all(exposure >= 0)):
            raise InputError(f"{label}: densities and exposures must be finite and not negative")
        return cls(label, energies, radius, density, exposure)

    def in_bins(
        self, energy_edges_gev: Sequence[float] | np.ndarray, index: float = SPECTRAL_INDEX
    ) -> tuple[TablePSF, ...]:
        """The point-spread function of each bin: int s eps PSF dE / int s eps dE, with the spectrum s = E^-index.

        Raises:
            InputError: a bin that the energies do not cover, or without exposure.
        """
        edges = np.asarray(energy_edges_gev, dtype=np.float64)
        require_cover(self.energies_gev, edges, self.label)
        weight = self.exposure * (self.energies_gev / self.energies_gev[0]) ** -index
        sums = integral_in_bins(self.energies_gev, weight[:, None] * self.density, edges)
        totals = integral_in_bins(self.energies_gev, weight, edges)
        if not np.all(totals > 0):
            raise InputError(f"{self.label}: no exposure in the bin above {edges[:-1][totals <= 0][0]:g} GeV")
        return tuple(
            TablePSF(radius_deg=tuple(self.radius_deg.tolist()), values=tuple((row / total).tolist()))
            for row, total in zip(sums, totals, strict=True)
        )
