"""Isotropic emission in a text file: energy [MeV], intensity [cm^-2 s^-1 sr^-1 MeV^-1], and its error."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import numpy as np

from gammasky.engine.errors import InputError
from gammasky.engine.sky.products.cubes import content_of
from gammasky.engine.sky.spectra import intensity_in_bins


@dataclass(frozen=True, eq=False)
class IsotropicSpectrum:
    """Differential intensity by energy, the same everywhere.

    Args:
        label: how errors name the file.
        energies_gev (N,) [GeV]: energies.
        intensity (N,) [cm^-2 s^-1 sr^-1 MeV^-1]: there.
    """

    label: str
    energies_gev: np.ndarray
    intensity: np.ndarray

    kind = "isotropic spectrum"

    @staticmethod
    def is_text(content: bytes) -> bool:
        """Whether the bytes of a file are rows of two or three numbers."""
        try:
            _rows(content, "")
        except InputError:
            return False
        return True

    @classmethod
    def open(cls, path: Path | str) -> IsotropicSpectrum:
        """The spectrum in the file `path`; see `read`."""
        return cls.read(*content_of(path))

    @classmethod
    def read(cls, content: bytes, label: str) -> IsotropicSpectrum:
        """The spectrum in the bytes of a file (unpacked).

        Raises:
            InputError: not two or three numbers to a row, or energies and intensities out of range.
        """
        rows = _rows(content, label)
        energies, intensity = 1e-3 * rows[:, 0], rows[:, 1]
        if not (energies[0] > 0 and np.all(np.diff(energies) > 0) and np.all(intensity >= 0)):
            raise InputError(f"{label}: expected positive, rising energies [MeV] and intensities that are not negative")
        return cls(label, energies, intensity)

    def in_bins(self, energy_edges_gev: Sequence[float] | np.ndarray, *, extrapolate: bool = False) -> np.ndarray:
        """Intensity (E,) [cm^-2 s^-1 sr^-1] of bins: the integral over energy, a power law between energies.

        Args:
            energy_edges_gev (E + 1,) [GeV]: edges of the bins.
            extrapolate: go on with the power law between the last two (or the first two) energies.

        Raises:
            InputError: a bin that the energies do not cover.
        """
        return intensity_in_bins(self.energies_gev, self.intensity, energy_edges_gev, self.label, extrapolate)


def _rows(content: bytes, label: str) -> np.ndarray:
    """The numbers of a text file (n, 2 or 3); lines after # are comments."""
    lines = [line.partition("#")[0].split() for line in content.decode("utf-8", errors="replace").splitlines()]
    rows = [line for line in lines if line]
    try:
        numbers = np.array(rows, dtype=np.float64)
    except ValueError:
        numbers = np.empty((0, 0))
    if numbers.ndim != 2 or len(numbers) < 2 or numbers.shape[1] not in (2, 3) or not np.isfinite(numbers).all():
        raise InputError(f"{label}: expected two or three numbers to a row (energy in MeV, intensity, its error)")
    return numbers
